import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import { GatewayError } from '#errors'
import type { Candidate } from '#protocol'
import { seal, sealingKey, unseal } from '../secrets.ts'
import * as store from '../store/credentials.ts'
import type { Credential, DataKey, SealedCredential } from '../store/credentials.ts'
import type { Database } from '../store/schema.ts'
import { poll } from './poll.ts'

/** Tenants' own credentials for providers, in memory for requests, which ask no database. */
export interface Credentials {
  /** @returns undefined where the tenant uses the operator's */
  readonly of: (
    tenantId: string,
    provider: string,
  ) => { readonly id: string; readonly secret: string } | undefined
  readonly list: (db: Database, tenantId: string) => Promise<readonly Credential[]>
  /** Takes the place of the one that is there. */
  readonly set: (
    db: Database,
    tenantId: string,
    provider: string,
    secret: string,
  ) => Promise<Credential>
  /** @returns undefined when there is none */
  readonly remove: (
    db: Database,
    tenantId: string,
    provider: string,
  ) => Promise<Credential | undefined>
  /** Seals all of a tenant's credentials with a new key. @returns how many */
  readonly rekey: (db: Database, tenantId: string) => Promise<number>
  /** Takes over what changed, once it holds. */
  readonly refresh: () => Promise<void>
  /** Keeps up with other processes. @returns what ends it */
  readonly watch: (log: Logger) => () => void
}

interface Held {
  readonly id: string
  readonly sealed: SealedCredential
  secret?: string
}

/**
 * @param rootKey what tenants' data keys are sealed with
 * @param now Unix ms
 */
export async function openCredentials(
  db: Database,
  rootKey: string,
  now: () => number,
): Promise<Credentials> {
  const root = sealingKey(rootKey, 'data-keys')
  const held = new Map<string, Map<string, Held>>()
  const dataKeys = new Map<string, DataKey>()
  let revision = -1n

  async function refresh(): Promise<void> {
    const found = await store.changedCredentialsSince(db, revision)
    for (const dataKey of found.dataKeys) dataKeys.set(dataKey.tenantId, dataKey)
    for (const one of found.credentials) learn(one)
    revision = found.revision
  }

  function learn(credential: SealedCredential): void {
    const own = held.get(credential.tenantId) ?? new Map<string, Held>()
    held.set(credential.tenantId, own)
    if (credential.status === 'active') {
      const before = own.get(credential.provider)
      // Sealed anew it is still the same.
      const secret = before?.id === credential.id ? before.secret : undefined
      own.set(credential.provider, {
        id: credential.id,
        sealed: credential,
        ...(secret !== undefined && { secret }),
      })
    } else if (own.get(credential.provider)?.id === credential.id) {
      own.delete(credential.provider)
    }
  }

  function openDataKey({ id, tenantId, sealed }: DataKey): Buffer {
    const key = unseal(root, sealed, `data-key ${tenantId} ${id}`)
    if (key === undefined) throw unreadable(tenantId)
    return key
  }

  function openSecret(key: Buffer, credential: SealedCredential): string {
    const secret = unseal(key, credential.sealed, contextOf(credential))
    if (secret === undefined) throw unreadable(credential.tenantId)
    return secret.toString()
  }

  function makeDataKey(tenantId: string): DataKey {
    const id = `dk_${randomBytes(9).toString('hex')}`
    const sealed = seal(root, randomBytes(32), `data-key ${tenantId} ${id}`)
    return { id, tenantId, sealed, createdAt: now() }
  }

  await refresh()
  return {
    of(tenantId, provider) {
      const own = held.get(tenantId)?.get(provider)
      if (own === undefined) return undefined
      if (own.secret === undefined) {
        const dataKey = dataKeys.get(tenantId)
        if (dataKey === undefined) throw unreadable(tenantId)
        own.secret = openSecret(openDataKey(dataKey), own.sealed)
      }
      return own as { readonly id: string; readonly secret: string }
    },
    list: store.listCredentials,
    async set(transaction, tenantId, provider, secret) {
      const dataKey =
        (await store.findDataKey(transaction, tenantId)) ??
        (await store.claimDataKey(transaction, makeDataKey(tenantId)))
      const id = `cred_${randomBytes(9).toString('hex')}`
      const unsealed = { id, tenantId, provider }
      return store.replaceCredential(transaction, {
        ...unsealed,
        sealed: seal(openDataKey(dataKey), secret, contextOf(unsealed)),
        dataKeyId: dataKey.id,
        last4: secret.length < 12 ? '' : secret.slice(-4),
        createdAt: now(),
      })
    },
    remove: store.removeCredential,
    async rekey(transaction, tenantId) {
      const old = await store.findDataKey(transaction, tenantId)
      if (old === undefined) return 0
      const made = makeDataKey(tenantId)
      const [from, to] = [openDataKey(old), openDataKey(made)]
      return store.resealCredentials(transaction, made, (credential) =>
        seal(to, openSecret(from, credential), contextOf(credential)),
      )
    },
    refresh,
    watch: (log) => poll('changes of credentials', refresh, log),
  }
}

/** The target as this tenant asks it. */
export function withOwnCredential(
  candidate: Candidate,
  tenantId: string,
  { of }: Pick<Credentials, 'of'>,
): Candidate {
  const own = of(tenantId, candidate.instance.name)
  if (own === undefined) return candidate
  const target = { ...candidate.target, credential: own.secret, credentialId: own.id }
  return { ...candidate, target }
}

function contextOf({
  id,
  tenantId,
  provider,
}: Pick<Credential, 'id' | 'tenantId' | 'provider'>): string {
  return `credential ${tenantId} ${provider} ${id}`
}

function unreadable(tenantId: string): GatewayError {
  return new GatewayError('internal_error', 'A credential cannot be opened', {
    cause: new Error(`the credentials of ${tenantId} were sealed with another root key`),
  })
}
