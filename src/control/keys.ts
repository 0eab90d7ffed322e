import { z } from 'zod'
import { GatewayError } from '#errors'
import type { Key, Limits } from '#protocol'
import { money, moment, notFound, page, pageOf, pageQuery, resource, usd } from './resource.ts'
import type { Reply, Resource } from './resource.ts'
import type { Database } from '../store/schema.ts'

export interface KeyChanges {
  readonly name?: string
  readonly status?: 'active' | 'disabled' | 'revoked'
  readonly models?: readonly string[]
  readonly endpoints?: readonly string[]
  readonly addresses?: readonly string[]
  readonly limits?: Limits
  readonly strict?: boolean
  /** `null` takes the expiry away. */
  readonly expiresAt?: number | null
}

/** As shown: a key that was not ended is `expired` once its time is up. */
export type KeyState = Key['status'] | 'expired'

export interface KeysDeps {
  readonly list: (
    db: Database,
    tenantId: string,
    page: { limit: number; after?: string; status?: KeyState },
  ) => Promise<{ readonly keys: readonly Key[]; readonly hasMore: boolean }>
  readonly get: (db: Database, tenantId: string, id: string) => Promise<Key | undefined>
  /** @returns the key and its secret, which is never to be had again */
  readonly create: (
    db: Database,
    tenantId: string,
    environment: string,
    wanted: Pick<Key, 'name' | 'models' | 'endpoints' | 'addresses' | 'limits' | 'strict'> & {
      readonly expiresAt?: number
    },
  ) => Promise<{ readonly key: Key; readonly secret: string }>
  readonly update: (
    db: Database,
    tenantId: string,
    id: string,
    changes: KeyChanges,
  ) => Promise<Key | undefined>
  /** Told of every change of a key that was there, once it holds. */
  readonly changed: (key: Key) => void
  /** @returns the successor and its secret; the old key ends at `endsAt` */
  readonly roll: (
    db: Database,
    tenantId: string,
    id: string,
    endsAt: number,
  ) => Promise<
    | {
        readonly key: Key
        readonly secret: string
        /** As it was, and as it is now. */
        readonly old: Key
        readonly ended: Key
      }
    | undefined
  >
  /** @throws Error naming the first range that is none */
  readonly parseRanges: (ranges: readonly string[]) => unknown
  /** Paths that a key can be kept to. */
  readonly paths: readonly string[]
  /** What is wrong with a model's name, where nothing can be asked for by it. */
  readonly unknownModel: (name: string) => string | undefined
  readonly nearest: (name: string, known: Iterable<string>) => string | undefined
  readonly parseUsd: (text: string) => bigint
  readonly formatUsd: (nanos: bigint) => string
  readonly now: () => number
}

const amount = z
  .string()
  .regex(/^\d{1,12}(\.\d{1,9})?$/, 'expected USD as a decimal in quotes, such as "10.00"')

const budgetLimit = z.union([amount, z.strictObject({ amount, currency: z.literal('USD') })], {
  error: 'expected USD as a decimal in quotes, such as "10.00"',
})

const positive = z.int().min(1).max(1_000_000_000)

const limits = z
  .strictObject({
    requests_per_minute: positive.nullish(),
    tokens_per_minute: positive.nullish(),
    concurrency: positive.nullish(),
    budgets: z
      .array(
        z.strictObject({ window: z.enum(['day', 'week', 'month', 'total']), limit: budgetLimit }),
      )
      .max(4)
      .refine(
        (all) => new Set(all.map(({ window }) => window)).size === all.length,
        'a window stands twice',
      )
      .nullish(),
  })
  .meta({ id: 'Limits', description: 'Absent or null: not limited. Budgets are USD as decimals.' })

const name = z.string().trim().min(1).max(100)
const pattern = z
  .string()
  .regex(
    /^[^\s]{1,200}$/,
    'expected a model such as openai/gpt-5, a route, or a pattern such as openai/*',
  )
const endpoint = z
  .string()
  .regex(/^(\*|\/[\w/.-]{1,100})$/, 'expected a path such as /v1/embeddings, or *')
  .meta({ description: 'GET /v1/models is allowed whatever stands here' })
const address = z.string().min(1).max(64)

const settable = {
  name,
  models: z.array(pattern).min(1).max(200),
  endpoints: z.array(endpoint).min(1).max(50),
  addresses: z.array(address).max(200),
  limits,
  strict: z.boolean(),
  expires_at: moment.nullable(),
}

const state = z.enum(['active', 'disabled', 'revoked', 'expired'])

const keyShape = z
  .strictObject({
    id: z.string(),
    object: z.literal('key'),
    name: z.string(),
    application_id: z.string(),
    prefix: z.string().meta({ description: 'The public part the key is looked up by' }),
    last4: z.string(),
    status: state,
    created_at: moment,
    expires_at: moment.nullable(),
    models: z.array(z.string()),
    endpoints: z.array(z.string()),
    addresses: z.array(z.string()),
    limits: z.strictObject({
      requests_per_minute: z.int().nullable(),
      tokens_per_minute: z.int().nullable(),
      concurrency: z.int().nullable(),
      budgets: z.array(z.strictObject({ window: z.string(), limit: money })),
    }),
    strict: z.boolean(),
    successor_id: z.string().nullable(),
  })
  .meta({ id: 'Key' })

/** Sent back with a key that was read; they change in other ways or not at all. */
const fixed = keyShape.pick({
  id: true,
  object: true,
  application_id: true,
  prefix: true,
  last4: true,
  status: true,
  created_at: true,
  successor_id: true,
}).shape

const newKeyShape = keyShape.extend({
  secret: z.string().meta({ description: 'The key itself, shown this once' }),
})

const byId = z.strictObject({ id: z.string().min(1).max(100) })

/** Longest overlap of a roll: a week. */
const MAX_OVERLAP_SECONDS = 7 * 24 * 3600

export function keyResources(deps: KeysDeps): readonly Resource[] {
  const write = (key: Key): z.input<typeof keyShape> => writeKey(key, deps)

  async function change(
    db: Database,
    before: Key | undefined,
    id: string,
    changes: KeyChanges,
  ): Promise<Reply> {
    const key = before && (await deps.update(db, before.tenantId, id, changes))
    if (before === undefined || key === undefined) throw notFound('key', id)
    const after = write(key)
    return {
      body: after,
      changes: [{ type: 'key', id, before: write(before), after }],
      committed: () => deps.changed(key),
    }
  }

  const turn = (
    verb: string,
    status: 'active' | 'disabled' | 'revoked',
    summary: string,
  ): Resource =>
    resource({
      method: 'post',
      path: `/admin/v1/keys/{id}/${verb}`,
      permission: 'keys.write',
      summary,
      params: byId,
      response: keyShape,
      handle: async ({ principal, params, db }) =>
        change(db, await deps.get(db, principal.tenantId, params.id), params.id, { status }),
    })

  return [
    resource({
      method: 'get',
      path: '/admin/v1/keys',
      permission: 'keys.read',
      summary: 'Keys, newest first',
      query: z.strictObject({
        ...pageQuery,
        status: state.optional(),
      }),
      response: pageOf(keyShape),
      async handle({ principal, query: { limit, after, status }, db }) {
        const { keys, hasMore } = await deps.list(db, principal.tenantId, {
          limit,
          ...(after === undefined ? {} : { after }),
          ...(status === undefined ? {} : { status }),
        })
        return { body: page(keys.map(write), hasMore) }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/keys',
      permission: 'keys.write',
      summary: 'Create a key; its secret is in this answer and nowhere else',
      body: z.strictObject({
        ...settable,
        models: settable.models.default(['*']),
        endpoints: settable.endpoints.default(['*']),
        addresses: settable.addresses.default([]),
        limits: limits.default({}),
        strict: settable.strict.default(false),
        expires_at: settable.expires_at.default(null),
        environment: z
          .string()
          .regex(/^[a-z][a-z0-9]{0,11}$/, 'expected a short lower-case word such as live or test')
          .refine((word) => word !== 'admin', 'admin is kept for keys of the control plane')
          .default('live'),
      }),
      status: 201,
      response: newKeyShape,
      async handle({ principal, body, db }) {
        const { expiresAt, ...fields } = readChanges(body, deps)
        const { key, secret } = await deps.create(db, principal.tenantId, body.environment, {
          ...(fields as Required<typeof fields>),
          ...(typeof expiresAt === 'number' ? { expiresAt } : {}),
        })
        const after = write(key)
        return {
          status: 201,
          body: { ...after, secret },
          changes: [{ type: 'key', id: key.id, after }],
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/keys/{id}',
      permission: 'keys.read',
      summary: 'One key',
      params: byId,
      response: keyShape,
      async handle({ principal, params, db }) {
        const key = await deps.get(db, principal.tenantId, params.id)
        if (key === undefined) throw notFound('key', params.id)
        return { body: write(key) }
      },
    }),
    resource({
      method: 'patch',
      path: '/admin/v1/keys/{id}',
      permission: 'keys.write',
      summary: 'Change a key; what is not named stays. A key may be sent back as it was read',
      params: byId,
      body: z.strictObject({ ...settable, ...fixed }).partial(),
      response: keyShape,
      async handle({ principal, params, body, db }) {
        const key = await deps.get(db, principal.tenantId, params.id)
        if (key === undefined) throw notFound('key', params.id)
        checkFixed(body, write(key), key)
        return change(db, key, params.id, readChanges(body, deps, key))
      },
    }),
    turn('disable', 'disabled', 'Stop a key for now'),
    turn('enable', 'active', 'Let a disabled key work again'),
    turn('revoke', 'revoked', 'End a key for good; its open streams are cut'),
    resource({
      method: 'post',
      path: '/admin/v1/keys/{id}/roll',
      permission: 'keys.write',
      summary: 'Make a successor with the same rights; both work until the overlap ends',
      params: byId,
      body: z.strictObject({
        overlap_seconds: z.int().min(0).max(MAX_OVERLAP_SECONDS).default(86_400),
      }),
      status: 201,
      response: newKeyShape,
      async handle({ principal, params, body, db }) {
        const endsAt = deps.now() + body.overlap_seconds * 1000
        const rolled = await deps.roll(db, principal.tenantId, params.id, endsAt)
        if (rolled === undefined) throw notFound('key', params.id)
        const { key, secret, old, ended } = rolled
        const after = write(key)
        return {
          status: 201,
          body: { ...after, secret },
          changes: [
            { type: 'key', id: key.id, after },
            { type: 'key', id: old.id, before: write(old), after: write(ended) },
          ],
          committed: () => deps.changed(ended),
        }
      },
    }),
  ]
}

type SettableValues = {
  readonly [Name in keyof typeof settable]?: z.infer<(typeof settable)[Name]> | undefined
}

/** @throws GatewayError `invalid_value` for a field that cannot be set, unless it says what is */
function checkFixed(
  body: { readonly [Name in keyof typeof fixed]?: unknown },
  shown: z.input<typeof keyShape>,
  key: Key,
): void {
  for (const field of Object.keys(fixed) as (keyof typeof fixed)[]) {
    const given = body[field]
    if (given === undefined || given === shown[field]) continue
    // It may have expired since it was read.
    if (field === 'status' && given === key.status) continue
    const how = field === 'status' ? ': ask for /disable, /enable or /revoke' : ''
    throw new GatewayError('invalid_value', `${field} cannot be set${how}`, { param: field })
  }
}

/** @param current the key as it is, whose values are good whatever they are; absent: a new one */
function readChanges(
  body: SettableValues,
  deps: KeysDeps,
  current?: Key,
): Omit<KeyChanges, 'status'> {
  const { addresses, expires_at } = body
  checkNames(body, deps, current)
  if (addresses !== undefined) {
    try {
      deps.parseRanges(addresses)
    } catch (error) {
      throw new GatewayError('invalid_value', (error as Error).message, { param: 'addresses' })
    }
  }
  const expiresAt = typeof expires_at === 'string' ? Date.parse(expires_at) : expires_at
  const isNew = expiresAt !== current?.expiresAt
  if (typeof expiresAt === 'number' && isNew && expiresAt <= deps.now()) {
    throw new GatewayError('invalid_value', 'expires_at lies in the past', { param: 'expires_at' })
  }
  return {
    ...(body.name !== undefined && { name: body.name }),
    ...(body.models !== undefined && { models: body.models }),
    ...(body.endpoints !== undefined && { endpoints: body.endpoints }),
    ...(addresses !== undefined && { addresses }),
    ...(body.limits !== undefined && { limits: readLimits(body.limits, deps.parseUsd) }),
    ...(body.strict !== undefined && { strict: body.strict }),
    ...(expiresAt !== undefined && { expiresAt }),
  }
}

/** @throws GatewayError `invalid_value` for a path or a model that there is not */
function checkNames({ models, endpoints }: SettableValues, deps: KeysDeps, current?: Key): void {
  const path = endpoints?.find(
    (one) => one !== '*' && !deps.paths.includes(one) && !current?.endpoints.includes(one),
  )
  if (path !== undefined) {
    const near = deps.paths.find((one) => one.startsWith(path)) ?? deps.nearest(path, deps.paths)
    const hint = near === undefined ? `there are ${deps.paths.join(', ')}` : `did you mean ${near}?`
    throw new GatewayError('invalid_value', `Nothing is served under ${path}; ${hint}`, {
      param: 'endpoints',
    })
  }
  for (const model of models ?? []) {
    if (model.includes('*') || current?.models.includes(model)) continue
    const wrong = deps.unknownModel(model)
    if (wrong !== undefined) throw new GatewayError('invalid_value', wrong, { param: 'models' })
  }
}

function readLimits(given: z.infer<typeof limits>, parseUsd: (text: string) => bigint): Limits {
  return {
    ...(given.requests_per_minute != null && { requestsPerMinute: given.requests_per_minute }),
    ...(given.tokens_per_minute != null && { tokensPerMinute: given.tokens_per_minute }),
    ...(given.concurrency != null && { concurrency: given.concurrency }),
    ...(given.budgets != null && {
      budgets: given.budgets.map(({ window, limit }) => ({
        window,
        limit: parseUsd(typeof limit === 'string' ? limit : limit.amount),
      })),
    }),
  }
}

function writeKey(
  key: Key,
  { formatUsd, now }: Pick<KeysDeps, 'formatUsd' | 'now'>,
): z.input<typeof keyShape> {
  const isOver = key.expiresAt !== undefined && key.expiresAt <= now()
  return {
    id: key.id,
    object: 'key',
    name: key.name,
    application_id: key.applicationId,
    prefix: key.prefix,
    last4: key.last4,
    status: isOver && key.status === 'active' ? 'expired' : key.status,
    created_at: new Date(key.createdAt).toISOString(),
    expires_at: key.expiresAt === undefined ? null : new Date(key.expiresAt).toISOString(),
    models: [...key.models],
    endpoints: [...key.endpoints],
    addresses: [...key.addresses],
    limits: {
      requests_per_minute: key.limits.requestsPerMinute ?? null,
      tokens_per_minute: key.limits.tokensPerMinute ?? null,
      concurrency: key.limits.concurrency ?? null,
      budgets: (key.limits.budgets ?? []).map(({ window, limit }) => ({
        window,
        limit: usd(limit, formatUsd),
      })),
    },
    strict: key.strict,
    successor_id: key.successorId ?? null,
  }
}
