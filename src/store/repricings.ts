import type { Selectable } from 'kysely'
import type { Entry } from '#protocol'
import { fromRow, withoutBigints } from './entries.ts'
import type { Database, RepricingsTable } from './schema.ts'

/** An entry with all that corrects it, in order. */
export interface Corrected {
  readonly entry: Entry
  readonly adjustments: readonly Entry[]
}

export interface AttemptFilter {
  readonly tenantId: string
  /** Of admission; Unix ms, `to` exclusive. */
  readonly from: number
  readonly to: number
  readonly provider?: string
  readonly limit: number
  /** What the page before returned. */
  readonly after?: AttemptCursor | undefined
}

export interface AttemptCursor {
  readonly admittedAt: bigint
  readonly seq: bigint
}

/**
 * Attempts of a tenant by the time of their admission, a page at a time.
 *
 * @returns `next` for the page after; absent: that was the last
 */
export async function pageAttempts(
  db: Database,
  filter: AttemptFilter,
): Promise<{ readonly attempts: readonly Corrected[]; readonly next?: AttemptCursor }> {
  let query = db
    .selectFrom('entries')
    .selectAll()
    .where('tenant_id', '=', filter.tenantId)
    .where('admitted_at', '>=', BigInt(filter.from))
    .where('admitted_at', '<', BigInt(filter.to))
    .where('kind', '=', 'attempt')
    .orderBy('admitted_at')
    .orderBy('seq')
    .limit(filter.limit)
  const { provider, after } = filter
  if (provider !== undefined) query = query.where('provider', '=', provider)
  if (after !== undefined) {
    query = query.where((eb) =>
      eb(eb.refTuple('admitted_at', 'seq'), '>', eb.tuple(after.admittedAt, after.seq)),
    )
  }
  const rows = await query.execute()
  const last = rows.at(-1)
  const corrections = await adjustmentsOf(
    db,
    rows.map(({ id }) => id),
  )
  return {
    attempts: rows.map((row) => ({
      entry: fromRow(row),
      adjustments: corrections.get(row.id) ?? [],
    })),
    ...(last !== undefined &&
      rows.length === filter.limit && {
        next: { admittedAt: last.admitted_at, seq: last.seq },
      }),
  }
}

async function adjustmentsOf(
  db: Database,
  ids: readonly string[],
): Promise<ReadonlyMap<string, readonly Entry[]>> {
  if (ids.length === 0) return new Map()
  const rows = await db
    .selectFrom('entries')
    .selectAll()
    .where('adjusts', 'in', ids)
    .orderBy('seq')
    .execute()
  return Map.groupBy(rows.map(fromRow), ({ adjusts = '' }) => adjusts)
}

/** Archived ones too: their entries stay. */
export async function tenantIds(db: Database): Promise<readonly string[]> {
  const rows = await db.selectFrom('tenants').select('id').orderBy('id').execute()
  return rows.map(({ id }) => id)
}

/** A run that prices entries anew. Bigints in its result are kept as text. */
export interface Repricing {
  /** `reprice_...` */
  readonly id: string
  /** `interrupted`: whoever ran it is gone; to run it again does the rest. */
  readonly status: RepricingsTable['status']
  readonly query: Readonly<Record<string, unknown>>
  readonly result: Readonly<Record<string, unknown>>
  /** Unix ms. */
  readonly createdAt: number
  readonly createdBy: string
  readonly updatedAt: number
}

/** @returns false where another one is running */
export async function insertRepricing(db: Database, run: Repricing): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('repricings')
    .values({
      id: run.id,
      status: run.status,
      query: JSON.stringify(run.query),
      result: JSON.stringify(run.result, withoutBigints),
      created_at: run.createdAt,
      created_by: run.createdBy,
      updated_at: run.updatedAt,
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirstOrThrow()
  return numInsertedOrUpdatedRows === 1n
}

export async function updateRepricing(
  db: Database,
  { id, status, result, updatedAt }: Pick<Repricing, 'id' | 'status' | 'result' | 'updatedAt'>,
): Promise<void> {
  await db
    .updateTable('repricings')
    .set({ status, result: JSON.stringify(result, withoutBigints), updated_at: updatedAt })
    .where('id', '=', id)
    .execute()
}

export async function getRepricing(db: Database, id: string): Promise<Repricing | undefined> {
  const row = await db.selectFrom('repricings').selectAll().where('id', '=', id).executeTakeFirst()
  return row && toRepricing(row)
}

/** Newest first. */
export async function listRepricings(db: Database, limit: number): Promise<readonly Repricing[]> {
  const rows = await db
    .selectFrom('repricings')
    .selectAll()
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
  return rows.map(toRepricing)
}

/** Those that give no sign of life any more count as interrupted. */
export async function runningRepricing(
  db: Database,
  aliveSince: number,
): Promise<Repricing | undefined> {
  await db
    .updateTable('repricings')
    .set({ status: 'interrupted' })
    .where('status', '=', 'running')
    .where('updated_at', '<', BigInt(aliveSince))
    .execute()
  const row = await db
    .selectFrom('repricings')
    .selectAll()
    .where('status', '=', 'running')
    .executeTakeFirst()
  return row && toRepricing(row)
}

function toRepricing(row: Selectable<RepricingsTable>): Repricing {
  return {
    id: row.id,
    status: row.status,
    query: JSON.parse(row.query),
    result: JSON.parse(row.result),
    createdAt: Number(row.created_at),
    createdBy: row.created_by,
    updatedAt: Number(row.updated_at),
  }
}
