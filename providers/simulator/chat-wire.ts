import type { Simulated, SimulatedChoice } from './answer.ts'
import type { ChatAsked } from './chat-request.ts'
import { randomFrom } from './random.ts'

/** Answers are the same whenever they are asked for, so their date is always this one. */
const CREATED = Date.UTC(2026, 0, 1) / 1000

/** A whole answer, in OpenAI's words. */
export function writeAnswer(asked: ChatAsked, answer: Simulated, usage: object | undefined) {
  return {
    id: answer.id,
    object: 'chat.completion',
    created: CREATED,
    model: asked.model,
    choices: answer.choices.map((choice, index) => ({
      index,
      message: {
        role: 'assistant',
        content: choice.calls.length > 0 ? null : choice.content.join(''),
        refusal: null,
        annotations: [],
        ...(choice.reasoning.length > 0 ? { reasoning_content: choice.reasoning.join('') } : {}),
        ...(choice.calls.length > 0
          ? { tool_calls: choice.calls.map((call) => writeCall(call, call.arguments)) }
          : {}),
      },
      logprobs:
        asked.topLogprobs === undefined ? null : logprobs(choice.content, asked.topLogprobs),
      finish_reason: choice.finish,
    })),
    ...(usage === undefined ? {} : { usage }),
    service_tier: 'default',
    system_fingerprint: 'fp_simulator',
  }
}

/**
 * The chunks of a streamed answer, in OpenAI's order: a head for each choice, their deltas in
 * turn, a finish for each, usage in a chunk of its own.
 */
export function* writeChunks(
  asked: ChatAsked,
  answer: Simulated,
  usage: object | undefined,
): Generator<object> {
  const frame = (choices: readonly object[]) => ({
    id: answer.id,
    object: 'chat.completion.chunk',
    created: CREATED,
    model: asked.model,
    service_tier: 'default',
    system_fingerprint: 'fp_simulator',
    choices,
    ...(asked.includeUsage ? { usage: null } : {}),
  })
  const open = new Map(
    answer.choices.entries().map(([index, choice]) => [index, deltas(asked, choice)]),
  )
  while (open.size > 0) {
    for (const [index, rest] of open) {
      const { value, done } = rest.next()
      if (done === true) open.delete(index)
      else yield frame([{ index, logprobs: null, finish_reason: null, ...value }])
    }
  }
  if (asked.includeUsage && usage !== undefined) yield { ...frame([]), usage }
}

function* deltas(asked: ChatAsked, choice: SimulatedChoice): Generator<object> {
  const none = choice.calls.length > 0 ? null : ''
  yield { delta: { role: 'assistant', content: none, refusal: null } }
  for (const reasoning_content of choice.reasoning) yield { delta: { reasoning_content } }
  for (const content of choice.content) {
    const { topLogprobs } = asked
    yield {
      delta: { content },
      ...(topLogprobs === undefined ? {} : { logprobs: logprobs([content], topLogprobs) }),
    }
  }
  for (const [index, call] of choice.calls.entries()) {
    yield { delta: { tool_calls: [{ index, ...writeCall(call, '') }] } }
    const field = call.type === 'function' ? 'arguments' : 'input'
    for (const piece of call.pieces) {
      yield { delta: { tool_calls: [{ index, [call.type]: { [field]: piece } }] } }
    }
  }
  yield { delta: {}, finish_reason: choice.finish }
}

function writeCall({ id, type, name }: SimulatedChoice['calls'][number], input: string): object {
  return type === 'function'
    ? { id, type, function: { name, arguments: input } }
    : { id, type, custom: { name, input } }
}

/** Made up, but always the same for the same token. */
function logprobs(tokens: readonly string[], top: number): object {
  return {
    content: tokens.map((token) => {
      const best = -randomFrom(token)() / 2
      const others = Array.from({ length: Math.max(0, top - 1) }, (_, index) =>
        entry(` other${index + 1}`, best - 1 - index),
      )
      const first = entry(token, best)
      return { ...first, top_logprobs: top === 0 ? [] : [first, ...others] }
    }),
    refusal: null,
  }
}

function entry(token: string, logprob: number): object {
  return { token, logprob, bytes: [...Buffer.from(token)] }
}
