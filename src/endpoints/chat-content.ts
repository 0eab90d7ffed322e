import type {
  AssistantPart,
  AudioPart,
  CacheMarker,
  FilePart,
  ImagePart,
  JsonObject,
  JsonValue,
  MediaPart,
  ReasoningPart,
  RefusalPart,
  Source,
  TextPart,
} from '#protocol'
import {
  at,
  carryUnknown,
  choiceAt,
  fieldsAt,
  invalid,
  isFields,
  isList,
  nameAt,
  names,
  pathOf,
  refuse,
  refuseChoice,
  textAt,
} from './fields.ts'
import type { Carried, Place } from './fields.ts'

/** Any part that an OpenAI message can hold in its `content`. */
export type ContentPart =
  | TextPart
  | ImagePart
  | FilePart
  | AudioPart
  | RefusalPart
  | ReasoningPart
  | MediaPart

/**
 * Reads `content`: text, or a list of parts of the kinds that `accepts` holds for.
 *
 * A part of a kind we have no word for (`video_url`, ...) is carried under its path.
 *
 * @throws GatewayError `invalid_value` for a part that this role cannot say
 */
export function readContent<Part extends ContentPart>(
  value: JsonValue,
  place: Place,
  carried: Carried,
  accepts: (part: ContentPart) => part is Part,
): Part[] {
  if (!isList(value)) {
    const part = typeof value === 'string' ? ({ type: 'text', text: value } as const) : undefined
    if (part !== undefined && accepts(part)) return [part]
    return refuse(place, 'a string or an array of parts', value)
  }
  const parts: Part[] = []
  for (let index = 0; index < value.length; index++) {
    const within = at(place, index)
    const part = readPart(value[index], within, carried)
    if (part === undefined) continue
    if (accepts(part)) parts.push(part)
    else throw invalid(within, `this role cannot have content of kind ${part.type}`)
  }
  return parts
}

const MARKS = 'type cache_control prompt_cache_breakpoint'
const TEXT = names(`${MARKS} text extra_content annotations`)
const IMAGE = names(`${MARKS} image_url`)
const AUDIO = names(`${MARKS} input_audio`)
const FILE = names(`${MARKS} file`)

function readPart(
  part: JsonValue | undefined,
  place: Place,
  carried: Carried,
): ContentPart | undefined {
  // Some clients send bare strings among the parts.
  if (typeof part === 'string') return { type: 'text', text: part }
  if (!isFields(part)) return refuse(place, 'a content part', part)
  switch (part['type']) {
    case 'text':
    case 'input_text':
    case 'output_text':
      carryUnknown(part, TEXT, place, carried)
      return readText(part, place)
    case 'image_url':
      carryUnknown(part, IMAGE, place, carried)
      return readImage(part, place)
    case 'input_audio':
      carryUnknown(part, AUDIO, place, carried)
      return readAudio(part, place)
    case 'file':
      carryUnknown(part, FILE, place, carried)
      return readFile(part, place, carried)
    case 'refusal':
      return { type: 'refusal', text: required(part, 'refusal', place) }
    case 'thinking':
    case 'redacted_thinking':
      return readThinking(part, place)
    default:
      nameAt(part, 'type', place)
      carried[pathOf(place)] = part
      return undefined
  }
}

function readText(part: JsonObject, place: Place): TextPart {
  const text = required(part, 'text', place)
  const cache = readCache(part, place)
  const signature = readSignature(part, place)
  // The plain case apart: it is nearly every part there is.
  if (cache === undefined && signature === undefined) return { type: 'text', text }
  return {
    type: 'text',
    text,
    ...(cache === undefined ? {} : { cache }),
    ...(signature === undefined ? {} : { signature }),
  }
}

const DETAILS = ['auto', 'low', 'high', 'original'] as const

/** `image_url` is an object by OpenAI's page, a bare string in Mistral's and others'. */
function readImage(part: JsonObject, place: Place): ImagePart {
  const image = part['image_url']
  const within = at(place, 'image_url')
  const cache = readCache(part, place)
  const marker = cache === undefined ? {} : { cache }
  if (typeof image === 'string') {
    return { type: 'image', source: readSource(image, within), ...marker }
  }
  if (!isFields(image)) return refuse(within, 'an object with a url', image)
  const detail = choiceAt(image, 'detail', within, DETAILS)
  return {
    type: 'image',
    source: readSource(required(image, 'url', within), at(within, 'url')),
    ...(detail === undefined ? {} : { detail }),
    ...marker,
  }
}

function readAudio(part: JsonObject, place: Place): AudioPart {
  const within = at(place, 'input_audio')
  const audio = fieldsAt(part, 'input_audio', place)
  if (audio === undefined) return refuse(within, 'an object with data and format', audio)
  const data = nameAt(audio, 'data', within)
  const cache = readCache(part, place)
  return {
    type: 'audio',
    // OpenAI wants bare base64; some clients send a data: URL nevertheless.
    data: data.startsWith('data:') ? readDataUrl(data, at(within, 'data')).data : data,
    format: nameAt(audio, 'format', within),
    ...(cache === undefined ? {} : { cache }),
  }
}

const FILE_FIELDS = names('filename file_data file_id file_url format')

/**
 * By bytes (`file_data`: a data: URL), by the provider's own id, or by address: `file_url`, and an
 * address in `file_id` or `file_data` as other gateways' users write it.
 */
function readFile(part: JsonObject, place: Place, carried: Carried): FilePart {
  const within = at(place, 'file')
  const file = fieldsAt(part, 'file', place)
  if (file === undefined) return refuse(within, 'an object with file_data or file_id', file)
  carryUnknown(file, FILE_FIELDS, within, carried)
  const filename = textAt(file, 'filename', within)
  const cache = readCache(part, place)
  return {
    type: 'file',
    source: fileSource(file, within),
    ...(filename === undefined ? {} : { filename }),
    ...(cache === undefined ? {} : { cache }),
  }
}

function fileSource(file: JsonObject, place: Place): Source {
  const data = textAt(file, 'file_data', place)
  if (data !== undefined) return readSource(data, at(place, 'file_data'))
  const url = textAt(file, 'file_url', place)
  if (url !== undefined) return readSource(url, at(place, 'file_url'))
  const id = textAt(file, 'file_id', place)
  if (id === undefined || id === '') return refuse(place, 'file_data or file_id', undefined)
  return id.includes('://') ? { type: 'url', url: id } : { type: 'id', id }
}

/** @throws GatewayError `invalid_value` for what is neither a data: URL of base64 nor an address */
export function readSource(url: string, place: Place): Source {
  if (url.startsWith('data:')) return readDataUrl(url, place)
  if (!/^[a-z][a-z0-9+.-]*:/i.test(url)) return refuse(place, 'an https: or data: URL', url)
  return { type: 'url', url }
}

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

function readDataUrl(url: string, place: Place) {
  const comma = url.indexOf(',')
  const [mediaType = '', ...parameters] = url.slice('data:'.length, comma).split(';')
  if (comma < 0 || parameters.at(-1)?.trim().toLowerCase() !== 'base64') {
    throw invalid(place, 'expected a data: URL of the form data:<media type>;base64,<data>')
  }
  const data = url.slice(comma + 1)
  if (data.length % 4 === 1 || !BASE64.test(data)) {
    throw invalid(place, 'the data of the data: URL is not base64 of the standard alphabet')
  }
  return {
    type: 'base64',
    data,
    mediaType: mediaType === '' ? 'application/octet-stream' : mediaType.toLowerCase(),
  } as const satisfies Source
}

const CACHE_TTLS = ['5m', '1h'] as const

/**
 * A cache marker in Anthropic's words (`cache_control`, as the users of other gateways write it)
 * or OpenAI's (`prompt_cache_breakpoint`).
 */
export function readCache(fields: JsonObject, place: Place): CacheMarker | undefined {
  const control = fieldsAt(fields, 'cache_control', place)
  if (control === undefined) {
    return fieldsAt(fields, 'prompt_cache_breakpoint', place) === undefined ? undefined : {}
  }
  const within = at(place, 'cache_control')
  if (control['type'] !== 'ephemeral') {
    return refuseChoice(at(within, 'type'), ['ephemeral'], control['type'])
  }
  const ttl = choiceAt(control, 'ttl', within, CACHE_TTLS)
  return ttl === undefined ? {} : { ttl }
}

/** Google's `thoughtSignature`, where its own OpenAI endpoint puts it. */
export function readSignature(fields: JsonObject, place: Place): string | undefined {
  const extra = fields['extra_content']
  if (!isFields(extra)) return undefined
  const { google } = extra
  if (!isFields(google)) return undefined
  const within = at(place, 'extra_content.google')
  return textAt(google, 'thought_signature', within)
}

/**
 * What the caller was told the model thought, in whichever form it comes back: OpenRouter's
 * `reasoning_details`, LiteLLM's `thinking_blocks`, or plain `reasoning_content` / `reasoning`.
 *
 * The form that can carry a signature wins, as the plain one repeats its text.
 *
 * @returns `sealedCalls`: signatures of tool calls that stood among the details, by call id
 */
export function readReasoning(
  message: JsonObject,
  place: Place,
  carried: Carried,
): { readonly parts: readonly ReasoningPart[]; readonly sealedCalls?: Map<string, string> } {
  const details = message['reasoning_details']
  if (isList(details) && details.length > 0) {
    return readDetails(details, message['tool_calls'], at(place, 'reasoning_details'), carried)
  }
  const blocks = message['thinking_blocks']
  if (isList(blocks) && blocks.length > 0) {
    const within = at(place, 'thinking_blocks')
    return {
      parts: blocks.map((block, index) =>
        isFields(block)
          ? readThinking(block, at(within, index))
          : refuse(at(within, index), 'a thinking block', block),
      ),
    }
  }
  const text = textAt(message, 'reasoning_content', place) ?? textAt(message, 'reasoning', place)
  return { parts: text === undefined || text === '' ? [] : [{ type: 'reasoning', text }] }
}

/** https://openrouter.ai/docs/use-cases/reasoning-tokens */
function readDetails(
  details: readonly JsonValue[],
  calls: JsonValue | undefined,
  place: Place,
  carried: Carried,
) {
  const parts: ReasoningPart[] = []
  const sealedCalls = new Map<string, string>()
  let openIndex: JsonValue | undefined
  for (const [position, detail] of details.entries()) {
    const within = at(place, position)
    if (!isFields(detail)) return refuse(within, 'an object', detail)
    if (detail['type'] === 'reasoning.encrypted') {
      const data = textAt(detail, 'data', within)
      // Seen from Vercel's gateway with Gemini: an entry without its data.
      if (data === undefined || data === '') continue
      const callId = detail['id']
      if (typeof callId === 'string' && isGoogle(detail) && hasCall(calls, callId)) {
        sealedCalls.set(callId, data)
      } else {
        parts.push({ type: 'reasoning', text: '', redacted: data })
      }
      openIndex = undefined
    } else if (detail['type'] === 'reasoning.text' || detail['type'] === 'reasoning.summary') {
      const text = textAt(detail, 'text', within) ?? textAt(detail, 'summary', within) ?? ''
      const signature = textAt(detail, 'signature', within)
      if (text === '' && signature === undefined) continue
      const index = detail['index']
      // A client that kept the pieces of a stream as they came: they share an index.
      const continues = typeof index === 'number' && openIndex === index
      const before = continues ? parts.pop() : undefined
      parts.push({
        type: 'reasoning',
        text: (before?.text ?? '') + text,
        ...(before?.signature === undefined ? {} : { signature: before.signature }),
        ...(signature === undefined ? {} : { signature }),
      })
      openIndex = index
    } else {
      nameAt(detail, 'type', within)
      carried[pathOf(within)] = detail
    }
  }
  return { parts, sealedCalls }
}

function isGoogle(detail: JsonObject): boolean {
  return detail['format'] === 'google-gemini-v1'
}

function hasCall(calls: JsonValue | undefined, id: string): boolean {
  return isList(calls) && calls.some((call) => isFields(call) && call['id'] === id)
}

/** Anthropic's block, or Mistral's (whose `thinking` is a list of text parts). */
function readThinking(block: JsonObject, place: Place): ReasoningPart {
  if (block['type'] === 'redacted_thinking') {
    return { type: 'reasoning', text: '', redacted: nameAt(block, 'data', place) }
  }
  const thinking = block['thinking']
  const signature = textAt(block, 'signature', place)
  return {
    type: 'reasoning',
    text: isList(thinking)
      ? thinking
          .map((piece) => (isFields(piece) ? (textAt(piece, 'text', place) ?? '') : ''))
          .join('')
      : (textAt(block, 'thinking', place) ?? ''),
    ...(signature === undefined ? {} : { signature }),
  }
}

/** Pictures a model made, as OpenRouter returns them: `images: [{type: 'image_url', ...}]`. */
export function readImages(message: JsonObject, place: Place): MediaPart[] {
  const images = message['images']
  if (!isList(images)) return []
  return images.map((image, index) => {
    const within = at(at(place, 'images'), index)
    return toMedia(isFields(image) ? readImage(image, within) : refuse(within, 'an object', image))
  })
}

export function toMedia(part: ImagePart): MediaPart {
  return { type: 'media', source: part.source }
}

/** Marks the last part that can be marked. */
export function withCache<Part extends AssistantPart | ContentPart>(
  parts: readonly Part[],
  cache: CacheMarker | undefined,
): readonly Part[] {
  if (cache === undefined) return parts
  const last = parts.findLastIndex(
    ({ type }) => type !== 'reasoning' && type !== 'refusal' && type !== 'media',
  )
  return parts.map((part, index) => (index === last ? { ...part, cache } : part))
}

function required(fields: JsonObject, name: string, place: Place): string {
  return textAt(fields, name, place) ?? refuse(at(place, name), 'a string', fields[name])
}
