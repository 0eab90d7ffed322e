import type { LimitStanding, Scope } from '#protocol'
import { reached, subjectOf } from '../alerts/budgets.ts'
import type { AlertEvent } from '../alerts/budgets.ts'
import type { AnalysisDeps, ForecastBudget } from '../control/analysis.ts'
import { formatUsd } from '../metering/money.ts'
import { forecast } from '../reports/forecast.ts'
import { expiringKeys } from '../store/alerts.ts'
import { listKeys } from '../store/keys.ts'
import type { Database } from '../store/schema.ts'
import { forgetDeliveries } from '../store/webhooks.ts'
import type { LimitTree } from './limit-tree.ts'

export interface SweepDeps {
  readonly db: Database
  /** How limits stand, without spending. */
  readonly peek: (
    scopes: readonly Scope[],
    now: number,
  ) => readonly LimitStanding[] | Promise<readonly LimitStanding[]>
  /** Of tenants that are not archived. */
  readonly tenantIds: () => readonly string[]
  readonly limitTree: Pick<LimitTree, 'all' | 'scopesOfKey'>
  readonly forecasts: AnalysisDeps['budgets']
  /** Whom the platform's own budgets are told to. */
  readonly operatorId: string
  readonly now: () => number
  readonly raise: (event: AlertEvent) => void
}

const DAY_MS = 86_400_000
/** Days before its end that a key is told of, the fewest first. */
const KEY_DAYS = [1, 7] as const
const KEPT_DELIVERIES_MS = 30 * DAY_MS

/** Rows looked at together, so that others get their turn between. */
const PIECE = 200

/** Chance from which a budget is said not to last, and days of spend needed to say so. */
const LIKELY = 0.8
const LEAST_DAYS = 3

/** Looks at all that no request leads to: idle budgets, forecasts, ends of keys, old deliveries. */
export async function sweep(deps: SweepDeps): Promise<void> {
  const { db, now, raise } = deps
  for (const tenantId of deps.tenantIds()) {
    await tellReached(deps, tenantId, deps.limitTree.all(tenantId))
    for (let after: string | undefined; ;) {
      const { keys, hasMore } = await listKeys(db, tenantId, {
        limit: PIECE,
        status: 'active',
        now: now(),
        ...(after !== undefined && { after }),
      })
      await tellReached(deps, tenantId, keys.flatMap(deps.limitTree.scopesOfKey))
      after = keys.at(-1)?.id
      if (!hasMore) break
    }
    for (const budget of await deps.forecasts(tenantId)) {
      const event = exceeding(tenantId, budget, now())
      if (event !== undefined) raise(event)
    }
  }
  const [, longest] = KEY_DAYS
  for (let after = ''; ;) {
    const keys = await expiringKeys(db, now(), now() + longest * DAY_MS, after, PIECE)
    for (const key of keys) {
      const days = KEY_DAYS.find((one) => key.expiresAt - now() <= one * DAY_MS)
      // One that was made for less than that needs no reminder of it.
      if (days === undefined || key.expiresAt - key.createdAt <= days * DAY_MS) continue
      const { id, tenantId, name, last4, expiresAt } = key
      raise({
        type: 'key.expiring',
        tenantId,
        once: `key.expiring|${id}|${expiresAt}|${days}`,
        subject: `key:${id}`,
        data: {
          key: { id, name, last4 },
          expires_at: new Date(expiresAt).toISOString(),
          days_left: days,
          links: { key: `/admin/v1/keys/${id}` },
        },
      })
    }
    after = keys.at(-1)?.id ?? ''
    if (keys.length < PIECE) break
  }
  while ((await forgetDeliveries(db, now() - KEPT_DELIVERIES_MS, PIECE)) === PIECE);
}

/** Tells of the thresholds that these budgets have reached. */
export async function tellReached(
  { peek, operatorId, now, raise }: Pick<SweepDeps, 'peek' | 'operatorId' | 'now' | 'raise'>,
  tenantId: string,
  scopes: readonly Scope[],
): Promise<void> {
  for (const scope of scopes) {
    if (scope.limits.budgets === undefined) continue
    const told = scope.kind === 'platform' ? operatorId : tenantId
    for (const standing of await peek([scope], now())) {
      const budget = scope.limits.budgets?.find(({ window }) => window === standing.window)
      if (standing.limit !== 'budget' || budget === undefined) continue
      const { warn = 80, block = 100 } = budget
      // `max` is what passes: the limit up to the percent from which nothing does.
      const full = { ...standing, max: (standing.max * 100n) / BigInt(block) }
      for (const event of reached(told, full, [warn, block])) raise(event)
    }
  }
}

function exceeding(
  tenantId: string,
  { scope, window, end, input }: ForecastBudget,
  now: number,
): AlertEvent | undefined {
  const { limit, spent } = input
  if (limit === undefined || end === undefined || spent >= limit) return undefined
  const { expected, low, high, chanceToExceed = 0, daysUntilLimit, basedOnDays } = forecast(input)
  if (chanceToExceed < LIKELY || basedOnDays < LEAST_DAYS) return undefined
  const type = 'budget.forecast_exceeds'
  const subject = subjectOf(tenantId, scope)
  return {
    type,
    tenantId,
    once: `${type}|${subject}|${window}|${end}|${limit}`,
    subject,
    data: {
      scope: { kind: scope.kind, id: scope.id, name: scope.name },
      window: { kind: window, ends_at: new Date(end).toISOString() },
      limit: formatUsd(limit),
      spent: formatUsd(spent),
      expected: formatUsd(expected),
      low: formatUsd(low),
      high: formatUsd(high),
      currency: 'USD',
      chance_to_exceed: Math.round(chanceToExceed * 100) / 100,
      exceeded_at:
        daysUntilLimit === undefined
          ? null
          : new Date(Math.round(now + daysUntilLimit * DAY_MS)).toISOString(),
      links: { forecast: '/admin/v1/costs/forecast' },
    },
  }
}
