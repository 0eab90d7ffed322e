import type { Logger } from 'pino'
import type { Database } from '../store/schema.ts'
import { changedTenancySince } from '../store/tenants.ts'
import type { Application, Tenant } from '../store/tenants.ts'
import { poll } from './poll.ts'

/** A tenant as the data plane sees it: nothing is left to look up. */
export type KnownTenant = Omit<Tenant, 'timeZone'> & {
  /** IANA name. */
  readonly timeZone: string
}

/** An application with what it has from its tenant. */
export type KnownApplication = Application &
  Pick<KnownTenant, 'timeZone' | 'weekStartsOn' | 'monthStartsOn' | 'currency'>

/** Every tenant and application, in memory: for requests, which ask no database. */
export interface Tenancy {
  /** Archived ones too. */
  readonly tenant: (id: string) => KnownTenant | undefined
  /** Archived ones too. The same object until it or its tenant changes. */
  readonly application: (id: string) => KnownApplication | undefined
  readonly tenants: () => Iterable<KnownTenant>
  /** Takes over a change at once, once its transaction holds. */
  readonly changed: (what: { readonly tenant?: Tenant; readonly application?: Application }) => void
  /** Keeps up with other processes. @returns what ends it */
  readonly watch: (log: Logger) => () => void
}

export interface TenancyOptions {
  /** IANA name, for tenants that have none of their own. */
  readonly timeZone: string
  /** Told of what was archived, here or by another process, so that its streams can be cut. */
  readonly onArchived?: (what: {
    readonly kind: 'tenant' | 'application'
    readonly id: string
    readonly name: string
  }) => void
}

export async function openTenancy(db: Database, options: TenancyOptions): Promise<Tenancy> {
  const tenants = new Map<string, KnownTenant>()
  const applications = new Map<string, Application>()
  const complete = new Map<string, KnownApplication>()
  let revision = -1n

  function learnTenant({ timeZone = options.timeZone, ...tenant }: Tenant): void {
    const before = tenants.get(tenant.id)
    // Polling brings our own changes back, and maybe late.
    if (before !== undefined && before.revision >= tenant.revision) return
    tenants.set(tenant.id, { ...tenant, timeZone })
    complete.clear()
    tellOfArchived('tenant', before, tenant)
  }

  function learnApplication(application: Application): void {
    const before = applications.get(application.id)
    if (before !== undefined && before.revision >= application.revision) return
    applications.set(application.id, application)
    complete.delete(application.id)
    tellOfArchived('application', before, application)
  }

  function tellOfArchived(
    kind: 'tenant' | 'application',
    before: Pick<Tenant, 'status'> | undefined,
    { id, name, status }: Pick<Tenant, 'id' | 'name' | 'status'>,
  ): void {
    if (before?.status !== 'active' || status !== 'archived') return
    options.onArchived?.({ kind, id, name })
  }

  async function look(): Promise<void> {
    const changes = await changedTenancySince(db, revision)
    for (const tenant of changes.tenants) learnTenant(tenant)
    for (const application of changes.applications) learnApplication(application)
    revision = changes.revision
  }

  function application(id: string): KnownApplication | undefined {
    const known = complete.get(id)
    if (known !== undefined) return known
    const found = applications.get(id)
    const tenant = found && tenants.get(found.tenantId)
    if (found === undefined || tenant === undefined) return undefined
    const { timeZone, weekStartsOn, monthStartsOn, currency } = tenant
    const made = { ...found, timeZone, weekStartsOn, monthStartsOn, currency }
    complete.set(id, made)
    return made
  }

  await look()
  return {
    tenant: (id) => tenants.get(id),
    application,
    tenants: () => tenants.values(),
    changed(what) {
      if (what.tenant !== undefined) learnTenant(what.tenant)
      if (what.application !== undefined) learnApplication(what.application)
    },
    watch: (log) => poll('changes of tenants', look, log),
  }
}
