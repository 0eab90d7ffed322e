import { z } from 'zod'
import { GatewayError } from '#errors'
import type { Database } from '../store/schema.ts'
import type { User, UserChanges } from '../store/users.ts'
import { moment, notFound, page, pageOf, pageQuery, resource } from './resource.ts'
import type { Principal, Resource } from './resource.ts'
import { ROLES, isRole, mayGrant } from './roles.ts'
import type { Role } from './roles.ts'
import { checkSentBack } from './sent-back.ts'

export interface UsersDeps {
  readonly list: (
    db: Database,
    tenantId: string,
    page: { limit: number; after?: string; role?: string; status?: User['status'] },
  ) => Promise<{ readonly users: readonly User[]; readonly hasMore: boolean }>
  readonly get: (db: Database, tenantId: string, id: string) => Promise<User | undefined>
  /** @throws GatewayError `conflict` when the tenant has a user of this address */
  readonly create: (
    db: Database,
    tenantId: string,
    wanted: Pick<User, 'name' | 'email' | 'role'>,
  ) => Promise<User>
  /** @throws GatewayError `conflict` when the address is taken, or the last owner would go */
  readonly update: (
    db: Database,
    tenantId: string,
    id: string,
    changes: UserChanges,
  ) => Promise<User | undefined>
}

const roleNames = Object.keys(ROLES) as [Role, ...Role[]]
export const role = z.enum(roleNames)
const status = z.enum(['active', 'disabled'])

const settable = {
  name: z.string().trim().min(1).max(100),
  email: z
    .email('expected an e-mail address')
    .max(254)
    .transform((text) => text.toLowerCase()),
  role,
  status,
}

const userShape = z
  .strictObject({
    id: z.string(),
    object: z.literal('user'),
    tenant_id: z.string(),
    name: z.string(),
    email: z.string(),
    role,
    status,
    created_at: moment,
  })
  .meta({ id: 'User' })

const FIXED = ['id', 'object', 'tenant_id', 'created_at'] as const

const fixed = userShape.pick({ id: true, object: true, tenant_id: true, created_at: true }).shape

const byId = z.strictObject({ id: z.string().min(1).max(100) })

export function userResources(deps: UsersDeps): readonly Resource[] {
  async function find(db: Database, principal: Principal, id: string): Promise<User> {
    const user = await deps.get(db, principal.tenantId, id)
    if (user === undefined) throw notFound('user', id)
    return user
  }

  return [
    resource({
      method: 'get',
      path: '/admin/v1/users',
      permission: 'users.read',
      summary: 'Users, newest first',
      query: z.strictObject({ ...pageQuery, role: role.optional(), status: status.optional() }),
      response: pageOf(userShape),
      async handle({ principal, query: { limit, ...query }, db }) {
        const { users, hasMore } = await deps.list(db, principal.tenantId, {
          limit,
          ...(query.after === undefined ? {} : { after: query.after }),
          ...(query.role === undefined ? {} : { role: query.role }),
          ...(query.status === undefined ? {} : { status: query.status }),
        })
        return { body: page(users.map(writeUser), hasMore) }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/users',
      permission: 'users.write',
      summary: 'Create a user; a token of theirs is made apart',
      body: z.strictObject({ name: settable.name, email: settable.email, role }),
      status: 201,
      response: userShape,
      async handle({ principal, body, db }) {
        checkGrant(principal, body.role)
        const user = await deps.create(db, principal.tenantId, body)
        const after = writeUser(user)
        return {
          status: 201,
          body: after,
          version: user.revision,
          changes: [{ type: 'user', id: user.id, after }],
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/users/{id}',
      permission: 'users.read',
      summary: 'One user',
      params: byId,
      response: userShape,
      async handle({ principal, params, db }) {
        const user = await find(db, principal, params.id)
        return { body: writeUser(user), version: user.revision }
      },
    }),
    resource({
      method: 'patch',
      path: '/admin/v1/users/{id}',
      permission: 'users.write',
      summary: 'Change a user: name, address, role; disabled, their tokens are refused at once',
      params: byId,
      body: z.strictObject({ ...settable, ...fixed }).partial(),
      response: userShape,
      async handle({ principal, params, body, db, expectVersion }) {
        const before = await find(db, principal, params.id)
        expectVersion(before.revision)
        checkSentBack(body, writeUser(before), FIXED)
        const isOther = (field: 'role' | 'status'): boolean =>
          body[field] !== undefined && body[field] !== before[field]
        if (before.id === principal.userId && (isOther('role') || isOther('status'))) {
          throw new GatewayError(
            'permission_denied',
            'Nobody changes their own role or status: ask another who may',
            { param: isOther('role') ? 'role' : 'status' },
          )
        }
        checkGrant(principal, before.role)
        if (body.role !== undefined) checkGrant(principal, body.role)
        const after = await deps.update(db, principal.tenantId, before.id, {
          ...(body.name !== undefined && { name: body.name }),
          ...(body.email !== undefined && { email: body.email }),
          ...(body.role !== undefined && { role: body.role }),
          ...(body.status !== undefined && { status: body.status }),
        })
        if (after === undefined) throw notFound('user', params.id)
        return {
          body: writeUser(after),
          version: after.revision,
          changes: [
            { type: 'user', id: after.id, before: writeUser(before), after: writeUser(after) },
          ],
        }
      },
    }),
  ]
}

/**
 * Keeps whoever it is from giving, or having a hold over, a role that can do more than theirs.
 *
 * @throws GatewayError `permission_denied`
 */
export function checkGrant(principal: Principal, wanted: string): void {
  if (principal.isPlatform || !isRole(wanted)) return
  const own = principal.role
  if (own !== undefined && isRole(own) && mayGrant(ROLES[own].grants, wanted)) return
  throw new GatewayError(
    'permission_denied',
    `The role ${wanted} may do more than yours, ${own}: ask one who has it`,
    { param: 'role' },
  )
}

function writeUser(user: User): z.input<typeof userShape> {
  return {
    id: user.id,
    object: 'user',
    tenant_id: user.tenantId,
    name: user.name,
    email: user.email,
    role: user.role as Role,
    status: user.status,
    created_at: new Date(user.createdAt).toISOString(),
  }
}
