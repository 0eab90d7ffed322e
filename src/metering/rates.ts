import type { CostLine, NanoUsd, Usage } from '#protocol'
import { inputTokens } from '#protocol'
import { RATE_UNITS_PER_NANO, type Rate } from './money.ts'

/** Buckets of usage that are billed by the token. */
export const BUCKETS = [
  'input',
  'cacheRead',
  'cacheWrite5m',
  'cacheWrite1h',
  'inputAudio',
  'inputImage',
  'output',
  'reasoning',
  'outputAudio',
  'outputImage',
] as const

export type Bucket = (typeof BUCKETS)[number]

/** What a bucket costs, by the size of the whole prompt. */
export interface TokenRate {
  readonly base: Rate
  /** By ascending `above`; the last one whose `above` the prompt exceeds is the rate of all tokens. */
  readonly tiers: readonly { readonly above: number; readonly rate: Rate }[]
}

/** A price in force. Rates are per million. */
export interface RateCard {
  /** A bucket that is absent has no price: its tokens cannot be billed with this card. */
  readonly tokens: { readonly [bucket in Bucket]?: TokenRate }
  /** For each request, whatever its size. */
  readonly request?: Rate
  readonly webSearch?: Rate
  /** For each image made, where a provider bills by the image. */
  readonly image?: Rate
  /** Multiplies the token rates, as a {@link Rate}: a service tier's discount or surcharge. */
  readonly factor?: Rate
  /** Parts of {@link WHOLE} that a negotiated discount leaves of the whole bill. */
  readonly keep?: bigint
}

/** One, as a factor. */
export const ONE: Rate = 10n ** 18n

/** What is kept of a bill without a discount: percents have up to six digits after the point. */
export const WHOLE = 10n ** 8n

/** Parts of usage a card may have no price for. */
export type Part = Bucket | 'webSearches'

export interface Bill {
  readonly cost: NanoUsd
  /** What `cost` would be without the discount. */
  readonly listCost: NanoUsd
  /** What it is for; together exactly `cost`. */
  readonly lines: readonly CostLine[]
  /** What had no price. */
  readonly uncovered: readonly Part[]
}

/**
 * What usage costs by a card: the exact sum, rounded half up once.
 *
 * A tier applies to all tokens of a request whose prompt, cached part included, is above it.
 * Tokens whose bucket has no price are billed as the dearest of their direction, so that
 * they are never free, and are named in `uncovered`; searches without a price only named.
 *
 * A line is what it adds to the rounded sum of those before it: less than a nano-dollar off
 * its own exact cost, and no nano-dollar is lost between the lines and their sum. A discount
 * is taken off the exact sum before it is rounded.
 */
export function bill(card: RateCard, usage: Usage): Bill {
  const { factor, keep } = card
  const prompt = inputTokens(usage)
  const lines: CostLine[] = []
  let uncovered: Part[] | undefined
  const scale = factor === undefined ? 1n : ONE
  const round = rounding(scale, keep)
  let exact = 0n
  let cost = 0n

  for (const bucket of BUCKETS) {
    const tokens = usage[bucket]
    if (tokens === 0) continue
    const known = card.tokens[bucket]
    if (known === undefined) (uncovered ??= []).push(bucket)
    const rate = known
      ? rateAt(known, prompt)
      : (dearest(card, prompt, OUTPUT.includes(bucket) ? OUTPUT : INPUT) ??
        dearest(card, prompt, BUCKETS) ??
        0n)
    const amount = BigInt(tokens) * rate
    exact += factor === undefined ? amount : amount * factor
    const sum = round(exact)
    lines.push({ type: bucket, quantity: tokens, cost: sum - cost })
    cost = sum
  }
  const fee = (type: CostLine['type'], quantity: number, rate: Rate): void => {
    exact += BigInt(quantity) * rate * scale
    const sum = round(exact)
    lines.push({ type, quantity, cost: sum - cost })
    cost = sum
  }
  if (usage.webSearches > 0) {
    if (card.webSearch === undefined) (uncovered ??= []).push('webSearches')
    else fee('webSearches', usage.webSearches, card.webSearch)
  }
  if (card.request !== undefined) fee('request', 1, card.request)
  const listCost = keep === undefined ? cost : rounding(scale, undefined)(exact)
  return { cost, listCost, lines, uncovered: uncovered ?? NOTHING }
}

const NOTHING: readonly Part[] = []
const INPUT = BUCKETS.slice(0, 6)
const OUTPUT = BUCKETS.slice(6)

/** What a request may use beyond plain text. Absent: it may. */
export interface Uses {
  /** Writes to the provider's hour-long cache. */
  readonly longCache?: boolean
  readonly audio?: boolean
  readonly images?: boolean
}

/**
 * The most that a prompt of at most so many tokens can cost, as a function of the output.
 *
 * Every token counts at the dearest rate that can apply to it: cached or written to the
 * cache, in any tier the prompt can reach. Web searches are not in it, their number being
 * unknown beforehand.
 *
 * @returns `undefined` where the request may use what the card has no price for
 */
export function bound(
  card: RateCard,
  inputTokens: number,
  uses: Uses = {},
): ((outputTokens: number) => NanoUsd) | undefined {
  const audio = uses.audio ?? true
  const images = uses.images ?? true
  const used = (bucket: Bucket): boolean =>
    !(bucket === 'cacheWrite1h' && uses.longCache === false) &&
    (audio || !bucket.endsWith('Audio')) &&
    (images || !bucket.endsWith('Image'))
  const input = dearest(card, inputTokens, INPUT.filter(used))
  const output = dearest(card, inputTokens, OUTPUT.filter(used))
  if (input === undefined) return undefined
  if (uses.audio === true && card.tokens.inputAudio === undefined) return undefined

  // A discount tier may be answered by the standard one: the bound does without it.
  const factor = card.factor !== undefined && card.factor > ONE ? card.factor : ONE
  const prompt = BigInt(inputTokens) * input * factor + (card.request ?? 0n) * ONE
  const each = (output ?? input) * factor
  const keep = card.keep ?? WHOLE
  const unit = RATE_UNITS_PER_NANO * ONE * WHOLE
  // Upwards: what is settled later is rounded half up at most.
  return (outputTokens) => ((prompt + BigInt(outputTokens) * each) * keep + unit - 1n) / unit
}

function dearest(card: RateCard, prompt: number, buckets: readonly Bucket[]): Rate | undefined {
  let most: Rate | undefined
  for (const bucket of buckets) {
    const rate = card.tokens[bucket]
    if (!rate) continue
    if (most === undefined || rate.base > most) most = rate.base
    for (const tier of rate.tiers) {
      if (prompt > tier.above && tier.rate > most) most = tier.rate
    }
  }
  return most
}

function rateAt({ base, tiers }: TokenRate, prompt: number): Rate {
  let rate = base
  for (const tier of tiers) if (prompt > tier.above) rate = tier.rate
  return rate
}

/** Rounds exact sums of a scale half up to nano-dollars. */
function rounding(scale: bigint, keep: bigint | undefined): (exact: bigint) => NanoUsd {
  if (keep === undefined && scale === 1n) return plainly
  const unit = RATE_UNITS_PER_NANO * scale * (keep === undefined ? 1n : WHOLE)
  const half = unit / 2n
  return (exact) => (exact * (keep ?? 1n) + half) / unit
}

function plainly(exact: bigint): NanoUsd {
  return (exact + HALF_NANO) / RATE_UNITS_PER_NANO
}

const HALF_NANO = RATE_UNITS_PER_NANO / 2n
