import { randomBytes } from 'node:crypto'
import { digestKey, digestSecret, seal, sealingKey, unseal } from '../secrets.ts'
import { claimMeta, findMeta, replaceMeta } from '../store/meta.ts'
import type { Database } from '../store/schema.ts'

const NAME = 'root_key'
const CONTEXT = 'root-key'

/**
 * The key behind all others: digests of keys, tenants' data keys, signatures. It never changes;
 * the master key only seals it, and so can be replaced: start once with the new one as
 * `master_key` and the old one as `previous_master_key`.
 *
 * @throws Error when neither opens what the database holds
 */
export async function openRootKey(
  db: Database,
  {
    masterKey,
    previousMasterKey,
  }: { readonly masterKey: string; readonly previousMasterKey?: string },
): Promise<string> {
  const sealed = (await findMeta(db, NAME)) ?? (await begin(db, masterKey, previousMasterKey))
  const root = open(sealed, masterKey)
  if (root !== undefined) return root
  const before = previousMasterKey === undefined ? undefined : open(sealed, previousMasterKey)
  if (before === undefined) throw wrongKey()
  await replaceMeta(db, NAME, sealed, close(before, masterKey))
  // Another process may have been quicker, with a master key of its own.
  const now = open((await findMeta(db, NAME)) ?? '', masterKey)
  if (now === undefined) throw wrongKey()
  return now
}

async function begin(
  db: Database,
  masterKey: string,
  previousMasterKey: string | undefined,
): Promise<string> {
  const proof = await findMeta(db, 'master_key_check')
  if (proof === undefined) {
    return claimMeta(db, NAME, close(randomBytes(32).toString('base64url'), masterKey))
  }
  // A database of before there was a root key has its digests from the master key itself.
  const root = [masterKey, previousMasterKey].find(
    (one) => one !== undefined && proofOf(one) === proof,
  )
  if (root === undefined) throw wrongKey()
  return claimMeta(db, NAME, close(root, root))
}

function proofOf(masterKey: string): string {
  return digestKey(digestSecret(masterKey), 'master-key-check').toString('hex')
}

function close(root: string, masterKey: string): string {
  return seal(sealingKey(masterKey, CONTEXT), root, CONTEXT).toString('base64')
}

function open(sealed: string, masterKey: string): string | undefined {
  return unseal(sealingKey(masterKey, CONTEXT), Buffer.from(sealed, 'base64'), CONTEXT)?.toString()
}

function wrongKey(): Error {
  return new Error(
    'The master key is not the one this database was made with: restore master.key in the data directory, or TOLLGATE_MASTER_KEY; to replace it, give the old one as TOLLGATE_PREVIOUS_MASTER_KEY',
  )
}
