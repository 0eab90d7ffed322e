import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startBench } from './bench.ts'
import type { Bench } from './bench.ts'
import { readRecording } from './recordings.ts'
import type { Recording } from './recordings.ts'
import { replay } from './replay.ts'
import { failed, report } from './report.ts'
import type { Result } from './report.ts'
import { NO_SCHEMAS } from './schemas.ts'

let bench: Bench

beforeAll(async () => {
  bench = await startBench()
})

afterAll(() => bench.close())

const WEATHER = { type: 'object', properties: { city: { type: 'string' } } }

const openaiStream = {
  id: 'a-stream',
  features: ['stream'],
  request: {
    method: 'POST',
    path: '/v1/chat/completions',
    body: {
      model: 'gpt-4o',
      stream: true,
      unheard_of: [1, { deep: null }],
      messages: [{ role: 'user', content: 'Grüß dich' }],
    },
  },
  response: {
    status: 200,
    headers: { 'content-type': 'text/event-stream' },
    sse: [
      chunk({ delta: { role: 'assistant', content: '' } }),
      chunk({ delta: { content: 'Grüß Gott ☃' } }),
      chunk({ delta: {}, finish_reason: 'stop' }),
      usageOf({ prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 }),
      { data: '[DONE]' },
    ],
  },
}

const anthropicCalls = {
  id: 'calls',
  features: ['tools'],
  request: {
    method: 'POST',
    path: '/v1/messages',
    body: {
      model: 'claude-sonnet-4-5',
      max_tokens: 100,
      system: 'Be brief.',
      messages: [
        { role: 'user', content: 'Weather in Rome and Oslo?' },
        {
          role: 'assistant',
          content: [
            { type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Rome' } },
            { type: 'tool_use', id: 'toolu_2', name: 'weather', input: { city: 'Oslo' } },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_1', content: 'sun' },
            { type: 'tool_result', tool_use_id: 'toolu_2', content: 'snow', is_error: true },
            { type: 'text', text: 'And Bonn?' },
          ],
        },
      ],
      tools: [{ name: 'weather', input_schema: WEATHER }],
      tool_choice: { type: 'any' },
    },
  },
  response: {
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'claude-sonnet-4-5-20250929',
      content: [
        { type: 'text', text: 'I look.' },
        { type: 'tool_use', id: 'toolu_3', name: 'weather', input: { city: 'Bonn' } },
      ],
      stop_reason: 'tool_use',
      usage: { input_tokens: 10, cache_read_input_tokens: 5, output_tokens: 7 },
    },
  },
}

const googleStream = {
  id: 'thoughts',
  features: ['stream', 'reasoning'],
  request: {
    method: 'POST',
    path: '/v1beta/models/gemini-2.5-flash:streamGenerateContent',
    body: {
      contents: [{ role: 'user', parts: [{ text: 'Well?' }] }],
      generationConfig: { thinking_config: { include_thoughts: true, thinking_budget: 500 } },
    },
  },
  response: {
    status: 200,
    headers: { 'content-type': 'text/event-stream' },
    sse_newline: '\r\n',
    sse: [
      piece({ parts: [{ text: 'Hm.', thought: true }] }),
      piece({ parts: [{ text: 'Well' }] }),
      piece({ parts: [{ text: ' then.' }] }, 'STOP'),
    ],
  },
}

const batch = {
  id: 'a-batch',
  features: ['batch'],
  request: { method: 'POST', path: '/v1/messages/batches', body: {} },
  response: { status: 200, headers: {}, body: {} },
}

function chunk(choice: object): object {
  const choices = [{ index: 0, finish_reason: null, ...choice }]
  const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'gpt-4o-1' }
  return { data: JSON.stringify({ ...head, choices }) }
}

function usageOf(usage: object): object {
  return { data: JSON.stringify({ id: 'chatcmpl-1', choices: [], usage }) }
}

function piece(content: object, finishReason?: string): object {
  const usage = { promptTokenCount: 4, candidatesTokenCount: 2, thoughtsTokenCount: 3 }
  return {
    data: JSON.stringify({
      candidates: [{ content: { role: 'model', ...content }, finishReason, index: 0 }],
      usageMetadata: { ...usage, totalTokenCount: 9 },
      modelVersion: 'gemini-2.5-flash',
    }),
  }
}

function play(provider: string, recording: object): Promise<Result> {
  return replay(bench, read(provider, recording), NO_SCHEMAS)
}

function read(provider: string, recording: object): Recording {
  return readRecording(provider, JSON.stringify(recording))
}

describe('the conformance run', () => {
  it.each([
    ['openai-chat', openaiStream],
    ['anthropic', anthropicCalls],
    ['google', googleStream],
  ])('passes an answer of %s', async (provider, recording) => {
    const { whole } = await play(provider, recording)
    expect(whole).toEqual({ failures: [], explained: new Set() })
  })

  it.each([
    ['openai-chat', openaiStream],
    ['google', googleStream],
  ])('passes a stream of %s that breaks off', async (provider, recording) => {
    const { cut } = await play(provider, recording)
    expect(cut).toEqual({ failures: [], explained: new Set() })
  })

  it('names tokens that do not add up', async () => {
    const wrong = structuredClone(anthropicCalls)
    const recording = read('anthropic', wrong)
    const { whole } = await replay(
      bench,
      // The reader's own copy says something else than the bytes that are played.
      {
        ...recording,
        response: {
          ...recording.response,
          json: { ...wrong.response.body, usage: { output_tokens: 8 } },
        },
      },
      NO_SCHEMAS,
    )
    expect(whole.failures).toContain('ledger: output is 7, the provider says 8')
  })

  it('names a request that the gateway refuses', async () => {
    const recording = read('openai-chat', openaiStream)
    const { request } = recording
    const { whole } = await replay(
      bench,
      { ...recording, request: { ...request, body: { ...request.body, temperature: 3 } } },
      NO_SCHEMAS,
    )
    expect(whole.failures).toEqual([expect.stringContaining('the gateway refused: 400')])
  })

  it('names an answer that was read otherwise', async () => {
    const recording = read('google', googleStream)
    const [first, ...rest] = recording.response.frames ?? []
    const told = { ...first!, data: first!.data.replace('Hm.', 'Ha!') }
    const { whole } = await replay(
      bench,
      { ...recording, response: { ...recording.response, frames: [told, ...rest] } },
      NO_SCHEMAS,
    )
    expect(whole.failures).toEqual(['answer: choices[0].reasoning: expected "Ha!", found "Hm."'])
  })

  it('explains what is not served, and prints why', async () => {
    const result = await play('anthropic', batch)
    expect(failed([result])).toBe(false)
    expect(report([result])).toContain('batches are not served yet')
  })
})
