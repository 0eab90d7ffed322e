import { setImmediate } from 'node:timers/promises'
import { z } from 'zod'
import { GatewayError } from '#errors'
import type { NanoUsd, Usage } from '#protocol'
import type { Calendar } from '../store/periods.ts'
import type { Costs, CostsQuery, CostsReport, CostsRow, Cursor } from '../store/reports.ts'
import { readPageMark, writePageMark } from './page-mark.ts'
import { money, moment, type Principal, resource, usd } from './resource.ts'
import type { Resource } from './resource.ts'

/** Filters whose values are known beforehand, so that a value that is not is a mistake. */
const KNOWN = ['tenant', 'application', 'key', 'user', 'provider', 'model'] as const

export type KnownAttribute = (typeof KNOWN)[number]

/** What has a name beside its id. */
const NAMED = ['tenant', 'application', 'key', 'user'] as const

export type NamedAttribute = (typeof NAMED)[number]

/** All functions take a tenant, or `undefined` for all of them. */
export interface CostsDeps {
  readonly report: (query: CostsQuery) => Promise<CostsReport>
  /** What a report can be grouped by; those of `filters` can be filtered on as well. */
  readonly dimensions: readonly string[]
  readonly filters: readonly string[]
  /**
   * What the value of a filter stands for: ids, for the name of a key or an application. Empty
   * where the value is of nothing configured and of nothing in the ledger.
   */
  readonly meanings: (
    tenantId: string | undefined,
    attribute: KnownAttribute,
    value: string,
  ) => Promise<readonly string[]>
  /** Values that a mistyped one may have been meant to be. */
  readonly known: (
    tenantId: string | undefined,
    attribute: KnownAttribute,
  ) => Promise<readonly string[]>
  readonly nearest: (name: string, known: Iterable<string>) => string | undefined
  /** Names by id, also of what was revoked or archived. */
  readonly names: (
    tenantId: string | undefined,
    attribute: NamedAttribute,
    ids: readonly string[],
  ) => Promise<ReadonlyMap<string, string>>
  readonly calendar: (tenantId: string | undefined) => Required<Calendar>
  /** IANA name; for whoever has no calendar. */
  readonly timeZone: string
  /** The day or month a moment lies in, in Unix ms. */
  readonly windowAt: (
    kind: 'day' | 'month',
    timeZone: string,
    time: number,
  ) => { readonly start: number }
  readonly formatUsd: (nanos: NanoUsd) => string
  readonly now: () => number
}

const byType = z.record(z.string(), z.int())

const costs = z.strictObject({
  requests: z.int(),
  attempts: z.int(),
  input_tokens: z.int(),
  output_tokens: z.int(),
  cost: money,
  unpriced: z.int().meta({ description: 'Attempts without a price; their cost is not in `cost`' }),
  estimated: z.int().meta({ description: 'Entries whose usage is an estimate' }),
  tokens: byType
    .optional()
    .meta({ description: 'By type, with `include=tokens`; the types do not overlap' }),
  costs: z
    .record(z.string(), money)
    .optional()
    .meta({ description: 'By type, with `include=tokens`; they add up to `cost`' }),
})

const compared = {
  previous: costs.optional().meta({ description: 'Of the range before, with `compare=previous`' }),
  change: money.optional().meta({ description: '`cost` less that of the range before' }),
}

const report = z
  .strictObject({
    object: z.literal('costs.report'),
    from: moment,
    to: moment,
    time_zone: z.string(),
    as_of: moment,
    group_by: z.array(z.string()),
    rows: z.array(
      costs.extend({
        group: z.record(z.string(), z.string().nullable()),
        names: z.record(z.string(), z.string()),
        ...compared,
      }),
    ),
    total: costs.extend(compared),
    previous: z.strictObject({ from: moment, to: moment }).optional(),
    has_more: z.boolean(),
    next_page: z.string().nullable().meta({ description: 'For `page`' }),
  })
  .meta({ id: 'CostsReport' })

export const list = z.union([z.string(), z.array(z.string())]).transform((given) =>
  [given]
    .flat()
    .flatMap((text) => text.split(','))
    .filter((text) => text !== ''),
)

/** What a range of time, a zone and filters are named by, wherever costs are asked for. */
export const rangeQuery = {
  from: z
    .string()
    .optional()
    .meta({ description: 'RFC 3339 or a day, inclusive; default: start of the month' }),
  to: z
    .string()
    .optional()
    .meta({ description: 'RFC 3339, exclusive, or a day, inclusive; default: now' }),
  tz: z.string().optional().meta({ description: 'IANA zone in which days begin' }),
}

export function filterQuery(
  filters: readonly string[],
): Record<string, z.ZodOptional<typeof list>> {
  return Object.fromEntries(
    filters.map((name) => [
      name,
      list.optional().meta({ description: FILTERS[name] ?? `Only these values of ${name}` }),
    ]),
  )
}

const FILTERS: Readonly<Record<string, string>> = {
  key: 'Only these keys, by id or name; a name means every key that ever had it',
  application: 'Only these applications, by id or name',
  user: 'Only keys of these users, by id, name or address',
  model: 'Only these models, as provider/model or without the provider',
  model_asked: 'Only these models, as callers wrote them',
  tag: 'Only what has one of these tags',
}

export function costResources(deps: CostsDeps): readonly Resource[] {
  return [
    resource({
      method: 'get',
      path: '/admin/v1/costs/report',
      permission: 'costs.read',
      ownable: true,
      acrossTenants: true,
      summary: 'Requests, tokens and cost of a range, in any grouping',
      query: z.strictObject({
        ...rangeQuery,
        group_by: list.optional().meta({ description: `Any of ${deps.dimensions.join(', ')}` }),
        compare: z
          .literal('previous')
          .optional()
          .meta({ description: 'With the range before: the month before a month, and so on' }),
        include: z
          .literal('tokens')
          .optional()
          .meta({ description: 'Tokens and costs by type with every row' }),
        order: z
          .enum(['cost', 'group'])
          .default('cost')
          .meta({ description: 'Within a period: the dearest first, or by the group' }),
        limit: z.coerce.number().int().min(1).max(5000).optional().meta({
          description: 'Rows of a page; by default 1000 in JSON, and all in CSV',
        }),
        page: z.string().optional().meta({ description: '`next_page` of the page before' }),
        format: z.enum(['json', 'csv']).default('json'),
        ...filterQuery(deps.filters),
      }),
      response: report,
      async handle({ principal, query }) {
        const { from, to, tz, group_by, compare, include, order, limit, page, format, ...filters } =
          query as Asked
        const groupBy = readGroups(group_by ?? [], deps)
        const asked: CostsQuery = {
          ...(await readAsked({ from, to, tz }, filters, principal, deps)),
          groupBy: groupBy as CostsQuery['groupBy'],
          detail: include === 'tokens',
          compare: compare === 'previous',
          order,
          after: readPageMark(page),
        }
        const asOf = deps.now()
        if (format === 'csv') return csvOf(asked, limit, deps)
        const found = await deps.report({ ...asked, limit: limit ?? PAGE })
        const rows = await writeRows(found.rows, asked.tenantId, deps)
        const { previous, next, total } = found
        return {
          body: {
            object: 'costs.report',
            from: new Date(asked.from).toISOString(),
            to: new Date(asked.to).toISOString(),
            time_zone: asked.timeZone,
            as_of: new Date(asOf).toISOString(),
            group_by: [...groupBy],
            rows,
            total: {
              ...writeCosts(total, deps.formatUsd),
              ...writeChange(total, previous?.total, deps.formatUsd),
            },
            ...(previous && {
              previous: {
                from: new Date(previous.from).toISOString(),
                to: new Date(previous.to).toISOString(),
              },
            }),
            has_more: next !== undefined,
            next_page: next === undefined ? null : writePageMark(next),
          } satisfies z.input<typeof report>,
        }
      },
    }),
  ]
}

/** Rows of a page where the caller does not say: as many as are written in a few milliseconds. */
const PAGE = 1000

interface Asked extends Readonly<Partial<Record<keyof typeof rangeQuery, string>>> {
  readonly group_by?: readonly string[]
  readonly compare?: 'previous'
  readonly include?: 'tokens'
  readonly order: 'cost' | 'group'
  readonly limit?: number
  readonly page?: string
  readonly format: 'json' | 'csv'
}

function readGroups(groupBy: readonly string[], { dimensions }: CostsDeps): readonly string[] {
  const unknown = groupBy.find((name) => !dimensions.includes(name))
  if (unknown === undefined) return groupBy
  throw new GatewayError(
    'invalid_value',
    `"${unknown.slice(0, 50)}" is nothing to group by; there are ${dimensions.join(', ')}`,
    { param: 'group_by' },
  )
}

/**
 * The part of a query that every question about costs has: whose, when, and what of it.
 *
 * @throws GatewayError `invalid_value`, or `not_found` for a value of a filter that nothing has
 */
export async function readAsked(
  { from, to, tz }: Readonly<Partial<Record<keyof typeof rangeQuery, string | undefined>>>,
  filters: object,
  principal: Principal,
  deps: CostsDeps,
): Promise<Omit<CostsQuery, 'groupBy'>> {
  const tenantId = principal.allTenants ? undefined : principal.tenantId
  const calendar = deps.calendar(tenantId)
  const timeZone = tz ?? calendar.timeZone
  checkZone(timeZone)
  const now = deps.now()
  return {
    tenantId,
    from:
      from === undefined
        ? deps.windowAt('month', timeZone, now).start
        : readMoment('from', from, timeZone, 0, deps),
    to: to === undefined ? now + 1 : readMoment('to', to, timeZone, 1, deps),
    timeZone,
    weekStartsOn: calendar.weekStartsOn,
    filters: {
      ...(await readFilters(filters as Filters, tenantId, deps)),
      // Whoever may see only their own sees what their keys used.
      ...(principal.own && { user: [principal.userId ?? ''] }),
    },
  }
}

type Filters = Readonly<Record<string, readonly string[] | undefined>>

/** @throws GatewayError `not_found` for a value that nothing has: its sum would be 0, and wrong */
async function readFilters(
  given: Filters,
  tenantId: string | undefined,
  deps: CostsDeps,
): Promise<NonNullable<CostsQuery['filters']>> {
  const filters: Record<string, readonly string[]> = {}
  for (const [attribute, values] of Object.entries(given)) {
    if (values === undefined) continue
    const known = KNOWN.find((name) => name === attribute)
    filters[attribute] =
      known === undefined
        ? values
        : (
            await Promise.all(
              values.map(async (value) => {
                const meant = await deps.meanings(tenantId, known, value)
                if (meant.length === 0) throw await unknownValue(known, value, tenantId, deps)
                return meant
              }),
            )
          ).flat()
  }
  return filters
}

async function unknownValue(
  attribute: KnownAttribute,
  value: string,
  tenantId: string | undefined,
  { known, nearest }: CostsDeps,
): Promise<GatewayError> {
  const near = nearest(value, await known(tenantId, attribute))
  const hint =
    near !== undefined
      ? `; did you mean ${near}?`
      : attribute === 'model'
        ? ': model is provider/model, and model_asked what callers wrote'
        : ''
  // A secret that strayed into a filter is not for logs.
  const shown = value.startsWith('sk-') ? `${value.slice(0, 6)}...` : value.slice(0, 100)
  return new GatewayError('not_found', `There is no ${attribute} ${shown}${hint}`, {
    param: attribute,
  })
}

type WrittenRow = z.input<typeof report>['rows'][number]

async function writeRows(
  rows: readonly CostsRow[],
  tenantId: string | undefined,
  { names, formatUsd }: CostsDeps,
): Promise<WrittenRow[]> {
  const found = new Map<string, ReadonlyMap<string, string>>()
  for (const attribute of NAMED) {
    const ids = new Set(rows.map(({ group }) => group[attribute]).filter((id) => id != null))
    if (ids.size > 0) found.set(attribute, await names(tenantId, attribute, [...ids]))
  }
  return rows.map((row) => ({
    group: { ...row.group } as Record<string, string | null>,
    names: Object.fromEntries(
      NAMED.flatMap((attribute) => {
        const name = found.get(attribute)?.get(row.group[attribute] ?? '')
        return name === undefined ? [] : [[attribute, name]]
      }),
    ),
    ...writeCosts(row, formatUsd),
    ...writeChange(row, row.previous, formatUsd),
  }))
}

const TOKENS = {
  input: 'input',
  cache_read: 'cacheRead',
  cache_write_5m: 'cacheWrite5m',
  cache_write_1h: 'cacheWrite1h',
  input_audio: 'inputAudio',
  input_image: 'inputImage',
  output: 'output',
  reasoning: 'reasoning',
  output_audio: 'outputAudio',
  output_image: 'outputImage',
} as const satisfies Record<string, keyof Usage>

function writeCosts(row: Costs, formatUsd: CostsDeps['formatUsd']): z.input<typeof costs> {
  const { usage, costs: split } = row
  return {
    requests: row.requests,
    attempts: row.attempts,
    input_tokens: row.inputTokens,
    output_tokens: row.outputTokens,
    cost: usd(row.cost, formatUsd),
    unpriced: row.unpriced,
    estimated: row.estimated,
    ...(usage && {
      tokens: Object.fromEntries(
        Object.entries(TOKENS).map(([name, bucket]) => [name, usage[bucket]]),
      ),
    }),
    ...(split && {
      costs: Object.fromEntries(
        Object.entries(split).flatMap(([name, cost]) =>
          cost === 0n ? [] : [[name, usd(cost, formatUsd)]],
        ),
      ),
    }),
  }
}

function writeChange(
  { cost }: Costs,
  previous: Costs | undefined,
  formatUsd: CostsDeps['formatUsd'],
): Pick<WrittenRow, 'previous' | 'change'> {
  if (previous === undefined) return {}
  return {
    previous: writeCosts(previous, formatUsd),
    change: usd(cost - previous.cost, formatUsd),
  }
}

/** All of a report where no limit is given: page by page, so that nobody waits for it. */
async function csvOf(
  asked: CostsQuery,
  limit: number | undefined,
  deps: CostsDeps,
): Promise<{ readonly body: string; readonly type: string }> {
  const { groupBy } = asked
  // What is written meanwhile moves no row from one page to another.
  const query: CostsQuery = { ...asked, ...(limit === undefined && { order: 'group' }) }
  let text = csvLine(csvHead(query))
  let after: Cursor | undefined = query.after
  for (;;) {
    const { rows, next } = await deps.report({ ...query, after, limit: limit ?? PAGE })
    const written = await writeRows(rows, asked.tenantId, deps)
    for (const row of written) text += csvLine(csvRow(row, groupBy))
    if (next === undefined || limit !== undefined) break
    after = next
    await setImmediate()
  }
  return { body: text, type: 'text/csv; charset=utf-8' }
}

function isNamed(dimension: string): dimension is NamedAttribute {
  return (NAMED as readonly string[]).includes(dimension)
}

function csvHead({ groupBy, compare }: CostsQuery): readonly string[] {
  return [
    ...groupBy.flatMap((dimension) =>
      isNamed(dimension) ? [`${dimension}_id`, `${dimension}_name`] : [dimension],
    ),
    'requests',
    'attempts',
    'input_tokens',
    'output_tokens',
    'cost_usd',
    'unpriced',
    'estimated',
    ...(compare === true ? ['previous_cost_usd', 'change_usd'] : []),
  ]
}

function csvRow(row: WrittenRow, groupBy: readonly string[]): readonly (string | number)[] {
  return [
    ...groupBy.flatMap((dimension) => {
      const value = row.group[dimension] ?? ''
      return isNamed(dimension) ? [value, row.names[dimension] ?? ''] : [value]
    }),
    row.requests,
    row.attempts,
    row.input_tokens,
    row.output_tokens,
    row.cost.amount,
    row.unpriced,
    row.estimated,
    ...(row.previous && row.change ? [row.previous.cost.amount, row.change.amount] : []),
  ]
}

function csvLine(cells: readonly (string | number)[]): string {
  return `${cells.map(cell).join(',')}\r\n`
}

/** Money may begin with a minus, and is no formula. */
const AMOUNT = /^-?\d+(\.\d+)?$/

/** RFC 4180; a leading `=`, `+`, `-` or `@` would be run as a formula by spreadsheets. */
function cell(value: string | number): string {
  const text =
    typeof value === 'string' && /^[=+\-@\t\r]/.test(value) && !AMOUNT.test(value)
      ? `'${value}`
      : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

function checkZone(timeZone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone })
  } catch {
    throw new GatewayError(
      'invalid_value',
      `"${timeZone.slice(0, 50)}" is no IANA time zone, such as Europe/Warsaw`,
      { param: 'tz' },
    )
  }
}

/**
 * A moment, or a day of the zone.
 *
 * @param dayShift 1 where a bare day is meant to its end
 */
export function readMoment(
  param: string,
  text: string,
  timeZone: string,
  dayShift: 0 | 1,
  deps: Pick<CostsDeps, 'windowAt'>,
): number {
  if (/^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text))) {
    const day = new Date(Date.parse(text) + dayShift * 86_400_000).toISOString().slice(0, 10)
    return startOf(day, timeZone, deps)
  }
  const parsed = z.iso.datetime({ offset: true }).safeParse(text)
  if (parsed.success) return Date.parse(text)
  throw new GatewayError(
    'invalid_value',
    `${param} is no moment: write 2026-01-31 or 2026-01-31T12:00:00Z`,
    { param },
  )
}

function localDay(time: number, timeZone: string): string {
  return new Intl.DateTimeFormat('en-CA', { timeZone, dateStyle: 'short' }).format(time)
}

/** The first moment of a day in a zone, which is not always midnight. */
function startOf(day: string, timeZone: string, { windowAt }: Pick<CostsDeps, 'windowAt'>): number {
  let { start } = windowAt('day', timeZone, Date.parse(`${day}T12:00Z`))
  // Noon in UTC is another day in zones beyond half a day away.
  if (localDay(start, timeZone) > day) ({ start } = windowAt('day', timeZone, start - 1))
  return start
}
