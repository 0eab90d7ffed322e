import type { Insertable, Selectable } from 'kysely'
import { sql } from 'kysely'
import { GatewayError } from '#errors'
import type { ApplicationsTable, Database, TenantsTable } from './schema.ts'
import { latestRevision, underNextRevision } from './revisions.ts'

/** A tenant: its own data, users and policies. */
export interface Tenant {
  /** `tenant_...` */
  readonly id: string
  readonly name: string
  /** An archived one's keys and tokens are refused; its history stays. */
  readonly status: 'active' | 'archived'
  /** IANA name; budgets and reports follow its calendar. Absent: the installation's. */
  readonly timeZone?: string
  /** What amounts are called in its statements; nothing is converted. */
  readonly currency: string
  /** 1 is Monday, 7 Sunday. */
  readonly weekStartsOn: number
  /** Day of the calendar's month on which its own begins, 1 to 28. */
  readonly monthStartsOn: number
  readonly settings: Readonly<Record<string, unknown>>
  /** Unix ms. */
  readonly createdAt: number
  readonly revision: number
}

/** A program of a tenant; keys belong to it. */
export interface Application {
  /** `app_...` */
  readonly id: string
  readonly tenantId: string
  readonly name: string
  readonly status: 'active' | 'archived'
  readonly description: string
  /** The user who answers for it. */
  readonly ownerId?: string
  /** Such as `production`. */
  readonly environment?: string
  /** Sorted, each once. */
  readonly tags: readonly string[]
  /** Unix ms. */
  readonly createdAt: number
  readonly revision: number
}

/** `null` gives it the installation's again. */
export interface TenantChanges extends Partial<
  Pick<Tenant, 'name' | 'status' | 'currency' | 'weekStartsOn' | 'monthStartsOn' | 'settings'>
> {
  readonly timeZone?: string | null
}

/** `null` takes away. */
export interface ApplicationChanges extends Partial<
  Pick<Application, 'name' | 'status' | 'description' | 'tags'>
> {
  readonly ownerId?: string | null
  readonly environment?: string | null
}

/** Never archived: what names no tenant acts in it. */
export const DEFAULT_TENANT = 'tenant_default'

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
    .values({ id: DEFAULT_TENANT, name: 'default', time_zone: '', created_at: createdAt })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  await db
    .insertInto('applications')
    .values({
      id: 'app_default',
      tenant_id: DEFAULT_TENANT,
      name: 'default',
      created_at: createdAt,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  const tenant = await getTenant(db, DEFAULT_TENANT)
  const application = await getApplication(db, DEFAULT_TENANT, 'app_default')
  if (tenant === undefined || application === undefined) {
    throw new GatewayError('unavailable', 'The default tenant or application is not there')
  }
  return { tenant, application }
}

/** @throws GatewayError `conflict` when the name is taken, by an archived tenant too */
export async function insertTenant(
  db: Database,
  tenant: Omit<Tenant, 'revision'>,
): Promise<Tenant> {
  return changingTenancy(db, async (transaction, revision) => {
    const row = await transaction
      .insertInto('tenants')
      .values({
        ...tenantColumns(tenant),
        time_zone: tenant.timeZone ?? '',
        id: tenant.id,
        name: tenant.name,
        created_at: tenant.createdAt,
        revision,
      })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst()
    if (row === undefined) throw taken('tenant', tenant.name)
    return toTenant(row)
  })
}

export async function getTenant(db: Database, id: string): Promise<Tenant | undefined> {
  const row = await db.selectFrom('tenants').selectAll().where('id', '=', id).executeTakeFirst()
  return row && toTenant(row)
}

/** The tenant that an id or a name means; an id comes first. */
export async function findTenant(db: Database, idOrName: string): Promise<Tenant | undefined> {
  const rows = await db
    .selectFrom('tenants')
    .selectAll()
    .where((eb) => eb.or([eb('id', '=', idOrName), eb('name', '=', idOrName)]))
    .execute()
  const row = rows.find(({ id }) => id === idOrName) ?? rows[0]
  return row && toTenant(row)
}

export interface TenantPage {
  /** Newest first. */
  readonly tenants: readonly Tenant[]
  readonly hasMore: boolean
}

/** @throws GatewayError `invalid_value` when `after` names no tenant */
export async function listTenants(
  db: Database,
  page: { readonly limit: number; readonly after?: string; readonly status?: Tenant['status'] },
): Promise<TenantPage> {
  let query = db
    .selectFrom('tenants')
    .selectAll()
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  if (page.status !== undefined) query = query.where('status', '=', page.status)
  if (page.after !== undefined) {
    const last = await getTenant(db, page.after)
    if (last === undefined) throw lostCursor('tenant')
    query = query.where((eb) =>
      eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(BigInt(last.createdAt), last.id)),
    )
  }
  const rows = await query.execute()
  return { tenants: rows.slice(0, page.limit).map(toTenant), hasMore: rows.length > page.limit }
}

/**
 * @returns the tenant as it is now; `undefined` when there is none of this id
 * @throws GatewayError `conflict` when the new name is taken
 */
export function updateTenant(
  db: Database,
  id: string,
  changes: TenantChanges,
): Promise<Tenant | undefined> {
  return changingTenancy(db, async (transaction, revision) => {
    const { name } = changes
    if (name !== undefined) {
      const other = await transaction
        .selectFrom('tenants')
        .select('id')
        .where('name', '=', name)
        .where('id', '!=', id)
        .executeTakeFirst()
      if (other !== undefined) throw taken('tenant', name)
    }
    const row = await transaction
      .updateTable('tenants')
      .set({ ...tenantColumns(changes), revision })
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirst()
    return row && toTenant(row)
  })
}

/**
 * @throws GatewayError `conflict` when the tenant has one of this name, an archived one too
 */
export function insertApplication(
  db: Database,
  application: Omit<Application, 'revision'>,
): Promise<Application> {
  return changingTenancy(db, async (transaction, revision) => {
    const row = await transaction
      .insertInto('applications')
      .values({
        ...applicationColumns(application),
        id: application.id,
        tenant_id: application.tenantId,
        name: application.name,
        created_at: application.createdAt,
        revision,
      })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst()
    if (row === undefined) throw taken('application', application.name)
    return toApplication(row)
  })
}

export async function getApplication(
  db: Database,
  tenantId: string,
  id: string,
): Promise<Application | undefined> {
  const row = await ofTenant(db, tenantId).where('id', '=', id).executeTakeFirst()
  return row && toApplication(row)
}

/** The application that an id or a name means; an id comes first. */
export async function findApplication(
  db: Database,
  tenantId: string,
  idOrName: string,
): Promise<Application | undefined> {
  const rows = await ofTenant(db, tenantId)
    .where((eb) => eb.or([eb('id', '=', idOrName), eb('name', '=', idOrName)]))
    .execute()
  const row = rows.find(({ id }) => id === idOrName) ?? rows[0]
  return row && toApplication(row)
}

/** All of a tenant, archived ones too. */
export async function listApplications(
  db: Database,
  tenantId: string,
): Promise<readonly Application[]> {
  const rows = await ofTenant(db, tenantId).orderBy('id').execute()
  return rows.map(toApplication)
}

export interface ApplicationPage {
  /** Newest first. */
  readonly applications: readonly Application[]
  readonly hasMore: boolean
}

/** @throws GatewayError `invalid_value` when `after` names no application of the tenant */
export async function pageApplications(
  db: Database,
  tenantId: string,
  page: {
    readonly limit: number
    readonly after?: string
    readonly status?: Application['status']
    readonly ownerId?: string
    readonly environment?: string
    readonly tag?: string
  },
): Promise<ApplicationPage> {
  let query = ofTenant(db, tenantId)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  if (page.status !== undefined) query = query.where('status', '=', page.status)
  if (page.ownerId !== undefined) query = query.where('owner_id', '=', page.ownerId)
  if (page.environment !== undefined) query = query.where('environment', '=', page.environment)
  if (page.tag !== undefined) {
    const quoted = JSON.stringify(page.tag).replaceAll(/[\\%_]/g, String.raw`\$&`)
    query = query.where(sql<boolean>`tags like ${`%${quoted}%`} escape '\\'`)
  }
  if (page.after !== undefined) {
    const last = await getApplication(db, tenantId, page.after)
    if (last === undefined) throw lostCursor('application')
    query = query.where((eb) =>
      eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(BigInt(last.createdAt), last.id)),
    )
  }
  const rows = await query.execute()
  return {
    applications: rows.slice(0, page.limit).map(toApplication),
    hasMore: rows.length > page.limit,
  }
}

/**
 * @returns the application as it is now; `undefined` when the tenant has none of this id
 * @throws GatewayError `conflict` when the new name is taken
 */
export function updateApplication(
  db: Database,
  tenantId: string,
  id: string,
  changes: ApplicationChanges,
): Promise<Application | undefined> {
  return changingTenancy(db, async (transaction, revision) => {
    const { name } = changes
    if (name !== undefined) {
      const other = await ofTenant(transaction, tenantId)
        .where('name', '=', name)
        .where('id', '!=', id)
        .executeTakeFirst()
      if (other !== undefined) throw taken('application', name)
    }
    const row = await transaction
      .updateTable('applications')
      .set({ ...applicationColumns(changes), revision })
      .where('tenant_id', '=', tenantId)
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirst()
    return row && toApplication(row)
  })
}

/** Tenants and applications that changed, and how far a reader has seen once it knows them. */
export interface TenancyChanges {
  readonly tenants: readonly Tenant[]
  readonly applications: readonly Application[]
  readonly revision: bigint
}

/**
 * What changed since a reader last looked. The counter is read first: whatever is committed
 * later has a higher revision, and is found by the next look.
 *
 * @param revision - what the last call returned; -1n for all
 */
export async function changedTenancySince(db: Database, revision: bigint): Promise<TenancyChanges> {
  const value = await latestRevision(db, 'tenancy_revision')
  if (value === revision) return { tenants: [], applications: [], revision }
  const tenants = await db
    .selectFrom('tenants')
    .selectAll()
    .where('revision', '>', revision)
    .execute()
  const applications = await db
    .selectFrom('applications')
    .selectAll()
    .where('revision', '>', revision)
    .execute()
  return {
    tenants: tenants.map(toTenant),
    applications: applications.map(toApplication),
    revision: value,
  }
}

/**
 * Runs a change of tenants, applications or users, under the one revision they share: such
 * changes happen one after another.
 */
export function changingTenancy<T>(
  db: Database,
  change: (transaction: Database, revision: bigint) => Promise<T>,
): Promise<T> {
  return underNextRevision(db, 'tenancy_revision', change)
}

/** For a cursor that names nothing. */
export function lostCursor(what: string): GatewayError {
  return new GatewayError('invalid_value', `The cursor names no ${what}`, { param: 'after' })
}

function taken(what: string, name: string): GatewayError {
  return new GatewayError(
    'conflict',
    `There is ${what === 'application' ? 'an' : 'a'} ${what} called ${name}, maybe an archived one: names stay in history`,
    { param: 'name' },
  )
}

function ofTenant(db: Database, tenantId: string) {
  return db.selectFrom('applications').selectAll().where('tenant_id', '=', tenantId)
}

function tenantColumns(changes: TenantChanges): Partial<Insertable<TenantsTable>> {
  return {
    ...(changes.name !== undefined && { name: changes.name }),
    ...(changes.status !== undefined && { status: changes.status }),
    ...(changes.timeZone !== undefined && { time_zone: changes.timeZone ?? '' }),
    ...(changes.currency !== undefined && { currency: changes.currency }),
    ...(changes.weekStartsOn !== undefined && { week_starts_on: changes.weekStartsOn }),
    ...(changes.monthStartsOn !== undefined && { month_starts_on: changes.monthStartsOn }),
    ...(changes.settings !== undefined && { settings: JSON.stringify(changes.settings) }),
  }
}

function applicationColumns(changes: ApplicationChanges): Partial<Insertable<ApplicationsTable>> {
  return {
    ...(changes.name !== undefined && { name: changes.name }),
    ...(changes.status !== undefined && { status: changes.status }),
    ...(changes.description !== undefined && { description: changes.description }),
    ...(changes.tags !== undefined && { tags: JSON.stringify(changes.tags) }),
    ...(changes.ownerId !== undefined && { owner_id: changes.ownerId }),
    ...(changes.environment !== undefined && { environment: changes.environment ?? '' }),
  }
}

function toTenant(row: Selectable<TenantsTable>): Tenant {
  return {
    id: row.id,
    name: row.name,
    status: row.status,
    ...(row.time_zone !== '' && { timeZone: row.time_zone }),
    currency: row.currency,
    weekStartsOn: Number(row.week_starts_on),
    monthStartsOn: Number(row.month_starts_on),
    settings: JSON.parse(row.settings),
    createdAt: Number(row.created_at),
    revision: Number(row.revision),
  }
}

function toApplication(row: Selectable<ApplicationsTable>): Application {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    name: row.name,
    status: row.status,
    description: row.description,
    ...(row.owner_id !== null && { ownerId: row.owner_id }),
    ...(row.environment !== '' && { environment: row.environment }),
    tags: JSON.parse(row.tags),
    createdAt: Number(row.created_at),
    revision: Number(row.revision),
  }
}
