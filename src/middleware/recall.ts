import type { Middleware } from 'koa'
import type {
  Answer,
  AssistantMessage,
  AssistantPart,
  ChatEvent,
  ChatRequest,
  Message,
  ReasoningPart,
  StreamAnswer,
} from '#protocol'
import type { GatewayState } from '../state.ts'

/** What a provider wants back with a tool call, and clients of another wire drop. */
export interface Memory {
  readonly signature?: string
  /** The reasoning that led to the call. */
  readonly reasoning: readonly ReasoningPart[]
}

/** In UTF-16 units, never 0. */
export function sizeOfMemory({ signature = '', reasoning }: Memory): number {
  let units = 1 + signature.length
  for (const part of reasoning) {
    units += part.text.length + (part.signature?.length ?? 0) + (part.redacted?.length ?? 0)
  }
  return units
}

export interface RecallDeps {
  readonly remember: (tenantId: string, callId: string, memory: Memory) => void
  readonly recall: (tenantId: string, callId: string) => Memory | undefined
}

/**
 * Gives back to the model its own reasoning and signatures, by tool call id, where the caller's
 * history came without them.
 *
 * OpenAI's chat wire has no field for these, so stock clients lose them; Anthropic and Gemini
 * refuse or degrade the next turn when they are missing. Helpers that gather a stream keep no
 * more of plain reasoning than its last piece. What a caller did send otherwise wins.
 */
export function recall({ remember, recall }: RecallDeps): Middleware<GatewayState> {
  return async function recallReasoning(ctx, next) {
    const { state } = ctx
    const { tenantId } = state.key
    if (state.asked.operation === 'chat' && state.asked.request.tools !== undefined) {
      const request = restore(state.asked.request, (callId) => recall(tenantId, callId))
      state.asked = { operation: 'chat', request }
    }
    const keep = (callId: string, memory: Memory): void => remember(tenantId, callId, memory)
    await next()
    state.answer = observe(state.answer, keep)
  }
}

/** @returns the same request where there is nothing to give back */
function restore(request: ChatRequest, find: (callId: string) => Memory | undefined): ChatRequest {
  let changed = false
  const messages = request.messages.map((message): Message => {
    if (message.role !== 'assistant') return message
    const restored = restoreMessage(message, find)
    if (restored !== message) changed = true
    return restored
  })
  return changed ? { ...request, messages } : request
}

function restoreMessage(
  message: AssistantMessage,
  find: (callId: string) => Memory | undefined,
): AssistantMessage {
  const hasSeal = message.content.some(
    (part) =>
      part.type === 'reasoning' && (part.signature !== undefined || part.redacted !== undefined),
  )
  const said = textOf(message.content.filter((part) => part.type === 'reasoning'))
  let reasoning: readonly ReasoningPart[] = []
  let changed = false
  const content = message.content.map((part): AssistantPart => {
    if (part.type !== 'tool-call') return part
    const memory = find(part.id)
    if (memory === undefined) return part
    if (!hasSeal && reasoning.length === 0) {
      reasoning = missing(memory.reasoning, said)
      if (reasoning.length > 0) changed = true
    }
    if (memory.signature === undefined || part.signature !== undefined) return part
    changed = true
    return { ...part, signature: memory.signature }
  })
  if (!changed) return message
  const spoken = reasoning.length > 0 ? content.filter(({ type }) => type !== 'reasoning') : content
  return { ...message, content: [...reasoning, ...spoken] }
}

/** What of the reasoning is to be given back to a message that says so much of it. */
function missing(reasoning: readonly ReasoningPart[], said: string): readonly ReasoningPart[] {
  const whole = textOf(reasoning)
  if (said !== '' && said !== whole && whole.includes(said)) return reasoning
  return reasoning.filter(isSealed)
}

function textOf(reasoning: readonly ReasoningPart[]): string {
  return reasoning.map(({ text }) => text).join('')
}

function observe(answer: Answer, keep: (callId: string, memory: Memory) => void): Answer {
  if (answer.type === 'stream') return { ...answer, pieces: watch(answer.pieces, keep) }
  if (answer.content.type === 'chat') {
    for (const { content } of answer.content.response.choices) {
      const reasoning = content.filter((part) => part.type === 'reasoning')
      for (const part of content) {
        if (part.type === 'tool-call') keepIfAny(part.id, part.signature, reasoning, keep)
      }
    }
  }
  return answer
}

function isSealed(part: ReasoningPart): boolean {
  return part.signature !== undefined || part.redacted !== undefined
}

function keepIfAny(
  callId: string,
  signature: string | undefined,
  reasoning: readonly ReasoningPart[],
  keep: (callId: string, memory: Memory) => void,
): void {
  if (signature === undefined && reasoning.length === 0) return
  keep(callId, { reasoning, ...(signature === undefined ? {} : { signature }) })
}

async function* watch(
  pieces: StreamAnswer['pieces'],
  keep: (callId: string, memory: Memory) => void,
): AsyncGenerator<Uint8Array | readonly ChatEvent[]> {
  const thinking = new Map<number, string>()
  const calls = new Map<number, string>()
  const reasoning: ReasoningPart[] = []
  for await (const piece of pieces) {
    if (!(piece instanceof Uint8Array)) for (const event of piece) note(event)
    yield piece
  }

  function note(event: ChatEvent): void {
    if (event.type === 'reasoning-start') thinking.set(event.block, '')
    else if (event.type === 'reasoning-delta') {
      thinking.set(event.block, (thinking.get(event.block) ?? '') + event.text)
    } else if (event.type === 'tool-call-start') {
      calls.set(event.block, event.callId)
      keepIfAny(event.callId, undefined, [...reasoning], keep)
    } else if (event.type === 'block-end') {
      const { block, signature, redacted } = event
      const text = thinking.get(block)
      const callId = calls.get(block)
      const sealed = signature !== undefined || redacted !== undefined
      if (text !== undefined && (text !== '' || sealed)) {
        reasoning.push({
          type: 'reasoning',
          text,
          ...(signature === undefined ? {} : { signature }),
          ...(redacted === undefined ? {} : { redacted }),
        })
      }
      if (callId !== undefined) keepIfAny(callId, signature, [...reasoning], keep)
    }
  }
}
