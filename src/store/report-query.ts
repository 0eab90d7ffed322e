import { type RawBuilder, type Selectable, sql } from 'kysely'
import type { Period } from './periods.ts'
import {
  DAY_MS,
  DETAIL_MEASURES,
  END_USER_SPANS,
  HOUR_MS,
  MAIN_MEASURES,
  type Measure,
  measure,
  sum,
  UNFOLDED,
} from './roll-up.ts'
import type { Database, SumColumns } from './schema.ts'

/**
 * What entries can be told apart by. A `model` is `provider/model`, since what two providers
 * call by one name are two models with two prices; a filter may leave the provider out.
 */
export const ATTRIBUTES = [
  'tenant',
  'application',
  'key',
  'user',
  'end_user',
  'tag',
  'model',
  'model_asked',
  'model_served',
  'provider',
  'prompt',
  'environment',
  'credential',
  'endpoint',
  'outcome',
] as const

export type Attribute = (typeof ATTRIBUTES)[number]

/** What tells the values of an attribute apart. */
const COLUMNS = {
  tenant: ['tenant_id'],
  application: ['application_id'],
  key: ['key_id'],
  user: ['user_id'],
  end_user: ['end_user'],
  tag: ['tag'],
  model: ['provider', 'model'],
  model_asked: ['model_asked'],
  model_served: ['model_served'],
  provider: ['provider'],
  prompt: ['prompt_id'],
  environment: ['environment'],
  credential: ['credential_id'],
  endpoint: ['endpoint'],
  outcome: ['outcome'],
} as const satisfies Record<Attribute, readonly string[]>

export type Column = (typeof COLUMNS)[Attribute][number]

export function columnsOf(attributes: readonly Attribute[]): readonly Column[] {
  return [...new Set(attributes.flatMap((name) => [...COLUMNS[name]]))]
}

export interface Wanted {
  readonly tenantId: string | undefined
  readonly columns: readonly Column[]
  readonly filters: Readonly<Partial<Record<Attribute, readonly string[]>>>
  /** With the measures by type. */
  readonly detail: boolean
}

/** The place of a row in the order. */
export interface Keyset {
  readonly cost: bigint
  /** Of the columns; empty texts for none. */
  readonly values: readonly string[]
}

export interface Page {
  /** To compare with, each with the period of its index. */
  readonly before?: readonly Period[] | undefined
  readonly order?: 'cost' | 'group'
  /** Of the first period. */
  readonly after?: Keyset | undefined
  readonly limit?: number | undefined
}

/**
 * Measures of a group; without `detail` only the main ones; those of the range before as well,
 * where there is one. Empty texts stand for none.
 */
export type Found = Selectable<Pick<SumColumns, (typeof MAIN_MEASURES)[number]>> &
  Partial<Record<Column, string>> & {
    /** Index of the period. */
    readonly period: bigint
  }

/**
 * Sums by period and columns, from the fewest rows that have them.
 *
 * Whole days and hours come from their sums, whole days and weeks of end users from theirs.
 * What a border cuts (of the range, or of a day in a zone that is half an hour off) comes from
 * the entries. All in one statement: rows, totals and groupings agree to the nano.
 */
export async function selectSums(
  db: Database,
  wanted: Wanted,
  periods: readonly Period[],
  { before, order = 'cost', after, limit }: Page,
): Promise<readonly Found[]> {
  const measures: readonly Measure[] = wanted.detail
    ? [...MAIN_MEASURES, ...DETAIL_MEASURES]
    : MAIN_MEASURES
  const columns = wanted.columns.map((name) => sql.ref(name))
  const groups = sql.join([sql`period`, ...columns])
  const parts = [periods, before ?? []].flatMap((range, side) =>
    sourcesOf(wanted, range).map((source) => selectSource(source, wanted, measures, side)),
  )
  if (parts.length === 0) return []
  const sums = sql.join(
    before === undefined ? measures.map(all) : [...measures.map(now), ...measures.map(then)],
  )
  const { rows } = await sql<Found>`
    select * from (
      select ${groups}, ${sums}
      from (${sql.join(parts, sql` union all `)}) as parts
      group by ${groups}
    ) as sums
    ${after === undefined ? sql`` : sql`where period > 0 or ${beyond(after, columns, order)}`}
    order by period, ${order === 'cost' ? sql`cost_nanos desc, ` : sql``}${groups}
    ${limit === undefined ? sql`` : sql`limit ${sql.lit(limit)}`}`.execute(db)
  return rows
}

const all = (name: Measure): RawBuilder<unknown> => sql`${sum(sql.ref(name))} as ${sql.ref(name)}`
const now = (name: Measure): RawBuilder<unknown> => ofSide(name, 0, name)
const then = (name: Measure): RawBuilder<unknown> => ofSide(name, 1, `${BEFORE}${name}`)

function ofSide(name: Measure, side: 0 | 1, as: string): RawBuilder<unknown> {
  const value = sql`case when side = ${sql.lit(side)} then ${sql.ref(name)} else 0 end`
  return sql`${sum(value)} as ${sql.ref(as)}`
}

/** What measures of the range before are called by. */
export const BEFORE = 'before_'

/** Comes after a row of the same period. */
function beyond(
  { cost, values }: Keyset,
  columns: readonly RawBuilder<unknown>[],
  order: Page['order'],
): RawBuilder<unknown> {
  const later =
    columns.length === 0 ? sql`1 = 0` : sql`(${sql.join(columns)}) > (${sql.join(values)})`
  return order === 'cost' ? sql`cost_nanos < ${cost} or (cost_nanos = ${cost} and ${later})` : later
}

/** A stretch of a period that one source covers. */
interface Segment {
  readonly period: number
  readonly start: number
  readonly end: number
}

/** Rows to sum: `t` are sums or, as `e`, entries; `c` are their cells. */
interface Source {
  readonly period: RawBuilder<unknown>
  readonly from: RawBuilder<unknown>
  readonly where: readonly RawBuilder<unknown>[]
  readonly value: (name: Measure) => RawBuilder<unknown>
  readonly endUser: RawBuilder<unknown>
  /** Whose end users are wanted: of entries that name one, of those that do not, of all. */
  readonly named: boolean | undefined
  /** It brings its cells itself. */
  readonly hasCells?: true
}

const stored = (name: Measure): RawBuilder<unknown> => sql.ref(`t.${name}`)
/** No end user, as a text that is compared as all ids are. */
const NOBODY = sql`substr(c.tenant_id, 1, 0)`

function sourcesOf(wanted: Wanted, periods: readonly Period[]): readonly Source[] {
  const { filters, columns } = wanted
  if (filters.end_user !== undefined) return endUserSources(wanted, periods)
  if (!columns.includes('end_user')) return cellSources(wanted, periods, undefined)
  return [...endUserSources(wanted, periods), ...cellSources(wanted, periods, false)]
}

/** Sums without regard to end users; those of entries that name none, where `named` is false. */
function cellSources(
  wanted: Wanted,
  periods: readonly Period[],
  named: false | undefined,
): readonly Source[] {
  const [days, hours, ragged] = decompose(periods, [DAY_MS, HOUR_MS])
  const common = { value: stored, endUser: NOBODY, named }
  return [
    ...daySource(wanted, days ?? [], common),
    ...unfoldedSource(wanted, days ?? [], named),
    ...ranged(hours ?? [], sql`usage_hours as t`, sql`t.hour`, [ofTenant(wanted, 't')], common),
    ...entrySource(wanted, ragged ?? [], named),
  ]
}

function endUserSources(wanted: Wanted, periods: readonly Period[]): readonly Source[] {
  // Their sums are of the main measures alone.
  if (wanted.detail) return entrySource(wanted, decompose(periods, [])[0] ?? [], true)
  const spans = END_USER_SPANS.toReversed()
  const parts = decompose(
    periods,
    spans.map((hours) => hours * HOUR_MS),
  )
  const only = wanted.filters.end_user
  const sources = spans.flatMap((span, index) => {
    const conditions = [
      ofTenant(wanted, 't'),
      sql`t.span = ${sql.lit(span)}`,
      ...(only === undefined ? [] : [oneOf(sql`t.end_user`, only)]),
    ]
    const common = { value: stored, endUser: sql`t.end_user`, named: undefined }
    const segments = parts[index] ?? []
    return ranged(
      // To find a few end users, each span is looked into by itself.
      only === undefined ? segments : segments.flatMap((one) => cut(one, span * HOUR_MS)),
      sql`usage_end_users as t`,
      sql`t.start`,
      conditions,
      common,
      only !== undefined,
    )
  })
  const folded = parts.slice(0, -1).flat()
  return [
    ...sources,
    ...unfoldedSource(wanted, folded, true),
    ...entrySource(wanted, parts.at(-1) ?? [], true),
  ]
}

/** What days and end users do not have yet: few entries, looked through for every segment. */
function unfoldedSource(
  wanted: Wanted,
  segments: readonly Segment[],
  named: boolean | undefined,
): readonly Source[] {
  const whole = joined(segments)
  // Past the index on tenant and time, which SQLite would take, and read all there ever was.
  const tenant =
    wanted.tenantId === undefined ? sql`1 = 1` : sql`e.tenant_id || '' = ${wanted.tenantId}`
  return entrySource(wanted, whole, named, tenant).map((source) => ({
    ...source,
    from: sql`entries as e cross join (values ${sql.join(whole.map(literal))}) as s`,
    where: [UNFOLDED, ...source.where],
  }))
}

/** Segments of a period that follow each other, as one. */
function joined(segments: readonly Segment[]): readonly Segment[] {
  const found: Segment[] = []
  for (const next of segments.toSorted((a, b) => a.start - b.start)) {
    const last = found.at(-1)
    if (last !== undefined && last.period === next.period && last.end === next.start) {
      found[found.length - 1] = { ...last, end: next.end }
    } else found.push(next)
  }
  return found
}

/** By cell, then by day: the rows of a cell lie together. */
function daySource(
  wanted: Wanted,
  segments: readonly Segment[],
  common: Pick<Source, 'value' | 'endUser' | 'named'>,
): readonly Source[] {
  const [first] = segments
  const last = segments.at(-1)
  if (first === undefined || last === undefined) return []
  const from = sql`usage_cells as c cross join usage_days as t`
  const where = [
    ofTenant(wanted, 'c'),
    sql`t.cell = c.id`,
    sql`t.day >= ${sql.lit(first.start)} and t.day < ${sql.lit(last.end)}`,
  ]
  const regular = regularPeriod(segments)
  if (regular !== undefined) return [{ ...common, period: regular, from, where, hasCells: true }]
  return [
    {
      ...common,
      period: sql`s.column1`,
      from: sql`${from} cross join (values ${sql.join(segments.map(literal))}) as s`,
      where: [...where, sql`t.day >= s.column2 and t.day < s.column3`],
      hasCells: true,
    },
  ]
}

/**
 * The period of a day by division, where all are of one length: SQLite would look through the
 * list of periods for each row. Those at the ends may be cut.
 */
function regularPeriod(segments: readonly Segment[]): RawBuilder<unknown> | undefined {
  const [first, second] = segments
  if (first === undefined) return undefined
  if (second === undefined) return sql.lit(first.period)
  const length = segments.length === 2 ? DAY_MS : second.end - second.start
  const isRegular = segments.every(({ period, start, end }, index) => {
    const isLast = index === segments.length - 1
    const own = end - start
    return (
      period === first.period + index &&
      start === (index === 0 ? start : segments[index - 1]?.end) &&
      (index === 0 || isLast ? own <= length : own === length)
    )
  })
  if (!isRegular) return undefined
  return sql`(t.day - ${sql.lit(first.end - length)}) / ${sql.lit(length)} + ${sql.lit(first.period)}`
}

function entrySource(
  wanted: Wanted,
  segments: readonly Segment[],
  named: boolean | undefined,
  tenant = ofTenant(wanted, 'e'),
): readonly Source[] {
  const only = wanted.filters.end_user
  return ranged(
    segments,
    sql`entries as e`,
    sql`e.admitted_at`,
    [
      tenant,
      ...(named === true ? [sql`e.end_user <> ''`] : []),
      ...(only === undefined ? [] : [oneOf(sql`e.end_user`, only)]),
    ],
    { value: measure, endUser: sql`coalesce(e.end_user, '')`, named },
  )
}

/**
 * Rows by ranges of their time. Cross joins, because SQLite takes their order as given:
 * segments outside, and the table's index on tenant and time inside.
 *
 * @param single - each segment is one value of `time`
 */
function ranged(
  segments: readonly Segment[],
  table: RawBuilder<unknown>,
  time: RawBuilder<unknown>,
  where: readonly RawBuilder<unknown>[],
  common: Pick<Source, 'value' | 'endUser' | 'named'>,
  single = false,
): readonly Source[] {
  if (segments.length === 0) return []
  const within = single
    ? sql`${time} = s.column2`
    : sql`${time} >= s.column2 and ${time} < s.column3`
  return [
    {
      ...common,
      period: sql`s.column1`,
      from: sql`(values ${sql.join(segments.map(literal))}) as s cross join ${table}`,
      where: [...where, within],
    },
  ]
}

function selectSource(
  { period, from, where, value, endUser, named, hasCells }: Source,
  { columns, filters }: Wanted,
  measures: readonly Measure[],
  side: number,
): RawBuilder<unknown> {
  const own = Object.entries(filters).flatMap(([name, values]) =>
    conditions(name as Attribute, values),
  )
  const needsCells =
    hasCells !== true &&
    (own.length > 0 || named === false || columns.some((name) => name !== 'end_user'))
  const tags = columns.includes('tag')
    ? sql`left join usage_cell_tags as g on g.cell = c.id`
    : sql``
  const outputs = columns.map((name) => {
    const column =
      name === 'end_user'
        ? endUser
        : name === 'tag'
          ? sql`coalesce(g.tag, '')`
          : sql.ref(`c.${name}`)
    return sql`${column} as ${sql.ref(name)}`
  })
  const sums = measures.map((name) => sql`${sum(value(name))} as ${sql.ref(name)}`)
  const places = sql.join([period, ...columns].map((_, index) => sql.lit(index + 1)))
  return sql`
    select ${sql.join([sql`${period} as period`, ...outputs, sql`${sql.lit(side)} as side`, ...sums])}
    from ${from} ${needsCells ? sql`cross join usage_cells as c` : sql``} ${tags}
    where ${sql.join(
      [
        ...where,
        ...own,
        ...(needsCells ? [sql`c.id = ${value === measure ? sql`e.cell` : sql`t.cell`}`] : []),
        ...(named === false ? [sql`c.end_users = 0`] : []),
        ...(columns.includes('tag') && filters.tag !== undefined
          ? [oneOf(sql`g.tag`, filters.tag)]
          : []),
      ],
      sql` and `,
    )}
    group by ${places}`
}

/** Of cells. */
function conditions(
  name: Attribute,
  values: readonly string[] | undefined,
): readonly RawBuilder<unknown>[] {
  if (values === undefined || name === 'end_user') return []
  if (name === 'tag') {
    return [sql`c.id in (select cell from usage_cell_tags where ${oneOf(sql`tag`, values)})`]
  }
  if (name === 'model') {
    const full = sql`c.provider || '/' || c.model`
    return [sql`(${oneOf(sql`c.model`, values)} or ${oneOf(full, values)})`]
  }
  return [oneOf(sql.ref(`c.${COLUMNS[name][0]}`), values)]
}

function oneOf(value: RawBuilder<unknown>, values: readonly string[]): RawBuilder<unknown> {
  return values.length === 0 ? sql`1 = 0` : sql`${value} in (${sql.join(values)})`
}

function ofTenant({ tenantId }: Wanted, table: 't' | 'e' | 'c'): RawBuilder<unknown> {
  const column = sql.ref(`${table}.tenant_id`)
  if (tenantId !== undefined) return sql`${column} = ${tenantId}`
  // Cells have no order to keep to; elsewhere the index begins with the tenant.
  return table === 'c' ? sql`1 = 1` : sql`${column} in (select id from tenants)`
}

/** Numbers of our own making; as parameters they would have no type on Postgres. */
function literal({ period, start, end }: Segment): RawBuilder<unknown> {
  return sql`(${sql.lit(period)}, ${sql.lit(start)}, ${sql.lit(end)})`
}

function cut({ period, start, end }: Segment, length: number): readonly Segment[] {
  const parts: Segment[] = []
  for (let at = start; at < end; at += length) parts.push({ period, start: at, end: at + length })
  return parts
}

/**
 * Covers periods by whole stretches of the lengths given, the longest first.
 *
 * @param lengths - ms, each a multiple of the next
 * @returns the segments for each length, then what is left at the borders
 */
function decompose(
  periods: readonly Period[],
  lengths: readonly number[],
): readonly (readonly Segment[])[] {
  const found: Segment[][] = [...lengths, 0].map(() => [])
  for (const [period, { start, end }] of periods.entries()) cover(period, start, end, 0)
  return found

  function cover(period: number, start: number, end: number, level: number): void {
    if (start >= end) return
    const length = lengths[level]
    if (length === undefined) return void found[level]?.push({ period, start, end })
    const first = Math.ceil(start / length) * length
    const last = Math.floor(end / length) * length
    if (first >= last) return cover(period, start, end, level + 1)
    cover(period, start, first, level + 1)
    found[level]?.push({ period, start: first, end: last })
    cover(period, last, end, level + 1)
  }
}
