import type {
  AssistantPart,
  AudioPart,
  FilePart,
  InstructionMessage,
  JsonObject,
  JsonValue,
  Message,
  TextPart,
  ToolCallPart,
  ToolMessage,
  UserPart,
} from '#protocol'
import {
  readCache,
  readContent,
  readImages,
  readReasoning,
  readSignature,
  toMedia,
  withCache,
} from './chat-content.ts'
import type { ContentPart } from './chat-content.ts'
import {
  at,
  booleanAt,
  carryUnknown,
  fieldsAt,
  invalid,
  isFields,
  isList,
  nameAt,
  names,
  refuse,
  refuseChoice,
  textAt,
} from './fields.ts'
import type { Carried, Place } from './fields.ts'

const ROLES = ['system', 'developer', 'user', 'assistant', 'tool', 'function'] as const

/** `messages`, with legacy function calls as tool calls. */
export function readMessages(value: JsonValue | undefined, carried: Carried): readonly Message[] {
  const place = at(undefined, 'messages')
  if (!isList(value)) return refuse(place, 'an array of messages', value)
  if (value.length === 0) return refuse(place, 'at least one message', value)
  const legacy: LegacyCalls = { ids: new Map(), count: 0 }
  const messages: Message[] = []
  for (let index = 0; index < value.length; index++) {
    messages.push(readMessage(value[index], at(place, index), carried, legacy))
  }
  return messages
}

/** Legacy calls have no ids; a `function` message answers the last call of its name. */
interface LegacyCalls {
  readonly ids: Map<string, string>
  count: number
}

function readMessage(
  message: JsonValue | undefined,
  place: Place,
  carried: Carried,
  legacy: LegacyCalls,
): Message {
  if (!isFields(message)) return refuse(place, 'a message object', message)
  switch (message['role']) {
    case 'user':
      return readUser(message, place, carried)
    case 'assistant':
      return readAssistant(message, place, carried, legacy)
    case 'tool':
      return readTool(message, place, carried)
    case 'system':
    case 'developer':
      return readInstruction(message['role'], message, place, carried)
    case 'function':
      return readFunctionResult(message, place, carried, legacy)
    default:
      return refuseChoice(at(place, 'role'), ROLES, message['role'])
  }
}

const PLAIN = 'role content name cache_control prompt_cache_breakpoint'
const PLAIN_FIELDS = names(PLAIN)
const TOOL_FIELDS = names(`${PLAIN} tool_call_id is_error`)
/** With what clients echo of an answer and no provider wants back. */
const ASSISTANT_FIELDS = names(
  `${PLAIN} tool_calls function_call refusal reasoning_content reasoning reasoning_details ` +
    'thinking_blocks images extra_content annotations document_citations parsed ' +
    'provider_specific_fields',
)

function readInstruction(
  role: 'system' | 'developer',
  message: JsonObject,
  place: Place,
  carried: Carried,
): InstructionMessage {
  carryUnknown(message, PLAIN_FIELDS, place, carried)
  const parts = readContent(contentOf(message), at(place, 'content'), carried, isText)
  const marked = withCache(parts, readCache(message, place))
  const name = textAt(message, 'name', place)
  return name === undefined ? { role, content: marked } : { role, content: marked, name }
}

function readUser(message: JsonObject, place: Place, carried: Carried): Message {
  carryUnknown(message, PLAIN_FIELDS, place, carried)
  const content = inputParts(message, place, carried)
  const name = textAt(message, 'name', place)
  return name === undefined ? { role: 'user', content } : { role: 'user', content, name }
}

function readTool(message: JsonObject, place: Place, carried: Carried): ToolMessage {
  carryUnknown(message, TOOL_FIELDS, place, carried)
  const isError = booleanAt(message, 'is_error', place)
  return {
    role: 'tool',
    callId: nameAt(message, 'tool_call_id', place),
    content: inputParts(message, place, carried),
    ...(isError === undefined ? {} : { isError }),
  }
}

function readFunctionResult(
  message: JsonObject,
  place: Place,
  carried: Carried,
  legacy: LegacyCalls,
): ToolMessage {
  carryUnknown(message, PLAIN_FIELDS, place, carried)
  const callId = legacy.ids.get(nameAt(message, 'name', place))
  if (callId === undefined) {
    throw invalid(at(place, 'name'), 'no earlier function_call has this name')
  }
  // OpenAI allows null for a function that returned nothing.
  const content = message['content'] === null ? [] : inputParts(message, place, carried)
  return { role: 'tool', callId, content }
}

/** What users and tools may say. */
function inputParts(message: JsonObject, place: Place, carried: Carried): readonly UserPart[] {
  const parts = readContent(contentOf(message), at(place, 'content'), carried, isInput)
  return withCache(parts, readCache(message, place))
}

function contentOf(message: JsonObject): JsonValue {
  return message['content'] ?? null
}

function isText(part: ContentPart): part is TextPart {
  return part.type === 'text'
}

function isInput(part: ContentPart): part is UserPart {
  const { type } = part
  return type === 'text' || type === 'image' || type === 'file' || type === 'audio'
}

function isSpoken(part: ContentPart): part is Exclude<ContentPart, FilePart | AudioPart> {
  const { type } = part
  return type !== 'file' && type !== 'audio'
}

function readAssistant(
  message: JsonObject,
  place: Place,
  carried: Carried,
  legacy: LegacyCalls,
): Message {
  carryUnknown(message, ASSISTANT_FIELDS, place, carried)
  const reasoning = readReasoning(message, place, carried)
  const content = withCache<AssistantPart>(
    [
      ...reasoning.parts,
      ...signed(spokenParts(message, place, carried), readSignature(message, place)),
      ...readImages(message, place),
      ...toolCalls(message, place, carried, reasoning.sealedCalls),
      ...legacyCall(message, place, legacy),
    ],
    readCache(message, place),
  )
  const name = textAt(message, 'name', place)
  return name === undefined ? { role: 'assistant', content } : { role: 'assistant', content, name }
}

function spokenParts(message: JsonObject, place: Place, carried: Carried): AssistantPart[] {
  const { content } = message
  const parts: AssistantPart[] = []
  // Many clients send "" beside tool calls, which several providers refuse to see as text.
  if (content !== undefined && content !== null && content !== '') {
    for (const part of readContent(content, at(place, 'content'), carried, isSpoken)) {
      parts.push(part.type === 'image' ? toMedia(part) : part)
    }
  }
  const refusal = textAt(message, 'refusal', place)
  if (refusal !== undefined && refusal !== '') parts.push({ type: 'refusal', text: refusal })
  return parts
}

/** A message has one place for a signature; it belongs to the last text, even an empty one. */
function signed(parts: AssistantPart[], signature: string | undefined): readonly AssistantPart[] {
  if (signature === undefined) return parts
  const last = parts.findLastIndex(({ type }) => type === 'text')
  const part = parts[last]
  if (part?.type !== 'text') return [...parts, { type: 'text', text: '', signature }]
  return part.signature === undefined ? parts.with(last, { ...part, signature }) : parts
}

const CALL_FIELDS = names(
  'id type index function custom extra_content cache_control prompt_cache_breakpoint ' +
    'provider_specific_fields',
)

function toolCalls(
  message: JsonObject,
  place: Place,
  carried: Carried,
  sealed: ReadonlyMap<string, string> | undefined,
): readonly ToolCallPart[] {
  const calls = message['tool_calls']
  if (calls === undefined || calls === null) return []
  const within = at(place, 'tool_calls')
  if (!isList(calls)) return refuse(within, 'an array of tool calls', calls)
  return calls.map((call, index) => readToolCall(call, at(within, index), carried, sealed))
}

function readToolCall(
  call: JsonValue,
  place: Place,
  carried: Carried,
  sealed: ReadonlyMap<string, string> | undefined,
): ToolCallPart {
  if (!isFields(call)) return refuse(place, 'a tool call', call)
  carryUnknown(call, CALL_FIELDS, place, carried)
  const id = nameAt(call, 'id', place)
  const custom = call['type'] === 'custom'
  // Mistral's calls come without a type, and clients echo them so.
  if (!custom && (call['type'] ?? 'function') !== 'function') {
    return refuseChoice(at(place, 'type'), ['function', 'custom'], call['type'])
  }
  const member = custom ? 'custom' : 'function'
  const called = fieldsAt(call, member, place)
  const within = at(place, member)
  if (called === undefined) return refuse(within, 'an object', called)
  const signature = readSignature(call, place) ?? sealed?.get(id)
  const cache = readCache(call, place)
  return {
    type: 'tool-call',
    id,
    name: nameAt(called, 'name', within),
    // Absent where a model called without arguments and the client kept that.
    arguments: textAt(called, custom ? 'input' : 'arguments', within) ?? '',
    ...(custom ? { custom } : {}),
    ...(signature === undefined ? {} : { signature }),
    ...(cache === undefined ? {} : { cache }),
  }
}

function legacyCall(
  message: JsonObject,
  place: Place,
  legacy: LegacyCalls,
): readonly ToolCallPart[] {
  const call = fieldsAt(message, 'function_call', place)
  if (call === undefined) return []
  const within = at(place, 'function_call')
  const name = nameAt(call, 'name', within)
  const id = `call_function_${++legacy.count}`
  legacy.ids.set(name, id)
  const text = textAt(call, 'arguments', within) ?? ''
  return [{ type: 'tool-call', id, name, arguments: text }]
}
