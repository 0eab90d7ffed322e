import type { Kind } from './explained.ts'
import { fields, isFields, list, objects, parsed, spoken, text } from './json.ts'
import type { Fields } from './json.ts'

/**
 * Mistral's requests in OpenAI's words, and in a form of their own in which two requests that mean
 * the same are equal.
 *
 * @see https://docs.mistral.ai/api/endpoint/chat
 */

/** Members of one name and meaning in both. */
const SAME = [
  'model',
  'temperature',
  'top_p',
  'stop',
  'n',
  'presence_penalty',
  'frequency_penalty',
  'parallel_tool_calls',
  'response_format',
  'reasoning_effort',
  'metadata',
  'prediction',
  'prompt_mode',
  'prompt_cache_key',
  'safe_prompt',
  'guardrails',
  'service_tier',
]

export function sayable(body: Fields, unsaid: Set<Kind>): Fields {
  const plain = spoken(body)
  const messages = objects(plain['messages']).map((message, index, all) => {
    const { prefix, ...rest } = spoken(message)
    // At the end it is what an assistant's message means to OpenAI's users as well.
    if (prefix === true && index < all.length - 1) unsaid.add('prefill')
    return rest
  })
  return { ...plain, messages }
}

/** A request that {@link sayable} has been through, as a user of OpenAI's SDK would write it. */
export function toOpenAI(body: Fields): Fields {
  const choice = body['tool_choice']
  const offers = objects(body['tools']).length > 0
  return {
    ...Object.fromEntries(SAME.map((name) => [name, body[name]])),
    messages: objects(body['messages']).map(toMessage),
    max_tokens: body['max_tokens'],
    seed: body['random_seed'],
    ...(body['stream'] === true && { stream: true, stream_options: { include_usage: true } }),
    ...(offers && {
      tools: objects(body['tools']).map((tool) => ({ type: 'function', ...tool })),
      tool_choice: choice === 'any' ? 'required' : choice,
    }),
  }
}

function toMessage(message: Fields): Fields {
  const { content, tool_calls: calls, ...rest } = message
  return {
    ...rest,
    content: Array.isArray(content) ? objects(content).map(toPart) : content,
    ...(objects(calls).length > 0 && {
      tool_calls: objects(calls).map(({ id, function: called }) => ({
        id,
        type: 'function',
        function: called,
      })),
    }),
  }
}

function toPart(chunk: Fields): Fields {
  switch (chunk['type']) {
    case 'document_url':
      return {
        type: 'file',
        file: { file_url: chunk['document_url'], filename: chunk['document_name'] },
      }
    case 'file':
      return { type: 'file', file: { file_id: chunk['file_id'] } }
    case 'input_audio': {
      const audio = chunk['input_audio']
      return {
        type: 'input_audio',
        input_audio: isFields(audio) ? audio : { data: audio, format: 'mp3' },
      }
    }
    default:
      return chunk
  }
}

/** By member of the form below, the caller's fields that a change of it may be declared under. */
export const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  messages: ['messages'],
  temperature: ['temperature'],
  seed: ['seed'],
  effort: ['reasoning_effort'],
  tools: ['tools'],
  service_tier: ['service_tier'],
}

/** The form in which two requests that mean the same are equal. */
export function canonical(body: Fields): Fields {
  const { reasoning_effort: effort, ...same } = Object.fromEntries(
    SAME.map((name) => [name, body[name]]),
  )
  const tools = objects(body['tools'])
  const choice = body['tool_choice']
  return {
    ...same,
    effort,
    max_tokens: body['max_tokens'],
    seed: body['random_seed'],
    stream: body['stream'] === true,
    tools: tools.map(({ function: described }) => {
      const { strict, ...rest } = fields(described)
      return { ...rest, strict: strict === true }
    }),
    // `auto` is what the absence of a choice means; `required` is another word for `any`.
    choice: choice === 'required' ? 'any' : (choice ?? (tools.length > 0 ? 'auto' : undefined)),
    messages: objects(body['messages']).map(canonicalMessage),
  }
}

function canonicalMessage({ role, content, tool_calls: calls, tool_call_id: id }: Fields): Fields {
  const chunks = Array.isArray(content)
    ? objects(content).map(canonicalChunk)
    : text(content) === ''
      ? []
      : [{ type: 'text', text: content }]
  return {
    role,
    id,
    content: chunks,
    calls: objects(calls).map(({ id: callId, function: called }) => {
      const { name, arguments: args } = fields(called)
      return { id: callId, name, args: isFields(args) ? args : parsed(text(args)) }
    }),
  }
}

function canonicalChunk(chunk: Fields): Fields {
  const { type } = chunk
  switch (type) {
    case 'image_url': {
      const image = chunk['image_url']
      return { type, ...(isFields(image) ? image : { url: image }) }
    }
    case 'input_audio': {
      const audio = chunk['input_audio']
      return { type, data: isFields(audio) ? audio['data'] : audio }
    }
    case 'thinking': {
      const thoughts = list(chunk['thinking']).map((each) => text(fields(each)['text']))
      return { type, text: thoughts.join(''), signature: chunk['signature'] }
    }
    default:
      return chunk
  }
}
