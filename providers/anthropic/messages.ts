import { GatewayError } from '#errors'
import type {
  AssistantMessage,
  AssistantPart,
  InstructionMessage,
  JsonObject,
  Message,
  ToolCallPart,
  ToolMessage,
  UserMessage,
} from '#protocol'
import type { UserBlock } from './content.ts'
import { textBlock, userBlock } from './content.ts'
import type { Draft } from './draft.ts'
import { adapted, lossy, mark } from './draft.ts'
import { unused, wireId } from './names.ts'
import type { AssistantTurn, Turn } from './turns.ts'
import { closeTurns, requireAnswered, takeCall, userTurn } from './turns.ts'
import type { ContentBlockParam, TextBlockParam, ToolResultBlockParam } from './wire.ts'
import { isObject } from './wire.ts'

export interface Conversation {
  readonly system: TextBlockParam[]
  readonly turns: Turn[]
}

/**
 * Writes the conversation as the alternating turns of the Messages API.
 *
 * Instructions that open it become `system` blocks; later ones become user text, in their
 * place. All results of a turn's tool calls go into one user turn, together with what the
 * user says next.
 *
 * @throws GatewayError `invalid_value` for tool calls without results, results without calls,
 *   or nothing said at all
 */
export function encodeConversation(messages: readonly Message[], draft: Draft): Conversation {
  const system: TextBlockParam[] = []
  const turns: Turn[] = []
  const usedIds = new Map<string, number>()
  for (const [index, message] of messages.entries()) {
    const field = `messages[${index}]`
    if ('name' in message && message.name !== undefined) {
      lossy(draft, `${field}.name`, 'not supported by anthropic')
    }
    switch (message.role) {
      case 'system':
      case 'developer':
        if (turns.length === 0) system.push(...instructionBlocks(message, field, draft))
        else addLateInstruction(message, field, turns, draft)
        break
      case 'user':
        addUser(message, field, turns, draft)
        break
      case 'assistant':
        addAssistant(message, field, turns, usedIds, draft)
        break
      case 'tool':
        addResult(message, field, turns, draft)
        break
    }
  }
  requireAnswered(turns)
  return withSomethingSaid({ system, turns: closeTurns(turns, draft) }, draft)
}

function instructionBlocks(
  { content }: InstructionMessage,
  field: string,
  draft: Draft,
): TextBlockParam[] {
  return content.flatMap((part, index) => {
    const block = textBlock(part, `${field}.content[${index}]`, draft)
    return block ? [block] : []
  })
}

function addLateInstruction(
  message: InstructionMessage,
  field: string,
  turns: Turn[],
  draft: Draft,
): void {
  const blocks = instructionBlocks(message, field, draft)
  if (blocks.length === 0) return
  adapted(draft, field, 'sent as user text: instructions stand first with anthropic')
  for (const block of blocks) block.text = `<system>\n${block.text}\n</system>`
  userTurn(turns).rest.push(...blocks)
}

function addUser({ content }: UserMessage, field: string, turns: Turn[], draft: Draft): void {
  const blocks = content.flatMap((part, index) => {
    const block = userBlock(part, `${field}.content[${index}]`, draft)
    return block ? [block] : []
  })
  if (blocks.length > 0) userTurn(turns).rest.push(...blocks)
  else adapted(draft, field, 'left out: anthropic refuses empty messages')
}

function addAssistant(
  { content }: AssistantMessage,
  field: string,
  turns: Turn[],
  usedIds: Map<string, number>,
  draft: Draft,
): void {
  const last = turns.at(-1)
  if (last?.role === 'user') requireAnswered(turns)
  const turn: AssistantTurn =
    last?.role === 'assistant' ? last : { role: 'assistant', blocks: [], calls: [] }
  let calls = 0
  for (const [index, part] of content.entries()) {
    if (part.type !== 'tool-call') {
      const block = assistantBlock(part, `${field}.content[${index}]`, draft)
      if (block) turn.blocks.push(block)
      continue
    }
    const callField = `${field}.tool_calls[${calls}]`
    calls += 1
    const id = unused(wireId(part.id), 256, usedIds)
    if (id !== part.id) adapted(draft, `${callField}.id`, `sent as ${id}`)
    turn.calls.push({ callerId: part.id, wireId: id, field: callField })
    turn.blocks.push(callBlock(part, id, callField, draft))
  }
  if (turn !== last && turn.blocks.length > 0) turns.push(turn)
}

function assistantBlock(
  part: Exclude<AssistantPart, ToolCallPart>,
  field: string,
  draft: Draft,
): ContentBlockParam | undefined {
  switch (part.type) {
    case 'text':
      return textBlock(part, field, draft)
    case 'refusal':
      return textBlock({ type: 'text', text: part.text }, field, draft)
    case 'reasoning':
      if (part.redacted !== undefined) return { type: 'redacted_thinking', data: part.redacted }
      if (part.signature !== undefined) {
        return { type: 'thinking', thinking: part.text, signature: part.signature }
      }
      adapted(draft, field, 'left out: anthropic takes back signed thinking only')
      return undefined
    case 'media':
  }
  lossy(draft, field, 'anthropic takes no images or sounds from the assistant')
  return undefined
}

function callBlock(part: ToolCallPart, id: string, field: string, draft: Draft): ContentBlockParam {
  const { arguments: text, name } = part
  const block: ContentBlockParam = {
    type: 'tool_use',
    id,
    name: draft.names.toWire(name),
    input: part.custom ? { input: text } : callInput(text, `${field}.function.arguments`, draft),
  }
  mark(draft, block, part.cache, field)
  return block
}

/**
 * Broken arguments were written by a model, not by the caller: they are wrapped, so that the
 * model can see what it wrote and the conversation goes on.
 */
function callInput(text: string, field: string, draft: Draft): JsonObject {
  if (text.trim() === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    if (isObject(value)) return value
  } catch {
    // Told below, with those that are JSON but no object.
  }
  adapted(draft, field, 'no JSON object: wrapped as {"arguments": ...}')
  return { arguments: text }
}

function addResult(message: ToolMessage, field: string, turns: Turn[], draft: Draft): void {
  const last = turns.at(-1)
  const asking = last?.role === 'assistant' ? last : turns.at(-2)
  const call = asking?.role === 'assistant' ? takeCall(asking, message.callId) : undefined
  if (!call) {
    throw new GatewayError(
      'invalid_value',
      `${field} answers the tool call ${JSON.stringify(message.callId)}, which the assistant message before it does not make`,
      { param: `${field}.tool_call_id` },
    )
  }
  userTurn(turns).results.push(resultBlock(message, call.wireId, field, draft))
}

function resultBlock(
  { content, isError }: ToolMessage,
  id: string,
  field: string,
  draft: Draft,
): ToolResultBlockParam {
  const blocks: UserBlock[] = []
  for (const [index, part] of content.entries()) {
    // The marker goes on the result: blocks inside one can not be cached apart.
    const { cache: _, ...bare } = part
    const block = userBlock(bare, `${field}.content[${index}]`, draft)
    if (block) blocks.push(block)
  }
  const only = blocks.length === 1 ? blocks[0] : undefined
  const result: ToolResultBlockParam = {
    type: 'tool_result',
    tool_use_id: id,
    ...(blocks.length > 0 && { content: only?.type === 'text' ? only.text : blocks }),
    ...(isError && { is_error: true }),
  }
  mark(draft, result, content.findLast((part) => part.cache)?.cache, field)
  return result
}

/** Instructions alone are a request elsewhere; Anthropic wants a turn. */
function withSomethingSaid(conversation: Conversation, draft: Draft): Conversation {
  const { system, turns } = conversation
  if (turns.length > 0) return conversation
  if (system.length === 0) {
    throw new GatewayError('invalid_value', 'The messages hold no text', { param: 'messages' })
  }
  adapted(draft, 'messages', 'instructions sent as user text: anthropic needs a user message')
  return { system: [], turns: [{ role: 'user', results: [], rest: system }] }
}
