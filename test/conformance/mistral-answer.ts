import { count, fields, isFields, objects, parsed, text } from './json.ts'
import type { Fields } from './json.ts'
import type { Reported } from './outcome.ts'
import { NOTHING_SAID } from './reading.ts'
import type { Reading, Said } from './reading.ts'
import type { RecordedFrame, RecordedResponse } from './recordings.ts'

/**
 * A second reading of Mistral's answers, from its own pages and none of our code.
 *
 * @see https://docs.mistral.ai/api/endpoint/chat
 */
export function readCompletion(
  answer: Fields,
): { reading: Reading; reported?: Reported } | undefined {
  const choices = objects(answer['choices'])
  if (choices.length === 0) return undefined
  const reported = readUsage(answer['usage'])
  return {
    reading: {
      model: text(answer['model']),
      choices: choices.map((choice) => readChoice(choice)),
    },
    ...(reported === undefined ? {} : { reported }),
  }
}

function readChoice(choice: Fields): Said {
  const message = fields(choice['message'])
  const chunks = chunksOf(message['content'])
  const thoughts = chunks.filter(({ type }) => type === 'thinking')
  const calls = objects(message['tool_calls'])
  const finish = text(choice['finish_reason'])
  return {
    ...NOTHING_SAID,
    text: chunks
      .filter(({ type }) => type === 'text')
      .map((chunk) => text(chunk['text']))
      .join(''),
    reasoning: thoughts.map(thoughtOf).join(''),
    calls: calls.map(({ id, function: called }) => {
      const { name, arguments: args } = fields(called)
      const written = text(args) === '' ? '{}' : text(args)
      return { id: text(id), name: text(name), args: isFields(args) ? args : parsed(written) }
    }),
    finish: calls.length > 0 && finish === 'stop' ? 'tool_calls' : finishOf(finish),
    seals: thoughts.map(({ signature }) => text(signature)).filter((seal) => seal !== ''),
  }
}

function finishOf(reason: string): string {
  return reason === 'model_length' ? 'length' : reason
}

function chunksOf(content: unknown): readonly Fields[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : objects(content)
}

function thoughtOf({ thinking }: Fields): string {
  if (typeof thinking === 'string') return thinking
  return objects(thinking)
    .map((each) => text(each['text']))
    .join('')
}

/** Sound is in the total, not in the prompt. */
function readUsage(usage: unknown): Reported | undefined {
  if (!isFields(usage)) return undefined
  const completion = count(usage['completion_tokens'])
  const total = count(usage['total_tokens'])
  const details = fields(usage['prompt_tokens_details'] ?? usage['prompt_token_details'])
  return {
    prompt: total - completion,
    completion,
    total,
    cached: count(details['cached_tokens'] ?? usage['num_cached_tokens']),
  }
}

/** The completion that a stream of chunks makes; undefined where it breaks off. */
export function joinChunks({ frames = [] }: RecordedResponse): Fields | undefined {
  const choices = new Map<number, { chunks: Fields[]; calls: Fields[]; finish: unknown }>()
  let answer: Fields = {}
  let usage: unknown
  for (const frame of frames) {
    if (frame.data.trim() === '[DONE]') break
    if (isError(frame)) return undefined
    const chunk = fields(parsed(frame.data))
    answer = { ...chunk, ...answer }
    usage = chunk['usage'] ?? usage
    for (const { index, delta, finish_reason } of objects(chunk['choices'])) {
      const choice = choices.get(count(index)) ?? { chunks: [], calls: [], finish: undefined }
      choices.set(count(index), choice)
      choice.chunks.push(...chunksOf(fields(delta)['content']))
      for (const call of objects(fields(delta)['tool_calls'])) addCall(choice.calls, call)
      choice.finish ??= finish_reason ?? undefined
    }
  }
  const all = [...choices.values()]
  if (all.length === 0 || all.some(({ finish }) => finish === undefined)) return undefined
  return {
    ...answer,
    usage,
    choices: all.map(({ chunks, calls, finish }) => ({
      message: { content: chunks, tool_calls: calls },
      finish_reason: finish,
    })),
  }
}

/** A call comes whole, or in pieces of which the later ones have no name. */
function addCall(calls: Fields[], call: Fields): void {
  const called = fields(call['function'])
  const open = calls.at(-1)
  if (text(called['name']) !== '' || open === undefined) {
    calls.push(call)
    return
  }
  const { name, arguments: args } = fields(open['function'])
  const longer = { name, arguments: text(args) + text(called['arguments']) }
  calls[calls.length - 1] = { ...open, function: longer }
}

export function isEnd({ data }: RecordedFrame): boolean {
  return objects(fields(parsed(data))['choices']).some(({ finish_reason: reason }) =>
    Boolean(reason),
  )
}

export function isError({ event, data }: RecordedFrame): boolean {
  const chunk = parsed(data)
  return event === 'error' || (isFields(chunk) && !('choices' in chunk) && !('usage' in chunk))
}
