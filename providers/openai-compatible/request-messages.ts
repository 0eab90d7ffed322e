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
import { writeDetails } from './reasoning-details.ts'
import { cacheChange, type Writing } from './writing.ts'

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
  const marked = parts.some(({ cache }) => cache !== undefined)
  if (marked && facts.cache !== 'markers') cacheChange(writing, `${field}.cache_control`)
  const asParts = (marked && facts.cache === 'markers') || (parts.length > 1 && facts.textParts)
  if (asParts === true) return parts.map((part) => encodeText(writing, part))
  return parts.map(({ text }) => text).join('\n')
}

function encodeText(writing: Writing, { text, cache }: TextPart): JsonObject {
  return {
    type: 'text',
    text,
    ...(cache === undefined || writing.facts.cache !== 'markers'
      ? {}
      : {
          cache_control: {
            type: 'ephemeral',
            ...(cache.ttl === undefined ? {} : { ttl: cache.ttl }),
          },
        }),
  }
}

function encodeUser(writing: Writing, parts: readonly UserPart[], field: string): JsonValue {
  if (parts.every((part) => part.type === 'text')) return encodeTexts(writing, parts, field)
  return parts.map((part, index) => encodePart(writing, part, `${field}.content[${index}]`))
}

function encodePart(writing: Writing, part: UserPart, field: string): JsonObject {
  if (part.cache !== undefined && (part.type !== 'text' || writing.facts.cache !== 'markers')) {
    cacheChange(writing, `${field}.cache_control`)
  }
  switch (part.type) {
    case 'text':
      return encodeText(writing, part)
    case 'image':
      return encodeImage(writing, part, field)
    case 'audio': {
      if (writing.facts.capabilities?.audio !== true) writing.refuse(field, 'audio')
      return { type: 'input_audio', input_audio: { data: part.data, format: part.format } }
    }
    default:
      return encodeFile(writing, part, field)
  }
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
  const { source } = part
  const named = part.filename === undefined ? {} : { filename: part.filename }
  if (source.type === 'base64' && source.mediaType.startsWith('text/')) {
    writing.change(field, 'adapted', 'the file is sent as text')
    return { type: 'text', text: Buffer.from(source.data, 'base64').toString('utf8') }
  }
  if (writing.facts.capabilities?.files !== true) writing.refuse(field, 'files')
  if (source.type === 'id') return { type: 'file', file: { file_id: source.id } }
  if (source.type === 'url') {
    if (writing.facts.fileUrls !== true) writing.refuse(field, 'files by URL')
    return { type: 'file', file: { filename: part.filename ?? 'file', file_data: source.url } }
  }
  const data = `data:${source.mediaType};base64,${source.data}`
  // OpenAI refuses `file_data` without a name.
  return { type: 'file', file: { filename: 'file', ...named, file_data: data } }
}

function encodeAssistant(writing: Writing, message: AssistantMessage, field: string): JsonObject {
  const { facts, names } = writing
  const texts: TextPart[] = []
  const reasoning: ReasoningPart[] = []
  const calls: JsonObject[] = []
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
        calls.push({ id, type, [type]: { name, ...given } })
      }
    }
  }
  // Text cut by reasoning or citations is one text: joined as it was written.
  const joined =
    texts.some(({ cache }) => cache !== undefined) || facts.textParts === true
      ? encodeTexts(writing, texts, field)
      : texts.map(({ text }) => text).join('')
  const silent = texts.length === 0 && (calls.length > 0 || refusal !== '')
  return {
    role: 'assistant',
    content: silent ? null : joined,
    ...(refusal === '' ? {} : { refusal }),
    ...encodeName(writing, message, field),
    ...replay(writing, reasoning, calls.length > 0, field),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
}

function replay(
  writing: Writing,
  parts: readonly ReasoningPart[],
  calls: boolean,
  field: string,
): JsonObject {
  const { facts } = writing
  if (parts.length === 0) {
    return facts.replayRequired === true && calls ? { reasoning_content: '' } : {}
  }
  if (facts.replay === undefined) {
    writing.change(`${field}.reasoning`, 'lossy', `${facts.name} takes no earlier reasoning`)
    return {}
  }
  if (facts.replay === 'reasoning_details') return { reasoning_details: writeDetails(parts) }
  return { [facts.replay]: parts.map(({ text }) => text).join('') }
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
