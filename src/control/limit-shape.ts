import { z } from 'zod'
import { GatewayError } from '#errors'
import type { Budget, Limits, NanoUsd, Quotas } from '#protocol'
import { money, moment, usd } from './resource.ts'

const amount = z
  .string()
  .regex(/^\d{1,12}(\.\d{1,9})?$/, 'expected USD as a decimal in quotes, such as "10.00"')

/** An amount in a request: as a decimal, or as answers have it. */
export const amountGiven = z.union(
  [amount, z.strictObject({ amount, currency: z.literal('USD') })],
  { error: 'expected USD as a decimal in quotes, such as "10.00"' },
)

const positive = z.int().min(1).max(1_000_000_000)
const percent = z.int().min(1).max(1000)

const raise = z
  .strictObject({
    amount: amountGiven.optional().meta({ description: 'On top of the limit' }),
    limit: amountGiven.optional().meta({ description: 'Instead: what the limit is to be' }),
    until: moment,
    reason: z.string().trim().min(1).max(500),
  })
  .refine(
    (given) => (given.amount === undefined) !== (given.limit === undefined),
    'name either amount or limit',
  )

const budget = z
  .strictObject({
    window: z
      .enum(['day', 'week', 'month', 'total', 'ever'])
      .transform((window) => (window === 'ever' ? 'total' : window)),
    limit: amountGiven,
    warn_percent: percent.nullish().meta({ description: 'From here on answers and alerts warn' }),
    block_percent: percent
      .nullish()
      .meta({ description: 'From here on nothing passes; absent: 100' }),
    policy: z
      .enum(['hard', 'soft'])
      .nullish()
      .meta({ description: '`soft` lets pass what is over it, and marks that; absent: hard' }),
    raises: z.array(raise).max(20).nullish().meta({ description: 'They end by themselves' }),
  })
  .refine(
    ({ policy, warn_percent, block_percent }) =>
      policy === 'soft' || warn_percent == null || warn_percent < (block_percent ?? 100),
    'warn_percent is not below block_percent, or 100 without one: it would never warn',
  )

const counts = {
  requests_per_minute: positive.nullish(),
  tokens_per_minute: positive.nullish(),
  input_tokens_per_minute: positive.nullish(),
  output_tokens_per_minute: positive.nullish(),
  requests_per_day: positive.nullish(),
  tokens_per_day: positive.nullish(),
  input_tokens_per_day: positive.nullish(),
  output_tokens_per_day: positive.nullish(),
  concurrency: positive.nullish(),
}

const quotas = {
  ...counts,
  budgets: z
    .array(budget)
    .max(4)
    .refine(
      (all) => new Set(all.map(({ window }) => window)).size === all.length,
      'a window stands twice',
    )
    .nullish(),
}

/** Limits in a request. */
export const limits = z
  .strictObject({
    ...quotas,
    models: z
      .array(
        z.strictObject({
          pattern: z
            .string()
            .regex(/^[^\s]{1,200}$/, 'expected a model, a route or a pattern such as openai/*'),
          ...quotas,
        }),
      )
      .max(50)
      .refine(
        (all) => new Set(all.map(({ pattern }) => pattern)).size === all.length,
        'a pattern stands twice',
      )
      .nullish()
      .meta({ description: 'What may be used of some models, beside the limits for all' }),
  })
  .meta({ id: 'Limits', description: 'Absent or null: not limited. Budgets are USD as decimals.' })

const NAMES = [
  ['requests_per_minute', 'requestsPerMinute'],
  ['tokens_per_minute', 'tokensPerMinute'],
  ['input_tokens_per_minute', 'inputTokensPerMinute'],
  ['output_tokens_per_minute', 'outputTokensPerMinute'],
  ['requests_per_day', 'requestsPerDay'],
  ['tokens_per_day', 'tokensPerDay'],
  ['input_tokens_per_day', 'inputTokensPerDay'],
  ['output_tokens_per_day', 'outputTokensPerDay'],
  ['concurrency', 'concurrency'],
] as const

const shownQuotas = {
  requests_per_minute: z.int().nullable(),
  tokens_per_minute: z.int().nullable(),
  input_tokens_per_minute: z.int().nullable(),
  output_tokens_per_minute: z.int().nullable(),
  requests_per_day: z.int().nullable(),
  tokens_per_day: z.int().nullable(),
  input_tokens_per_day: z.int().nullable(),
  output_tokens_per_day: z.int().nullable(),
  concurrency: z.int().nullable(),
  budgets: z.array(
    z.strictObject({
      window: z.enum(['day', 'week', 'month', 'total']),
      limit: money,
      warn_percent: z.int().nullable(),
      block_percent: z.int(),
      policy: z.enum(['hard', 'soft']),
      raises: z.array(z.strictObject({ amount: money, until: moment, reason: z.string() })),
    }),
  ),
}

/** Limits in an answer; they may be sent back as they are. */
export const limitsShape = z
  .strictObject({
    ...shownQuotas,
    models: z.array(z.strictObject({ pattern: z.string(), ...shownQuotas })),
  })
  .meta({ id: 'LimitsSet', description: 'Null: not limited' })

/**
 * What the form alone does not show to be a mistake.
 *
 * @param before what stood there, which is good whatever it is
 * @throws GatewayError `invalid_value`
 */
export function checkLimits(
  wanted: Limits,
  before: Limits | undefined,
  {
    unknownModel,
    now,
  }: {
    readonly unknownModel: (name: string) => string | undefined
    readonly now: () => number
  },
): void {
  const raisesOf = (limits: Limits | undefined) =>
    [limits, ...(limits?.models ?? [])].flatMap((own) =>
      (own?.budgets ?? []).flatMap(({ raises }) => raises ?? []),
    )
  const known = new Set(raisesOf(before).map(({ until }) => until))
  const late = raisesOf(wanted).find(({ until }) => until <= now() && !known.has(until))
  if (late !== undefined) {
    const when = new Date(late.until).toISOString()
    throw new GatewayError('invalid_value', `The raise until ${when} lies in the past`, {
      param: 'budgets',
    })
  }
  const patterns = new Set(before?.models?.map(({ pattern }) => pattern))
  for (const { pattern } of wanted.models ?? []) {
    if (pattern === '*' || patterns.has(pattern)) continue
    const wrong = unknownModel(pattern)
    if (wrong !== undefined) throw new GatewayError('invalid_value', wrong, { param: 'models' })
  }
}

type GivenQuotas = Omit<z.infer<typeof limits>, 'models'>

export function readLimits(
  { models, ...given }: z.infer<typeof limits>,
  parseUsd: (text: string) => NanoUsd,
): Limits {
  return {
    ...readQuotas(given, parseUsd),
    ...(models != null &&
      models.length > 0 && {
        models: models.map(({ pattern, ...own }) => ({ pattern, ...readQuotas(own, parseUsd) })),
      }),
  }
}

function readQuotas(given: GivenQuotas, parseUsd: (text: string) => NanoUsd): Quotas {
  const read = (text: z.infer<typeof amountGiven>): NanoUsd =>
    parseUsd(typeof text === 'string' ? text : text.amount)
  return {
    ...Object.fromEntries(
      NAMES.flatMap(([theirs, ours]) => (given[theirs] == null ? [] : [[ours, given[theirs]]])),
    ),
    ...(given.budgets != null && {
      budgets: given.budgets.map((one): Budget => {
        const limit = read(one.limit)
        return {
          window: one.window,
          limit,
          ...(one.warn_percent != null && { warn: one.warn_percent }),
          ...(one.block_percent != null &&
            one.block_percent !== 100 && { block: one.block_percent }),
          ...(one.policy === 'soft' && { policy: one.policy }),
          ...(one.raises != null &&
            one.raises.length > 0 && {
              raises: one.raises.map((each) => ({
                amount: most(
                  0n,
                  each.amount === undefined ? read(each.limit ?? '0') - limit : read(each.amount),
                ),
                until: Date.parse(each.until),
                reason: each.reason,
              })),
            }),
        }
      }),
    }),
  }
}

function most(one: bigint, other: bigint): bigint {
  return one > other ? one : other
}

export function writeLimits(
  { models, ...own }: Limits,
  formatUsd: (nanos: NanoUsd) => string,
): z.input<typeof limitsShape> {
  return {
    ...writeQuotas(own, formatUsd),
    models: (models ?? []).map(({ pattern, ...rest }) => ({
      pattern,
      ...writeQuotas(rest, formatUsd),
    })),
  }
}

type ShownQuotas = Omit<z.input<typeof limitsShape>, 'models'>

function writeQuotas(own: Quotas, formatUsd: (nanos: NanoUsd) => string): ShownQuotas {
  const shown = Object.fromEntries(NAMES.map(([theirs, ours]) => [theirs, own[ours] ?? null]))
  return {
    // Every name of the list is there.
    ...(shown as Omit<ShownQuotas, 'budgets'>),
    budgets: (own.budgets ?? []).map((one) => ({
      window: one.window,
      limit: usd(one.limit, formatUsd),
      warn_percent: one.warn ?? null,
      block_percent: one.block ?? 100,
      policy: one.policy ?? 'hard',
      raises: (one.raises ?? []).map((each) => ({
        amount: usd(each.amount, formatUsd),
        until: new Date(each.until).toISOString(),
        reason: each.reason,
      })),
    })),
  }
}
