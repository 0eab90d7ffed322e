import type { Logger } from 'pino'
import type { Entry, LimitStanding, Scope } from '#protocol'
import { reached } from '../alerts/budgets.ts'
import type { AlertEvent } from '../alerts/budgets.ts'
import { recordEvent } from '../store/alerts.ts'
import { dispatchDue } from './webhooks.ts'
import type { DispatchDeps } from './webhooks.ts'

export interface AlertsDeps extends DispatchDeps {
  /** How limits stand, without spending. */
  readonly peek: (
    scopes: readonly Scope[],
    now: number,
  ) => readonly LimitStanding[] | Promise<readonly LimitStanding[]>
  readonly log: Logger
}

export interface Alerts {
  /** A request goes under these scopes: on its way, so nothing is compared here. */
  readonly seen: (tenantId: string, scopes: readonly Scope[]) => void
  readonly recorded: (entry: Entry) => void
  /** Tells of something, unless it was told of before. */
  readonly raise: (event: AlertEvent) => void
  readonly close: () => Promise<void>
}

/** How often spend is compared with thresholds, and due deliveries are looked for, ms. */
const ROUND_MS = 2000

/** How long a scope is looked at after its last request: longer than one can take, ms. */
const WATCHED_MS = 15 * 60_000

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
  let round: Promise<void> | undefined

  function raise(event: AlertEvent): void {
    const name = `${event.tenantId} ${event.once}`
    if (told.has(name)) return
    if (told.size >= MOST_TOLD) told.clear()
    told.add(name)
    const written = recordEvent(db, event, now()).catch((error: unknown) => {
      told.delete(name)
      log.error({ err: error, type: event.type }, 'an alert could not be written down')
    })
    writing.add(written)
    void written.finally(() => writing.delete(written))
  }

  async function look(): Promise<void> {
    for (const [name, { tenantId, scope, at }] of watched) {
      if (now() - at > WATCHED_MS) watched.delete(name)
      for (const standing of await deps.peek([scope], now())) {
        const budget = scope.limits.budgets?.find(({ window }) => window === standing.window)
        if (standing.limit !== 'budget' || budget === undefined) continue
        const { warn = 80, block = 100 } = budget
        // `max` is what passes: the limit up to the percent from which nothing does.
        const full = { ...standing, max: (standing.max * 100n) / BigInt(block) }
        for (const event of reached(tenantId, full, [warn, block])) raise(event)
      }
    }
  }

  const timer = setInterval(() => {
    round ??= Promise.all([look(), dispatchDue(deps)])
      .then(() => undefined)
      .catch((error: unknown) => log.error({ err: error }, 'alerts were not looked after'))
      .finally(() => {
        round = undefined
      })
  }, ROUND_MS)

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
    raise,
    async close() {
      clearInterval(timer)
      await round
      await Promise.all(writing)
    },
  }
}
