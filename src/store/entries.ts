import type { InsertType, Selectable } from 'kysely'
import { type CostLine, type CostType, type Entry, NO_USAGE, type Usage } from '#protocol'
import type { CostColumns, EntriesTable, SumColumns } from './schema.ts'

/**
 * Every column is named, absent ones with `null`; the order of the names is that of the values.
 * The cell is found later, by whoever writes them.
 */
export type EntryValues = {
  readonly [C in keyof Omit<EntriesTable, 'seq' | 'cell'>]: InsertType<EntriesTable[C]>
}

export function toValues(entry: Entry): EntryValues {
  const { usage } = entry
  return {
    id: entry.id,
    kind: entry.kind,
    request_id: entry.requestId,
    attempt: entry.attempt,
    tenant_id: entry.tenantId,
    application_id: entry.applicationId,
    key_id: entry.keyId,
    endpoint: entry.endpoint,
    model_asked: entry.modelAsked,
    provider: entry.provider,
    model: entry.model,
    model_served: entry.modelServed ?? null,
    admitted_at: entry.admittedAt,
    started_at: entry.startedAt,
    duration_ms: Math.round(entry.durationMs),
    first_event_ms: entry.firstEventMs === undefined ? null : Math.round(entry.firstEventMs),
    stream: entry.stream ? 1 : 0,
    outcome: entry.outcome,
    error_code: entry.errorCode ?? null,
    finish_reason: entry.finishReason ?? null,
    end_user: entry.endUser ?? null,
    input_tokens: usage.input,
    cache_read_tokens: usage.cacheRead,
    cache_write_5m_tokens: usage.cacheWrite5m,
    cache_write_1h_tokens: usage.cacheWrite1h,
    input_audio_tokens: usage.inputAudio,
    input_image_tokens: usage.inputImage,
    output_tokens: usage.output,
    reasoning_tokens: usage.reasoning,
    output_audio_tokens: usage.outputAudio,
    output_image_tokens: usage.outputImage,
    web_searches: usage.webSearches,
    reported_total_tokens: usage.reportedTotal ?? null,
    usage_source: entry.usageSource,
    cost_nanos: entry.cost ?? null,
    list_cost_nanos: entry.listCost ?? null,
    price_version: entry.priceVersion ?? null,
    user_id: entry.userId ?? null,
    tags: entry.tags === undefined || entry.tags.length === 0 ? null : JSON.stringify(entry.tags),
    environment: entry.environment ?? null,
    prompt_id: entry.promptId ?? null,
    credential_id: entry.credentialId ?? null,
    adjusts: entry.adjusts ?? null,
    reason: entry.reason ?? null,
    ...costValues(entry.costLines),
  }
}

export const COST_COLUMNS = {
  input: 'input_nanos',
  cacheRead: 'cache_read_nanos',
  cacheWrite5m: 'cache_write_5m_nanos',
  cacheWrite1h: 'cache_write_1h_nanos',
  inputAudio: 'input_audio_nanos',
  inputImage: 'input_image_nanos',
  output: 'output_nanos',
  reasoning: 'reasoning_nanos',
  outputAudio: 'output_audio_nanos',
  outputImage: 'output_image_nanos',
  webSearches: 'web_searches_nanos',
  request: 'request_nanos',
} as const satisfies Record<CostType, keyof CostColumns>

const COST_TYPES = Object.keys(COST_COLUMNS) as CostType[]

type CostValues = { [C in keyof CostColumns]: bigint | null }

const NO_COSTS = Object.fromEntries(
  Object.values(COST_COLUMNS).map((column) => [column, null]),
) as CostValues

function costValues(lines: readonly CostLine[] | undefined): Readonly<CostValues> {
  if (lines === undefined) return NO_COSTS
  const values = { ...NO_COSTS }
  for (const { type, cost } of lines) values[COST_COLUMNS[type]] = cost
  return values
}

function readCostLines(row: Selectable<EntriesTable>): readonly CostLine[] {
  const usage = readUsage(row)
  return COST_TYPES.flatMap((type) => {
    const cost = row[COST_COLUMNS[type]]
    if (cost === null) return []
    const quantity = type === 'request' ? (row.kind === 'attempt' ? 1 : 0) : usage[type]
    return [{ type, quantity, cost }]
  })
}

/** In the order in which {@link toValues} names them. */
export const ENTRY_COLUMNS = Object.keys(
  toValues({
    id: '',
    kind: 'attempt',
    requestId: '',
    attempt: 1,
    tenantId: '',
    applicationId: '',
    keyId: '',
    endpoint: '',
    modelAsked: '',
    provider: '',
    model: '',
    admittedAt: 0,
    startedAt: 0,
    durationMs: 0,
    stream: false,
    outcome: 'ok',
    usage: NO_USAGE,
    usageSource: 'none',
  }),
)

export function fromRow(row: Selectable<EntriesTable>): Entry {
  const costLines = readCostLines(row)
  return {
    id: row.id,
    kind: row.kind,
    requestId: row.request_id,
    attempt: Number(row.attempt),
    tenantId: row.tenant_id,
    applicationId: row.application_id,
    keyId: row.key_id,
    endpoint: row.endpoint,
    modelAsked: row.model_asked,
    provider: row.provider,
    model: row.model,
    ...(row.model_served !== null && { modelServed: row.model_served }),
    admittedAt: Number(row.admitted_at),
    startedAt: Number(row.started_at),
    durationMs: Number(row.duration_ms),
    ...(row.first_event_ms !== null && { firstEventMs: Number(row.first_event_ms) }),
    stream: row.stream === 1n,
    outcome: row.outcome,
    ...(row.error_code !== null && { errorCode: row.error_code }),
    ...(row.finish_reason !== null && { finishReason: row.finish_reason }),
    ...(row.end_user !== null && { endUser: row.end_user }),
    usage: {
      ...readUsage(row),
      ...(row.reported_total_tokens !== null && {
        reportedTotal: Number(row.reported_total_tokens),
      }),
    },
    usageSource: row.usage_source,
    ...(row.cost_nanos !== null && { cost: row.cost_nanos }),
    ...(row.list_cost_nanos !== null && { listCost: row.list_cost_nanos }),
    ...(row.price_version !== null && { priceVersion: row.price_version }),
    ...(row.user_id !== null && { userId: row.user_id }),
    ...(row.tags !== null && { tags: JSON.parse(row.tags) as string[] }),
    ...(row.environment !== null && { environment: row.environment }),
    ...(row.prompt_id !== null && { promptId: row.prompt_id }),
    ...(row.credential_id !== null && { credentialId: row.credential_id }),
    ...(row.adjusts !== null && { adjusts: row.adjusts }),
    ...(row.reason !== null && { reason: row.reason }),
    ...(costLines.length > 0 && { costLines }),
  }
}

type UsageRow = Pick<
  Selectable<SumColumns>,
  Extract<keyof SumColumns, `${string}_tokens` | 'web_searches'>
>

export function readUsage(row: UsageRow): Usage {
  return {
    input: Number(row.input_tokens),
    cacheRead: Number(row.cache_read_tokens),
    cacheWrite5m: Number(row.cache_write_5m_tokens),
    cacheWrite1h: Number(row.cache_write_1h_tokens),
    inputAudio: Number(row.input_audio_tokens),
    inputImage: Number(row.input_image_tokens),
    output: Number(row.output_tokens),
    reasoning: Number(row.reasoning_tokens),
    outputAudio: Number(row.output_audio_tokens),
    outputImage: Number(row.output_image_tokens),
    webSearches: Number(row.web_searches),
  }
}

/** An entry as JSON; money in it is a decimal string. */
export function packEntry(entry: Entry): string {
  return JSON.stringify(entry, withoutBigints)
}

export function unpackEntry(packed: string): Entry {
  const { cost, listCost, costLines, ...entry }: PackedEntry = JSON.parse(packed)
  return {
    ...entry,
    ...(cost !== undefined && { cost: BigInt(cost) }),
    ...(listCost !== undefined && { listCost: BigInt(listCost) }),
    ...(costLines !== undefined && {
      costLines: costLines.map((line) => ({ ...line, cost: BigInt(line.cost) })),
    }),
  }
}

type PackedEntry = Omit<Entry, 'cost' | 'listCost' | 'costLines'> & {
  readonly cost?: string
  readonly listCost?: string
  readonly costLines?: readonly (Omit<CostLine, 'cost'> & { readonly cost: string })[]
}

/** For `JSON.stringify`, which has no word for 64-bit integers. */
export function withoutBigints(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}
