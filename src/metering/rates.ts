import type { NanoUsd, Usage } from '#protocol'
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
  /** Multiplies the token rates, as a {@link Rate}: a service tier's discount or surcharge. */
  readonly factor?: Rate
}

/** One, as a factor. */
const ONE: Rate = 10n ** 18n

/** Parts of usage a card may have no price for. */
export type Part = Bucket | 'webSearches'

/**
 * What usage costs by a card: the exact sum, rounded half up once.
 *
 * A tier applies to all tokens of a request whose prompt, cached part included, is above it.
 * Tokens whose bucket has no price are billed as the dearest of their direction, so that
 * they are never free, and are named in `uncovered`; searches without a price only named.
 */
export function bill(
  card: RateCard,
  usage: Usage,
): { readonly cost: NanoUsd; readonly uncovered: readonly Part[] } {
  const prompt = inputTokens(usage)
  let uncovered: Part[] | undefined
  let sum = 0n
  for (const bucket of BUCKETS) {
    const tokens = usage[bucket]
    if (tokens === 0) continue
    const rate = card.tokens[bucket]
    if (rate) sum += BigInt(tokens) * rateAt(rate, prompt)
    else {
      sum +=
        BigInt(tokens) * (dearest(card, prompt, OUTPUT.includes(bucket) ? OUTPUT : INPUT) ?? 0n)
      ;(uncovered ??= []).push(bucket)
    }
  }
  let fees = card.request ?? 0n
  if (usage.webSearches > 0) {
    if (card.webSearch === undefined) (uncovered ??= []).push('webSearches')
    else fees += BigInt(usage.webSearches) * card.webSearch
  }
  return { cost: round(sum, fees, card.factor, 2n), uncovered: uncovered ?? NOTHING }
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

  const prompt = BigInt(inputTokens) * input
  const fees = card.request ?? 0n
  // A discount tier may be answered by the standard one: the bound does without it.
  const factor = card.factor !== undefined && card.factor > ONE ? card.factor : undefined
  return (outputTokens) => round(prompt + BigInt(outputTokens) * (output ?? 0n), fees, factor, 1n)
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

/** @param half 2 rounds half up, 1 rounds up */
function round(tokens: bigint, fees: bigint, factor: Rate | undefined, half: 1n | 2n): NanoUsd {
  const exact = factor === undefined ? tokens + fees : tokens * factor + fees * ONE
  const unit = factor === undefined ? RATE_UNITS_PER_NANO : RATE_UNITS_PER_NANO * ONE
  return half === 2n ? (exact * 2n + unit) / (unit * 2n) : (exact + unit - 1n) / unit
}
