import type { Selectable } from 'kysely'
import type { ApplicationsTable, Database, TenantsTable } from './schema.ts'

/** A tenant: its own data, users and policies. */
export interface Tenant {
  /** `tenant_...` */
  readonly id: string
  readonly name: string
  /** IANA name; budgets and reports follow its calendar. */
  readonly timeZone: string
  /** Unix ms. */
  readonly createdAt: number
}

/** A program of a tenant; keys belong to it. */
export interface Application {
  /** `app_...` */
  readonly id: string
  readonly tenantId: string
  readonly name: string
  /** Unix ms. */
  readonly createdAt: number
}

/**
 * The tenant and the application every installation has, made at its first start.
 *
 * @param createdAt - Unix ms, for that first time
 */
export async function ensureDefaults(
  db: Database,
  createdAt: number,
): Promise<{ readonly tenant: Tenant; readonly application: Application }> {
  await db
    .insertInto('tenants')
    .values({ id: 'tenant_default', name: 'default', time_zone: 'UTC', created_at: createdAt })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  await db
    .insertInto('applications')
    .values({
      id: 'app_default',
      tenant_id: 'tenant_default',
      name: 'default',
      created_at: createdAt,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  const tenant = await db
    .selectFrom('tenants')
    .selectAll()
    .where('id', '=', 'tenant_default')
    .executeTakeFirstOrThrow()
  const application = await db
    .selectFrom('applications')
    .selectAll()
    .where('id', '=', 'app_default')
    .executeTakeFirstOrThrow()
  return { tenant: toTenant(tenant), application: toApplication(application) }
}

export async function listApplications(
  db: Database,
  tenantId: string,
): Promise<readonly Application[]> {
  const rows = await db
    .selectFrom('applications')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('id')
    .execute()
  return rows.map(toApplication)
}

function toTenant(row: Selectable<TenantsTable>): Tenant {
  return {
    id: row.id,
    name: row.name,
    timeZone: row.time_zone,
    createdAt: Number(row.created_at),
  }
}

function toApplication(row: Selectable<ApplicationsTable>): Application {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    name: row.name,
    createdAt: Number(row.created_at),
  }
}
