import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, it } from 'vitest'
import { readingOf, streamed } from './reading.ts'
import type { Reading } from './reading.ts'
import { SCENARIOS } from './scenarios.ts'
import { setStage } from './stage.ts'

const stage = setStage()
const MODEL = 'anthropic/claude-sonnet-4-5'

const FINISHES: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  max_tokens: 'length',
  tool_use: 'tool_calls',
}

describe('@anthropic-ai/sdk', () => {
  describe.each(Object.entries(SCENARIOS))('%s', (_, { asked, says }) => {
    it('sends our request as it is, and reads the answer as we do', async () => {
      const { anthropic } = stage.providers
      anthropic.plays({ says }, { says })
      const answer = await stage.clients['openai 7'].chat.completions.create({
        ...asked,
        model: MODEL,
      })
      const message = await sdk().messages.create(anthropic.received[0]!.body)

      expect(anthropic.received[1]!.body).toEqual(anthropic.received[0]!.body)
      expect(readingOf(answer)).toEqual(readingOfClaude(message))
    })

    it('streamed, too', async () => {
      const { anthropic } = stage.providers
      anthropic.plays({ says }, { says })
      const answer = await streamed(stage.clients['openai 7'], { ...asked, model: MODEL })
      const message = await sdk().messages.stream(anthropic.received[0]!.body).finalMessage()

      expect(anthropic.received[1]!.body).toEqual(anthropic.received[0]!.body)
      expect(readingOf(answer)).toEqual(readingOfClaude(message))
    })
  })
})

function sdk(): Anthropic {
  const { character, baseUrl } = stage.providers.anthropic
  return new Anthropic({ apiKey: character.credential, baseURL: baseUrl, maxRetries: 0 })
}

function readingOfClaude({ content, stop_reason, usage }: Anthropic.Message): Reading {
  const cached = usage.cache_read_input_tokens ?? 0
  return {
    text: content.map((block) => (block.type === 'text' ? block.text : '')).join(''),
    thinking: content.map((block) => (block.type === 'thinking' ? block.thinking : '')).join(''),
    calls: content
      .filter((block) => block.type === 'tool_use')
      .map(({ id, name, input }) => ({ id, name, input: input as Reading['calls'][0]['input'] })),
    finish: FINISHES[stop_reason!]!,
    prompt: usage.input_tokens + cached + (usage.cache_creation_input_tokens ?? 0),
    cached,
    output: usage.output_tokens,
  }
}
