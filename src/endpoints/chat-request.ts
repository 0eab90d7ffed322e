import type { ChatRequest, JsonObject, JsonValue, Reasoning, ResponseFormat } from '#protocol'
import { readCache } from './chat-content.ts'
import { readMessages } from './chat-messages.ts'
import { readTools, speaksOfFunctions } from './chat-tools.ts'
import {
  at,
  booleanAt,
  choiceAt,
  fieldsAt,
  integerAt,
  invalid,
  isFields,
  isList,
  nameAt,
  names,
  numberAt,
  refuse,
  textAt,
} from './fields.ts'
import type { Carried, Place } from './fields.ts'

export const MAX_TOKENS = 2 ** 31 - 1
const MAX_CHOICES = 128

/** Every top-level member that {@link readChat} has a word for. */
const KNOWN = names(
  'model messages tools tool_choice parallel_tool_calls functions function_call response_format ' +
    'max_tokens max_completion_tokens temperature top_p top_k frequency_penalty presence_penalty ' +
    'stop seed n logprobs top_logprobs logit_bias reasoning_effort verbosity user ' +
    'safety_identifier metadata service_tier cache_control stream stream_options usage reasoning ' +
    'thinking',
)

/**
 * Reads a body of `POST /v1/chat/completions`.
 *
 * Besides OpenAI's own fields it knows what users of other gateways send: `reasoning`, `thinking`,
 * `top_k`, `cache_control`, `usage: {include}`. Whatever it has no word for goes to
 * `providerOptions`: top-level members under their own names, anything deeper under its path
 * (`messages[3].prefix`, `tools[0]` for a tool of an unknown kind), so that a provider that cannot
 * send it reports it. Null means "not said" everywhere.
 *
 * @param body as `readBody` gives it: no `__proto__`, bounded depth
 * @throws GatewayError `invalid_value` with the field's path in `param`
 * @see https://platform.openai.com/docs/api-reference/chat/create
 */
export function readChat(body: JsonObject): ChatRequest {
  const carried: Carried = {}
  for (const name of Object.keys(body)) {
    const value = body[name]
    if (!KNOWN.has(name) && value !== null && value !== undefined) carried[name] = value
  }
  const request: Draft = {
    model: nameAt(body, 'model', undefined),
    messages: readMessages(body['messages'], carried),
    stream: booleanAt(body, 'stream', undefined) ?? false,
    includeUsage: false,
    providerOptions: carried,
    ...readTools(body, carried),
  }
  readStreaming(body, request, carried)
  readSampling(body, request)
  readOutput(body, request, carried)
  readCaller(body, request, carried)
  if (speaksOfFunctions(body)) {
    request.legacyFunctions = true
    // Its answers have room for one call.
    request.parallelToolCalls = false
  }
  const reasoning = readReasoning(body, carried)
  if (reasoning !== undefined) request.reasoning = reasoning
  return request
}

/** A request while it is being read. */
type Draft = { -readonly [Field in keyof ChatRequest]: ChatRequest[Field] }

function readStreaming(body: JsonObject, request: Draft, carried: Carried): void {
  const options = fieldsAt(body, 'stream_options', undefined)
  if (options !== undefined) {
    const place = at(undefined, 'stream_options')
    request.includeUsage = booleanAt(options, 'include_usage', place) ?? false
    const { include_usage: _read, ...others } = options
    if (Object.keys(others).length > 0) request.streamOptions = others
    const { include_obfuscation: obfuscation, ...rest } = others
    // We never pad, so elsewhere only a wish for padding is lost.
    if (booleanAt(options, 'include_obfuscation', place) === true && obfuscation !== undefined) {
      carried['stream_options'] = { ...rest, include_obfuscation: obfuscation }
    } else if (Object.keys(rest).length > 0) carried['stream_options'] = rest
  }
  // OpenRouter's word for the same wish.
  const usage = fieldsAt(body, 'usage', undefined)
  if (usage !== undefined && booleanAt(usage, 'include', at(undefined, 'usage')) === true) {
    request.includeUsage = true
  }
}

function readSampling(body: JsonObject, request: Draft): void {
  const temperature = numberAt(body, 'temperature', undefined, 0, 2)
  if (temperature !== undefined) request.temperature = temperature
  const topP = numberAt(body, 'top_p', undefined, 0, 1)
  if (topP !== undefined) request.topP = topP
  // 0 and -1 are how some engines' users say "no limit".
  const topK = integerAt(body, 'top_k', undefined, -1, MAX_TOKENS)
  if (topK !== undefined && topK > 0) request.topK = topK
  const frequency = numberAt(body, 'frequency_penalty', undefined, -2, 2)
  if (frequency !== undefined) request.frequencyPenalty = frequency
  const presence = numberAt(body, 'presence_penalty', undefined, -2, 2)
  if (presence !== undefined) request.presencePenalty = presence
  const seed = integerAt(body, 'seed', undefined, -(2 ** 63), 2 ** 63)
  if (seed !== undefined) request.seed = seed
  const stop = readStop(body['stop'])
  if (stop !== undefined) request.stop = stop
  const bias = readLogitBias(body)
  if (bias !== undefined) request.logitBias = bias
}

function readOutput(body: JsonObject, request: Draft, carried: Carried): void {
  const most = readMaxTokens(body)
  if (most !== undefined) request.maxOutputTokens = most
  const n = integerAt(body, 'n', undefined, 1, MAX_CHOICES)
  if (n !== undefined) request.n = n
  const logprobs = readLogprobs(body)
  if (logprobs !== undefined) request.logprobs = logprobs
  const format = readResponseFormat(body, carried)
  if (format !== undefined) request.responseFormat = format
  const verbosity = choiceAt(body, 'verbosity', undefined, ['low', 'medium', 'high'])
  if (verbosity !== undefined) request.verbosity = verbosity
  const parallel = booleanAt(body, 'parallel_tool_calls', undefined)
  if (parallel !== undefined) request.parallelToolCalls = parallel
}

function readCaller(body: JsonObject, request: Draft, carried: Carried): void {
  const user = textAt(body, 'user', undefined)
  const endUser = textAt(body, 'safety_identifier', undefined) ?? user
  if (endUser !== undefined) request.endUser = endUser
  if (user !== undefined && user !== endUser) carried['user'] = user
  const metadata = readMetadata(body)
  if (metadata !== undefined) request.metadata = metadata
  const tier = textAt(body, 'service_tier', undefined)
  if (tier !== undefined) request.serviceTier = tier
  const cache = readCache(body, undefined)
  if (cache !== undefined) request.cache = cache
}

function readStop(stop: JsonValue | undefined): readonly string[] | undefined {
  if (stop === undefined || stop === null) return undefined
  if (typeof stop === 'string') return [stop]
  const place = at(undefined, 'stop')
  if (!isList(stop)) return refuse(place, 'a string or an array of strings', stop)
  if (stop.length === 0) return undefined
  return stop.map((one, index) =>
    typeof one === 'string' ? one : refuse(at(place, index), 'a string', one),
  )
}

function readLogitBias(body: JsonObject): Readonly<Record<string, number>> | undefined {
  const bias = fieldsAt(body, 'logit_bias', undefined)
  if (bias === undefined) return undefined
  const place = at(undefined, 'logit_bias')
  const read = Object.keys(bias).map((token): [string, number] => [
    token,
    numberAt(bias, token, place, -100, 100) ?? refuse(at(place, token), 'a number', null),
  ])
  return Object.fromEntries(read)
}

/** `max_tokens` is the older name of `max_completion_tokens`; OpenAI refuses both at once. */
function readMaxTokens(body: JsonObject): number | undefined {
  const newer = integerAt(body, 'max_completion_tokens', undefined, 1, MAX_TOKENS)
  const older = integerAt(body, 'max_tokens', undefined, 1, MAX_TOKENS)
  if (newer !== undefined && older !== undefined && newer !== older) {
    throw invalid(at(undefined, 'max_tokens'), 'differs from max_completion_tokens: send one')
  }
  return newer ?? older
}

function readLogprobs(body: JsonObject): { readonly top?: number } | undefined {
  const wanted = booleanAt(body, 'logprobs', undefined) ?? false
  const top = integerAt(body, 'top_logprobs', undefined, 0, 20)
  if (wanted) return top === undefined ? {} : { top }
  if (top !== undefined && top > 0) {
    throw invalid(at(undefined, 'top_logprobs'), 'needs logprobs: true')
  }
  return undefined
}

function readMetadata(body: JsonObject): Readonly<Record<string, string>> | undefined {
  const metadata = fieldsAt(body, 'metadata', undefined)
  if (metadata === undefined) return undefined
  const place = at(undefined, 'metadata')
  const read = Object.keys(metadata).map((name): [string, string] => [
    name,
    textAt(metadata, name, place) ?? refuse(at(place, name), 'a string', null),
  ])
  return Object.fromEntries(read)
}

/** A format of a kind we have no word for (`grammar`, ...) is carried whole. */
function readResponseFormat(body: JsonObject, carried: Carried): ResponseFormat | undefined {
  const format = fieldsAt(body, 'response_format', undefined)
  if (format === undefined) return undefined
  const place = at(undefined, 'response_format')
  switch (format['type']) {
    case 'text':
      return { type: 'text' }
    case 'json_object': {
      // llama.cpp's and Together's way to give a schema.
      const schema = fieldsAt(format, 'schema', place)
      return schema === undefined
        ? { type: 'json-object' }
        : { type: 'json-schema', name: 'response', schema }
    }
    case 'json_schema':
      return readJsonSchema(format, place)
    default:
      nameAt(format, 'type', place)
      carried['response_format'] = format
      return undefined
  }
}

function readJsonSchema(format: JsonObject, place: Place): ResponseFormat {
  const given = fieldsAt(format, 'json_schema', place)
  const within = at(place, 'json_schema')
  if (given === undefined) return refuse(within, 'an object with name and schema', given)
  const description = textAt(given, 'description', within)
  const strict = booleanAt(given, 'strict', within)
  return {
    type: 'json-schema',
    // Required by OpenAI, left out by users of engines that do not need it.
    name: textAt(given, 'name', within) ?? 'response',
    schema: fieldsAt(given, 'schema', within) ?? {},
    ...(description === undefined ? {} : { description }),
    ...(strict === undefined ? {} : { strict }),
  }
}

const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const

/**
 * OpenAI's `reasoning_effort`, else OpenRouter's `reasoning`, else Anthropic's `thinking`.
 *
 * Switched on without saying how much means `medium`, as at OpenAI and OpenRouter.
 */
function readReasoning(body: JsonObject, carried: Carried): Reasoning | undefined {
  const said = choiceAt(body, 'reasoning_effort', undefined, EFFORTS)
  const wish = readReasoningWish(body, carried) ?? readThinking(body, carried)
  const effort = said ?? wish?.effort
  const budgetTokens = said === 'none' ? undefined : wish?.budgetTokens
  if (effort === undefined && budgetTokens === undefined) return undefined
  return {
    ...(effort === undefined ? {} : { effort }),
    ...(budgetTokens === undefined ? {} : { budgetTokens }),
  }
}

function readReasoningWish(body: JsonObject, carried: Carried): Reasoning | undefined {
  const wish = fieldsAt(body, 'reasoning', undefined)
  if (wish === undefined) return undefined
  const place = at(undefined, 'reasoning')
  const { effort: _effort, max_tokens: _most, enabled: _enabled, ...rest } = wish
  for (const [name, value] of Object.entries(rest)) {
    if (value !== null && value !== false) carried[`reasoning.${name}`] = value
  }
  const enabled = booleanAt(wish, 'enabled', place)
  return onOrOff(
    enabled,
    choiceAt(wish, 'effort', place, EFFORTS),
    integerAt(wish, 'max_tokens', place, 0, MAX_TOKENS),
  )
}

/** With more in it than we have words for (`display`, ...) it is carried whole as well. */
function readThinking(body: JsonObject, carried: Carried): Reasoning | undefined {
  const thinking = body['thinking']
  if (!isFields(thinking)) {
    // Some engines take a plain boolean.
    if (thinking !== undefined && thinking !== null) carried['thinking'] = thinking
    return undefined
  }
  const place = at(undefined, 'thinking')
  const type = textAt(thinking, 'type', place)
  const { type: _type, budget_tokens: _budget, ...rest } = thinking
  const understood = type === 'enabled' || type === 'disabled'
  if (!understood || Object.keys(rest).length > 0) carried['thinking'] = thinking
  if (!understood && type !== 'adaptive') return undefined
  const budget = integerAt(thinking, 'budget_tokens', place, 0, MAX_TOKENS)
  return onOrOff(type !== 'disabled', undefined, budget)
}

function onOrOff(
  enabled: boolean | undefined,
  effort: Reasoning['effort'],
  budget: number | undefined,
): Reasoning | undefined {
  if (enabled === false || budget === 0) return { effort: 'none' }
  if (effort === undefined && budget === undefined)
    return enabled ? { effort: 'medium' } : undefined
  return {
    ...(effort === undefined ? {} : { effort }),
    ...(budget === undefined ? {} : { budgetTokens: budget }),
  }
}
