import type { Insertable, Selectable } from 'kysely'
import { GatewayError } from '#errors'
import type { Budget, Key, Limits } from '#protocol'
import type { Database, KeysTable } from './schema.ts'

/** A key with what proves it. */
export interface KeyRecord {
  readonly key: Key
  readonly digest: Uint8Array
}

/** What may change in a key's life. `null` takes an expiry away. */
export interface KeyChanges extends Partial<
  Pick<
    Key,
    'name' | 'status' | 'models' | 'endpoints' | 'addresses' | 'limits' | 'strict' | 'successorId'
  >
> {
  readonly expiresAt?: number | null
}

/** @throws GatewayError `conflict` when its id or prefix is taken */
export async function insertKey(db: Database, { key, digest }: KeyRecord): Promise<void> {
  await changing(db, async (transaction, revision) => {
    const { numInsertedOrUpdatedRows } = await transaction
      .insertInto('keys')
      .values({
        ...toColumns(key),
        id: key.id,
        tenant_id: key.tenantId,
        application_id: key.applicationId,
        prefix: key.prefix,
        digest,
        last4: key.last4,
        created_at: key.createdAt,
        revision,
      })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow()
    if (numInsertedOrUpdatedRows !== 1n) {
      throw new GatewayError('conflict', 'A key with this id or prefix exists')
    }
  })
}

export async function findKeyByPrefix(
  db: Database,
  prefix: string,
): Promise<KeyRecord | undefined> {
  const row = await db
    .selectFrom('keys')
    .selectAll()
    .where('prefix', '=', prefix)
    .executeTakeFirst()
  return row && { key: toKey(row), digest: new Uint8Array(row.digest) }
}

export async function getKey(db: Database, tenantId: string, id: string): Promise<Key | undefined> {
  const row = await ofTenant(db, tenantId).where('id', '=', id).executeTakeFirst()
  return row && toKey(row)
}

/** Ids of the keys, ended ones too, that an id or a name means. */
export async function keysCalled(
  db: Database,
  tenantId: string,
  idOrName: string,
): Promise<readonly string[]> {
  const rows = await db
    .selectFrom('keys')
    .select('id')
    .where('tenant_id', '=', tenantId)
    .where((eb) => eb.or([eb('id', '=', idOrName), eb('name', '=', idOrName)]))
    .orderBy('id')
    .execute()
  return rows.map(({ id }) => id)
}

/** Names of keys, each once, for guessing a mistyped one: not more of them than that takes. */
export async function keyNames(db: Database, tenantId: string): Promise<readonly string[]> {
  const rows = await db
    .selectFrom('keys')
    .select('name')
    .distinct()
    .where('tenant_id', '=', tenantId)
    .limit(1000)
    .execute()
  return rows.map(({ name }) => name)
}

export interface KeyPage {
  /** Newest first. */
  readonly keys: readonly Key[]
  readonly hasMore: boolean
}

/**
 * @param page.after - id of the last key of the page before
 * @param page.status - `expired` for active keys past their expiry, which `active` leaves out
 * @param page.now - Unix ms
 * @throws GatewayError `invalid_value` when `after` names no key of the tenant
 */
export async function listKeys(
  db: Database,
  tenantId: string,
  page: {
    readonly limit: number
    readonly after?: string
    readonly applicationId?: string
    readonly status?: Key['status'] | 'expired'
    readonly now: number
  },
): Promise<KeyPage> {
  const { status } = page
  let query = ofTenant(db, tenantId)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  if (page.applicationId !== undefined) {
    query = query.where('application_id', '=', page.applicationId)
  }
  if (status !== undefined) {
    query = query.where('status', '=', status === 'expired' ? 'active' : status)
  }
  if (status === 'expired') query = query.where('expires_at', '<=', BigInt(page.now))
  if (status === 'active') {
    query = query.where((eb) =>
      eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', BigInt(page.now))]),
    )
  }
  if (page.after !== undefined) {
    const last = await getKey(db, tenantId, page.after)
    if (last === undefined) {
      throw new GatewayError('invalid_value', 'The cursor names no key', { param: 'after' })
    }
    query = query.where((eb) =>
      eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(BigInt(last.createdAt), last.id)),
    )
  }
  const rows = await query.execute()
  return { keys: rows.slice(0, page.limit).map(toKey), hasMore: rows.length > page.limit }
}

/**
 * @returns the key as it is now; `undefined` when the tenant has none of this id
 * @throws GatewayError `conflict` when it is revoked, which is for good
 */
export function updateKey(
  db: Database,
  tenantId: string,
  id: string,
  changes: KeyChanges,
): Promise<Key | undefined> {
  return changing(db, async (transaction, revision) => {
    const row = await transaction
      .updateTable('keys')
      .set({ ...toColumns(changes), revision })
      .where('tenant_id', '=', tenantId)
      .where('id', '=', id)
      .where('status', '!=', 'revoked')
      .returningAll()
      .executeTakeFirst()
    if (row !== undefined) return toKey(row)
    if ((await getKey(transaction, tenantId, id)) === undefined) return undefined
    throw new GatewayError('conflict', 'The key is revoked, which is for good')
  })
}

/**
 * Puts a successor beside a key, which then ends at `endsAt` (or at its own, earlier expiry).
 *
 * @returns the old key as it is now; `undefined` when the tenant has none of this id
 * @throws GatewayError `conflict` when it is revoked, or was rolled before
 */
export function rollKey(
  db: Database,
  tenantId: string,
  id: string,
  successor: KeyRecord,
  endsAt: number,
): Promise<Key | undefined> {
  return changing(db, async (transaction) => {
    const old = await getKey(transaction, tenantId, id)
    if (old === undefined) return undefined
    if (old.successorId !== undefined) {
      throw new GatewayError('conflict', `The key was rolled before: roll ${old.successorId}`)
    }
    await insertKey(transaction, successor)
    return updateKey(transaction, tenantId, id, {
      successorId: successor.key.id,
      expiresAt: Math.min(endsAt, old.expiresAt ?? Infinity),
    })
  })
}

/** The revision of the latest change, for a reader that has seen none. */
export async function keyRevision(db: Database): Promise<bigint> {
  const { value } = await db
    .selectFrom('counters')
    .select('value')
    .where('name', '=', 'key_revision')
    .executeTakeFirstOrThrow()
  return value
}

/**
 * What changed since a reader last looked, in the order in which it was committed: nothing
 * with a lower revision can appear later.
 *
 * @param revision - what the last call returned; 0n for all
 */
export async function changedKeysSince(
  db: Database,
  revision: bigint,
): Promise<{ readonly keys: readonly KeyRecord[]; readonly revision: bigint }> {
  const rows = await db
    .selectFrom('keys')
    .selectAll()
    .where('revision', '>', revision)
    .orderBy('revision')
    .execute()
  return {
    keys: rows.map((row) => ({ key: toKey(row), digest: new Uint8Array(row.digest) })),
    revision: rows.at(-1)?.revision ?? revision,
  }
}

function ofTenant(db: Database, tenantId: string) {
  return db.selectFrom('keys').selectAll().where('tenant_id', '=', tenantId)
}

/**
 * Runs a change under the next revision. The counter's row stays locked until the commit, so
 * that revisions become visible in their order.
 */
async function changing<T>(
  db: Database,
  change: (transaction: Database, revision: bigint) => Promise<T>,
): Promise<T> {
  if (!db.isTransaction) {
    return db.transaction().execute((transaction) => changing(transaction, change))
  }
  const { value } = await db
    .updateTable('counters')
    .set((eb) => ({ value: eb('value', '+', 1n) }))
    .where('name', '=', 'key_revision')
    .returning('value')
    .executeTakeFirstOrThrow()
  return change(db, value)
}

/** The columns of what is there; of a whole key, all that may change. */
function toColumns(key: Key): ChangingColumns
function toColumns(changes: KeyChanges): Partial<ChangingColumns>
function toColumns(changes: KeyChanges): Partial<ChangingColumns> {
  return {
    ...(changes.name !== undefined && { name: changes.name }),
    ...(changes.status !== undefined && { status: changes.status }),
    ...(changes.expiresAt !== undefined && { expires_at: changes.expiresAt }),
    ...(changes.models !== undefined && { models: JSON.stringify(changes.models) }),
    ...(changes.endpoints !== undefined && { endpoints: JSON.stringify(changes.endpoints) }),
    ...(changes.addresses !== undefined && { addresses: JSON.stringify(changes.addresses) }),
    ...(changes.limits !== undefined && { limits: packLimits(changes.limits) }),
    ...(changes.strict !== undefined && { strict: changes.strict ? 1 : 0 }),
    ...(changes.successorId !== undefined && { successor_id: changes.successorId }),
  }
}

type ChangingColumns = Pick<
  Insertable<KeysTable>,
  | 'name'
  | 'status'
  | 'expires_at'
  | 'models'
  | 'endpoints'
  | 'addresses'
  | 'limits'
  | 'strict'
  | 'successor_id'
>

function toKey(row: Selectable<KeysTable>): Key {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    applicationId: row.application_id,
    name: row.name,
    prefix: row.prefix,
    last4: row.last4,
    status: row.status,
    createdAt: Number(row.created_at),
    ...(row.expires_at !== null && { expiresAt: Number(row.expires_at) }),
    models: JSON.parse(row.models),
    endpoints: JSON.parse(row.endpoints),
    addresses: JSON.parse(row.addresses),
    limits: unpackLimits(row.limits),
    strict: row.strict === 1n,
    ...(row.successor_id !== null && { successorId: row.successor_id }),
  }
}

/** JSON has no 64-bit integers: money is a decimal string in it. */
type PackedLimits = Omit<Limits, 'budgets'> & {
  readonly budgets?: readonly (Omit<Budget, 'limit'> & { readonly limit: string })[]
}

function packLimits({ budgets, ...limits }: Limits): string {
  const packed: PackedLimits = {
    ...limits,
    ...(budgets && {
      budgets: budgets.map((budget) => ({ ...budget, limit: String(budget.limit) })),
    }),
  }
  return JSON.stringify(packed)
}

function unpackLimits(json: string): Limits {
  const { budgets, ...limits }: PackedLimits = JSON.parse(json)
  return {
    ...limits,
    ...(budgets && {
      budgets: budgets.map((budget) => ({ ...budget, limit: BigInt(budget.limit) })),
    }),
  }
}
