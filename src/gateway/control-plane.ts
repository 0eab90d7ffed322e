import { GatewayError } from '#errors'
import type { AdminDeps } from '../admin.ts'
import { ENDPOINTS } from '../app.ts'
import type { Config } from '../config.ts'
import type { CatalogueDeps, ProviderView } from '../control/catalogue.ts'
import { createInventory } from '../control/key-inventory.ts'
import { formatUsd, parseUsd } from '../metering/money.ts'
import type { PriceBooks } from './price-books.ts'
import { pricesDeps } from './prices-deps.ts'
import { nearest } from '../nearest.ts'
import type { Directory } from '../routing/directory.ts'
import { grants, parseRanges } from '../routing/rights.ts'
import { lastUses, modelsCalled, requestsSince, usesOf } from '../store/key-uses.ts'
import { findOwner } from '../store/keys.ts'
import { changesOf } from '../store/audit-reads.ts'
import type { Database } from '../store/schema.ts'
import { findApplication } from '../store/tenants.ts'
import type { Upstream } from '../upstream/send.ts'
import { testProvider } from '../upstream/test-provider.ts'
import { analysisDeps } from './analysis-deps.ts'
import { budgetedScopes } from './budgeted-scopes.ts'
import { costsDeps } from './costs-deps.ts'
import type { Credentials } from './credentials.ts'
import type { Configured } from './instances.ts'
import type { IssueKeys } from './issue-keys.ts'
import type { KeyUses } from './key-uses.ts'
import type { Tenancy } from './tenancy.ts'
import { unknownModel, unknownPattern } from './unknown-model.ts'

export interface ControlPlaneDeps {
  readonly db: Database
  readonly issued: IssueKeys
  readonly keyUses: Pick<KeyUses, 'flush'>
  readonly configured: readonly Configured[]
  readonly tenancy: Tenancy
  readonly directory: Directory
  readonly models: CatalogueDeps['models']
  readonly priceBooks: PriceBooks
  readonly credentials: Credentials
  readonly upstream: Upstream
  readonly config: Config
  readonly now: () => number
  readonly tick: () => number
}

/** What the control plane's resources work with, over the store and the configured providers. */
export function controlPlane(
  deps: ControlPlaneDeps,
): Pick<AdminDeps, 'keys' | 'costs' | 'analysis' | 'catalogue' | 'prices' | 'credentials'> {
  const { db, tenancy, now } = deps
  const costs = costsDeps(deps)
  return {
    keys: {
      ...deps.issued,
      findUser: findOwner,
      applicationId: applicationIdOf,
      requestsSince,
      inventory: createInventory({
        usesOf,
        lastUses,
        modelsCalled,
        grants,
        flush: deps.keyUses.flush,
        now,
      }),
      parseRanges,
      paths: [...Object.keys(ENDPOINTS), '/v1/models'],
      unknownModel: (name) => unknownModel(deps.directory, name),
      unknownPattern: (pattern) => unknownPattern(deps.directory, pattern),
      nearest,
      parseUsd,
      formatUsd,
      now,
    },
    costs,
    analysis: analysisDeps({
      costs,
      changes: (tenantId, range, limit) => changesOf(db, tenantId, range, limit),
      tenant(id) {
        const {
          name = id,
          currency = 'USD',
          ...calendar
        } = tenancy.tenant(id) ?? {
          timeZone: deps.config.time_zone,
        }
        return { name, currency, calendar }
      },
      budgeted: (tenantId) =>
        budgetedScopes(
          db,
          tenantId,
          (kind, id) => (kind === 'tenant' ? tenancy.tenant(id) : tenancy.application(id))?.name,
          now(),
        ),
    }),
    catalogue: {
      providers: () => deps.configured.map(describeProvider),
      test: (name) => testProvider(deps.upstream, deps.directory.instances.get(name), deps.tick),
      models: deps.models,
    },
    prices: pricesDeps(deps),
    credentials: {
      ...deps.credentials,
      providers: deps.configured.map(({ instance }) => instance.name),
      nearest,
    },
  }
}

/** @throws GatewayError `invalid_value` where the tenant has no such application */
async function applicationIdOf(db: Database, tenantId: string, idOrName: string): Promise<string> {
  const found = await findApplication(db, tenantId, idOrName)
  if (found !== undefined) return found.id
  throw new GatewayError('invalid_value', `There is no application ${idOrName.slice(0, 100)}`, {
    param: 'application_id',
  })
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
