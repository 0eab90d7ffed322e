import type {
  ChatEvent,
  ChatRequest,
  Encoded,
  FunctionTool,
  Target,
  Tool,
  UserMessage,
} from '#protocol'
import { google } from '../../providers/google/index.ts'

/** A signature as Google writes it: base64 of something only Google reads. */
export const SIGNATURE = 'EsINCr8NAb4+9vs='
/** `skip_thought_signature_validator` */
export const SKIP = 'c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I='

export const WEATHER: FunctionTool = {
  type: 'function',
  name: 'weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
}
export const TIME: Tool = { type: 'function', name: 'time' }

export function ask(fields: Partial<ChatRequest> = {}): ChatRequest {
  return {
    model: 'any',
    messages: [user('hello')],
    stream: false,
    includeUsage: false,
    providerOptions: {},
    ...fields,
  }
}

export function user(text: string): UserMessage {
  return { role: 'user', content: [{ type: 'text', text }] }
}

export function target(model = 'gemini-3-pro-preview', fields: Partial<Target> = {}): Target {
  return {
    provider: 'google',
    model,
    baseUrl: 'https://google.test',
    credential: 'secret',
    headers: {},
    ...fields,
  }
}

/** The body sent, and the changes as `kind field`. */
export function encode(fields: Partial<ChatRequest> = {}, model?: string) {
  const encoded: Encoded = google.chat!.encode(ask(fields), target(model))
  return {
    ...encoded,
    body: JSON.parse(String(encoded.request.body)),
    changed: encoded.changes.map(({ kind, field }) => `${kind} ${field}`),
  }
}

/** A candidate with these parts, finished unless told otherwise. */
export function answer(
  parts: readonly (object | null)[],
  fields: object = {},
  more: object = {},
): object {
  return {
    candidates: [{ content: { parts, role: 'model' }, finishReason: 'STOP', index: 0, ...fields }],
    modelVersion: 'gemini-3.1-pro-preview',
    responseId: 'wrB-afSL_NPC',
    ...more,
  }
}

export function piece(parts: readonly object[], more: object = {}): object {
  return answer(parts, { finishReason: undefined }, more)
}

export function decode(whole: unknown, fields: Partial<ChatRequest> = {}) {
  return google.chat!.decode(whole, ask(fields))
}

/** All events of a stream of these pieces. */
export function stream(pieces: readonly unknown[], fields: Partial<ChatRequest> = {}): ChatEvent[] {
  const reader = google.chat!.reader(ask({ stream: true, ...fields }))
  const events = pieces.flatMap((data) =>
    reader.read({ event: '', data: typeof data === 'string' ? data : JSON.stringify(data) }),
  )
  return [...events, ...reader.end()]
}

/** Without the frame that every answer has. */
export function body(events: readonly ChatEvent[]): ChatEvent[] {
  return events.filter(({ type }) => !['start', 'finish', 'usage', 'end'].includes(type))
}
