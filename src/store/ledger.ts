import { type RawBuilder, sql } from 'kysely'
import type { Entry, NanoUsd, Scope } from '#protocol'
import { fromRow } from './entries.ts'
import { DAY_MS, HOUR_MS, measure, sum, UNFOLDED } from './roll-up.ts'
import type { Database } from './schema.ts'

type ScopeId = Pick<Scope, 'id'> & {
  readonly kind: 'platform' | 'tenant' | 'application' | 'key'
}

/**
 * All attempts and adjustments of a request, in the order in which they were written.
 */
export async function getEntries(
  db: Database,
  tenantId: string,
  requestId: string,
): Promise<readonly Entry[]> {
  const rows = await db
    .selectFrom('entries')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    // Ids are `<requestId>.<attempt>`; `/` is what comes after `.`.
    .where('id', '>=', `${requestId}.`)
    .where('id', '<', `${requestId}/`)
    .orderBy('seq')
    .execute()
  return rows.map(fromRow)
}

/** The same of whatever tenant, for what is held for a request. Request ids are never given twice. */
export async function entriesOfRequest(db: Database, requestId: string): Promise<readonly Entry[]> {
  const rows = await db
    .selectFrom('entries')
    .selectAll()
    .where('id', '>=', `${requestId}.`)
    .where('id', '<', `${requestId}/`)
    .orderBy('seq')
    .execute()
  return rows.map(fromRow)
}

/**
 * The settled cost of everything admitted since, to the nano; unpriced attempts add nothing.
 *
 * @param since - Unix ms, such as the start of a budget's window
 */
export async function spentSince(db: Database, scope: ScopeId, since: number): Promise<NanoUsd> {
  const hour = Math.ceil(since / HOUR_MS) * HOUR_MS
  const day = Math.ceil(since / DAY_MS) * DAY_MS
  const cells = sql`(select id from usage_cells where ${within(scope)})`
  const tenants = sql`(select tenant_id from usage_cells where ${within(scope)})`
  const { rows } = await sql<{ cost: bigint | null }>`
    select ${sum(sql`cost`)} as cost from (
      select ${sum(sql`cost_nanos`)} as cost from usage_days
      where cell in ${cells} and day >= ${day}
      union all
      select ${sum(sql`cost_nanos`)} from entries as e
      where ${UNFOLDED} and admitted_at >= ${day} and cell in ${cells}
      union all
      select ${sum(sql`cost_nanos`)} from usage_hours
      where tenant_id in ${tenants} and hour >= ${hour} and hour < ${day} and cell in ${cells}
      union all
      select ${sum(sql`cost_nanos`)} from entries
      where tenant_id in ${tenants} and admitted_at >= ${since} and admitted_at < ${hour}
        and cell in ${cells}
    ) as parts`.execute(db)
  return rows[0]?.cost ?? 0n
}

/**
 * What was used of limits per minute, for a start in the middle of one.
 *
 * @param since - Unix ms
 * @returns requests, and their tokens, input and output together
 */
export async function recentUsage(
  db: Database,
  scope: ScopeId,
  since: number,
): Promise<{ readonly requests: number; readonly tokens: number }> {
  const { rows } = await sql<{ requests: bigint | null; tokens: bigint | null }>`
    select ${sum(measure('requests'))} as requests,
      ${sum(sql`${measure('tokens_in')} + ${measure('tokens_out')}`)} as tokens
    from entries as e where admitted_at >= ${since} and ${within(scope)}`.execute(db)
  return { requests: Number(rows[0]?.requests ?? 0n), tokens: Number(rows[0]?.tokens ?? 0n) }
}

/** The condition for cells and entries of a scope, with the tenant where an index needs it. */
function within({ kind, id }: ScopeId): RawBuilder<boolean> {
  return CONDITIONS[kind](id)
}

const CONDITIONS: Readonly<Record<ScopeId['kind'], (id: string) => RawBuilder<boolean>>> = {
  // The whole line, named by its first key.
  key: (id) => sql`key_id in (
    select cast(${id} as text) union select id from keys where root_id = ${id})`,
  application: (id) => sql`application_id = ${id}
    and tenant_id = (select tenant_id from applications where id = ${id})`,
  tenant: (id) => sql`tenant_id = ${id}`,
  platform: () => sql`tenant_id in (select id from tenants)`,
}
