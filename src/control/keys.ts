import { z } from 'zod'
import { GatewayError } from '#errors'
import type { Key } from '#protocol'
import type { Database } from '../store/schema.ts'
import { checkNotLooser } from './key-bounds.ts'
import type { Inventory, KeyFilter } from './key-inventory.ts'
import { KEY_FILTERS, findingShape, usageShape, writeUsage } from './key-inventory.ts'
import {
  checkFixed,
  fixed,
  keyShape,
  newKeyShape,
  readChanges,
  settable,
  state,
  writeKey,
} from './key-view.ts'
import { limits } from './limit-shape.ts'
import type { KeyChanges, KeyViewDeps } from './key-view.ts'
import { LEAKED, revocationResources } from './key-revocation.ts'
import type { RevocationDeps } from './key-revocation.ts'
import { moment, notFound, page, pageOf, pageQuery, resource } from './resource.ts'
import type { Change, Principal, Reply, Resource } from './resource.ts'

/** With the number of its last change, for `ETag`. */
export type StoredKey = Key & { readonly revision: number }

/** As shown: a key that was not ended is `expired` once its time is up. */
export type KeyState = Key['status'] | 'expired'

export type NewKey = Pick<
  Key,
  'name' | 'models' | 'endpoints' | 'addresses' | 'limits' | 'strict' | 'tags' | 'userId'
> & {
  readonly expiresAt?: number
  /** Its id or name; absent: the tenant's default one. */
  readonly application?: string
}

export interface KeysDeps extends KeyViewDeps, RevocationDeps {
  readonly list: (
    db: Database,
    tenantId: string,
    page: {
      limit: number
      after?: string
      status?: KeyState
      applicationId?: string
      userId?: string
    },
  ) => Promise<{ readonly keys: readonly StoredKey[]; readonly hasMore: boolean }>
  readonly get: (db: Database, tenantId: string, id: string) => Promise<StoredKey | undefined>
  /**
   * @returns the key and its secret, which is never to be had again
   * @throws GatewayError `invalid_value` where there is no such application, `conflict` where it is archived
   */
  readonly create: (
    db: Database,
    tenantId: string,
    environment: string,
    wanted: NewKey,
  ) => Promise<{ readonly key: StoredKey; readonly secret: string }>
  /** @returns the key, and those of its line whose limits changed with it */
  readonly update: (
    db: Database,
    tenantId: string,
    id: string,
    changes: KeyChanges,
  ) => Promise<
    | {
        readonly key: StoredKey
        readonly line: readonly { readonly before: StoredKey; readonly after: StoredKey }[]
      }
    | undefined
  >
  /** Told of every new key and every change of one, once it holds. */
  readonly changed: (key: Key) => void
  /** @returns the successor and its secret; the old key ends at `endsAt` */
  readonly roll: (
    db: Database,
    tenantId: string,
    id: string,
    endsAt: number,
  ) => Promise<
    | {
        readonly key: StoredKey
        readonly secret: string
        /** As it was, and as it is now. */
        readonly old: StoredKey
        readonly ended: StoredKey
      }
    | undefined
  >
  /** Id of the user that an id or an e-mail address means. */
  readonly findUser: (
    db: Database,
    tenantId: string,
    idOrEmail: string,
  ) => Promise<string | undefined>
  readonly inventory: Inventory
}

const byId = z.strictObject({ id: z.string().min(1).max(100) })

/** Longest overlap of a roll: a week. */
const MAX_OVERLAP_SECONDS = 7 * 24 * 3600

const reason = z
  .string()
  .trim()
  .min(1)
  .max(200)
  .refine((text) => !text.includes('sk-tg-'), 'a key does not belong here')
  .optional()

const shown = keyShape.extend({ last_used_at: moment.nullable() })

const listed = shown.extend({
  findings: z.array(findingShape).optional(),
})

export function keyResources(deps: KeysDeps): readonly Resource[] {
  const write = (key: Key): z.input<typeof keyShape> => writeKey(key, deps)

  /** @throws GatewayError `not_found`, for one that the caller may not see as for none */
  async function find(db: Database, principal: Principal, id: string): Promise<StoredKey> {
    const key = await deps.get(db, principal.tenantId, id)
    const isHidden = principal.own && key?.userId !== principal.userId
    if (key === undefined || isHidden) throw notFound('key', id)
    return key
  }

  async function change(db: Database, before: StoredKey, changes: KeyChanges): Promise<Reply> {
    const changed = await deps.update(db, before.tenantId, before.id, changes)
    if (changed === undefined) throw notFound('key', before.id)
    const all = [{ before, after: changed.key }, ...changed.line]
    const used = await deps.inventory.lastUsed(db, [before.id])
    return {
      body: { ...write(changed.key), last_used_at: momentOf(used.get(before.id)) },
      version: changed.key.revision,
      changes: all.map((one) => describe(one.before, one.after)),
      committed() {
        for (const { after } of all) deps.changed(after)
      },
    }
  }

  function describe(before: Key, after: Key): Change {
    return { type: 'key', id: after.id, before: write(before), after: write(after) }
  }

  const turn = (verb: string, status: Key['status'], summary: string): Resource =>
    resource({
      method: 'post',
      path: `/admin/v1/keys/{id}/${verb}`,
      permission: 'keys.write',
      ownable: true,
      summary,
      params: byId,
      body: z.strictObject({ reason }),
      response: shown,
      async handle({ principal, params, body, db, expectVersion }) {
        const key = await find(db, principal, params.id)
        expectVersion(key.revision)
        const isLeaked = key.statusReason === LEAKED && key.status === 'disabled'
        if (status === 'active' && isLeaked && body.reason === undefined) {
          throw new GatewayError(
            'conflict',
            'The key was reported as leaked: roll it, or give the reason for which it may work again',
            { param: 'reason' },
          )
        }
        return change(db, key, { status, statusReason: body.reason ?? null })
      },
    })

  /** The user that a request names as owner; whoever may have only their own is it. */
  async function ownerOf(
    db: Database,
    principal: Principal,
    named: string | null | undefined,
  ): Promise<string | null | undefined> {
    const found = named == null ? named : await deps.findUser(db, principal.tenantId, named)
    if (named != null && found === undefined) {
      const message = `There is no user ${named.slice(0, 100)}`
      throw new GatewayError('invalid_value', message, { param: 'owner_id' })
    }
    if (principal.own && named !== undefined && found !== principal.userId) {
      throw new GatewayError('permission_denied', 'You may only have keys of your own', {
        param: 'owner_id',
      })
    }
    return found
  }

  return [
    resource({
      method: 'get',
      path: '/admin/v1/keys',
      permission: 'keys.read',
      ownable: true,
      summary: 'Keys, newest first; with a filter those with such a finding, and how to mend it',
      query: z.strictObject({
        ...pageQuery,
        status: state.optional(),
        application: z.string().min(1).max(100).optional(),
        owner: z.string().min(1).max(100).optional(),
        filter: z.enum(KEY_FILTERS).optional(),
        days: z.coerce.number().int().min(1).max(400).default(30).meta({
          description: 'For the filter: unused for so long, or expiring within',
        }),
      }),
      response: pageOf(listed),
      async handle({ principal, query: { limit, filter, days, ...query }, db }) {
        const { tenantId } = principal
        const userId = principal.own ? principal.userId : query.owner
        const within = {
          ...(query.after === undefined ? {} : { after: query.after }),
          ...(query.status === undefined ? {} : { status: query.status }),
          ...(query.application === undefined
            ? {}
            : { applicationId: await deps.applicationId(db, tenantId, query.application) }),
          ...(userId === undefined ? {} : { userId }),
        }
        if (filter === undefined) {
          const { keys, hasMore } = await deps.list(db, tenantId, { ...within, limit })
          const used = await deps.inventory.lastUsed(
            db,
            keys.map(({ id }) => id),
          )
          const rows = keys.map((key) => ({
            ...write(key),
            last_used_at: momentOf(used.get(key.id)),
          }))
          return { body: page(rows, hasMore) }
        }
        const found = await deps.inventory.find(db, tenantId, {
          filter: filter satisfies KeyFilter,
          days,
          limit,
          list: (at) => deps.list(db, tenantId, { ...within, ...at }),
        })
        const rows = found.rows.map(({ key, lastUsedAt, findings }) => ({
          ...write(key),
          last_used_at: momentOf(lastUsedAt),
          findings,
        }))
        return { body: page(rows, found.hasMore) }
      },
    }),
    ...revocationResources(deps, describe),
    resource({
      method: 'post',
      path: '/admin/v1/keys',
      permission: 'keys.write',
      ownable: true,
      summary: 'Create a key; its secret is in this answer and nowhere else',
      body: z.strictObject({
        ...settable,
        models: settable.models.default(['*']),
        endpoints: settable.endpoints.default(['*']),
        addresses: settable.addresses.default([]),
        limits: limits.default({}),
        strict: settable.strict.default(false),
        expires_at: settable.expires_at.default(null),
        owner_id: settable.owner_id.optional(),
        tags: settable.tags.default([]),
        application_id: z
          .string()
          .min(1)
          .max(100)
          .optional()
          .meta({ description: "Id or name; absent: the tenant's default application" }),
        environment: z
          .string()
          .regex(/^[a-z][a-z0-9]{0,11}$/, 'expected a short lower-case word such as live or test')
          .refine(
            (word) => !['admin', 'user'].includes(word),
            'admin and user are kept for what opens the control plane',
          )
          .default('live'),
      }),
      status: 201,
      response: newKeyShape,
      async handle({ principal, body, db }) {
        const { expiresAt, ...fields } = readChanges(body, deps)
        const named = await ownerOf(db, principal, body.owner_id)
        const userId = named ?? (principal.own ? principal.userId : undefined)
        const { key, secret } = await deps.create(db, principal.tenantId, body.environment, {
          ...(fields as Required<typeof fields>),
          ...(typeof expiresAt === 'number' ? { expiresAt } : {}),
          ...(userId == null ? {} : { userId }),
          ...(body.application_id === undefined ? {} : { application: body.application_id }),
        })
        const after = write(key)
        return {
          status: 201,
          version: key.revision,
          body: { ...after, secret },
          changes: [{ type: 'key', id: key.id, after }],
          committed: () => deps.changed(key),
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/keys/{id}',
      permission: 'keys.read',
      ownable: true,
      summary: 'One key',
      params: byId,
      response: shown,
      async handle({ principal, params, db }) {
        const key = await find(db, principal, params.id)
        const used = await deps.inventory.lastUsed(db, [key.id])
        const body = { ...write(key), last_used_at: momentOf(used.get(key.id)) }
        return { body, version: key.revision }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/keys/{id}/usage',
      permission: 'keys.read',
      ownable: true,
      summary: 'Who uses a key: addresses and user agents, first and last seen, how often',
      params: byId,
      response: usageShape,
      async handle({ principal, params, db }) {
        const key = await find(db, principal, params.id)
        return { body: writeUsage(key.id, await deps.inventory.usage(db, key.id)) }
      },
    }),
    resource({
      method: 'patch',
      path: '/admin/v1/keys/{id}',
      permission: 'keys.write',
      ownable: true,
      summary:
        'Change a key; what is not named stays. A key may be sent back as it was read. Limits change for its whole line',
      params: byId,
      body: z.strictObject({ ...settable, ...fixed, last_used_at: moment.nullable() }).partial(),
      response: shown,
      async handle({ principal, params, body, db, expectVersion }) {
        const key = await find(db, principal, params.id)
        expectVersion(key.revision)
        checkFixed(body, write(key), key)
        const isOwner = body.owner_id === (key.userId ?? null)
        const userId = isOwner ? undefined : await ownerOf(db, principal, body.owner_id)
        const changes = readChanges(body, deps, key)
        if (principal.own) checkNotLooser(key, changes)
        return change(db, key, { ...changes, ...(userId === undefined ? {} : { userId }) })
      },
    }),
    turn('disable', 'disabled', 'Stop a key for now'),
    turn('enable', 'active', 'Let a disabled key work again'),
    turn('revoke', 'revoked', 'End a key for good; its open streams are cut'),
    resource({
      method: 'post',
      path: '/admin/v1/keys/{id}/roll',
      permission: 'keys.write',
      ownable: true,
      summary:
        'Make a successor with the same rights, limits and spend; both work until the overlap ends. One that leaked stays disabled',
      params: byId,
      body: z.strictObject({
        overlap_seconds: z.int().min(0).max(MAX_OVERLAP_SECONDS).default(86_400),
      }),
      status: 201,
      response: newKeyShape.extend({
        replaces: z.strictObject({
          id: z.string(),
          expires_at: moment.nullable(),
          last_used_at: moment.nullable(),
        }),
      }),
      async handle({ principal, params, body, db, expectVersion }) {
        expectVersion((await find(db, principal, params.id)).revision)
        const endsAt = deps.now() + body.overlap_seconds * 1000
        const rolled = await deps.roll(db, principal.tenantId, params.id, endsAt)
        if (rolled === undefined) throw notFound('key', params.id)
        const { key, secret, old, ended } = rolled
        const after = write(key)
        const used = await deps.inventory.lastUsed(db, [old.id])
        const replaces = {
          id: old.id,
          expires_at: momentOf(ended.expiresAt),
          last_used_at: momentOf(used.get(old.id)),
        }
        return {
          status: 201,
          version: key.revision,
          body: { ...after, secret, replaces },
          changes: [{ type: 'key', id: key.id, after }, describe(old, ended)],
          committed() {
            deps.changed(ended)
            deps.changed(key)
          },
        }
      },
    }),
  ]
}

function momentOf(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString()
}
