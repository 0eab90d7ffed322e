import type { JsonObject, JsonValue } from '#protocol'
import { isObject } from './schema.ts'

/** A refusal, in the words of OpenAI's wire. */
export class Refusal extends Error {
  readonly status: number
  readonly code: string | null
  readonly param: string | null

  constructor(
    status: number,
    message: string,
    at: { readonly code?: string; readonly param?: string } = {},
  ) {
    super(message)
    this.status = status
    this.code = at.code ?? null
    this.param = at.param ?? null
  }
}

/** What the simulator reads of a chat request. */
export interface ChatAsked {
  readonly model: string
  readonly messages: readonly JsonObject[]
  readonly tools: readonly AskedTool[]
  readonly toolChoice: AskedToolChoice
  readonly parallel: boolean
  /** Absent: plain text. An empty schema: any JSON object. */
  readonly schema?: JsonValue
  readonly maxTokens: number
  readonly stop: readonly string[]
  readonly n: number
  readonly effort?: string
  /** How many alternatives per token; absent: no log probabilities. */
  readonly topLogprobs?: number
  readonly stream: boolean
  readonly includeUsage: boolean
  /** Everything the answer depends on. */
  readonly fingerprint: string
}

export interface AskedTool {
  readonly type: 'function' | 'custom'
  readonly name: string
  readonly parameters: JsonValue
}

export interface AskedToolChoice {
  readonly mode: 'auto' | 'none' | 'required'
  /** Only these may be called; absent: any. */
  readonly names?: readonly string[]
}

/** What the answer must not depend on: how it is sent, and who asks. */
const INCIDENTAL = new Set(['stream', 'stream_options', 'user', 'metadata', 'store'])

/** @throws Refusal 400 naming the field at fault */
export function readChat(body: JsonObject): ChatAsked {
  const { model, messages } = body
  if (typeof model !== 'string') throw invalid('model', 'you must provide a model parameter')
  if (!Array.isArray(messages) || messages.length === 0 || !messages.every(isObject)) {
    throw invalid('messages', 'expected a list of at least one message')
  }
  const format = isObject(body['response_format']) ? body['response_format'] : {}
  const schema = isObject(format['json_schema']) ? format['json_schema']['schema'] : undefined
  const options = isObject(body['stream_options']) ? body['stream_options'] : {}
  const { stop, reasoning_effort: effort } = body
  const maxField = body['max_completion_tokens'] == null ? 'max_tokens' : 'max_completion_tokens'
  const settled = Object.entries(body).filter(([name]) => !INCIDENTAL.has(name))
  return {
    model,
    messages,
    tools: Array.isArray(body['tools']) ? body['tools'].map(readTool) : [],
    toolChoice: readToolChoice(body['tool_choice']),
    parallel: body['parallel_tool_calls'] !== false,
    ...(format['type'] === 'json_object' ? { schema: { type: 'object' } } : {}),
    ...(format['type'] === 'json_schema' ? { schema: schema ?? true } : {}),
    maxTokens: integer(body, maxField, 1, Number.MAX_SAFE_INTEGER) ?? Number.MAX_SAFE_INTEGER,
    stop: (Array.isArray(stop) ? stop : [stop]).filter(isNonEmpty),
    n: integer(body, 'n', 1, 128) ?? 1,
    ...(typeof effort === 'string' ? { effort } : {}),
    ...(body['logprobs'] === true
      ? { topLogprobs: integer(body, 'top_logprobs', 0, 20) ?? 0 }
      : {}),
    stream: body['stream'] === true,
    includeUsage: options['include_usage'] === true,
    fingerprint: JSON.stringify(settled.toSorted(([a], [b]) => (a < b ? -1 : 1))),
  }
}

/** The text of a message's content, its text parts joined. */
export function textOf(content: JsonValue | undefined): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .filter(isObject)
    .map(({ text }) => (typeof text === 'string' ? text : ''))
    .join('')
}

function invalid(param: string, message: string): Refusal {
  return new Refusal(400, `Invalid '${param}': ${message}`, { code: 'invalid_value', param })
}

function integer(body: JsonObject, param: string, least: number, most: number): number | undefined {
  const value = body[param]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw invalid(param, `expected an integer from ${least} to ${most}`)
  }
  return value
}

function isNonEmpty(value: JsonValue | undefined): value is string {
  return typeof value === 'string' && value !== ''
}

function readTool(tool: JsonValue, index: number): AskedTool {
  const fields = isObject(tool) ? tool : {}
  const type = fields['type'] === 'custom' ? 'custom' : 'function'
  const inner = fields[type]
  if (!isObject(inner) || typeof inner['name'] !== 'string') {
    throw invalid(`tools[${index}]`, 'expected a function or custom tool with a name')
  }
  return { type, name: inner['name'], parameters: inner['parameters'] ?? { type: 'object' } }
}

function readToolChoice(choice: JsonValue | undefined): AskedToolChoice {
  if (choice === 'none' || choice === 'required') return { mode: choice }
  if (!isObject(choice)) return { mode: 'auto' }
  const allowed = choice['allowed_tools']
  if (isObject(allowed)) {
    const tools = Array.isArray(allowed['tools']) ? allowed['tools'] : []
    const mode = allowed['mode'] === 'required' ? 'required' : 'auto'
    return { mode, names: tools.map(nameOf) }
  }
  return { mode: 'required', names: [nameOf(choice)] }
}

function nameOf(choice: JsonValue): string {
  const fields = isObject(choice) ? choice : {}
  const inner = fields['function'] ?? fields['custom']
  const name = isObject(inner) ? inner['name'] : undefined
  return typeof name === 'string' ? name : ''
}
