import { z } from 'zod'
import { GatewayError } from '#errors'
import type { NanoUsd } from '#protocol'
import type { Database } from '../store/schema.ts'

/** What a role may do; every route names the one it needs. */
export const PERMISSIONS = [
  'self.read',
  'tokens.read',
  'tokens.write',
  'tenants.read',
  'tenants.write',
  'settings.write',
  'applications.read',
  'applications.write',
  'users.read',
  'users.write',
  'owners.write',
  'keys.read',
  'keys.write',
  'models.read',
  'limits.read',
  'limits.write',
  'prices.read',
  'prices.write',
  'credentials.read',
  'credentials.write',
  'providers.read',
  'providers.test',
  'costs.read',
  'requests.read',
  'system.read',
  'audit.read',
  'audit.erase',
  'alerts.read',
  'alerts.write',
  'webhooks.read',
  'webhooks.write',
] as const

export type Permission = (typeof PERMISSIONS)[number]

/** Who asks, and within which tenant's data. */
export interface Principal {
  /** What it came with. */
  readonly type: 'admin_key' | 'user' | 'key' | 'anonymous'
  /** Of the user or the key; else as the type. */
  readonly id: string
  readonly name: string
  readonly tenantId: string
  readonly permissions: ReadonlySet<Permission>
  /** The holder of the admin key, who may do everything in every tenant. */
  readonly isPlatform: boolean
  /** Absent for who is no user, as the platform. */
  readonly role?: string
  readonly userId?: string
  /** Of the token it came with, Unix ms; absent: never. */
  readonly expiresAt?: number
  /**
   * Its role lets it have only its own through this route: what belongs to `userId`. True only
   * where the route is `ownable`.
   */
  readonly own: boolean
  /** The platform asks about every tenant at once. True only where the route is `acrossTenants`. */
  readonly allTenants: boolean
}

/**
 * As the `cause` of a refusal (401) of one who is known all the same, such as by an expired token:
 * the audit names him, while it only counts those nobody knows.
 */
export class KnownCaller extends Error {
  readonly principal: Principal

  constructor(principal: Principal) {
    super(`${principal.type} ${principal.id}`)
    this.principal = principal
  }
}

/** What a handler gets: everything validated, nothing of HTTP. */
export interface Call<Params, Query, Body> {
  readonly principal: Principal
  readonly params: Params
  readonly query: Query
  readonly body: Body
  /** For a route that changes something: a transaction that ends with the handler. */
  readonly db: Database
  /**
   * Compares what the caller believes to change with what is there.
   *
   * @throws GatewayError `stale_version` when `If-Match` names another version
   */
  readonly expectVersion: (version: bigint | number) => void
}

/** What a call changed, for the audit. Secrets never stand in it. */
export interface Change {
  /** Such as `key`. */
  readonly type: string
  readonly id: string
  /** As shown by the API; absent: it was not there before. */
  readonly before?: unknown
  /** As shown by the API; absent: it is gone. */
  readonly after?: unknown
}

export interface Reply {
  /** Absent: 200. */
  readonly status?: number
  /** Of what is shown, for `ETag`. */
  readonly version?: bigint | number
  /** Every route that changes something says what; an empty list: nothing did. */
  readonly changes?: readonly Change[]
  /** Runs once the transaction holds: telling the data plane, cutting streams. Never fails. */
  readonly committed?: () => void | Promise<void>
  /** A text is sent as it is, anything else as JSON. */
  readonly body: unknown
  /** Absent: JSON. */
  readonly type?: string
}

/** One route of the control plane, as it is served and as its OpenAPI page says. */
export interface Resource {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  /** For a method other than GET that changes nothing of ours: it gets no transaction. */
  readonly readOnly?: true
  /** With parameters as `{name}`. */
  readonly path: `/${string}`
  /** `public` needs no key. */
  readonly permission: Permission | 'public'
  /**
   * The handler heeds `principal.own`. Elsewhere, who may have only their own through the
   * permission is refused.
   */
  readonly ownable?: true
  /** The handler heeds `principal.allTenants`, which the tenant `*` asks for. */
  readonly acrossTenants?: true
  readonly summary: string
  readonly params?: z.ZodObject
  readonly query?: z.ZodObject
  readonly body?: z.ZodObject
  /** Absent: the answer is no JSON. */
  readonly response?: z.ZodType
  /** What success answers with; absent: 200. */
  readonly status?: number
  readonly handle: (call: Call<never, never, never>) => Reply | Promise<Reply>
}

/** Ties a handler's types to the schemas that validate for it. */
export function resource<
  Params extends z.ZodObject = z.ZodObject<Record<never, never>>,
  Query extends z.ZodObject = z.ZodObject<Record<never, never>>,
  Body extends z.ZodObject = z.ZodObject<Record<never, never>>,
>(
  definition: Omit<Resource, 'params' | 'query' | 'body' | 'handle'> & {
    readonly params?: Params
    readonly query?: Query
    readonly body?: Body
    readonly handle: (
      call: Call<z.output<Params>, z.output<Query>, z.output<Body>>,
    ) => Reply | Promise<Reply>
  },
): Resource {
  // The route hands over what these very schemas produced.
  return definition as unknown as Resource
}

/** A moment, in answers and questions. */
export const moment = z.iso
  .datetime({ offset: true })
  .meta({ description: 'RFC 3339, UTC in answers' })

/** An amount in answers. */
export const money = z
  .strictObject({ amount: z.string(), currency: z.literal('USD') })
  .meta({ id: 'Money', description: 'A decimal as text: never a float' })

export function usd(nanos: NanoUsd, format: (nanos: NanoUsd) => string): z.infer<typeof money> {
  return { amount: format(nanos), currency: 'USD' }
}

/** Cursor pages as the OpenAI SDK reads them. */
export const pageQuery = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(100)
    .default(20)
    .meta({ description: 'Rows of a page' }),
  after: z.string().optional().meta({ description: 'Id of the last row of the page before' }),
}

export function pageOf<Row extends z.ZodType>(row: Row) {
  return z.strictObject({
    object: z.literal('list'),
    data: z.array(row),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  })
}

export function page<Row extends { readonly id: string }>(data: readonly Row[], hasMore: boolean) {
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: hasMore,
  }
}

export function notFound(what: string, id: string): GatewayError {
  return new GatewayError('not_found', `There is no ${what} ${id.slice(0, 100)}`)
}
