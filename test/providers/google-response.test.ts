import { describe, expect, it } from 'vitest'
import type { FinishReason } from '#protocol'
import { answer, decode, SIGNATURE, TIME, user, WEATHER } from './google-fixtures.ts'

const text = { text: 'hello' }
const tools = [WEATHER, TIME]

describe('a whole answer of Gemini', () => {
  it('is read with its id, model and tier', () => {
    const usageMetadata = { promptTokenCount: 5, totalTokenCount: 5, serviceTier: 'standard' }
    expect(decode(answer([text], {}, { usageMetadata }))).toMatchObject({
      id: 'wrB-afSL_NPC',
      model: 'gemini-3.1-pro-preview',
      serviceTier: 'default',
      choices: [
        {
          index: 0,
          content: [{ type: 'text', text: 'hello' }],
          finishReason: 'stop',
          rawFinishReason: 'STOP',
        },
      ],
    })
  })

  it('keeps thoughts out of the text', () => {
    const parts = [{ text: 'hm', thought: true }, { text: ' so', thought: true }, text]
    expect(contentOf(parts)).toEqual([
      { type: 'reasoning', text: 'hm so' },
      { type: 'text', text: 'hello' },
    ])
  })

  it('has a choice for each candidate', () => {
    const whole = {
      candidates: [
        { content: { parts: [text] }, finishReason: 'STOP' },
        { content: { parts: [{ text: 'b' }] }, finishReason: 'MAX_TOKENS', index: 1 },
      ],
    }
    expect(decode(whole, { n: 2 }).choices).toMatchObject([
      { index: 0, content: [{ text: 'hello' }], finishReason: 'stop' },
      { index: 1, content: [{ text: 'b' }], finishReason: 'length' },
    ])
  })

  it.each<[string, object, FinishReason]>([
    ['parts', { content: { role: 'model' }, finishReason: 'MAX_TOKENS' }, 'length'],
    ['anything in its content', { content: {}, finishReason: 'SAFETY' }, 'content-filter'],
    ['content', { finishReason: 'MODEL_ARMOR' }, 'content-filter'],
    ['a finish reason', { content: { parts: [] } }, 'stop'],
  ])('may lack %s', (_, candidate, finishReason) => {
    expect(decode({ candidates: [candidate] }).choices).toMatchObject([
      { content: [], finishReason },
    ])
  })

  it('to a blocked prompt is empty and filtered', () => {
    const whole = { promptFeedback: { blockReason: 'PROHIBITED_CONTENT' }, responseId: 'x' }
    expect(decode(whole)).toEqual({
      id: 'x',
      model: '',
      choices: [
        {
          index: 0,
          content: [],
          finishReason: 'content-filter',
          rawFinishReason: 'PROHIBITED_CONTENT',
        },
      ],
    })
  })

  it.each([
    ['null', null],
    ['text', 'x'],
    ['no candidates', { responseId: 'x' }],
    ['empty', []],
  ])('is invalid as %s', (_, whole) => {
    expect(() => decode(whole)).toThrow(expect.objectContaining({ code: 'upstream_invalid' }))
  })

  it('is a failure when it holds an error', () => {
    const error = { code: 503, message: 'overloaded', status: 'UNAVAILABLE' }
    expect(() => decode({ error })).toThrow(
      expect.objectContaining({ code: 'upstream_error', retryable: true }),
    )
  })

  it.each<[string, FinishReason]>([
    ['STOP', 'stop'],
    ['MAX_TOKENS', 'length'],
    ...[
      'SAFETY',
      'RECITATION',
      'BLOCKLIST',
      'PROHIBITED_CONTENT',
      'SPII',
      'IMAGE_SAFETY',
      'MODEL_ARMOR',
      'LANGUAGE',
    ].map((raw): [string, FinishReason] => [raw, 'content-filter']),
    ...[
      'MALFORMED_FUNCTION_CALL',
      'UNEXPECTED_TOOL_CALL',
      'TOO_MANY_TOOL_CALLS',
      'MISSING_THOUGHT_SIGNATURE',
      'MALFORMED_RESPONSE',
      'OTHER',
      'SOMETHING_NEW',
    ].map((raw): [string, FinishReason] => [raw, 'error']),
  ])('that ends with %s ends as %s', (finish, finishReason) => {
    expect(decode(answer([text], { finishReason: finish })).choices[0]).toMatchObject({
      content: [{ text: 'hello' }],
      finishReason,
      rawFinishReason: finish,
    })
  })

  it('gives code and its result as the SDK does, and media', () => {
    expect(
      contentOf([
        { executableCode: { language: 'PYTHON', code: 'print(1)' }, thoughtSignature: SIGNATURE },
        { codeExecutionResult: { outcome: 'OUTCOME_OK', output: '1' } },
        { codeExecutionResult: { outcome: 'OUTCOME_OK' } },
        { inlineData: { mimeType: 'image/png', data: 'draft' }, thought: true },
        { inlineData: { mimeType: 'image/png', data: 'iVBO' } },
        { toolCall: { toolType: 'GOOGLE_SEARCH_WEB' }, thoughtSignature: SIGNATURE },
        null,
      ]),
    ).toEqual([
      { type: 'text', text: '\n```PYTHON\nprint(1)\n```\n' },
      { type: 'text', text: '\n```\n1\n```\n' },
      { type: 'text', text: '\n```\n\n```\n' },
      { type: 'media', source: { type: 'base64', data: 'iVBO', mediaType: 'image/png' } },
    ])
  })

  it('has log probabilities in OpenAI’s shape', () => {
    const token = { token: 'é', tokenId: 1, logProbability: -0.5 }
    const logprobsResult = { chosenCandidates: [token], topCandidates: [{ candidates: [token] }] }
    const read = { token: 'é', logprob: -0.5, bytes: [0xc3, 0xa9] }
    expect(decode(answer([{ text: 'é' }], { logprobsResult })).choices[0]?.logprobs).toEqual({
      content: [{ ...read, top_logprobs: [read] }],
      refusal: null,
    })
  })
})

describe('tool calls of Gemini', () => {
  const call = { functionCall: { name: 'weather', args: { city: 'Rome' } } }

  it('end with tool-calls though Google says STOP', () => {
    expect(decode(answer([call]), { tools }).choices[0]).toMatchObject({
      finishReason: 'tool-calls',
      rawFinishReason: 'STOP',
    })
  })

  it('have no arguments as an empty object', () => {
    expect(contentOf([{ functionCall: { name: 'time' } }])).toMatchObject([{ arguments: '{}' }])
  })

  it('have ids made of the answer’s where Google gives none, gives one twice or a strange one', () => {
    const ids = [undefined, '8hd01vsf', '8hd01vsf', 'a b', undefined]
    const parts = ids.map((id) => ({ functionCall: { name: 'time', id } }))
    expect(contentOf(parts)).toMatchObject([
      { id: 'call_wrB-afSL_NPC_0' },
      { id: '8hd01vsf' },
      { id: 'call_wrB-afSL_NPC_2' },
      { id: 'call_wrB-afSL_NPC_3' },
      { id: 'call_wrB-afSL_NPC_4' },
    ])
  })

  it('have ids no other turn has where the answer has none', () => {
    const nameless = answer([call], {}, { responseId: undefined })
    const idAfter = (turns: number) =>
      decode(nameless, { tools, messages: Array.from({ length: turns }, () => user('a')) })
        .choices[0]?.content[0]
    expect(idAfter(1)).toMatchObject({ id: 'call_turn1_0' })
    expect(idAfter(3)).toMatchObject({ id: 'call_turn3_0' })
  })

  it('keep the signature on the part it came with', () => {
    expect(contentOf([{ ...call, thoughtSignature: SIGNATURE }, call])).toEqual([
      {
        type: 'tool-call',
        id: 'call_wrB-afSL_NPC_0',
        name: 'weather',
        arguments: '{"city":"Rome"}',
        signature: SIGNATURE,
      },
      {
        type: 'tool-call',
        id: 'call_wrB-afSL_NPC_1',
        name: 'weather',
        arguments: '{"city":"Rome"}',
      },
    ])
  })

  it.each<[string, object, object, FinishReason]>([
    ['with UNEXPECTED_TOOL_CALL', call, { finishReason: 'UNEXPECTED_TOOL_CALL' }, 'error'],
    ['of a tool the caller has not', { functionCall: { name: 'list_files' } }, {}, 'error'],
  ])('%s are not handed on', (_, part, fields, finishReason) => {
    expect(decode(answer([text, part], fields), { tools }).choices[0]).toMatchObject({
      content: [{ type: 'text', text: 'hello' }],
      finishReason,
    })
  })

  it('are handed on where the caller’s tools lie in cached content', () => {
    expect(decode(answer([call])).choices[0]).toMatchObject({ content: [{ name: 'weather' }] })
  })

  it('cannot reach the prototype', () => {
    const args: unknown = JSON.parse('{"__proto__":{"x":1}}')
    expect(contentOf([{ functionCall: { name: 'time', args } }])).toMatchObject([
      { arguments: '{"__proto__":{"x":1}}' },
    ])
  })
})

describe('signatures of text', () => {
  it.each([
    [
      'on the text',
      [{ ...text, thoughtSignature: SIGNATURE }],
      [{ type: 'text', text: 'hello', signature: SIGNATURE }],
    ],
    [
      'on an empty part after it',
      [text, { text: '', thoughtSignature: SIGNATURE }],
      [
        { type: 'text', text: 'hello' },
        { type: 'text', text: '', signature: SIGNATURE },
      ],
    ],
    [
      'on the second of two',
      [text, { text: 'b', thoughtSignature: SIGNATURE }, { text: 'c' }],
      [
        { type: 'text', text: 'hello' },
        { type: 'text', text: 'b', signature: SIGNATURE },
        { type: 'text', text: 'c' },
      ],
    ],
    [
      'on a thought',
      [{ text: 'hm', thought: true, thoughtSignature: SIGNATURE }],
      [{ type: 'reasoning', text: 'hm', signature: `google:${SIGNATURE}` }],
    ],
    [
      'alone',
      [{ thoughtSignature: SIGNATURE }],
      [{ type: 'text', text: '', signature: SIGNATURE }],
    ],
  ])('%s stay there', (_, parts, content) => {
    expect(contentOf(parts)).toEqual(content)
  })
})

describe('citations of Gemini', () => {
  const groundingChunks = [
    { web: { uri: 'https://a.test', title: 'A' } },
    { retrievedContext: { title: 'B' } },
  ]

  it('are counted in UTF-16, not in bytes', () => {
    const groundingSupports = [
      {
        segment: { startIndex: 8, endIndex: 14, text: 'Zürich'.slice(0, 5) },
        groundingChunkIndices: [0, 1, 9],
      },
    ]
    const fields = { groundingMetadata: { groundingChunks, groundingSupports } }
    // "😀 in " is eight bytes and six units.
    expect(decode(answer([{ text: '😀 in Zürich.' }], fields)).choices[0]?.content).toEqual([
      {
        type: 'text',
        text: '😀 in Zürich.',
        citations: [
          { url: 'https://a.test', title: 'A', quote: 'Züric', start: 6, end: 11 },
          { title: 'B', quote: 'Züric', start: 6, end: 11 },
        ],
      },
    ])
  })

  it('follow the words where the offsets do not fit', () => {
    const groundingSupports = [
      { segment: { endIndex: 3, text: 'two' }, groundingChunkIndices: [0] },
      { segment: { endIndex: 3, text: 'gone' }, groundingChunkIndices: [0] },
    ]
    const fields = { groundingMetadata: { groundingChunks, groundingSupports } }
    expect(decode(answer([{ text: 'one two' }], fields)).choices[0]?.content).toMatchObject([
      { citations: [{ quote: 'two', start: 4, end: 7 }, { quote: 'gone' }] },
    ])
  })

  it('cover the whole text where no support says otherwise', () => {
    const fields = { groundingMetadata: { groundingChunks } }
    expect(decode(answer([text], fields)).choices[0]?.content).toEqual([
      {
        type: 'text',
        text: 'hello',
        citations: [{ url: 'https://a.test', title: 'A' }, { title: 'B' }],
      },
    ])
  })

  it('name recited sources', () => {
    const citationMetadata = {
      citationSources: [{ startIndex: 3, endIndex: 6, uri: 'https://c.test' }],
    }
    const parts = [{ text: 'ü ü ab' }]
    expect(decode(answer(parts, { citationMetadata })).choices[0]?.content).toMatchObject([
      { citations: [{ url: 'https://c.test', start: 2, end: 4 }] },
    ])
  })
})

function contentOf(parts: readonly (object | null)[]) {
  return decode(answer(parts), { tools }).choices[0]?.content
}
