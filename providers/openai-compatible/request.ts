import { GatewayError } from '#errors'
import type {
  Change,
  ChatRequest,
  Encoded,
  JsonObject,
  JsonValue,
  ResponseFormat,
  Target,
  Tool,
  ToolChoice,
} from '#protocol'
import { type ChatField, type Declaration, endpointUrl } from './declaration.ts'
import { encodeMessages } from './request-messages.ts'
import { toolNames } from './names.ts'
import { cacheControl, type Writing } from './writing.ts'

/** @throws GatewayError `unsupported_feature` for what only this provider's lack stands against */
export function encode(facts: Declaration, request: ChatRequest, target: Target): Encoded {
  const changes: Change[] = []
  const names = toolNames(request)
  const writing: Writing = {
    facts,
    names,
    change: (field, kind, note) => void changes.push({ field, kind, note }),
    refuse(field, what) {
      const message = `${facts.name} does not take ${what}`
      throw new GatewayError('unsupported_feature', message, { param: field })
    },
  }
  for (const [name, wire] of names.changed) {
    writing.change(`tools[${name}]`, 'adapted', `named ${wire}`)
  }
  // `undefined` members are not said, and JSON leaves them out.
  const body = {
    model: target.model,
    messages: encodeMessages(writing, request),
    ...encodeTools(writing, request),
    ...encodeFormat(writing, request.responseFormat),
    ...encodeSampling(writing, request),
    ...encodeReasoning(writing, request),
    ...encodeRest(writing, request),
    ...encodeOptions(writing, request),
    ...streaming(facts, request),
  }
  return {
    request: {
      method: 'POST',
      url: endpointUrl(target.baseUrl, 'chat/completions'),
      headers: headers(facts, target),
      body: JSON.stringify(body),
    },
    changes,
  }
}

export function headers(facts: Declaration, target: Target): Readonly<Record<string, string>> {
  return {
    'content-type': 'application/json',
    ...(target.credential === undefined ? {} : { authorization: `Bearer ${target.credential}` }),
    ...facts.headers,
    ...target.headers,
  }
}

/** Usage is always asked for, whatever the caller asked; the caller's other options stand. */
export function streaming(facts: Declaration, request: ChatRequest): JsonObject {
  if (!request.stream) return {}
  if (facts.alwaysStreamsUsage === true) return { stream: true }
  return { stream: true, stream_options: { ...request.streamOptions, include_usage: true } }
}

/** The request's hints, as the wire names them; each may be missing at some provider. */
const HINTS = {
  frequency_penalty: (request) => request.frequencyPenalty,
  logit_bias: (request) => request.logitBias,
  logprobs: (request) => request.logprobs && true,
  metadata: (request) => request.metadata,
  n: (request) => (request.n === 1 ? undefined : request.n),
  parallel_tool_calls: (request) => request.parallelToolCalls,
  presence_penalty: (request) => request.presencePenalty,
  reasoning_effort: (request) => request.reasoning?.effort,
  seed: (request) => request.seed,
  service_tier: (request) => request.serviceTier,
  stop: (request) => request.stop,
  top_p: (request) => request.topP,
  user: (request) => request.endUser,
  verbosity: (request) => request.verbosity,
} satisfies Partial<Record<ChatField, (request: ChatRequest) => JsonValue | undefined>>

type Hint = keyof typeof HINTS

function isHint(field: ChatField): field is Hint {
  return Object.hasOwn(HINTS, field)
}

/**
 * The declared gaps that this request runs into.
 *
 * @throws GatewayError `unsupported_feature` for one that is no hint
 */
export function gaps(facts: Declaration, request: ChatRequest): readonly Change[] {
  const said = (field: ChatField): boolean => isHint(field) && HINTS[field](request) !== undefined
  const lacking = facts.lacks?.find(said)
  if (lacking !== undefined) {
    throw new GatewayError('unsupported_feature', `${facts.name} does not take ${lacking}`, {
      param: lacking,
    })
  }
  return (facts.ignores ?? [])
    .filter(said)
    .map((field) => ({ field, kind: 'lossy', note: `not supported by ${facts.name}` }))
}

function encodeSampling(writing: Writing, request: ChatRequest): JsonObject {
  const { facts } = writing
  const left = new Set<string>()
  for (const gap of gaps(facts, request)) {
    writing.change(gap.field, gap.kind, gap.note)
    left.add(gap.field)
  }
  const hint = (field: Hint): JsonObject => {
    const value = left.has(field) ? undefined : HINTS[field](request)
    return value === undefined ? {} : { [field]: value }
  }
  if (request.topK !== undefined && facts.topK !== true) {
    writing.change('top_k', 'lossy', `not supported by ${facts.name}`)
  }
  return {
    ...(request.temperature === undefined
      ? {}
      : { temperature: temperature(writing, request.temperature) }),
    ...hint('top_p'),
    ...(request.topK === undefined || facts.topK !== true ? {} : { top_k: request.topK }),
    ...hint('frequency_penalty'),
    ...hint('presence_penalty'),
    ...(left.has('stop') ? {} : encodeStop(writing, request.stop)),
    ...hint('seed'),
    ...(request.n === undefined || left.has('n') || facts.lacks?.includes('n') === true
      ? {}
      : { n: request.n }),
    ...hint('logprobs'),
    ...(request.logprobs?.top === undefined ? {} : { top_logprobs: request.logprobs.top }),
    ...hint('logit_bias'),
    ...hint('user'),
    ...hint('metadata'),
    ...hint('service_tier'),
    ...hint('verbosity'),
    ...(request.tools === undefined ? {} : hint('parallel_tool_calls')),
  }
}

function temperature(writing: Writing, asked: number): number {
  const most = writing.facts.maxTemperature ?? 2
  if (asked <= most) return asked
  writing.change('temperature', 'adapted', `clamped from ${asked} to ${most}`)
  return most
}

function encodeStop(writing: Writing, stop: readonly string[] | undefined): JsonObject {
  if (stop === undefined) return {}
  const most = writing.facts.maxStops ?? Infinity
  if (stop.length > most) writing.change('stop', 'lossy', `only the first ${most} are taken`)
  return { stop: stop.slice(0, most) }
}

function encodeRest(writing: Writing, request: ChatRequest): JsonObject {
  const { facts } = writing
  return {
    ...cacheControl(writing, request.cache, 'cache_control'),
    ...(request.maxOutputTokens === undefined
      ? {}
      : { [maxTokensField(facts)]: request.maxOutputTokens }),
  }
}

export function maxTokensField(facts: Declaration): 'max_tokens' | 'max_completion_tokens' {
  return facts.maxTokensField === 'max_tokens' ? 'max_tokens' : 'max_completion_tokens'
}

/** Tokens to think with, as the effort that comes nearest. */
const EFFORT_BY_BUDGET = [
  { upTo: 0, effort: 'none' },
  { upTo: 2048, effort: 'low' },
  { upTo: 8192, effort: 'medium' },
  { upTo: Infinity, effort: 'high' },
] as const

function encodeReasoning(writing: Writing, request: ChatRequest): JsonObject {
  const { reasoning } = request
  const { facts } = writing
  if (reasoning === undefined) return {}
  const { effort, budgetTokens } = reasoning
  if (facts.reasoning === 'none') {
    writing.change('reasoning', 'lossy', `not supported by ${facts.name}`)
    return {}
  }
  if (facts.reasoning === 'reasoning') {
    // OpenRouter takes one of the two.
    if (budgetTokens !== undefined) return { reasoning: { max_tokens: budgetTokens } }
    return effort === undefined ? {} : { reasoning: { effort } }
  }
  const near =
    effort ?? EFFORT_BY_BUDGET.find(({ upTo }) => (budgetTokens ?? Infinity) <= upTo)?.effort
  if (facts.reasoning === 'enable_thinking') {
    if (effort !== undefined && effort !== 'none') {
      writing.change('reasoning_effort', 'adapted', 'thinking is on or off here')
    }
    return {
      enable_thinking: near !== 'none',
      ...(budgetTokens === undefined || near === 'none' ? {} : { thinking_budget: budgetTokens }),
    }
  }
  if (budgetTokens === undefined && effort === undefined) return {}
  if (effort === undefined) {
    writing.change('reasoning.budget', 'adapted', `${budgetTokens} tokens became effort ${near}`)
  }
  if (facts.reasoning === 'effort+thinking' && near === 'none') {
    return { thinking: { type: 'disabled' } }
  }
  return near === undefined || facts.ignores?.includes('reasoning_effort') === true
    ? {}
    : { reasoning_effort: near }
}

function encodeFormat(writing: Writing, format: ResponseFormat | undefined): JsonObject {
  if (format === undefined) return {}
  if (format.type === 'text') return { response_format: { type: 'text' } }
  const { facts } = writing
  if (format.type === 'json-object') {
    if (facts.lacks?.includes('response_format.json_object') === true) {
      writing.refuse('response_format', 'JSON without a schema')
    }
    return { response_format: { type: 'json_object' } }
  }
  if (facts.capabilities?.jsonSchema === false) {
    writing.refuse('response_format', 'a JSON schema')
  }
  const { name, description, schema, strict } = format
  return {
    response_format: {
      type: 'json_schema',
      json_schema: {
        name,
        ...(description === undefined ? {} : { description }),
        schema,
        ...(strict === undefined ? {} : { strict }),
      },
    },
  }
}

function encodeTools(writing: Writing, request: ChatRequest): JsonObject {
  const { tools, toolChoice } = request
  if (tools === undefined || tools.length === 0) return {}
  const { facts } = writing
  if (facts.capabilities?.tools === false) writing.refuse('tools', 'tools')
  if (toolChoice?.type === 'none' && facts.lacksToolChoice?.includes('none') === true) {
    writing.change('tool_choice', 'adapted', 'the tools are left out')
    return {}
  }
  const allowed =
    toolChoice?.type === 'allowed' && facts.openAITools !== true
      ? new Set(toolChoice.names)
      : undefined
  if (allowed !== undefined) writing.change('tool_choice', 'adapted', 'other tools are left out')
  return {
    tools: tools
      .filter(({ name }) => allowed?.has(name) !== false)
      .map((tool, index) => encodeTool(writing, tool, index)),
    ...(toolChoice === undefined
      ? {}
      : { tool_choice: encodeToolChoice(writing, toolChoice, tools) }),
  }
}

function encodeTool(writing: Writing, tool: Tool, index: number): JsonObject {
  const { facts, names } = writing
  const name = names.toWire(tool.name)
  const described = tool.description === undefined ? {} : { description: tool.description }
  if (tool.type === 'custom') {
    if (facts.openAITools !== true) writing.refuse(`tools[${index}]`, 'free-text tools')
    return {
      type: 'custom',
      custom: {
        name,
        ...described,
        ...(tool.format === undefined ? {} : { format: tool.format }),
      },
    }
  }
  const strict = facts.ignores?.includes('tools.strict') === true ? undefined : tool.strict
  // `false` is what its absence means.
  if (strict === undefined && tool.strict === true) {
    writing.change(`tools[${index}].strict`, 'lossy', `not supported by ${facts.name}`)
  }
  return {
    type: 'function',
    function: {
      name,
      ...described,
      parameters: tool.parameters ?? { type: 'object', properties: {} },
      ...(strict === undefined ? {} : { strict }),
    },
    ...cacheControl(writing, tool.cache, `tools[${index}].cache_control`),
  }
}

function encodeToolChoice(writing: Writing, choice: ToolChoice, tools: readonly Tool[]): JsonValue {
  const { facts, names } = writing
  const mode = choice.type === 'allowed' ? choice.mode : choice.type
  if (facts.lacksToolChoice?.some((lacked) => lacked === mode) === true) {
    writing.refuse('tool_choice', mode === 'tool' ? 'a forced tool' : `tool choice ${mode}`)
  }
  if (choice.type === 'tool') return named(choice.name)
  if (choice.type !== 'allowed' || facts.openAITools !== true) return mode
  return {
    type: 'allowed_tools',
    allowed_tools: { mode: choice.mode, tools: choice.names.map(named) },
  }

  function named(name: string): JsonObject {
    const custom = tools.find((tool) => tool.name === name)?.type === 'custom'
    const type = custom ? 'custom' : 'function'
    return { type, [type]: { name: names.toWire(name) } }
  }
}

/** Members the vocabulary has no word for: sent where the provider knows them, else named. */
function encodeOptions(writing: Writing, request: ChatRequest): JsonObject {
  const { facts } = writing
  const known: Record<string, JsonValue> = {}
  for (const [name, value] of Object.entries(request.providerOptions)) {
    if (name === 'stream_options') continue
    if (name === 'user' && facts.options?.includes('safety_identifier') === true) {
      // Said beside a different `safety_identifier`, which is then our `endUser`.
      known['user'] = value
      if (request.endUser !== undefined) known['safety_identifier'] = request.endUser
    } else if (facts.options?.includes(name) === true) known[name] = value
    else writing.change(name, 'lossy', `not supported by ${facts.name}`)
  }
  return known
}
