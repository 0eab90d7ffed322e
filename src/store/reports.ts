import type { Selectable } from 'kysely'
import { GatewayError } from '#errors'
import {
  addUsage,
  type CostType,
  inputTokens,
  NO_USAGE,
  type NanoUsd,
  outputTokens,
  type Usage,
} from '#protocol'
import { COST_COLUMNS, readUsage } from './entries.ts'
import {
  type Calendar,
  type Period,
  PERIOD_UNITS,
  type PeriodUnit,
  periodsOf,
  type Range,
  rangeBefore,
} from './periods.ts'
import {
  type Attribute,
  ATTRIBUTES,
  BEFORE,
  columnsOf,
  type Found,
  type Keyset,
  selectSums,
  type Wanted,
} from './report-query.ts'
import type { Database, SumColumns } from './schema.ts'

/** Costs by what they are for; `unsplit` is what the ledger has no part of a cost for. */
export const TOKEN_TYPES = {
  input: 'input',
  cache_read: 'cacheRead',
  cache_write_5m: 'cacheWrite5m',
  cache_write_1h: 'cacheWrite1h',
  input_audio: 'inputAudio',
  input_image: 'inputImage',
  output: 'output',
  reasoning: 'reasoning',
  output_audio: 'outputAudio',
  output_image: 'outputImage',
  web_searches: 'webSearches',
  request: 'request',
  unsplit: undefined,
} as const satisfies Record<string, CostType | undefined>

export type TokenType = keyof typeof TOKEN_TYPES

/** What a report can be grouped by and filtered on, beside periods. */
export const FILTERS = [...ATTRIBUTES, 'token_type'] as const

export type Filter = Attribute | 'token_type'
export type Dimension = Filter | PeriodUnit

/** What a report can be grouped by. */
export const DIMENSIONS = [...FILTERS, ...PERIOD_UNITS] as const satisfies Dimension[]

export interface CostsQuery extends Range, Calendar {
  /** Absent: of all tenants, which is for the platform's own people alone. */
  readonly tenantId?: string | undefined
  /** Empty: one row for all. */
  readonly groupBy: readonly Dimension[]
  /** Only entries with one of the values, for each dimension named. */
  readonly filters?: Readonly<Partial<Record<Filter, readonly string[]>>>
  /** With `usage` and `costs` by type; takes longer. */
  readonly detail?: boolean
  /**
   * With the range before beside it, see {@link rangeBefore}. Periods are compared in turn, the
   * first with the first; where the range before has more of them, those are in its total alone.
   */
  readonly compare?: boolean
  /** Within a period: the dearest first (the default), or by the values of the group. */
  readonly order?: 'cost' | 'group'
  /** Cut at multiples of so many ms since 1970, where no period is grouped by. */
  readonly bucketMs?: number
  /** Rows of a page; absent: all. */
  readonly limit?: number
  /** Where the page before ended. */
  readonly after?: Cursor | undefined
}

export interface Costs {
  /** Requests that reached a first attempt; with one retried elsewhere, where that was. */
  readonly requests: number
  readonly attempts: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cost: NanoUsd
  /** Attempts without a price: what they cost is not in `cost`. */
  readonly unpriced: number
  /** Entries whose usage is our estimate. */
  readonly estimated: number
  /** With `detail`. */
  readonly usage?: Usage
  /** With `detail`: they add up to `cost`. */
  readonly costs?: Readonly<Record<TokenType, NanoUsd>>
}

export interface CostsRow extends Costs {
  /** A value per dimension asked for; `null`: the entries have none (no end user was named). */
  readonly group: Readonly<Partial<Record<Dimension, string | null>>>
  /** When the row's period begins, Unix ms; the range's start where no period was asked for. */
  readonly start: number
  readonly end: number
  /** Of the same group in the range before. */
  readonly previous?: Costs
}

export interface CostsReport {
  /** By period, then in the order asked for. Groups without entries have no row. */
  readonly rows: readonly CostsRow[]
  /**
   * Of the whole range, whatever page it stands with. The rows of all pages add up to it,
   * except by tag: what has two tags is in two rows, and in the total once.
   */
  readonly total: Costs
  readonly previous?: Range & { readonly total: Costs }
  /** Absent: this was the last page. */
  readonly next?: Cursor
}

/** Where a page ended. */
export interface Cursor extends Keyset {
  /** Start of the last row's period. */
  readonly period: number
}

export const NOTHING: Costs = Object.freeze({
  requests: 0,
  attempts: 0,
  inputTokens: 0,
  outputTokens: 0,
  cost: 0n,
  unpriced: 0,
  estimated: 0,
})

/**
 * The one query behind every number of costs: reports, exports, summaries, statements.
 *
 * Rows and total are of one moment. A correction counts in the period of what it corrects.
 *
 * @throws GatewayError `invalid_value` on an unknown zone, a range that ends before it
 *   begins, a cursor of another report, or too many periods
 */
export async function costsReport(db: Database, query: CostsQuery): Promise<CostsReport> {
  if (!(query.from <= query.to)) {
    throw new GatewayError('invalid_value', 'The range ends before it begins', { param: 'to' })
  }
  const periods = periodsAsked(query)
  const range = query.compare === true ? rangeBefore(query, query) : undefined
  const before = range && periodsAsked({ ...query, ...range })
  return atOneMoment(db, async (snapshot) => {
    const { rows, next } = await readPage(snapshot, query, periods, before)
    const total = await readTotal(snapshot, query)
    const previous = range && { ...range, total: await readTotal(snapshot, { ...query, ...range }) }
    return { rows, total, ...(previous && { previous }), ...(next && { next }) }
  })
}

/** All that is read within is of one moment. */
export function atOneMoment<T>(db: Database, read: (db: Database) => Promise<T>): Promise<T> {
  if (db.isTransaction) return read(db)
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(read)
}

function periodsAsked(query: CostsQuery): readonly Period[] {
  const units = PERIOD_UNITS.filter((unit) => query.groupBy.includes(unit))
  if (units.length > 0) return periodsOf(query, units, query)
  // For the sake of the zone, which is to be one in any case.
  periodsOf({ from: 0, to: 1 }, ['day'], query)
  if (query.bucketMs !== undefined) return bucketsOf(query, query.bucketMs)
  return [{ start: query.from, end: query.to, labels: {} }]
}

export function bucketsOf({ from, to }: Range, ms: number): readonly Period[] {
  const periods: Period[] = []
  for (let start = from; start < to;) {
    const end = Math.min(to, (Math.floor(start / ms) + 1) * ms)
    periods.push({ start, end, labels: {} })
    start = end
  }
  return periods
}

/** Periods are read so many days at a time where only a page of rows is wanted. */
const CHUNK_MS = 8 * 86_400_000

async function readPage(
  db: Database,
  query: CostsQuery,
  periods: readonly Period[],
  before: readonly Period[] | undefined,
): Promise<Pick<CostsReport, 'rows' | 'next'>> {
  const { limit, after, order = 'cost' } = query
  const byType = query.groupBy.includes('token_type') || query.filters?.token_type !== undefined
  // A group has a row for each type.
  const most =
    limit === undefined
      ? Number.POSITIVE_INFINITY
      : Math.max(1, Math.floor(limit / (byType ? Object.keys(TOKEN_TYPES).length : 1)))
  const wanted = wantedOf(query, byType)
  const found: (Found & { readonly at: Period })[] = []
  let first = after === undefined ? 0 : periods.findIndex(({ start }) => start === after.period)
  if (first < 0 || (after !== undefined && after.values.length !== wanted.columns.length)) {
    throw new GatewayError('invalid_value', 'The page is of another report', { param: 'page' })
  }
  while (first < periods.length && found.length <= most) {
    const chunk = limit === undefined ? periods.slice(first) : chunkOf(periods, first)
    const rows = await selectSums(db, wanted, chunk, {
      before: before?.slice(first, first + chunk.length),
      order,
      after: after?.period === chunk[0]?.start ? after : undefined,
      limit: limit === undefined ? undefined : most + 1 - found.length,
    })
    for (const row of rows) {
      const at = chunk[Number(row.period)]
      if (at !== undefined) found.push({ ...row, at })
    }
    first += chunk.length
  }
  const shown = found.slice(0, most)
  const last = shown.at(-1)
  const rows = shown.flatMap((row) => rowsOf(row, query))
  if (found.length <= shown.length || last === undefined) return { rows }
  return {
    rows,
    next: {
      period: last.at.start,
      cost: last.cost_nanos,
      values: wanted.columns.map((name) => last[name] ?? ''),
    },
  }
}

function chunkOf(periods: readonly Period[], first: number): readonly Period[] {
  const start = periods[first]?.start ?? 0
  const beyond = periods.findIndex(
    (period, index) => index > first && period.start >= start + CHUNK_MS,
  )
  return periods.slice(first, beyond === -1 ? undefined : beyond)
}

function wantedOf(query: CostsQuery, byType: boolean): Wanted {
  const { tenantId, groupBy, filters = {}, detail = false } = query
  const { token_type: _, ...attributes } = filters
  const grouped = ATTRIBUTES.filter((name) => groupBy.includes(name))
  return {
    tenantId,
    columns: columnsOf(grouped),
    filters: attributes,
    detail: detail || byType,
  }
}

async function readTotal(db: Database, query: CostsQuery): Promise<Costs> {
  const { from, to } = query
  const byType = query.filters?.token_type !== undefined
  const wanted = { ...wantedOf(query, byType), columns: [] }
  const [row] = await selectSums(db, wanted, [{ start: from, end: to, labels: {} }], {})
  if (row === undefined)
    return { ...NOTHING, ...(query.detail === true && costsOf(undefined, true)) }
  return costsWanted(row, query)
}

function rowsOf(row: Found & { readonly at: Period }, query: CostsQuery): CostsRow[] {
  const { groupBy, filters, compare } = query
  const then = compare === true ? beforeOf(row) : undefined
  const rowOf = (costs: Costs, previous: Costs | undefined, type?: TokenType): CostsRow => ({
    group: Object.fromEntries(
      groupBy.map((name) => [name, name === 'token_type' ? (type ?? null) : valueOf(row, name)]),
    ),
    start: row.at.start,
    end: row.at.end,
    ...costs,
    ...(previous && { previous }),
  })
  if (!groupBy.includes('token_type')) {
    return [rowOf(costsWanted(row, query), then && costsWanted(then, query))]
  }
  const now = new Map(typesOf(row, filters?.token_type))
  const past = then && new Map(typesOf(then, filters?.token_type))
  return (Object.keys(TOKEN_TYPES) as TokenType[]).flatMap((type) =>
    now.has(type) || past?.has(type) === true
      ? [rowOf(now.get(type) ?? NOTHING, past && (past.get(type) ?? NOTHING), type)]
      : [],
  )
}

/** What the query asks for of a group: all, or some types only. */
function costsWanted(row: Found, { filters, detail }: CostsQuery): Costs {
  if (filters?.token_type === undefined) return costsOf(row, detail === true)
  return typesOf(row, filters.token_type).reduce((total, [, one]) => add(total, one), NOTHING)
}

/** The measures of the range before, under their own names. */
function beforeOf(row: Found): Found {
  const measures = Object.entries(row).flatMap(([name, value]) =>
    name.startsWith(BEFORE) ? [[name.slice(BEFORE.length), value]] : [],
  )
  return { ...row, ...Object.fromEntries(measures) }
}

function valueOf(
  row: Found & { readonly at: Period },
  name: Exclude<Dimension, 'token_type'>,
): string | null {
  if (isUnit(name)) return row.at.labels[name] ?? null
  const values = columnsOf([name]).map((column) => row[column] ?? '')
  return values.join('/') || null
}

function isUnit(name: string): name is PeriodUnit {
  return (PERIOD_UNITS as readonly string[]).includes(name)
}

function costsOf(row: Found | undefined, detail: boolean): Costs {
  const costs: Costs =
    row === undefined
      ? NOTHING
      : {
          requests: Number(row.requests),
          attempts: Number(row.attempts),
          inputTokens: Number(row.tokens_in),
          outputTokens: Number(row.tokens_out),
          cost: row.cost_nanos,
          unpriced: Number(row.unpriced),
          estimated: Number(row.estimated),
        }
  if (!detail) return costs
  const sums = row as Selectable<SumColumns> | undefined
  return { ...costs, usage: sums === undefined ? NO_USAGE : readUsage(sums), costs: splitOf(sums) }
}

function splitOf(row: Selectable<SumColumns> | undefined): Readonly<Record<TokenType, NanoUsd>> {
  let rest = row?.cost_nanos ?? 0n
  const costs = Object.entries(TOKEN_TYPES).map(([name, type]) => {
    if (type === undefined) return [name, rest]
    const cost = row?.[COST_COLUMNS[type]] ?? 0n
    rest -= cost
    return [name, cost]
  })
  return Object.fromEntries(costs)
}

/**
 * A row for each type, which add up to the whole in every measure: the request as such, beside
 * its own fee, stands for how many there were.
 */
function typesOf(
  row: Found,
  only: readonly string[] | undefined,
): readonly (readonly [TokenType, Costs])[] {
  const whole = costsOf(row, true)
  return (Object.keys(TOKEN_TYPES) as TokenType[]).flatMap((name) => {
    if (only !== undefined && !only.includes(name)) return []
    const type = TOKEN_TYPES[name]
    const cost = whole.costs?.[name] ?? 0n
    if (type === 'request') {
      const { requests, attempts, unpriced, estimated } = whole
      return [[name, { ...NOTHING, requests, attempts, unpriced, estimated, cost }] as const]
    }
    const quantity = type === undefined ? 0 : (whole.usage?.[type] ?? 0)
    if (quantity === 0 && cost === 0n) return []
    const usage = type === undefined ? NO_USAGE : { ...NO_USAGE, [type]: quantity }
    return [
      [
        name,
        {
          ...NOTHING,
          inputTokens: inputTokens(usage),
          outputTokens: outputTokens(usage),
          cost,
          usage,
        },
      ] as const,
    ]
  })
}

export function add(one: Costs, other: Costs): Costs {
  const usage = addUsage(one.usage ?? NO_USAGE, other.usage ?? NO_USAGE)
  const hasUsage = one.usage !== undefined || other.usage !== undefined
  return {
    requests: one.requests + other.requests,
    attempts: one.attempts + other.attempts,
    inputTokens: one.inputTokens + other.inputTokens,
    outputTokens: one.outputTokens + other.outputTokens,
    cost: one.cost + other.cost,
    unpriced: one.unpriced + other.unpriced,
    estimated: one.estimated + other.estimated,
    ...(hasUsage && { usage }),
  }
}
