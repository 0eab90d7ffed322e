import type { JsonObject } from '#protocol'
import { type ChatAsked, Refusal, textOf } from './chat-request.ts'
import { valueFor } from './from-schema.ts'
import { digest, randomFrom, type Random } from './random.ts'
import { namesIn } from './samples.ts'
import { isObject, isSchema } from './schema.ts'
import { countTokens, tokenize } from './tokens.ts'
import { callTool, type SimulatedCall, toolsToCall } from './tool-calls.ts'
import { paragraph, report, thoughts } from './words.ts'

/** The longest prompt and answer together; as that of a usual model. */
export const CONTEXT_TOKENS = 131_072

export interface Simulated {
  readonly id: string
  readonly choices: readonly SimulatedChoice[]
  readonly usage: SimulatedUsage
}

/** Each text as its tokens, which is how it is streamed. */
export interface SimulatedChoice {
  readonly reasoning: readonly string[]
  readonly content: readonly string[]
  readonly calls: readonly (SimulatedCall & { readonly pieces: readonly string[] })[]
  readonly finish: 'stop' | 'length' | 'tool_calls'
}

export interface SimulatedUsage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
  readonly prompt_tokens_details: { readonly cached_tokens: number; readonly audio_tokens: number }
  readonly completion_tokens_details: { readonly reasoning_tokens: number }
}

/** Answers a chat request. The same request gets the same answer; another seed, another. */
export function answerChat(asked: ChatAsked): Simulated {
  const prompt = lastUserText(asked.messages)
  const { text, audio } = promptTokens(asked)
  const promptTotal = text + audio
  if (promptTotal > CONTEXT_TOKENS) {
    throw new Refusal(
      400,
      `This model's maximum context length is ${CONTEXT_TOKENS} tokens, but the prompt has ${promptTotal}`,
      { code: 'context_length_exceeded', param: 'messages' },
    )
  }
  const choices = Array.from({ length: asked.n }, (_, index) =>
    answerChoice(asked, prompt, randomFrom(`${asked.fingerprint} ${index}`)),
  )
  const reasoning = sum(choices.map((choice) => choice.reasoning.length))
  const completion = sum(choices.map(outputTokens))
  return {
    id: `chatcmpl-${digest(asked.fingerprint).toString('hex').slice(0, 24)}`,
    choices,
    usage: {
      prompt_tokens: promptTotal,
      completion_tokens: completion,
      total_tokens: promptTotal + completion,
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: audio },
      completion_tokens_details: { reasoning_tokens: reasoning },
    },
  }
}

function answerChoice(asked: ChatAsked, prompt: string, random: Random): SimulatedChoice {
  let room = asked.maxTokens
  const take = (text: string): string[] => {
    const tokens = tokenize(text).slice(0, room)
    room -= tokens.length
    return tokens
  }
  const whole = { reasoning: reasoningText(asked, prompt), calls: toolsToCall(asked, prompt) }
  const reasoning = take(whole.reasoning)
  const calls: SimulatedChoice['calls'][number][] = []
  let cutCall = false
  for (const tool of whole.calls) {
    if (room <= 0) break
    const call = callTool(tool, prompt, random)
    room -= countTokens(call.name)
    const pieces = take(call.arguments)
    const written = pieces.join('')
    cutCall ||= written !== call.arguments
    calls.push({ ...call, arguments: written, pieces })
  }
  const text = whole.calls.length > 0 ? '' : answerText(asked, prompt, random)
  const content = take(text)
  const cut =
    reasoning.join('') !== whole.reasoning ||
    content.join('') !== text ||
    calls.length < whole.calls.length ||
    cutCall
  return {
    reasoning,
    content,
    calls,
    finish: cut ? 'length' : calls.length > 0 ? 'tool_calls' : 'stop',
  }
}

function reasoningText(asked: ChatAsked, prompt: string): string {
  const effort = asked.effort ?? (asked.model === 'thinker' ? 'medium' : 'none')
  return effort === 'none' ? '' : thoughts(prompt, effort)
}

function answerText(asked: ChatAsked, prompt: string, random: Random): string {
  const text = freeText(asked, prompt, random)
  const ends = asked.stop.map((stop) => text.indexOf(stop)).filter((at) => at >= 0)
  return text.slice(0, Math.min(text.length, ...ends))
}

function freeText(asked: ChatAsked, prompt: string, random: Random): string {
  const results = toolResults(asked.messages)
  if (isSchema(asked.schema)) {
    const any = JSON.stringify(asked.schema) === '{"type":"object"}'
    const answer = results.length > 0 ? report(results) : paragraph(prompt, random)
    return JSON.stringify(any ? { answer } : valueFor(asked.schema, random, namesIn(prompt)))
  }
  if (results.length > 0) return report(results)
  if (asked.model === 'echo') return prompt
  return paragraph(prompt, random)
}

function lastUserText(messages: readonly JsonObject[]): string {
  const last = messages.findLast(({ role }) => role === 'user') ?? messages.at(-1)
  return textOf(last?.['content'])
}

/** The results at the end of the conversation, with the names of the tools they are of. */
function toolResults(messages: readonly JsonObject[]): { name: string; text: string }[] {
  const start = messages.findLastIndex(({ role }) => role !== 'tool') + 1
  const calls = messages
    .flatMap(({ tool_calls: made }) => (Array.isArray(made) ? made : []))
    .filter(isObject)
  return messages.slice(start).map((message) => {
    const call = calls.findLast(({ id }) => id === message['tool_call_id'])
    const called = call?.['function'] ?? call?.['custom']
    const name = isObject(called) && typeof called['name'] === 'string' ? called['name'] : '?'
    return { name, text: textOf(message['content']) }
  })
}

/** Tokens of media, whatever their size. */
const MEDIA_TOKENS: Readonly<Record<string, number>> = { image_url: 85, input_audio: 50, file: 250 }
const MESSAGE_TOKENS = 4

function promptTokens(asked: ChatAsked): { text: number; audio: number } {
  let text = 3
  let audio = 0
  for (const { content, name, tool_calls: calls } of asked.messages) {
    text += MESSAGE_TOKENS + countTokens(textOf(content))
    if (typeof name === 'string') text += countTokens(name)
    if (Array.isArray(calls)) text += countTokens(JSON.stringify(calls))
    for (const part of Array.isArray(content) ? content : []) {
      const type = isObject(part) ? part['type'] : undefined
      if (type === 'input_audio') audio += MEDIA_TOKENS[type] ?? 0
      else if (typeof type === 'string') text += MEDIA_TOKENS[type] ?? 0
    }
  }
  for (const tool of asked.tools) text += MESSAGE_TOKENS + countTokens(JSON.stringify(tool))
  if (asked.schema !== undefined) text += countTokens(JSON.stringify(asked.schema))
  return { text, audio }
}

function outputTokens({ reasoning, content, calls }: SimulatedChoice): number {
  return (
    reasoning.length +
    content.length +
    sum(calls.map(({ name, pieces }) => countTokens(name) + pieces.length))
  )
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
