import { GatewayError } from '#errors'
import type { UserBlock } from './content.ts'
import type { Draft } from './draft.ts'
import { adapted } from './draft.ts'
import type { ContentBlockParam, MessagesBody, ToolResultBlockParam } from './wire.ts'

/** A conversation as the Messages API has it: user and assistant in turn. */
export type Turn = UserTurn | AssistantTurn

export interface UserTurn {
  readonly role: 'user'
  /** Stand first in the turn, whatever the order of the caller's messages. */
  readonly results: ToolResultBlockParam[]
  readonly rest: UserBlock[]
}

export interface AssistantTurn {
  readonly role: 'assistant'
  readonly blocks: ContentBlockParam[]
  readonly calls: Call[]
  /** Calls without a result by the caller's id, last first; there once a result was looked for. */
  waiting?: Map<string, Call[]>
}

/** A tool call of the last assistant turn, waiting for its result. */
export interface Call {
  readonly callerId: string
  readonly wireId: string
  readonly field: string
}

export function wireTurns(turns: readonly Turn[]): MessagesBody['messages'] {
  return turns.map((turn) =>
    turn.role === 'user'
      ? { role: 'user', content: [...turn.results, ...turn.rest] }
      : { role: 'assistant', content: turn.blocks },
  )
}

/**
 * Whether the conversation stands inside a series of tool calls that did not begin with
 * thinking, as it does when the caller's wire could not carry the thinking back.
 */
export function continuesWithoutThinking(turns: readonly Turn[]): boolean {
  let at = turns.length - 1
  const last = turns[at]
  if (last?.role !== 'user' || last.results.length === 0) return false
  at -= 1
  for (;;) {
    const before = turns[at - 1]
    if (before?.role !== 'user' || before.results.length === 0 || before.rest.length > 0) break
    at -= 2
  }
  const first = turns[at]
  return first?.role === 'assistant' && !isThinking(first.blocks[0])
}

/** The user turn that is under way, or a new one. */
export function userTurn(turns: Turn[]): UserTurn {
  const last = turns.at(-1)
  if (last?.role === 'user') return last
  const turn: UserTurn = { role: 'user', results: [], rest: [] }
  turns.push(turn)
  return turn
}

/** Takes the call a result belongs to; of several with one id, the first without a result. */
export function takeCall(turn: AssistantTurn, callerId: string): Call | undefined {
  return waitingCalls(turn).get(callerId)?.pop()
}

function waitingCalls(turn: AssistantTurn): Map<string, Call[]> {
  turn.waiting ??= Map.groupBy(turn.calls.toReversed(), ({ callerId }) => callerId)
  return turn.waiting
}

/** @throws GatewayError `invalid_value` for a call of the last assistant turn without a result */
export function requireAnswered(turns: readonly Turn[]): void {
  const turn = turns.findLast(({ role }) => role === 'assistant')
  if (turn?.role !== 'assistant') return
  const call = [...waitingCalls(turn).values()].find(({ length }) => length > 0)?.at(-1)
  if (!call) return
  throw new GatewayError(
    'invalid_value',
    `No tool message answers the tool call ${JSON.stringify(call.callerId)}`,
    { param: call.field },
  )
}

/** Anthropic refuses a turn that ends in thinking, as one does that was cut short. */
export function closeTurns(turns: readonly Turn[], draft: Draft): Turn[] {
  const closed: Turn[] = []
  for (const turn of turns) {
    if (turn.role === 'assistant') {
      const end = turn.blocks.findLastIndex((block) => !isThinking(block)) + 1
      if (end < turn.blocks.length) {
        adapted(draft, 'messages', 'thinking that led to no answer left out')
        turn.blocks.length = end
      }
      if (end > 0) closed.push(turn)
      continue
    }
    const last = closed.at(-1)
    if (last?.role === 'user') {
      last.results.push(...turn.results)
      last.rest.push(...turn.rest)
    } else closed.push(turn)
  }
  return closed
}

function isThinking(block: ContentBlockParam | undefined): boolean {
  return block?.type === 'thinking' || block?.type === 'redacted_thinking'
}
