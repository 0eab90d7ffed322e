import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from '@prometheus-io/client'
import { inputTokens, outputTokens } from '#protocol'
import type { LimitStanding } from '#protocol'
import type { Served } from '../middleware/access-log.ts'
import type { AttemptRecord } from '../state.ts'

export interface MetricsOptions {
  readonly version: string
  /** Requests under way. */
  readonly inFlight: () => number
  readonly upstream: () => { readonly openSockets: number; readonly runningRequests: number }
  readonly prices: () => {
    /** Unix ms. */
    readonly loadedAt: number
    readonly problems: readonly string[]
    readonly reloads: { readonly ok: number; readonly failed: number }
  }
  /** Decisions that were shed since the start. */
  readonly decisionsDropped: () => number
  /** How budgets stand; bounded in number. */
  readonly budgets: () => readonly LimitStanding[] | Promise<readonly LimitStanding[]>
}

export interface Metrics {
  readonly served: (served: Served) => void
  /** A budget would not have held. */
  readonly budgetBroken: () => void
  /** A provider billed more than the maximum it was sent. */
  readonly overrun: (nanos: bigint) => void
  readonly contentType: string
  /** In Prometheus' text form. */
  text(): Promise<string>
}

/** Overhead is far below what a provider takes. */
const OVERHEAD_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1,
]

const SECONDS = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

/**
 * Counters of the data plane.
 *
 * Labels are bounded: paths are the served ones, providers the configured ones, and models
 * appear only as resolved targets, never as a caller wrote them.
 */
export function createMetrics({
  version,
  inFlight,
  upstream,
  prices,
  decisionsDropped,
  budgets,
}: MetricsOptions): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const requests = new Counter({
    name: 'tollgate_requests_total',
    help: 'Requests answered, by served path, status and error code',
    labelNames: ['route', 'status', 'code'],
    registers,
  })
  const duration = new Histogram({
    name: 'tollgate_request_duration_seconds',
    help: 'From the head of a request to the last byte of its answer',
    labelNames: ['route', 'stream'],
    buckets: SECONDS,
    registers,
  })
  const firstEvent = new Histogram({
    name: 'tollgate_time_to_first_token_seconds',
    help: 'From the head of a streamed request to the first event of its answer',
    labelNames: ['provider'],
    buckets: SECONDS,
    registers,
  })
  const overhead = new Histogram({
    name: 'tollgate_gateway_overhead_seconds',
    help: 'What a request took beside waiting for providers; of a stream, until its first event',
    labelNames: ['stream'],
    buckets: OVERHEAD_SECONDS,
    registers,
  })
  const rateLimited = new Counter({
    name: 'tollgate_rate_limited_total',
    help: 'Requests refused by a limit of ours',
    labelNames: ['limit'],
    registers,
  })
  const budgetBlocked = new Counter({
    name: 'tollgate_budget_blocked_total',
    help: 'Requests refused by a budget',
    registers,
  })
  const softExceeded = new Counter({
    name: 'tollgate_budget_soft_exceeded_total',
    help: 'Requests that passed though a soft budget was used up',
    registers,
  })
  const broken = new Counter({
    name: 'tollgate_budget_invariant_violations_total',
    help: 'Times settled + reserved was over the limit of a hard budget; each was refused. Always 0',
    registers,
  })
  const overrun = new Counter({
    name: 'tollgate_budget_overrun_usd_total',
    help: 'What providers billed beyond what was held for a request',
    registers,
  })
  budgetGauges(registry, budgets)
  const fallbacks = new Counter({
    name: 'tollgate_fallbacks_total',
    help: 'Times another target was asked after one failed, by providers and reason',
    labelNames: ['from', 'to', 'reason'],
    registers,
  })
  const attempts = new Counter({
    name: 'tollgate_upstream_attempts_total',
    help: 'Attempts at providers, by outcome and reason',
    labelNames: ['provider', 'outcome', 'reason'],
    registers,
  })
  const tokens = new Counter({
    name: 'tollgate_tokens_total',
    help: 'Tokens billed by providers',
    labelNames: ['provider', 'type'],
    registers,
  })
  const cost = new Counter({
    name: 'tollgate_cost_usd_total',
    help: 'Cost by the ledger; for exact figures ask the ledger',
    labelNames: ['provider'],
    registers,
  })
  const unpriced = new Counter({
    name: 'tollgate_unpriced_requests_total',
    help: 'Requests that passed without a price',
    labelNames: ['provider'],
    registers,
  })
  void new Counter({
    name: 'tollgate_decisions_dropped_total',
    help: 'Requests that `tollgate logs` does not know, shed while too many waited to be written',
    registers,
    collect() {
      this.reset()
      this.inc(decisionsDropped())
    },
  })
  const gauge = (name: string, help: string, read: () => number): void => {
    void new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  }
  gauge('tollgate_inflight_requests', 'Requests under way', inFlight)
  gauge('tollgate_upstream_sockets', 'Open connections to providers', () => upstream().openSockets)
  gauge(
    'tollgate_upstream_running',
    'Requests that wait for a provider',
    () => upstream().runningRequests,
  )
  gauge(
    'tollgate_price_problems',
    'Reasons why the prices in force are not the latest; 0 when they are',
    () => prices().problems.length,
  )
  gauge(
    'tollgate_price_reload_failures',
    'How often prices could not be read again; the last good ones stayed',
    () => prices().reloads.failed,
  )
  gauge(
    'tollgate_price_loaded_timestamp_seconds',
    'When the prices in force were read',
    () => prices().loadedAt / 1000,
  )
  new Gauge({
    name: 'tollgate_build_info',
    help: 'Always 1; the version is a label',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1)

  const requestsOf = children(requests)
  const durationOf = children(duration)
  const firstEventOf = children(firstEvent)
  const overheadOf = children(overhead)
  const rateLimitedOf = children(rateLimited)
  const fallbacksOf = children(fallbacks)
  const attemptsOf = children(attempts)
  const tokensOf = children(tokens)
  const costOf = children(cost)
  const unpricedOf = children(unpriced)

  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    budgetBroken: () => broken.inc(),
    overrun: (nanos) => overrun.inc(Number(nanos) / 1e9),
    served({ status, durationMs, record }) {
      const route = record.endpoint
      requestsOf(route, String(status), record.errorCode ?? '').inc()
      durationOf(route, String(record.stream === true)).observe(durationMs / 1000)
      if (record.limit === 'budget') budgetBlocked.inc()
      else if (record.limit !== undefined) rateLimitedOf(record.limit).inc()
      if (record.standing?.some(({ budget }) => budget?.status === 'soft-exceeded') === true) {
        softExceeded.inc()
      }
      let before: AttemptRecord | undefined
      for (const attempt of record.attempts) {
        const name = providerOf(attempt.target)
        attemptsOf(name, attempt.outcome, attempt.reason ?? '').inc()
        // The same target asked again is a retry.
        if (before !== undefined && before.target !== attempt.target) {
          fallbacksOf(providerOf(before.target), name, before.reason ?? '').inc()
        }
        before = attempt
      }
      const provider = before?.target
      const { answeredMs, upstreamMs, stream } = record
      if (provider !== undefined && answeredMs !== undefined && upstreamMs !== undefined) {
        if (stream === true) firstEventOf(providerOf(provider)).observe(answeredMs / 1000)
        const took = stream === true ? answeredMs : durationMs
        overheadOf(String(stream === true)).observe(Math.max(0, took - upstreamMs) / 1000)
      }
      if (provider === undefined || record.usage === undefined) return
      const label = providerOf(provider)
      tokensOf(label, 'input').inc(inputTokens(record.usage))
      tokensOf(label, 'output').inc(outputTokens(record.usage))
      if (record.cost === undefined) unpricedOf(label).inc()
      else costOf(label).inc(Number(record.cost) / 1e9)
    },
  }
}

/**
 * Finds a metric's child by the values of its labels, made once: to check and join the labels
 * anew for each request costs more than to count it.
 */
function children<Child>(metric: {
  labels(...values: string[]): Child
}): (...values: string[]) => Child {
  const made = new Map<string, Child>()
  return (...values) => {
    const name = values.join('\n')
    let child = made.get(name)
    if (child === undefined) made.set(name, (child = metric.labels(...values)))
    return child
  }
}

function providerOf(target: string): string {
  return target.slice(0, target.indexOf('/'))
}

/** Approximate, as every gauge is: for exact figures ask the control plane. */
function budgetGauges(registry: Registry, read: MetricsOptions['budgets']): void {
  const labelNames = ['scope', 'id', 'model', 'window'] as const
  const registers = [registry]
  const limit = new Gauge({
    name: 'tollgate_budget_limit_usd',
    help: 'What a budget allows in its window, with raises',
    labelNames,
    registers,
  })
  const reserved = new Gauge({
    name: 'tollgate_budget_reserved_usd',
    help: 'What requests under way hold of a budget',
    labelNames,
    registers,
  })
  void new Gauge({
    name: 'tollgate_budget_remaining_usd',
    help: 'What a budget has left in its window',
    labelNames,
    registers,
    async collect() {
      for (const gauge of [this, limit, reserved]) gauge.reset()
      for (const { scope, window = '', max, remaining, budget } of await read()) {
        const labels = { scope: scope.kind, id: scope.id, model: scope.model ?? '', window }
        this.set(labels, Number(remaining) / 1e9)
        limit.set(labels, Number(max) / 1e9)
        reserved.set(labels, Number(budget?.reserved ?? 0n) / 1e9)
      }
    },
  })
}
