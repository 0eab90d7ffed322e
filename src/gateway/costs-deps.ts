import type { Config } from '../config.ts'
import type { CostsDeps, KnownAttribute } from '../control/costs.ts'
import { formatUsd } from '../metering/money.ts'
import { windowAt } from '../metering/windows.ts'
import { nearest } from '../nearest.ts'
import { idsOf, namesKnown, NAMED_TABLES, type NamedThing, namesOf } from '../store/names.ts'
import { costsReport, DIMENSIONS, FILTERS } from '../store/reports.ts'
import type { Database } from '../store/schema.ts'
import type { Configured } from './instances.ts'
import type { Tenancy } from './tenancy.ts'

/** What questions about costs are answered with. */
export function costsDeps(deps: {
  readonly db: Database
  readonly configured: readonly Configured[]
  readonly tenancy?: Tenancy | undefined
  readonly config: Config
  readonly now: () => number
}): CostsDeps {
  const { db, config, tenancy, now } = deps
  return {
    report: (query) => costsReport(db, query),
    dimensions: DIMENSIONS,
    filters: FILTERS,
    names: (tenantId, thing, ids) => namesOf(db, tenantId, thing, ids),
    ...filterValues(deps),
    nearest,
    calendar(tenantId) {
      const tenant = tenantId === undefined ? undefined : tenancy?.tenant(tenantId)
      return {
        timeZone: tenant?.timeZone ?? config.time_zone,
        weekStartsOn: tenant?.weekStartsOn ?? 1,
      }
    },
    timeZone: config.time_zone,
    windowAt,
    formatUsd,
    now,
  }
}

/** What reports can be filtered on: what is configured, or was once and is in the ledger. */
function filterValues({
  db,
  configured,
  now,
}: Parameters<typeof costsDeps>[0]): Pick<CostsDeps, 'meanings' | 'known'> {
  const instances = configured.map(({ instance }) => instance)
  const providers = instances.map(({ name }) => name)
  const models = instances.flatMap(({ name, models: served }) =>
    served.map((model) => `${name}/${model}`),
  )

  /** A report over all there ever was: for values that are not configured, which are few. */
  async function used(
    tenantId: string | undefined,
    attribute: 'provider' | 'model',
  ): Promise<string[]> {
    const query = { tenantId, from: 0, to: now() + 1, timeZone: 'UTC', groupBy: [attribute] }
    const { rows } = await costsReport(db, query)
    return rows.flatMap(({ group }) => group[attribute] ?? [])
  }

  return {
    async known(tenantId, attribute) {
      if (isThing(attribute)) return namesKnown(db, tenantId, attribute)
      const names = attribute === 'provider' ? providers : models
      return [...(await used(tenantId, attribute)), ...names]
    },
    async meanings(tenantId, attribute, value) {
      if (isThing(attribute)) return idsOf(db, tenantId, attribute, value)
      const means = (name: string): boolean =>
        name === value || (attribute === 'model' && name.slice(name.indexOf('/') + 1) === value)
      const isKnown =
        (attribute === 'provider' ? providers : models).some(means) ||
        (await used(tenantId, attribute)).some(means)
      return isKnown ? [value] : []
    },
  }
}

function isThing(attribute: KnownAttribute): attribute is KnownAttribute & NamedThing {
  return Object.hasOwn(NAMED_TABLES, attribute)
}
