import { randomBytes } from 'node:crypto'
import { GatewayError } from '#errors'
import type { Key } from '#protocol'
import { LEAKED } from '../control/key-revocation.ts'
import type { KeysDeps, NewKey } from '../control/keys.ts'
import { digestKey, generateKey, keyPrefix, sameDigest } from '../secrets.ts'
import * as keys from '../store/keys.ts'
import { claimMeta } from '../store/meta.ts'
import type { Database } from '../store/schema.ts'
import { findApplication, listApplications } from '../store/tenants.ts'
import type { Application } from '../store/tenants.ts'

export interface IssueKeysDeps {
  /** What digests are made with. */
  readonly secret: Uint8Array
  /** The first key belongs to it. */
  readonly application: Application
  /** Told of every change of a key, once it holds. */
  readonly changed: (key: Key) => void
  /** Unix ms. */
  readonly now: () => number
}

/** The life of keys, as the control plane asks for it. */
export interface IssueKeys extends Pick<
  KeysDeps,
  'list' | 'get' | 'create' | 'update' | 'changed' | 'roll' | 'select' | 'revoke' | 'findReported'
> {
  /** The first key of an installation. @returns its secret; undefined when there was one already */
  first(db: Database): Promise<string | undefined>
}

type Wanted = Omit<NewKey, 'application'> & Pick<Key, 'tenantId' | 'applicationId'>

export function issueKeys({ secret, application, changed, now }: IssueKeysDeps): IssueKeys {
  /** @param root - the first of the line it continues; absent: it begins one */
  function make(
    wanted: Wanted,
    environment: string,
    root?: string,
  ): keys.KeyRecord & { readonly secret: string } {
    const text = generateKey(environment)
    const id = `key_${randomBytes(9).toString('hex')}`
    const key: Key = {
      ...wanted,
      id,
      rootId: root ?? id,
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
    async create(db, tenantId, environment, { application: called, ...wanted }) {
      const { id: applicationId } = await applicationCalled(db, tenantId, called)
      const made = make({ ...wanted, tenantId, applicationId }, environment)
      return { key: await keys.insertKey(db, made), secret: made.secret }
    },
    async update(db, tenantId, id, { limits, ...changes }) {
      const key = await keys.updateKey(db, tenantId, id, changes)
      if (key === undefined || limits === undefined) return key && { key, line: [] }
      const before = await keys.keysOfLine(db, tenantId, key.rootId)
      const changedKeys = await keys.setLimits(db, tenantId, key.rootId, limits)
      return {
        key: changedKeys.find((one) => one.id === id) ?? key,
        line: changedKeys.flatMap((after) => {
          const was = before.find((one) => one.id === after.id)
          return after.id === id || was === undefined ? [] : [{ before: was, after }]
        }),
      }
    },
    changed,
    async roll(db, tenantId, id, endsAt) {
      let text = ''
      const rolled = await keys.rollKey(db, tenantId, id, (old) => {
        const isLeaked = old.status === 'disabled' && old.statusReason === LEAKED
        if (old.status !== 'active' && !isLeaked) {
          const message = `The key is ${old.status}; only an active key is rolled`
          throw new GatewayError('conflict', message)
        }
        if (old.expiresAt !== undefined && old.expiresAt <= now()) {
          throw new GatewayError('conflict', 'The key is expired; only an active key is rolled')
        }
        const { successorId: _, statusReason: __, ...wanted } = old
        const record = make(wanted, old.prefix.split('-')[2] ?? 'live', old.rootId)
        text = record.secret
        return { record, endsAt: isLeaked ? now() : endsAt }
      })
      if (rolled === undefined) return undefined
      return { key: rolled.successor, secret: text, old: rolled.old, ended: rolled.ended }
    },
    select: keys.selectKeys,
    revoke: keys.revokeKeys,
    async findReported(db, text) {
      const prefix = keyPrefix(text)
      const stored = prefix === undefined ? undefined : await keys.findKeyByPrefix(db, prefix)
      if (stored === undefined) return undefined
      return sameDigest(digestKey(secret, text), stored.digest) ? stored.key : undefined
    },
    // In one transaction: of processes that start at once one makes it, and a crash leaves no half.
    first: (db) =>
      db.transaction().execute(async (transaction) => {
        const rights = { models: ['*'], endpoints: ['*'], addresses: [], limits: {}, strict: false }
        const { tenantId, id: applicationId } = application
        const made = make({ name: 'default', tags: [], tenantId, applicationId, ...rights }, 'live')
        const claimed = await claimMeta(transaction, 'first_key', made.key.id)
        if (claimed !== made.key.id) return undefined
        await keys.insertKey(transaction, made)
        return made.secret
      }),
  }
}

/**
 * The application a new key belongs to.
 *
 * @param called - its id or name; absent: the tenant's `default`, or its only one
 * @throws GatewayError `invalid_value`, `conflict` for an archived one
 */
async function applicationCalled(
  db: Database,
  tenantId: string,
  called: string | undefined,
): Promise<Application> {
  const found = await findApplication(db, tenantId, called ?? 'default')
  const all = found === undefined ? await listApplications(db, tenantId) : [found]
  const active = all.filter(({ status }) => status === 'active')
  const only = called === undefined && active.length === 1 ? active[0] : undefined
  const application = found ?? only
  if (application === undefined) {
    const names = active.map(({ name }) => name).slice(0, 10)
    const hint = names.length === 0 ? 'there is none yet' : `there are ${names.join(', ')}`
    const message =
      called === undefined
        ? `Name the application the key is for; ${hint}`
        : `There is no application ${called.slice(0, 100)}; ${hint}`
    throw new GatewayError('invalid_value', message, { param: 'application_id' })
  }
  if (application.status !== 'active') {
    const message = `The application ${application.name} is ${application.status}`
    throw new GatewayError('conflict', message, { param: 'application_id' })
  }
  return application
}
