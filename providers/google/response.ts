import type {
  AssistantPart,
  ChatEvent,
  ChatRequest,
  ChatResponse,
  Choice,
  Citation,
  JsonValue,
} from '#protocol'
import { GatewayError } from '#errors'
import { answerReader } from './events.ts'

/**
 * A whole answer, read as a stream of one piece. Unlike a stream it may lack a finish reason.
 *
 * @throws GatewayError `upstream_invalid` for an answer with neither candidates nor a refusal
 */
export function decode(body: unknown, request: ChatRequest): ChatResponse {
  const reader = answerReader(request)
  const events: ChatEvent[] = []
  for (const piece of Array.isArray(body) ? body : [body]) reader.add(piece, events)
  if (!reader.answered)
    throw new GatewayError('upstream_invalid', 'The provider answered without any candidate')
  return collect([...events, ...reader.end()])
}

interface Draft {
  readonly content: Map<number, AssistantPart>
  readonly logprobs: JsonValue[]
}

type Finish = Extract<ChatEvent, { type: 'finish' }>

/** Joins the events of an answer. */
function collect(events: readonly ChatEvent[]): ChatResponse {
  const start = events.find((event) => event.type === 'start')
  const usage = events.find((event) => event.type === 'usage')
  const finishes = events.filter((event) => event.type === 'finish')
  return {
    id: start?.id ?? '',
    model: start?.model ?? '',
    ...(start?.created !== undefined && { created: start.created }),
    choices: finishes.map((finish) => choice(finish, events)),
    ...(usage !== undefined && { usage: usage.usage }),
    ...(usage?.serviceTier !== undefined && { serviceTier: usage.serviceTier }),
  }
}

function choice(finish: Finish, events: readonly ChatEvent[]): Choice {
  const draft: Draft = { content: new Map(), logprobs: [] }
  for (const event of events) addEvent(draft, finish.choice, event)
  const { choice: index, reason: finishReason, rawReason } = finish
  return {
    index,
    content: [...draft.content.values()],
    finishReason,
    ...(rawReason !== undefined && { rawFinishReason: rawReason }),
    ...(draft.logprobs.length > 0 && { logprobs: { content: draft.logprobs, refusal: null } }),
  }
}

function addEvent(draft: Draft, index: number, event: ChatEvent): void {
  switch (event.type) {
    case 'text-start':
      if (event.choice === index) draft.content.set(event.block, { type: 'text', text: '' })
      return
    case 'reasoning-start':
      if (event.choice === index) draft.content.set(event.block, { type: 'reasoning', text: '' })
      return
    case 'tool-call-start':
      if (event.choice === index)
        draft.content.set(event.block, {
          type: 'tool-call',
          id: event.callId,
          name: event.name,
          arguments: '',
          ...(event.custom !== undefined && { custom: event.custom }),
        })
      return
    case 'media':
      if (event.choice === index)
        draft.content.set(event.block, { type: 'media', source: event.source })
      return
    case 'text-delta':
    case 'reasoning-delta':
    case 'tool-call-delta':
    case 'citation':
    case 'block-end': {
      const part = draft.content.get(event.block)
      if (part === undefined) return
      draft.content.set(event.block, grown(part, event))
      if (event.type === 'text-delta') draft.logprobs.push(...tokens(event.logprobs))
    }
  }
}

type BlockEvent = Extract<
  ChatEvent,
  { type: 'text-delta' | 'reasoning-delta' | 'tool-call-delta' | 'citation' | 'block-end' }
>

function grown(part: AssistantPart, event: BlockEvent): AssistantPart {
  if (event.type === 'citation') return withCitation(part, event.citation)
  if (part.type === 'media' || part.type === 'refusal') return part
  if (event.type === 'block-end')
    return event.signature === undefined ? part : { ...part, signature: event.signature }
  if (part.type === 'tool-call') return { ...part, arguments: part.arguments + event.text }
  return { ...part, text: part.text + event.text }
}

function withCitation(part: AssistantPart, citation: Citation): AssistantPart {
  if (part.type !== 'text') return part
  return { ...part, citations: [...(part.citations ?? []), citation] }
}

function tokens(logprobs: JsonValue | undefined): readonly JsonValue[] {
  if (typeof logprobs !== 'object' || logprobs === null || !('content' in logprobs)) return []
  return Array.isArray(logprobs.content) ? logprobs.content : []
}
