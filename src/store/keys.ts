import type { Insertable, Selectable } from 'kysely'
import { GatewayError } from '#errors'
import type { Key, Limits } from '#protocol'
import { packLimits, unpackLimits } from './limit-json.ts'
import type { Database, KeysTable } from './schema.ts'
import { latestRevision, underNextRevision } from './revisions.ts'

/** A key with what proves it. */
export interface KeyRecord {
  readonly key: Key
  readonly digest: Uint8Array
}

/** As it is stored: the number of its last change tells its versions apart. */
export interface VersionedKey extends Key {
  readonly revision: number
}

/** What may change in a key's life. `null` takes away. Limits change for a line: {@link setLimits}. */
export interface KeyChanges extends Partial<
  Pick<
    Key,
    'name' | 'status' | 'models' | 'endpoints' | 'addresses' | 'strict' | 'successorId' | 'tags'
  >
> {
  readonly expiresAt?: number | null
  readonly userId?: string | null
  readonly statusReason?: string | null
}

/**
 * @returns the key as it is stored
 * @throws GatewayError `conflict` when its id or prefix is taken
 */
export function insertKey(db: Database, { key, digest }: KeyRecord): Promise<VersionedKey> {
  return underNextRevision(db, 'key_revision', async (transaction, revision) => {
    const row = await transaction
      .insertInto('keys')
      .values({
        ...(toColumns(key) as Settable),
        limits: packLimits(key.limits),
        id: key.id,
        root_id: key.rootId,
        tenant_id: key.tenantId,
        application_id: key.applicationId,
        prefix: key.prefix,
        digest,
        last4: key.last4,
        created_at: key.createdAt,
        revision,
      })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst()
    if (row === undefined) throw new GatewayError('conflict', 'A key with this id or prefix exists')
    return toKey(row)
  })
}

export async function findKeyByPrefix(
  db: Database,
  prefix: string,
): Promise<{ readonly key: VersionedKey; readonly digest: Uint8Array } | undefined> {
  const row = await db
    .selectFrom('keys')
    .selectAll()
    .where('prefix', '=', prefix)
    .executeTakeFirst()
  return row && { key: toKey(row), digest: new Uint8Array(row.digest) }
}

export async function getKey(
  db: Database,
  tenantId: string,
  id: string,
): Promise<VersionedKey | undefined> {
  const row = await ofTenant(db, tenantId).where('id', '=', id).executeTakeFirst()
  return row && toKey(row)
}

export interface KeyPage {
  /** Newest first. */
  readonly keys: readonly VersionedKey[]
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
    readonly userId?: string
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
  if (page.userId !== undefined) query = query.where('owner_id', '=', page.userId)
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
): Promise<VersionedKey | undefined> {
  return underNextRevision(db, 'key_revision', async (transaction, revision) => {
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

/** Sets the limits of a line of keys, for all of it that is not revoked. @returns these keys */
export function setLimits(
  db: Database,
  tenantId: string,
  rootId: string,
  limits: Limits,
): Promise<readonly VersionedKey[]> {
  return underNextRevision(db, 'key_revision', async (transaction, revision) => {
    const rows = await transaction
      .updateTable('keys')
      .set({ limits: packLimits(limits), revision })
      .where('tenant_id', '=', tenantId)
      .where('root_id', '=', rootId)
      .where('status', '!=', 'revoked')
      .returningAll()
      .execute()
    return rows.map(toKey)
  })
}

/** The keys of a line, oldest first. */
export async function keysOfLine(
  db: Database,
  tenantId: string,
  rootId: string,
): Promise<readonly VersionedKey[]> {
  const rows = await ofTenant(db, tenantId)
    .where('root_id', '=', rootId)
    .orderBy('created_at')
    .orderBy('id')
    .execute()
  return rows.map(toKey)
}

/** What a roll left behind. */
export interface Rolled {
  /** The old key as it was, and as it is now. */
  readonly old: VersionedKey
  readonly ended: VersionedKey
  readonly successor: VersionedKey
}

/**
 * Puts a successor beside a key, which then ends at `endsAt` (or at its own, earlier expiry).
 *
 * @param succeed - makes the successor from the key as it is once nobody else can change it;
 *   what it throws is thrown
 * @returns `undefined` when the tenant has no key of this id
 * @throws GatewayError `conflict` when it is revoked, or was rolled before
 */
export function rollKey(
  db: Database,
  tenantId: string,
  id: string,
  succeed: (old: Key) => { readonly record: KeyRecord; readonly endsAt: number },
): Promise<Rolled | undefined> {
  return underNextRevision(db, 'key_revision', async (transaction) => {
    const old = await getKey(transaction, tenantId, id)
    if (old === undefined) return undefined
    if (old.successorId !== undefined) {
      throw new GatewayError('conflict', `The key was rolled before: roll ${old.successorId}`)
    }
    const { record, endsAt } = succeed(old)
    const successor = await insertKey(transaction, record)
    const ended = await updateKey(transaction, tenantId, id, {
      successorId: successor.id,
      expiresAt: Math.min(endsAt, old.expiresAt ?? Infinity),
    })
    return ended && { old, ended, successor }
  })
}

/** Which keys of a tenant are meant; at least one of these. */
export interface KeySelection {
  /** What the public part begins with. */
  readonly prefix?: string
  readonly applicationId?: string
  readonly userId?: string
  /** Unix ms, inclusive. */
  readonly createdFrom?: number
  /** Unix ms, exclusive. */
  readonly createdTo?: number
}

/** How many keys of a selection are not revoked, and the first of them, oldest first. */
export async function selectKeys(
  db: Database,
  tenantId: string,
  selection: KeySelection,
  limit: number,
): Promise<{ readonly count: number; readonly keys: readonly VersionedKey[] }> {
  const { count } = await selected(db, tenantId, selection)
    .select((eb) => eb.fn.countAll<bigint>().as('count'))
    .executeTakeFirstOrThrow()
  const rows = await selected(db, tenantId, selection)
    .selectAll()
    .orderBy('created_at')
    .orderBy('id')
    .limit(limit)
    .execute()
  return { count: Number(count), keys: rows.map(toKey) }
}

/**
 * Revokes keys for good, under one revision.
 *
 * @returns those that were not revoked before, as they are now
 */
export function revokeKeys(
  db: Database,
  tenantId: string,
  ids: readonly string[],
  reason: string | undefined,
): Promise<readonly VersionedKey[]> {
  return underNextRevision(db, 'key_revision', async (transaction, revision) => {
    const rows: Selectable<KeysTable>[] = []
    for (let at = 0; at < ids.length; at += MOST_VALUES) {
      rows.push(
        ...(await transaction
          .updateTable('keys')
          .set({ status: 'revoked', status_reason: reason ?? null, revision })
          .where('tenant_id', '=', tenantId)
          .where('id', 'in', ids.slice(at, at + MOST_VALUES))
          .where('status', '!=', 'revoked')
          .returningAll()
          .execute()),
      )
    }
    return rows.map(toKey)
  })
}

/** Of a list in a statement: well below what either database takes. */
const MOST_VALUES = 500

function selected(
  db: Database,
  tenantId: string,
  { prefix, applicationId, userId, createdFrom, createdTo }: KeySelection,
) {
  let query = db
    .selectFrom('keys')
    .where('tenant_id', '=', tenantId)
    .where('status', '!=', 'revoked')
  if (prefix !== undefined) {
    // Prefixes are letters, digits and `-`, compared byte by byte; `~` comes after all of them.
    query = query.where('prefix', '>=', prefix).where('prefix', '<', `${prefix}~`)
  }
  if (applicationId !== undefined) query = query.where('application_id', '=', applicationId)
  if (userId !== undefined) query = query.where('owner_id', '=', userId)
  if (createdFrom !== undefined) query = query.where('created_at', '>=', BigInt(createdFrom))
  if (createdTo !== undefined) query = query.where('created_at', '<', BigInt(createdTo))
  return query
}

/** Id of the user that an id or an e-mail address means: one who can be given a key. */
export async function findOwner(
  db: Database,
  tenantId: string,
  idOrEmail: string,
): Promise<string | undefined> {
  const row = await db
    .selectFrom('users')
    .select('id')
    .where('tenant_id', '=', tenantId)
    .where('status', '=', 'active')
    .where((eb) => eb.or([eb('id', '=', idOrEmail), eb('email', '=', idOrEmail.toLowerCase())]))
    .executeTakeFirst()
  return row?.id
}

/** The revision of the latest change, for a reader that has seen none. */
export function keyRevision(db: Database): Promise<bigint> {
  return latestRevision(db, 'key_revision')
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

/** The columns of what is there. */
function toColumns(changes: KeyChanges): Partial<Settable> {
  return {
    ...(changes.name !== undefined && { name: changes.name }),
    ...(changes.status !== undefined && { status: changes.status }),
    ...(changes.statusReason !== undefined && { status_reason: changes.statusReason }),
    ...(changes.expiresAt !== undefined && { expires_at: changes.expiresAt }),
    ...(changes.models !== undefined && { models: JSON.stringify(changes.models) }),
    ...(changes.endpoints !== undefined && { endpoints: JSON.stringify(changes.endpoints) }),
    ...(changes.addresses !== undefined && { addresses: JSON.stringify(changes.addresses) }),
    ...(changes.strict !== undefined && { strict: changes.strict ? 1 : 0 }),
    ...(changes.successorId !== undefined && { successor_id: changes.successorId }),
    ...(changes.userId !== undefined && { owner_id: changes.userId }),
    ...(changes.tags !== undefined && { tags: JSON.stringify(changes.tags) }),
  }
}

/** What {@link toColumns} makes of a whole key. */
type Settable = Pick<
  Insertable<KeysTable>,
  | 'name'
  | 'status'
  | 'status_reason'
  | 'expires_at'
  | 'models'
  | 'endpoints'
  | 'addresses'
  | 'strict'
  | 'successor_id'
  | 'owner_id'
  | 'tags'
>

function toKey(row: Selectable<KeysTable>): VersionedKey {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    applicationId: row.application_id,
    rootId: row.root_id,
    ...(row.owner_id !== null && { userId: row.owner_id }),
    tags: JSON.parse(row.tags),
    name: row.name,
    prefix: row.prefix,
    last4: row.last4,
    status: row.status,
    ...(row.status_reason !== null && { statusReason: row.status_reason }),
    createdAt: Number(row.created_at),
    ...(row.expires_at !== null && { expiresAt: Number(row.expires_at) }),
    models: JSON.parse(row.models),
    endpoints: JSON.parse(row.endpoints),
    addresses: JSON.parse(row.addresses),
    limits: unpackLimits(row.limits),
    strict: row.strict === 1n,
    ...(row.successor_id !== null && { successorId: row.successor_id }),
    revision: Number(row.revision),
  }
}
