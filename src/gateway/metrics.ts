import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from '@prometheus-io/client'
import { inputTokens, outputTokens } from '#protocol'
import type { Served } from '../middleware/access-log.ts'

export interface MetricsOptions {
  readonly version: string
  /** Requests under way. */
  readonly inFlight: () => number
  readonly upstream: () => { readonly openSockets: number; readonly runningRequests: number }
}

export interface Metrics {
  readonly served: (served: Served) => void
  readonly contentType: string
  /** In Prometheus' text form. */
  text(): Promise<string>
}

const SECONDS = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

/**
 * Counters of the data plane.
 *
 * Labels are bounded: paths are the served ones, providers the configured ones, and models
 * appear only as resolved targets, never as a caller wrote them.
 */
export function createMetrics({ version, inFlight, upstream }: MetricsOptions): Metrics {
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
  new Gauge({
    name: 'tollgate_build_info',
    help: 'Always 1; the version is a label',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1)

  const requestsOf = children(requests)
  const durationOf = children(duration)
  const attemptsOf = children(attempts)
  const tokensOf = children(tokens)
  const costOf = children(cost)
  const unpricedOf = children(unpriced)

  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    served({ status, durationMs, record }) {
      const route = record.endpoint
      requestsOf(route, String(status), record.errorCode ?? '').inc()
      durationOf(route, String(record.stream === true)).observe(durationMs / 1000)
      for (const { target, outcome, reason } of record.attempts) {
        attemptsOf(providerOf(target), outcome, reason ?? '').inc()
      }
      const provider = record.attempts.at(-1)?.target
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
