import { GatewayError } from '#errors'
import type {
  Change,
  ChatRequest,
  Encoded,
  JsonValue,
  Reasoning,
  ResponseFormat,
  Target,
  Tool,
} from '#protocol'
import { type Note, writeMessages } from './messages.ts'
import { isFields, text, type WireRequest, type WireTool } from './wire.ts'

const MAX_TEMPERATURE = 1.5

/** Mistral's own fields, taken from the caller as they are. Anything else it would refuse. */
const OWN_FIELDS = ['prompt_mode', 'guardrails', 'prompt_cache_key', 'safe_prompt'] as const

export function encode(request: ChatRequest, target: Target): Encoded {
  const changes: Change[] = []
  const note: Note = (field, kind, words) => changes.push({ field, kind, note: words })

  // A member that is undefined is not in the JSON.
  const body: WireRequest = {
    model: target.model,
    messages: writeMessages(request.messages, note),
    stream: request.stream,
    ...tools(request, note),
    parallel_tool_calls: request.parallelToolCalls,
    response_format: responseFormat(request.responseFormat),
    max_tokens: request.maxOutputTokens,
    temperature: temperature(request.temperature, note),
    top_p: request.topP,
    frequency_penalty: request.frequencyPenalty,
    presence_penalty: request.presencePenalty,
    stop: request.stop && [...request.stop],
    random_seed: seed(request.seed, note),
    n: request.n,
    reasoning_effort: reasoningEffort(request.reasoning, note),
    metadata: request.metadata,
    service_tier: serviceTier(request.serviceTier, note),
    ...ownFields(request, note),
  }
  noteUnsupported(request, note)
  return {
    request: {
      method: 'POST',
      url: `${target.baseUrl}/v1/chat/completions`,
      headers: headers(target, request.stream),
      body: JSON.stringify(body),
    },
    changes,
  }
}

export function headers(target: Target, stream: boolean): Record<string, string> {
  return {
    accept: stream ? 'text/event-stream' : 'application/json',
    'content-type': 'application/json',
    ...(target.credential === undefined ? {} : { authorization: `Bearer ${target.credential}` }),
    ...target.headers,
  }
}

function tools(request: ChatRequest, note: Note): Pick<WireRequest, 'tools' | 'tool_choice'> {
  const choice = request.toolChoice
  let offered = request.tools ?? []
  if (choice?.type === 'allowed') {
    offered = offered.filter((tool) => choice.names.includes(tool.name))
    note('tool_choice', 'adapted', 'only the allowed tools are sent')
  }
  return {
    ...(offered.length === 0
      ? {}
      : { tools: offered.map((tool) => writeTool(tool, request, note)) }),
    tool_choice: toolChoice(choice),
  }
}

function writeTool(tool: Tool, request: ChatRequest, note: Note): WireTool {
  const field = `tools[${request.tools?.indexOf(tool) ?? 0}]`
  if (tool.type === 'custom') {
    throw new GatewayError('unsupported_feature', `Mistral has no custom tools: ${tool.name}`, {
      param: field,
    })
  }
  if (tool.cache !== undefined) {
    note(`${field}.cache_control`, 'lossy', 'mistral caches by prompt_cache_key')
  }
  return {
    type: 'function',
    function: {
      name: tool.name,
      ...(tool.description === undefined ? {} : { description: tool.description }),
      ...(tool.strict === undefined ? {} : { strict: tool.strict }),
      parameters: { ...(tool.parameters ?? { type: 'object', properties: {} }) },
    },
  }
}

function toolChoice(choice: ChatRequest['toolChoice']): unknown {
  switch (choice?.type) {
    case undefined:
      return undefined
    case 'required':
      return 'any'
    case 'tool':
      return { type: 'function', function: { name: choice.name } }
    case 'allowed':
      return choice.mode === 'required' ? 'any' : 'auto'
    default:
      return choice?.type
  }
}

function responseFormat(format: ResponseFormat | undefined): unknown {
  if (format === undefined) return undefined
  if (format.type === 'text') return { type: 'text' }
  if (format.type === 'json-object') return { type: 'json_object' }
  const { type: _, ...json_schema } = format
  return { type: 'json_schema', json_schema }
}

function temperature(asked: number | undefined, note: Note): number | undefined {
  if (asked === undefined || asked <= MAX_TEMPERATURE) return asked
  note('temperature', 'adapted', `clamped from ${asked} to ${MAX_TEMPERATURE}`)
  return MAX_TEMPERATURE
}

function seed(asked: number | undefined, note: Note): number | undefined {
  if (asked === undefined || asked >= 0) return asked
  note('seed', 'adapted', 'mistral takes no negative seed: sent without its sign')
  return -asked
}

function reasoningEffort(asked: Reasoning | undefined, note: Note): 'high' | 'none' | undefined {
  if (asked === undefined) return undefined
  const { effort, budgetTokens } = asked
  if (budgetTokens !== undefined) {
    note('reasoning.budget_tokens', 'adapted', 'mistral only switches reasoning on or off')
  }
  if (effort === undefined) {
    if (budgetTokens === undefined) return undefined
    return budgetTokens > 0 ? 'high' : 'none'
  }
  if (effort === 'none' || effort === 'high') return effort
  const sent = effort === 'minimal' ? 'none' : 'high'
  note('reasoning_effort', 'adapted', `"${effort}" sent as "${sent}": mistral has these two`)
  return sent
}

/** `auto` is what Mistral does unasked; `default` is its capacity at the standard price. */
function serviceTier(asked: string | undefined, note: Note): string | undefined {
  if (asked === undefined || asked === 'auto') return undefined
  if (asked === 'default' || asked === 'standard_only') return 'standard_only'
  note('service_tier', 'lossy', `"${asked}" not supported by mistral`)
  return undefined
}

function ownFields(request: ChatRequest, note: Note): Partial<WireRequest> {
  const own: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(request.providerOptions)) {
    if (value === null) continue
    if (OWN_FIELDS.some((known) => known === name)) own[name] = value
    else if (name === 'prediction') own[name] = prediction(value, note)
    else if (name === 'random_seed' && request.seed === undefined) own[name] = value
    else if (name === 'store' && value === false) {
      note(name, 'adapted', 'mistral stores no chat completions')
    } else note(name, 'lossy', 'not supported by mistral')
  }
  return own
}

/** OpenAI allows a list of text parts where Mistral wants a string. */
function prediction(value: JsonValue, note: Note): unknown {
  if (!isFields(value) || !Array.isArray(value['content'])) return value
  note('prediction.content', 'adapted', 'its parts are joined')
  const parts: unknown[] = value['content']
  const words = parts.map((part) => (isFields(part) ? text(part['text']) : ''))
  return { type: 'content', content: words.join('') }
}

function noteUnsupported(request: ChatRequest, note: Note): void {
  const absent = {
    top_k: request.topK,
    logprobs: request.logprobs,
    logit_bias: request.logitBias,
    verbosity: request.verbosity,
    user: request.endUser,
  }
  for (const [field, value] of Object.entries(absent)) {
    if (value !== undefined) note(field, 'lossy', 'not supported by mistral')
  }
  if (request.cache !== undefined) {
    note('cache_control', 'lossy', 'mistral caches by prompt_cache_key')
  }
}
