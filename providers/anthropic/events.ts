import { GatewayError } from '#errors'
import type { ChatEvent, ChatRequest, EventReader, Frame } from '#protocol'
import { streamError } from './errors.ts'
import { toolNames } from './names.ts'
import { finishReason, freeText, isForCaller, readCitation } from './response.ts'
import { mergeUsage, readServiceTier, readUsage } from './usage.ts'
import type { WireBlock, WireEvent, WireUsage } from './wire.ts'
import { isEvent } from './wire.ts'

/** A content block under way, under our own number: theirs start again when a stream is spliced. */
interface OpenBlock {
  readonly block: number
  readonly kind: 'text' | 'reasoning' | 'tool-call'
  /** Of a custom tool: gathered, for its text stands inside a JSON string. */
  readonly custom: boolean
  /** The whole input, where a host sends it with the block's start. */
  readonly input?: unknown
  json: string
  signature?: string
  readonly redacted?: string
}

const NOTHING: readonly ChatEvent[] = []

/** Reads a Messages event stream. */
export function reader(request: ChatRequest): EventReader {
  const names = toolNames(request)
  const open = new Map<number, OpenBlock>()
  let usage: WireUsage = {}
  let stopReason: string | undefined
  let nextBlock = 0
  let started = false
  let ended = false
  let calls = false

  function read(frame: Frame): readonly ChatEvent[] {
    if (ended || frame.data === '') return NOTHING
    const event = parse(frame.data)
    switch (event.type) {
      case 'content_block_delta':
        return readDelta(event)
      case 'content_block_start':
        return event.content_block ? [...start(event), ...openBlock(event)] : NOTHING
      case 'content_block_stop':
        return closeBlock(event.index ?? 0)
      case 'message_start':
        return start(event)
      case 'message_delta':
        usage = mergeUsage(usage, event.usage ?? {})
        stopReason = event.delta?.stop_reason ?? stopReason
        return NOTHING
      case 'message_stop':
        return finish()
      case 'error':
        throw streamError(event.error)
      default:
        return NOTHING
    }
  }

  /** A proxy that asks again in mid-answer splices in a second start: the answer goes on. */
  function start(event: WireEvent): ChatEvent[] {
    const { message } = event
    const events = message ? closeAll() : []
    if (message) usage = mergeUsage(usage, message.usage ?? {})
    if (!started) {
      started = true
      events.push({ type: 'start', id: message?.id ?? '', model: message?.model ?? '' })
    }
    return events
  }

  function openBlock({ index = 0, content_block: block = {} }: WireEvent): ChatEvent[] {
    switch (block.type) {
      case 'text':
        return [...openText(index), ...textDelta(index, block.text)]
      case 'thinking':
        return [...openReasoning(index, block), ...reasoningDelta(index, block.thinking)]
      case 'redacted_thinking':
        return openReasoning(index, block)
      case 'tool_use':
        return isForCaller(block) ? openCall(index, block) : []
      default:
        return []
    }
  }

  function openText(index: number): ChatEvent[] {
    const block = nextBlock++
    open.set(index, { block, kind: 'text', custom: false, json: '' })
    return [{ type: 'text-start', choice: 0, block }]
  }

  function openReasoning(index: number, { signature, data, type }: WireBlock): ChatEvent[] {
    const block = nextBlock++
    open.set(index, {
      block,
      kind: 'reasoning',
      custom: false,
      json: '',
      ...(signature && { signature }),
      ...(type === 'redacted_thinking' && { redacted: data ?? '' }),
    })
    return [{ type: 'reasoning-start', choice: 0, block }]
  }

  function openCall(
    index: number,
    { id = '', name: wireName = '', input }: WireBlock,
  ): ChatEvent[] {
    const block = nextBlock++
    const name = names.toCaller(wireName)
    const custom = names.isCustom(name)
    calls = true
    open.set(index, { block, kind: 'tool-call', custom, input, json: '' })
    return [
      {
        type: 'tool-call-start',
        choice: 0,
        block,
        callId: id,
        name,
        ...(custom && { custom }),
      },
    ]
  }

  function readDelta({ index = 0, delta }: WireEvent): readonly ChatEvent[] {
    switch (delta?.type) {
      case 'text_delta':
        return textDelta(index, delta.text)
      case 'input_json_delta':
        return jsonDelta(index, delta.partial_json)
      case 'thinking_delta':
        return reasoningDelta(index, delta.thinking)
      case 'signature_delta': {
        const block = open.get(index)
        if (block && delta.signature) block.signature = (block.signature ?? '') + delta.signature
        return NOTHING
      }
      case 'citations_delta': {
        const block = open.get(index)
        if (!block || !delta.citation) return NOTHING
        return [{ type: 'citation', block: block.block, citation: readCitation(delta.citation) }]
      }
      default:
        return NOTHING
    }
  }

  function textDelta(index: number, text: unknown): readonly ChatEvent[] {
    const block = open.get(index)
    if (block?.kind !== 'text' || typeof text !== 'string' || text === '') return NOTHING
    return [{ type: 'text-delta', block: block.block, text }]
  }

  function reasoningDelta(index: number, text: unknown): readonly ChatEvent[] {
    const block = open.get(index)
    if (block?.kind !== 'reasoning' || typeof text !== 'string' || text === '') return NOTHING
    return [{ type: 'reasoning-delta', block: block.block, text }]
  }

  function jsonDelta(index: number, text: unknown): readonly ChatEvent[] {
    const block = open.get(index)
    if (block?.kind !== 'tool-call' || typeof text !== 'string' || text === '') return NOTHING
    if (block.custom) block.json += text
    else block.json = '...'
    return block.custom ? NOTHING : [{ type: 'tool-call-delta', block: block.block, text }]
  }

  function closeBlock(index: number): ChatEvent[] {
    const block = open.get(index)
    if (!block) return []
    open.delete(index)
    const { signature, redacted } = block
    return [
      ...lastArguments(block),
      {
        type: 'block-end',
        block: block.block,
        ...(signature !== undefined && { signature }),
        ...(redacted !== undefined && { redacted }),
      },
    ]
  }

  function closeAll(): ChatEvent[] {
    return [...open.keys()].flatMap(closeBlock)
  }

  function finish(): readonly ChatEvent[] {
    ended = true
    const total = readUsage(usage)
    const serviceTier = readServiceTier(usage)
    return [
      ...start({}),
      ...closeAll(),
      {
        type: 'finish',
        choice: 0,
        reason: finishReason(stopReason, calls),
        ...(stopReason !== undefined && { rawReason: stopReason }),
      },
      ...(total
        ? [
            {
              type: 'usage' as const,
              usage: total,
              ...(serviceTier !== undefined && { serviceTier }),
            },
          ]
        : []),
      { type: 'end' },
    ]
  }

  function end(): readonly ChatEvent[] {
    if (ended) return NOTHING
    throw new GatewayError('upstream_error', 'The provider closed the stream before its end')
  }

  return { read, end }
}

/** A call without arguments streams none: they are `{}`, or what came with the block's start. */
function lastArguments({ kind, block, custom, json, input }: OpenBlock): ChatEvent[] {
  if (kind !== 'tool-call' || (json !== '' && !custom)) return []
  const whole = json === '' ? JSON.stringify(input ?? {}) : json
  const text = custom ? freeText(whole) : whole
  return text === '' ? [] : [{ type: 'tool-call-delta', block, text }]
}

function parse(data: string): WireEvent {
  let value: unknown
  try {
    value = JSON.parse(data)
  } catch (cause) {
    throw new GatewayError('upstream_invalid', 'The provider sent a frame that is no JSON', {
      cause,
    })
  }
  if (isEvent(value)) return value
  throw new GatewayError('upstream_invalid', 'The provider sent a frame that is no event')
}
