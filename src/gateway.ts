import { randomBytes } from 'node:crypto'
import { join as pathOf } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import { GatewayError } from '#errors'
import type { Entry, Key, LimitStanding } from '#protocol'
import { providers } from '../providers/index.ts'
import { simulatorFacts, simulatorPrices } from '../providers/simulator/index.ts'
import { startSimulator } from '../providers/simulator/server.ts'
import { createAdmin } from './admin.ts'
import { createApp, ENDPOINTS } from './app.ts'
import { listOf } from './config.ts'
import { createIdempotency } from './control/idempotency.ts'
import type { Config } from './config.ts'
import { createMailer } from './alerts/mail.ts'
import { openAlerts } from './gateway/alerts.ts'
import { openAudit } from './gateway/audit.ts'
import { askTarget } from './gateway/ask-target.ts'
import { createDecisionLog } from './gateway/decision-log.ts'
import { describeDecision } from './gateway/decision-view.ts'
import { attributions } from './gateway/attribution.ts'
import { controlPlane } from './gateway/control-plane.ts'
import { openCredentials, withOwnCredential } from './gateway/credentials.ts'
import { SIMULATOR_MODELS, configureProviders } from './gateway/instances.ts'
import type { Configured } from './gateway/instances.ts'
import { archived, checkOpen, identity } from './gateway/identity.ts'
import { issueKeys } from './gateway/issue-keys.ts'
import { trackKeyUses } from './gateway/key-uses.ts'
import { reportLeaks } from './gateway/report-leaks.ts'
import { createKeyIndex } from './gateway/key-index.ts'
import { createLatencies } from './gateway/latencies.ts'
import { listen, serverFor, urlOf } from './gateway/listen.ts'
import { createMetrics } from './gateway/metrics.ts'
import { openAdmission } from './gateway/open-admission.ts'
import { openPriceBooks } from './gateway/price-books.ts'
import type { PriceSettings } from './gateway/price-books.ts'
import { limitsDeps } from './gateway/limits-deps.ts'
import { openLimitTree, subjectOf, subjectOfEntry, subjectOfHolder } from './gateway/limit-tree.ts'
import { keepVersions } from './gateway/price-versions.ts'
import { createPricing } from './gateway/pricing.ts'
import { recentRefusals } from './gateway/recent-refusals.ts'
import { openRepricings } from './gateway/reprice-deps.ts'
import { logServed } from './gateway/served-log.ts'
import { openRootKey } from './gateway/root-key.ts'
import { createPrincipals } from './gateway/principals.ts'
import { openTenancy } from './gateway/tenancy.ts'
import { selfService } from './gateway/self-service.ts'
import { webhookSecrets } from './gateway/webhooks.ts'
import { watchKeys } from './gateway/watch-keys.ts'
import { openAccount } from './metering/account.ts'
import type { AccountDeps } from './metering/account.ts'
import { createCalibration } from './metering/calibration.ts'
import { knownModels, loadCatalogue, modelFacts } from './metering/catalogue.ts'
import { createMeter } from './metering/meter.ts'
import { formatRate, formatUsd } from './metering/money.ts'
import { createTokenCounter } from './metering/token-counter.ts'
import { clientAddress } from './middleware/client-address.ts'
import { createOpenRequests } from './middleware/open-requests.ts'
import { sizeOfMemory } from './middleware/recall.ts'
import type { Memory } from './middleware/recall.ts'
import { nearest } from './nearest.ts'
import { createDirectory } from './routing/directory.ts'
import { plan } from './routing/plan.ts'
import { inRanges, mayCall, parseRanges } from './routing/rights.ts'
import { digestSecret } from './secrets.ts'
import type { DecisionRecord } from './state.ts'
import { findKeyByPrefix } from './store/keys.ts'
import { getEntries } from './store/ledger.ts'
import { openDecisions } from './store/decisions.ts'
import { openStore } from './store/open.ts'
import { keepPriceVersions, priceRevision, readPriceTable } from './store/prices.ts'
import { ensureDefaults } from './store/tenants.ts'
import { createUpstream } from './upstream/send.ts'

export interface GatewayOptions {
  readonly config: Config
  readonly version: string
  readonly adminKey: string
  readonly masterKey: string
  /** What the database was made with before, when the master key is being replaced. */
  readonly previousMasterKey?: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: Logger
  /**
   * Reads the settings again, for their prices. Absent: those of the start stay.
   *
   * @throws ConfigError
   */
  readonly reload?: () => PriceSettings
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

/** Most scopes whose budgets are among the metrics. */
const MOST_BUDGETS = 100

/** Tool calls whose reasoning is remembered, how much of it (UTF-16 units), and for how long. */
const MEMORIES = 20_000
const MEMORY_UNITS = 64 * 1024 * 1024
const MEMORY_MS = 3_600_000

/** How old the prices in a list of models may be, ms. */
const ROWS_MS = 1000

/** Most that is read of an answer to an alert, bytes. */
const MAX_RECEIPT_BYTES = 65_536

/** Longest that answers which were cut may take to be settled, ms. */
const CUT_TIMEOUT_MS = 10_000

/**
 * Joins the parts and listens.
 *
 * @throws Error saying what keeps it from starting and how to mend it
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const opened = new AsyncDisposableStack()
  try {
    return await join(options, opened)
  } catch (error) {
    await opened.disposeAsync()
    throw error
  }
}

/** @param opened takes what has to be let go of, last come first served */
async function join(options: GatewayOptions, opened: AsyncDisposableStack): Promise<Gateway> {
  const { config, log, now, tick } = options
  const startedAt = now()
  const isShared = config.database_url !== undefined
  /** What the store recovers before there is an admission to charge it to. */
  const recoveredEarly: Entry[] = []
  let recovered = (entries: readonly Entry[]): void => void recoveredEarly.push(...entries)
  const store = await openStore({
    onRecovered: (entries) => recovered(entries),
    dataDir: config.data_dir,
    synchronous: config.durability,
    instanceId: `inst_${randomBytes(9).toString('hex')}`,
    ...(config.database_url === undefined ? {} : { url: config.database_url }),
  })
  opened.defer(() => store.close())
  const { db } = store
  const decisions = await openDecisions({
    dataDir: config.data_dir,
    shared: isShared ? db : undefined,
  })
  opened.defer(() => decisions.close())
  const decisionLog = createDecisionLog({
    decisions,
    describe: describeDecision,
    days: config.decisions_days,
    log,
    now,
  })
  opened.defer(() => decisionLog.close())
  const rootKey = await openRootKey(db, options)
  const secret = digestSecret(rootKey)
  const { tenant, application } = await ensureDefaults(db, startedAt)

  const simulatorToken = randomBytes(18).toString('base64url')
  const simulator = await startSimulator({ token: simulatorToken })
  opened.defer(() => simulator.close())
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
  const credentials = await openCredentials(db, rootKey, now)
  const directory = createDirectory({
    instances,
    routes: config.models,
    facts: (instance, model) => modelFacts(instance.provider.id, model),
    nearest,
  })
  const prices = await openPriceBooks({
    settings: config,
    builtIn: { simulator: simulatorPrices },
    files: [config.file, config.prices_file].filter((file) => file !== undefined),
    reload: options.reload,
    catalogue: loadCatalogue(),
    table: () => readPriceTable(db),
    tableRevision: () => priceRevision(db),
    isShared,
    log,
    now,
    onInexact: (target, price) =>
      log.warn(
        { provider: target.provider, model: target.model, matched: price.matched },
        'priced by a rule for a family of models',
      ),
  })
  opened.defer(() => prices.close())
  const versions = keepVersions({ keep: (found) => keepPriceVersions(db, found), log, now })
  opened.defer(() => versions.close())
  const unpriced = (tenantId: string) => prices.unpriced(tenantId) ?? config.unpriced
  const tokenCounter = createTokenCounter()
  opened.defer(() => tokenCounter.close())
  const meter = createMeter({
    book: prices.current,
    onPriced: versions.note,
    facts: modelFacts,
    calibration: createCalibration(),
    countTokens: tokenCounter.count,
    unpriced,
    onOddity: (oddity) => log.warn(oddity, 'odd usage'),
  })
  const pricing = createPricing({
    meter,
    directory,
    facts: (kind, model) =>
      kind === 'simulator' ? simulatorFacts.get(model) : modelFacts(kind, model),
    unpriced,
    formatRate,
    now,
  })
  const upstream = createUpstream({
    connectTimeoutMs: config.connect_timeout_ms,
    maxResponseBytes: config.max_response_bytes,
    userAgent: `tollgate/${options.version}`,
  })
  opened.defer(() => upstream.destroy())

  let stopping = false
  const openRequests = createOpenRequests(() => stopping)
  const metrics = createMetrics({
    version: options.version,
    inFlight: () => openRequests.size,
    upstream: () => upstream.stats(),
    prices: prices.state,
    decisionsDropped: decisionLog.dropped,
    budgets: () => budgetsStanding(),
  })
  const ailments = (): readonly string[] => {
    const health = store.health()
    return [...(stopping ? ['shutting down'] : []), ...(health.ok ? [] : [health.reason])]
  }

  const keyIndex = createKeyIndex({
    secret,
    load: (prefix) => findKeyByPrefix(db, prefix),
    capacity: KEY_CAPACITY,
  })
  const keyChanged = (key: Key): void => {
    keyIndex.changed(key)
    if (key.status === 'active') return
    const message = `The key ending in ${key.last4} was ${key.status}`
    openRequests.cut(key.id, new GatewayError('revoked_api_key', message))
  }
  const issued = issueKeys({ secret, application, changed: keyChanged, now })
  const keyUses = trackKeyUses(db, { log, now })
  opened.defer(() => keyUses.close())

  const tenancy = await openTenancy(db, {
    timeZone: config.time_zone,
    onArchived({ kind, id, name }) {
      openRequests.cutWhere(
        ({ tenantId, applicationId }) => (kind === 'tenant' ? tenantId : applicationId) === id,
        archived(kind, name),
      )
    },
  })
  if (isShared) opened.defer(tenancy.watch(log))
  const principals = createPrincipals({
    db,
    adminKey: options.adminKey,
    tenantId: tenant.id,
    secret,
    now,
  })
  opened.defer(principals.watch(log))
  const attributed = attributions(tenancy)
  const limitTree = await openLimitTree(db, {
    ...tenancy,
    fullName: directory.fullName,
    timeZone: config.time_zone,
  })
  if (isShared) opened.defer(limitTree.watch(log))
  const admission = openAdmission({
    store,
    isShared,
    scopesOf: (key, entry) => limitTree.scopesOf(subjectOfEntry(key, entry, directory.fullName)),
    onBroken(scope, budget) {
      metrics.budgetBroken()
      log.error(
        { scope: scope.kind, id: scope.id, model: scope.model, window: budget.window },
        'A BUDGET WOULD NOT HAVE HELD: settled + reserved is over its limit',
      )
    },
    log,
    now,
    tick,
  })
  opened.defer(() => admission.close())
  /** Of scopes with budgets of their own; as many as a scrape can bear. */
  async function budgetsStanding(): Promise<readonly LimitStanding[]> {
    const scopes = limitTree.all().filter(({ limits }) => limits.budgets !== undefined)
    const standing = await admission.peek(scopes.slice(0, MOST_BUDGETS), now())
    return standing.filter(({ limit }) => limit === 'budget')
  }
  recovered = (entries) => admission.chargeRecovered(entries)
  recovered(recoveredEarly)

  const reprice = openRepricings({
    db,
    record: store.record,
    chargeAdjusted: (entries) => admission.chargeAdjusted(entries),
    priceBooks: prices,
    noteVersion: versions.note,
    directory,
    log,
    now,
  })
  opened.defer(() => reprice.close())

  const outward = createUpstream({
    connectTimeoutMs: config.connect_timeout_ms,
    maxResponseBytes: MAX_RECEIPT_BYTES,
    keepAliveMs: 1000,
    userAgent: `tollgate/${options.version}`,
  })
  opened.defer(() => outward.destroy())
  const mailer =
    config.smtp_url === undefined
      ? undefined
      : createMailer(config.smtp_url, config.mail_from, tick)
  opened.defer(() => mailer?.close())
  const webhooks = {
    mailer,
    secrets: webhookSecrets(rootKey),
    privateNetworks: config.webhook_private_networks === 'true',
    now,
  }
  const alerts = openAlerts({
    ...webhooks,
    db,
    upstream: outward,
    peek: (scopes, at) => admission.peek(scopes, at),
    tenantIds: () =>
      [...tenancy.tenants()].flatMap(({ id, status }) => (status === 'active' ? id : [])),
    limitTree,
    forecasts: (tenantId) => control.analysis.budgets(tenantId),
    operatorId: tenant.id,
    ledgerProblem() {
      const health = store.health()
      return health.ok ? undefined : health.reason
    },
    priceProblems: () => prices.state().problems,
    log,
    tick,
    random: options.random,
  })
  opened.defer(() => alerts.close())

  const accountDeps: AccountDeps = {
    measure: meter.measure,
    record(entry) {
      alerts.recorded(entry)
      return store.record(entry)
    },
    opened: store.openAttempt,
    extendGrant: (grant, demand, spent) => admission.extend(grant, demand, spent, now()),
    freeSlot: (grant) => admission.freeSlot(grant),
    settleGrant(grant, settlement, holder) {
      const beyond = settlement.cost - grant.reserved.cost
      if (grant.reserved.cost > 0n && beyond > 0n) metrics.overrun(beyond)
      const settled = admission.settle(grant, settlement, now())
      if (holder.limitsSeen === limitTree.seen() || settlement.cost === 0n) return settled
      // Limits that were set meanwhile held nothing for it, and count it now.
      const scopes = limitTree.scopesOf(subjectOfHolder(holder, directory.fullName))
      const late = scopes.filter((scope) => !admission.holds(grant, scope))
      const charged = admission.charge(late, settlement.cost, grant.admittedAt)
      return settled instanceof Promise ? settled.then(() => charged) : charged
    },
    now,
    tick,
  }
  const memories = new LRUCache<string, Memory>({
    max: MEMORIES,
    maxSize: MEMORY_UNITS,
    sizeCalculation: sizeOfMemory,
    ttl: MEMORY_MS,
  })
  const audit = openAudit({
    db,
    rootKey,
    file: config.audit_checkpoints ?? pathOf(config.data_dir, 'audit.checkpoints'),
    tenantId: tenant.id,
    log,
    now,
  })
  opened.defer(audit.watch())
  const latencies = createLatencies()
  const trusted = parseRanges(listOf(config.trust_proxy ?? ''))

  const refusals = recentRefusals()
  const modelRows = rememberFor(ROWS_MS, now, (key: Key) =>
    pricing.rows(key.tenantId).filter(({ id }) => mayCall(key, directory.resolve(id))),
  )

  const app = createApp({
    version: options.version,
    ailments,
    remember: (tenantId, callId, memory) => memories.set(`${tenantId} ${callId}`, memory),
    recall: (tenantId, callId) => memories.get(`${tenantId} ${callId}`),
    findKey: keyIndex.find,
    checkOpen: (key) => checkOpen(tenancy, key),
    used: keyUses.used,
    refused: keyUses.refused,
    reportLeak: reportLeaks({ db, issued, audited: audit.leaked, formatUsd, log, now }),
    addressOf: (request) => clientAddress(request, (address) => inRanges(trusted, address)),
    resolve: directory.resolve,
    modelRows,
    me: selfService({
      db,
      issued,
      tenancy,
      limitTree,
      peek: (scopes, at) => admission.peek(scopes, at),
      refusals,
      models: modelRows,
      paths: Object.keys(ENDPOINTS),
      timeZone: config.time_zone,
      now,
    }),
    scopes(state) {
      state.record.tags = attributed.tags(state)
      const scopes = limitTree.scopesOf(subjectOf(state, tenancy))
      alerts.seen(state.key.tenantId, scopes)
      return scopes
    },
    demand: pricing.demand,
    admit: (...args) => admission.admit(...args),
    openAccount({ requestId, key, record, asked, grant, demand }) {
      const { endpoint, tags = [] } = record
      const attribution = attributed.of(key, tags)
      return openAccount(
        {
          requestId,
          key,
          endpoint,
          asked,
          grant,
          demand,
          attribution,
          limitsSeen: limitTree.seen(),
        },
        accountDeps,
      )
    },
    plan(route, { tenantId = '' }, demand) {
      const { priced, unitCost } = pricing.under(demand)
      const planned = plan(priced(route), {
        random: options.random,
        latencyMs: latencies.of,
        unitCost,
      })
      return planned.map((candidate) => withOwnCredential(candidate, tenantId, credentials))
    },
    ask: askTarget({ upstream, config, answered: latencies.note, tick }),
    openRequests,
    served(served) {
      metrics.served(served)
      decisionLog.note(served)
      refusals.note(served)
      alerts.served(forOperator(served.record))
      logServed(log, served)
    },
    onFault,
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
  const control = controlPlane({
    db,
    issued,
    keyUses,
    configured,
    tenancy,
    models: pricing.models,
    priceBooks: prices,
    credentials,
    directory,
    upstream,
    config,
    now,
    tick,
  })
  const admin = createAdmin({
    db,
    audit: {
      ...audit,
      async verify(from, tenantId) {
        const found = await audit.verify(from, tenantId)
        const { problem } = found.verdict
        if (problem != null) {
          alerts.raise({
            type: 'audit.broken',
            tenantId,
            once: `audit.broken|${problem.sequence}|${problem.reason}`,
            subject: 'audit',
            data: { reason: problem.message, links: { verify: '/admin/v1/audit/verify' } },
          })
        }
        return found
      },
    },
    idempotency: createIdempotency(db, rootKey, now),
    addressOf: (request) => clientAddress(request, (address) => inRanges(trusted, address)),
    principalOf: principals.of,
    identity: identity({ tenancy, secret, timeZone: config.time_zone, now }),
    ...control,
    reprice,
    limits: limitsDeps({
      db,
      limitTree,
      directory,
      peek: (scopes, at) => admission.peek(scopes, at),
      now,
    }),
    alerts: webhooks,
    logs: {
      ...decisions,
      entries: (tenantId, requestId) => getEntries(db, tenantId, requestId),
      formatUsd,
    },
    system: {
      version: options.version,
      startedAt,
      ailments,
      warnings: () => prices.state().problems,
      inFlight: () => openRequests.size,
      dataUrl: () => urlOf(dataServer, config.host),
      database: isShared ? 'postgres' : 'sqlite',
      metrics,
      entries: (tenantId, requestId) => getEntries(db, tenantId, requestId),
      formatUsd,
    },
    served: (served) => logServed(log, served),
    onFault,
    nearest,
    now,
    tick,
  })

  function onFault(error: GatewayError, requestId: string): void {
    log.error({ err: error.cause ?? error, requestId }, 'a request failed by a fault of ours')
  }

  if (isShared) {
    opened.defer(watchKeys(db, keyChanged, log))
    opened.defer(credentials.watch(log))
  }
  const dataServer = serverFor(app.callback())
  const adminServer = serverFor(admin.callback())
  for (const server of [dataServer, adminServer]) {
    opened.defer(() => {
      server.close()
      server.closeAllConnections()
    })
  }
  await listen(dataServer, config.host, config.port, 'port')
  await listen(adminServer, config.admin_host, config.admin_port, 'admin_port')
  const firstKey = await issued.first(db)

  async function close(): Promise<void> {
    stopping = true
    const late = (ms: number): Promise<'late'> => sleep(ms, 'late', { ref: false })
    if ((await Promise.race([openRequests.idle(), late(config.shutdown_grace_ms)])) === 'late') {
      openRequests.cutAll(new GatewayError('unavailable', 'Tollgate is shutting down'))
      await Promise.race([openRequests.idle(), late(CUT_TIMEOUT_MS)])
    }
    await opened.disposeAsync()
  }

  return {
    dataUrl: urlOf(dataServer, config.host),
    adminUrl: urlOf(adminServer, config.admin_host),
    providers: configured,
    ...(firstKey === undefined ? {} : { firstKey }),
    close,
  }
}

/** With what a refusal kept from the caller. */
function forOperator(record: DecisionRecord): DecisionRecord {
  const { error } = record
  if (error?.operatorDetails === undefined) return record
  const { code, message, operatorDetails: details } = error
  return { ...record, error: new GatewayError(code, message, { details }) }
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
      models: SIMULATOR_MODELS,
      closed: true,
    },
  }
}

/** A result kept for a while, and no longer than its object lives. */
function rememberFor<T extends object, R>(
  ms: number,
  now: () => number,
  make: (value: T) => R,
): (value: T) => R {
  const made = new WeakMap<T, { readonly result: R; readonly until: number }>()
  return (value) => {
    const at = now()
    const known = made.get(value)
    // A clock set back must not keep it for longer.
    if (known !== undefined && at < known.until && known.until - at <= ms) return known.result
    const result = make(value)
    made.set(value, { result, until: at + ms })
    return result
  }
}
