import type { Selectable } from 'kysely'
import { latestRevision, underNextRevision } from './revisions.ts'
import type { Database, ProviderCredentialsTable } from './schema.ts'

/** A tenant's own credential for a provider, without the secret itself. */
export interface Credential {
  /** `cred_...` */
  readonly id: string
  readonly tenantId: string
  /** Name of the configured provider, whose address it is sent to and nowhere else. */
  readonly provider: string
  /** A removed one stays for the ledger's sake, without its secret. */
  readonly status: 'active' | 'removed'
  readonly last4: string
  /** Unix ms. */
  readonly createdAt: number
  readonly revision: bigint
}

/** A credential with its secret, as it is kept. */
export interface SealedCredential extends Credential {
  readonly sealed: Uint8Array
  readonly dataKeyId: string
}

/** The key a tenant's secrets are sealed with, itself sealed with the root key. */
export interface DataKey {
  /** `dk_...` */
  readonly id: string
  readonly tenantId: string
  readonly sealed: Uint8Array
  /** Unix ms. */
  readonly createdAt: number
}

/** Puts a credential in the place of the tenant's present one for the provider. */
export function replaceCredential(
  db: Database,
  credential: Omit<SealedCredential, 'revision' | 'status'>,
): Promise<Credential> {
  return underNextRevision(db, 'credential_revision', async (transaction, revision) => {
    await remove(transaction, credential.tenantId, credential.provider, revision)
    const row = await transaction
      .insertInto('provider_credentials')
      .values({
        id: credential.id,
        tenant_id: credential.tenantId,
        provider: credential.provider,
        status: 'active',
        sealed: credential.sealed,
        data_key_id: credential.dataKeyId,
        last4: credential.last4,
        created_at: credential.createdAt,
        revision,
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    return toCredential(row)
  })
}

/** @returns it as it is now; `undefined` when the tenant has none for the provider */
export function removeCredential(
  db: Database,
  tenantId: string,
  provider: string,
): Promise<Credential | undefined> {
  return underNextRevision(db, 'credential_revision', (transaction, revision) =>
    remove(transaction, tenantId, provider, revision),
  )
}

/** The tenant's active ones. */
export async function listCredentials(
  db: Database,
  tenantId: string,
): Promise<readonly SealedCredential[]> {
  const rows = await db
    .selectFrom('provider_credentials')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('status', '=', 'active')
    .orderBy('provider')
    .execute()
  return rows.map(toSealed)
}

/** Seals every active credential of a tenant anew, and gives it the key this was done with. */
export function resealCredentials(
  db: Database,
  dataKey: DataKey,
  reseal: (credential: SealedCredential) => Uint8Array,
): Promise<number> {
  return underNextRevision(db, 'credential_revision', async (transaction, revision) => {
    const all = await listCredentials(transaction, dataKey.tenantId)
    await transaction.deleteFrom('data_keys').where('tenant_id', '=', dataKey.tenantId).execute()
    await insertDataKey(transaction, dataKey)
    for (const credential of all) {
      await transaction
        .updateTable('provider_credentials')
        .set({ sealed: reseal(credential), data_key_id: dataKey.id, revision })
        .where('id', '=', credential.id)
        .execute()
    }
    return all.length
  })
}

export interface CredentialChanges {
  readonly credentials: readonly SealedCredential[]
  /** Of their tenants. */
  readonly dataKeys: readonly DataKey[]
  readonly revision: bigint
}

/**
 * Every credential that changed, removed ones too.
 *
 * @param revision - what was returned before; -1n for all
 */
export function changedCredentialsSince(
  db: Database,
  revision: bigint,
): Promise<CredentialChanges> {
  // Credentials and keys of one moment: a new key opens nothing that was sealed with the old one.
  return db
    .transaction()
    .setAccessMode('read only')
    .setIsolationLevel('repeatable read')
    .execute((transaction) => changesSince(transaction, revision))
}

async function changesSince(db: Database, revision: bigint): Promise<CredentialChanges> {
  const latest = await latestRevision(db, 'credential_revision')
  if (latest === revision) return { credentials: [], dataKeys: [], revision }
  const rows = await db
    .selectFrom('provider_credentials')
    .selectAll()
    .where('revision', '>', revision)
    .where('revision', '<=', latest)
    .orderBy('revision')
    // One that took another's place has its revision, and comes after it.
    .orderBy('status', 'desc')
    .execute()
  const tenants = [...new Set(rows.map((row) => row.tenant_id))]
  const dataKeys =
    tenants.length === 0
      ? []
      : await db.selectFrom('data_keys').selectAll().where('tenant_id', 'in', tenants).execute()
  return {
    credentials: rows.map(toSealed),
    dataKeys: dataKeys.map(toDataKey),
    revision: latest,
  }
}

export async function findDataKey(db: Database, tenantId: string): Promise<DataKey | undefined> {
  const row = await db
    .selectFrom('data_keys')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .executeTakeFirst()
  return row && toDataKey(row)
}

/** @returns the key that holds: that of whoever came first */
export async function claimDataKey(db: Database, dataKey: DataKey): Promise<DataKey> {
  await insertDataKey(db, dataKey)
  return (await findDataKey(db, dataKey.tenantId)) ?? dataKey
}

async function insertDataKey(db: Database, { id, tenantId, sealed, createdAt }: DataKey) {
  await db
    .insertInto('data_keys')
    .values({ id, tenant_id: tenantId, sealed, created_at: createdAt })
    .onConflict((conflict) => conflict.column('tenant_id').doNothing())
    .execute()
}

async function remove(
  db: Database,
  tenantId: string,
  provider: string,
  revision: bigint,
): Promise<Credential | undefined> {
  const row = await db
    .updateTable('provider_credentials')
    .set({ status: 'removed', sealed: new Uint8Array(), revision })
    .where('tenant_id', '=', tenantId)
    .where('provider', '=', provider)
    .where('status', '=', 'active')
    .returningAll()
    .executeTakeFirst()
  return row && toCredential(row)
}

function toCredential(row: Selectable<ProviderCredentialsTable>): Credential {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    provider: row.provider,
    status: row.status,
    last4: row.last4,
    createdAt: Number(row.created_at),
    revision: row.revision,
  }
}

function toSealed(row: Selectable<ProviderCredentialsTable>): SealedCredential {
  return { ...toCredential(row), sealed: new Uint8Array(row.sealed), dataKeyId: row.data_key_id }
}

function toDataKey(row: {
  readonly id: string
  readonly tenant_id: string
  readonly sealed: Uint8Array
  readonly created_at: bigint
}): DataKey {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    sealed: new Uint8Array(row.sealed),
    createdAt: Number(row.created_at),
  }
}
