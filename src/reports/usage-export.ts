import { GatewayError } from '#errors'
import type { NanoUsd } from '#protocol'
import { readCsv } from './csv.ts'
import type { UsageRecord } from './reconcile.ts'

/** What a provider exported, as records, and how they are to be told apart. */
export interface UsageExport {
  readonly by: 'request' | 'day'
  readonly records: readonly UsageRecord[]
}

/**
 * The names under which providers export a field, in the order in which they are looked for:
 * OpenAI's usage API and dashboard, Anthropic's console and usage API, OpenRouter's activity.
 */
const FIELDS = {
  request: ['request_id', 'x_request_id', 'generation_id', 'id'],
  day: [
    'day',
    'date',
    'usage_date_utc',
    'start_time_iso',
    'start_time',
    'starting_at',
    'timestamp',
    'created_at',
  ],
  model: ['model', 'model_version', 'model_permaslug', 'snapshot_id', 'line_item'],
  requests: ['requests', 'num_model_requests', 'num_requests', 'n_requests', 'request_count'],
  input: ['input_tokens', 'prompt_tokens', 'tokens_prompt', 'n_context_tokens_total'],
  /** Added to `input` where input itself leaves them out. */
  uncached: ['usage_input_tokens_no_cache', 'uncached_input_tokens', 'input_tokens_no_cache'],
  cached: [
    'input_cached_tokens',
    'cached_tokens',
    'cache_read_input_tokens',
    'usage_input_tokens_cache_read',
    'input_tokens_cache_read',
  ],
  written5m: ['usage_input_tokens_cache_write_5m', 'input_tokens_cache_write_5m'],
  written1h: ['usage_input_tokens_cache_write_1h', 'input_tokens_cache_write_1h'],
  output: [
    'output_tokens',
    'completion_tokens',
    'usage_output_tokens',
    'tokens_completion',
    'n_generated_tokens_total',
  ],
  cost: ['cost_usd', 'cost', 'amount', 'usage_cost', 'cost_total', 'usage'],
} as const

type Field = keyof typeof FIELDS

/**
 * Reads a provider's usage export: CSV, a JSON array, or the pages of OpenAI's usage API.
 *
 * @param parseUsd - of a decimal
 * @throws GatewayError `invalid_value` naming the line and what was expected there
 */
export function readUsageExport(text: string, parseUsd: (text: string) => NanoUsd): UsageExport {
  const rows = rowsOf(text)
  const [first] = rows
  if (first === undefined) throw invalid('The export has no lines')
  const names = columnsOf(first)
  for (const needed of ['day', 'model'] as const) {
    if (names[needed] === undefined) {
      throw invalid(
        `The export has no column for the ${needed}: one of ${FIELDS[needed].join(', ')}`,
      )
    }
  }
  if (names.input === undefined && names.uncached === undefined && names.cost === undefined) {
    throw invalid(
      `The export has neither tokens nor costs: ${FIELDS.input.join(', ')} or ${FIELDS.cost.join(', ')}`,
    )
  }
  const by = names.request === undefined ? 'day' : 'request'
  const records = rows.map((row, index) => recordOf(row, names, index + 2, parseUsd))
  return { by, records }
}

type Cells = Readonly<Record<string, unknown>>

function rowsOf(text: string): readonly Cells[] {
  if (!/^\s*[[{]/.test(text)) {
    try {
      return readCsv(text)
    } catch (error) {
      throw invalid((error as Error).message)
    }
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw invalid('The export begins like JSON, and is none')
  }
  return [parsed].flat().flatMap(flatten)
}

/** Buckets of the usage APIs hold the day, their results the rest. */
function flatten(value: unknown): readonly Cells[] {
  if (typeof value !== 'object' || value === null) throw invalid('The export is no list of objects')
  const { data, results, ...own } = value as Cells
  if (Array.isArray(data)) return data.flatMap(flatten)
  if (Array.isArray(results)) {
    return results.map((result: unknown) => ({ ...own, ...(result as object), object: undefined }))
  }
  return [value as Cells]
}

function columnsOf(row: Cells): Readonly<Partial<Record<Field, string>>> {
  const byName = new Map(Object.keys(row).map((name) => [plain(name), name]))
  const found: Partial<Record<Field, string>> = {}
  for (const field of Object.keys(FIELDS) as Field[]) {
    const name = FIELDS[field].find((one) => byName.has(one))
    if (name !== undefined) found[field] = byName.get(name)!
  }
  return found
}

function plain(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replaceAll(/[\s-]+/g, '_')
}

function recordOf(
  row: Cells,
  names: Readonly<Partial<Record<Field, string>>>,
  line: number,
  parseUsd: (text: string) => NanoUsd,
): UsageRecord {
  const cell = (field: Field): string => {
    const value = names[field] === undefined ? undefined : row[names[field]]
    // An amount of OpenAI's costs API is an object.
    const bare =
      typeof value === 'object' && value !== null ? (value as { value?: unknown }).value : value
    return bare === undefined || bare === null ? '' : String(bare as string | number).trim()
  }
  const count = (field: Field): number => {
    const text = cell(field)
    if (text === '') return 0
    if (!/^\d{1,15}$/.test(text)) throw invalid(`Line ${line}: ${names[field]} is no whole number`)
    return Number(text)
  }
  const day = dayOf(cell('day'), line)
  const model = cell('model')
  const cached = count('cached')
  const written = count('written5m') + count('written1h')
  const input = names.input === undefined ? count('uncached') + cached + written : count('input')
  return {
    id: cell('request') || `${day} ${model}`,
    day,
    model,
    requests: names.requests === undefined ? 1 : count('requests'),
    inputTokens: input,
    outputTokens: count('output'),
    ...(names.cached !== undefined && { cachedTokens: cached }),
    ...(cell('cost') !== '' && { cost: amount(cell('cost'), line, parseUsd) }),
  }
}

function dayOf(text: string, line: number): string {
  const seconds = /^\d{9,10}$/.test(text) ? Number(text) * 1000 : undefined
  const day = /^\d{4}-\d{2}-\d{2}/.test(text) ? text : undefined
  const time = seconds ?? Date.parse(day ?? '')
  if (Number.isNaN(time)) throw invalid(`Line ${line}: "${text.slice(0, 40)}" is no day`)
  // A day without a time is taken as it stands.
  return day?.length === 10 ? day : new Date(time).toISOString().slice(0, 10)
}

/** Digits beyond a nano-dollar are rounded: exports carry what floats leave behind. */
function amount(text: string, line: number, parseUsd: (text: string) => NanoUsd): NanoUsd {
  const bare = text.replace(/^\$/, '')
  try {
    if (/^\d+(?:\.\d{1,9})?$/.test(bare)) return parseUsd(bare)
    const value = Number(bare)
    if (bare === '' || !Number.isFinite(value) || value < 0) throw new Error('no amount')
    return parseUsd(value.toFixed(9))
  } catch {
    throw invalid(`Line ${line}: "${text.slice(0, 40)}" is no amount of US dollars`)
  }
}

function invalid(message: string): GatewayError {
  return new GatewayError('invalid_value', message, { param: 'export' })
}
