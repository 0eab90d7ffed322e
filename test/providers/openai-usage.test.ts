import { assert, nat, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inputTokens, NO_USAGE, outputTokens, type Usage } from '#protocol'
import { readUsage, type UsageFacts } from '../../providers/openai-compatible/usage.ts'

const APART: UsageFacts = { reasoningApart: true }

interface Case {
  readonly what: string
  readonly wire: object
  readonly facts?: UsageFacts
  readonly usage: Partial<Usage>
}

const cases: readonly Case[] = [
  {
    what: 'cached tokens inside the prompt, reasoning inside the completion',
    wire: {
      prompt_tokens: 100,
      completion_tokens: 50,
      total_tokens: 150,
      prompt_tokens_details: { cached_tokens: 60 },
      completion_tokens_details: { reasoning_tokens: 20 },
    },
    usage: { input: 40, cacheRead: 60, output: 30, reasoning: 20, reportedTotal: 150 },
  },
  {
    what: 'audio on both sides',
    wire: {
      prompt_tokens: 42,
      completion_tokens: 30,
      total_tokens: 72,
      prompt_tokens_details: { audio_tokens: 25, text_tokens: 17, image_tokens: 0 },
      completion_tokens_details: { audio_tokens: 20 },
    },
    usage: { input: 17, inputAudio: 25, output: 10, outputAudio: 20, reportedTotal: 72 },
  },
  {
    what: 'a cache written and read, pictures drawn, searches run (OpenRouter)',
    wire: {
      prompt_tokens: 1000,
      completion_tokens: 300,
      total_tokens: 1300,
      prompt_tokens_details: { cached_tokens: 500, cache_write_tokens: 400 },
      completion_tokens_details: { image_tokens: 250, reasoning_tokens: 0 },
      server_tool_use_details: { web_search_requests: 2 },
    },
    usage: {
      input: 100,
      cacheRead: 500,
      cacheWrite5m: 400,
      output: 50,
      outputImage: 250,
      webSearches: 2,
      reportedTotal: 1300,
    },
  },
  {
    what: 'reasoning beside the completion (xAI)',
    wire: {
      prompt_tokens: 468,
      completion_tokens: 77,
      total_tokens: 1127,
      completion_tokens_details: { reasoning_tokens: 582 },
    },
    facts: APART,
    usage: { input: 468, output: 77, reasoning: 582, reportedTotal: 1127 },
  },
  {
    what: 'reasoning beside the completion where only the total shows it',
    wire: {
      prompt_tokens: 10,
      completion_tokens: 5,
      total_tokens: 45,
      completion_tokens_details: { reasoning_tokens: 30 },
    },
    usage: { input: 10, output: 5, reasoning: 30, reportedTotal: 45 },
  },
  {
    what: 'research billed on top (Perplexity)',
    wire: {
      prompt_tokens: 19,
      completion_tokens: 498,
      total_tokens: 517,
      citation_tokens: 10_175,
      num_search_queries: 48,
      reasoning_tokens: 95_305,
    },
    facts: { reasoningApart: true, extraInput: ['citation_tokens'] },
    usage: { input: 10_194, output: 498, reasoning: 95_305, webSearches: 48, reportedTotal: 517 },
  },
  {
    what: "DeepSeek's spelling of cached tokens",
    wire: { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10, prompt_cache_hit_tokens: 8 },
    usage: { input: 1, cacheRead: 8, output: 1, reportedTotal: 10 },
  },
  {
    what: "Together's spelling of cached tokens, and null details",
    wire: {
      prompt_tokens: 9,
      completion_tokens: 1,
      total_tokens: 10,
      cached_tokens: 4,
      prompt_tokens_details: null,
    },
    usage: { input: 5, cacheRead: 4, output: 1, reportedTotal: 10 },
  },
  {
    what: 'a total alone',
    wire: { total_tokens: 7 },
    usage: { input: 7, reportedTotal: 7 },
  },
  {
    what: 'zeros as zeros, not as missing',
    wire: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
    usage: { reportedTotal: 0 },
  },
  {
    what: 'more cached than asked, cut to what was asked',
    wire: {
      prompt_tokens: 78,
      completion_tokens: 1,
      total_tokens: 79,
      prompt_tokens_details: { cached_tokens: 158 },
    },
    usage: { cacheRead: 78, output: 1, reportedTotal: 79 },
  },
]

describe('usage of the OpenAI wire', () => {
  for (const { what, wire, facts, usage } of cases) {
    it(`holds ${what}`, () => {
      expect(readUsage(wire, facts)).toEqual({ ...NO_USAGE, ...usage })
    })
  }

  for (const absurd of [-1, NaN, Infinity, 1e308, 2 ** 53, 1.5, '12', {}, [], true]) {
    it(`is not believed when a count is ${JSON.stringify(absurd) ?? absurd}`, () => {
      const honest = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 }
      for (const field of Object.keys(honest)) {
        expect(readUsage({ ...honest, [field]: absurd })).toBeUndefined()
      }
      const details = { completion_tokens_details: { reasoning_tokens: absurd } }
      expect(readUsage({ ...honest, ...details })).toBeUndefined()
    })
  }

  for (const nothing of [undefined, null, {}, [], 'many', { prompt_tokens: null }]) {
    it(`is absent for ${JSON.stringify(nothing)}`, () => {
      expect(readUsage(nothing)).toBeUndefined()
    })
  }

  it('adds up to prompt and completion, and is never negative, whatever the parts claim', () => {
    const tokens = nat({ max: 1_000_000 })
    assert(
      property(tokens, tokens, tokens, tokens, tokens, (asked, answered, one, two, three) => {
        const usage = readUsage({
          prompt_tokens: asked,
          completion_tokens: answered,
          total_tokens: asked + answered,
          prompt_tokens_details: { cached_tokens: one, audio_tokens: two },
          completion_tokens_details: { reasoning_tokens: three, audio_tokens: one },
        })
        expect(inputTokens(usage!)).toBe(asked)
        expect(outputTokens(usage!)).toBe(answered)
        expect(Math.min(...Object.values(usage!))).toBeGreaterThanOrEqual(0)
      }),
    )
  })
})
