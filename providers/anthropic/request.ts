import { createHash } from 'node:crypto'
import { GatewayError } from '#errors'
import type { ChatRequest, Encoded, JsonObject, JsonValue, Target } from '#protocol'
import type { Draft } from './draft.ts'
import { adapted, cacheControl, limitMarkers, lossy } from './draft.ts'
import { encodeConversation } from './messages.ts'
import type { ModelTraits } from './models.ts'
import { traitsOf } from './models.ts'
import { toolNames } from './names.ts'
import { encodeFormat } from './output.ts'
import { encodeSampling, planThinking } from './reasoning.ts'
import { encodeTools } from './tools.ts'
import type { Turn } from './turns.ts'
import { continuesWithoutThinking, wireTurns } from './turns.ts'
import type { MessagesBody } from './wire.ts'
import { isObject } from './wire.ts'

/** Of the caller's own options, those the Messages API has under the same name. */
const OPTIONS = [
  'cache_control',
  'container',
  'context_management',
  'diagnostics',
  'inference_geo',
  'mcp_servers',
  'speed',
]
/** Options read where they belong, and the form they are read in. */
const FORMS: Readonly<Record<string, (value: JsonValue) => boolean>> = {
  betas: Array.isArray,
  output_config: isObject,
  thinking: isObject,
  top_k: (value) => typeof value === 'number',
}

/**
 * Writes a request for `POST /v1/messages`.
 *
 * @throws GatewayError `unsupported_feature` for several answers, audio, and files the API
 *   does not take; `invalid_value` for a conversation or tool choice that makes no sense
 */
export function encode(request: ChatRequest, target: Target): Encoded {
  if (request.n !== undefined && request.n > 1) {
    throw new GatewayError('unsupported_feature', 'Anthropic gives one answer per request', {
      param: 'n',
    })
  }
  const traits = traitsOf(target.model)
  const draft: Draft = {
    names: toolNames(request),
    changes: [],
    markers: [],
    betas: new Set(),
  }
  const body = encodeBody(request, target, traits, draft)
  return {
    request: {
      method: 'POST',
      url: `${target.baseUrl}/v1/messages`,
      headers: requestHeaders(target, draft.betas),
      body: stringify(body, draft),
    },
    changes: draft.changes,
  }
}

/** Headers of every call; a target's own come last, with its betas beside ours. */
export function requestHeaders(
  target: Target,
  betas: ReadonlySet<string> = new Set(),
): Record<string, string> {
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'anthropic-version': '2023-06-01',
    ...(target.credential !== undefined && { 'x-api-key': target.credential }),
  }
  for (const [name, value] of Object.entries(target.headers)) headers[name.toLowerCase()] = value
  const beta = [...betas, ...(headers['anthropic-beta']?.split(',') ?? [])].map((each) =>
    each.trim(),
  )
  if (beta.length > 0) headers['anthropic-beta'] = [...new Set(beta)].join(',')
  return headers
}

/** Half a character has no place in UTF-8, and the API refuses its escape. */
function stringify(body: MessagesBody, draft: Draft): string {
  const json = JSON.stringify(body)
  if (!json.includes('\\ud')) return json
  const whole = JSON.stringify(body, (_, value: unknown) =>
    typeof value === 'string' ? value.toWellFormed() : value,
  )
  if (whole !== json) adapted(draft, 'messages', 'halves of characters replaced by U+FFFD')
  return whole
}

function encodeBody(
  request: ChatRequest,
  target: Target,
  traits: ModelTraits,
  draft: Draft,
): MessagesBody {
  // Tools before messages: cache markers count in the order the provider reads.
  const { tools, choice, forced } = encodeTools(request, traits, draft)
  const { system, turns } = encodeConversation(request.messages, draft)
  const prefill = closeWithUser(turns, traits, draft)
  const { format, instruction } = encodeFormat(request, traits, draft)
  if (instruction !== undefined) system.push({ type: 'text', text: instruction })

  const maxTokens = encodeMaxTokens(request, target, traits, draft)
  const { thinking, effort } = planThinking(
    request,
    traits,
    {
      maxTokens,
      forcedTool: forced,
      prefill,
      continuesWithoutThinking: continuesWithoutThinking(turns),
    },
    draft,
  )
  const thinks = thinking !== undefined && thinking.type !== 'disabled'
  const options = encodeOptions(request, draft)
  const cached = request.cache ? { cache_control: cacheControl(request.cache) } : {}
  limitMarkers(draft, request.cache || 'cache_control' in options ? 1 : 0)
  reportUnsupported(request, draft)

  return {
    model: target.model,
    max_tokens: maxTokens,
    ...(system.length > 0 && { system }),
    messages: wireTurns(turns),
    ...(tools && { tools }),
    ...(choice && { tool_choice: choice }),
    ...(thinking && { thinking }),
    ...encodeSampling(request, traits, thinks, draft),
    ...encodeStop(request, draft),
    ...encodeUser(request, draft),
    ...encodeServiceTier(request, draft),
    ...cached,
    ...options,
    ...outputConfig({ ...(effort && { effort }), ...(format && { format }) }, request),
    ...(request.stream && { stream: true }),
  }
}

/**
 * A conversation that ends with the assistant is continued by older models and refused by
 * newer ones.
 *
 * @returns whether the assistant's words stand last
 */
function closeWithUser(turns: Turn[], traits: ModelTraits, draft: Draft): boolean {
  const last = turns.at(-1)
  if (last?.role !== 'assistant') return false
  const field = 'messages'
  if (!traits.prefill) {
    adapted(draft, field, 'a user message "Continue." added: this model can not be last')
    turns.push({ role: 'user', results: [], rest: [{ type: 'text', text: 'Continue.' }] })
    return false
  }
  const block = last.blocks.at(-1)
  if (block?.type === 'text' && block.text !== block.text.trimEnd()) {
    adapted(draft, field, 'blanks at the end of the last message left out')
    block.text = block.text.trimEnd()
  }
  return true
}

function encodeMaxTokens(
  { maxOutputTokens: asked }: ChatRequest,
  { maxOutputTokens: most }: Target,
  traits: ModelTraits,
  draft: Draft,
): number {
  const field = 'max_completion_tokens'
  if (asked === undefined) {
    if (most !== undefined) return most
    adapted(draft, field, `anthropic needs one: ${traits.defaultMaxTokens}`)
    return traits.defaultMaxTokens
  }
  if (most === undefined || asked <= most) return asked
  adapted(draft, field, `clamped from ${asked} to ${most}, the most of this model`)
  return most
}

function encodeStop(
  { stop = [] }: ChatRequest,
  draft: Draft,
): Pick<MessagesBody, 'stop_sequences'> {
  const visible = stop.filter((sequence) => sequence.trim() !== '')
  if (visible.length < stop.length) {
    lossy(draft, 'stop', 'sequences of blanks are not supported by anthropic')
  }
  return visible.length > 0 ? { stop_sequences: visible } : {}
}

const LONGEST_USER_ID = 512
/** The API refuses ids that look like an e-mail address or a telephone number. */
const PERSONAL = /\S+@\S+|^\+?[\d\s()-]{7,}$/

function encodeUser({ endUser }: ChatRequest, draft: Draft): Pick<MessagesBody, 'metadata'> {
  if (endUser === undefined || endUser === '') return {}
  if (endUser.length <= LONGEST_USER_ID && !PERSONAL.test(endUser)) {
    return { metadata: { user_id: endUser } }
  }
  adapted(draft, 'user', 'sent as its SHA-256: anthropic takes short opaque ids')
  return { metadata: { user_id: createHash('sha256').update(endUser).digest('hex') } }
}

function encodeServiceTier(
  { serviceTier }: ChatRequest,
  draft: Draft,
): Pick<MessagesBody, 'service_tier'> {
  const field = 'service_tier'
  switch (serviceTier) {
    case undefined:
      return {}
    case 'auto':
    case 'standard_only':
      return { service_tier: serviceTier }
    case 'default':
      adapted(draft, field, 'sent as standard_only')
      return { service_tier: 'standard_only' }
    case 'priority':
      adapted(draft, field, 'sent as auto, which uses priority capacity where there is any')
      return { service_tier: 'auto' }
    default:
      lossy(draft, field, 'not supported by anthropic')
      return {}
  }
}

function outputConfig(
  ours: NonNullable<MessagesBody['output_config']>,
  { providerOptions }: ChatRequest,
): Pick<MessagesBody, 'output_config'> {
  const own = providerOptions['output_config']
  const config = { ...ours, ...(isObject(own) && own) }
  return Object.keys(config).length > 0 ? { output_config: config } : {}
}

function encodeOptions({ providerOptions }: ChatRequest, draft: Draft): JsonObject {
  const passed: Record<string, JsonValue> = {}
  for (const [name, value] of Object.entries(providerOptions)) {
    if (OPTIONS.includes(name)) passed[name] = value
    else if (value !== null && !FORMS[name]?.(value)) {
      lossy(
        draft,
        name,
        name in FORMS ? 'not in the form anthropic takes' : 'not known to anthropic',
      )
    }
  }
  const { betas } = providerOptions
  for (const beta of Array.isArray(betas) ? betas : []) draft.betas.add(String(beta))
  return passed
}

function reportUnsupported(request: ChatRequest, draft: Draft): void {
  const asked: Readonly<Record<string, unknown>> = {
    seed: request.seed,
    logprobs: request.logprobs,
    logit_bias: request.logitBias,
    frequency_penalty: request.frequencyPenalty || undefined,
    presence_penalty: request.presencePenalty || undefined,
    verbosity: request.verbosity,
    metadata: request.metadata,
  }
  for (const [field, value] of Object.entries(asked)) {
    if (value !== undefined) lossy(draft, field, 'not supported by anthropic')
  }
}
