import { z } from 'zod'
import type { Database } from '../store/schema.ts'
import type { Tenant } from '../store/tenants.ts'
import { PERMISSIONS, moment, resource } from './resource.ts'
import type { Resource } from './resource.ts'
import { ROLES, isRole } from './roles.ts'
import type { Grants } from './roles.ts'

export interface SelfDeps {
  readonly tenant: (db: Database, id: string) => Promise<Tenant | undefined>
  /** IANA name, for tenants that have none of their own. */
  readonly timeZone: string
}

const reach = z.enum(['all', 'own'])

const permissions = z
  .record(z.string(), reach)
  .meta({ description: '`own`: only with what is the own of whoever has the role' })

const roleShape = z
  .strictObject({
    object: z.literal('role'),
    name: z.string(),
    summary: z.string(),
    permissions,
  })
  .meta({ id: 'Role' })

const whoami = z
  .strictObject({
    object: z.literal('principal'),
    type: z.enum(['admin_key', 'user']),
    id: z.string(),
    name: z.string(),
    role: z
      .string()
      .nullable()
      .meta({ description: 'Null: the platform, which may do everything' }),
    token_expires_at: moment.nullable(),
    tenant: z.strictObject({
      id: z.string(),
      name: z.string(),
      status: z.string(),
      time_zone: z.string(),
    }),
    permissions,
  })
  .meta({ id: 'Whoami' })

export function selfResources(deps: SelfDeps): readonly Resource[] {
  return [
    resource({
      method: 'get',
      path: '/admin/v1/whoami',
      permission: 'self.read',
      ownable: true,
      summary: 'Whose key or token this is, in which tenant it acts, and what it may do',
      response: whoami,
      async handle({ principal, db }) {
        const tenant = await deps.tenant(db, principal.tenantId)
        return {
          body: {
            object: 'principal',
            type: principal.isPlatform ? 'admin_key' : 'user',
            id: principal.id,
            name: principal.name,
            role: principal.role ?? null,
            token_expires_at:
              principal.expiresAt === undefined
                ? null
                : new Date(principal.expiresAt).toISOString(),
            tenant: {
              id: principal.tenantId,
              name: tenant?.name ?? '',
              status: tenant?.status ?? '',
              time_zone: tenant?.timeZone ?? deps.timeZone,
            },
            permissions: principal.isPlatform ? EVERYTHING : inOrder(grantsOf(principal.role)),
          } satisfies z.input<typeof whoami>,
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/roles',
      permission: 'self.read',
      ownable: true,
      summary: 'Roles, and what each may do; the rest is for the platform alone',
      response: z.strictObject({ object: z.literal('list'), data: z.array(roleShape) }),
      handle: () => ({
        body: {
          object: 'list',
          data: Object.entries(ROLES).map(([name, { summary, grants }]) => ({
            object: 'role',
            name,
            summary,
            permissions: inOrder(grants),
          })),
        },
      }),
    }),
  ]
}

const EVERYTHING = Object.fromEntries(PERMISSIONS.map((name) => [name, 'all' as const]))

function grantsOf(role: string | undefined): Grants {
  return role !== undefined && isRole(role) ? ROLES[role].grants : {}
}

function inOrder(grants: Grants): Record<string, 'all' | 'own'> {
  return Object.fromEntries(
    PERMISSIONS.flatMap((name) => {
      const granted = grants[name]
      return granted === undefined ? [] : [[name, granted]]
    }),
  )
}
