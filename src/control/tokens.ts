import { z } from 'zod'
import { GatewayError } from '#errors'
import type { Database } from '../store/schema.ts'
import type { User, UserToken } from '../store/users.ts'
import { moment, notFound, page, pageOf, pageQuery, resource } from './resource.ts'
import type { Principal, Resource } from './resource.ts'
import { checkGrant } from './users.ts'

export interface TokensDeps {
  readonly user: (db: Database, tenantId: string, id: string) => Promise<User | undefined>
  readonly list: (
    db: Database,
    user: User,
    page: { limit: number; after?: string },
  ) => Promise<{ readonly tokens: readonly UserToken[]; readonly hasMore: boolean }>
  readonly get: (db: Database, user: User, id: string) => Promise<UserToken | undefined>
  /** @returns the token and its secret, which is never to be had again */
  readonly create: (
    db: Database,
    user: User,
    wanted: Pick<UserToken, 'name'> & { readonly expiresAt?: number },
  ) => Promise<{ readonly token: UserToken; readonly secret: string }>
  readonly revoke: (db: Database, user: User, id: string) => Promise<UserToken | undefined>
  readonly now: () => number
}

const tokenShape = z
  .strictObject({
    id: z.string(),
    object: z.literal('token'),
    user_id: z.string(),
    name: z.string(),
    prefix: z.string().meta({ description: 'The public part the token is looked up by' }),
    last4: z.string(),
    status: z.enum(['active', 'expired', 'revoked']),
    created_at: moment,
    expires_at: moment.nullable(),
    last_used_at: moment.nullable().meta({ description: 'To about a minute' }),
  })
  .meta({ id: 'Token' })

const ofUser = z.strictObject({
  id: z.string().min(1).max(100).meta({ description: 'Of a user; `me`: of the token sent' }),
})

const ofToken = ofUser.extend({ token: z.string().min(1).max(100) })

export function tokenResources(deps: TokensDeps): readonly Resource[] {
  const write = (token: UserToken): z.input<typeof tokenShape> => writeToken(token, deps.now())

  /** @throws GatewayError `not_found`, for a user whose tokens are not the caller's as for none */
  async function find(db: Database, principal: Principal, named: string): Promise<User> {
    const id = named === 'me' ? (principal.userId ?? named) : named
    const isHidden = principal.own && id !== principal.userId
    const user = isHidden ? undefined : await deps.user(db, principal.tenantId, id)
    if (user === undefined) throw notFound('user', named)
    return user
  }

  return [
    resource({
      method: 'get',
      path: '/admin/v1/users/{id}/tokens',
      permission: 'tokens.read',
      ownable: true,
      summary: 'Tokens of a user, newest first; the secrets are nowhere',
      params: ofUser,
      query: z.strictObject(pageQuery),
      response: pageOf(tokenShape),
      async handle({ principal, params, query: { limit, after }, db }) {
        const user = await find(db, principal, params.id)
        const { tokens, hasMore } = await deps.list(db, user, {
          limit,
          ...(after === undefined ? {} : { after }),
        })
        return { body: page(tokens.map(write), hasMore) }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/users/{id}/tokens',
      permission: 'tokens.write',
      ownable: true,
      summary: 'Create a token of a user; its secret is in this answer and nowhere else',
      params: ofUser,
      body: z.strictObject({
        name: z.string().trim().min(1).max(100),
        expires_at: moment.nullable().default(null).meta({
          description: 'One made for oneself ends with the token it was made by, at the latest',
        }),
      }),
      status: 201,
      response: tokenShape.extend({ secret: z.string() }),
      async handle({ principal, params, body, db }) {
        const user = await find(db, principal, params.id)
        checkGrant(principal, user.role)
        if (user.status !== 'active') {
          throw new GatewayError('conflict', `${user.name} is disabled`)
        }
        const expiresAt = expiryOf(body.expires_at, user, principal, deps.now())
        const { token, secret } = await deps.create(db, user, {
          name: body.name,
          ...(expiresAt !== undefined && { expiresAt }),
        })
        const after = write(token)
        return {
          status: 201,
          body: { ...after, secret },
          version: token.revision,
          changes: [{ type: 'token', id: token.id, after }],
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/users/{id}/tokens/{token}',
      permission: 'tokens.read',
      ownable: true,
      summary: 'One token',
      params: ofToken,
      response: tokenShape,
      async handle({ principal, params, db }) {
        const user = await find(db, principal, params.id)
        const token = await deps.get(db, user, params.token)
        if (token === undefined) throw notFound('token', params.token)
        return { body: write(token), version: token.revision }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/users/{id}/tokens/{token}/revoke',
      permission: 'tokens.write',
      ownable: true,
      summary: 'End a token for good',
      params: ofToken,
      response: tokenShape,
      async handle({ principal, params, db, expectVersion }) {
        const user = await find(db, principal, params.id)
        checkGrant(principal, user.role)
        const before = await deps.get(db, user, params.token)
        if (before === undefined) throw notFound('token', params.token)
        expectVersion(before.revision)
        const after = (await deps.revoke(db, user, before.id)) ?? before
        return {
          body: write(after),
          version: after.revision,
          changes: [{ type: 'token', id: after.id, before: write(before), after: write(after) }],
        }
      },
    }),
  ]
}

/**
 * Nobody makes themselves a token that outlives the one they came with.
 *
 * @returns Unix ms; undefined: never
 * @throws GatewayError `invalid_value` or `permission_denied`
 */
function expiryOf(
  wanted: string | null,
  user: User,
  principal: Principal,
  now: number,
): number | undefined {
  const bound = user.id === principal.userId ? principal.expiresAt : undefined
  const expiresAt = wanted === null ? bound : Date.parse(wanted)
  if (expiresAt !== undefined && expiresAt <= now) {
    const message = 'expires_at lies in the past'
    throw new GatewayError('invalid_value', message, { param: 'expires_at' })
  }
  if (bound !== undefined && expiresAt !== undefined && expiresAt > bound) {
    const message = `Your own token ends at ${new Date(bound).toISOString()}: none you make for yourself may end later`
    throw new GatewayError('permission_denied', message, { param: 'expires_at' })
  }
  return expiresAt
}

function writeToken(token: UserToken, now: number): z.input<typeof tokenShape> {
  const isOver = token.expiresAt !== undefined && token.expiresAt <= now
  return {
    id: token.id,
    object: 'token',
    user_id: token.userId,
    name: token.name,
    prefix: token.prefix,
    last4: token.last4,
    status: isOver && token.status === 'active' ? 'expired' : token.status,
    created_at: new Date(token.createdAt).toISOString(),
    expires_at: momentOf(token.expiresAt),
    last_used_at: momentOf(token.lastUsedAt),
  }
}

function momentOf(time: number | undefined): string | null {
  return time === undefined ? null : new Date(time).toISOString()
}
