import { type RawBuilder, sql } from 'kysely'
import type { NanoUsd, Scope, ScopeKind } from '#protocol'
import { DAY_MS, END_USER_SPANS, HOUR_MS, measure, sum, UNFOLDED } from './roll-up.ts'
import type { Database } from './schema.ts'

/** What a scope has used, as the ledger says. */
export interface ScopeUsage {
  readonly requests: number
  /** Tokens. */
  readonly input: number
  readonly output: number
  /** Settled, to the nano; what has no price adds nothing. */
  readonly cost: NanoUsd
}

type ScopeName = Pick<Scope, 'kind' | 'id' | 'counts' | 'bareName'>

/**
 * What was used by requests admitted since a moment: of whole hours and days from their sums,
 * of the rest from the entries.
 *
 * @param since Unix ms, such as the start of a budget's window
 */
export async function usedSince(
  db: Database,
  scope: ScopeName,
  since: number,
): Promise<ScopeUsage> {
  const cells = await cellsOf(db, scope)
  if (cells === undefined) return { requests: 0, input: 0, output: 0, cost: 0n }
  const tenants = sql`(select tenant_id from usage_cells where ${tenantOf(scope)})`
  const parts =
    scope.kind === 'end_user' ? ofEndUser(scope.id, cells, since) : ofCells(tenants, cells, since)
  const { rows } = await sql<
    Record<'requests' | 'tokens_in' | 'tokens_out' | 'cost_nanos', bigint | null>
  >`
    select ${sql.join(MEASURES.map((name) => sql`${sum(sql.ref(name))} as ${sql.ref(name)}`))}
    from (${sql.join(parts, sql` union all `)}) as parts`.execute(db)
  const [row] = rows
  return {
    requests: Number(row?.requests ?? 0n),
    input: Number(row?.tokens_in ?? 0n),
    output: Number(row?.tokens_out ?? 0n),
    cost: row?.cost_nanos ?? 0n,
  }
}

const MEASURES = ['requests', 'tokens_in', 'tokens_out', 'cost_nanos'] as const

const summed = sql.join(
  MEASURES.map((name) => sql`cast(sum(${sql.ref(name)}) as bigint) as ${sql.ref(name)}`),
)
const counted = sql.join(
  MEASURES.map((name) => sql`cast(sum(${measure(name)}) as bigint) as ${sql.ref(name)}`),
)

function ofCells(
  tenants: RawBuilder<unknown>,
  cells: RawBuilder<unknown>,
  since: number,
): RawBuilder<unknown>[] {
  const hour = ceil(since, HOUR_MS)
  const day = ceil(since, DAY_MS)
  return [
    sql`select ${summed} from usage_days where cell in ${cells} and day >= ${day}`,
    sql`select ${counted} from entries as e
      where ${UNFOLDED} and e.admitted_at >= ${day} and e.cell in ${cells}`,
    sql`select ${summed} from usage_hours
      where tenant_id in ${tenants} and hour >= ${hour} and hour < ${day} and cell in ${cells}`,
    sql`select ${counted} from entries as e
      where e.tenant_id in ${tenants} and e.admitted_at >= ${since} and e.admitted_at < ${hour}
        and e.cell in ${cells}`,
  ]
}

function ofEndUser(id: string, cells: RawBuilder<unknown>, since: number): RawBuilder<unknown>[] {
  const [tenant, user] = halves(id)
  const [hour, ...longer] = END_USER_SPANS
  const first = ceil(since, hour * HOUR_MS)
  const parts = [
    sql`select ${counted} from entries as e
      where e.tenant_id = ${tenant} and e.end_user = ${user} and e.cell in ${cells}
        and e.admitted_at >= ${since} and e.admitted_at < ${first}`,
    sql`select ${counted} from entries as e
      where ${UNFOLDED} and e.tenant_id = ${tenant} and e.end_user = ${user}
        and e.cell in ${cells} and e.admitted_at >= ${first}`,
  ]
  // The longest spans that lie within, and shorter ones before the first of them.
  let from = first
  for (const [index, hours] of [hour, ...longer].entries()) {
    const next = longer[index]
    const to = next === undefined ? undefined : ceil(since, next * HOUR_MS)
    parts.push(sql`select ${summed} from usage_end_users
      where tenant_id = ${tenant} and span = ${hours} and start >= ${from}
        ${to === undefined ? sql`` : sql`and start < ${to}`}
        and end_user = ${user} and cell in ${cells}`)
    from = to ?? from
  }
  return parts
}

/** The cells of a scope as a list for `in`; `undefined`: there are none. */
async function cellsOf(db: Database, scope: ScopeName): Promise<RawBuilder<unknown> | undefined> {
  const condition = CONDITIONS[scope.kind](scope.id, scope.bareName)
  const { counts } = scope
  if (counts === undefined) return sql`(select id from usage_cells where ${condition})`
  const { rows } = await sql<Record<'provider' | 'model' | 'model_asked', string> & { id: bigint }>`
    select id, provider, model, model_asked from usage_cells where ${condition}`.execute(db)
  const ids = rows
    .filter((cell) => counts({ name: `${cell.provider}/${cell.model}`, asked: cell.model_asked }))
    .map(({ id }) => sql.lit(Number(id)))
  return ids.length === 0 ? undefined : sql`(${sql.join(ids)})`
}

function tenantOf({ kind, id }: ScopeName): RawBuilder<boolean> {
  if (kind === 'platform') return sql`true`
  return CONDITIONS[kind](id)
}

const CONDITIONS: Readonly<
  Record<ScopeKind, (id: string, bareName?: string) => RawBuilder<boolean>>
> = {
  platform: () => sql`tenant_id in (select id from tenants)`,
  tenant: (id) => sql`tenant_id = ${id}`,
  application: (id) => sql`application_id = ${id}
    and tenant_id = (select tenant_id from applications where id = ${id})`,
  // The whole line, named by its first key.
  key: (id) => sql`key_id in (
    select cast(${id} as text) union select id from keys where root_id = ${id})`,
  end_user: (id) => sql`tenant_id = ${halves(id)[0]} and end_users = 1`,
  service(id, bareName = '') {
    const [tenant, name] = halves(id)
    return sql`tenant_id = ${tenant} and (model_asked in (${name}, ${bareName || name}) or prompt_id = ${name})`
  },
  tag(id) {
    const [tenant, tag] = halves(id)
    return sql`tenant_id = ${tenant}
      and id in (select cell from usage_cell_tags where tag = ${tag})`
  },
}

/** Ids of what a tenant names itself are `<tenant id>/<name>`. */
function halves(id: string): readonly [tenant: string, name: string] {
  const at = id.indexOf('/')
  return [id.slice(0, at), id.slice(at + 1)]
}

function ceil(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}
