import { z } from 'zod'
import { GatewayError } from '#errors'
import type { Key, Limits } from '#protocol'
import { checkLimits, limits, limitsShape, readLimits, writeLimits } from './limit-shape.ts'
import { moment } from './resource.ts'

export interface KeyChanges {
  readonly name?: string
  readonly status?: Key['status']
  readonly statusReason?: string | null
  readonly models?: readonly string[]
  readonly endpoints?: readonly string[]
  readonly addresses?: readonly string[]
  /** They are those of its line. */
  readonly limits?: Limits
  readonly strict?: boolean
  /** `null` takes the expiry away. */
  readonly expiresAt?: number | null
  readonly userId?: string | null
  readonly tags?: readonly string[]
}

/** What reading and writing a key needs to know. */
export interface KeyViewDeps {
  /** @throws Error naming the first range that is none */
  readonly parseRanges: (ranges: readonly string[]) => unknown
  /** Paths that a key can be kept to. */
  readonly paths: readonly string[]
  /** What is wrong with a model's name, where nothing can be asked for by it. */
  readonly unknownModel: (name: string) => string | undefined
  /** The same of a pattern: where it can cover nothing. */
  readonly unknownPattern: (pattern: string) => string | undefined
  readonly nearest: (name: string, known: Iterable<string>) => string | undefined
  readonly parseUsd: (text: string) => bigint
  readonly formatUsd: (nanos: bigint) => string
  readonly now: () => number
}

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
  .meta({ description: 'GET /v1/models and /v1/me are allowed whatever stands here' })
const address = z.string().min(1).max(64)

const tag = z
  .string()
  .regex(/^[\w.:/-]{1,64}$/, 'expected letters, digits and . : / - _, at most 64')
  .toLowerCase()

/** Fields of a key that can be set. */
export const settable = {
  name,
  models: z.array(pattern).min(1).max(200),
  endpoints: z.array(endpoint).min(1).max(50),
  addresses: z.array(address).max(200),
  limits,
  strict: z.boolean(),
  expires_at: moment.nullable(),
  owner_id: z
    .string()
    .min(1)
    .max(100)
    .nullable()
    .meta({ description: 'The user who answers for it; in a request also an e-mail address' }),
  tags: z.array(tag).max(10),
}

export const state = z.enum(['active', 'disabled', 'revoked', 'expired'])

export const keyShape = z
  .strictObject({
    id: z.string(),
    object: z.literal('key'),
    name: z.string(),
    application_id: z.string(),
    owner_id: z.string().nullable(),
    tags: z.array(z.string()),
    prefix: z.string().meta({ description: 'The public part the key is looked up by' }),
    last4: z.string(),
    status: state,
    status_reason: z
      .string()
      .nullable()
      .meta({ description: '`leaked`, or what the one who ended it said' }),
    created_at: moment,
    expires_at: moment.nullable(),
    models: z.array(z.string()),
    endpoints: z.array(z.string()),
    addresses: z.array(z.string()),
    limits: limitsShape,
    strict: z.boolean(),
    successor_id: z.string().nullable(),
    root_id: z.string().meta({
      description: 'The first key of its line: keys that follow by rolling share limits and spend',
    }),
  })
  .meta({ id: 'Key' })

/** Sent back with a key that was read; they change in other ways or not at all. */
export const fixed = keyShape.pick({
  id: true,
  object: true,
  application_id: true,
  prefix: true,
  last4: true,
  status: true,
  status_reason: true,
  created_at: true,
  successor_id: true,
  root_id: true,
}).shape

export const newKeyShape = keyShape.extend({
  secret: z.string().meta({ description: 'The key itself, shown this once' }),
})

export type SettableValues = {
  readonly [Name in keyof typeof settable]?: z.infer<(typeof settable)[Name]> | undefined
}

/** @throws GatewayError `invalid_value` for a field that cannot be set, unless it says what is */
export function checkFixed(
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
export function readChanges(
  body: SettableValues,
  deps: KeyViewDeps,
  current?: Key,
): Omit<KeyChanges, 'status' | 'statusReason' | 'userId'> {
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
  const wanted = body.limits && readLimits(body.limits, deps.parseUsd)
  if (wanted !== undefined) {
    checkLimits(wanted, current?.limits, { unknownModel: deps.unknownPattern, now: deps.now })
  }
  return {
    ...(body.name !== undefined && { name: body.name }),
    ...(body.models !== undefined && { models: body.models }),
    ...(body.endpoints !== undefined && { endpoints: body.endpoints }),
    ...(addresses !== undefined && { addresses }),
    ...(wanted !== undefined && { limits: wanted }),
    ...(body.strict !== undefined && { strict: body.strict }),
    ...(expiresAt !== undefined && { expiresAt }),
    ...(body.tags !== undefined && { tags: [...new Set(body.tags)].toSorted() }),
  }
}

/** @throws GatewayError `invalid_value` for a path or a model that there is not */
function checkNames({ models, endpoints }: SettableValues, deps: KeyViewDeps, current?: Key): void {
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

export function writeKey(
  key: Key,
  { formatUsd, now }: Pick<KeyViewDeps, 'formatUsd' | 'now'>,
): z.input<typeof keyShape> {
  const isOver = key.expiresAt !== undefined && key.expiresAt <= now()
  return {
    id: key.id,
    object: 'key',
    name: key.name,
    application_id: key.applicationId,
    owner_id: key.userId ?? null,
    tags: [...key.tags],
    prefix: key.prefix,
    last4: key.last4,
    status: isOver && key.status === 'active' ? 'expired' : key.status,
    status_reason: key.statusReason ?? null,
    created_at: new Date(key.createdAt).toISOString(),
    expires_at: key.expiresAt === undefined ? null : new Date(key.expiresAt).toISOString(),
    models: [...key.models],
    endpoints: [...key.endpoints],
    addresses: [...key.addresses],
    limits: writeLimits(key.limits, formatUsd),
    strict: key.strict,
    successor_id: key.successorId ?? null,
    root_id: key.rootId,
  }
}
