import { z } from 'zod'
import { GatewayError } from '#errors'
import { inputTokens, outputTokens } from '#protocol'
import type { NanoUsd, Usage } from '#protocol'
import { money, moment, resource, usd } from './resource.ts'
import type { Resource } from './resource.ts'

export interface CostsQuery {
  readonly tenantId: string
  readonly from: number
  readonly to: number
  readonly timeZone: string
  readonly groupBy: readonly string[]
  readonly filters: Readonly<Record<string, readonly string[]>>
}

/** Filters whose values are known beforehand, so that a value that is not is a mistake. */
const NAMED = ['key', 'application', 'provider', 'model'] as const

export type NamedAttribute = (typeof NAMED)[number]

export interface Costs {
  readonly requests: number
  readonly attempts: number
  readonly usage: Usage
  readonly cost: NanoUsd
  readonly unpriced: number
  readonly estimated: number
}

export interface CostsDeps {
  readonly report: (query: CostsQuery) => Promise<{
    readonly rows: readonly (Costs & { readonly group: Readonly<Record<string, string | null>> })[]
    readonly total: Costs
  }>
  /** What a report can be grouped by; those of `attributes` can be filtered on as well. */
  readonly dimensions: readonly string[]
  readonly attributes: readonly string[]
  /**
   * What the value of a filter stands for: ids, for the name of a key or an application. Empty
   * where the value is of nothing configured and of nothing in the ledger.
   */
  readonly meanings: (
    tenantId: string,
    attribute: NamedAttribute,
    value: string,
  ) => Promise<readonly string[]>
  /** Values that a mistyped one may have been meant to be. */
  readonly known: (tenantId: string, attribute: NamedAttribute) => Promise<readonly string[]>
  readonly nearest: (name: string, known: Iterable<string>) => string | undefined
  /** Names for keys and applications, deleted ones too, by id. */
  readonly names: (tenantId: string, ids: readonly string[]) => Promise<ReadonlyMap<string, string>>
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

const costs = z.strictObject({
  requests: z.int(),
  attempts: z.int(),
  input_tokens: z.int(),
  output_tokens: z.int(),
  tokens: z
    .record(z.string(), z.int())
    .meta({ description: 'By bucket; the buckets do not overlap' }),
  cost: money,
  unpriced: z.int().meta({ description: 'Entries without a price; their cost is not in `cost`' }),
  estimated: z.int().meta({ description: 'Entries whose usage is an estimate' }),
})

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
      }),
    ),
    total: costs,
  })
  .meta({ id: 'CostsReport' })

const list = z.union([z.string(), z.array(z.string())]).transform((given) =>
  [given]
    .flat()
    .flatMap((text) => text.split(','))
    .filter((text) => text !== ''),
)

export function costResources(deps: CostsDeps): readonly Resource[] {
  const filters = Object.fromEntries(
    deps.attributes.map((name) => [
      name,
      list.optional().meta({ description: FILTERS[name] ?? `Only these values of ${name}` }),
    ]),
  )
  return [
    resource({
      method: 'get',
      path: '/admin/v1/costs/report',
      permission: 'costs.read',
      summary: 'Requests, tokens and cost of a range, in any grouping',
      query: z.strictObject({
        from: z
          .string()
          .optional()
          .meta({ description: 'RFC 3339 or a day, inclusive; default: start of the month' }),
        to: z
          .string()
          .optional()
          .meta({ description: 'RFC 3339, exclusive, or a day, inclusive; default: now' }),
        tz: z.string().optional().meta({ description: 'IANA zone in which days begin' }),
        group_by: list.optional().meta({ description: `Any of ${deps.dimensions.join(', ')}` }),
        format: z.enum(['json', 'csv']).default('json'),
        ...filters,
      }),
      response: report,
      async handle({ principal, query }) {
        const { from, to, tz, group_by, format, ...rest } = query as {
          readonly [name: string]: unknown
        } & {
          from?: string
          to?: string
          tz?: string
          group_by?: string[]
          format: 'json' | 'csv'
        }
        const timeZone = tz ?? deps.timeZone
        const groupBy = group_by ?? []
        const unknown = groupBy.find((name) => !deps.dimensions.includes(name))
        if (unknown !== undefined) {
          throw new GatewayError(
            'invalid_value',
            `"${unknown.slice(0, 50)}" is nothing to group by; there are ${deps.dimensions.join(', ')}`,
            { param: 'group_by' },
          )
        }
        checkZone(timeZone)
        const now = deps.now()
        const asked: CostsQuery = {
          tenantId: principal.tenantId,
          from:
            from === undefined
              ? deps.windowAt('month', timeZone, now).start
              : readMoment('from', from, timeZone, 0, deps),
          to: to === undefined ? now + 1 : readMoment('to', to, timeZone, 1, deps),
          timeZone,
          groupBy,
          filters: await readFilters(rest as CostsQuery['filters'], principal.tenantId, deps),
        }
        const { rows, total } = await deps.report(asked)
        const ids = rows
          .flatMap(({ group }) => [group.key, group.application])
          .filter((id) => typeof id === 'string')
        const names = await deps.names(principal.tenantId, [...new Set(ids)])
        const written = rows.map((row) => ({
          group: { ...row.group },
          names: namesOf(row.group, names),
          ...writeCosts(row, deps.formatUsd),
        }))
        if (format === 'csv') {
          return { body: writeCsv(groupBy, written), type: 'text/csv; charset=utf-8' }
        }
        return {
          body: {
            object: 'costs.report',
            from: new Date(asked.from).toISOString(),
            to: new Date(asked.to).toISOString(),
            time_zone: timeZone,
            as_of: new Date(now).toISOString(),
            group_by: groupBy,
            rows: written,
            total: writeCosts(total, deps.formatUsd),
          } satisfies z.input<typeof report>,
        }
      },
    }),
  ]
}

const FILTERS: Readonly<Record<string, string>> = {
  key: 'Only these keys, by id or name; a name means every key that ever had it',
  application: 'Only these applications, by id or name',
  model: 'Only these models, as provider/model or without the provider',
  model_asked: 'Only these models, as callers wrote them',
}

/** @throws GatewayError `not_found` for a value that nothing has: its sum would be 0, and wrong */
async function readFilters(
  given: Readonly<Record<string, readonly string[] | undefined>>,
  tenantId: string,
  deps: CostsDeps,
): Promise<CostsQuery['filters']> {
  const filters: Record<string, readonly string[]> = {}
  for (const [attribute, values] of Object.entries(given)) {
    if (values === undefined) continue
    const named = NAMED.find((name) => name === attribute)
    filters[attribute] =
      named === undefined
        ? values
        : (
            await Promise.all(
              values.map(async (value) => {
                const meant = await deps.meanings(tenantId, named, value)
                if (meant.length === 0) throw await unknownValue(named, value, tenantId, deps)
                return meant
              }),
            )
          ).flat()
  }
  return filters
}

async function unknownValue(
  attribute: NamedAttribute,
  value: string,
  tenantId: string,
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

/** Columns in which a name stands beside its id. */
const WITH_NAMES: readonly string[] = ['key', 'application']

function namesOf(
  group: Readonly<Record<string, string | null>>,
  names: ReadonlyMap<string, string>,
): Record<string, string> {
  const found: Record<string, string> = {}
  for (const dimension of WITH_NAMES) {
    const name = names.get(group[dimension] ?? '')
    if (name !== undefined) found[dimension] = name
  }
  return found
}

const BUCKETS = {
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
  return {
    requests: row.requests,
    attempts: row.attempts,
    input_tokens: inputTokens(row.usage),
    output_tokens: outputTokens(row.usage),
    tokens: Object.fromEntries(
      Object.entries(BUCKETS).map(([name, bucket]) => [name, row.usage[bucket]]),
    ),
    cost: usd(row.cost, formatUsd),
    unpriced: row.unpriced,
    estimated: row.estimated,
  }
}

type WrittenRow = z.input<typeof costs> & {
  readonly group: Readonly<Record<string, string | null>>
  readonly names: Readonly<Record<string, string>>
}

function writeCsv(groupBy: readonly string[], rows: readonly WrittenRow[]): string {
  const head = [
    ...groupBy.flatMap((dimension) =>
      WITH_NAMES.includes(dimension) ? [`${dimension}_id`, `${dimension}_name`] : [dimension],
    ),
    'requests',
    'attempts',
    'input_tokens',
    'output_tokens',
    'cost_usd',
    'unpriced',
    'estimated',
  ]
  const lines = rows.map((row) => [
    ...groupBy.flatMap((dimension) => {
      const value = row.group[dimension] ?? ''
      return WITH_NAMES.includes(dimension) ? [value, row.names[dimension] ?? ''] : [value]
    }),
    row.requests,
    row.attempts,
    row.input_tokens,
    row.output_tokens,
    row.cost.amount,
    row.unpriced,
    row.estimated,
  ])
  return [head, ...lines].map((line) => `${line.map(cell).join(',')}\r\n`).join('')
}

/** RFC 4180; a leading `=`, `+`, `-` or `@` would be run as a formula by spreadsheets. */
function cell(value: string | number): string {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value)
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
 * @throws GatewayError `invalid_value`
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
