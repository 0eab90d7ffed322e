import { createHash } from 'node:crypto'
import { GatewayError } from '#errors'
import type {
  AssistantMessage,
  AudioPart,
  Change,
  FilePart,
  ImagePart,
  Message,
  TextPart,
  ToolMessage,
  UserMessage,
} from '#protocol'
import type { WireAssistantMessage, WireChunk, WireMessage } from './wire.ts'

/** Notes a change to a field of the caller's request. */
export type Note = (field: string, kind: Change['kind'], note: string) => void

/** Marks a reasoning signature as Mistral's, so that another provider's is never sent there. */
export const SIGNATURE_MARK = 'mistral.'

/**
 * Messages in the order Mistral accepts: after `tool` only `tool` and `assistant`, after
 * `assistant` no `system`, an assistant message last only as a prefix to continue.
 *
 * Source: https://github.com/mistralai/mistral-common (`validator.py`), which the API runs.
 */
export function writeMessages(messages: readonly Message[], note: Note): WireMessage[] {
  const written: WireMessage[] = []
  let media: WireChunk[] = []

  for (const [index, message] of messages.entries()) {
    const path = `messages[${index}]`
    if ('name' in message) note(`${path}.name`, 'lossy', 'not supported by mistral')
    if (message.role === 'tool') {
      written.push(toolMessage(message, path, media, note))
      if (messages[index + 1]?.role !== 'tool' && media.length > 0) {
        pushAfterTool(written, { role: 'user', content: media })
        media = []
      }
      continue
    }
    if (message.role === 'assistant') {
      const assistant = assistantMessage(message, path, note)
      if (assistant !== undefined) written.push(assistant)
      else note(path, 'adapted', 'an empty message is left out')
      continue
    }
    const previous = written.at(-1)?.role
    if (previous === 'tool') {
      note(path, 'adapted', 'an assistant message "OK" stands before it, after the tool results')
    }
    if (message.role === 'user') {
      pushAfterTool(written, { role: 'user', content: userContent(message, path, note) })
    } else if (previous === 'tool' || previous === 'assistant') {
      note(path, 'adapted', 'sent as a user message: mistral has no instructions at this point')
      pushAfterTool(written, { role: 'user', content: texts(message.content, path, note) })
    } else {
      written.push({ role: 'system', content: texts(message.content, path, note) })
    }
  }

  const last = written.at(-1)
  if (last?.role === 'assistant' && (last.tool_calls ?? []).length === 0) {
    last.prefix = true
    note(`messages[${messages.length - 1}]`, 'adapted', 'sent as a prefix for the answer')
  }
  return written
}

function pushAfterTool(written: WireMessage[], message: WireMessage): void {
  if (written.at(-1)?.role === 'tool') written.push({ role: 'assistant', content: 'OK' })
  written.push(message)
}

/** Media of tool results are put in `media`, for the user message that follows all results. */
function toolMessage(
  message: ToolMessage,
  path: string,
  media: WireChunk[],
  note: Note,
): WireMessage {
  if (message.isError === true) {
    note(`${path}.is_error`, 'adapted', 'only the content tells mistral of it')
  }
  const words: TextPart[] = []
  for (const [index, part] of message.content.entries()) {
    const field = `${path}.content[${index}]`
    if (part.type === 'text') {
      words.push(part)
      continue
    }
    note(field, 'adapted', 'sent in a user message after the tool results')
    media.push(chunk(part, field, note))
  }
  if (words.length === 0 && message.content.length > 0) {
    words.push({ type: 'text', text: 'The result is attached.' })
  }
  return {
    role: 'tool',
    tool_call_id: callId(message.callId, `${path}.tool_call_id`, note),
    content: texts(words, path, note),
  }
}

function assistantMessage(
  message: AssistantMessage,
  path: string,
  note: Note,
): WireAssistantMessage | undefined {
  const chunks: WireChunk[] = []
  const calls: NonNullable<WireAssistantMessage['tool_calls']> = []
  for (const [index, part] of message.content.entries()) {
    const field = `${path}.content[${index}]`
    switch (part.type) {
      case 'text':
        noteCache(part, field, note)
        if (part.text !== '') chunks.push({ type: 'text', text: part.text })
        break
      case 'refusal':
        note(`${path}.refusal`, 'adapted', 'sent as text')
        chunks.push({ type: 'text', text: part.text })
        break
      case 'reasoning': {
        const signature = ownSignature(part.signature)
        if (part.redacted !== undefined) {
          note(field, 'lossy', 'sealed reasoning can not be read by mistral')
        } else if (part.text !== '' || signature !== undefined) {
          chunks.push({
            type: 'thinking',
            thinking: part.text === '' ? [] : [{ type: 'text', text: part.text }],
            ...(signature === undefined ? {} : { signature }),
          })
        }
        break
      }
      case 'tool-call': {
        const call = `${path}.tool_calls[${calls.length}]`
        if (part.custom === true) note(call, 'adapted', 'sent as a function call')
        noteCache(part, call, note)
        calls.push({
          id: callId(part.id, `${call}.id`, note),
          type: 'function',
          function: {
            name: part.name,
            arguments:
              part.custom === true ? JSON.stringify({ input: part.arguments }) : part.arguments,
          },
        })
        break
      }
      case 'media':
        note(field, 'lossy', 'mistral takes no media in an assistant message')
        break
    }
  }
  if (chunks.length === 0 && calls.length === 0) return undefined
  return {
    role: 'assistant',
    content: plain(chunks),
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  }
}

function ownSignature(signature: string | undefined): string | undefined {
  if (signature?.startsWith(SIGNATURE_MARK) !== true) return undefined
  return signature.slice(SIGNATURE_MARK.length)
}

function userContent(message: UserMessage, path: string, note: Note): string | WireChunk[] {
  return plain(message.content.map((part, index) => chunk(part, `${path}.content[${index}]`, note)))
}

function texts(parts: readonly TextPart[], path: string, note: Note) {
  const chunks = parts.map((part, index) => {
    noteCache(part, `${path}.content[${index}]`, note)
    return { type: 'text' as const, text: part.text }
  })
  const [only] = chunks
  if (chunks.length > 1) return chunks
  return only?.text ?? ''
}

/** A lone text as a string, as every model of theirs takes it. */
function plain(chunks: WireChunk[]): string | WireChunk[] {
  const [only] = chunks
  if (only === undefined) return ''
  return chunks.length === 1 && only.type === 'text' ? only.text : chunks
}

function chunk(
  part: TextPart | ImagePart | FilePart | AudioPart,
  field: string,
  note: Note,
): WireChunk {
  noteCache(part, field, note)
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text }
    case 'image':
      return image(part, field, note)
    case 'file':
      return file(part, field, note)
    default:
      // Their schema has the bare base64; the format is read from the bytes.
      return { type: 'input_audio', input_audio: part.data }
  }
}

function image({ source, detail }: ImagePart, field: string, note: Note): WireChunk {
  if (source.type === 'id') {
    throw new GatewayError('unsupported_feature', 'Mistral takes no image by file id', {
      param: field,
    })
  }
  const url = source.type === 'url' ? source.url : `data:${source.mediaType};base64,${source.data}`
  if (detail === undefined) return { type: 'image_url', image_url: url }
  if (detail === 'original') {
    note(`${field}.image_url.detail`, 'adapted', '"original" sent as "high"')
  }
  return {
    type: 'image_url',
    image_url: { url, detail: detail === 'original' ? 'high' : detail },
  }
}

function file({ source, filename }: FilePart, field: string, note: Note): WireChunk {
  const name = filename === undefined ? {} : { document_name: filename }
  if (source.type === 'url') return { type: 'document_url', document_url: source.url, ...name }
  if (source.type === 'id') return { type: 'file', file_id: source.id }
  const { data, mediaType } = source
  const url = `data:${mediaType};base64,${data}`
  if (mediaType.startsWith('image/')) return { type: 'image_url', image_url: url }
  if (mediaType.startsWith('audio/')) return { type: 'input_audio', input_audio: data }
  if (mediaType.startsWith('text/') || mediaType === 'application/json') {
    note(field, 'adapted', `a file of ${mediaType} sent as text`)
    const words = Buffer.from(data, 'base64').toString('utf8')
    return { type: 'text', text: filename === undefined ? words : `${filename}:\n\n${words}` }
  }
  return { type: 'document_url', document_url: url, ...name }
}

/** Mistral caches by `prompt_cache_key` for a whole request, not by mark. */
function noteCache(part: { readonly cache?: unknown }, field: string, note: Note): void {
  if (part.cache !== undefined) {
    note(`${field}.cache_control`, 'lossy', 'mistral caches by prompt_cache_key')
  }
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/**
 * A tool call id as Mistral accepts it: exactly nine of `[a-zA-Z0-9]`.
 *
 * Its own ids stay; any other becomes a digest of itself, so that call and result still match
 * in every request of a conversation.
 */
function callId(id: string, field: string, note: Note): string {
  if (/^[a-zA-Z0-9]{9}$/.test(id)) return id
  note(field, 'adapted', 'mistral takes ids of nine letters and digits')
  return digestId(id)
}

/** Nine letters and digits made from any text. */
export function digestId(from: string): string {
  const digest = createHash('sha256').update(from).digest()
  return Array.from(digest.subarray(0, 9), (byte) => ALPHABET[byte % ALPHABET.length]).join('')
}
