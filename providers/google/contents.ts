import type {
  AssistantMessage,
  ChatRequest,
  JsonObject,
  Message,
  TextPart,
  ToolCallPart,
  ToolMessage,
  UserMessage,
} from '#protocol'
import { GatewayError } from '#errors'
import { CACHES, type ChangeLog } from './changes.ts'
import { type InputMedia, mediaPart } from './media.ts'
import type { ModelTraits } from './models.ts'
import type { ToolNames } from './names.ts'
import { SKIP_VALIDATION, unmarkReasoning } from './signatures.ts'
import { type Content, isJsonObject, type Part } from './wire.ts'

export interface Conversation {
  readonly contents: Content[]
  readonly systemInstruction?: { parts: Part[] }
}

const UNSIGNED = 'made by another model: sent with the signature that skips the check'

interface Context {
  readonly baseUrl: string
  readonly traits: ModelTraits
  readonly names: ToolNames
  readonly log: ChangeLog
}

/** A message and its place in the caller's list, for changes. */
interface Placed<M extends Message> {
  readonly message: M
  readonly index: number
}

/** The messages as `contents` and `systemInstruction`. */
export function conversation(request: ChatRequest, context: Context): Conversation {
  const { log } = context
  const system: Part[] = []
  const contents: Content[] = []
  const turn = currentTurn(request.messages)
  const results: Placed<ToolMessage>[] = []
  let calls: readonly ToolCallPart[] = []

  // One user content answers all calls of a turn: Gemini wants as many results as calls.
  const flushResults = () => {
    contents.push(...toolContents(results.splice(0), calls, context))
  }

  for (const [index, message] of request.messages.entries()) {
    const field = `messages[${index}]`
    if ('name' in message && message.name !== undefined)
      log.lossy(`${field}.name`, 'not supported by google')
    if (message.role !== 'tool') flushResults()

    switch (message.role) {
      case 'system':
      case 'developer':
        if (contents.length > 0) log.adapted(field, 'moved in front of the conversation')
        system.push(...message.content.map((part, at) => textPart(part, field, at, log)))
        break
      case 'user':
        contents.push({ role: 'user', parts: userParts(message, field, context) })
        break
      case 'assistant': {
        calls = message.content.filter((part) => part.type === 'tool-call')
        const parts = assistantParts(message, field, index > turn, context)
        if (parts.length > 0) contents.push({ role: 'model', parts })
        break
      }
      case 'tool':
        results.push({ message, index })
        break
    }
  }
  flushResults()
  return withSystem(system, contents, context)
}

function withSystem(system: Part[], contents: Content[], { traits, log }: Context): Conversation {
  if (system.length === 0) return { contents }
  // Gemma takes no system instruction, and no model takes a request without contents.
  if (!traits.gemma && contents.length > 0)
    return { contents, systemInstruction: { parts: system } }
  log.adapted('messages', 'the system message is sent as a user message')
  return { contents: [{ role: 'user', parts: system }, ...contents] }
}

/** Index of the last message a person wrote; what follows is the current turn. */
function currentTurn(messages: readonly Message[]): number {
  return messages.findLastIndex((message) => message.role === 'user')
}

function textPart(part: TextPart, field: string, at: number, log: ChangeLog): Part {
  if (part.cache !== undefined) log.adapted(`${field}.content[${at}].cache_control`, CACHES)
  return {
    text: part.text,
    ...(part.signature !== undefined && { thoughtSignature: part.signature }),
  }
}

function userParts(message: UserMessage, field: string, { baseUrl, log }: Context): Part[] {
  if (message.content.length === 0) return [{ text: '' }]
  return message.content.map((part, at) =>
    part.type === 'text'
      ? textPart(part, field, at, log)
      : mediaPart(part, `${field}.content[${at}]`, baseUrl, log),
  )
}

function assistantParts(
  message: AssistantMessage,
  field: string,
  inTurn: boolean,
  { traits, names, log, baseUrl }: Context,
): Part[] {
  const parts: Part[] = []
  let called = false

  for (const [at, part] of message.content.entries()) {
    const place = `${field}.content[${at}]`
    switch (part.type) {
      case 'text':
        // Clients send empty text beside calls; a signed one has to come back.
        if (part.text !== '' || part.signature !== undefined)
          parts.push(textPart(part, field, at, log))
        break
      case 'refusal':
        log.adapted(place, 'a refusal is sent as text')
        parts.push({ text: part.text })
        break
      case 'reasoning': {
        if (part.redacted !== undefined) log.lossy(place, 'sealed reasoning of another provider')
        const signature = unmarkReasoning(part.signature)
        if (part.text !== '' || signature !== undefined)
          parts.push({
            text: part.text,
            thought: true,
            ...(signature !== undefined && { thoughtSignature: signature }),
          })
        break
      }
      case 'media':
        parts.push(mediaPart({ type: 'image', source: part.source }, place, baseUrl, log))
        break
      case 'tool-call': {
        if (part.cache !== undefined) log.adapted(`${place}.cache_control`, CACHES)
        const unsigned = !called && inTurn && traits.generation >= 3
        const signature = part.signature ?? (unsigned ? SKIP_VALIDATION : undefined)
        if (part.signature === undefined && unsigned) log.adapted(place, UNSIGNED)
        called = true
        parts.push({
          functionCall: {
            name: names.toWire(part.name),
            args: callArguments(part, place, log),
            id: part.id,
          },
          ...(signature !== undefined && { thoughtSignature: signature }),
        })
        break
      }
    }
  }
  return parts
}

/** `args` has to be an object. */
function callArguments(part: ToolCallPart, field: string, log: ChangeLog): JsonObject {
  if (part.custom === true) return { input: part.arguments }
  if (part.arguments.trim() === '') return {}
  try {
    const args: unknown = JSON.parse(part.arguments)
    if (isJsonObject(args)) return args
  } catch {
    // The model that wrote it may have broken off; its words still belong to the history.
  }
  log.adapted(`${field}.function.arguments`, 'not a JSON object: sent as the string `input`')
  return { input: part.arguments }
}

function toolContents(
  results: readonly Placed<ToolMessage>[],
  calls: readonly ToolCallPart[],
  context: Context,
): Content[] {
  if (results.length === 0) return []
  const order = new Map(calls.map((call, at) => [call.id, at]))
  const parts: Part[] = []
  const beside: Part[] = []

  const inCallOrder = results.toSorted(
    (a, b) => (order.get(a.message.callId) ?? 0) - (order.get(b.message.callId) ?? 0),
  )
  for (const { message, index } of inCallOrder) {
    const call = calls[order.get(message.callId) ?? -1]
    if (call === undefined)
      throw new GatewayError(
        'invalid_value',
        `The tool message answers no call of the assistant message before it: ${message.callId}`,
        { param: `messages[${index}].tool_call_id` },
      )
    const result = toolResult(message, call, `messages[${index}]`, context)
    parts.push(result.part)
    beside.push(...result.beside)
  }

  const answer: Content = { role: 'user', parts }
  return beside.length === 0 ? [answer] : [answer, { role: 'user', parts: beside }]
}

/** Types a function response may hold itself, from Gemini 3 on. */
const RESPONSE_TYPES = new Set(['image/png', 'image/jpeg', 'image/webp', 'application/pdf'])

function toolResult(
  message: ToolMessage,
  call: ToolCallPart,
  field: string,
  { baseUrl, traits, names, log }: Context,
): { part: Part; beside: Part[] } {
  const inside: NonNullable<NonNullable<Part['functionResponse']>['parts']> = []
  const beside: Part[] = []
  let text = ''

  for (const [at, content] of message.content.entries()) {
    if (content.type === 'text') {
      text += textPart(content, field, at, log).text
      continue
    }
    const media = mediaPart(content satisfies InputMedia, `${field}.content[${at}]`, baseUrl, log)
    const { inlineData } = media
    if (traits.generation >= 3 && inlineData && RESPONSE_TYPES.has(inlineData.mimeType)) {
      inside.push({ inlineData })
    } else {
      log.adapted(`${field}.content[${at}]`, 'sent in a user message after the tool result')
      beside.push(media)
    }
  }

  const functionResponse = {
    name: names.toWire(call.name),
    id: message.callId,
    response: message.isError === true ? { error: text } : { output: text },
    ...(inside.length > 0 && { parts: inside }),
  }
  return { part: { functionResponse }, beside }
}
