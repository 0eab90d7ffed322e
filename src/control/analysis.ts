import { z } from 'zod'
import { GatewayError } from '#errors'
import type { NanoUsd } from '#protocol'
import { EFFECTS, explain } from '../reports/explain.ts'
import type { Effects, GroupSpend } from '../reports/explain.ts'
import { forecast } from '../reports/forecast.ts'
import type { Forecast, ForecastInput } from '../reports/forecast.ts'
import { CAUSES, reconcile } from '../reports/reconcile.ts'
import type { UsageRecord } from '../reports/reconcile.ts'
import { statementCsv, statementFocus } from '../reports/statement.ts'
import type { Statement } from '../reports/statement.ts'
import { readUsageExport } from '../reports/usage-export.ts'
import type { Calendar, Range } from '../store/periods.ts'
import { readMoment } from './costs.ts'
import type { CostsDeps } from './costs.ts'
import { money, moment, resource, usd } from './resource.ts'
import type { Resource } from './resource.ts'

/** A change of the configuration, as the audit has it. */
export interface ConfigurationChange {
  /** Unix ms. */
  readonly at: number
  readonly actor: string
  readonly action: string
  readonly id: string
}

/** A budget with what is spent of it, and what a forecast of it rests on. */
export interface ForecastBudget {
  readonly scope: { readonly kind: string; readonly id: string; readonly name: string }
  readonly window: string
  /** Unix ms; absent: it never ends, and so there is nothing to forecast. */
  readonly end?: number
  readonly input: ForecastInput
}

export interface AnalysisDeps extends Pick<CostsDeps, 'calendar' | 'windowAt' | 'now'> {
  /** What a range is compared with where nothing is said. */
  readonly rangeBefore: (range: Range, calendar: Calendar) => Range
  /** @param groupBy any of {@link GROUPINGS} */
  readonly spends: (
    tenantId: string,
    range: Range,
    groupBy: readonly string[],
  ) => Promise<readonly GroupSpend[]>
  /** The newest first, at most so many. */
  readonly changes: (
    tenantId: string,
    range: Range,
    limit: number,
  ) => Promise<readonly ConfigurationChange[]>
  /** The tenant's month first, then every budget that has a window. */
  readonly budgets: (tenantId: string) => Promise<readonly ForecastBudget[]>
  /** @param month `2026-11`; of the tenant's calendar */
  readonly statement: (tenantId: string, month: string) => Promise<Statement>
  /** What the ledger has for a provider, by UTC day or by the provider's request id. */
  readonly usage: (
    tenantId: string,
    provider: string,
    range: Range,
    by: 'request' | 'day',
  ) => Promise<readonly UsageRecord[]>
  readonly parseUsd: (text: string) => NanoUsd
  readonly formatUsd: (nanos: NanoUsd) => string
}

/** What an explanation can be grouped by. */
export const GROUPINGS = [
  'application',
  'key',
  'provider',
  'model',
  'model_asked',
  'endpoint',
] as const

const MAX_CHANGES = 50
const DAY_MS = 86_400_000

const effects = z.strictObject({
  volume: money,
  mix: money,
  size: money,
  composition: money,
  price: money,
})

const explanation = z
  .strictObject({
    object: z.literal('costs.explanation'),
    period: z.strictObject({ from: moment, to: moment }),
    compared_with: z.strictObject({ from: moment, to: moment }),
    group_by: z.array(z.string()),
    before: money,
    after: money,
    change: money,
    effects: effects.meta({ description: 'Add up to `change` exactly' }),
    groups: z.array(
      z.strictObject({
        group: z.array(z.string()),
        before: money,
        after: money,
        change: money,
        effects,
      }),
    ),
    configuration_changes: z.array(
      z.strictObject({ at: moment, actor: z.string(), action: z.string(), id: z.string() }),
    ),
  })
  .meta({ id: 'CostsExplanation' })

const forecasts = z
  .strictObject({
    object: z.literal('costs.forecast'),
    as_of: moment,
    budgets: z.array(
      z.strictObject({
        scope: z.strictObject({ kind: z.string(), id: z.string(), name: z.string() }),
        window: z.string(),
        ends_at: moment.nullable(),
        spent: money,
        limit: money.nullable(),
        expected: money,
        low: money.meta({ description: 'Eight times of ten the end lies between low and high' }),
        high: money,
        chance_to_exceed: z.number().nullable(),
        exceeded_at: moment
          .nullable()
          .meta({ description: 'When the limit is expected to be passed' }),
        based_on_days: z.int(),
      }),
    ),
  })
  .meta({ id: 'CostsForecast' })

const record = z.strictObject({
  requests: z.int(),
  input_tokens: z.int(),
  output_tokens: z.int(),
  cached_tokens: z.int().nullable(),
  cost: money.nullable(),
})

const reconciliation = z
  .strictObject({
    object: z.literal('costs.reconciliation'),
    provider: z.string(),
    from: moment,
    to: moment,
    by: z.enum(['request', 'day']),
    matched: z.int(),
    by_cause: z.partialRecord(z.enum(CAUSES), z.int()),
    ledger_cost: money,
    provider_cost: money,
    differences: z.array(
      z.strictObject({
        id: z.string(),
        model: z.string(),
        causes: z.array(z.enum(CAUSES)),
        cost_difference: money.nullable(),
        ledger: record.nullable(),
        provider: record.nullable(),
      }),
    ),
  })
  .meta({ id: 'CostsReconciliation' })

/** What is made of the ledger's sums: why they changed, where they go, what is owed, who agrees. */
export function analysisResources(deps: AnalysisDeps): readonly Resource[] {
  const show = (nanos: NanoUsd) => usd(nanos, deps.formatUsd)

  return [
    resource({
      method: 'get',
      path: '/admin/v1/costs/explain',
      permission: 'costs.read',
      summary: 'Why the cost of a period is not that of another, in effects that add up exactly',
      query: z.strictObject({
        from: z.string().optional().meta({ description: 'Default: start of the month' }),
        to: z.string().optional().meta({ description: 'Default: now' }),
        before_from: z
          .string()
          .optional()
          .meta({ description: 'Default: as many months, days or hours before' }),
        before_to: z.string().optional(),
        tz: z.string().optional(),
        group_by: z
          .string()
          .default('application,model')
          .meta({ description: `Comma-separated: ${GROUPINGS.join(', ')}` }),
      }),
      response: explanation,
      async handle({ principal: { tenantId }, query }) {
        const now = deps.now()
        const calendar = deps.calendar(tenantId)
        const timeZone = query.tz ?? calendar.timeZone
        const read = (name: string, text: string | undefined, otherwise: number, end: 0 | 1) =>
          text === undefined ? otherwise : readMoment(name, text, timeZone, end, deps)
        const from = read('from', query.from, deps.windowAt('month', timeZone, now).start, 0)
        const period = { from, to: read('to', query.to, now + 1, 1) }
        const usual = deps.rangeBefore(period, { ...calendar, timeZone })
        const before = {
          from: read('before_from', query.before_from, usual.from, 0),
          to: read('before_to', query.before_to, usual.to, 1),
        }
        for (const { from: start, to: end } of [period, before]) {
          if (start >= end) throw invalid('A period ends before it begins', 'to')
        }
        const groupBy = readGroups(query.group_by)
        const [old, now_, changes] = await Promise.all([
          deps.spends(tenantId, before, groupBy),
          deps.spends(tenantId, period, groupBy),
          deps.changes(tenantId, { from: before.from, to: period.to }, MAX_CHANGES),
        ])
        const explained = explain(old, now_)
        return {
          body: {
            object: 'costs.explanation',
            period: writeRange(period),
            compared_with: writeRange(before),
            group_by: [...groupBy],
            ...writeChange(explained, show),
            groups: explained.groups.map((group) => ({
              group: [...group.group],
              ...writeChange(group, show),
            })),
            configuration_changes: changes.map(({ at, ...change }) => ({
              at: new Date(at).toISOString(),
              ...change,
            })),
          } satisfies z.input<typeof explanation>,
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/costs/forecast',
      permission: 'costs.read',
      summary: 'Where the month and every budget will end, with an interval',
      response: forecasts,
      async handle({ principal }) {
        const now = deps.now()
        const budgets = await deps.budgets(principal.tenantId)
        return {
          body: {
            object: 'costs.forecast',
            as_of: new Date(now).toISOString(),
            budgets: budgets.map(({ scope, window, end, input }) => ({
              scope: { ...scope },
              window,
              ends_at: end === undefined ? null : new Date(end).toISOString(),
              spent: show(input.spent),
              limit: input.limit === undefined ? null : show(input.limit),
              ...writeForecast(forecast(input), now, show),
            })),
          } satisfies z.input<typeof forecasts>,
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/costs/statements/{month}',
      permission: 'costs.read',
      summary:
        'What the tenant owes for the month that begins in this one on the day its months begin, as JSON, CSV or FOCUS 1.2',
      params: z.strictObject({
        month: z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/, 'expected a month such as 2026-11'),
      }),
      query: z.strictObject({ format: z.enum(['json', 'csv', 'focus']).default('json') }),
      async handle({ principal, params, query }) {
        const statement = await deps.statement(principal.tenantId, params.month)
        if (query.format !== 'json') {
          const write = query.format === 'csv' ? statementCsv : statementFocus
          return { body: write(statement, deps.formatUsd), type: 'text/csv; charset=utf-8' }
        }
        return { body: writeStatement(statement, show) }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/costs/reconcile',
      permission: 'costs.read',
      readOnly: true,
      summary: "Hold a provider's usage export beside the ledger",
      body: z.strictObject({
        provider: z.string().min(1).max(100),
        export: z.string().min(1).meta({
          description: "The export's text: CSV or JSON, by day and model or by request",
        }),
      }),
      response: reconciliation,
      async handle({ principal, body }) {
        const { by, records } = readUsageExport(body.export, deps.parseUsd)
        const days = records.map(({ day }) => Date.parse(day))
        const least = days.reduce((a, b) => Math.min(a, b))
        const most = days.reduce((a, b) => Math.max(a, b))
        const range = { from: least, to: most + DAY_MS }
        const ledger = await deps.usage(principal.tenantId, body.provider, range, by)
        const found = reconcile(ledger, records, by)
        return {
          body: {
            object: 'costs.reconciliation',
            provider: body.provider,
            ...writeRange(range),
            by,
            matched: found.matched,
            by_cause: { ...found.byCause },
            ledger_cost: show(found.ledgerCost),
            provider_cost: show(found.providerCost),
            differences: found.differences.map((one) => ({
              id: one.id,
              model: one.model,
              causes: [...one.causes],
              cost_difference: one.costDifference === undefined ? null : show(one.costDifference),
              ledger: one.ledger === undefined ? null : writeRecord(one.ledger, show),
              provider: one.provider === undefined ? null : writeRecord(one.provider, show),
            })),
          } satisfies z.input<typeof reconciliation>,
        }
      },
    }),
  ]
}

type Show = (nanos: NanoUsd) => z.input<typeof money>

function readGroups(text: string): readonly string[] {
  const groups = [...new Set(text.split(',').map((word) => word.trim()))]
  const unknown = groups.find((name) => !(GROUPINGS as readonly string[]).includes(name))
  if (unknown !== undefined) {
    throw invalid(
      `"${unknown.slice(0, 50)}" is nothing to group by; there are ${GROUPINGS.join(', ')}`,
      'group_by',
    )
  }
  return groups
}

function writeRange({ from, to }: Range) {
  return { from: new Date(from).toISOString(), to: new Date(to).toISOString() }
}

function writeChange(
  change: { readonly before: NanoUsd; readonly after: NanoUsd; readonly effects: Effects },
  show: Show,
) {
  const { before, after } = change
  return {
    before: show(before),
    after: show(after),
    change: show(after - before),
    effects: Object.fromEntries(
      EFFECTS.map((effect) => [effect, show(change.effects[effect])]),
    ) as z.input<typeof effects>,
  }
}

function writeForecast(made: Forecast, now: number, show: Show) {
  const { daysUntilLimit } = made
  return {
    expected: show(made.expected),
    low: show(made.low),
    high: show(made.high),
    chance_to_exceed:
      made.chanceToExceed === undefined ? null : Math.round(made.chanceToExceed * 1000) / 1000,
    exceeded_at:
      daysUntilLimit === undefined
        ? null
        : new Date(now + Math.round(daysUntilLimit * DAY_MS)).toISOString(),
    based_on_days: made.basedOnDays,
  }
}

function writeStatement(statement: Statement, show: Show) {
  return {
    object: 'costs.statement',
    tenant: { ...statement.tenant },
    currency: statement.currency,
    month: statement.month,
    ...writeRange({ from: statement.start, to: statement.end }),
    time_zone: statement.timeZone,
    as_of: new Date(statement.asOf).toISOString(),
    lines: statement.lines.map((line) => ({
      application: { ...line.application },
      provider: line.provider,
      model: line.model,
      type: line.type,
      quantity: line.quantity,
      cost: show(line.cost),
    })),
    requests: statement.requests,
    unpriced: statement.unpriced,
    estimated: statement.estimated,
    total: show(statement.total),
  }
}

function writeRecord(one: UsageRecord, show: Show): z.input<typeof record> {
  return {
    requests: one.requests,
    input_tokens: one.inputTokens,
    output_tokens: one.outputTokens,
    cached_tokens: one.cachedTokens ?? null,
    cost: one.cost === undefined ? null : show(one.cost),
  }
}

function invalid(message: string, param: string): GatewayError {
  return new GatewayError('invalid_value', message, { param })
}
