import { GatewayError } from '#errors'
import type { ChatEvent, ChatRequest, Citation, Usage } from '#protocol'
import {
  FINISH_REASONS,
  audioOf,
  isSealed,
  writeCitations,
  writeImage,
  writeReasoningDetails,
  writeSignature,
  writeUsage,
} from './chat-wire.ts'
import type { AnswerContext } from './chat-wire.ts'

export const END_MARKER = 'data: [DONE]\n\n'
/** A comment, which every client passes over. */
export const HEARTBEAT = ': keep-alive\n\n'

export interface ChatWriter {
  /** @returns server-sent events, ready to send; often none */
  write(events: readonly ChatEvent[]): string
}

interface ChoiceState {
  /** Its first chunk, with the role, is out. */
  opened: boolean
  /** Tool calls so far. */
  calls: number
  reasonings: number
  images: number
  /** UTF-16 units of text so far. */
  length: number
}

/** One open block. */
interface BlockState {
  readonly kind: 'text' | 'refusal' | 'reasoning' | 'call'
  readonly choice: number
  /** A chunk up to the JSON text of a piece, and from there to its end. */
  readonly before: string
  readonly after: string
  /** Text before it in its choice. */
  readonly start: number
  /** UTF-16 units of its own. */
  length: number
  /** Reasoning so far, to be repeated whole beside its signature. */
  text: string
  /** Citations of all of it, whose end is known only when it is. */
  readonly cited: Citation[]
  /** Of the call in `tool_calls`, for a later piece that carries its signature. */
  readonly index: number
  readonly custom: boolean
}

/**
 * Writes a streamed answer of `POST /v1/chat/completions` as OpenAI does: a first chunk with the
 * role for each choice; a head with id and name for each tool call, then only its arguments; an
 * empty delta with the finish reason; usage alone, if asked for; `[DONE]`.
 *
 * Members beside OpenAI's are those of `writeChat`. `context.cost` is read when usage is written.
 */
export function chatWriter(
  request: Pick<ChatRequest, 'includeUsage' | 'legacyFunctions'>,
  context: AnswerContext,
): ChatWriter {
  const noUsage = request.includeUsage ? ',"usage":null' : ''
  const legacy = request.legacyFunctions === true
  /** The end of a chunk that is not the last of its choice, after the delta. */
  const tail = `,"logprobs":null,"finish_reason":null}]${noUsage}}\n\n`
  const choices = new Map<number, ChoiceState>()
  const blocks = new Map<number, BlockState>()
  /** The start of every chunk, up to its choices. */
  let head = ''
  let lead = ''

  function start(model: string, created: number): void {
    head =
      `data: {"id":${JSON.stringify(context.id)},"object":"chat.completion.chunk",` +
      `"created":${created},"model":${JSON.stringify(model === '' ? context.model : model)},` +
      `"choices":[`
    lead = `${head}{"index":`
  }

  function choiceAt(index: number): ChoiceState {
    let choice = choices.get(index)
    if (choice === undefined) {
      if (head === '') start('', context.created)
      choice = { opened: false, calls: 0, reasonings: 0, images: 0, length: 0 }
      choices.set(index, choice)
    }
    return choice
  }

  function blockAt(block: number): BlockState {
    const state = blocks.get(block)
    if (state === undefined) throw new GatewayError('internal_error', `No block ${block} is open`)
    return state
  }

  function chunk(choice: number, delta: string): string {
    return `${lead}${choice},"delta":${delta}${tail}`
  }

  /** The chunk with the role, unless it is out. */
  function opening(index: number, content = '""', refusal = 'null'): string {
    const choice = choiceAt(index)
    if (choice.opened) return ''
    choice.opened = true
    return chunk(index, `{"role":"assistant","content":${content},"refusal":${refusal}}`)
  }

  function openBlock(
    event: { readonly block: number; readonly choice: number },
    kind: BlockState['kind'],
    field: string,
    close = '}',
    index = 0,
    custom = false,
  ): void {
    blocks.set(event.block, {
      kind,
      choice: event.choice,
      before: `${lead}${event.choice},"delta":{${field}`,
      after: close + tail,
      start: choiceAt(event.choice).length,
      length: 0,
      text: '',
      cited: [],
      index,
      custom,
    })
  }

  function startCall(
    event: Extract<ChatEvent, { type: 'tool-call-start' }>,
    signature: string | undefined,
  ): string {
    const choice = choiceAt(event.choice)
    const name = JSON.stringify(event.name)
    const first = !choice.opened
    choice.opened = true
    const open = first ? '"role":"assistant","content":null,' : ''
    const close = first ? ',"refusal":null' : ''
    if (legacy && choice.calls++ === 0) {
      openBlock(event, 'call', '"function_call":{"arguments":', '}}', -1)
      const call = `{"name":${name},"arguments":""}`
      return chunk(event.choice, `{${open}"function_call":${call}${close}}`)
    }
    const index = legacy ? choice.calls - 2 : choice.calls++
    const custom = event.custom === true
    const member = custom ? 'custom' : 'function'
    const field = custom ? 'input' : 'arguments'
    openBlock(
      event,
      'call',
      `"tool_calls":[{"index":${index},"${member}":{"${field}":`,
      '}}]}',
      index,
      custom,
    )
    const extra =
      signature === undefined ? '' : `,"extra_content":${JSON.stringify(writeSignature(signature))}`
    const call =
      `{"index":${index},"id":${JSON.stringify(event.callId)},"type":"${member}",` +
      `"${member}":{"name":${name},"${field}":""}${extra}}`
    return chunk(event.choice, `{${open}"tool_calls":[${call}]${close}}`)
  }

  /** @param signedAtStart the signature is out already */
  function endBlock(
    event: Extract<ChatEvent, { type: 'block-end' }>,
    signedAtStart: boolean,
  ): string {
    const block = blocks.get(event.block)
    if (block === undefined) return ''
    blocks.delete(event.block)
    const { signature, redacted } = event
    let out = block.cited.map((citation) => written(block, citation)).join('')
    // A call without arguments is `{}` at OpenAI; every client parses it as JSON.
    if (block.kind === 'call' && block.length === 0 && !block.custom) {
      out += `${block.before}"{}"${block.after}`
    }
    if (block.kind === 'reasoning' && isSealed({ signature, redacted })) {
      const part = {
        type: 'reasoning',
        text: block.text,
        ...(signature === undefined ? {} : { signature }),
        ...(redacted === undefined ? {} : { redacted }),
      } as const
      const details = writeReasoningDetails(part, choiceAt(block.choice).reasonings++)
      return chunk(block.choice, JSON.stringify({ reasoning_details: details }))
    }
    if (signature === undefined || signedAtStart) return out
    const extra = `"extra_content":${JSON.stringify(writeSignature(signature))}`
    if (block.kind !== 'call') return out + chunk(block.choice, `{${extra}}`)
    if (block.index < 0) return out + chunk(block.choice, `{${extra}}`)
    const member = block.custom ? '"custom":{"input":""}' : '"function":{"arguments":""}'
    const call = `{"index":${block.index},${member},${extra}}`
    return out + chunk(block.choice, `{"tool_calls":[${call}]}`)
  }

  function cite(block: BlockState, citation: Citation): string {
    if (citation.end !== undefined) return written(block, citation)
    block.cited.push(citation)
    return ''
  }

  function written(block: BlockState, citation: Citation): string {
    const cited = writeCitations([citation], block.start, block.length)
    const delta =
      cited.annotations.length > 0
        ? { annotations: cited.annotations }
        : { document_citations: cited.documents }
    return chunk(block.choice, JSON.stringify(delta))
  }

  function finish(event: Extract<ChatEvent, { type: 'finish' }>): string {
    const { choice, reason, rawReason } = event
    const word = legacy && reason === 'tool-calls' ? 'function_call' : FINISH_REASONS[reason]
    const raw =
      rawReason === undefined ? '' : `,"native_finish_reason":${JSON.stringify(rawReason)}`
    return (
      `${opening(choice)}${lead}${choice},"delta":{},"logprobs":null,` +
      `"finish_reason":"${word}"${raw}}]${noUsage}}\n\n`
    )
  }

  function total(usage: Usage, serviceTier: string | undefined): string {
    if (!request.includeUsage) return ''
    if (head === '') start('', context.created)
    const tier = serviceTier === undefined ? '' : `,"service_tier":${JSON.stringify(serviceTier)}`
    return `${head}],"usage":${JSON.stringify(writeUsage(usage, context.cost))}${tier}}\n\n`
  }

  function media(event: Extract<ChatEvent, { type: 'media' }>): string {
    const choice = choiceAt(event.choice)
    const audio = audioOf(event.source)
    const delta =
      audio === undefined
        ? { images: [writeImage(event.source, choice.images++)] }
        : { audio: { id: `audio-${context.id}`, data: audio } }
    return opening(event.choice) + chunk(event.choice, JSON.stringify(delta))
  }

  function piece(event: Extract<ChatEvent, { type: `${string}-delta` }>): string {
    const block = blockAt(event.block)
    const { text } = event
    if (event.type === 'text-delta') {
      block.length += text.length
      choiceAt(block.choice).length += text.length
      if (event.logprobs !== undefined) {
        const after = block.after.replace(
          '"logprobs":null',
          () => `"logprobs":${JSON.stringify(event.logprobs)}`,
        )
        return block.before + JSON.stringify(text) + after
      }
    } else if (event.type === 'tool-call-delta') block.length += text.length
    else if (event.type === 'reasoning-delta') block.text += text
    return text === '' ? '' : block.before + JSON.stringify(text) + block.after
  }

  function write(events: readonly ChatEvent[]): string {
    let out = ''
    const signedAtStart = new Set<number>()
    for (let at = 0; at < events.length; at++) {
      const event = events[at]
      if (event === undefined) continue
      switch (event.type) {
        case 'text-delta':
        case 'tool-call-delta':
        case 'reasoning-delta':
        case 'refusal-delta':
          out += piece(event)
          break
        case 'start':
          start(event.model, event.created ?? context.created)
          break
        case 'text-start':
          out += opening(event.choice)
          openBlock(event, 'text', '"content":')
          break
        case 'refusal-start':
          out += opening(event.choice, 'null', '""')
          openBlock(event, 'refusal', '"refusal":')
          break
        case 'reasoning-start':
          out += opening(event.choice)
          openBlock(event, 'reasoning', '"reasoning_content":')
          break
        case 'tool-call-start': {
          // Clients that know of signatures look for them in the head; a call that came whole has it.
          const signature = signatureAhead(events, at, event.block)
          if (signature !== undefined) signedAtStart.add(event.block)
          out += startCall(event, signature)
          break
        }
        case 'media':
          out += media(event)
          break
        case 'citation':
          out += cite(blockAt(event.block), event.citation)
          break
        case 'block-end':
          out += endBlock(event, signedAtStart.has(event.block))
          break
        case 'finish':
          out += finish(event)
          break
        case 'usage':
          out += total(event.usage, event.serviceTier)
          break
        case 'end':
          out += END_MARKER
      }
    }
    return out
  }

  return { write }
}

function signatureAhead(
  events: readonly ChatEvent[],
  from: number,
  block: number,
): string | undefined {
  for (let at = from + 1; at < events.length; at++) {
    const event = events[at]
    if (event?.type === 'block-end' && event.block === block) return event.signature
  }
  return undefined
}
