import { readCsv } from '../reports/csv.ts'
import { EXIT, Failure } from './failure.ts'

/** A price as the control plane takes it. */
export interface ImportedPrice {
  readonly model: string
  readonly rates?: Rates
  readonly discount_percent?: string
  readonly effective_from?: string | null
  readonly effective_to?: string
  readonly note?: string
}

type Tokens = Record<string, string>
type Above = { input_tokens: number } & { [field: string]: string | number }

interface Tier {
  [field: string]: string | Above[]
}

interface Rates {
  [field: string]: string | Above[] | Record<string, Tier>
}

export interface Imported {
  readonly prices: readonly ImportedPrice[]
  /** Parts of prices that there is no place for, or that cannot be. */
  readonly left: readonly { readonly model: string; readonly field: string; readonly why: string }[]
  /** Models that were left out altogether, by why. */
  readonly skipped: ReadonlyMap<string, number>
}

export type ImportFormat = 'litellm' | 'json' | 'csv'

export interface ImportOptions {
  /** Absent: told by what the text looks like. */
  readonly format?: ImportFormat | undefined
  /** Names of configured providers, by what the file may call them. */
  readonly providers: ReadonlyMap<string, readonly string[]>
  /** Keeps to these configured providers; empty: all. */
  readonly only: readonly string[]
}

/**
 * Reads prices from a file of another kind.
 *
 * What does not carry over is named, never dropped in silence.
 *
 * @throws Failure when it cannot be read at all
 */
export function importPrices(text: string, options: ImportOptions): Imported {
  const format = options.format ?? guess(text)
  if (format === 'csv') return fromRows(csvRows(text), options)
  const value = parseJson(text)
  return format === 'litellm' ? fromLiteLlm(value, options) : fromRows(jsonRows(value), options)
}

function guess(text: string): ImportFormat {
  if (!/^\s*[[{]/.test(text)) return 'csv'
  return /"(litellm_provider|input_cost_per_token)"/.test(text) ? 'litellm' : 'json'
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Failure(EXIT.failed, 'The file is no JSON', {
      why: cause instanceof Error ? cause.message : String(cause),
      fix: 'mend it, or name what it is with --format csv',
      cause,
    })
  }
}

// LiteLLM's model_prices_and_context_window.json: USD per token, as numbers.

/** What LiteLLM calls providers that we call otherwise. */
export const LITELLM_NAMES: Readonly<Record<string, readonly string[]>> = {
  google: ['gemini'],
  together: ['together_ai'],
  fireworks: ['fireworks_ai', 'fireworks_ai-embedding-models'],
  cohere: ['cohere_chat'],
  azure: ['azure_ai'],
  novita: ['novita_ai'],
}

const LITELLM_FIELDS: Readonly<Record<string, string>> = {
  input_cost_per_token: 'input',
  output_cost_per_token: 'output',
  cache_read_input_token_cost: 'cache_read',
  cache_creation_input_token_cost: 'cache_write',
  cache_creation_input_token_cost_above_1hr: 'cache_write_1h',
  input_cost_per_audio_token: 'input_audio',
  output_cost_per_audio_token: 'output_audio',
  input_cost_per_image_token: 'input_image',
  output_cost_per_image_token: 'output_image',
  output_cost_per_reasoning_token: 'reasoning',
}

const LITELLM_FEES: Readonly<Record<string, string>> = {
  input_cost_per_request: 'request',
  output_cost_per_image: 'image',
}

const TIERS: Readonly<Record<string, string>> = {
  _batches: 'batch',
  _flex: 'flex',
  _priority: 'priority',
}

const PRICED = /cost|price/

function fromLiteLlm(value: unknown, { providers, only }: ImportOptions): Imported {
  const prices: ImportedPrice[] = []
  const left: { model: string; field: string; why: string }[] = []
  const skipped = new Map<string, number>()
  const skip = (why: string): void => void skipped.set(why, (skipped.get(why) ?? 0) + 1)
  if (!isRecord(value)) throw unreadable('expected an object of models')

  for (const [key, facts] of Object.entries(value)) {
    if (key === 'sample_spec') continue
    if (!isRecord(facts)) {
      skip('they are no objects')
      continue
    }
    const { litellm_provider: named } = facts
    const theirs = typeof named === 'string' ? named : ''
    const ours = (providers.get(theirs) ?? []).filter(
      (name) => only.length === 0 || only.includes(name),
    )
    if (ours.length === 0) {
      skip(`no provider is configured for "${theirs}"`)
      continue
    }
    const model = key.startsWith(`${theirs}/`) ? key.slice(theirs.length + 1) : key
    const rates = litellmRates(key, facts, left)
    if (rates === undefined) {
      skip('they have no price by the token')
      continue
    }
    for (const provider of ours) prices.push({ model: `${provider}/${model}`, rates })
  }
  return { prices: onceEach(prices, left), left, skipped }
}

function litellmRates(
  model: string,
  facts: Readonly<Record<string, unknown>>,
  left: { model: string; field: string; why: string }[],
): Rates | undefined {
  const base: Tokens = {}
  const above = new Map<number, Above>()
  const tiers: Record<string, { tokens: Tokens; above: Map<number, Above> }> = {}
  const refuse = (field: string, why: string): void => void left.push({ model, field, why })

  for (const [field, given] of Object.entries(facts)) {
    if (!PRICED.test(field) || given === null) continue
    if (field === 'search_context_cost_per_query') {
      const most = dearestSearch(given)
      if (most === undefined) refuse(field, 'it is no price')
      else {
        base.web_search = most.price
        if (most.differ) refuse(field, 'it differs by size: the highest was taken')
      }
      continue
    }
    const fee = LITELLM_FEES[field]
    const place = fee === undefined ? placeOf(field) : undefined
    if (given === 0 && place === undefined && fee === undefined) continue
    const price = typeof given === 'number' ? decimal(given, fee === undefined ? 6 : 0) : undefined
    if (fee === undefined && place === undefined) refuse(field, 'there is no such rate here')
    else if (price === undefined) refuse(field, 'it is no price of at most 12 decimals')
    else if (fee !== undefined) base[fee] = price
    else if (place !== undefined) {
      const at = place.tier === undefined ? { tokens: base, above } : tierOf(tiers, place.tier)
      if (place.above === undefined) at.tokens[place.name] = price
      else stepOf(at.above, place.above)[place.name] = price
    }
  }

  if (base.input === undefined && base.output === undefined && base.request === undefined) {
    return undefined
  }
  const service = Object.entries(tiers).map(
    ([name, tier]) =>
      [name, { ...tier.tokens, ...stepsOf(tier.above, base, tier.tokens) }] as const,
  )
  return {
    input: '0',
    ...base,
    ...stepsOf(above, base),
    ...(service.length > 0 && { service_tiers: Object.fromEntries(service) }),
  }

  /** Steps of rates that have a base; others could not be reckoned with. */
  function stepsOf(steps: Map<number, Above>, ...bases: readonly Tokens[]): { above?: Above[] } {
    const known = [...steps.values()].map((step) => {
      const kept = Object.entries(step).filter(([name]) => {
        const isKnown = name === 'input_tokens' || bases.some((one) => one[name] !== undefined)
        if (!isKnown) refuse(`${name} above ${step.input_tokens}`, 'it has no price below that')
        return isKnown
      })
      return Object.fromEntries(kept) as Above
    })
    const used = known.filter((step) => Object.keys(step).length > 1)
    return used.length === 0 ? {} : { above: used }
  }
}

interface Place {
  readonly name: string
  readonly above?: number
  readonly tier?: string
}

/** `input_cost_per_token_above_200k_tokens_priority`: which rate, from where, of which tier. */
function placeOf(field: string): Place | undefined {
  let rest = field
  const suffix = Object.keys(TIERS).find((one) => rest.endsWith(one))
  if (suffix !== undefined) rest = rest.slice(0, -suffix.length)
  const step = /_above_(\d+)k_tokens$/.exec(rest)
  if (step !== null) rest = rest.slice(0, -step[0].length)
  const name = LITELLM_FIELDS[rest]
  if (name === undefined) return undefined
  return {
    name,
    ...(step !== null && { above: Number(step[1]) * 1000 }),
    ...(suffix !== undefined && { tier: TIERS[suffix]! }),
  }
}

function tierOf(
  tiers: Record<string, { tokens: Tokens; above: Map<number, Above> }>,
  name: string,
) {
  return (tiers[name] ??= { tokens: {}, above: new Map<number, Above>() })
}

function stepOf(above: Map<number, Above>, tokens: number): Above {
  let step = above.get(tokens)
  if (step === undefined) above.set(tokens, (step = { input_tokens: tokens }))
  return step
}

function dearestSearch(
  given: unknown,
): { readonly price: string; readonly differ: boolean } | undefined {
  const all = isRecord(given) ? Object.values(given) : [given]
  const numbers = all.filter((one) => typeof one === 'number')
  if (numbers.length === 0 || numbers.length < all.length) return undefined
  const most = Math.max(...numbers)
  const price = decimal(most, 0)
  return price === undefined ? undefined : { price, differ: numbers.some((one) => one !== most) }
}

/**
 * A number as the decimal it was written as, moved so many places to the left of its point.
 *
 * @returns undefined for what no rate can be
 */
export function decimal(value: number, places: number): string | undefined {
  const match = /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value))
  if (match === null) return undefined
  const [, whole = '', fraction = '', exponent = '0'] = match
  const point = whole.length + Number(exponent) + places
  const digits = whole + fraction
  const moved =
    point <= 0
      ? `0.${'0'.repeat(-point)}${digits}`
      : `${digits.slice(0, point).padEnd(point, '0')}.${digits.slice(point)}`
  const [integer = '', decimals = ''] = moved.split('.')
  const shortest = `${integer.replace(/^0+(?=\d)/, '')}.${decimals}`.replace(/\.?0*$/, '')
  return /^\d{1,6}(\.\d{1,12})?$/.test(shortest) ? shortest : undefined
}

// Our own form: what `prices list --set --json` prints, `prices:` of the settings, or CSV.

const RATE_NAMES = [
  'input',
  'output',
  'cache_read',
  'cache_write',
  'cache_write_1h',
  'input_audio',
  'input_image',
  'reasoning',
  'output_audio',
  'output_image',
] as const

const FEE_NAMES = ['request', 'web_search', 'image'] as const

function jsonRows(value: unknown): readonly ImportedPrice[] {
  const listed = isRecord(value) ? (value.prices ?? value.data) : value
  if (!Array.isArray(listed)) throw unreadable('expected a list, or an object with `prices`')
  return listed.map((row: unknown, index) => {
    if (!isRecord(row)) throw unreadable(`prices.${index} is no object`)
    const text = (...names: readonly string[]): string | undefined => {
      const found = names.map((name) => row[name]).find((one) => one !== undefined && one !== null)
      return found === undefined ? undefined : String(found as string | number)
    }
    const rates = isRecord(row.rates) ? (row.rates as Rates) : undefined
    return withoutAbsent({
      model: text('model') ?? '',
      rates,
      discount_percent: text('discount_percent', 'discount'),
      effective_from:
        text('effective_from', 'from') ?? ('effective_from' in row ? null : undefined),
      effective_to: text('effective_to', 'to'),
      note: text('note'),
    })
  })
}

/** Rows of one model and beginning are one price: those with a tier or a threshold add to it. */
function csvRows(text: string): readonly ImportedPrice[] {
  const rows = readCsv(text)
  const [first] = rows
  if (first === undefined) throw unreadable('it has no rows')
  const known = new Set<string>([
    'model',
    'from',
    'to',
    'discount',
    'note',
    'service_tier',
    'above_input_tokens',
    'multiplier',
    ...RATE_NAMES,
    ...FEE_NAMES,
  ])
  const stranger = Object.keys(first).find((name) => !known.has(name))
  if (stranger !== undefined) {
    throw unreadable(`there is no column "${stranger}"; there are ${[...known].join(', ')}`)
  }
  const prices = new Map<string, { row: Record<string, string>; rates: Rates }>()
  for (const row of rows) {
    const place = JSON.stringify([row.model, row.from])
    let price = prices.get(place)
    if (price === undefined) prices.set(place, (price = { row: { ...row }, rates: {} }))
    addRow(price.rates, row)
  }
  return [...prices.values()].map(({ row, rates }) =>
    withoutAbsent({
      model: row.model ?? '',
      rates: Object.keys(rates).length === 0 ? undefined : rates,
      discount_percent: row.discount || undefined,
      effective_from: row.from || undefined,
      effective_to: row.to || undefined,
      note: row.note || undefined,
    }),
  )
}

function addRow(rates: Rates, row: Readonly<Record<string, string>>): void {
  const { service_tier: tier, above_input_tokens: above } = row
  const named = Object.entries(row).filter(
    ([name, text]) =>
      text !== '' && ([...RATE_NAMES, ...FEE_NAMES, 'multiplier'] as string[]).includes(name),
  )
  if (named.length === 0) return
  let target: Rates | Tier = rates
  if (tier) {
    const tiers = ((rates.service_tiers as Record<string, Tier> | undefined) ??= {})
    rates.service_tiers = tiers
    target = tiers[tier] ??= {}
  }
  if (!above) {
    Object.assign(target, Object.fromEntries(named))
    return
  }
  const steps = (target.above as Above[] | undefined) ?? []
  target.above = [...steps, { input_tokens: Number(above), ...Object.fromEntries(named) }]
}

function fromRows(rows: readonly ImportedPrice[], { only }: ImportOptions): Imported {
  const skipped = new Map<string, number>()
  const prices = rows.filter(({ model }) => {
    const isWanted = only.length === 0 || only.includes(model.slice(0, model.indexOf('/')))
    if (!isWanted) skipped.set('not of --provider', (skipped.get('not of --provider') ?? 0) + 1)
    return isWanted
  })
  return { prices, left: [], skipped }
}

/** Two names of theirs can be one of ours: the first counts. */
function onceEach(
  prices: readonly ImportedPrice[],
  left: { model: string; field: string; why: string }[],
): readonly ImportedPrice[] {
  const seen = new Set<string>()
  return prices.filter(({ model }) => {
    if (seen.has(model)) left.push({ model, field: '*', why: 'it stands twice: the first counts' })
    return !seen.has(model) && seen.add(model) !== undefined
  })
}

function withoutAbsent<T extends object>(value: {
  [K in keyof T]: T[K] | undefined
}): T {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function unreadable(why: string): Failure {
  return new Failure(EXIT.failed, 'The file cannot be read as prices', {
    why,
    fix: 'name what it is with --format litellm, json or csv; `tollgate prices import --help` shows both of ours',
  })
}
