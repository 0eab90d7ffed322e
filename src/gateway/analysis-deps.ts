import type { AnalysisDeps, ForecastBudget } from '../control/analysis.ts'
import type { CostsDeps } from '../control/costs.ts'
import type { Budget, NanoUsd } from '#protocol'
import { formatUsd, parseUsd } from '../metering/money.ts'
import { capOf } from '../metering/quotas.ts'
import { windowAt } from '../metering/windows.ts'
import type { Calendar as BudgetCalendar } from '../metering/windows.ts'
import type { GroupSpend, SpendLine } from '../reports/explain.ts'
import { MAX_DAYS } from '../reports/forecast.ts'
import type { DaySpend } from '../reports/forecast.ts'
import type { UsageRecord } from '../reports/reconcile.ts'
import type { StatementLine } from '../reports/statement.ts'
import { rangeBefore } from '../store/periods.ts'
import type { CostsQuery, CostsReport, CostsRow, Dimension, TokenType } from '../store/reports.ts'
import { TOKEN_TYPES } from '../store/reports.ts'

const DAY_MS = 86_400_000

/** A scope with its budgets, and the entries that count towards them. */
export interface BudgetedScope {
  readonly scope: ForecastBudget['scope']
  readonly budgets: readonly Budget[]
  readonly filters: NonNullable<CostsQuery['filters']>
}

export interface AnalysisJoin {
  readonly costs: Pick<CostsDeps, 'report' | 'names' | 'calendar' | 'now'>
  readonly changes: AnalysisDeps['changes']
  readonly tenant: (tenantId: string) => {
    readonly name: string
    /** What amounts are called. */
    readonly currency: string
    /** By which budgets, and so forecasts and statements, go. */
    readonly calendar: BudgetCalendar
  }
  /** Every scope of the tenant that has budgets. */
  readonly budgeted: (tenantId: string) => Promise<readonly BudgetedScope[]>
}

/** What is made of the ledger's sums, from the one query that sums it. */
export function analysisDeps({
  costs,
  changes,
  tenant: tenantOf,
  budgeted,
}: AnalysisJoin): AnalysisDeps {
  const { report, names, calendar, now } = costs

  /** Ids of applications and keys become names, where there is one. */
  async function named(
    tenantId: string,
    rows: readonly CostsRow[],
    dimensions: readonly string[],
  ): Promise<(row: CostsRow) => readonly string[]> {
    const known = new Map<string, string>()
    for (const thing of ['application', 'key'] as const) {
      if (!dimensions.includes(thing)) continue
      const ids = new Set(rows.flatMap(({ group }) => group[thing] ?? []))
      for (const [id, name] of await names(tenantId, thing, [...ids])) known.set(id, name)
    }
    return ({ group }) =>
      dimensions.map((dimension) => {
        const value = group[dimension as Dimension] ?? '-'
        return known.get(value) ?? value
      })
  }

  async function statementLines(
    tenantId: string,
    rows: readonly CostsRow[],
  ): Promise<readonly StatementLine[]> {
    const ids = new Set(rows.flatMap(({ group }) => group.application ?? []))
    const known = await names(tenantId, 'application', [...ids])
    return rows.flatMap((row) => {
      const id = row.group.application ?? ''
      const [provider, model] = split(row.group.model ?? '')
      const application = { id, name: known.get(id) ?? id }
      return linesOf(row).map((line) => ({ application, provider, model, ...line }))
    })
  }

  return {
    calendar,
    windowAt,
    now,
    rangeBefore,
    changes,
    parseUsd,
    formatUsd,
    async spends(tenantId, range, groupBy) {
      const { rows } = await report({
        tenantId,
        ...range,
        timeZone: 'UTC',
        detail: true,
        groupBy: groupBy as readonly Dimension[],
      })
      const nameOf = await named(tenantId, rows, groupBy)
      return rows.map((row): GroupSpend => ({
        group: nameOf(row),
        requests: row.requests,
        cost: row.cost,
        lines: linesOf(row),
      }))
    },
    async budgets(tenantId) {
      const here = calendar(tenantId)
      const today = windowAt('day', here.timeZone, now())
      const { name, calendar: budgets } = tenantOf(tenantId)
      const month = windowAt('month', budgets, now())
      const from = Math.min(
        windowAt('day', here.timeZone, now() - MAX_DAYS * DAY_MS).start,
        month.start,
      )
      const asked = { tenantId, from, to: now() + 1, ...here }
      const tenant = { kind: 'tenant', id: tenantId, name }
      const soFar = { now: now(), today, calendar: budgets }
      const { rows: whole } = await report({ ...asked, groupBy: ['day'] })
      const scopes = await budgeted(tenantId)
      const hasOwn = scopes.some(
        ({ scope, budgets: own }) =>
          scope.kind === 'tenant' && own.some(({ window }) => window === 'month'),
      )
      const found = hasOwn ? [] : [budgetOf(tenant, { window: 'month' }, whole, soFar)]
      for (const { scope, budgets: own, filters } of scopes) {
        const { rows } = await report({ ...asked, groupBy: ['day'], filters })
        for (const budget of own) {
          const { window } = budget
          // One that never ends has no end to forecast.
          if (window === 'total') continue
          found.push(budgetOf(scope, { window, limit: capOf(budget, now()) }, rows, soFar))
        }
      }
      return found
    },
    async statement(tenantId, month) {
      const here = calendar(tenantId)
      const { name, currency, calendar: budgets } = tenantOf(tenantId)
      const first = String(budgets.monthStartsOn ?? 1).padStart(2, '0')
      const { start, end } = windowAt('month', budgets, Date.parse(`${month}-${first}T12:00Z`))
      const found = await report({
        tenantId,
        from: start,
        to: end,
        ...here,
        detail: true,
        order: 'group',
        groupBy: ['application', 'model'],
      })
      return {
        tenant: { id: tenantId, name },
        currency,
        month,
        start,
        end,
        timeZone: here.timeZone,
        asOf: now(),
        lines: await statementLines(tenantId, found.rows),
        total: found.total.cost,
        requests: found.total.requests,
        unpriced: found.total.unpriced,
        estimated: found.total.estimated,
      }
    },
    async usage(tenantId, provider, range) {
      const { rows } = await report({
        tenantId,
        ...range,
        timeZone: 'UTC',
        detail: true,
        groupBy: ['day', 'model', 'model_served'],
        filters: { provider: [provider] },
      })
      return rows.map(usageOf)
    },
  }
}

function usageOf(row: CostsRow): UsageRecord {
  const [, asked] = split(row.group.model ?? '')
  // Providers bill by the exact model that answered.
  const model = row.group.model_served ?? asked
  const day = row.group.day ?? ''
  return {
    id: `${day} ${model}`,
    day,
    model,
    requests: row.attempts,
    inputTokens: row.inputTokens,
    outputTokens: row.outputTokens,
    ...(row.usage !== undefined && { cachedTokens: row.usage.cacheRead }),
    ...(row.unpriced === 0 && { cost: row.cost }),
    ...(row.estimated > 0 && { estimated: true }),
  }
}

/** By type, what is not nothing; their costs add up to the row's. */
function linesOf(row: CostsRow): readonly SpendLine[] {
  const lines: SpendLine[] = []
  for (const type of Object.keys(TOKEN_TYPES) as TokenType[]) {
    const cost = row.costs?.[type] ?? 0n
    const quantity = quantityOf(row, type)
    if (cost !== 0n || quantity !== 0) lines.push({ type, quantity, cost })
  }
  return lines
}

function quantityOf(row: CostsRow, type: TokenType): number {
  const bucket = TOKEN_TYPES[type]
  if (bucket === undefined) return 0
  if (bucket === 'request') return row.costs?.request === 0n ? 0 : row.attempts
  return row.usage?.[bucket] ?? 0
}

interface SoFar {
  readonly now: number
  readonly today: { readonly start: number; readonly end: number }
  readonly calendar: BudgetCalendar
}

function budgetOf(
  scope: ForecastBudget['scope'],
  {
    window,
    limit,
  }: { readonly window: Exclude<Budget['window'], 'total'>; readonly limit?: NanoUsd },
  rows: CostsReport['rows'],
  { now, today, calendar }: SoFar,
): ForecastBudget {
  const { timeZone } = calendar
  const { start, end } = windowAt(window, calendar, now)
  const byDay = new Map<number, NanoUsd>()
  for (const row of rows) byDay.set(row.start, (byDay.get(row.start) ?? 0n) + row.cost)
  const spent = [...byDay].reduce((all, [at, cost]) => (at >= start ? all + cost : all), 0n)
  return {
    scope,
    window,
    end,
    input: {
      history: historyOf(byDay, today.start, timeZone),
      spent,
      todayWeekday: weekdayOf(today.start, timeZone),
      restOfToday: (today.end - now) / (today.end - today.start),
      comingWeekdays: daysBetween(today.end, end, timeZone).map((at) => weekdayOf(at, timeZone)),
      ...(limit !== undefined && { limit }),
    },
  }
}

/** Every day from the first with any spend to yesterday, those without as well. */
export function historyOf(
  byDay: ReadonlyMap<number, NanoUsd>,
  today: number,
  timeZone: string,
): readonly DaySpend[] {
  const first = [...byDay].reduce(
    (least, [at, cost]) => (cost === 0n ? least : Math.min(least, at)),
    today,
  )
  return daysBetween(windowAt('day', timeZone, first).start, today, timeZone).map((at) => ({
    day: new Date(at).toISOString().slice(0, 10),
    weekday: weekdayOf(at, timeZone),
    cost: byDay.get(at) ?? 0n,
  }))
}

export function daysBetween(from: number, to: number, timeZone: string): readonly number[] {
  const days: number[] = []
  for (let at = from; at < to; at = windowAt('day', timeZone, at).end) days.push(at)
  return days
}

const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']

export function weekdayOf(time: number, timeZone: string): number {
  const name = new Intl.DateTimeFormat('en', { timeZone, weekday: 'short' }).format(time)
  return WEEKDAYS.indexOf(name) + 1
}

function split(name: string): readonly [provider: string, model: string] {
  const at = name.indexOf('/')
  return [name.slice(0, at), name.slice(at + 1)]
}
