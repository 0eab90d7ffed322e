import { createHash, timingSafeEqual } from 'node:crypto'
import type { Logger } from 'pino'
import { GatewayError } from '#errors'
import { KnownCaller, PERMISSIONS, notFound } from '../control/resource.ts'
import type { Permission, Principal, Resource } from '../control/resource.ts'
import { ROLES, isRole } from '../control/roles.ts'
import type { Grants } from '../control/roles.ts'
import { digestKey, keyPrefix, sameDigest } from '../secrets.ts'
import type { Database } from '../store/schema.ts'
import { findTenant, getTenant } from '../store/tenants.ts'
import { findTokenByPrefix, touchTokens } from '../store/users.ts'

/** Who asks for what, as HTTP brings it. */
export interface Asked {
  /** The header `authorization`; empty: none. */
  readonly authorization: string
  /** The tenants named, by id or name, in the header and the query. */
  readonly tenants: readonly string[]
  readonly route: Pick<
    Resource,
    'method' | 'path' | 'permission' | 'ownable' | 'acrossTenants' | 'readOnly'
  >
}

export interface Principals {
  /**
   * Who asks, having the permission that the route needs.
   *
   * @throws GatewayError `invalid_api_key`, `expired_api_key`, `revoked_api_key`,
   *   `permission_denied`, or `not_found` for a tenant that is not theirs; caused by a
   *   {@link KnownCaller} where it is known who asks
   */
  readonly of: (asked: Asked) => Promise<Principal>
  /** Writes down, now and then, when tokens were last used. @returns what ends it */
  readonly watch: (log: Logger) => () => Promise<void>
}

export interface PrincipalsDeps {
  readonly db: Database
  readonly adminKey: string
  /** The tenant the admin key acts in unless it names one. */
  readonly tenantId: string
  /** What digests of tokens are made with. */
  readonly secret: Uint8Array
  /** Unix ms. */
  readonly now: () => number
}

/** The word in a token that sets it apart from keys: `sk-tg-user-...`. */
export const TOKEN_KIND = 'user'

/** How exact the last use of a token is, ms. */
const USE_MS = 60_000

/** How often uses are written down, ms. */
const FLUSH_MS = 5000

const EVERYTHING: ReadonlySet<Permission> = new Set(PERMISSIONS)

export function createPrincipals(deps: PrincipalsDeps): Principals {
  const { db, now } = deps
  const used = new Map<string, number>()
  /** An unknown prefix costs as much as a wrong secret. */
  const nobody = digestKey(deps.secret, '')
  const anonymous: Principal = {
    type: 'anonymous',
    id: 'anonymous',
    name: 'public',
    tenantId: deps.tenantId,
    permissions: new Set(),
    isPlatform: false,
    own: false,
    allTenants: false,
  }
  const platform: Principal = {
    type: 'admin_key',
    id: 'admin_key',
    name: 'admin',
    tenantId: deps.tenantId,
    permissions: EVERYTHING,
    isPlatform: true,
    own: false,
    allTenants: false,
  }

  async function identify(authorization: string): Promise<Principal> {
    const sent = /^bearer +(\S{1,512})$/i.exec(authorization)?.[1]
    if (sent === undefined) {
      throw new GatewayError(
        'invalid_api_key',
        'The control plane needs `Authorization: Bearer <admin key or token of a user>`',
      )
    }
    if (same(sent, deps.adminKey)) return platform
    const prefix = keyPrefix(sent)
    const found = prefix === undefined ? undefined : await findTokenByPrefix(db, prefix)
    const proven = sameDigest(digestKey(deps.secret, sent), found?.digest ?? nobody)
    if (!proven || found === undefined) {
      throw new GatewayError(
        'invalid_api_key',
        'That is neither the admin key nor the token of a user; the admin key is in admin.key of the data directory, or what TOLLGATE_ADMIN_KEY says',
      )
    }
    const { token, user } = found
    const principal: Principal = {
      ...anonymous,
      type: 'user',
      id: user.id,
      name: user.name,
      tenantId: user.tenantId,
      permissions: new Set(Object.keys(grantsOf(user.role)) as Permission[]),
      role: user.role,
      userId: user.id,
      ...(token.expiresAt !== undefined && { expiresAt: token.expiresAt }),
    }
    const cause = new KnownCaller(principal)
    if (token.status === 'revoked') {
      const message = `The token ending in ${token.last4} was revoked; ask for a new one`
      throw new GatewayError('revoked_api_key', message, { cause })
    }
    if (token.expiresAt !== undefined && token.expiresAt <= now()) {
      const when = new Date(token.expiresAt).toISOString()
      const message = `The token ending in ${token.last4} expired at ${when}; ask for a new one`
      throw new GatewayError('expired_api_key', message, { cause })
    }
    if (user.status !== 'active') {
      throw new GatewayError('revoked_api_key', 'The user of this token is disabled', { cause })
    }
    if ((await getTenant(db, user.tenantId))?.status !== 'active') {
      const message = 'The tenant of this token is archived'
      throw new GatewayError('revoked_api_key', message, { cause })
    }
    if ((token.lastUsedAt ?? 0) < now() - USE_MS) used.set(token.id, now())
    return principal
  }

  /** The tenant that the platform acts in, or that a user names as theirs. */
  async function within(principal: Principal, { tenants, route }: Asked): Promise<Principal> {
    const named = tenants[0]
    if (named === undefined) return principal
    if (tenants.some((tenant) => tenant !== named)) {
      throw new GatewayError('invalid_value', 'Two tenants are named: name one', {
        param: 'tenant',
      })
    }
    if (named === '*' && principal.isPlatform) {
      if (route.acrossTenants === true) return { ...principal, allTenants: true }
      throw new GatewayError('invalid_value', 'This is done for one tenant: name it', {
        param: 'tenant',
      })
    }
    const tenant = await findTenant(db, named)
    const isTheirs = principal.isPlatform || tenant?.id === principal.tenantId
    if (tenant === undefined || !isTheirs) {
      const { code, message } = notFound('tenant', named)
      throw new GatewayError(code, message, { cause: new KnownCaller(principal) })
    }
    const changes = route.method !== 'get' && route.readOnly !== true
    if (tenant.status === 'archived' && changes && !OF_TENANTS.test(route.path)) {
      throw new GatewayError(
        'conflict',
        `The tenant ${tenant.name} is archived: restore it before anything of it is changed`,
      )
    }
    return { ...principal, tenantId: tenant.id }
  }

  async function flush(): Promise<void> {
    if (used.size === 0) return
    const uses = new Map(used)
    used.clear()
    await touchTokens(db, uses)
  }

  return {
    async of(asked) {
      const { permission, ownable } = asked.route
      if (permission === 'public') return anonymous
      const known = await identify(asked.authorization)
      const reach = known.isPlatform ? 'all' : grantsOf(known.role)[permission]
      if (reach === undefined || (reach === 'own' && ownable !== true)) {
        const scope = reach === 'own' ? ' for more than what is your own' : ''
        throw new GatewayError(
          'permission_denied',
          `This needs the permission ${permission}${scope}, which the role ${known.role} does not have`,
          { cause: new KnownCaller(known) },
        )
      }
      return within({ ...known, own: reach === 'own' }, asked)
    },
    watch(log) {
      const note = (): Promise<void> =>
        flush().catch((error) => log.error({ err: error }, 'uses of tokens could not be noted'))
      const timer = setInterval(note, FLUSH_MS)
      return () => {
        clearInterval(timer)
        return note()
      }
    },
  }
}

/** Tenants are changed through these, whatever tenant the platform acts in. */
const OF_TENANTS = /^\/admin\/v1\/tenants(\/|$)/

/** A role that was there once and is no more gives nothing. */
function grantsOf(role: string | undefined): Grants {
  return role !== undefined && isRole(role) ? ROLES[role].grants : {}
}

/** In constant time, whatever the lengths. */
function same(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}
