import { Mistral } from '@mistralai/mistralai'
import type {
  ChatCompletionRequest,
  ContentChunk,
  ToolCall,
  UsageInfo,
} from '@mistralai/mistralai/models/components'
import { describe, expect, it } from 'vitest'
import { readingOf, streamed } from './reading.ts'
import type { Reading } from './reading.ts'
import { SCENARIOS } from './scenarios.ts'
import { setStage } from './stage.ts'

const stage = setStage()
const MODEL = 'mistral/mistral-medium-latest'

describe('@mistralai/mistralai', () => {
  describe.each(Object.entries(SCENARIOS))('%s', (_, { asked, says }) => {
    it('sends our request as it is, and reads the answer as we do', async () => {
      const { mistral } = stage.providers
      mistral.plays({ says }, { says })
      const answer = await stage.clients['openai 7'].chat.completions.create({
        ...asked,
        model: MODEL,
      })
      const { choices, usage } = await sdk().chat.complete(camelCased(mistral.received[0]!.body))

      expectSameRequest()
      const { message, finishReason } = choices[0]!
      const { content, toolCalls } = message!
      const finish = String(finishReason)
      expect(readingOf(answer)).toEqual(readingOfMistral([content], toolCalls, finish, usage))
    })

    it('streamed, too', async () => {
      const { mistral } = stage.providers
      mistral.plays({ says }, { says })
      const answer = await streamed(stage.clients['openai 7'], { ...asked, model: MODEL })
      const events = await Array.fromAsync(
        await sdk().chat.stream(camelCased(mistral.received[0]!.body)),
      )

      expectSameRequest()
      const choices = events.flatMap(({ data }) => data.choices)
      const contents = choices.map(({ delta }) => delta.content)
      const calls = choices.flatMap(({ delta }) => delta.toolCalls ?? [])
      const finish = String(choices.at(-1)!.finishReason)
      const { usage } = events.at(-1)!.data
      expect(readingOf(answer)).toEqual(readingOfMistral(contents, calls, finish, usage!))
    })
  })
})

function sdk(): Mistral {
  const { character, baseUrl } = stage.providers.mistral
  return new Mistral({ apiKey: character.credential, serverURL: baseUrl })
}

/** Members whose own members are the caller's, not Mistral's. */
const OPAQUE = new Set(['parameters', 'schema'])
/** The SDK's names that are not the wire's in camel case. */
const RENAMED: Readonly<Record<string, string>> = { schema: 'schemaDefinition' }

/** A request of the wire in the SDK's words. */
function camelCased(body: unknown): ChatCompletionRequest {
  return rename(body) as ChatCompletionRequest

  function rename(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(rename)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [
        RENAMED[name] ?? name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
        OPAQUE.has(name) ? member : rename(member),
      ]),
    )
  }
}

function expectSameRequest(): void {
  const [ours, theirs] = stage.providers.mistral.received
  expect(theirs!.body).toEqual(ours!.body)
}

function readingOfMistral(
  contents: readonly (string | ContentChunk[] | null | undefined)[],
  calls: readonly ToolCall[] | null | undefined,
  finish: string,
  usage: UsageInfo,
): Reading {
  const chunks = contents.flatMap((content): ContentChunk[] =>
    typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? []),
  )
  const thoughts = chunks.flatMap((chunk) => (chunk.type === 'thinking' ? chunk.thinking : []))
  const details = (usage as { prompt_tokens_details?: { cached_tokens: number } })
    .prompt_tokens_details
  return {
    text: textOf(chunks),
    thinking: textOf(thoughts),
    calls: (calls ?? []).map(({ id, function: { name, arguments: input } }) => ({
      id: id!,
      name,
      input: typeof input === 'string' ? JSON.parse(input) : input,
    })),
    finish,
    prompt: usage.promptTokens!,
    cached: details!.cached_tokens,
    output: usage.completionTokens!,
  }
}

function textOf(chunks: readonly object[]): string {
  return chunks
    .map((chunk) => ('text' in chunk && typeof chunk.text === 'string' ? chunk.text : ''))
    .join('')
}
