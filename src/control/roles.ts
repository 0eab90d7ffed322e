import type { Permission } from './resource.ts'

/** What a role may do: with everything of its tenant, or only with what is its user's own. */
export type Grants = Readonly<Partial<Record<Permission, 'all' | 'own'>>>

export type Role = 'owner' | 'admin' | 'lead' | 'author' | 'developer' | 'viewer' | 'auditor'

/** What everyone has, whatever the role. */
const SELF: Grants = {
  'self.read': 'own',
  'tokens.read': 'own',
  'tokens.write': 'own',
}

const VIEWER: Grants = {
  ...SELF,
  'alerts.read': 'all',
  'applications.read': 'all',
  'costs.read': 'all',
  'keys.read': 'all',
  'limits.read': 'all',
  'models.read': 'all',
  'prices.read': 'all',
  'tenants.read': 'all',
}

const LEAD: Grants = {
  ...VIEWER,
  'alerts.write': 'all',
  'applications.write': 'all',
  'keys.write': 'all',
  'limits.write': 'all',
  'requests.read': 'all',
  'users.read': 'all',
}

const ADMIN: Grants = {
  ...LEAD,
  'audit.read': 'all',
  'credentials.read': 'all',
  'credentials.write': 'all',
  'settings.write': 'all',
  'tokens.read': 'all',
  'tokens.write': 'all',
  'users.write': 'all',
  'webhooks.read': 'all',
  'webhooks.write': 'all',
}

/**
 * Every role with all it may do. What no role has is the platform's alone: its tenants, its
 * providers, its health.
 */
export const ROLES: Readonly<Record<Role, { readonly summary: string; readonly grants: Grants }>> =
  {
    owner: {
      summary: 'everything of the tenant, its owners too',
      grants: { ...ADMIN, 'owners.write': 'all' },
    },
    admin: { summary: 'everything of the tenant but its owners', grants: ADMIN },
    lead: {
      summary: 'applications, keys, budgets and costs of the tenant',
      grants: LEAD,
    },
    author: {
      summary: 'prompts; their own requests and costs',
      grants: {
        ...SELF,
        'applications.read': 'all',
        'costs.read': 'own',
        'models.read': 'all',
        'prices.read': 'all',
        'requests.read': 'own',
        'tenants.read': 'all',
      },
    },
    developer: {
      summary: 'their own keys, and requests and costs of these',
      grants: {
        ...SELF,
        'applications.read': 'all',
        'costs.read': 'own',
        'keys.read': 'own',
        'keys.write': 'own',
        'models.read': 'all',
        'prices.read': 'all',
        'requests.read': 'own',
        'tenants.read': 'all',
      },
    },
    viewer: { summary: 'sees applications, keys and costs; changes nothing', grants: VIEWER },
    auditor: {
      summary: 'sees everything of the tenant, the audit too; changes nothing',
      grants: {
        ...VIEWER,
        'audit.read': 'all',
        'credentials.read': 'all',
        'requests.read': 'all',
        'tokens.read': 'all',
        'users.read': 'all',
      },
    },
  }

export function isRole(name: string): name is Role {
  return Object.hasOwn(ROLES, name)
}

/** Whether who has `grants` has everything that `role` would get: nobody gives more than they have. */
export function mayGrant(grants: Grants, role: Role): boolean {
  return Object.entries(ROLES[role].grants).every(([permission, reach]) => {
    const had = grants[permission as Permission]
    return had === 'all' || had === reach
  })
}
