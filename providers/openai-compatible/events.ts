import { GatewayError } from '#errors'
import type { ChatEvent, ChatRequest, Citation, EventReader, Frame, Usage } from '#protocol'
import { streamFailure } from './errors.ts'
import {
  finishReason,
  readAnnotations,
  readCall,
  readContent,
  readImages,
  readLogprobs,
  readReasoning,
  readSources,
} from './message.ts'
import { toolNames } from './names.ts'
import type { Detail } from './reasoning-details.ts'
import { newCallId } from './response.ts'
import { readUsage, type UsageFacts } from './usage.ts'
import { type Fields, count, fields, isFields, list, parsed, text } from './wire.ts'

export const DONE = '[DONE]'

/** A call under way; nothing of it is told before its name is known. */
interface OpenCall {
  block: number
  id: string
  name: string
  custom: boolean
  /** Arguments that came before the name. */
  held: string
  told: boolean
  empty: boolean
}

interface ChoiceState {
  readonly index: number
  /** The `text`, `refusal` or `reasoning:...` being written; calls stay open beside it. */
  open: { kind: string; block: number; signature: string } | undefined
  readonly calls: OpenCall[]
  /** Google's signatures, by the id of the call each belongs to. */
  readonly seals: Map<string, Detail>
  /** By the provider's index, the call that its next pieces belong to. */
  readonly callAt: Map<number, OpenCall>
  rawFinish: string | undefined
  citations: readonly Citation[]
}

/**
 * Reads a stream of `chat.completion.chunk`s.
 *
 * Finish reasons and usage are told at the end: OpenRouter repeats the finish, Perplexity sends
 * growing usage with every chunk, and errors may follow a finish. The end is `[DONE]`, or the end
 * of the stream once every choice has its finish reason; anything else is a broken stream.
 */
export function chatReader(request: ChatRequest, facts: UsageFacts = {}): EventReader {
  const names = toolNames(request)
  const choices = new Map<number, ChoiceState>()
  let started = false
  let ended = false
  let blocks = 0
  let usage: Usage | undefined
  let serviceTier = ''
  let sources: readonly Citation[] = []

  function read(frame: Frame): readonly ChatEvent[] {
    const data = frame.data.trim()
    if (ended || data === '') return []
    if (data === DONE) return close()
    const body = parsed(data)
    if (!isFields(body)) {
      if (frame.event === 'error') throw streamFailure(data)
      throw new GatewayError('upstream_invalid', 'The provider sent a frame that is not JSON')
    }
    if (frame.event === 'error' || body['error']) throw streamFailure(body)
    const events: ChatEvent[] = []
    if (!started && (list(body['choices']).length > 0 || text(body['id']) !== '')) {
      started = true
      events.push(startOf(body))
    }
    usage = readUsage(body['usage'] ?? fields(body['x_groq'])['usage'], facts) ?? usage
    serviceTier = text(body['service_tier']) || serviceTier
    const found = readSources(body)
    if (found.length > 0) sources = found
    for (const choice of list(body['choices']).filter(isFields)) readChoice(choice, events)
    return events
  }

  function readChoice(choice: Fields, events: ChatEvent[]): void {
    if (isFields(choice['error'])) throw streamFailure(choice)
    const state = stateOf(count(choice['index']) ?? 0)
    // A few send the whole message in place of a delta.
    const delta = fields(choice['delta'] ?? choice['message'])
    for (const detail of readReasoning(delta)) reason(state, detail, events)
    const content = readContent(delta['content'])
    const logprobs = readLogprobs(choice['logprobs'])
    if (content.text !== '' || (logprobs !== undefined && state.open?.kind === 'text')) {
      const block = open(state, 'text', events)
      events.push({
        type: 'text-delta',
        block,
        text: content.text,
        ...(logprobs === undefined ? {} : { logprobs }),
      })
    }
    const cited = readAnnotations(delta['annotations'])
    if (cited.length > 0) state.citations = [...state.citations, ...cited]
    const refusal = text(delta['refusal'])
    if (refusal !== '') {
      events.push({ type: 'refusal-delta', block: open(state, 'refusal', events), text: refusal })
    }
    for (const each of list(delta['tool_calls']).filter(isFields)) readPiece(state, each, events)
    if (isFields(delta['function_call'])) {
      readPiece(state, { index: 0, function: delta['function_call'] }, events)
    }
    for (const source of [...content.images, ...readImages(delta['images'])]) {
      events.push({ type: 'media', choice: state.index, block: blocks++, source })
    }
    const raw = choice['finish_reason']
    if (typeof raw === 'string' && raw !== '') state.rawFinish = raw
  }

  function stateOf(index: number): ChoiceState {
    const known = choices.get(index)
    if (known !== undefined) return known
    const state: ChoiceState = {
      index,
      open: undefined,
      calls: [],
      seals: new Map(),
      callAt: new Map(),
      rawFinish: undefined,
      citations: [],
    }
    choices.set(index, state)
    return state
  }

  function reason(state: ChoiceState, detail: Detail, events: ChatEvent[]): void {
    if (detail.callId !== '') {
      state.seals.set(detail.callId, detail)
      return
    }
    if (detail.redacted !== '') {
      closeOpen(state, events)
      seal(state, detail, events)
      return
    }
    if (detail.text === '' && detail.signature === '') return
    const block = open(state, `reasoning:${detail.block}`, events)
    if (detail.text !== '') events.push({ type: 'reasoning-delta', block, text: detail.text })
    if (state.open !== undefined && detail.signature !== '') state.open.signature = detail.signature
  }

  /** Sealed reasoning is a block of its own. */
  function seal(state: ChoiceState, { redacted }: Detail, events: ChatEvent[]): void {
    const block = blocks++
    events.push(
      { type: 'reasoning-start', choice: state.index, block },
      { type: 'block-end', block, redacted },
    )
  }

  /** The block of that kind; another one that is open is closed first. */
  function open(state: ChoiceState, kind: string, events: ChatEvent[]): number {
    if (state.open?.kind === kind) return state.open.block
    closeOpen(state, events)
    const block = blocks++
    state.open = { kind, block, signature: '' }
    const type =
      kind === 'text' ? 'text-start' : kind === 'refusal' ? 'refusal-start' : 'reasoning-start'
    events.push({ type, choice: state.index, block })
    return block
  }

  function closeOpen(state: ChoiceState, events: ChatEvent[]): void {
    if (state.open === undefined) return
    const { kind, block, signature } = state.open
    if (kind === 'text') cite(state, block, events)
    events.push({ type: 'block-end', block, ...(signature === '' ? {} : { signature }) })
    state.open = undefined
  }

  function cite(state: ChoiceState, block: number, events: ChatEvent[]): void {
    const rests = state.citations.length > 0 || state.index > 0 ? state.citations : sources
    for (const citation of rests) events.push({ type: 'citation', block, citation })
    state.citations = []
  }

  function readPiece(state: ChoiceState, value: Fields, events: ChatEvent[]): void {
    const piece = readCall(value)
    const call = callOf(state, value['index'], piece.id, piece.name)
    call.id ||= piece.id
    call.name ||= piece.name
    call.custom ||= piece.custom
    if (call.name === '') {
      call.held += piece.arguments
      return
    }
    if (!call.told) tell(state, call, events)
    const written = call.held + piece.arguments
    call.held = ''
    if (written === '') return
    call.empty = false
    events.push({ type: 'tool-call-delta', block: call.block, text: written })
  }

  /**
   * Which call a piece belongs to. Usually its index says; some send none, or 0 for every call,
   * and then a new id together with a name begins a new one. An id alone does not: old vLLM
   * gives every piece its own.
   */
  function callOf(state: ChoiceState, given: unknown, id: string, name: string): OpenCall {
    const index = count(given)
    const current = index === undefined ? state.calls.at(-1) : state.callAt.get(index)
    const another = name !== '' && (id === '' ? index === undefined : current?.id !== id)
    if (current !== undefined && (current.name === '' || !another)) return current
    const call: OpenCall = {
      block: 0,
      id: '',
      name: '',
      custom: false,
      held: '',
      told: false,
      empty: true,
    }
    state.calls.push(call)
    if (index !== undefined) state.callAt.set(index, call)
    return call
  }

  function tell(state: ChoiceState, call: OpenCall, events: ChatEvent[]): void {
    closeOpen(state, events)
    call.told = true
    call.block = blocks++
    call.id ||= newCallId()
    events.push({
      type: 'tool-call-start',
      choice: state.index,
      block: call.block,
      callId: call.id,
      name: names.fromWire(call.name),
      ...(call.custom ? { custom: true } : {}),
    })
  }

  function close(): readonly ChatEvent[] {
    if (choices.size === 0) throw brokenOff()
    ended = true
    const events: ChatEvent[] = []
    for (const state of choices.values()) {
      closeOpen(state, events)
      for (const call of state.calls) {
        if (!call.told)
          throw new GatewayError('upstream_invalid', 'A tool call came without a name')
        if (call.empty && !call.custom) {
          events.push({ type: 'tool-call-delta', block: call.block, text: '{}' })
        }
        const signature = state.seals.get(call.id)?.signature
        state.seals.delete(call.id)
        events.push({
          type: 'block-end',
          block: call.block,
          ...(signature === undefined ? {} : { signature }),
        })
      }
      for (const detail of state.seals.values()) seal(state, detail, events)
      const raw = state.rawFinish
      events.push({
        type: 'finish',
        choice: state.index,
        reason: finishReason(raw ?? '', state.calls.length > 0),
        ...(raw === undefined ? {} : { rawReason: raw }),
      })
    }
    if (usage !== undefined) {
      events.push({ type: 'usage', usage, ...(serviceTier === '' ? {} : { serviceTier }) })
    }
    events.push({ type: 'end' })
    return events
  }

  function end(): readonly ChatEvent[] {
    if (ended) return []
    for (const { rawFinish } of choices.values()) if (rawFinish === undefined) throw brokenOff()
    return close()
  }

  return { read, end }
}

function startOf(body: Fields): ChatEvent {
  const created = count(body['created'])
  return {
    type: 'start',
    id: text(body['id']),
    model: text(body['model']),
    ...(created === undefined || created === 0 ? {} : { created }),
  }
}

function brokenOff(): GatewayError {
  return new GatewayError('upstream_error', 'The provider broke off its stream')
}
