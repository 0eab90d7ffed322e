import { type RawBuilder, sql } from 'kysely'

export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

/** What every report shows. */
export const MAIN_MEASURES = [
  'requests',
  'attempts',
  'cost_nanos',
  'unpriced',
  'estimated',
  'tokens_in',
  'tokens_out',
] as const

/** What it shows when asked for tokens by their type. */
export const DETAIL_MEASURES = [
  'input_tokens',
  'cache_read_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'input_audio_tokens',
  'input_image_tokens',
  'output_tokens',
  'reasoning_tokens',
  'output_audio_tokens',
  'output_image_tokens',
  'web_searches',
  'input_nanos',
  'cache_read_nanos',
  'cache_write_5m_nanos',
  'cache_write_1h_nanos',
  'input_audio_nanos',
  'input_image_nanos',
  'output_nanos',
  'reasoning_nanos',
  'output_audio_nanos',
  'output_image_nanos',
  'web_searches_nanos',
  'request_nanos',
] as const

/** In the order of the columns: what is read most stands first, and is found fastest. */
const MEASURES = [...MAIN_MEASURES, ...DETAIL_MEASURES] as const

export type Measure = (typeof MEASURES)[number]

const TOKENS_IN = DETAIL_MEASURES.slice(0, 6)
const TOKENS_OUT = DETAIL_MEASURES.slice(6, 10)

/** What one entry (`e`) adds to a measure, where that is not the column of the same name. */
const COUNTED: Partial<Record<Measure, RawBuilder<unknown>>> = {
  requests: sql`case when e.kind = 'attempt' and e.attempt = 1 then 1 else 0 end`,
  attempts: sql`case when e.kind = 'attempt' then 1 else 0 end`,
  cost_nanos: sql`coalesce(e.cost_nanos, 0)`,
  // The first correction that gives an entry its price takes it from among those without.
  unpriced: sql`case
    when e.kind = 'attempt' then case when e.cost_nanos is null then 1 else 0 end
    when e.adjusts is not null and e.cost_nanos is not null
      and exists (select 1 from entries o where o.id = e.adjusts and o.cost_nanos is null)
      and not exists (select 1 from entries p where p.adjusts = e.adjusts and p.seq < e.seq
        and p.cost_nanos is not null)
    then -1 else 0 end`,
  estimated: sql`case when e.usage_source = 'estimated' then 1 else 0 end`,
  tokens_in: total(TOKENS_IN),
  tokens_out: total(TOKENS_OUT),
}

function total(columns: readonly Measure[]): RawBuilder<unknown> {
  return sql.join(
    columns.map((name) => sql.ref(`e.${name}`)),
    sql` + `,
  )
}

/** How an entry counts: in the roll-ups, and in reports that read the entries (`e`) themselves. */
export function measure(name: Measure): RawBuilder<unknown> {
  const own = COUNTED[name]
  if (own !== undefined) return own
  const column = sql.ref(`e.${name}`)
  return name.endsWith('_nanos') ? sql`coalesce(${column}, 0)` : column
}

/**
 * How long the stretches are that are summed for each end user, in hours: few entries come
 * together in an hour or a day, and a report over a year would read nearly all. Only the main
 * measures are.
 */
export const END_USER_SPANS = [1, 24, 7 * 24] as const

/**
 * Adds entries to their sums by hour of admission, which are never behind.
 *
 * @param entries - what to read them from: a table expression with the columns of `entries`
 */
export function rollUpHours(entries: RawBuilder<unknown>): RawBuilder<unknown> {
  return rollUp('usage_hours', entries, MEASURES, [
    ['tenant_id', sql`e.tenant_id`],
    ['hour', startOf(sql.lit(HOUR_MS))],
    ['cell', sql`e.cell`],
  ])
}

/**
 * Adds entries to their sums by UTC day and by end user. Their rows lie far apart: on SQLite it
 * is done for many entries at once, and {@link UNFOLDED} are those it is not done for yet.
 *
 * @param entries - as for {@link rollUpHours}
 */
export function fold(entries: RawBuilder<unknown>): readonly RawBuilder<unknown>[] {
  const day = startOf(sql.lit(DAY_MS))
  const span = startOf(sql`spans.column1 * cast(${sql.lit(HOUR_MS)} as bigint)`)
  const spans = sql.join(END_USER_SPANS.map((hours) => sql`(${sql.lit(hours)})`))
  return [
    rollUp('usage_days', entries, MEASURES, [
      ['cell', sql`e.cell`],
      ['day', day],
    ]),
    rollUp(
      'usage_end_users',
      entries,
      MAIN_MEASURES,
      [
        ['tenant_id', sql`e.tenant_id`],
        ['span', sql`spans.column1`],
        ['start', span],
        ['end_user', sql`e.end_user`],
        ['cell', sql`e.cell`],
      ],
      sql`cross join (values ${spans}) as spans where e.end_user <> ''`,
    ),
  ]
}

/** Entries (`e`) that days and end users do not have yet. There are none where nothing is behind. */
export const UNFOLDED = sql`e.seq > (select value from counters where name = 'folded_seq')`

function startOf(length: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`e.admitted_at - e.admitted_at % (${length})`
}

function rollUp(
  table: string,
  entries: RawBuilder<unknown>,
  measures: readonly Measure[],
  kept: readonly (readonly [name: string, value: RawBuilder<unknown>])[],
  rest: RawBuilder<unknown> = sql`where true`,
): RawBuilder<unknown> {
  const names = sql.join(kept.map(([name]) => sql.ref(name)))
  const values = sql.join(kept.map(([, value]) => value))
  const places = sql.join(kept.map((_, index) => sql.lit(index + 1)))
  const columns = sql.join(measures.map((name) => sql.ref(name)))
  const sums = sql.join(measures.map((name) => sum(measure(name))))
  const added = sql.join(
    measures.map(
      (name) =>
        sql`${sql.ref(name)} = ${sql.ref(`${table}.${name}`)} + ${sql.ref(`excluded.${name}`)}`,
    ),
  )
  // Rows are touched in the order of the key, so that two processes cannot deadlock.
  return sql`
    insert into ${sql.table(table)} (${names}, ${columns})
    select ${values}, ${sums}
    from ${entries} as e ${rest}
    group by ${places}
    order by ${places}
    on conflict (${names}) do update set ${added}`
}

/** A 64-bit sum on both databases; an overflow is an error, never a wrong number. */
export function sum(expression: RawBuilder<unknown>): RawBuilder<bigint> {
  return sql`cast(sum(${expression}) as bigint)`
}
