import type { Logger } from 'pino'
import type { Entry, Scope } from '#protocol'
import { exhausted } from '../alerts/budgets.ts'
import type { AlertEvent } from '../alerts/budgets.ts'
import type { DecisionRecord } from '../state.ts'
import { recordEvent } from '../store/alerts.ts'
import { sweep, tellReached } from './alert-sweep.ts'
import type { SweepDeps } from './alert-sweep.ts'
import { createDispatcher } from './webhooks.ts'
import type { DispatchDeps } from './webhooks.ts'

export interface AlertsDeps extends DispatchDeps, Omit<SweepDeps, 'raise'> {
  /** Why nothing can be written down; undefined while all is well. */
  readonly ledgerProblem: () => string | undefined
  /** Why prices are not the latest. */
  readonly priceProblems: () => readonly string[]
  readonly log: Logger
}

export interface Alerts {
  /** A request goes under these scopes: on its way, so nothing is compared here. */
  readonly seen: (tenantId: string, scopes: readonly Scope[]) => void
  readonly recorded: (entry: Entry) => void
  readonly served: (record: DecisionRecord) => void
  /** Tells of something, unless it was told of before. */
  readonly raise: (event: AlertEvent) => void
  readonly close: () => Promise<void>
}

/** How often spend is compared with thresholds, and due deliveries are looked for, ms. */
const ROUND_MS = 2000

/** How often everything is looked at, in use or not, ms; the first time soon after the start. */
const SWEEP_MS = 3_600_000
const FIRST_SWEEP_MS = 3000

/** How long a scope is looked at after its last request: longer than one can take, ms. */
const WATCHED_MS = 15 * 60_000

/** How long after one could not be written down it is tried again, where its cause goes on, ms. */
const RETRY_MS = 30_000

/** Most remembered as told of, to spare the database; its unique row decides. */
const MOST_TOLD = 100_000

/**
 * Watches budgets beside the requests. A request only leaves its scopes here; every two seconds
 * the standing of those in use, which admission keeps anyway, is compared with the thresholds.
 * Spend within a window only grows, so nothing is missed between two looks but a window that
 * ends in those seconds.
 */
export function openAlerts(deps: AlertsDeps): Alerts {
  const { db, log, now } = deps
  const watched = new Map<string, { tenantId: string; scope: Scope; at: number }>()
  const told = new Set<string>()
  const writing = new Set<Promise<unknown>>()

  function raise(event: AlertEvent): void {
    const name = `${event.tenantId} ${event.once}`
    if (told.has(name)) return
    if (told.size >= MOST_TOLD) told.clear()
    told.add(name)
    const written = recordEvent(db, event, now()).catch((error: unknown) => {
      // Not at once again: what cannot be written now is not written by haste.
      setTimeout(() => told.delete(name), RETRY_MS).unref()
      log.error({ err: error, type: event.type }, 'an alert could not be written down')
    })
    writing.add(written)
    void written.finally(() => writing.delete(written))
  }

  async function look(): Promise<void> {
    for (const [name, { tenantId, scope, at }] of watched) {
      if (now() - at > WATCHED_MS) watched.delete(name)
      await tellReached({ ...deps, raise }, tenantId, [scope])
    }
    const moment = new Date(now()).toISOString()
    const tellOperator = (type: string, once: string, reason: string): void =>
      raise({
        type,
        tenantId: deps.operatorId,
        once: `${type}|${once}`,
        subject: type.slice(0, type.indexOf('.')),
        data: { reason, links: { health: '/admin/v1/health' } },
      })
    const problem = deps.ledgerProblem()
    if (problem !== undefined) tellOperator('ledger.unhealthy', moment.slice(0, 13), problem)
    for (const reason of deps.priceProblems()) {
      tellOperator('prices.reload_failed', `${reason}|${moment.slice(0, 10)}`, reason)
    }
  }

  /** Each runs alone: what is slow holds up nothing but itself. */
  function every(ms: number, words: string, work: () => Promise<unknown>): () => Promise<void> {
    let running: Promise<void> | undefined
    const timer = setInterval(() => {
      running ??= work()
        .then(() => undefined)
        .catch((error: unknown) => log.error({ err: error }, words))
        .finally(() => {
          running = undefined
        })
    }, ms)
    return async () => {
      clearInterval(timer)
      await running
    }
  }

  const dispatcher = createDispatcher(deps)
  let sweptAt: number | undefined
  const stops = [
    every(ROUND_MS, 'budgets were not looked after', look),
    every(ROUND_MS, 'webhooks were not sent', dispatcher.round),
    every(FIRST_SWEEP_MS, 'alerts were not looked for', async () => {
      const at = deps.tick()
      if (sweptAt !== undefined && at - sweptAt < SWEEP_MS) return
      sweptAt = at
      await sweep({ ...deps, raise })
    }),
  ]

  return {
    seen(tenantId, scopes) {
      const at = now()
      for (const scope of scopes) {
        if (scope.limits.budgets === undefined) continue
        watched.set(`${scope.kind}:${scope.id}:${scope.model ?? ''}`, { tenantId, scope, at })
      }
    },
    recorded({ tenantId, cost, usageSource, provider, model }) {
      if (cost !== undefined || usageSource === 'none') return
      const day = new Date(now()).toISOString().slice(0, 10)
      raise({
        type: 'traffic.unpriced',
        tenantId,
        once: `traffic.unpriced|${provider}/${model}|${day}`,
        subject: `model:${provider}/${model}`,
        data: { model: `${provider}/${model}`, day, links: { prices: '/admin/v1/prices' } },
      })
    },
    served({ limit, error, tenantId }) {
      if (limit !== 'budget' || error?.details === undefined || tenantId === undefined) return
      const isPlatform = error.details.scope === 'platform'
      const event = exhausted(isPlatform ? deps.operatorId : tenantId, error.details)
      if (event !== undefined) raise(event)
    },
    raise,
    async close() {
      await Promise.all(stops.map((stop) => stop()))
      await dispatcher.idle()
      await Promise.all(writing)
    },
  }
}
