import { createHash } from 'node:crypto'
import { asGatewayError, GatewayError } from '#errors'
import type { NanoUsd, Usage } from '#protocol'
import { type Catalogue, type CataloguePrice, lineOf, own } from './catalogue.ts'
import { parseRate, type Rate } from './money.ts'
import { type DatedCard, findListed, GENAI_PRICES } from './price-list.ts'
import {
  bill,
  bound,
  type Bucket,
  BUCKETS,
  type Part,
  type RateCard,
  type TokenRate,
  type Uses,
} from './rates.ts'

/**
 * A price an operator sets, in US dollars as decimal strings: per million tokens, and
 * `request` and `web_search` each.
 *
 * Left out: `cache_read`, `cache_write` and the input's `audio` and `image` are billed as
 * `input`, `cache_write_1h` as `cache_write`, `reasoning` and the output's kinds as `output`.
 */
export interface PriceOverride {
  readonly input: string
  readonly output?: string | undefined
  readonly cache_read?: string | undefined
  readonly cache_write?: string | undefined
  readonly cache_write_1h?: string | undefined
  readonly input_audio?: string | undefined
  readonly input_image?: string | undefined
  readonly reasoning?: string | undefined
  readonly output_audio?: string | undefined
  readonly output_image?: string | undefined
  readonly request?: string | undefined
  readonly web_search?: string | undefined
}

/** `providers.<name>.prices` of the settings: by model name, `*` standing for any characters. */
export type PriceOverrides = Readonly<Record<string, PriceOverride>>

/** Whose price is asked for. */
export interface PriceTarget {
  /** Name of the configured provider, for the operator's prices. */
  readonly provider: string
  /** Its kind, for the catalogue. */
  readonly kind: string
  /** What the price package calls it; absent: it has no prices for it. */
  readonly priceId?: string | undefined
  readonly model: string
}

export interface PriceConditions {
  /** The processing tier asked for or served, in the provider's word. */
  readonly serviceTier?: string | undefined
}

/** What a model costs at a moment. */
export interface Price {
  /** Names the rates for good: `genai-prices@0.1.8:openai/gpt-5-mini`. */
  readonly version: string
  readonly source: 'settings' | 'catalogue' | 'genai-prices'
  /** `inexact`: a rule for a family of names matched, which may be older than the model. */
  readonly match: 'exact' | 'inexact'
  /** What matched: a pattern of the settings, or a model's id in the source. */
  readonly matched: string
  readonly card: RateCard
}

export interface PriceBook {
  /**
   * The price of a model; `undefined` where nobody knows one, never a zero.
   *
   * @param at Unix ms
   */
  find(target: PriceTarget, at: number, conditions?: PriceConditions): Price | undefined
}

export interface PriceBookDeps {
  /** By the name of the configured provider. */
  readonly overrides?: Readonly<Record<string, PriceOverrides | undefined>>
  readonly catalogue: Catalogue
  /** Told once for each model whose price comes by a rule for a family of names. */
  readonly onInexact?: (target: PriceTarget, price: Price) => void
}

/** Models remembered; callers choose names, so there is no end to them. */
const MOST_REMEMBERED = 4096

type DatedPrice = Pick<DatedCard, 'from' | 'daily'> & { readonly price: Price }

/** A model's prices over time, the one in force at a moment being the last that applies. */
interface Resolved {
  readonly dated: readonly DatedPrice[]
  /** With a service tier's factor, by its name. */
  readonly byTier: Map<string, Price>
}

/**
 * Prices from the settings, then the catalogue, then the price package.
 *
 * A model is looked up once; after that a price is a look into a map.
 *
 * @throws GatewayError `invalid_value` for an override that is not a price
 */
export function createPriceBook({
  overrides = {},
  catalogue,
  onInexact,
}: PriceBookDeps): PriceBook {
  const overridden = new Map(
    Object.entries(overrides).map(([name, prices]) => [name, readOverrides(name, prices ?? {})]),
  )
  const known = new Map<string, Map<string, Resolved | undefined>>()
  let remembered = 0

  return {
    find(target, at, conditions) {
      const resolved = resolve(target)
      if (resolved === undefined) return undefined
      const price = inForce(resolved, at)
      const tier = conditions?.serviceTier
      return price === undefined || tier === undefined || tier === 'default' || tier === 'auto'
        ? price
        : atTier(resolved, price, target.kind, tier)
    },
  }

  function resolve(target: PriceTarget): Resolved | undefined {
    let models = known.get(target.provider)
    if (models === undefined) known.set(target.provider, (models = new Map()))
    const found = models.get(target.model)
    if (found !== undefined || models.has(target.model)) return found

    if (++remembered > MOST_REMEMBERED) {
      for (const each of known.values()) each.clear()
      remembered = 1
    }
    const resolved = lookUp(target)
    models.set(target.model, resolved)
    const [price] = resolved?.dated ?? []
    if (price?.price.match === 'inexact') onInexact?.(target, price.price)
    return resolved
  }

  function lookUp(target: PriceTarget): Resolved | undefined {
    const override = overridden.get(target.provider)?.find(({ matches }) => matches(target.model))
    if (override) return { dated: [{ price: override.price }], byTier: new Map() }

    const line = lineOf(catalogue, target.kind, target.model)
    if (line?.facts.price) {
      const price: Price = {
        version: `catalogue@${catalogue.version}:${target.kind}/${line.id}`,
        source: 'catalogue',
        match: 'exact',
        matched: line.id,
        card: cataloguedCard(line.facts.price),
      }
      return { dated: [{ price }], byTier: new Map() }
    }

    const listed =
      target.priceId === undefined ? undefined : findListed(target.priceId, target.model)
    if (listed === undefined) return undefined
    const billedApart = own(catalogue.billedApart, target.kind) ?? []
    const dated = listed.cards.map(({ card, label, ...when }): DatedPrice => ({
      ...when,
      price: {
        version: `genai-prices@${GENAI_PRICES}:${listed.provider}/${listed.id}${label}`,
        source: 'genai-prices',
        match: listed.exact ? 'exact' : 'inexact',
        matched: listed.id,
        card: { ...card, tokens: withStandIns(card.tokens, billedApart) },
      },
    }))
    return { dated, byTier: new Map() }
  }

  function atTier(resolved: Resolved, price: Price, kind: string, tier: string): Price {
    // What an operator set is the price, whatever the tier.
    if (price.source === 'settings') return price
    const factor = own(own(catalogue.serviceTiers, kind) ?? {}, tier)
    if (factor === undefined) return price
    const version = `${price.version};${tier}`
    let tiered = resolved.byTier.get(version)
    if (!tiered) {
      tiered = { ...price, version, card: { ...price.card, factor: parseRate(factor) } }
      resolved.byTier.set(version, tiered)
    }
    return tiered
  }
}

/**
 * What usage costs; `undefined` where a part of it has no price ({@link billOf} says which).
 * Exact, rounded half up once.
 */
export function costOf(price: Price, usage: Usage): NanoUsd | undefined {
  const { cost, uncovered } = bill(price.card, usage)
  return uncovered.length === 0 ? cost : undefined
}

/** What usage costs and which parts of it have no price; see `bill` in rates.ts for how those count. */
export function billOf(
  price: Price,
  usage: Usage,
): { readonly cost: NanoUsd; readonly uncovered: readonly Part[] } {
  return bill(price.card, usage)
}

/** The most a request can cost, as a function of its output tokens; see `bound` in rates.ts. */
export function upperBound(
  price: Price,
  inputTokens: number,
  uses?: Uses,
): ((outputTokens: number) => NanoUsd) | undefined {
  return bound(price.card, inputTokens, uses)
}

function inForce({ dated }: Resolved, at: number): Price | undefined {
  if (dated.length === 1) return dated[0]?.price
  for (let index = dated.length - 1; index >= 0; index--) {
    const { from, daily, price } = dated[index]!
    if (from !== undefined && at < from) continue
    if (daily !== undefined) {
      const time = at % 86_400_000
      const within =
        daily.end < daily.start
          ? time >= daily.start || time < daily.end
          : time >= daily.start && time < daily.end
      if (!within) continue
    }
    return price
  }
  return dated[0]?.price
}

interface Override {
  readonly matches: (model: string) => boolean
  readonly price: Price
}

/** Most exact first: names, then patterns by how much they spell out. */
function readOverrides(provider: string, prices: PriceOverrides): readonly Override[] {
  return Object.entries(prices)
    .toSorted(([a], [b]) => spelledOut(b) - spelledOut(a))
    .map(([pattern, override]) => ({
      matches: matcher(pattern),
      price: {
        version: `settings:${provider}/${pattern}#${fingerprint(override)}`,
        source: 'settings',
        match: 'exact',
        matched: pattern,
        card: overrideCard(`providers.${provider}.prices.${pattern}`, override),
      },
    }))
}

function spelledOut(pattern: string): number {
  return pattern.includes('*') ? pattern.replaceAll('*', '').length : Number.MAX_SAFE_INTEGER
}

function matcher(pattern: string): (model: string) => boolean {
  if (!pattern.includes('*')) return (model) => model === pattern
  const parts = pattern.split('*')
  const first = parts.shift() ?? ''
  const last = parts.pop() ?? ''
  return (model) => {
    if (model.length < first.length + last.length) return false
    if (!model.startsWith(first) || !model.endsWith(last)) return false
    const middle = model.slice(first.length, model.length - last.length)
    let from = 0
    return parts.every((part) => {
      const index = middle.indexOf(part, from)
      from = index + part.length
      return index >= 0
    })
  }
}

/** So that a price that was changed has another version. */
function fingerprint(override: PriceOverride): string {
  const fields = Object.entries(override)
    .filter(([, value]) => value !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256').update(JSON.stringify(fields)).digest('hex').slice(0, 8)
}

const OVERRIDE_FIELDS = {
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
} as const satisfies Record<Bucket, keyof PriceOverride>

function overrideCard(path: string, override: PriceOverride): RateCard {
  const read = (field: keyof PriceOverride): Rate | undefined => {
    const text = override[field]
    if (text === undefined) return undefined
    try {
      return parseRate(text)
    } catch (error) {
      const { message } = asGatewayError(error)
      throw new GatewayError('invalid_value', `${path}.${field}: ${message}`, {
        param: `${path}.${field}`,
      })
    }
  }
  const tokens: { [bucket in Bucket]?: TokenRate } = {}
  for (const bucket of BUCKETS) {
    const rate = read(OVERRIDE_FIELDS[bucket])
    if (rate !== undefined) tokens[bucket] = { base: rate, tiers: [] }
  }
  return { tokens: withStandIns(tokens, []), ...fees(read('request'), read('web_search')) }
}

function cataloguedCard(price: CataloguePrice): RateCard {
  const tokens: { [bucket in Bucket]?: TokenRate } = {}
  const { above = [], webSearch } = price
  for (const bucket of BUCKETS) {
    const rate = price[bucket]
    if (rate === undefined) continue
    const tiers = above.flatMap((tier) => {
      const raised = tier[bucket]
      return raised === undefined ? [] : [{ above: tier.inputTokens, rate: parseRate(raised) }]
    })
    tokens[bucket] = { base: parseRate(rate), tiers }
  }
  return {
    tokens: withStandIns(tokens, []),
    ...fees(undefined, webSearch === undefined ? undefined : parseRate(webSearch)),
  }
}

/** Both in dollars each; a card has them per million. */
function fees(request: Rate | undefined, webSearch: Rate | undefined) {
  return {
    ...(request === undefined ? {} : { request: request * 1_000_000n }),
    ...(webSearch === undefined ? {} : { webSearch: webSearch * 1_000_000n }),
  }
}

/**
 * Fills in what providers bill at another bucket's rate when they list none of its own.
 *
 * Cached tokens cost as plain ones, an hour's cache write as any, reasoning as output, and
 * sound and pictures as text of the same direction. Where a provider is known to bill a
 * kind apart (`billedApart`), a missing rate stays missing: the package lacks it, and text
 * would be several times too cheap.
 */
function withStandIns(
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
