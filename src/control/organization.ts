import { z } from 'zod'
import { GatewayError } from '#errors'
import { addUsage, inputTokens, NO_USAGE, outputTokens, type Usage } from '#protocol'
import type { Costs, CostsQuery, CostsRow } from '../store/reports.ts'
import { type CostsDeps, list } from './costs.ts'
import { type Principal, resource } from './resource.ts'
import type { Resource } from './resource.ts'

/**
 * Costs and usage in the shape of OpenAI's admin API, for the stock SDK and whatever else reads
 * that: applications are its projects. The numbers are those of our own reports.
 * https://platform.openai.com/docs/api-reference/usage
 */
export type OrganizationDeps = Pick<CostsDeps, 'report' | 'formatUsd' | 'now'>

type UsageKind = 'completions' | 'embeddings' | 'moderations' | 'images'

/** What a path is for; others are completions. */
const KINDS: Readonly<Record<string, UsageKind>> = {
  '/v1/embeddings': 'embeddings',
  '/v1/moderations': 'moderations',
  '/v1/images/generations': 'images',
  '/v1/images/edits': 'images',
}

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** How many buckets a page has, by default and at most. */
const WIDTHS = {
  '1m': { ms: MINUTE_MS, limit: 60, most: 1440 },
  '1h': { ms: HOUR_MS, limit: 24, most: 168 },
  '1d': { ms: DAY_MS, limit: 7, most: 31 },
} as const

type Width = keyof typeof WIDTHS

const seconds = z.coerce.number().int().min(0)

/** Lists come as `name[]=a&name[]=b` from the SDK, and as `name=a,b` or `name=a&name=b` by hand. */
function lists(names: readonly string[]): Record<string, z.ZodOptional<typeof list>> {
  return Object.fromEntries(
    names.flatMap((name) => [name, `${name}[]`]).map((name) => [name, list.optional()]),
  )
}

function query(widths: readonly [Width, ...Width[]], names: readonly string[]) {
  return z.strictObject({
    start_time: seconds.meta({ description: 'Unix seconds, inclusive' }),
    end_time: seconds.optional().meta({ description: 'Unix seconds, exclusive; default: now' }),
    bucket_width: z.enum(widths).default('1d'),
    limit: z.coerce.number().int().min(1).max(1440).optional().meta({
      description: 'Buckets of a page',
    }),
    page: z.string().optional().meta({ description: '`next_page` of the page before' }),
    ...lists(['group_by', 'project_ids', 'api_key_ids', ...names]),
  })
}

const page = z
  .strictObject({
    object: z.literal('page'),
    data: z.array(
      z.strictObject({
        object: z.literal('bucket'),
        start_time: z.int(),
        end_time: z.int(),
        results: z.array(z.record(z.string(), z.unknown())),
      }),
    ),
    has_more: z.boolean(),
    next_page: z.string().nullable(),
  })
  .meta({ id: 'UsagePage' })

/** What OpenAI groups by, in our words; `null` where we have but one group. */
const GROUPS = {
  project_id: 'application',
  user_id: 'user',
  api_key_id: 'key',
  model: 'model',
  batch: null,
  service_tier: null,
} as const

type Group = keyof typeof GROUPS

export function organizationResources(deps: OrganizationDeps): readonly Resource[] {
  return [
    resource({
      method: 'get',
      path: '/v1/organization/costs',
      permission: 'costs.read',
      ownable: true,
      acrossTenants: true,
      summary: "Costs by day, in the shape of OpenAI's admin API",
      query: query(['1d'], ['user_ids', 'line_items']),
      response: page,
      async handle({ principal, query: given }) {
        const asked = readAsked(given, principal, deps, 180)
        const byItem = asked.groups.includes('line_item')
        const items = asked.list('line_items')
        const groupBy = [
          ...ours(asked.groups, ['project_id', 'user_id', 'api_key_id'], ['line_item']),
          ...(byItem || items !== undefined ? (['model', 'token_type'] as const) : []),
        ]
        const { rows } = await deps.report({ ...asked.query, groupBy, detail: byItem })
        const kept = rows.filter(
          (row) =>
            (items === undefined || items.includes(lineItem(row))) &&
            // Every request is one, and mostly nothing is billed for that.
            !(byItem && row.group.token_type === 'request' && row.cost === 0n),
        )
        return asked.answer(kept, (row) => ({
          object: 'organization.costs.result',
          // The digits as they are: `JSON.parse` makes a double of them, which has them all.
          amount: { value: exact(deps.formatUsd(row.cost)), currency: 'usd' },
          line_item: byItem ? lineItem(row) : null,
          ...ids(row, asked.groups),
          quantity: byItem ? quantityOf(row) : null,
          quantity_unit: byItem && isTokens(row) ? 'tokens' : null,
        }))
      },
    }),
    ...(['completions', 'embeddings', 'moderations', 'images'] as const).map((kind) =>
      usage(kind, kind, deps, (total) => USAGE[kind](total)),
    ),
    usage('web_search_calls', undefined, deps, ({ usage: { webSearches } }) =>
      webSearches === 0
        ? undefined
        : {
            object: 'organization.usage.web_searches.result',
            num_model_requests: webSearches,
            num_requests: webSearches,
          },
    ),
    // Nothing that these count is served.
    ...[
      'audio_speeches',
      'audio_transcriptions',
      'vector_stores',
      'code_interpreter_sessions',
      'file_search_calls',
    ].map((name) => usage(name, undefined, deps, () => undefined)),
  ]
}

interface Total {
  readonly requests: number
  readonly usage: Usage
}

const USAGE: Readonly<Record<UsageKind, (total: Total) => Record<string, unknown>>> = {
  completions: ({ requests, usage: used }) => ({
    object: 'organization.usage.completions.result',
    input_tokens: inputTokens(used),
    input_cached_tokens: used.cacheRead,
    input_cache_write_tokens: used.cacheWrite5m + used.cacheWrite1h,
    input_uncached_tokens: used.input + used.inputAudio + used.inputImage,
    input_text_tokens: used.input,
    input_audio_tokens: used.inputAudio,
    input_image_tokens: used.inputImage,
    output_tokens: outputTokens(used),
    output_text_tokens: used.output + used.reasoning,
    output_audio_tokens: used.outputAudio,
    output_image_tokens: used.outputImage,
    num_model_requests: requests,
  }),
  embeddings: ({ requests, usage: used }) => ({
    object: 'organization.usage.embeddings.result',
    input_tokens: inputTokens(used),
    num_model_requests: requests,
  }),
  moderations: ({ requests, usage: used }) => ({
    object: 'organization.usage.moderations.result',
    input_tokens: inputTokens(used),
    num_model_requests: requests,
  }),
  images: ({ requests }) => ({
    object: 'organization.usage.images.result',
    images: requests,
    num_model_requests: requests,
  }),
}

/** @param kind absent: of whatever endpoint */
function usage(
  name: string,
  kind: UsageKind | undefined,
  deps: OrganizationDeps,
  write: (total: Total) => Record<string, unknown> | undefined,
): Resource {
  return resource({
    method: 'get',
    path: `/v1/organization/usage/${name}`,
    permission: 'costs.read',
    ownable: true,
    acrossTenants: true,
    summary: `Usage of ${name.replaceAll('_', ' ')}, in the shape of OpenAI's admin API`,
    query: query(['1m', '1h', '1d'], ['user_ids', 'models']).extend({
      batch: z.enum(['true', 'false']).optional(),
    }),
    response: page,
    async handle({ principal, query: given }) {
      const asked = readAsked(given, principal, deps)
      const groupBy = ours(asked.groups, Object.keys(GROUPS) as Group[])
      // There are no batches yet.
      const { rows } =
        (given as { batch?: string }).batch === 'true'
          ? { rows: [] }
          : await deps.report({ ...asked.query, groupBy: [...groupBy, 'endpoint'], detail: true })
      const own = rows.filter(
        ({ group }) =>
          kind === undefined || (KINDS[group.endpoint ?? ''] ?? 'completions') === kind,
      )
      return asked.answer(merged(own, groupBy), (row) => {
        const written = write({ requests: row.attempts, usage: row.usage ?? NO_USAGE })
        return written && { ...written, ...ids(row, asked.groups) }
      })
    },
  })
}

interface AskedPage {
  readonly groups: readonly string[]
  readonly query: Omit<CostsQuery, 'groupBy'>
  readonly list: (name: string) => readonly string[] | undefined
  readonly answer: (
    rows: readonly CostsRow[],
    write: (row: CostsRow) => Record<string, unknown> | undefined,
  ) => { readonly body: z.input<typeof page> }
}

/** What every question of this API has. */
function readAsked(
  given: object,
  principal: Principal,
  deps: OrganizationDeps,
  mostBuckets?: number,
): AskedPage {
  const asked = given as Readonly<Record<string, readonly string[] | undefined>> & {
    readonly start_time: number
    readonly end_time?: number
    readonly bucket_width: Width
    readonly limit?: number
    readonly page?: string
  }
  const named = (name: string): readonly string[] | undefined => {
    const values = [...(asked[name] ?? []), ...(asked[`${name}[]`] ?? [])]
    return values.length === 0 ? undefined : values
  }
  const { ms, limit: usual, most } = WIDTHS[asked.bucket_width]
  const limit = Math.min(asked.limit ?? usual, mostBuckets ?? most)
  const end = asked.end_time === undefined ? deps.now() + 1 : asked.end_time * 1000
  const start = asked.page === undefined ? asked.start_time * 1000 : readPage(asked.page)
  if (asked.end_time !== undefined && asked.end_time < asked.start_time) {
    throw new GatewayError('invalid_value', 'end_time is before start_time', { param: 'end_time' })
  }
  const buckets: { readonly start: number; readonly end: number }[] = []
  for (let at = start; at < end && buckets.length < limit;) {
    const next = Math.min(end, (Math.floor(at / ms) + 1) * ms)
    buckets.push({ start: at, end: next })
    at = next
  }
  const to = buckets.at(-1)?.end ?? start
  const filters = {
    ...filterOf('application', named('project_ids')),
    ...filterOf('key', named('api_key_ids')),
    ...filterOf('user', named('user_ids')),
    ...filterOf('model', named('models')),
    ...(principal.own && { user: [principal.userId ?? ''] }),
  }
  return {
    groups: named('group_by') ?? [],
    list: named,
    query: {
      tenantId: principal.allTenants ? undefined : principal.tenantId,
      from: Math.min(start, to),
      to,
      timeZone: 'UTC',
      bucketMs: ms,
      order: 'group',
      filters,
    },
    answer(rows, write) {
      const results = Map.groupBy(rows, (row) => row.start)
      return {
        body: {
          object: 'page',
          data: buckets.map((bucket) => ({
            object: 'bucket' as const,
            start_time: Math.floor(bucket.start / 1000),
            end_time: Math.ceil(bucket.end / 1000),
            results: (results.get(bucket.start) ?? []).flatMap((row) => {
              const written = write(row)
              return written === undefined ? [] : [written]
            }),
          })),
          has_more: to < end,
          next_page: to < end ? `page_${Buffer.from(String(to)).toString('base64url')}` : null,
        },
      }
    },
  }
}

function filterOf(
  name: 'application' | 'key' | 'user' | 'model',
  values: readonly string[] | undefined,
): CostsQuery['filters'] {
  return values === undefined ? {} : { [name]: values }
}

function readPage(text: string): number {
  const start = Number(Buffer.from(text.replace(/^page_/, ''), 'base64url').toString())
  if (text.startsWith('page_') && Number.isSafeInteger(start)) return start
  throw new GatewayError('invalid_value', 'page is none that was given out', { param: 'page' })
}

/** @param apart known, and grouped by elsewhere */
function ours(
  groups: readonly string[],
  known: readonly Group[],
  apart: readonly string[] = [],
): ('application' | 'user' | 'key' | 'model')[] {
  return groups.flatMap((name) => {
    if (apart.includes(name)) return []
    const group = known.find((one) => one === name)
    if (group === undefined) {
      throw new GatewayError(
        'invalid_value',
        `"${name.slice(0, 50)}" is nothing to group by; there are ${[...known, ...apart].join(', ')}`,
        { param: 'group_by' },
      )
    }
    return GROUPS[group] ?? []
  })
}

/** Present for every group, `null` where it is not grouped by; a batch is none of ours. */
function ids({ group }: CostsRow, groups: readonly string[]): Record<string, unknown> {
  return {
    project_id: group.application ?? null,
    user_id: group.user ?? null,
    api_key_id: group.key ?? null,
    ...(groups.includes('model') && { model: group.model ?? null }),
    ...(groups.includes('batch') && { batch: false }),
    ...(groups.includes('service_tier') && { service_tier: null }),
  }
}

/** Rows of one bucket and group, whatever endpoint they are of, as one. */
function merged(rows: readonly CostsRow[], groupBy: readonly string[]): readonly CostsRow[] {
  const found = new Map<string, CostsRow>()
  for (const row of rows) {
    const group = row.group as Readonly<Record<string, string | null>>
    const name = JSON.stringify([row.start, ...groupBy.map((one) => group[one])])
    const before = found.get(name)
    found.set(name, before === undefined ? row : { ...row, ...together(before, row) })
  }
  return [...found.values()]
}

function together(one: Costs, other: Costs): Pick<CostsRow, 'attempts' | 'usage'> {
  return {
    attempts: one.attempts + other.attempts,
    usage: addUsage(one.usage ?? NO_USAGE, other.usage ?? NO_USAGE),
  }
}

/** Such as `openai/gpt-5-mini, cache_read`. */
function lineItem({ group }: CostsRow): string {
  return `${group.model}, ${group.token_type}`
}

function isTokens({ group }: CostsRow): boolean {
  return !['web_searches', 'request', 'unsplit'].includes(group.token_type ?? '')
}

function quantityOf(row: CostsRow): number {
  if (row.group.token_type === 'web_searches') return row.usage?.webSearches ?? 0
  if (row.group.token_type === 'request') return row.attempts
  return row.inputTokens + row.outputTokens
}

/** A number in JSON by its decimal digits. */
function exact(decimal: string): number {
  // The language has it, its types not yet: https://tc39.es/proposal-json-parse-with-source
  return (JSON as unknown as { rawJSON(text: string): number }).rawJSON(decimal)
}
