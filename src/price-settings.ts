import { z } from 'zod'

/** USD as a decimal in quotes: a number would lose digits before anybody read it. */
const decimal = z
  .string({ error: 'expected a decimal in quotes, such as "0.15"' })
  // Beyond a million, a bill of the most tokens there can be would pass what a column holds.
  .regex(/^\d{1,6}(\.\d{1,12})?$/, 'expected a decimal below a million, such as "0.15"')

const multiplier = z
  .string({ error: 'expected a decimal in quotes, such as "0.5"' })
  .regex(/^(\d(\.\d{1,12})?|10)$/, 'expected a decimal from 0 to 10, such as "0.5"')

const tokens = {
  input: decimal.optional(),
  output: decimal.optional(),
  cache_read: decimal.optional(),
  cache_write: decimal.optional(),
  cache_write_1h: decimal.optional(),
  reasoning: decimal.optional(),
  input_audio: decimal.optional(),
  input_image: decimal.optional(),
  output_audio: decimal.optional(),
  output_image: decimal.optional(),
}

const above = z
  .array(z.strictObject({ input_tokens: z.int().min(1).max(1_000_000_000), ...tokens }))
  .max(8)
  .optional()

/** USD per million tokens; `request`, `web_search` and `image` are USD each. */
export const priceRates = z
  .strictObject({
    ...tokens,
    input: decimal,
    request: decimal.optional(),
    web_search: decimal.optional(),
    image: decimal.optional(),
    above,
    service_tiers: z
      .record(
        z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/, 'expected a tier such as flex'),
        z.strictObject({ multiplier: multiplier.optional(), ...tokens, above }),
      )
      .optional(),
  })
  .meta({
    id: 'PriceRates',
    description:
      'USD per million tokens, as decimals; `request`, `web_search` and `image` each. `above`: of all tokens of a request whose prompt is longer. `service_tiers`: batch, flex, priority',
  })

/** USD per million tokens, for a provider's models. */
export const providerPrice = priceRates.extend({ output: decimal })

export const percent = z
  .string({ error: 'expected percent in quotes, such as "12.5"' })
  .regex(/^(100|\d{1,2}(\.\d{1,6})?)$/, 'expected percent from 0 to 100, such as 12.5')

export const modelPattern = z
  .string({ error: 'expected provider/model' })
  .max(200)
  .regex(
    /^[\w.*-]{1,64}\/[^\s]+$/,
    'expected provider/model, * standing for any characters: openai/gpt-5*',
  )

/** A day, which begins in UTC, or a moment with its offset; as Unix ms. */
export const since = z
  .string({ error: 'expected a day such as 2026-11-01, or RFC 3339' })
  .regex(
    /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/,
    'expected a day such as 2026-11-01, or RFC 3339 with its offset',
  )
  .refine((text) => !Number.isNaN(Date.parse(text)), 'is no day of the calendar')
  .transform((text) => Date.parse(text))

/** One of `prices`: a price or a discount for as long as it holds. */
export const priceRow = z
  .strictObject({
    model: modelPattern,
    from: since.optional(),
    to: since.optional(),
    rates: priceRates.optional(),
    discount: percent.optional(),
    note: z.string().max(500).optional(),
  })
  .refine(({ rates, discount }) => (rates === undefined) !== (discount === undefined), {
    error: 'expected either rates or discount',
  })
  .refine(({ from, to }) => from === undefined || to === undefined || from < to, {
    error: 'ends before it begins',
    path: ['to'],
  })

export type PriceRowSetting = z.output<typeof priceRow>
