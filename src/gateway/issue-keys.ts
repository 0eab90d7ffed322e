import { randomBytes } from 'node:crypto'
import { GatewayError } from '#errors'
import type { Key } from '#protocol'
import type { KeysDeps } from '../control/keys.ts'
import { digestKey, generateKey, keyPrefix } from '../secrets.ts'
import * as keys from '../store/keys.ts'
import { claimMeta } from '../store/meta.ts'
import type { Database } from '../store/schema.ts'
import type { Application } from '../store/tenants.ts'

export interface IssueKeysDeps {
  /** What digests are made with. */
  readonly secret: Uint8Array
  /** New keys belong to it. */
  readonly application: Application
  /** Told of every change of a key, once it holds. */
  readonly changed: (key: Key) => void
  /** Unix ms. */
  readonly now: () => number
}

/** The life of keys, as the control plane asks for it. */
export interface IssueKeys extends Pick<
  KeysDeps,
  'list' | 'get' | 'create' | 'update' | 'changed' | 'roll'
> {
  /** The first key of an installation. @returns its secret; undefined when there was one already */
  first(db: Database): Promise<string | undefined>
}

type Rights = Pick<Key, 'name' | 'models' | 'endpoints' | 'addresses' | 'limits' | 'strict'> & {
  readonly expiresAt?: number
}

export function issueKeys({ secret, application, changed, now }: IssueKeysDeps): IssueKeys {
  function make(rights: Rights, environment: string): keys.KeyRecord & { readonly secret: string } {
    const text = generateKey(environment)
    const key: Key = {
      ...rights,
      id: `key_${randomBytes(9).toString('hex')}`,
      tenantId: application.tenantId,
      applicationId: application.id,
      prefix: keyPrefix(text)!,
      last4: text.slice(-4),
      status: 'active',
      createdAt: now(),
    }
    return { key, digest: digestKey(secret, text), secret: text }
  }

  return {
    list: (db, tenantId, page) => keys.listKeys(db, tenantId, { ...page, now: now() }),
    get: (db, tenantId, id) => keys.getKey(db, tenantId, id),
    async create(db, _, environment, rights) {
      const made = make(rights, environment)
      await keys.insertKey(db, made)
      return made
    },
    update: (db, tenantId, id, changes) => keys.updateKey(db, tenantId, id, changes),
    changed,
    async roll(db, tenantId, id, endsAt) {
      const old = await keys.getKey(db, tenantId, id)
      if (old === undefined) return undefined
      if (old.status !== 'active') {
        throw new GatewayError('conflict', `The key is ${old.status}; only an active key is rolled`)
      }
      if (old.expiresAt !== undefined && old.expiresAt <= now()) {
        throw new GatewayError('conflict', 'The key is expired; only an active key is rolled')
      }
      const { successorId: _, ...rights } = old
      const made = make(rights, old.prefix.split('-')[2] ?? 'live')
      const ended = await keys.rollKey(db, tenantId, id, made, endsAt)
      return ended === undefined ? undefined : { ...made, old, ended }
    },
    // In one transaction: of processes that start at once one makes it, and a crash leaves no half.
    first: (db) =>
      db.transaction().execute(async (transaction) => {
        const rights = { models: ['*'], endpoints: ['*'], addresses: [], limits: {}, strict: false }
        const made = make({ name: 'default', ...rights }, 'live')
        const claimed = await claimMeta(transaction, 'first_key', made.key.id)
        if (claimed !== made.key.id) return undefined
        await keys.insertKey(transaction, made)
        return made.secret
      }),
  }
}
