import { GatewayError } from '#errors'
import type { AssistantPart, ChatRequest, ChatResponse, Citation, FinishReason } from '#protocol'
import type { ToolNames } from './names.ts'
import { toolNames } from './names.ts'
import { readServiceTier, readUsage } from './usage.ts'
import type { WireBlock, WireCitation } from './wire.ts'
import { isMessage, isObject } from './wire.ts'

/**
 * Reads the answer of `POST /v1/messages`.
 *
 * Blocks of the provider's own tools, and kinds nobody knows yet, are passed over.
 */
export function decode(body: unknown, request: ChatRequest): ChatResponse {
  if (!isMessage(body)) {
    throw new GatewayError(
      'upstream_invalid',
      'The provider answered something else than a message',
    )
  }
  const names = toolNames(request)
  const content = (body.content ?? []).flatMap((block) => readBlock(block, names))
  const usage = readUsage(body.usage)
  const serviceTier = readServiceTier(body.usage)
  const raw = body.stop_reason ?? undefined
  const calls = content.some(({ type }) => type === 'tool-call')
  return {
    id: body.id ?? '',
    model: body.model ?? '',
    choices: [
      {
        index: 0,
        content,
        finishReason: finishReason(raw, calls),
        ...(raw !== undefined && { rawFinishReason: raw }),
      },
    ],
    ...(usage && { usage }),
    ...(serviceTier !== undefined && { serviceTier }),
  }
}

function readBlock(block: WireBlock, names: ToolNames): AssistantPart[] {
  switch (block.type) {
    case 'text': {
      if (!block.text) return []
      const citations = (block.citations ?? []).map(readCitation)
      return [{ type: 'text', text: block.text, ...(citations.length > 0 && { citations }) }]
    }
    case 'thinking':
      return [
        {
          type: 'reasoning',
          text: block.thinking ?? '',
          ...(block.signature && { signature: block.signature }),
        },
      ]
    case 'redacted_thinking':
      return [{ type: 'reasoning', text: '', redacted: block.data ?? '' }]
    case 'tool_use': {
      if (!isForCaller(block)) return []
      const name = names.toCaller(block.name ?? '')
      const custom = names.isCustom(name)
      const text = JSON.stringify(block.input ?? {})
      return [
        {
          type: 'tool-call',
          id: block.id ?? '',
          name,
          arguments: custom ? freeText(text) : text,
          ...(custom && { custom }),
        },
      ]
    }
    default:
      return []
  }
}

/** Calls that code in the provider's sandbox makes are not the application's to answer. */
export function isForCaller({ caller }: WireBlock): boolean {
  return (caller?.type ?? 'direct') === 'direct'
}

/** What a custom tool was called with, out of the function it was sent as. */
export function freeText(json: string): string {
  try {
    const value: unknown = JSON.parse(json)
    const input = isObject(value) ? value['input'] : undefined
    return typeof input === 'string' ? input : json
  } catch {
    // Cut short by `max_tokens`: the caller gets what there is.
    return json
  }
}

export function readCitation(citation: WireCitation): Citation {
  const url = citation.url ?? citation.source
  const title = citation.title ?? citation.document_title
  return {
    ...(typeof url === 'string' && { url }),
    ...(typeof title === 'string' && { title }),
    ...(typeof citation.cited_text === 'string' && { quote: citation.cited_text }),
  }
}

/** @see https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons */
const FINISH_REASONS: Readonly<Record<string, FinishReason>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  pause_turn: 'stop',
  compaction: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool-calls',
  refusal: 'content-filter',
}

/** @param calls whether the caller has been shown a tool call to answer */
export function finishReason(stopReason: string | undefined, calls: boolean): FinishReason {
  const reason = FINISH_REASONS[stopReason ?? ''] ?? 'stop'
  return reason === 'tool-calls' && !calls ? 'stop' : reason
}
