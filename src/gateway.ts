import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import { GatewayError } from '#errors'
import type { Candidate, Entry, Key, Scope } from '#protocol'
import { providers } from '../providers/index.ts'
import { simulatorPrices } from '../providers/simulator/index.ts'
import { CHAT_MODELS, EMBEDDING_MODEL, startSimulator } from '../providers/simulator/server.ts'
import { createAdmin } from './admin.ts'
import { createApp } from './app.ts'
import { flagOf, variableOf } from './config.ts'
import type { Config } from './config.ts'
import type { ProviderView } from './control/catalogue.ts'
import { editBody } from './endpoints/body.ts'
import { configureProviders } from './instances.ts'
import type { Configured } from './instances.ts'
import { createKeyIndex } from './key-index.ts'
import { openAccount } from './metering/account.ts'
import type { AccountDeps } from './metering/account.ts'
import { createCalibration } from './metering/calibration.ts'
import { knownModels, loadCatalogue, modelFacts } from './metering/catalogue.ts'
import { createEmbeddedAdmission } from './metering/embedded-admission.ts'
import { createMeter } from './metering/meter.ts'
import { formatUsd, parseUsd } from './metering/money.ts'
import { createPriceBook } from './metering/prices.ts'
import { formatRate } from './metering/money.ts'
import type { History, WindowQuery } from './metering/scope-state.ts'
import { createSharedAdmission } from './metering/shared-admission.ts'
import { createTokenCounter } from './metering/token-counter.ts'
import { windowAt } from './metering/windows.ts'
import { createMetrics } from './metrics.ts'
import { clientAddress } from './middleware/client-address.ts'
import { createOpenRequests } from './middleware/open-requests.ts'
import type { Memory } from './middleware/recall.ts'
import { nearest } from './nearest.ts'
import { createPricing } from './pricing.ts'
import { logServed } from './served-log.ts'
import { createDirectory } from './routing/directory.ts'
import { plan } from './routing/plan.ts'
import { inRanges, mayCall, parseRanges } from './routing/rights.ts'
import { digestKey, digestSecret, generateKey, keyPrefix } from './secrets.ts'
import type { GatewayState } from './state.ts'
import * as keys from './store/keys.ts'
import * as ledger from './store/ledger.ts'
import { claimMeta } from './store/meta.ts'
import { openStore } from './store/open.ts'
import { ATTRIBUTES, PERIOD_UNITS, costsReport } from './store/reports.ts'
import type { Database } from './store/schema.ts'
import { ensureDefaults, listApplications } from './store/tenants.ts'
import { ask } from './upstream/ask.ts'
import { inlineMedia } from './upstream/inline.ts'
import { fetchMedia } from './upstream/media.ts'
import { createUpstream } from './upstream/send.ts'
import { testProvider } from './upstream/test-provider.ts'

export interface GatewayOptions {
  readonly config: Config
  readonly version: string
  readonly adminKey: string
  readonly masterKey: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
  /** From 0 up to but not including 1. */
  readonly random: () => number
}

export interface Gateway {
  readonly dataUrl: string
  readonly adminUrl: string
  readonly providers: readonly Configured[]
  /** The key of the first start, shown once; absent at any later one. */
  readonly firstKey?: string
  /** Ends gracefully: what is open may finish within the grace, then it is cut and settled. */
  close(): Promise<void>
}

/** Most keys kept in memory. */
const KEY_CAPACITY = 100_000

/** Tool calls whose sealed reasoning is remembered, and for how long. */
const MEMORIES = 20_000
const MEMORY_MS = 3_600_000

/** Well within the lease of a reservation (Postgres), ms. */
const LEASE_RENEWAL_MS = 15_000

/** How often other processes' key changes are looked for (Postgres), ms. */
const KEY_POLL_MS = 500

/** Longest that answers which were cut may take to be settled, ms. */
const CUT_TIMEOUT_MS = 10_000

/** Longest a caller may take to send its head, and to send all of its request, ms. */
const HEAD_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 120_000

/**
 * Joins the parts and listens.
 *
 * @throws Error saying what keeps it from starting and how to mend it
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, log, now, tick } = options
  const startedAt = now()
  const secret = digestSecret(options.masterKey)
  /** Found by the store before there is an admission to charge them to. */
  const foundEarly: Entry[] = []
  let chargeRecovered = (entries: readonly Entry[]): void => void foundEarly.push(...entries)
  const store = await openStore({
    onRecovered: (entries) => chargeRecovered(entries),
    dataDir: config.data_dir,
    synchronous: config.durability,
    instanceId: `inst_${randomBytes(9).toString('hex')}`,
    ...(config.database_url === undefined ? {} : { url: config.database_url }),
  })
  const { db } = store
  await checkMasterKey(db, secret)
  const { tenant, application } = await ensureDefaults(db, startedAt)

  const simulatorToken = randomBytes(18).toString('base64url')
  const simulator = await startSimulator({ token: simulatorToken })
  const configured = [
    ...configureProviders({
      kinds: providers,
      settings: config.providers,
      env: options.env,
      knownModels,
    }),
    simulatorInstance(simulator.baseUrl, simulatorToken),
  ]
  const instances = configured.map(({ instance }) => instance)
  const directory = createDirectory({
    instances,
    routes: config.models,
    facts: (instance, model) => modelFacts(instance.provider.id, model),
    nearest,
  })
  const prices = createPriceBook({
    overrides: Object.fromEntries(
      configured.map(({ instance, prices: own }) => [instance.name, own]),
    ),
    catalogue: loadCatalogue(),
    onInexact: (target, price) =>
      log.warn(
        { provider: target.provider, model: target.model, matched: price.matched },
        'priced by a rule for a family of models',
      ),
  })
  const tokenCounter = createTokenCounter()
  const meter = createMeter({
    book: prices,
    facts: modelFacts,
    calibration: createCalibration(),
    countTokens: tokenCounter.count,
    unpriced: config.unpriced,
    onOddity: (oddity) => log.warn(oddity, 'odd usage'),
  })
  const pricing = createPricing({
    meter,
    directory,
    facts: modelFacts,
    unpriced: config.unpriced,
    formatRate,
    now,
  })
  const upstream = createUpstream({
    connectTimeoutMs: config.connect_timeout_ms,
    maxResponseBytes: config.max_response_bytes,
    userAgent: `tollgate/${options.version}`,
  })

  let stopping = false
  const openRequests = createOpenRequests(() => stopping)
  const metrics = createMetrics({
    version: options.version,
    inFlight: () => openRequests.size,
    upstream: () => upstream.stats(),
  })
  const ailments = (): readonly string[] => {
    const health = store.health()
    return [...(stopping ? ['shutting down'] : []), ...(health.ok ? [] : [health.reason])]
  }

  const keyIndex = createKeyIndex({
    secret,
    load: (prefix) => keys.findKeyByPrefix(db, prefix),
    capacity: KEY_CAPACITY,
  })
  const keyChanged = (key: Key): void => {
    keyIndex.changed(key)
    if (key.status === 'active') return
    openRequests.cut(
      key.id,
      new GatewayError('revoked_api_key', `The key ending in ${key.last4} was ${key.status}`),
    )
  }

  const load = async (
    scope: Scope,
    windows: readonly WindowQuery[],
    recentSince: number | undefined,
  ): Promise<History> => {
    const spent = await Promise.all(
      windows.map(
        async ({ kind, start }) => [kind, await ledger.spentSince(db, scope, start)] as const,
      ),
    )
    const recent =
      recentSince === undefined ? undefined : await ledger.recentUsage(db, scope, recentSince)
    return {
      spent: Object.fromEntries(spent),
      recent: recent === undefined ? [] : [{ at: now(), ...recent }],
    }
  }
  const onFault = (message: string, grantId: string): void => log.error({ grantId }, message)
  const shared =
    config.database_url === undefined
      ? undefined
      : createSharedAdmission({ withScopes: store.withScopes, load, onFault })
  const admission = shared ?? createEmbeddedAdmission({ load, elapsed: tick, onFault })

  const scopesOf = remember((key: Key): readonly Scope[] => [
    { kind: 'key', id: key.id, name: key.name, limits: key.limits, timeZone: config.time_zone },
  ])
  chargeRecovered = (entries) => {
    for (const { tenantId, keyId, cost, admittedAt } of entries) {
      if (cost === undefined || cost === 0n) continue
      void keys
        .getKey(db, tenantId, keyId)
        .then((key) => key && admission.charge(scopesOf(key), cost, admittedAt))
        .catch((error) => log.error({ err: error, keyId }, 'a recovered entry was not charged'))
    }
  }
  // The embedded admission reads the ledger, these entries included, when a key is first used.
  if (shared !== undefined) chargeRecovered(foundEarly)

  const rowsOf = remember((key: Key) =>
    pricing.rows().filter(({ id }) => mayCall(key, directory.resolve(id))),
  )
  const memories = new LRUCache<string, Memory>({ max: MEMORIES, ttl: MEMORY_MS })
  const latency = new Map<string, number>()
  const trusted = parseRanges(
    (config.trust_proxy ?? '')
      .split(',')
      .map((range) => range.trim())
      .filter((range) => range !== ''),
  )

  const accountDeps: AccountDeps = {
    measure: meter.measure,
    record: store.record,
    opened: store.openAttempt,
    settleGrant: (grant, settlement) => admission.settle(grant, settlement, now()),
    now,
    tick,
  }

  const app = createApp({
    version: options.version,
    ailments,
    remember: (tenantId, callId, memory) => memories.set(`${tenantId} ${callId}`, memory),
    recall: (tenantId, callId) => memories.get(`${tenantId} ${callId}`),
    findKey: keyIndex.find,
    addressOf: (request) => clientAddress(request, (address) => inRanges(trusted, address)),
    resolve: directory.resolve,
    modelRows: rowsOf,
    scopes: scopesOf,
    demand: pricing.demand,
    admit: (scopes, demand, at) => admission.admit(scopes, demand, at),
    openAccount: (state) =>
      openAccount(
        {
          requestId: state.requestId,
          key: state.key,
          endpoint: state.record.endpoint,
          asked: state.asked,
          grant: state.grant,
          demand: state.demand,
        },
        accountDeps,
      ),
    plan: (route) =>
      plan(pricing.priced(route), {
        random: options.random,
        latencyMs: (name) => latency.get(name),
        unitCost: pricing.unitCost,
      }),
    ask: async (candidate, state, attempt) => {
      const answer = await ask(
        upstream,
        candidate,
        {
          asked: state.asked,
          wire: 'openai-chat',
          rewrite: (edits) => editBody(state.body, edits),
          strict: state.key.strict || state.headers['x-tollgate-translation'] === 'strict',
          signal: state.abort.signal,
          forward: forwarded(candidate, state),
          ...clamp(candidate, state),
        },
        {
          firstEventTimeoutMs: config.first_event_timeout_ms,
          idleTimeoutMs: config.idle_timeout_ms,
          maxResponseBytes: config.max_response_bytes,
          now: tick,
          inline: (request, signal) =>
            inlineMedia(
              request,
              (url) =>
                fetchMedia(upstream, url, {
                  signal,
                  maxBytes: config.max_body_bytes,
                  allowPrivateNetwork: false,
                }),
              (url) => candidate.instance.provider.readsUrl?.(url) ?? false,
            ),
        },
        attempt,
      )
      noteLatency(latency, candidate.name, tick() - state.receivedTick)
      return answer
    },
    openRequests,
    served: (served) => {
      metrics.served(served)
      logServed(log, served)
    },
    onFault: (error, requestId) =>
      log.error({ err: error.cause ?? error, requestId }, 'a request failed by a fault of ours'),
    usd: formatUsd,
    wait: (ms, signal) => sleep(ms, undefined, { signal }),
    nearest,
    now,
    tick,
    limits: {
      maxBodyBytes: config.max_body_bytes,
      maxAttempts: config.max_attempts,
      totalTimeoutMs: config.total_timeout_ms,
      clientTimeoutMs: config.idle_timeout_ms,
    },
  })

  const makeKey = (
    key: Omit<
      Key,
      'id' | 'prefix' | 'last4' | 'status' | 'createdAt' | 'tenantId' | 'applicationId'
    >,
    environment: string,
  ) => {
    const text = generateKey(environment)
    const made: Key = {
      ...key,
      id: `key_${randomBytes(9).toString('hex')}`,
      tenantId: tenant.id,
      applicationId: application.id,
      prefix: keyPrefix(text)!,
      last4: text.slice(-4),
      status: 'active',
      createdAt: now(),
    }
    return { record: { key: made, digest: digestKey(secret, text) }, secret: text }
  }

  const admin = createAdmin({
    adminKey: options.adminKey,
    tenantId: tenant.id,
    keys: {
      list: (tenantId, page) => keys.listKeys(db, tenantId, page),
      get: (tenantId, id) => keys.getKey(db, tenantId, id),
      async create(_, environment, wanted) {
        const made = makeKey(wanted, environment)
        await keys.insertKey(db, made.record)
        return { key: made.record.key, secret: made.secret }
      },
      async update(tenantId, id, changes) {
        const key = await keys.updateKey(db, tenantId, id, changes)
        if (key !== undefined) keyChanged(key)
        return key
      },
      async roll(tenantId, id, endsAt) {
        const old = await keys.getKey(db, tenantId, id)
        if (old === undefined) return undefined
        const { id: _, successorId: __, expiresAt: ___, ...rights } = old
        const made = makeKey(rights, old.prefix.split('-')[2] ?? 'live')
        const ended = await keys.rollKey(db, tenantId, id, made.record, endsAt)
        if (ended === undefined) return undefined
        keyChanged(ended)
        return { key: made.record.key, secret: made.secret }
      },
      parseRanges,
      parseUsd,
      formatUsd,
      now,
    },
    costs: {
      report: (query) => costsReport(db, query as Parameters<typeof costsReport>[1]) as never,
      dimensions: [...ATTRIBUTES, ...PERIOD_UNITS],
      attributes: ATTRIBUTES,
      async names(tenantId, ids) {
        const applications = await listApplications(db, tenantId)
        const found = await Promise.all(
          ids.filter((id) => id.startsWith('key_')).map((id) => keys.getKey(db, tenantId, id)),
        )
        return new Map(
          [...applications, ...found.filter((key) => key !== undefined)].map(({ id, name }) => [
            id,
            name,
          ]),
        )
      },
      timeZone: config.time_zone,
      windowAt,
      formatUsd,
      now,
    },
    catalogue: {
      providers: () => configured.map(describeProvider),
      test: (name) => testProvider(upstream, directory.instances.get(name), tick),
      models: pricing.models,
    },
    system: {
      version: options.version,
      startedAt,
      ailments,
      inFlight: () => openRequests.size,
      database: config.database_url === undefined ? 'sqlite' : 'postgres',
      metrics,
      entries: (tenantId, requestId) => ledger.getEntries(db, tenantId, requestId),
      formatUsd,
    },
    served: (served) => logServed(log, served),
    onFault: (error, requestId) =>
      log.error(
        { err: error.cause ?? error, requestId },
        'the control plane failed by a fault of ours',
      ),
    nearest,
    now,
    tick,
  })

  const firstKey = await createFirstKey()

  /** In one transaction: of processes that start at once, one makes the key; a crash leaves neither half. */
  function createFirstKey(): Promise<string | undefined> {
    const rights = { models: ['*'], endpoints: ['*'], addresses: [], limits: {}, strict: false }
    const made = makeKey({ name: 'default', ...rights }, 'live')
    const { id } = made.record.key
    return db.transaction().execute(async (transaction) => {
      if ((await claimMeta(transaction, 'first_key', id)) !== id) return undefined
      await keys.insertKey(transaction, made.record)
      return made.secret
    })
  }

  const timers = [
    ...(shared === undefined
      ? []
      : [
          setInterval(
            () =>
              void shared
                .renew()
                .catch((error) => log.error({ err: error }, 'leases were not renewed')),
            LEASE_RENEWAL_MS,
          ),
        ]),
    ...(config.database_url === undefined ? [] : [pollKeys(db, keyChanged, log)]),
  ]
  const dataServer = serverFor(app.callback())
  const adminServer = serverFor(admin.callback())
  try {
    await listen(dataServer, config.host, config.port, 'port')
    await listen(adminServer, config.admin_host, config.admin_port, 'admin_port')
  } catch (error) {
    await Promise.all([simulator.close(), store.close(), upstream.destroy()])
    for (const timer of timers) clearInterval(timer)
    dataServer.close()
    throw error
  }

  async function close(): Promise<void> {
    stopping = true
    const late = (ms: number): Promise<'late'> => sleep(ms, 'late', { ref: false })
    if ((await Promise.race([openRequests.idle(), late(config.shutdown_grace_ms)])) === 'late') {
      openRequests.cutAll(new GatewayError('unavailable', 'Tollgate is shutting down'))
      await Promise.race([openRequests.idle(), late(CUT_TIMEOUT_MS)])
    }
    for (const server of [dataServer, adminServer]) {
      server.close()
      server.closeAllConnections()
    }
    for (const timer of timers) clearInterval(timer)
    await Promise.all([upstream.destroy(), simulator.close(), tokenCounter.close()])
    await store.close()
  }

  return {
    dataUrl: urlOf(dataServer, config.host),
    adminUrl: urlOf(adminServer, config.admin_host),
    providers: configured,
    ...(firstKey === undefined ? {} : { firstKey }),
    close,
  }
}

/** Keys digested under another master key would all be refused, one by one and without a reason. */
async function checkMasterKey(db: Database, secret: Uint8Array): Promise<void> {
  const proof = digestKey(secret, 'master-key-check').toString('hex')
  if ((await claimMeta(db, 'master_key_check', proof)) !== proof) {
    throw new Error(
      'The master key is not the one this database was made with: restore master.key in the data directory, or TOLLGATE_MASTER_KEY',
    )
  }
}

function simulatorInstance(baseUrl: string, credential: string): Configured {
  const provider = providers.get('simulator')!
  return {
    source: 'built-in',
    prices: simulatorPrices,
    instance: {
      name: provider.id,
      provider,
      baseUrl,
      credential,
      headers: {},
      allowPrivateNetwork: true,
      models: [...CHAT_MODELS, EMBEDDING_MODEL, 'fault/*'],
      closed: true,
    },
  }
}

/** Headers by which a caller may order faults of the simulator. */
function forwarded(
  { instance }: Candidate,
  { headers }: GatewayState,
): Readonly<Record<string, string>> {
  const fault = instance.provider.id === 'simulator' ? headers['x-simulator-fault'] : undefined
  return typeof fault === 'string' ? { 'x-simulator-fault': fault } : {}
}

/** The maximum the budgets impose, where the caller set none. */
function clamp(
  { target }: Candidate,
  { asked, demand, grant }: GatewayState,
): { readonly clampTo?: number } {
  if (asked.operation !== 'chat' || !demand.clampable || grant.reserved.cost === 0n) return {}
  const each = Math.floor(grant.outputTokens / (asked.request.n ?? 1))
  return { clampTo: Math.max(1, Math.min(each, target.maxOutputTokens ?? each)) }
}

/** Weight of the newest figure in the running mean. */
const LATENCY_WEIGHT = 0.2

function noteLatency(latency: Map<string, number>, name: string, ms: number): void {
  const before = latency.get(name)
  latency.set(name, before === undefined ? ms : before + LATENCY_WEIGHT * (ms - before))
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

function pollKeys(db: Database, changed: (key: Key) => void, log: Logger): NodeJS.Timeout {
  let revision: bigint | undefined
  let asking = false
  return setInterval(async () => {
    if (asking) return
    asking = true
    try {
      const found = await keys.changedKeysSince(db, revision ?? 0n)
      if (revision !== undefined) for (const { key } of found.keys) changed(key)
      revision = found.revision
    } catch (error) {
      log.error({ err: error }, 'key changes could not be read')
    } finally {
      asking = false
    }
  }, KEY_POLL_MS)
}

function serverFor(handle: RequestListener): Server {
  const server = createServer({ noDelay: true, keepAlive: true, maxHeaderSize: 32 * 1024 }, handle)
  server.headersTimeout = HEAD_TIMEOUT_MS
  server.requestTimeout = REQUEST_TIMEOUT_MS
  server.keepAliveTimeout = 75_000
  return server
}

async function listen(server: Server, host: string, port: number, setting: string): Promise<void> {
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why =
      code === 'EADDRINUSE' ? 'is taken by another process' : `cannot be listened on (${code})`
    throw new Error(
      `${host}:${port} ${why}: choose another with ${flagOf(setting)} or ${variableOf(setting)}`,
      { cause: error },
    )
  }
}

function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo
  const name = host.includes(':') ? `[${host}]` : host
  return `http://${name}:${port}`
}

/** A result kept as long as its object lives. */
function remember<T extends object, R>(make: (value: T) => R): (value: T) => R {
  const made = new WeakMap<T, R>()
  return (value) => {
    let result = made.get(value)
    if (result === undefined) {
      result = make(value)
      made.set(value, result)
    }
    return result
  }
}
