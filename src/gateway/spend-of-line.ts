import type { Budget, NanoUsd, Scope } from '#protocol'
import { capOf } from '../metering/quotas.ts'
import { windowAt } from '../metering/windows.ts'
import type { Calendar } from '../metering/windows.ts'
import { forecast, MAX_DAYS } from '../reports/forecast.ts'
import type { Forecast } from '../reports/forecast.ts'
import { keysOfLine } from '../store/keys.ts'
import { costsReport } from '../store/reports.ts'
import type { Database } from '../store/schema.ts'
import { daysBetween, historyOf, weekdayOf } from './analysis-deps.ts'

/** What a line of keys has spent in a window of its tenant's calendar. */
export interface WindowSpend {
  readonly window: Budget['window']
  /** Unix ms. */
  readonly start: number
  readonly end: number
  readonly requests: number
  readonly spent: NanoUsd
  /** The line's own budget of this window. */
  readonly limit?: NanoUsd
  readonly forecast: Forecast
}

export interface Line {
  readonly tenantId: string
  readonly rootId: string
  /** The key's own scope. */
  readonly scopes: readonly Scope[]
  readonly calendar: Calendar
}

const WINDOWS = ['day', 'week', 'month'] as const
const DAY_MS = 86_400_000

/** Keys of a line whose spend is summed, the newest. */
const MOST_KEYS = 200

/** One report by days answers for all windows, from the ledger. */
export async function spendOfLine(
  db: Database,
  { tenantId, rootId, scopes, calendar }: Line,
  now: number,
): Promise<readonly WindowSpend[]> {
  const { timeZone } = calendar
  const windows = WINDOWS.map((window) => ({ window, ...windowAt(window, calendar, now) }))
  const since = windowAt('day', calendar, now - MAX_DAYS * DAY_MS).start
  const keys = (await keysOfLine(db, tenantId, rootId)).slice(-MOST_KEYS)
  const { rows } = await costsReport(db, {
    tenantId,
    from: Math.min(since, ...windows.map(({ start }) => start)),
    to: now + 1,
    timeZone,
    groupBy: ['day'],
    filters: { key: keys.map(({ id }) => id) },
  })
  const costs = new Map(rows.map(({ start, cost }) => [start, cost]))
  const today = windowAt('day', calendar, now)
  const history = historyOf(costs, today.start, timeZone)
  return windows.map(({ window, start, end }) => {
    const within = rows.filter((row) => row.start >= start)
    const spent = within.reduce((all, { cost }) => all + cost, 0n)
    const limit = budgetOf(scopes, window, now)
    return {
      window,
      start,
      end,
      requests: within.reduce((all, { requests }) => all + requests, 0),
      spent,
      ...(limit !== undefined && { limit }),
      forecast: forecast({
        history,
        spent,
        todayWeekday: weekdayOf(today.start, timeZone),
        restOfToday: (today.end - now) / (today.end - today.start),
        comingWeekdays: daysBetween(today.end, end, timeZone).map((at) => weekdayOf(at, timeZone)),
        ...(limit !== undefined && { limit }),
      }),
    }
  })
}

/** The least of them, where there are several for all models. */
function budgetOf(
  scopes: readonly Scope[],
  window: Budget['window'],
  now: number,
): NanoUsd | undefined {
  return scopes
    .filter(({ model }) => model === undefined)
    .flatMap(({ limits }) => limits.budgets ?? [])
    .filter((budget) => budget.window === window)
    .map((budget) => capOf(budget, now))
    .toSorted((a, b) => (a < b ? -1 : 1))[0]
}
