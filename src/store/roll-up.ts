import { type RawBuilder, sql } from 'kysely'

export const HOUR_MS = 3_600_000

/** What a roll-up row stands for, beside its hour. In the order of the primary key. */
const KEPT = [
  'application_id',
  'key_id',
  'provider',
  'model',
  'model_asked',
  'endpoint',
  'outcome',
] as const

export const MEASURE_NAMES = [
  'requests',
  'attempts',
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
  'cost_nanos',
  'unpriced',
  'estimated',
] as const

export type Measure = (typeof MEASURE_NAMES)[number]

/** What one entry adds to a measure, where that is not the column of the same name. */
const COUNTED: Partial<Record<Measure, RawBuilder<unknown>>> = {
  requests: sql`case when kind = 'attempt' and attempt = 1 then 1 else 0 end`,
  attempts: sql`case when kind = 'attempt' then 1 else 0 end`,
  cost_nanos: sql`coalesce(cost_nanos, 0)`,
  unpriced: sql`case when cost_nanos is null then 1 else 0 end`,
  estimated: sql`case when usage_source = 'estimated' then 1 else 0 end`,
}

/** How an entry counts: in the roll-up, and in reports that read the entries themselves. */
export function measure(name: Measure): RawBuilder<unknown> {
  return COUNTED[name] ?? sql.ref(name)
}

/**
 * Adds entries to their hours.
 *
 * @param entries - what to read them from: a table expression with the columns of `entries`
 */
export function rollUp(entries: RawBuilder<unknown>): RawBuilder<unknown> {
  const kept = sql.join(KEPT.map((name) => sql.ref(name)))
  const names = sql.join(MEASURE_NAMES.map((name) => sql.ref(name)))
  const sums = sql.join(MEASURE_NAMES.map((name) => sum(measure(name))))
  const added = sql.join(
    MEASURE_NAMES.map(
      (name) =>
        sql`${sql.ref(name)} = ${sql.ref(`usage_hours.${name}`)} + ${sql.ref(`excluded.${name}`)}`,
    ),
  )
  // Rows are touched in the order of the key, so that two processes cannot deadlock.
  return sql`
    insert into usage_hours (tenant_id, hour, ${kept}, ${names})
    select tenant_id, admitted_at - admitted_at % ${sql.lit(HOUR_MS)}, ${kept}, ${sums}
    from ${entries}
    where true
    group by 1, 2, ${kept}
    order by 1, 2, ${kept}
    on conflict (tenant_id, hour, ${kept}) do update set ${added}`
}

/** A 64-bit sum on both databases; an overflow is an error, never a wrong number. */
export function sum(expression: RawBuilder<unknown>): RawBuilder<bigint> {
  return sql`cast(sum(${expression}) as bigint)`
}
