import { GatewayError } from '#errors'
import type { ChatEvent, EventReader, Frame, ProviderError, Usage } from '#protocol'
import { readError } from './errors.ts'
import { digestId } from './messages.ts'
import { type Call, finishReason, type Piece, readCalls, readContent } from './response.ts'
import { readServiceTier, readUsage } from './usage.ts'
import { type Fields, isFields, text, type WireAnswer } from './wire.ts'

interface OpenCall {
  block: number
  /** The provider's id, as long as it gave one. */
  id: string | undefined
  started: boolean
  /** Arguments that came before the name. */
  held: string
}

interface OpenChoice {
  /** The block that text or reasoning goes to. */
  words: { type: Piece['type']; block: number; signature?: string } | undefined
  calls: Map<number, OpenCall>
  lastCall: number
  finished: boolean
}

/** Reads a chat completion stream: data-only frames, usage on the finishing one, `[DONE]` last. */
export function reader(): EventReader {
  const choices = new Map<number, OpenChoice>()
  let blocks = 0
  let id: string | undefined
  let usage: Usage | undefined
  let serviceTier: string | undefined
  let ended = false

  function read(frame: Frame): ChatEvent[] {
    if (ended || frame.data.trim() === '') return []
    if (frame.data.trim() === '[DONE]') return close()
    const chunk = parse(frame)
    const events: ChatEvent[] = []
    if (id === undefined) {
      id = text(chunk.id)
      events.push({
        type: 'start',
        id,
        model: text(chunk.model),
        ...(typeof chunk.created === 'number' ? { created: chunk.created } : {}),
      })
    }
    usage = readUsage(chunk.usage) ?? usage
    serviceTier = readServiceTier(chunk.usage) ?? serviceTier
    const said: unknown[] = Array.isArray(chunk.choices) ? chunk.choices : []
    for (const [position, choice] of said.entries()) {
      if (isFields(choice)) readChoice(choice, position, events)
    }
    return events
  }

  function readChoice(fields: Fields, position: number, events: ChatEvent[]): void {
    const index = typeof fields['index'] === 'number' ? fields['index'] : position
    const choice = choices.get(index) ?? {
      words: undefined,
      calls: new Map<number, OpenCall>(),
      lastCall: -1,
      finished: false,
    }
    choices.set(index, choice)
    if (choice.finished) return
    const delta = isFields(fields['delta']) ? fields['delta'] : {}
    for (const piece of readContent(delta['content'])) addWords(choice, index, piece, events)
    for (const call of readCalls(delta['tool_calls'])) addCall(choice, index, call, events)

    // The finishing chunk carries content and calls too, so the finish comes after them.
    const raw = fields['finish_reason']
    if (typeof raw === 'string') finish(choice, index, raw, events)
  }

  function addWords(choice: OpenChoice, index: number, piece: Piece, events: ChatEvent[]): void {
    if (choice.words?.type !== piece.type) {
      closeWords(choice, events)
      choice.words = { type: piece.type, block: blocks++ }
      events.push({ type: `${piece.type}-start`, choice: index, block: choice.words.block })
    }
    const { words } = choice
    if (words === undefined) return
    if (piece.text !== '') {
      events.push({ type: `${piece.type}-delta`, block: words.block, text: piece.text })
    }
    if (piece.signature !== undefined) words.signature = piece.signature
  }

  function closeWords(choice: OpenChoice, events: ChatEvent[]): void {
    if (choice.words === undefined) return
    const { block, signature } = choice.words
    events.push({ type: 'block-end', block, ...(signature === undefined ? {} : { signature }) })
    choice.words = undefined
  }

  /**
   * Mistral's own models send a call whole; models it hosts send it in pieces, of which the
   * later ones have no id and an empty name.
   */
  function addCall(choice: OpenChoice, index: number, call: Call, events: ChatEvent[]): void {
    closeWords(choice, events)
    let key = call.index ?? (call.id === undefined ? choice.lastCall : choice.calls.size)
    let open = choice.calls.get(key)
    if (open?.id !== undefined && call.id !== undefined && open.id !== call.id) {
      key = Math.max(key, ...choice.calls.keys()) + 1
      open = undefined
    }
    open ??= { block: blocks++, id: call.id, started: false, held: '' }
    open.id ??= call.id
    choice.calls.set(key, open)
    choice.lastCall = key
    if (!open.started && call.name !== '') startCall(open, index, call.name, events)
    if (call.arguments === '') return
    if (open.started) {
      events.push({ type: 'tool-call-delta', block: open.block, text: call.arguments })
    } else {
      open.held += call.arguments
    }
  }

  function startCall(open: OpenCall, index: number, name: string, events: ChatEvent[]): void {
    open.started = true
    const callId = open.id ?? digestId(`${id} ${index} ${open.block}`)
    events.push({ type: 'tool-call-start', choice: index, block: open.block, callId, name })
    if (open.held !== '') {
      events.push({ type: 'tool-call-delta', block: open.block, text: open.held })
    }
  }

  function finish(choice: OpenChoice, index: number, raw: string, events: ChatEvent[]): void {
    closeWords(choice, events)
    for (const open of choice.calls.values()) {
      if (!open.started) startCall(open, index, '', events)
      events.push({ type: 'block-end', block: open.block })
    }
    choice.finished = true
    const reason = finishReason(raw, choice.calls.size > 0)
    events.push({ type: 'finish', choice: index, reason, rawReason: raw })
  }

  function close(): ChatEvent[] {
    if (choices.size === 0 || [...choices.values()].some((choice) => !choice.finished)) {
      throw new GatewayError('upstream_error', 'The provider closed the stream before its end')
    }
    ended = true
    return [
      ...(usage === undefined
        ? []
        : [
            {
              type: 'usage' as const,
              usage,
              ...(serviceTier === undefined ? {} : { serviceTier }),
            },
          ]),
      { type: 'end' },
    ]
  }

  return { read, end: () => (ended ? [] : close()) }
}

function parse(frame: Frame): WireAnswer {
  let chunk: unknown
  try {
    chunk = JSON.parse(frame.data)
  } catch (cause) {
    throw new GatewayError('upstream_invalid', 'Mistral sent a frame that is not JSON', { cause })
  }
  if (!isFields(chunk)) {
    throw new GatewayError('upstream_invalid', 'Mistral sent a frame that is no object')
  }
  if (frame.event === 'error' || !('choices' in chunk || 'usage' in chunk)) {
    throw brokenOff(frame.data)
  }
  return chunk
}

const RETRYABLE = new Set<ProviderError['kind']>(['rate_limit', 'overloaded', 'server', 'timeout'])

function brokenOff(data: string): GatewayError {
  const { kind, message, code } = readError(500, {}, data)
  return new GatewayError('upstream_error', `The provider broke off its answer: ${message}`, {
    retryable: RETRYABLE.has(kind),
    details: { kind, code, message },
  })
}
