import type { Citation, FinishReason, JsonValue, Source } from '#protocol'
import { type Detail, readDetail } from './reasoning-details.ts'
import { type Fields, count, fields, isFields, list, text } from './wire.ts'

// What a whole message and a streamed delta have in common.

const FINISH: Readonly<Record<string, FinishReason>> = {
  stop: 'stop',
  eos: 'stop',
  eos_token: 'stop',
  end_turn: 'stop',
  stop_sequence: 'stop',
  length: 'length',
  max_tokens: 'length',
  model_length: 'length',
  model_context_window_exceeded: 'length',
  tool_calls: 'tool-calls',
  tool_use: 'tool-calls',
  function_call: 'tool-calls',
  content_filter: 'content-filter',
  sensitive: 'content-filter', // Z.ai
  error: 'error',
  abort: 'error', // vLLM
  network_error: 'error', // Z.ai
  insufficient_system_resource: 'error', // DeepSeek
}

/**
 * Our word for the provider's. An answer that calls tools ended for that, whatever it says:
 * OpenAI says `stop` where the tool was forced, others always; Snowflake says nothing.
 */
export function finishReason(raw: string, callsTools: boolean): FinishReason {
  const reason = Object.hasOwn(FINISH, raw) ? FINISH[raw]! : 'stop'
  return reason === 'stop' && callsTools ? 'tool-calls' : reason
}

export interface Content {
  readonly text: string
  readonly reasoning: string
  readonly images: readonly Source[]
}

/** Content as text, or as the list of parts some gateways answer with. */
export function readContent(content: unknown): Content {
  if (!Array.isArray(content)) return { text: text(content), reasoning: '', images: [] }
  let said = ''
  let thought = ''
  for (const part of content.filter(isFields)) {
    const type = text(part['type'])
    if (type === 'thinking' || type === 'reasoning') thought += thinking(part)
    else said += text(part['text'])
  }
  return { text: said, reasoning: thought, images: readImages(content) }
}

function thinking(part: Fields): string {
  const inner = part['thinking'] ?? part['text'] ?? part['reasoning']
  return (
    text(inner) || list(inner).reduce<string>((sum, each) => sum + text(fields(each)['text']), '')
  )
}

/** Reasoning in whichever of its fields; a text that comes in two of them counts once. */
export function readReasoning(message: Fields): readonly Detail[] {
  const details = list(message['reasoning_details'])
    .map(readDetail)
    .filter((each) => each !== undefined)
  if (details.some((each) => each.text !== '')) return details
  const plain =
    text(message['reasoning_content']) ||
    text(message['reasoning']) ||
    readContent(message['content']).reasoning
  return plain === ''
    ? details
    : [{ callId: '', text: plain, signature: '', redacted: '', block: 'plain' }, ...details]
}

/** Pictures among content parts or in OpenRouter's `images`: `{image_url: {url}}`. */
export function readImages(parts: unknown): readonly Source[] {
  return list(parts)
    .map((part) => {
      const image = fields(part)['image_url']
      return text(image) || text(fields(image)['url'])
    })
    .filter((url) => url !== '')
    .map(readSource)
}

function readSource(url: string): Source {
  const inline = /^data:([^;,]+);base64,/.exec(url)
  return inline === null
    ? { type: 'url', url }
    : { type: 'base64', mediaType: inline[1]!, data: url.slice(inline[0].length) }
}

/** `annotations` of a message or delta. */
export function readAnnotations(value: unknown): readonly Citation[] {
  return list(value)
    .map((each) => fields(fields(each)['url_citation']))
    .filter((each) => text(each['url']) !== '')
    .map((each) => {
      const start = count(each['start_index'])
      const end = count(each['end_index'])
      // OpenRouter sends 0 to 0 where it does not know.
      return citation(each, start === undefined || !end ? {} : { start, end })
    })
}

/** Perplexity's sources, beside the choices: `search_results`, or bare `citations`. */
export function readSources(body: Fields): readonly Citation[] {
  const results = list(body['search_results']).filter(isFields)
  if (results.length > 0) return results.map((each) => citation(each, {}))
  return list(body['citations'])
    .filter((url) => typeof url === 'string')
    .map((url) => ({ url }))
}

function citation(from: Fields, place: { start?: number; end?: number }): Citation {
  const title = text(from['title'])
  const quote = text(from['content']) || text(from['snippet'])
  return {
    url: text(from['url']),
    ...(title === '' ? {} : { title }),
    ...(quote === '' ? {} : { quote }),
    ...place,
  }
}

export interface Call {
  readonly id: string
  readonly name: string
  /** JSON text, or free text for a custom tool. */
  readonly arguments: string
  readonly custom: boolean
}

/** A tool call or a piece of one; whatever it lacks is empty. */
export function readCall(value: Fields): Call {
  // Snowflake sends an empty `custom` beside `function`.
  const custom = value['type'] === 'custom' || (!('function' in value) && isFields(value['custom']))
  const inner = fields(value[custom ? 'custom' : 'function'])
  const given = inner[custom ? 'input' : 'arguments']
  return {
    id: text(value['id']),
    name: text(inner['name']),
    arguments: isFields(given) ? JSON.stringify(given) : text(given),
    custom,
  }
}

/** Log probabilities, unless they are OpenAI's way of saying there are none. */
export function readLogprobs(value: unknown): JsonValue | undefined {
  if (!isFields(value)) return undefined
  const given = Object.values(value).some((each) => each !== null && each !== undefined)
  return given ? value : undefined
}
