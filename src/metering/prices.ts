import { createHash } from 'node:crypto'
import type { NanoUsd, Usage } from '#protocol'
import { type Catalogue, type CataloguePrice, lineOf, own } from './catalogue.ts'
import { parseRate } from './money.ts'
import { findListed, GENAI_PRICES } from './price-list.ts'
import { fees, type PriceRates, readDiscount, readRates, withStandIns } from './price-rates.ts'
import {
  type Bill,
  bill,
  bound,
  type Bucket,
  BUCKETS,
  type RateCard,
  type TokenRate,
  type Uses,
} from './rates.ts'

/** `providers.<name>.prices` of the settings: by model name, `*` standing for any characters. */
export type PriceOverrides = Readonly<Record<string, PriceRates>>

/** A price or a discount that somebody set, for as long as it holds. Never changed but for its end. */
export interface PriceRow {
  /** Names it for good. */
  readonly id: string
  /** Absent: for every tenant. */
  readonly tenantId?: string
  /** Patterns: names of configured providers, and their models. */
  readonly provider: string
  readonly model: string
  /** Unix ms, inclusive; absent: always was. */
  readonly from?: number
  /** Unix ms, exclusive; absent: no end. */
  readonly to?: number
  /** Absent: a discount, or a row that cannot be read. */
  readonly rates?: PriceRates
  /** Percent off the bill. */
  readonly discount?: string
  /** Of rows that hold at once, the latest counts. */
  readonly revision: number
  readonly origin: 'table' | 'file'
}

/** Whose price is asked for. */
export interface PriceTarget {
  /** Name of the configured provider, for prices that were set. */
  readonly provider: string
  /** Its kind, for the catalogue. */
  readonly kind: string
  /** What the price package calls it; absent: it has no prices for it. */
  readonly priceId?: string | undefined
  readonly model: string
  /** Absent: as for a tenant with no prices of its own. */
  readonly tenantId?: string | undefined
}

export interface PriceConditions {
  /** The processing tier asked for or served, in the provider's word. */
  readonly serviceTier?: string | undefined
}

/** Where prices come from, later before earlier. */
export const PRICE_SOURCES = [
  'genai-prices',
  'catalogue',
  'settings',
  'operator',
  'tenant',
] as const

export type PriceSource = (typeof PRICE_SOURCES)[number]

/** What a model costs at a moment. */
export interface Price {
  /**
   * Names the rates for good: `genai-prices@0.1.8:openai/gpt-5-mini`, `operator:price_1f2e`,
   * with a tier as `;flex` and a discount as `%price_3c4d` after it.
   */
  readonly version: string
  readonly source: PriceSource
  /** `inexact`: a rule for a family of names matched, which may be older than the model. */
  readonly match: 'exact' | 'inexact'
  /** What matched: a pattern that was set, or a model's id in the source. */
  readonly matched: string
  readonly card: RateCard
  /** What may be billed in its place: the standard tier, where another was asked for. */
  readonly otherwise?: RateCard
  /** By the name of a service tier that has prices of its own. */
  readonly tiers?: ReadonlyMap<string, RateCard>
}

/** When a price holds. */
export interface Dated {
  /** Unix ms, inclusive; absent: always was. */
  readonly from?: number
  /** Unix ms, exclusive; absent: no end. */
  readonly to?: number
  /** Times of day, UTC, in ms since midnight; may pass over midnight. */
  readonly daily?: { readonly start: number; readonly end: number }
}

export interface DatedPrice extends Dated {
  /** Absent: what was set cannot be read; the model has no price while this holds. */
  readonly price: Price | undefined
  /** The row it comes from. */
  readonly row?: PriceRow
}

export interface DatedDiscount extends Dated {
  readonly row: PriceRow
  readonly keep: bigint
}

export interface PriceBook {
  /**
   * The price of a model; `undefined` where nobody knows one, never a zero.
   *
   * @param at Unix ms
   */
  find(target: PriceTarget, at: number, conditions?: PriceConditions): Price | undefined
  /** Every price and discount there is for a model, the first that holds being the one. */
  history(target: PriceTarget): {
    readonly prices: readonly DatedPrice[]
    readonly discounts: readonly DatedDiscount[]
  }
  /** What was set by people: of the table and of the settings. */
  readonly rows: readonly PriceRow[]
  /** Rows that cannot be read. */
  readonly broken: readonly PriceRow[]
}

export interface PriceBookDeps {
  /** By the name of the configured provider. */
  readonly overrides?: Readonly<Record<string, PriceOverrides | undefined>>
  readonly rows?: readonly PriceRow[]
  readonly catalogue: Catalogue
  /** Told once for each model whose price comes by a rule for a family of names. */
  readonly onInexact?: (target: PriceTarget, price: Price) => void
}

/** Models remembered; callers choose names, so there is no end to them. */
const MOST_REMEMBERED = 4096

/** A model's prices over time. */
interface Resolved {
  /** By rank. */
  readonly prices: readonly DatedPrice[]
  /** By rank: the tenant's first. */
  readonly discounts: readonly DatedDiscount[]
  /** With a tier or a discount, by version. */
  readonly variants: Map<string, Price>
}

/** A tier's name as it may stand in a version: callers and providers choose it. */
const TIER = /^[a-z][a-z0-9_-]{0,31}$/

/** Tiers that are the price as such. */
const STANDARD = new Set(['default', 'auto', 'standard'])

/**
 * A book of prices, which never changes: those a tenant negotiated, then the operator's of the
 * table, then of the settings, then the catalogue's, then the price package's. Within one source
 * the pattern that spells out most counts, and of rows of one pattern the latest that holds.
 *
 * A discount is off the prices of sources before its own: a tenant's off all but the tenant's
 * own prices, the operator's off those nobody set. Two never add up; the tenant's comes first.
 *
 * A model is looked up once; after that a price is a look into a map.
 *
 * @throws GatewayError `invalid_value` for a price of the settings that is none
 */
export function createPriceBook({
  overrides = {},
  rows = [],
  catalogue,
  onInexact,
}: PriceBookDeps): PriceBook {
  const overridden = new Map(
    Object.entries(overrides).map(([name, prices]) => [name, readOverrides(name, prices ?? {})]),
  )
  const broken: PriceRow[] = []
  const set = rows.map((row) => readRow(row, broken)).toSorted(byRank)
  const tenants = new Set(rows.flatMap(({ tenantId }) => tenantId ?? []))
  const known = new Map<string, Map<string, Map<string, Resolved>>>()
  let remembered = 0

  return {
    rows,
    broken,
    find(target, at, conditions) {
      const resolved = resolve(target)
      const price = inForce(resolved.prices, at)?.price
      if (price === undefined) return undefined
      const tier = conditions?.serviceTier
      const tiered =
        tier === undefined || STANDARD.has(tier) || !TIER.test(tier)
          ? price
          : atTier(resolved, price, target.kind, tier)
      return resolved.discounts.length === 0 ? tiered : discounted(resolved, tiered, at)
    },
    history(target) {
      const { prices, discounts } = resolve(target)
      return { prices, discounts }
    },
  }

  function resolve(target: PriceTarget): Resolved {
    const { tenantId = '' } = target
    const tenant = tenants.has(tenantId) ? tenantId : ''
    let providers = known.get(tenant)
    if (providers === undefined) known.set(tenant, (providers = new Map()))
    let models = providers.get(target.provider)
    if (models === undefined) providers.set(target.provider, (models = new Map()))
    const found = models.get(target.model)
    if (found !== undefined) return found

    if (++remembered > MOST_REMEMBERED) {
      known.clear()
      remembered = 0
      return resolve(target)
    }
    const resolved = lookUp(target, tenant)
    models.set(target.model, resolved)
    const [first] = resolved.prices
    if (first?.price?.match === 'inexact') onInexact?.(target, first.price)
    return resolved
  }

  function lookUp(target: PriceTarget, tenant: string): Resolved {
    const matching = set.filter(
      ({ row, isFor }) =>
        (row.tenantId === undefined || row.tenantId === tenant) &&
        isFor(target.provider, target.model),
    )
    return {
      prices: [
        ...matching.flatMap(({ row, price, when }) =>
          row.discount === undefined ? [{ ...when, row, price }] : [],
        ),
        ...pricesNobodySet(target),
      ],
      discounts: matching.flatMap(({ row, keep, when }) =>
        keep === undefined ? [] : [{ ...when, row, keep }],
      ),
      variants: new Map(),
    }
  }

  function pricesNobodySet(target: PriceTarget): readonly DatedPrice[] {
    const override = overridden.get(target.provider)?.find(({ matches }) => matches(target.model))
    if (override) return [{ price: override.price }]

    const line = lineOf(catalogue, target.kind, target.model)
    if (line?.facts.price) {
      const price: Price = {
        version: `catalogue@${catalogue.version}:${target.kind}/${line.id}`,
        source: 'catalogue',
        match: 'exact',
        matched: line.id,
        card: cataloguedCard(line.facts.price),
      }
      return [{ price }]
    }

    const listed =
      target.priceId === undefined ? undefined : findListed(target.priceId, target.model)
    if (listed === undefined) return []
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
    const [first] = dated
    // The last that applies counts; where none does, the first.
    const isFirstBound = first?.from !== undefined || first?.daily !== undefined
    return [...dated.toReversed(), ...(isFirstBound ? [{ price: first.price }] : [])]
  }

  function atTier(resolved: Resolved, price: Price, kind: string, tier: string): Price {
    const version = `${price.version};${tier}`
    const made = resolved.variants.get(version)
    if (made) return made
    const card = tierCard(price, kind, tier)
    // Named all the same: a price that is set later for this tier is found by it.
    if (card === undefined) return { ...price, version }
    const tiered: Price = { ...price, version, card, otherwise: price.card }
    resolved.variants.set(version, tiered)
    return tiered
  }

  function tierCard(price: Price, kind: string, tier: string): RateCard | undefined {
    const ofItsOwn = price.tiers?.get(tier)
    if (ofItsOwn !== undefined) return ofItsOwn
    // What somebody set is the price, whatever the tier, unless it says otherwise.
    if (price.source !== 'catalogue' && price.source !== 'genai-prices') return undefined
    const factor = own(own(catalogue.serviceTiers, kind) ?? {}, tier)
    return factor === undefined ? undefined : { ...price.card, factor: parseRate(factor) }
  }

  function discounted(resolved: Resolved, price: Price, at: number): Price {
    if (price.source === 'tenant') return price
    const isListed = price.source === 'catalogue' || price.source === 'genai-prices'
    const discount = resolved.discounts.find(
      (one) => holds(one, at) && (one.row.tenantId !== undefined || isListed),
    )
    if (discount === undefined) return price
    const { row, keep } = discount
    const version = `${price.version}%${row.id}`
    const made = resolved.variants.get(version)
    if (made) return made
    const { card, otherwise } = price
    const cheaper: Price = {
      ...price,
      version,
      card: { ...card, keep },
      ...(otherwise && { otherwise: { ...otherwise, keep } }),
    }
    // A tier's name that no price knows is anybody's choice: there is no end to them.
    if (otherwise !== undefined || !version.includes(';')) resolved.variants.set(version, cheaper)
    return cheaper
  }
}

/** What usage costs; see `bill` in rates.ts. */
export function billOf(price: Price, usage: Usage): Bill {
  return bill(price.card, usage)
}

/**
 * What usage costs; `undefined` where a part of it has no price ({@link billOf} says which).
 * Exact, rounded half up once.
 */
export function costOf(price: Price, usage: Usage): NanoUsd | undefined {
  const { cost, uncovered } = bill(price.card, usage)
  return uncovered.length === 0 ? cost : undefined
}

/** The most a request can cost, as a function of its output tokens; see `bound` in rates.ts. */
export function upperBound(
  { card, otherwise }: Price,
  inputTokens: number,
  uses?: Uses,
): ((outputTokens: number) => NanoUsd) | undefined {
  const most = bound(card, inputTokens, uses)
  const other = otherwise && bound(otherwise, inputTokens, uses)
  if (most === undefined || other === undefined) return most
  return (outputTokens) => {
    const [one, two] = [most(outputTokens), other(outputTokens)]
    return one > two ? one : two
  }
}

/** Whether something holds at a moment, Unix ms. */
export function holds({ from, to, daily }: Dated, at: number): boolean {
  if (from !== undefined && at < from) return false
  if (to !== undefined && at >= to) return false
  if (daily === undefined) return true
  const time = at % 86_400_000
  return daily.end < daily.start
    ? time >= daily.start || time < daily.end
    : time >= daily.start && time < daily.end
}

function inForce(prices: readonly DatedPrice[], at: number): DatedPrice | undefined {
  for (const price of prices) if (holds(price, at)) return price
  return undefined
}

/** Names what a price was set to: the same rates again are the same version. */
export function fingerprint(rates: object): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(rates)))
    .digest('hex')
    .slice(0, 8)
}

interface SetRow {
  readonly row: PriceRow
  readonly isFor: (provider: string, model: string) => boolean
  readonly when: Dated
  /** Absent: it cannot be read. */
  readonly price?: Price
  /** Of a discount. */
  readonly keep?: bigint
}

function readRow(row: PriceRow, broken: PriceRow[]): SetRow {
  const { from, to } = row
  const providerMatches = matcher(row.provider)
  const modelMatches = matcher(row.model)
  const set = {
    row,
    isFor: (provider: string, model: string) => providerMatches(provider) && modelMatches(model),
    when: { ...(from !== undefined && { from }), ...(to !== undefined && { to }) },
  }
  try {
    if (row.discount !== undefined) {
      return { ...set, keep: readDiscount(row.discount) }
    }
    if (row.rates === undefined) throw new TypeError('It has no rates')
    const { card, tiers } = readRates(row.id, row.rates)
    const source = sourceOf(row)
    const price: Price = {
      version: `${source}:${row.id}`,
      source,
      match: 'exact',
      matched: `${row.provider}/${row.model}`,
      card,
      ...(tiers.size > 0 && { tiers }),
    }
    return { ...set, price }
  } catch {
    // Refused rather than billed by what was before it: `broken` is told of loudly.
    broken.push(row)
    return set
  }
}

export function sourceOf({ tenantId, origin }: PriceRow): PriceSource {
  if (tenantId !== undefined) return 'tenant'
  return origin === 'file' ? 'settings' : 'operator'
}

function byRank({ row: a }: SetRow, { row: b }: SetRow): number {
  return (
    PRICE_SOURCES.indexOf(sourceOf(b)) - PRICE_SOURCES.indexOf(sourceOf(a)) ||
    spelledOut(b.provider) - spelledOut(a.provider) ||
    spelledOut(b.model) - spelledOut(a.model) ||
    b.revision - a.revision
  )
}

interface Override {
  readonly matches: (model: string) => boolean
  readonly price: Price
}

/** Most exact first: names, then patterns by how much they spell out. */
function readOverrides(provider: string, prices: PriceOverrides): readonly Override[] {
  return Object.entries(prices)
    .toSorted(([a], [b]) => spelledOut(b) - spelledOut(a))
    .map(([pattern, override]) => {
      const { card, tiers } = readRates(`providers.${provider}.prices.${pattern}`, override)
      return {
        matches: matcher(pattern),
        price: {
          version: `settings:${provider}/${pattern}#${fingerprint(override)}`,
          source: 'settings',
          match: 'exact',
          matched: pattern,
          card,
          ...(tiers.size > 0 && { tiers }),
        },
      }
    })
}

function spelledOut(pattern: string): number {
  return pattern.includes('*') ? pattern.replaceAll('*', '').length : Number.MAX_SAFE_INTEGER
}

/** Tells names that a pattern stands for, `*` being any characters. */
export function matcher(pattern: string): (name: string) => boolean {
  if (!pattern.includes('*')) return (name) => name === pattern
  const parts = pattern.split('*')
  const first = parts.shift() ?? ''
  const last = parts.pop() ?? ''
  return (name) => {
    if (name.length < first.length + last.length) return false
    if (!name.startsWith(first) || !name.endsWith(last)) return false
    const middle = name.slice(first.length, name.length - last.length)
    let from = 0
    return parts.every((part) => {
      const index = middle.indexOf(part, from)
      from = index + part.length
      return index >= 0
    })
  }
}

/** With its members in order, and without those that are not there. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => [name, sorted(member)])
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
    ...fees({ webSearch: webSearch === undefined ? undefined : parseRate(webSearch) }),
  }
}
