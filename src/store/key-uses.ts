import { sql } from 'kysely'
import { DAY_MS, HOUR_MS } from './roll-up.ts'
import type { Database, KeyUsesTable } from './schema.ts'

export type UseKind = KeyUsesTable['kind']

/** How often, and when, one thing was seen with a key. */
export interface Seen {
  /** Unix ms. */
  firstSeen: number
  lastSeen: number
  count: number
}

/** What one process saw of a key since it last wrote. */
export interface KeyUse {
  readonly keyId: string
  /** Requests that were let in; absent: there were none. */
  readonly total?: Seen
  readonly addresses: ReadonlyMap<string, Seen>
  readonly agents: ReadonlyMap<string, Seen>
  /** By address: requests with the right secret that the key's state or rights refused. */
  readonly refused: ReadonlyMap<string, Seen>
}

/** Most values kept of a kind for one key; what comes beside them counts under {@link OTHER}. */
export const MOST_VALUES = 50
export const OTHER = 'other'

/**
 * Adds what was seen, in one transaction. The row of a key's total is touched first and in the
 * order of the ids: processes that write at once wait for each other, in no circle, and the
 * bound on values holds over all of them.
 */
export async function addUses(db: Database, uses: readonly KeyUse[]): Promise<void> {
  if (uses.length === 0) return
  const sorted = uses.toSorted((a, b) => (a.keyId < b.keyId ? -1 : 1))
  await db.transaction().execute(async (transaction) => {
    await add(
      transaction,
      sorted.map(({ keyId, total }) => ({ keyId, kind: 'total', value: '', ...(total ?? NEVER) })),
    )
    const known = await valuesOf(
      transaction,
      sorted.map(({ keyId }) => keyId),
    )
    const rows = sorted.flatMap(({ keyId, addresses, agents, refused }) =>
      (
        [
          ['address', addresses],
          ['agent', agents],
          ['refused', refused],
        ] as const
      ).flatMap(([kind, seen]) => bounded(keyId, kind, seen, known)),
    )
    await add(transaction, rows)
  })
}

/** A total of none only holds the place of the lock. */
const NEVER: Seen = { firstSeen: Number.MAX_SAFE_INTEGER, lastSeen: 0, count: 0 }

interface UseRow extends Seen {
  readonly keyId: string
  readonly kind: UseKind
  readonly value: string
}

function bounded(
  keyId: string,
  kind: UseKind,
  seen: ReadonlyMap<string, Seen>,
  known: ReadonlyMap<string, ReadonlySet<string>>,
): readonly UseRow[] {
  const values = new Set(known.get(`${keyId} ${kind}`))
  const rows = new Map<string, UseRow>()
  for (const [value, one] of seen) {
    if (values.size < MOST_VALUES) values.add(value)
    const kept = values.has(value) ? value : OTHER
    const before = rows.get(kept)
    rows.set(kept, {
      keyId,
      kind,
      value: kept,
      ...(before === undefined ? one : both(before, one)),
    })
  }
  return [...rows.values()]
}

export function both(a: Seen, b: Seen): Seen {
  return {
    firstSeen: Math.min(a.firstSeen, b.firstSeen),
    lastSeen: Math.max(a.lastSeen, b.lastSeen),
    count: a.count + b.count,
  }
}

async function valuesOf(
  db: Database,
  keyIds: readonly string[],
): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const rows = await db
    .selectFrom('key_uses')
    .select(['key_id', 'kind', 'value'])
    .where('key_id', 'in', keyIds)
    .where('kind', '!=', 'total')
    .where('value', '!=', OTHER)
    .execute()
  const values = new Map<string, Set<string>>()
  for (const { key_id, kind, value } of rows) {
    const name = `${key_id} ${kind}`
    values.set(name, (values.get(name) ?? new Set()).add(value))
  }
  return values
}

/** Rows of one statement: 6 values each, and Postgres takes 65,535. */
const ROWS_AT_ONCE = 1000

async function add(db: Database, rows: readonly UseRow[]): Promise<void> {
  for (let at = 0; at < rows.length; at += ROWS_AT_ONCE) {
    await db
      .insertInto('key_uses')
      .values(
        rows.slice(at, at + ROWS_AT_ONCE).map(({ keyId, kind, value, ...seen }) => ({
          key_id: keyId,
          kind,
          value,
          first_seen: seen.firstSeen,
          last_seen: seen.lastSeen,
          count: seen.count,
        })),
      )
      .onConflict((conflict) =>
        conflict.columns(['key_id', 'kind', 'value']).doUpdateSet({
          first_seen: sql`case when excluded.first_seen < key_uses.first_seen
            then excluded.first_seen else key_uses.first_seen end`,
          last_seen: sql`case when excluded.last_seen > key_uses.last_seen
            then excluded.last_seen else key_uses.last_seen end`,
          count: sql`key_uses.count + excluded.count`,
        }),
      )
      .execute()
  }
}

export interface StoredUse extends Readonly<Seen> {
  readonly kind: UseKind
  readonly value: string
}

/** What was seen of a key, last seen first; the total, where there is one, among it. */
export async function usesOf(db: Database, keyId: string): Promise<readonly StoredUse[]> {
  const rows = await db
    .selectFrom('key_uses')
    .selectAll()
    .where('key_id', '=', keyId)
    .where('count', '>', 0n)
    .orderBy('last_seen', 'desc')
    .orderBy('value')
    .execute()
  return rows.map((row) => ({
    kind: row.kind,
    value: row.value,
    firstSeen: Number(row.first_seen),
    lastSeen: Number(row.last_seen),
    count: Number(row.count),
  }))
}

/** When keys were last let in, Unix ms; those never used are left out. */
export async function lastUses(
  db: Database,
  keyIds: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  if (keyIds.length === 0) return new Map()
  const rows = await db
    .selectFrom('key_uses')
    .select(['key_id', 'last_seen'])
    .where('key_id', 'in', keyIds)
    .where('kind', '=', 'total')
    .where('count', '>', 0n)
    .execute()
  return new Map(rows.map(({ key_id, last_seen }) => [key_id, Number(last_seen)]))
}

/** Requests that keys made since, by the ledger; keys without any are left out. */
export async function requestsSince(
  db: Database,
  keyIds: readonly string[],
  since: number,
): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>()
  for (let at = 0; at < keyIds.length; at += 500) {
    const rows = await db
      .selectFrom('entries')
      .select((eb) => ['key_id', eb.fn.countAll<bigint>().as('count')])
      .where('key_id', 'in', keyIds.slice(at, at + 500))
      .where('admitted_at', '>=', BigInt(since))
      .where('kind', '=', 'attempt')
      .where('attempt', '=', 1n)
      .groupBy('key_id')
      .execute()
    for (const { key_id, count } of rows) found.set(key_id, Number(count))
  }
  return found
}

export interface CalledModel {
  readonly keyId: string
  /** `provider/model` */
  readonly model: string
  /** As the caller wrote it. */
  readonly asked: string
}

/** Models that keys called since, by the hour and the day in which they were. */
export async function modelsCalled(
  db: Database,
  tenantId: string,
  keyIds: readonly string[],
  since: number,
): Promise<readonly CalledModel[]> {
  if (keyIds.length === 0) return []
  const cells = await db
    .selectFrom('usage_cells')
    .select(['key_id', 'provider', 'model', 'model_asked'])
    .distinct()
    .where('tenant_id', '=', tenantId)
    .where('key_id', 'in', keyIds)
    .where((eb) =>
      eb.or([
        eb.exists(
          eb
            .selectFrom('usage_days')
            .select('cell')
            .whereRef('usage_days.cell', '=', 'usage_cells.id')
            .where('day', '>=', BigInt(since - (since % DAY_MS))),
        ),
        // Days are summed a little later than hours.
        eb.exists(
          eb
            .selectFrom('usage_hours')
            .select('cell')
            .where('usage_hours.tenant_id', '=', tenantId)
            .where('hour', '>=', BigInt(since - (since % HOUR_MS)))
            .whereRef('usage_hours.cell', '=', 'usage_cells.id'),
        ),
      ]),
    )
    .execute()
  return cells.map(({ key_id, provider, model, model_asked }) => ({
    keyId: key_id,
    model: `${provider}/${model}`,
    asked: model_asked,
  }))
}
