import { GatewayError } from '#errors'
import type { AdminDeps } from '../admin.ts'
import { ENDPOINTS } from '../app.ts'
import type { Config } from '../config.ts'
import type { CatalogueDeps, ProviderView } from '../control/catalogue.ts'
import type { CostsDeps, NamedAttribute } from '../control/costs.ts'
import { formatUsd, parseUsd } from '../metering/money.ts'
import type { PriceBooks } from './price-books.ts'
import { pricesDeps } from './prices-deps.ts'
import { windowAt } from '../metering/windows.ts'
import { nearest } from '../nearest.ts'
import type { Directory } from '../routing/directory.ts'
import { parseRanges } from '../routing/rights.ts'
import { getKey, keyNames, keysCalled } from '../store/keys.ts'
import { ATTRIBUTES, PERIOD_UNITS, costsReport } from '../store/reports.ts'
import type { Database } from '../store/schema.ts'
import { listApplications } from '../store/tenants.ts'
import type { Upstream } from '../upstream/send.ts'
import { testProvider } from '../upstream/test-provider.ts'
import type { Configured } from './instances.ts'
import type { IssueKeys } from './issue-keys.ts'

export interface ControlPlaneDeps {
  readonly db: Database
  readonly issued: IssueKeys
  readonly configured: readonly Configured[]
  readonly directory: Directory
  readonly models: CatalogueDeps['models']
  readonly priceBooks: PriceBooks
  readonly upstream: Upstream
  readonly config: Config
  readonly now: () => number
  readonly tick: () => number
}

/** What the control plane's resources work with, over the store and the configured providers. */
export function controlPlane(
  deps: ControlPlaneDeps,
): Pick<AdminDeps, 'keys' | 'costs' | 'catalogue' | 'prices'> {
  const { db, config, now } = deps
  return {
    keys: {
      ...deps.issued,
      parseRanges,
      paths: [...Object.keys(ENDPOINTS), '/v1/models'],
      unknownModel: (name) => unknownModel(deps.directory, name),
      nearest,
      parseUsd,
      formatUsd,
      now,
    },
    costs: {
      report: (query) => costsReport(db, query as Parameters<typeof costsReport>[1]) as never,
      dimensions: [...ATTRIBUTES, ...PERIOD_UNITS],
      attributes: ATTRIBUTES,
      names: (tenantId, ids) => namesOf(db, tenantId, ids),
      ...filterValues(deps),
      nearest,
      timeZone: config.time_zone,
      windowAt,
      formatUsd,
      now,
    },
    catalogue: {
      providers: () => deps.configured.map(describeProvider),
      test: (name) => testProvider(deps.upstream, deps.directory.instances.get(name), deps.tick),
      models: deps.models,
    },
    prices: pricesDeps(deps),
  }
}

/** Rights go by full names: a bare one that is understood in a request would grant nothing. */
function unknownModel(directory: Directory, name: string): string | undefined {
  try {
    const route = directory.resolve(name)
    return route.name === name ? undefined : `"${name}" is ${route.name} in full: write that`
  } catch (error) {
    if (error instanceof GatewayError) return error.message
    throw error
  }
}

async function namesOf(
  db: Database,
  tenantId: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const keyIds = ids.filter((id) => id.startsWith('key_'))
  const keys = await Promise.all(keyIds.map((id) => getKey(db, tenantId, id)))
  const named = [...(await listApplications(db, tenantId)), ...keys]
  return new Map(named.flatMap((one) => (one === undefined ? [] : [[one.id, one.name]])))
}

/** What reports can be filtered on: what is configured, or was once and is in the ledger. */
function filterValues({
  db,
  configured,
  now,
}: ControlPlaneDeps): Pick<CostsDeps, 'meanings' | 'known'> {
  const instances = configured.map(({ instance }) => instance)
  const providers = instances.map(({ name }) => name)
  const models = instances.flatMap(({ name, models: served }) =>
    served.map((model) => `${name}/${model}`),
  )

  /** A report over the whole roll-up: for values that are not configured, which are few. */
  async function used(tenantId: string, attribute: 'provider' | 'model'): Promise<string[]> {
    const query = { tenantId, from: 0, to: now() + 1, timeZone: 'UTC', groupBy: [attribute] }
    const { rows } = await costsReport(db, query)
    return rows.flatMap(({ group }) => group[attribute] ?? [])
  }

  async function known(tenantId: string, attribute: NamedAttribute): Promise<readonly string[]> {
    if (attribute === 'key') return keyNames(db, tenantId)
    if (attribute === 'application') {
      return (await listApplications(db, tenantId)).map(({ name }) => name)
    }
    const configuredNames = attribute === 'provider' ? providers : models
    return [...(await used(tenantId, attribute)), ...configuredNames]
  }

  return {
    known,
    async meanings(tenantId, attribute, value) {
      if (attribute === 'key') return keysCalled(db, tenantId, value)
      if (attribute === 'application') {
        const all = await listApplications(db, tenantId)
        return all.flatMap(({ id, name }) => (id === value || name === value ? [id] : []))
      }
      const means = (name: string): boolean =>
        name === value || (attribute === 'model' && name.slice(name.indexOf('/') + 1) === value)
      const isKnown =
        (attribute === 'provider' ? providers : models).some(means) ||
        (await used(tenantId, attribute)).some(means)
      return isKnown ? [value] : []
    },
  }
}

function describeProvider({ instance, source }: Configured): ProviderView {
  return {
    name: instance.name,
    kind: instance.provider.id,
    base_url: instance.baseUrl,
    source,
    has_credential: instance.credential !== undefined,
    allow_private_network: instance.allowPrivateNetwork,
    models: instance.models.length,
  }
}
