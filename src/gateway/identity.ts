import { randomBytes } from 'node:crypto'
import { GatewayError } from '#errors'
import type { ApplicationsDeps } from '../control/applications.ts'
import type { SelfDeps } from '../control/self.ts'
import type { TenantsDeps } from '../control/tenants.ts'
import type { TokensDeps } from '../control/tokens.ts'
import type { UsersDeps } from '../control/users.ts'
import { digestKey, generateKey, keyPrefix } from '../secrets.ts'
import * as tenants from '../store/tenants.ts'
import * as users from '../store/users.ts'
import { TOKEN_KIND } from './principals.ts'
import type { Tenancy } from './tenancy.ts'

export interface IdentityDeps {
  readonly tenancy: Tenancy
  /** What digests of tokens are made with. */
  readonly secret: Uint8Array
  /** IANA name, for tenants that have none of their own. */
  readonly timeZone: string
  /** Unix ms. */
  readonly now: () => number
}

export interface Identity {
  readonly tenants: TenantsDeps
  readonly applications: ApplicationsDeps
  readonly users: UsersDeps
  readonly tokens: TokensDeps
  readonly self: SelfDeps
}

/** Tenants, applications, users and their tokens, as the control plane asks for them. */
export function identity({ tenancy, secret, timeZone, now }: IdentityDeps): Identity {
  const newApplication = (
    tenantId: string,
    wanted: tenants.ApplicationChanges & { readonly name: string },
  ): Omit<tenants.Application, 'revision'> => ({
    id: newId('app'),
    tenantId,
    name: wanted.name,
    status: 'active',
    description: wanted.description ?? '',
    tags: wanted.tags ?? [],
    ...(wanted.ownerId != null && { ownerId: wanted.ownerId }),
    ...(wanted.environment != null && { environment: wanted.environment }),
    createdAt: now(),
  })

  return {
    tenants: {
      list: tenants.listTenants,
      get: tenants.getTenant,
      async create(db, wanted) {
        const tenant = await tenants.insertTenant(db, {
          id: newId('tenant'),
          name: wanted.name,
          status: 'active',
          ...(wanted.timeZone != null && { timeZone: wanted.timeZone }),
          currency: wanted.currency ?? 'USD',
          weekStartsOn: wanted.weekStartsOn ?? 1,
          monthStartsOn: wanted.monthStartsOn ?? 1,
          settings: {},
          createdAt: now(),
        })
        const application = await tenants.insertApplication(
          db,
          newApplication(tenant.id, { name: 'default' }),
        )
        return { tenant, committed: () => tenancy.changed({ tenant, application }) }
      },
      update: tenants.updateTenant,
      changed: (tenant) => tenancy.changed({ tenant }),
      defaultTenant: tenants.DEFAULT_TENANT,
      timeZone,
    },
    applications: {
      list: tenants.pageApplications,
      get: tenants.getApplication,
      create: (db, tenantId, wanted) =>
        tenants.insertApplication(db, newApplication(tenantId, wanted)),
      update: tenants.updateApplication,
      changed: (application) => tenancy.changed({ application }),
      async findUser(db, tenantId, idOrEmail) {
        const [user] = await users.findUsers(db, tenantId, idOrEmail)
        const isMeant = user?.id === idOrEmail || user?.email === idOrEmail.toLowerCase()
        return isMeant ? user.id : undefined
      },
    },
    users: {
      list: users.listUsers,
      get: users.getUser,
      create: (db, tenantId, wanted) =>
        users.insertUser(db, {
          ...wanted,
          id: newId('user'),
          tenantId,
          status: 'active',
          createdAt: now(),
        }),
      update: (db, tenantId, id, changes) => users.updateUser(db, tenantId, id, changes, 'owner'),
    },
    tokens: {
      user: users.getUser,
      list: (db, user, page) => users.listTokens(db, user.tenantId, user.id, page),
      get: (db, user, id) => users.getToken(db, user.tenantId, user.id, id),
      async create(db, user, wanted) {
        const text = generateKey(TOKEN_KIND)
        const token = await users.insertToken(db, {
          token: {
            ...wanted,
            id: newId('utok'),
            tenantId: user.tenantId,
            userId: user.id,
            prefix: keyPrefix(text)!,
            last4: text.slice(-4),
            status: 'active',
            createdAt: now(),
          },
          digest: digestKey(secret, text),
        })
        return { token, secret: text }
      },
      revoke: (db, user, id) => users.revokeToken(db, user.tenantId, user.id, id),
      now,
    },
    self: { tenant: tenants.getTenant, timeZone },
  }
}

/**
 * What keeps a key from working though it is good itself: its application or tenant is archived.
 *
 * @throws GatewayError `revoked_api_key`
 */
export function checkOpen(
  tenancy: Tenancy,
  { tenantId, applicationId }: { readonly tenantId: string; readonly applicationId: string },
): void {
  const isOpen =
    tenancy.application(applicationId)?.status !== 'archived' &&
    tenancy.tenant(tenantId)?.status !== 'archived'
  if (isOpen) return
  const application = tenancy.application(applicationId)
  throw application?.status === 'archived'
    ? archived('application', application.name)
    : archived('tenant', tenancy.tenant(tenantId)?.name ?? tenantId)
}

/** For requests of what was archived, new and under way. */
export function archived(kind: 'tenant' | 'application', name: string): GatewayError {
  return new GatewayError('revoked_api_key', `The ${kind} ${name} of this key is archived`)
}

function newId(kind: string): string {
  return `${kind}_${randomBytes(9).toString('hex')}`
}
