import { z } from 'zod'
import { GatewayError } from '#errors'
import type { Database } from '../store/schema.ts'
import type { Tenant, TenantChanges } from '../store/tenants.ts'
import { moment, notFound, page, pageOf, pageQuery, resource } from './resource.ts'
import type { Principal, Reply, Resource } from './resource.ts'
import { checkSentBack } from './sent-back.ts'

export interface TenantsDeps {
  readonly list: (
    db: Database,
    page: { limit: number; after?: string; status?: Tenant['status'] },
  ) => Promise<{ readonly tenants: readonly Tenant[]; readonly hasMore: boolean }>
  readonly get: (db: Database, id: string) => Promise<Tenant | undefined>
  /**
   * With an application called `default`.
   *
   * @throws GatewayError `conflict` when the name is taken
   */
  readonly create: (
    db: Database,
    wanted: TenantChanges & { readonly name: string },
  ) => Promise<{ readonly tenant: Tenant; readonly committed: () => void }>
  readonly update: (db: Database, id: string, changes: TenantChanges) => Promise<Tenant | undefined>
  /** Told of every change, once it holds. */
  readonly changed: (tenant: Tenant) => void
  /** Cannot be archived: what names no tenant acts in it. */
  readonly defaultTenant: string
  /** IANA name, for tenants that have none of their own. */
  readonly timeZone: string
}

const WEEKDAYS = [
  'monday',
  'tuesday',
  'wednesday',
  'thursday',
  'friday',
  'saturday',
  'sunday',
] as const

const status = z.enum(['active', 'archived'])

/** A name that no id can be taken for, and that needs no quotes in a shell or a path. */
const name = z
  .string()
  .regex(/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u, 'expected letters, digits, blanks and . _ -')
  .refine((text) => !text.startsWith('tenant_'), 'tenant_ begins ids')

const timeZone = z
  .string()
  .max(64)
  .refine(isZone, 'expected an IANA time zone such as Europe/Warsaw')
  .nullable()
  .meta({ description: "Null: the installation's" })

const settable = {
  name,
  time_zone: timeZone,
  currency: z
    .string()
    .regex(/^[A-Z][A-Z0-9]{1,7}$/, 'expected a label in capitals such as USD')
    .meta({ description: 'What amounts are called in statements; nothing is converted' }),
  week_starts_on: z.enum(WEEKDAYS),
  month_starts_on: z.int().min(1).max(28).meta({
    description: "Day of the calendar's month on which the tenant's own month begins",
  }),
}

const tenantShape = z
  .strictObject({
    id: z.string(),
    object: z.literal('tenant'),
    name: z.string(),
    status,
    time_zone: z.string().nullable(),
    effective_time_zone: z.string().meta({ description: 'In which its days begin' }),
    currency: z.string(),
    week_starts_on: z.enum(WEEKDAYS),
    month_starts_on: z.int(),
    created_at: moment,
  })
  .meta({ id: 'Tenant' })

const FIXED = ['id', 'object', 'status', 'effective_time_zone', 'created_at'] as const

const fixed = tenantShape.pick({
  id: true,
  object: true,
  status: true,
  effective_time_zone: true,
  created_at: true,
}).shape

const byId = z.strictObject({ id: z.string().min(1).max(100) })

export function tenantResources(deps: TenantsDeps): readonly Resource[] {
  const write = (tenant: Tenant): z.input<typeof tenantShape> => writeTenant(tenant, deps.timeZone)

  /** @throws GatewayError `not_found`, for a tenant that is not the caller's as for none */
  async function find(db: Database, principal: Principal, id: string): Promise<Tenant> {
    const isTheirs = principal.isPlatform || id === principal.tenantId
    const tenant = isTheirs ? await deps.get(db, id) : undefined
    if (tenant === undefined) throw notFound('tenant', id)
    return tenant
  }

  async function change(db: Database, before: Tenant, changes: TenantChanges): Promise<Reply> {
    const after = await deps.update(db, before.id, changes)
    if (after === undefined) throw notFound('tenant', before.id)
    return {
      body: write(after),
      version: after.revision,
      changes: [{ type: 'tenant', id: after.id, before: write(before), after: write(after) }],
      committed: () => deps.changed(after),
    }
  }

  const turn = (verb: string, to: Tenant['status'], summary: string): Resource =>
    resource({
      method: 'post',
      path: `/admin/v1/tenants/{id}/${verb}`,
      permission: 'tenants.write',
      summary,
      params: byId,
      response: tenantShape,
      async handle({ principal, params, db, expectVersion }) {
        const tenant = await find(db, principal, params.id)
        expectVersion(tenant.revision)
        if (to === 'archived' && tenant.id === deps.defaultTenant) {
          const message = 'The default tenant stays: what names no tenant acts in it'
          throw new GatewayError('conflict', message)
        }
        return change(db, tenant, { status: to })
      },
    })

  return [
    resource({
      method: 'get',
      path: '/admin/v1/tenants',
      permission: 'tenants.read',
      summary: 'Tenants, newest first: for the platform all, else the one of the token',
      query: z.strictObject({ ...pageQuery, status: status.optional() }),
      response: pageOf(tenantShape),
      async handle({ principal, query: { limit, after, status: wanted }, db }) {
        if (!principal.isPlatform) {
          const tenant = await find(db, principal, principal.tenantId)
          const isShown = after === undefined && (wanted ?? tenant.status) === tenant.status
          return { body: page(isShown ? [write(tenant)] : [], false) }
        }
        const { tenants, hasMore } = await deps.list(db, {
          limit,
          ...(after === undefined ? {} : { after }),
          ...(wanted === undefined ? {} : { status: wanted }),
        })
        return { body: page(tenants.map(write), hasMore) }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/tenants',
      permission: 'tenants.write',
      summary: 'Create a tenant, with an application called default',
      body: z.strictObject({ ...z.strictObject(settable).partial().shape, name }),
      status: 201,
      response: tenantShape,
      async handle({ body, db }) {
        const { tenant, committed } = await deps.create(db, {
          ...readChanges(body),
          name: body.name,
        })
        const after = write(tenant)
        return {
          status: 201,
          body: after,
          version: tenant.revision,
          changes: [{ type: 'tenant', id: tenant.id, after }],
          committed,
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/tenants/{id}',
      permission: 'tenants.read',
      summary: 'One tenant',
      params: byId,
      response: tenantShape,
      async handle({ principal, params, db }) {
        const tenant = await find(db, principal, params.id)
        return { body: write(tenant), version: tenant.revision }
      },
    }),
    resource({
      method: 'patch',
      path: '/admin/v1/tenants/{id}',
      permission: 'settings.write',
      summary: 'Change a tenant; its name is for the platform alone to change',
      params: byId,
      body: z.strictObject({ ...settable, ...fixed }).partial(),
      response: tenantShape,
      async handle({ principal, params, body, db, expectVersion }) {
        const tenant = await find(db, principal, params.id)
        expectVersion(tenant.revision)
        checkSentBack(body, write(tenant), FIXED, { status: 'ask for /archive or /restore' })
        // A name that is taken would tell of another tenant.
        if (!principal.isPlatform && body.name !== undefined && body.name !== tenant.name) {
          const message = 'Only the platform renames tenants'
          throw new GatewayError('permission_denied', message, { param: 'name' })
        }
        return change(db, tenant, readChanges(body))
      },
    }),
    turn(
      'archive',
      'archived',
      'Stop a tenant: its keys and tokens are refused at once, its streams cut, its history stays',
    ),
    turn('restore', 'active', 'Let an archived tenant work again'),
  ]
}

function readChanges(body: {
  readonly [Name in keyof typeof settable]?: z.infer<(typeof settable)[Name]> | undefined
}): TenantChanges {
  return {
    ...(body.name !== undefined && { name: body.name }),
    ...(body.time_zone !== undefined && { timeZone: body.time_zone }),
    ...(body.currency !== undefined && { currency: body.currency }),
    ...(body.week_starts_on !== undefined && {
      weekStartsOn: WEEKDAYS.indexOf(body.week_starts_on) + 1,
    }),
    ...(body.month_starts_on !== undefined && { monthStartsOn: body.month_starts_on }),
  }
}

function writeTenant(tenant: Tenant, installationZone: string): z.input<typeof tenantShape> {
  return {
    id: tenant.id,
    object: 'tenant',
    name: tenant.name,
    status: tenant.status,
    time_zone: tenant.timeZone ?? null,
    effective_time_zone: tenant.timeZone ?? installationZone,
    currency: tenant.currency,
    week_starts_on: WEEKDAYS[tenant.weekStartsOn - 1] ?? 'monday',
    month_starts_on: tenant.monthStartsOn,
    created_at: new Date(tenant.createdAt).toISOString(),
  }
}

/** Offsets such as `+01:00` are no zones: they know no summer time. */
function isZone(text: string): boolean {
  if (!/^[A-Za-z]/.test(text)) return false
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: text }))
  } catch {
    return false
  }
}
