import type OpenAI from 'openai'
import { expect } from 'vitest'
import type { JsonValue } from '#protocol'

/** What a client made of an answer, in no client's words. */
export interface Reading {
  readonly text: string
  readonly thinking: string
  readonly calls: readonly {
    readonly id: string
    readonly name: string
    readonly input: JsonValue
  }[]
  readonly finish: string
  /** In tokens: the whole prompt, the part of it read from a cache, the whole answer. */
  readonly prompt: number
  readonly cached: number
  readonly output: number
}

export function readingOf(answer: OpenAI.ChatCompletion): Reading {
  const { message, finish_reason: finish } = answer.choices[0]!
  const { content, tool_calls: calls = [] } = message
  const { reasoning_content: thinking = '' } = message as { reasoning_content?: string }
  return {
    text: content ?? '',
    thinking,
    calls: calls.map((call) => {
      if (call.type !== 'function') throw new Error('a call of no function')
      return {
        id: call.id,
        name: call.function.name,
        input: JSON.parse(call.function.arguments) as JsonValue,
      }
    }),
    finish,
    prompt: answer.usage!.prompt_tokens,
    cached: answer.usage!.prompt_tokens_details!.cached_tokens!,
    output: answer.usage!.completion_tokens,
  }
}

/** Asks for a streamed answer and puts it together by hand, as applications do that use no helper. */
export async function streamed(
  client: OpenAI,
  body: Omit<OpenAI.ChatCompletionCreateParamsStreaming, 'stream'>,
): Promise<OpenAI.ChatCompletion> {
  const stream = await client.chat.completions.create({
    ...body,
    stream: true,
    stream_options: { include_usage: true },
  })
  return gather(await Array.fromAsync(stream))
}

function gather(chunks: readonly OpenAI.ChatCompletionChunk[]): OpenAI.ChatCompletion {
  const [first] = chunks
  const message: Draft = {}
  let finish: string | null = null
  for (const chunk of chunks.slice(0, -1)) {
    expect(chunk).toMatchObject({ object: 'chat.completion.chunk', id: first!.id })
    expect(chunk.usage ?? null, 'usage comes last').toBeNull()
    expect(finish, 'nothing but usage follows the finish').toBeNull()
    const [choice] = chunk.choices
    finish = choice!.finish_reason
    add(message, choice!.delta)
  }
  const last = chunks.at(-1)!
  expect(last.choices, 'usage comes alone').toEqual([])
  const choice = { index: 0, message, finish_reason: finish, logprobs: null }
  return {
    ...first!,
    object: 'chat.completion',
    choices: [choice as unknown as OpenAI.ChatCompletion.Choice],
    usage: last.usage!,
  }
}

type Draft = Record<string, unknown> & { tool_calls?: Record<string, unknown>[] }

/** Text grows, the rest is set; calls grow each at its index. */
function add(
  message: Draft,
  { tool_calls: calls = [], ...delta }: OpenAI.ChatCompletionChunk.Choice.Delta,
): void {
  for (const [name, value] of Object.entries(delta)) {
    const before = message[name]
    const grows = typeof before === 'string' && typeof value === 'string' && name !== 'role'
    message[name] = grows ? before + value : (value ?? before)
  }
  for (const { index, function: called, ...head } of calls) {
    message.tool_calls ??= []
    const call = (message.tool_calls[index] ??= { function: { name: '', arguments: '' } })
    Object.assign(call, head)
    const open = call['function'] as { name: string; arguments: string }
    open.name += called?.name ?? ''
    open.arguments += called?.arguments ?? ''
  }
}
