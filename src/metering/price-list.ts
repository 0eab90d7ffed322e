import {
  calcPrice,
  type MatchLogic,
  type ModelPrice,
  type TieredPrices,
} from '@pydantic/genai-prices'
import { rateOf } from './money.ts'
import { type Bucket, BUCKETS, type RateCard, type TokenRate } from './rates.ts'

/** The version of the price package, as part of each price's version. */
export const GENAI_PRICES = '0.1.8'

/** A model of the price package. */
export interface Listed {
  readonly provider: string
  readonly id: string
  /** Whether the package knows this very name, not just a family it belongs to. */
  readonly exact: boolean
  /** At least one; of those that apply at a moment the last is in force, of none the first. */
  readonly cards: readonly DatedCard[]
}

export interface DatedCard {
  /** Unix ms. */
  readonly from?: number
  /** Times of day, UTC, in ms since midnight; may pass over midnight. */
  readonly daily?: { readonly start: number; readonly end: number }
  /** Tells the cards of a model apart; empty where there is but one. */
  readonly label: string
  readonly card: RateCard
}

const BUCKET_KEYS = {
  input: 'input_mtok',
  cacheRead: 'cache_read_mtok',
  cacheWrite5m: 'cache_write_mtok',
  cacheWrite1h: 'cache_write_1h_mtok',
  inputAudio: 'input_audio_mtok',
  inputImage: 'input_image_mtok',
  output: 'output_mtok',
  reasoning: 'output_reasoning_mtok',
  outputAudio: 'output_audio_mtok',
  outputImage: 'output_image_mtok',
} as const satisfies Record<Bucket, string>

/**
 * A model's prices in the package, in exact integers.
 *
 * The package finds the model; its own arithmetic, in floats and some 30 µs for each
 * request, is not used. A test holds our sums to it.
 *
 * @returns `undefined` for a model the package does not know, or lists without a price by
 *   the token
 */
export function findListed(provider: string, model: string): Listed | undefined {
  // Without a provider the package would guess one from the model's name.
  if (provider === '') return undefined
  const found = calcPrice({}, model, { providerId: provider })
  if (!found) return undefined
  const { prices, id, match } = found.model
  const dated = Array.isArray(prices) ? prices : [{ prices }]
  const cards = dated.map(({ constraint, prices: entry }): DatedCard => {
    const card = cardOf(entry)
    if (constraint === undefined) return { label: '', card }
    if (constraint.type === 'start_date') {
      return { from: Date.parse(constraint.start_date), label: `@${constraint.start_date}`, card }
    }
    const { start_time: start, end_time: end } = constraint
    return {
      daily: { start: timeOfDay(start), end: timeOfDay(end) },
      label: `@${start}-${end}`,
      card,
    }
  })
  if (cards.some(({ card }) => Object.keys(card.tokens).length === 0)) return undefined
  return { provider: found.provider.id, id, exact: isExact(model, id, match), cards }
}

function cardOf(prices: ModelPrice): RateCard {
  const tokens: { [bucket in Bucket]?: TokenRate } = {}
  for (const bucket of BUCKETS) {
    const price = prices[BUCKET_KEYS[bucket]]
    if (price !== undefined) tokens[bucket] = tokenRate(price)
  }
  const { requests_kcount: requests, web_searches_kcount: searches } = prices
  return {
    tokens,
    ...(requests === undefined ? {} : { request: tokenRate(requests).base * 1000n }),
    ...(searches === undefined ? {} : { webSearch: tokenRate(searches).base * 1000n }),
  }
}

function tokenRate(price: number | TieredPrices): TokenRate {
  if (typeof price === 'number') return { base: rateOf(price), tiers: [] }
  const tiers = price.tiers
    .map(({ start, price: raised }) => ({ above: start, rate: rateOf(raised) }))
    .toSorted((a, b) => a.above - b.above)
  return { base: rateOf(price.base), tiers }
}

/** What may follow a model's name without making it another model: a date, a revision, `latest`. */
const SNAPSHOT = /^[-@](?:\d{8}|\d{4}-\d\d-\d\d|\d\d-\d{4}|\d{4}|\d{3}|latest)$/

function isExact(model: string, id: string, match: MatchLogic): boolean {
  const name = model.toLowerCase().trim()
  return [id, ...spelled(match)].some((known) => {
    const plain = known.toLowerCase()
    return name === plain || (name.startsWith(plain) && SNAPSHOT.test(name.slice(plain.length)))
  })
}

/** The names a rule spells out in full. */
function spelled(match: MatchLogic): readonly string[] {
  if ('equals' in match) return [match.equals]
  if ('or' in match) return match.or.flatMap(spelled)
  return []
}

/** `16:30:00Z` or `01:00:00+08:00`, as ms after midnight UTC. */
function timeOfDay(text: string): number {
  const time = Date.parse(`1970-01-02T${text}`)
  return time % 86_400_000
}
