import { type RawBuilder, type Selectable, sql } from 'kysely'
import { GatewayError } from '#errors'
import { NO_USAGE, type NanoUsd, type Usage } from '#protocol'
import { readUsage } from './entries.ts'
import { type Period, type PeriodUnit, periodsOf } from './periods.ts'
import { HOUR_MS, type Measure, MEASURE_NAMES, measure, sum } from './roll-up.ts'
import type { Database, EntriesTable, UsageHoursTable } from './schema.ts'

/**
 * What a report can be grouped by and filtered on. A `model` is `provider/model`, since what two
 * providers call by one name are two models with two prices; a filter may leave the provider out.
 */
export const ATTRIBUTES = [
  'application',
  'key',
  'provider',
  'model',
  'model_asked',
  'endpoint',
  'outcome',
  'end_user',
] as const

/** What tells the values of an attribute apart. */
const COLUMNS = {
  application: ['application_id'],
  key: ['key_id'],
  provider: ['provider'],
  model: ['provider', 'model'],
  model_asked: ['model_asked'],
  endpoint: ['endpoint'],
  outcome: ['outcome'],
  end_user: ['end_user'],
} as const satisfies Record<Attribute, readonly (keyof EntriesTable)[]>

export type Attribute = (typeof ATTRIBUTES)[number]
export type Dimension = Attribute | PeriodUnit

/** Finest first. */
export const PERIOD_UNITS = ['hour', 'day', 'month'] as const satisfies PeriodUnit[]

export interface CostsQuery {
  readonly tenantId: string
  /** Unix ms, inclusive; by the moment of admission. */
  readonly from: number
  /** Unix ms, exclusive. */
  readonly to: number
  /** IANA name of the zone in which days begin. */
  readonly timeZone: string
  /** Empty: one row for all. */
  readonly groupBy: readonly Dimension[]
  /** Only entries with one of the values, for each attribute named. */
  readonly filters?: Readonly<Partial<Record<Attribute, readonly string[]>>>
}

export interface CostsRow extends Costs {
  /** A value per dimension asked for; `null`: the entries have none (no end user was named). */
  readonly group: Readonly<Partial<Record<Dimension, string | null>>>
}

export interface Costs {
  /** Requests that reached a first attempt; with one retried elsewhere, where that was. */
  readonly requests: number
  readonly attempts: number
  readonly usage: Usage
  readonly cost: NanoUsd
  /** Entries without a price: what they cost is not in `cost`. */
  readonly unpriced: number
  /** Entries whose usage is our estimate. */
  readonly estimated: number
}

export interface CostsReport {
  /** By period, then the dearest first. Groups without entries have no row. */
  readonly rows: readonly CostsRow[]
  readonly total: Costs
}

/**
 * The one query behind every number of costs: reports, exports, summaries.
 *
 * Whole hours come from the roll-up. An hour that a border cuts (of the range, or of a day in
 * a zone that is half an hour off) comes from the entries, and so does all that the roll-up
 * does not keep. Both in one statement: rows, totals and groupings agree to the nano.
 *
 * @throws GatewayError `invalid_value` on an unknown zone, a range that ends before it
 *   begins, or too many periods
 */
export async function costsReport(db: Database, query: CostsQuery): Promise<CostsReport> {
  if (!(query.from <= query.to)) {
    throw new GatewayError('invalid_value', 'The range ends before it begins', { param: 'to' })
  }
  const unit = PERIOD_UNITS.find((name) => query.groupBy.includes(name))
  const periods: readonly Period[] = unit
    ? periodsOf(query, unit, query.timeZone)
    : [{ start: query.from, end: query.to, label: '' }]

  const found = await select(db, query, periods)
  const rows = found.map((row) => ({
    group: groupOf(row, query.groupBy, periods),
    ...costsOf(row),
  }))
  return { rows, total: rows.reduce(add, NOTHING) }
}

/** The part of a period that one source covers. */
interface Segment {
  readonly period: number
  readonly start: number
  readonly end: number
}

type Found = Selectable<Pick<UsageHoursTable, Measure>> &
  Partial<Record<(typeof COLUMNS)[Attribute][number], string | null>> & { readonly period: bigint }

async function select(
  db: Database,
  query: CostsQuery,
  periods: readonly Period[],
): Promise<readonly Found[]> {
  const attributes = ATTRIBUTES.filter((name) => query.groupBy.includes(name))
  const names = new Set(attributes.flatMap((name) => [...COLUMNS[name]]))
  const columns = [...names].map((name) => sql.ref(name))
  const { hours, ragged } = segmentsOf(periods, needsEntries(query))

  const sources = [
    ...source(query, columns, sql`usage_hours`, sql`hour`, hours, (name) => sql.ref(name)),
    ...source(query, columns, sql`entries`, sql`admitted_at`, ragged, measure),
  ]
  if (sources.length === 0) return []
  const groups = sql.join([sql`period`, ...columns])
  const sums = MEASURE_NAMES.map((name) => sql`${sum(sql.ref(name))} as ${sql.ref(name)}`)
  const { rows } = await sql<Found>`
    select ${groups}, ${sql.join(sums)}
    from (${sql.join(sources, sql` union all `)}) as parts
    group by ${groups}
    order by period, cost_nanos desc, ${groups}`.execute(db)
  return rows
}

/** One of the two sources, summed by segment; none without segments. */
function source(
  { tenantId, filters = {} }: CostsQuery,
  columns: readonly RawBuilder<unknown>[],
  table: RawBuilder<unknown>,
  time: RawBuilder<unknown>,
  segments: readonly Segment[],
  value: (name: Measure) => RawBuilder<unknown>,
): RawBuilder<unknown>[] {
  if (segments.length === 0) return []
  const groups = sql.join([sql`segments.column1`, ...columns])
  const sums = MEASURE_NAMES.map((name) => sql`${sum(value(name))} as ${sql.ref(name)}`)
  const conditions = ATTRIBUTES.flatMap((name) => {
    const values = filters[name]
    if (values === undefined) return []
    if (values.length === 0) return [sql`and 1 = 0`]
    const wanted = sql.join(values)
    if (name !== 'model') return [sql`and ${sql.ref(COLUMNS[name][0])} in (${wanted})`]
    return [sql`and (model in (${wanted}) or provider || '/' || model in (${wanted}))`]
  })
  // A cross join, because SQLite takes its order as given: segments outside, and the table's
  // index on tenant and time inside.
  return [
    sql`
    select ${sql.join([sql`segments.column1 as period`, ...columns])}, ${sql.join(sums)}
    from (values ${sql.join(segments.map(literal))}) as segments
    cross join ${table}
    where tenant_id = ${tenantId}
      and ${time} >= segments.column2 and ${time} < segments.column3
      ${sql.join(conditions, sql` `)}
    group by ${groups}`,
  ]
}

/** Numbers of our own making; as parameters they would have no type on Postgres. */
function literal({ period, start, end }: Segment): RawBuilder<unknown> {
  return sql`(${sql.lit(period)}, ${sql.lit(start)}, ${sql.lit(end)})`
}

/** The roll-up does not keep end users: there are too many. */
function needsEntries({ groupBy, filters }: CostsQuery): boolean {
  return groupBy.includes('end_user') || filters?.end_user !== undefined
}

function segmentsOf(
  periods: readonly Period[],
  entriesOnly: boolean,
): { readonly hours: Segment[]; readonly ragged: Segment[] } {
  const hours: Segment[] = []
  const ragged: Segment[] = []
  for (const [period, { start, end }] of periods.entries()) {
    const first = Math.ceil(start / HOUR_MS) * HOUR_MS
    const last = Math.floor(end / HOUR_MS) * HOUR_MS
    if (entriesOnly || first >= last) {
      ragged.push({ period, start, end })
    } else {
      hours.push({ period, start: first, end: last })
      ragged.push({ period, start, end: first }, { period, start: last, end })
    }
  }
  return { hours, ragged: ragged.filter(({ start, end }) => start < end) }
}

function groupOf(
  row: Found,
  groupBy: readonly Dimension[],
  periods: readonly Period[],
): CostsRow['group'] {
  const label = periods[Number(row.period)]?.label ?? ''
  return Object.fromEntries(
    groupBy.map((name) => {
      if (name === 'model') return [name, `${row.provider}/${row.model}`]
      if (!isUnit(name)) return [name, row[COLUMNS[name][0]] ?? null]
      // A coarser unit is the beginning of a finer one's label.
      return [name, label.slice(0, LABEL_LENGTHS[name])]
    }),
  )
}

function isUnit(name: Dimension): name is PeriodUnit {
  return name in LABEL_LENGTHS
}

const LABEL_LENGTHS: Readonly<Record<PeriodUnit, number | undefined>> = {
  hour: undefined,
  day: 10,
  month: 7,
}

function costsOf(row: Found): Costs {
  return {
    requests: Number(row.requests),
    attempts: Number(row.attempts),
    usage: readUsage(row),
    cost: row.cost_nanos,
    unpriced: Number(row.unpriced),
    estimated: Number(row.estimated),
  }
}

const NOTHING: Costs = {
  requests: 0,
  attempts: 0,
  usage: NO_USAGE,
  cost: 0n,
  unpriced: 0,
  estimated: 0,
}

function add(total: Costs, row: Costs): Costs {
  return {
    requests: total.requests + row.requests,
    attempts: total.attempts + row.attempts,
    usage: addUsage(total.usage, row.usage),
    cost: total.cost + row.cost,
    unpriced: total.unpriced + row.unpriced,
    estimated: total.estimated + row.estimated,
  }
}

function addUsage(a: Usage, b: Usage): Usage {
  return {
    input: a.input + b.input,
    cacheRead: a.cacheRead + b.cacheRead,
    cacheWrite5m: a.cacheWrite5m + b.cacheWrite5m,
    cacheWrite1h: a.cacheWrite1h + b.cacheWrite1h,
    inputAudio: a.inputAudio + b.inputAudio,
    inputImage: a.inputImage + b.inputImage,
    output: a.output + b.output,
    reasoning: a.reasoning + b.reasoning,
    outputAudio: a.outputAudio + b.outputAudio,
    outputImage: a.outputImage + b.outputImage,
    webSearches: a.webSearches + b.webSearches,
  }
}
