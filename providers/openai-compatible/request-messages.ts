import type {
  AssistantMessage,
  AudioPart,
  ChatRequest,
  FilePart,
  ImagePart,
  JsonObject,
  JsonValue,
  Message,
  ReasoningPart,
  TextPart,
  ToolMessage,
} from '#protocol'
import { shortCallId } from './names.ts'
import { type SealedCall, writeDetails } from './reasoning-details.ts'
import { cacheControl, type Writing } from './writing.ts'

type UserPart = TextPart | ImagePart | FilePart | AudioPart

/** Our messages in OpenAI's form; what a tool returned that is not text follows as a user's. */
export function encodeMessages(writing: Writing, request: ChatRequest): JsonObject[] {
  const wire: JsonObject[] = []
  /** Media of the tool results so far; they may not stand between two results of one turn. */
  let waiting: JsonValue[] = []
  for (const [index, message] of request.messages.entries()) {
    if (message.role !== 'tool') flush()
    const field = `messages[${index}]`
    const encoded = encodeMessage(writing, message, field)
    wire.push(...encoded.messages)
    waiting.push(...encoded.media)
  }
  flush()
  return wire

  function flush(): void {
    if (waiting.length > 0) wire.push({ role: 'user', content: waiting })
    waiting = []
  }
}

function encodeMessage(
  writing: Writing,
  message: Message,
  field: string,
): { messages: readonly JsonObject[]; media: readonly JsonValue[] } {
  const { facts } = writing
  switch (message.role) {
    case 'system':
    case 'developer': {
      const role = facts.developerRole === true ? message.role : 'system'
      if (role !== message.role) writing.change(`${field}.role`, 'adapted', 'sent as system')
      const content = encodeTexts(writing, message.content, field)
      return { messages: [{ role, content, ...encodeName(writing, message, field) }], media: [] }
    }
    case 'user': {
      const content = encodeUser(writing, message.content, field)
      return {
        messages: [{ role: 'user', content, ...encodeName(writing, message, field) }],
        media: [],
      }
    }
    case 'assistant':
      return { messages: [encodeAssistant(writing, message, field)], media: [] }
    default:
      return encodeResult(writing, message, field)
  }
}

function encodeName(writing: Writing, message: { name?: string }, field: string): JsonObject {
  if (message.name === undefined) return {}
  if (writing.facts.ignores?.includes('messages.name') !== true) return { name: message.name }
  writing.change(`${field}.name`, 'lossy', `not supported by ${writing.facts.name}`)
  return {}
}

/** One text stays a string; several stay apart where the provider takes a list in every role. */
function encodeTexts(
  writing: Writing,
  parts: readonly TextPart[],
  field: string,
): string | readonly JsonObject[] {
  const { facts } = writing
  const encoded = parts.map((part, index) =>
    encodeText(writing, part, `${field}.content[${index}]`),
  )
  const marked = encoded.some((part) => 'cache_control' in part)
  if (marked || (parts.length > 1 && facts.textParts === true)) return encoded
  return parts.map(({ text }) => text).join('\n')
}

function encodeText(writing: Writing, { text, cache }: TextPart, field: string): JsonObject {
  return { type: 'text', text, ...cacheControl(writing, cache, `${field}.cache_control`) }
}

function encodeUser(writing: Writing, parts: readonly UserPart[], field: string): JsonValue {
  if (parts.every((part) => part.type === 'text')) return encodeTexts(writing, parts, field)
  return parts.map((part, index) => encodePart(writing, part, `${field}.content[${index}]`))
}

function encodePart(writing: Writing, part: UserPart, field: string): JsonObject {
  if (part.type === 'text') return encodeText(writing, part, field)
  return {
    ...encodeMedia(writing, part, field),
    ...cacheControl(writing, part.cache, `${field}.cache_control`),
  }
}

function encodeMedia(
  writing: Writing,
  part: ImagePart | FilePart | AudioPart,
  field: string,
): JsonObject {
  if (part.type === 'image') return encodeImage(writing, part, field)
  if (part.type === 'file') return encodeFile(writing, part, field)
  if (writing.facts.capabilities?.audio !== true) writing.refuse(field, 'audio')
  return { type: 'input_audio', input_audio: { data: part.data, format: part.format } }
}

function encodeImage(writing: Writing, part: ImagePart, field: string): JsonObject {
  const images = writing.facts.capabilities?.images ?? 'url'
  if (images === 'none') writing.refuse(field, 'images')
  const { source } = part
  if (source.type === 'id') writing.refuse(field, 'images by file id')
  if (source.type === 'url' && images === 'inline') writing.refuse(field, 'images by URL')
  const url = source.type === 'url' ? source.url : `data:${source.mediaType};base64,${source.data}`
  return {
    type: 'image_url',
    image_url: { url, ...(part.detail === undefined ? {} : { detail: part.detail }) },
  }
}

function encodeFile(writing: Writing, part: FilePart, field: string): JsonObject {
  const { source, filename } = part
  const { capabilities, files = 'data' } = writing.facts
  if (source.type === 'base64' && source.mediaType.startsWith('text/')) {
    writing.change(field, 'adapted', 'the file is sent as text')
    return { type: 'text', text: Buffer.from(source.data, 'base64').toString('utf8') }
  }
  if (capabilities?.files !== true) writing.refuse(field, 'files')
  if (files === 'file_url') {
    if (source.type === 'id') writing.refuse(field, 'files by id')
    const named = filename === undefined ? {} : { file_name: filename }
    const url = source.type === 'url' ? source.url : source.data
    return { type: 'file_url', file_url: { url }, ...named }
  }
  if (source.type === 'id') return { type: 'file', file: { file_id: source.id } }
  if (source.type === 'url' && files === 'data') writing.refuse(field, 'files by URL')
  const data = source.type === 'url' ? source.url : `data:${source.mediaType};base64,${source.data}`
  // OpenAI refuses `file_data` without a name.
  return { type: 'file', file: { filename: filename ?? 'file', file_data: data } }
}

function encodeAssistant(writing: Writing, message: AssistantMessage, field: string): JsonObject {
  const { facts, names } = writing
  const texts: TextPart[] = []
  const reasoning: ReasoningPart[] = []
  const calls: JsonObject[] = []
  const sealed: SealedCall[] = []
  let refusal = ''
  for (const [index, part] of message.content.entries()) {
    switch (part.type) {
      case 'text':
        texts.push(part)
        break
      case 'reasoning':
        reasoning.push(part)
        break
      case 'refusal':
        refusal += part.text
        break
      case 'media':
        writing.change(
          `${field}.content[${index}]`,
          'lossy',
          'media of an answer cannot be returned',
        )
        break
      case 'tool-call': {
        const id = shortCallId(part.id, facts.maxCallId)
        const name = names.toWire(part.name)
        const type = part.custom === true ? 'custom' : 'function'
        const given =
          type === 'custom' ? { input: part.arguments } : { arguments: part.arguments || '{}' }
        calls.push({
          id,
          type,
          [type]: { name, ...given },
          ...cacheControl(
            writing,
            part.cache,
            `${field}.tool_calls[${calls.length}].cache_control`,
          ),
        })
        if (part.signature !== undefined) sealed.push({ id, signature: part.signature })
      }
    }
  }
  const parts = encodeTexts(writing, texts, field)
  // Text cut by reasoning or citations is one text: joined as it was written.
  const joined = typeof parts === 'string' ? texts.map(({ text }) => text).join('') : parts
  const silent = texts.length === 0 && (calls.length > 0 || refusal !== '')
  return {
    role: 'assistant',
    content: silent ? null : joined,
    ...(refusal === '' ? {} : { refusal }),
    ...encodeName(writing, message, field),
    ...replay(writing, { reasoning, sealed, calls: calls.length > 0 }, field),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
}

interface Thought {
  readonly reasoning: readonly ReasoningPart[]
  readonly sealed: readonly SealedCall[]
  /** The turn calls tools. */
  readonly calls: boolean
}

function replay(writing: Writing, thought: Thought, field: string): JsonObject {
  const { facts } = writing
  const { reasoning, sealed, calls } = thought
  if (facts.replay === 'reasoning_details') {
    const details = writeDetails(reasoning, sealed)
    return details.length === 0 ? {} : { reasoning_details: details }
  }
  if (reasoning.length === 0) {
    return facts.replayRequired === true && calls ? { reasoning_content: '' } : {}
  }
  if (facts.replay !== undefined) {
    return { [facts.replay]: reasoning.map(({ text }) => text).join('') }
  }
  writing.change(`${field}.reasoning`, 'lossy', `${facts.name} takes no earlier reasoning`)
  return {}
}

function encodeResult(
  writing: Writing,
  message: ToolMessage,
  field: string,
): { messages: readonly JsonObject[]; media: readonly JsonValue[] } {
  const texts = message.content.filter((part) => part.type === 'text')
  const media = message.content.filter((part) => part.type !== 'text')
  if (media.length > 0) {
    writing.change(`${field}.content`, 'adapted', 'media of the result follow as a user message')
  }
  const content = texts.length === 0 ? '' : encodeTexts(writing, texts, field)
  if (message.isError === true) writing.change(`${field}.is_error`, 'adapted', 'said in the text')
  const told = message.isError === true ? failed(content) : content
  return {
    messages: [
      {
        role: 'tool',
        tool_call_id: shortCallId(message.callId, writing.facts.maxCallId),
        content: told,
      },
    ],
    media: media.map((part, index) => encodePart(writing, part, `${field}.content[${index}]`)),
  }
}

function failed(content: string | readonly JsonObject[]): JsonValue {
  if (typeof content === 'string') return /^error/i.test(content) ? content : `Error: ${content}`
  return [{ type: 'text', text: 'Error:' }, ...content]
}
