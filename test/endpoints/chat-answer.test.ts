import type { ChatCompletion } from 'openai/resources/chat/completions'
import { describe, expect, it } from 'vitest'
import { NO_USAGE } from '#protocol'
import type { AssistantPart, ChatResponse, JsonObject, Usage } from '#protocol'
import { writeChat } from '../../src/endpoints/chat-answer.ts'
import { readChat } from '../../src/endpoints/chat-request.ts'

const CONTEXT = { id: 'chatcmpl-1', created: 1_700_000_000, model: 'asked' }
const TEXT: AssistantPart = { type: 'text', text: 'Hi' }
const CALL: AssistantPart = { type: 'tool-call', id: 'c1', name: 'f', arguments: '{"a":1}' }

describe('writeChat', () => {
  it('writes every member that OpenAI does', () => {
    const usage: Usage = { ...NO_USAGE, input: 5, cacheRead: 3, output: 4, reasoning: 2 }
    expect(write({ content: [TEXT] }, { usage, serviceTier: 'default', created: 7 })).toEqual({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 7,
      model: 'served',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'Hi', refusal: null, annotations: [] },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: {
        prompt_tokens: 8,
        completion_tokens: 6,
        total_tokens: 14,
        prompt_tokens_details: { cached_tokens: 3, audio_tokens: 0 },
        completion_tokens_details: {
          reasoning_tokens: 2,
          audio_tokens: 0,
          accepted_prediction_tokens: 0,
          rejected_prediction_tokens: 0,
        },
      },
      service_tier: 'default',
    })
  })

  it('falls back on what we know where the provider said nothing', () => {
    const answer = write({ content: [] }, { model: '' })
    expect(answer).toMatchObject({ model: 'asked', created: CONTEXT.created })
    expect(answer).not.toHaveProperty('usage')
    expect(answer.choices[0]?.message.content).toBe('')
  })

  it('tells every bucket of usage, and the cost', () => {
    const usage: Usage = {
      input: 1,
      cacheRead: 2,
      cacheWrite5m: 4,
      cacheWrite1h: 8,
      inputAudio: 16,
      inputImage: 32,
      output: 1,
      reasoning: 2,
      outputAudio: 4,
      outputImage: 8,
      webSearches: 3,
    }
    const context = { ...CONTEXT, cost: '0.000123' }
    const answer: unknown = JSON.parse(writeChat(response({ content: [] }, { usage }), {}, context))
    expect(answer).toMatchObject({
      usage: {
        prompt_tokens: 63,
        completion_tokens: 15,
        total_tokens: 78,
        prompt_tokens_details: {
          cached_tokens: 2,
          audio_tokens: 16,
          cache_write_tokens: 12,
          image_tokens: 32,
        },
        completion_tokens_details: { reasoning_tokens: 2, audio_tokens: 4, image_tokens: 8 },
        server_tool_use: { web_search_requests: 3 },
        cost: '0.000123',
      },
    })
  })

  it.each<readonly [string, readonly AssistantPart[], object]>([
    [
      'joins text',
      [TEXT, { type: 'text', text: ' you' }],
      { content: 'Hi you', refusal: null, annotations: [] },
    ],
    [
      'has no content beside calls',
      [CALL],
      {
        content: null,
        tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
      },
    ],
    [
      'gives a call without arguments an empty object',
      [{ ...CALL, arguments: '' }],
      { tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } }] },
    ],
    [
      'writes custom calls',
      [{ ...CALL, arguments: 'select 1', custom: true }],
      { tool_calls: [{ id: 'c1', type: 'custom', custom: { name: 'f', input: 'select 1' } }] },
    ],
    ['writes a refusal', [{ type: 'refusal', text: 'No.' }], { content: null, refusal: 'No.' }],
    [
      'moves citations to where their text stands',
      [
        TEXT,
        {
          type: 'text',
          text: ' world',
          citations: [
            { url: 'https://a', title: 'A', start: 1, end: 6, quote: 'w' },
            { url: 'https://b' },
          ],
        },
      ],
      {
        content: 'Hi world',
        annotations: [
          {
            type: 'url_citation',
            url_citation: {
              start_index: 3,
              end_index: 8,
              url: 'https://a',
              title: 'A',
              content: 'w',
            },
          },
          {
            type: 'url_citation',
            url_citation: { start_index: 2, end_index: 8, url: 'https://b', title: 'https://b' },
          },
        ],
      },
    ],
    [
      'keeps citations of documents apart',
      [{ type: 'text', text: 'Hi', citations: [{ title: 'Doc', quote: 'q' }] }],
      {
        annotations: [],
        document_citations: [{ title: 'Doc', start_index: 0, end_index: 2, content: 'q' }],
      },
    ],
    [
      'writes reasoning',
      [{ type: 'reasoning', text: 'Hm' }, TEXT],
      { content: 'Hi', reasoning_content: 'Hm' },
    ],
    [
      'writes pictures',
      [{ type: 'media', source: { type: 'base64', data: 'AAAA', mediaType: 'image/png' } }],
      {
        content: '',
        images: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' }, index: 0 }],
      },
    ],
    [
      'joins sounds',
      [
        { type: 'media', source: { type: 'base64', data: 'AA==', mediaType: 'audio/wav' } },
        { type: 'media', source: { type: 'base64', data: 'AQ==', mediaType: 'audio/wav' } },
      ],
      { audio: { id: 'audio-chatcmpl-1', data: 'AAE=', transcript: '' } },
    ],
  ])('%s', (_what, content, expected) => {
    expect(write({ content }).choices[0]?.message).toMatchObject(expected)
  })

  it.each([
    ['stop', 'stop'],
    ['length', 'length'],
    ['tool-calls', 'tool_calls'],
    ['content-filter', 'content_filter'],
    ['error', 'error'],
  ] as const)('writes the finish reason %s as %s', (finishReason, expected) => {
    const [choice] = write({ content: [TEXT], finishReason, rawFinishReason: 'RAW' }).choices
    expect(choice).toMatchObject({ finish_reason: expected, native_finish_reason: 'RAW' })
  })

  it('answers a caller of the older wire with a function call', () => {
    const body = writeChat(
      response({ content: [CALL], finishReason: 'tool-calls' }),
      { legacyFunctions: true },
      CONTEXT,
    )
    expect(JSON.parse(body)).toMatchObject({
      choices: [
        {
          finish_reason: 'function_call',
          message: { content: null, function_call: { name: 'f', arguments: '{"a":1}' } },
        },
      ],
    })
    expect(body).not.toContain('tool_calls')
  })

  it('passes log probabilities on', () => {
    const logprobs = { content: [{ token: 'Hi', logprob: -0.1, bytes: null, top_logprobs: [] }] }
    expect(write({ content: [TEXT], logprobs }).choices[0]?.logprobs).toEqual(logprobs)
  })

  it.each<readonly [string, readonly AssistantPart[]]>([
    ['signed reasoning', [{ type: 'reasoning', text: 'Hm', signature: 'S' }, TEXT, CALL]],
    ['withheld reasoning', [{ type: 'reasoning', text: '', signature: 'S' }, TEXT]],
    ['sealed reasoning', [{ type: 'reasoning', text: '', redacted: 'D' }, CALL]],
    [
      'several blocks of reasoning',
      [
        { type: 'reasoning', text: 'a', signature: 'S' },
        { type: 'reasoning', text: '', redacted: 'D' },
        { type: 'reasoning', text: 'b', signature: 'T' },
        TEXT,
      ],
    ],
    ['plain reasoning', [{ type: 'reasoning', text: 'Hm' }, TEXT]],
    ['signed calls', [{ ...CALL, signature: 'S' }]],
    ['a signed text', [{ type: 'text', text: 'Hi', signature: 'S' }]],
    ['a refusal', [{ type: 'refusal', text: 'No.' }]],
    ['a picture', [{ type: 'media', source: { type: 'url', url: 'https://a' } }]],
    ['a custom call', [{ ...CALL, custom: true, arguments: 'x' }]],
  ])('writes %s so that readChat reads it back unchanged', (_what, content) => {
    const { message } = write({ content }).choices[0] ?? {}
    const body: JsonObject = JSON.parse(JSON.stringify({ model: 'm', messages: [message] }))
    const request = readChat(body)
    expect(request.messages[0]?.content).toEqual(content)
    expect(request.providerOptions).toEqual({})
  })
})

type Answered = Partial<ChatResponse['choices'][number]>

function response(choice: Answered, rest: Partial<ChatResponse> = {}): ChatResponse {
  return {
    id: 'up-1',
    model: 'served',
    choices: [{ index: 0, content: [], finishReason: 'stop', ...choice }],
    ...rest,
  }
}

function write(choice: Answered, rest: Partial<ChatResponse> = {}): ChatCompletion {
  const answer: ChatCompletion = JSON.parse(writeChat(response(choice, rest), {}, CONTEXT))
  return answer
}
