import { GatewayError } from '#errors'
import type { AssistantPart, ChatResponse, Choice, FinishReason } from '#protocol'
import { digestId, SIGNATURE_MARK } from './messages.ts'
import { readServiceTier, readUsage } from './usage.ts'
import { type Fields, isFields, text, type WireAnswer } from './wire.ts'

export function decode(body: unknown): ChatResponse {
  const answer: WireAnswer = isFields(body) ? body : {}
  if (!Array.isArray(answer.choices) || answer.choices.length === 0) {
    throw new GatewayError('upstream_invalid', 'Mistral sent an answer without choices')
  }
  const choices: unknown[] = answer.choices
  const id = text(answer.id)
  const usage = readUsage(answer.usage)
  const serviceTier = readServiceTier(answer.usage)
  return {
    id,
    model: text(answer.model),
    ...(typeof answer.created === 'number' ? { created: answer.created } : {}),
    choices: choices.map((choice, index) => readChoice(choice, index, id)),
    ...(usage === undefined ? {} : { usage }),
    ...(serviceTier === undefined ? {} : { serviceTier }),
  }
}

function readChoice(choice: unknown, position: number, answerId: string): Choice {
  const fields = isFields(choice) ? choice : {}
  const message = fields['message']
  if (!isFields(message)) {
    throw new GatewayError('upstream_invalid', 'Mistral sent a choice without a message')
  }
  const index = typeof fields['index'] === 'number' ? fields['index'] : position
  const calls = readCalls(message['tool_calls'])
  const raw = fields['finish_reason']
  return {
    index,
    content: [
      ...readContent(message['content']),
      ...calls.map((call, at): AssistantPart => ({
        type: 'tool-call',
        id: call.id ?? digestId(`${answerId} ${index} ${at}`),
        name: call.name,
        arguments: call.arguments,
      })),
    ],
    finishReason: finishReason(raw, calls.length > 0),
    ...(typeof raw === 'string' ? { rawFinishReason: raw } : {}),
  }
}

/** One piece of content, whole or of a delta. */
export interface Piece {
  readonly type: 'text' | 'reasoning'
  readonly text: string
  readonly signature?: string
}

/** Content is a string, or an array of chunks where the model thinks; chunks we have no word for are left. */
export function readContent(content: unknown): Piece[] {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }]
  if (!Array.isArray(content)) return []
  const chunks: unknown[] = content
  return chunks.flatMap((chunk): Piece[] => {
    if (!isFields(chunk)) return []
    if (chunk['type'] === 'text') {
      const words = text(chunk['text'])
      return words === '' ? [] : [{ type: 'text', text: words }]
    }
    if (chunk['type'] !== 'thinking') return []
    const signature = text(chunk['signature'])
    const thought = thinking(chunk['thinking'])
    if (thought === '' && signature === '') return []
    return [
      {
        type: 'reasoning',
        text: thought,
        ...(signature === '' ? {} : { signature: SIGNATURE_MARK + signature }),
      },
    ]
  })
}

function thinking(thoughts: unknown): string {
  if (typeof thoughts === 'string') return thoughts
  if (!Array.isArray(thoughts)) return ''
  return thoughts
    .map((thought: unknown) => (isFields(thought) ? text(thought['text']) : ''))
    .join('')
}

/** A tool call, or a delta of one. */
export interface Call {
  /** Absent in the later deltas of a call. */
  readonly id?: string
  readonly index?: number
  /** Empty in the later deltas of a call. */
  readonly name: string
  readonly arguments: string
}

export function readCalls(calls: unknown): Call[] {
  if (!Array.isArray(calls)) return []
  return calls.filter(isFields).map((call: Fields): Call => {
    const called = isFields(call['function']) ? call['function'] : {}
    const id = text(call['id'])
    const args = called['arguments']
    return {
      // "null" is their schema's default, written out by some hosts.
      ...(id === '' || id === 'null' ? {} : { id }),
      ...(typeof call['index'] === 'number' ? { index: call['index'] } : {}),
      name: text(called['name']),
      arguments: isFields(args) ? JSON.stringify(args) : text(args),
    }
  })
}

const FINISH_REASONS: Readonly<Record<string, FinishReason>> = {
  stop: 'stop',
  length: 'length',
  model_length: 'length',
  tool_calls: 'tool-calls',
  error: 'error',
}

export function finishReason(raw: unknown, called: boolean): FinishReason {
  const reason = FINISH_REASONS[text(raw)] ?? 'stop'
  return reason === 'stop' && called ? 'tool-calls' : reason
}
