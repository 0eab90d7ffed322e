import { asGatewayError, GatewayError } from '#errors'
import { formatRate, parseRate, type Rate } from './money.ts'
import { type Bucket, BUCKETS, ONE, type RateCard, type TokenRate, WHOLE } from './rates.ts'

/** US dollars per million tokens, as decimal strings. */
export interface TokenPrices {
  readonly input?: string | undefined
  readonly output?: string | undefined
  readonly cache_read?: string | undefined
  /** For five minutes, or the provider's only lifetime. */
  readonly cache_write?: string | undefined
  readonly cache_write_1h?: string | undefined
  readonly input_audio?: string | undefined
  readonly input_image?: string | undefined
  readonly reasoning?: string | undefined
  readonly output_audio?: string | undefined
  readonly output_image?: string | undefined
}

/**
 * What a model costs, as people write it: decimals as text.
 *
 * Left out: `cache_read`, `cache_write` and the input's `audio` and `image` are billed as
 * `input`, `cache_write_1h` as `cache_write`, `reasoning` and the output's kinds as `output`.
 */
export interface PriceRates extends TokenPrices {
  readonly input: string
  /** US dollars for each request, web search, and image made. */
  readonly request?: string | undefined
  readonly web_search?: string | undefined
  readonly image?: string | undefined
  /** Of all tokens of a request whose prompt is longer. */
  readonly above?: readonly AbovePrices[] | undefined
  /** By the provider's word: `batch`, `flex`, `priority`. What one leaves out costs as without it. */
  readonly service_tiers?: Readonly<Record<string, TierPrices>> | undefined
}

export interface AbovePrices extends TokenPrices {
  readonly input_tokens: number
}

export interface TierPrices extends TokenPrices {
  /** Of every token price, in place of prices of its own. */
  readonly multiplier?: string | undefined
  readonly above?: readonly AbovePrices[] | undefined
}

/** Prices as they are reckoned with. */
export interface ReadRates {
  readonly card: RateCard
  /** Where a service tier has prices of its own. */
  readonly tiers: ReadonlyMap<string, RateCard>
}

export const WRITTEN_AS = {
  input: 'input',
  cacheRead: 'cache_read',
  cacheWrite5m: 'cache_write',
  cacheWrite1h: 'cache_write_1h',
  inputAudio: 'input_audio',
  inputImage: 'input_image',
  output: 'output',
  reasoning: 'reasoning',
  outputAudio: 'output_audio',
  outputImage: 'output_image',
} as const satisfies Record<Bucket, keyof TokenPrices>

type Tokens = { [bucket in Bucket]?: TokenRate }

/**
 * Reads prices as people write them.
 *
 * @param path where they stand, for messages
 * @throws GatewayError `invalid_value` naming the first that is no price
 */
export function readRates(path: string, rates: PriceRates): ReadRates {
  const tokens = readTokens(path, rates)
  const card = {
    tokens: withStandIns(tokens, []),
    ...fees({
      request: read(path, 'request', rates.request),
      webSearch: read(path, 'web_search', rates.web_search),
      image: read(path, 'image', rates.image),
    }),
  }
  const tiers = Object.entries(rates.service_tiers ?? {}).map(([name, tier]) => {
    const at = `${path}.service_tiers.${name}`
    const own = withStandIns({ ...tokens, ...readTokens(at, tier) }, [])
    const multiplier = read(at, 'multiplier', tier.multiplier)
    if (multiplier !== undefined && Object.keys(tier).length > 1) {
      throw new GatewayError('invalid_value', `${at} has a multiplier and prices: keep one`, {
        param: at,
      })
    }
    return [
      name,
      { ...card, tokens: own, ...(multiplier !== undefined && { factor: multiplier }) },
    ] as const
  })
  return { card, tiers: new Map(tiers) }
}

/**
 * Reads a discount such as `12.5`: percent of the bill, with at most six digits after the point.
 *
 * @returns what it leaves, in parts of {@link WHOLE}
 * @throws GatewayError `invalid_value`
 */
export function readDiscount(percent: string): bigint {
  const [, whole = '', fraction = ''] = /^(\d{1,3})(?:\.(\d{1,6}))?$/.exec(percent) ?? []
  const off = whole === '' ? WHOLE + 1n : BigInt(whole + fraction.padEnd(6, '0'))
  if (off > WHOLE) {
    throw new GatewayError(
      'invalid_value',
      `"${percent.slice(0, 40)}" is no discount: expected percent from 0 to 100, such as 12.5`,
    )
  }
  return WHOLE - off
}

/** A card as people write it, a tier's factor and a discount beside the prices they change. */
export function writeCard(card: RateCard): Readonly<Record<string, unknown>> {
  const above = new Map<number, Record<string, string | number>>()
  const prices: Record<string, unknown> = {}
  for (const bucket of BUCKETS) {
    const known = card.tokens[bucket]
    if (known === undefined) continue
    const name = WRITTEN_AS[bucket]
    prices[name] = perMillion(known.base)
    for (const tier of known.tiers) {
      const step = above.get(tier.above) ?? { input_tokens: tier.above }
      step[name] = perMillion(tier.rate)
      above.set(tier.above, step)
    }
  }
  const { request, webSearch, image, factor, keep } = card
  return {
    ...prices,
    ...(above.size > 0 && { above: [...above.values()] }),
    ...(request !== undefined && { request: formatRate(request, 1) }),
    ...(webSearch !== undefined && { web_search: formatRate(webSearch, 1) }),
    ...(image !== undefined && { image: formatRate(image, 1) }),
    ...(factor !== undefined && factor !== ONE && { multiplier: perMillion(factor) }),
    ...(keep !== undefined && { discount_percent: writeDiscount(keep) }),
  }
}

export function writeDiscount(keep: bigint): string {
  const digits = (WHOLE - keep).toString().padStart(7, '0')
  const fraction = digits.slice(-6).replace(/0+$/, '')
  return `${digits.slice(0, -6)}${fraction && `.${fraction}`}`
}

/** Fees in dollars each; a card has them per million. */
export function fees(each: {
  readonly request?: Rate | undefined
  readonly webSearch?: Rate | undefined
  readonly image?: Rate | undefined
}): Pick<RateCard, 'request' | 'webSearch' | 'image'> {
  const { request, webSearch, image } = each
  return {
    ...(request !== undefined && { request: request * 1_000_000n }),
    ...(webSearch !== undefined && { webSearch: webSearch * 1_000_000n }),
    ...(image !== undefined && { image: image * 1_000_000n }),
  }
}

/**
 * Fills in what providers bill at another bucket's rate when they list none of its own.
 *
 * Cached tokens cost as plain ones, an hour's cache write as any, reasoning as output, and
 * sound and pictures as text of the same direction. Where a provider is known to bill a
 * kind apart (`billedApart`), a missing rate stays missing: the source lacks it, and text
 * would be several times too cheap.
 */
export function withStandIns(
  tokens: RateCard['tokens'],
  billedApart: readonly string[],
): RateCard['tokens'] {
  const { input, output } = tokens
  const cacheWrite = tokens.cacheWrite5m ?? input
  const audio = billedApart.includes('audio') ? {} : { inputAudio: input, outputAudio: output }
  const filled = {
    cacheRead: input,
    cacheWrite5m: input,
    cacheWrite1h: cacheWrite,
    inputImage: input,
    reasoning: output,
    outputImage: output,
    ...audio,
    ...tokens,
  }
  return Object.fromEntries(Object.entries(filled).filter(([, rate]) => rate !== undefined))
}

function readTokens(path: string, prices: TierPrices): Tokens {
  const steps = (prices.above ?? []).toSorted((a, b) => a.input_tokens - b.input_tokens)
  const tokens: Tokens = {}
  for (const bucket of BUCKETS) {
    const name = WRITTEN_AS[bucket]
    const base = read(path, name, prices[name])
    const tiers = steps.flatMap((step) => {
      const rate = read(`${path}.above.${step.input_tokens}`, name, step[name])
      return rate === undefined ? [] : [{ above: step.input_tokens, rate }]
    })
    if (base !== undefined) tokens[bucket] = { base, tiers }
    else if (tiers.length > 0) {
      throw new GatewayError(
        'invalid_value',
        `${path}.above has a price of ${name}, which has none below: add ${name}`,
        { param: `${path}.${name}` },
      )
    }
  }
  return tokens
}

function read(path: string, field: string, text: string | undefined): Rate | undefined {
  if (text === undefined) return undefined
  try {
    return parseRate(text)
  } catch (error) {
    const { message } = asGatewayError(error)
    const param = `${path}.${field}`
    throw new GatewayError('invalid_value', `${param}: ${message}`, { param })
  }
}

/** A rate is per million of its units already, and so is a factor of one. */
function perMillion(rate: Rate): string {
  return formatRate(rate, 1_000_000)
}
