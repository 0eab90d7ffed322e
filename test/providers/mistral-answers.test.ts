import { describe, expect, it } from 'vitest'
import type { ChatEvent, ChatRequest, EmbeddingsRequest, Target } from '#protocol'
import { inputTokens, outputTokens } from '#protocol'
import { mistral } from '../../providers/mistral/index.ts'

const REQUEST: ChatRequest = {
  model: 'm',
  messages: [],
  stream: true,
  includeUsage: true,
  providerOptions: {},
}
const USAGE = { prompt_tokens: 10, completion_tokens: 4, total_tokens: 14 }
const THINKING = [
  {
    type: 'thinking',
    thinking: [
      { type: 'text', text: '2+2' },
      { type: 'text', text: ' is 4.' },
    ],
    closed: true,
  },
  { type: 'reference', reference_ids: [1] },
  { type: 'from_the_future', data: 1 },
  { type: 'text', text: '4' },
]

describe('an answer of mistral', () => {
  it('has its text, finish, usage and served model', () => {
    expect(
      decode({
        message: { role: 'assistant', tool_calls: null, content: 'Hi' },
        finish_reason: 'stop',
      }),
    ).toEqual({
      id: 'a1',
      model: 'mistral-small-2506',
      created: 1_780_000_000,
      choices: [
        {
          index: 0,
          content: [{ type: 'text', text: 'Hi' }],
          finishReason: 'stop',
          rawFinishReason: 'stop',
        },
      ],
      usage: expect.objectContaining({ input: 10, output: 4, reportedTotal: 14 }),
    })
  })

  it('has calls without a type, an id or an index, and no empty text beside them', () => {
    const [choice] = decode({
      message: {
        content: '',
        tool_calls: [
          { id: 'g6fVbXS8K', function: { name: 'f', arguments: '{"a":1}' } },
          { id: 'null', function: { name: 'g', arguments: { b: 2 } } },
          { type: 'function', function: { name: 'h', arguments: '' } },
        ],
      },
      finish_reason: 'tool_calls',
    }).choices
    const nine = expect.stringMatching(/^[a-zA-Z0-9]{9}$/)
    expect(choice).toMatchObject({
      finishReason: 'tool-calls',
      content: [
        { type: 'tool-call', id: 'g6fVbXS8K', name: 'f', arguments: '{"a":1}' },
        { type: 'tool-call', id: nine, name: 'g', arguments: '{"b":2}' },
        { type: 'tool-call', id: nine, name: 'h', arguments: '' },
      ],
    })
  })

  it('has reasoning apart from text, and skips chunks it has no word for', () => {
    const [choice] = decode({ message: { content: THINKING }, finish_reason: 'stop' }).choices
    expect(choice?.content).toEqual([
      { type: 'reasoning', text: '2+2 is 4.' },
      { type: 'text', text: '4' },
    ])
  })

  it.each([
    ['stop', 'stop'],
    ['length', 'length'],
    ['model_length', 'length'],
    ['tool_calls', 'tool-calls'],
    ['error', 'error'],
    [undefined, 'stop'],
  ])('that ended with %s ended with %s', (raw, reason) => {
    const [choice] = decode({ message: { content: 'Hi' }, finish_reason: raw }).choices
    expect(choice?.finishReason).toBe(reason)
  })

  it.each([
    ['plain', USAGE, { input: 10, cacheRead: 0, inputAudio: 0, output: 4 }],
    [
      'cached, first spelling',
      { ...USAGE, prompt_tokens_details: { cached_tokens: 6 } },
      { input: 4, cacheRead: 6 },
    ],
    [
      'cached, second spelling',
      { ...USAGE, prompt_token_details: { cached_tokens: 6 } },
      { input: 4, cacheRead: 6 },
    ],
    ['cached, third spelling', { ...USAGE, num_cached_tokens: 6 }, { input: 4, cacheRead: 6 }],
    ['more cached than sent', { ...USAGE, num_cached_tokens: 99 }, { input: 0, cacheRead: 10 }],
    [
      'audio, which is outside prompt_tokens',
      {
        prompt_tokens: 9,
        completion_tokens: 201,
        total_tokens: 585,
        prompt_tokens_details: { cached_tokens: 0, audio_tokens: 375 },
      },
      { input: 9, inputAudio: 375, output: 201 },
    ],
    ['without a total', { prompt_tokens: 3, completion_tokens: 2 }, { input: 3, output: 2 }],
  ])('reports usage %s in buckets that add up', (_, wire, buckets) => {
    const { usage } = decode({ message: { content: 'Hi' } }, wire)
    expect(usage).toMatchObject(buckets)
    if (usage?.reportedTotal === undefined) return
    expect(inputTokens(usage) + outputTokens(usage)).toBe(usage.reportedTotal)
  })

  it.each([
    ['empty', {}],
    ['null', null],
    ['negative', { ...USAGE, prompt_tokens: -1 }],
    ['negative in a detail', { ...USAGE, num_cached_tokens: -1 }],
    ['of a nonsense total', { ...USAGE, total_tokens: 'x' }],
    ['fractional', { ...USAGE, completion_tokens: 0.5 }],
    ['beyond counting', { ...USAGE, completion_tokens: 1e300 }],
  ])('has no usage where it is %s, never a zero', (_, wire) => {
    expect(decode({ message: { content: 'Hi' } }, wire)).not.toHaveProperty('usage')
  })

  it('tells the tier that served it', () => {
    const usage = { ...USAGE, service_tier: 'standard' }
    expect(decode({ message: { content: 'Hi' } }, usage).serviceTier).toBe('default')
  })

  it.each([
    ['null', null],
    ['a list', []],
    ['no choices', { id: 'a' }],
    ['empty choices', { choices: [] }],
    ['a choice without a message', { choices: [{}] }],
  ])('is invalid when it is %s', (_, body) => {
    expect(() => mistral.chat!.decode(body, REQUEST)).toThrow(
      expect.objectContaining({ code: 'upstream_invalid' }),
    )
  })
})

describe('a stream of mistral', () => {
  it('gives the content of the finishing chunk before the finish, then usage', () => {
    expect(
      stream([
        chunk({ role: 'assistant', content: '' }),
        chunk({ content: 'One' }),
        chunk({ content: ' two' }, 'stop', { ...USAGE, service_tier: 'standard' }),
      ]),
    ).toEqual([
      { type: 'start', id: 'a1', model: 'mistral-small-2506', created: 1_780_000_000 },
      { type: 'text-start', choice: 0, block: 0 },
      { type: 'text-delta', block: 0, text: 'One' },
      { type: 'text-delta', block: 0, text: ' two' },
      { type: 'block-end', block: 0 },
      { type: 'finish', choice: 0, reason: 'stop', rawReason: 'stop' },
      {
        type: 'usage',
        usage: expect.objectContaining({ input: 10, output: 4 }),
        serviceTier: 'default',
      },
      { type: 'end' },
    ])
  })

  it('splits a delta that holds thinking and text', () => {
    const events = stream([
      chunk({ content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'Hm' }] }] }),
      chunk({ content: THINKING }),
      chunk({ content: '!' }, 'stop'),
    ])
    expect(withoutFrame(events)).toEqual([
      { type: 'reasoning-start', choice: 0, block: 0 },
      { type: 'reasoning-delta', block: 0, text: 'Hm' },
      { type: 'reasoning-delta', block: 0, text: '2+2 is 4.' },
      { type: 'block-end', block: 0 },
      { type: 'text-start', choice: 0, block: 1 },
      { type: 'text-delta', block: 1, text: '4' },
      { type: 'text-delta', block: 1, text: '!' },
      { type: 'block-end', block: 1 },
    ])
  })

  it('gives whole calls that come with the finish', () => {
    const calls = [
      { id: 'aaaaaaaaa', function: { name: 'f', arguments: '{}' }, index: 0 },
      { id: 'bbbbbbbbb', function: { name: 'g', arguments: '{"a":1}' }, index: 1 },
    ]
    const events = stream([chunk({ content: 'Wait' }), chunk({ tool_calls: calls }, 'tool_calls')])
    expect(withoutFrame(events).slice(2)).toEqual([
      { type: 'block-end', block: 0 },
      { type: 'tool-call-start', choice: 0, block: 1, callId: 'aaaaaaaaa', name: 'f' },
      { type: 'tool-call-delta', block: 1, text: '{}' },
      { type: 'tool-call-start', choice: 0, block: 2, callId: 'bbbbbbbbb', name: 'g' },
      { type: 'tool-call-delta', block: 2, text: '{"a":1}' },
      { type: 'block-end', block: 1 },
      { type: 'block-end', block: 2 },
    ])
    expect(events).toContainEqual({
      type: 'finish',
      choice: 0,
      reason: 'tool-calls',
      rawReason: 'tool_calls',
    })
  })

  it.each([
    ['an index', { index: 0 }],
    ['no index', {}],
  ])('joins a call in pieces that have no id, an empty name and %s', (_, where) => {
    const piece = (name: string, args: string, id?: string) =>
      chunk({
        tool_calls: [{ ...where, ...(id ? { id } : {}), function: { name, arguments: args } }],
      })
    const events = stream([
      piece('weather', '', 'call_1'),
      piece('', '{"city"'),
      piece('', ':"Oslo"}'),
      chunk({}, 'tool_calls'),
    ])
    expect(withoutFrame(events)).toEqual([
      { type: 'tool-call-start', choice: 0, block: 0, callId: 'call_1', name: 'weather' },
      { type: 'tool-call-delta', block: 0, text: '{"city"' },
      { type: 'tool-call-delta', block: 0, text: ':"Oslo"}' },
      { type: 'block-end', block: 0 },
    ])
  })

  it('keeps calls apart that share an index but not an id', () => {
    const calls = ['aaaaaaaaa', 'bbbbbbbbb'].map((id) => ({
      id,
      index: 0,
      function: { name: id[0], arguments: '{}' },
    }))
    const events = stream([chunk({ tool_calls: calls }, 'tool_calls')])
    expect(events.filter(({ type }) => type === 'tool-call-start')).toHaveLength(2)
  })

  it('holds arguments back until the name is there', () => {
    const events = stream([
      chunk({
        tool_calls: [{ index: 0, id: 'aaaaaaaaa', function: { name: '', arguments: '{' } }],
      }),
      chunk({ tool_calls: [{ index: 0, function: { name: 'f', arguments: '}' } }] }, 'tool_calls'),
    ])
    expect(withoutFrame(events).slice(0, 3)).toEqual([
      { type: 'tool-call-start', choice: 0, block: 0, callId: 'aaaaaaaaa', name: 'f' },
      { type: 'tool-call-delta', block: 0, text: '{' },
      { type: 'tool-call-delta', block: 0, text: '}' },
    ])
  })

  it('carries several choices with blocks of their own', () => {
    const events = stream([both({ content: 'A' }, null), both({ content: 'B' }, 'length')])
    expect(events.filter((event) => event.type === 'text-start')).toEqual([
      { type: 'text-start', choice: 0, block: 0 },
      { type: 'text-start', choice: 1, block: 1 },
    ])
    expect(events.filter((event) => event.type === 'finish')).toHaveLength(2)
  })

  it('is complete without its end marker once every choice has finished', () => {
    const events = stream([chunk({ content: 'A' }, 'stop')], { done: false })
    expect(events.at(-1)).toEqual({ type: 'end' })
  })

  it.each([
    ['breaks off', [chunk({ content: 'A' })], false],
    ['says it is done before the finish', [chunk({ content: 'A' })], true],
    ['is empty', [], false],
    [
      'holds an error at the top',
      [chunk({}), { object: 'error', message: 'x', code: '1300' }],
      false,
    ],
    ['holds an error object', [chunk({}), { error: { message: 'x' } }], false],
    ['holds a detail', [chunk({}), { detail: 'x' }], false],
  ])('fails when it %s', (_, frames, done) => {
    expect(() => stream(frames, { done })).toThrow(
      expect.objectContaining({ code: 'upstream_error' }),
    )
  })

  it.each(['{"id":', '<html>', '[]', '7'])('is invalid where a frame is %s', (data) => {
    expect(() => mistral.chat!.reader(REQUEST).read({ event: '', data })).toThrow(
      expect.objectContaining({ code: 'upstream_invalid' }),
    )
  })
})

describe('an error of mistral', () => {
  it.each<[number, unknown, object]>([
    [401, { detail: 'Invalid API Key' }, { kind: 'authentication', message: 'Invalid API Key' }],
    [
      422,
      { detail: [{ loc: ['body', 'messages', 0, 'name'], msg: 'Extra inputs', type: 'extra' }] },
      {
        kind: 'invalid_request',
        message: 'messages[0].name: Extra inputs',
        param: 'messages[0].name',
      },
    ],
    [
      422,
      {
        object: 'error',
        message: { detail: [{ loc: ['body', 'user'], msg: 'Extra' }] },
        type: 'invalid_request_error',
      },
      { kind: 'invalid_request', message: 'user: Extra', param: 'user' },
    ],
    [
      400,
      {
        object: 'error',
        message: "Unexpected role 'user' after role 'tool'",
        type: 'o',
        param: null,
        code: '3230',
      },
      {
        kind: 'invalid_request',
        message: "Unexpected role 'user' after role 'tool'",
        code: '3230',
      },
    ],
    [
      400,
      {
        object: 'error',
        message:
          'Prompt contains 40000 tokens, too large for model with 32768 maximum context length',
        code: '3051',
      },
      { kind: 'context_length', code: '3051' },
    ],
    [
      400,
      { message: 'Invalid model: x', type: 'invalid_model', code: '1500' },
      { kind: 'not_found' },
    ],
    [
      429,
      { object: 'error', message: 'Rate limit exceeded', code: '1300' },
      { kind: 'rate_limit', code: '1300' },
    ],
    [429, { message: 'Requests rate limit exceeded' }, { kind: 'rate_limit' }],
    [
      429,
      { message: 'Service tier capacity exceeded for this model.', type: 'invalid_request_error' },
      { kind: 'overloaded', code: 'invalid_request_error' },
    ],
    [402, { message: 'Pay' }, { kind: 'quota' }],
    [403, { message: 'No' }, { kind: 'permission' }],
    [404, { message: 'No Route matched' }, { kind: 'not_found' }],
    [500, { error: { message: 'Oops', code: 7 } }, { kind: 'server', message: 'Oops', code: '7' }],
    [500, { error: 'Oops' }, { kind: 'server', message: 'Oops' }],
    [502, '<html>Bad gateway</html>', { kind: 'server', message: 'Mistral answered 502' }],
    [503, 'upstream connect error', { kind: 'overloaded', message: 'upstream connect error' }],
    [504, '', { kind: 'timeout', message: 'Mistral answered 504' }],
    [500, null, { kind: 'server' }],
    [400, { message: 7, detail: [null, 'x'], error: [] }, { kind: 'invalid_request' }],
  ])('%i %j is read', (status, body, read) => {
    const said = typeof body === 'string' ? body : JSON.stringify(body)
    expect(mistral.readError(status, {}, said)).toMatchObject(read)
  })

  it('says when to come back, where its edge tells', () => {
    const { retryAfterMs } = mistral.readError(429, { 'retry-after': '1.5' }, '{}')
    expect(retryAfterMs).toBe(1500)
    expect(mistral.readError(429, {}, '{}')).not.toHaveProperty('retryAfterMs')
  })
})

describe('models and embeddings of mistral', () => {
  const target: Target = {
    provider: 'mistral',
    model: 'mistral-embed',
    baseUrl: 'https://api.mistral.ai',
    credential: 'secret',
    headers: {},
  }
  const request: EmbeddingsRequest = {
    model: 'e',
    input: ['a', 'b'],
    dimensions: 2,
    encoding: 'float',
    endUser: 'u',
    providerOptions: { metadata: { a: '1' }, output_dtype: 'int8' },
  }
  const answer = {
    model: 'mistral-embed',
    data: [
      { index: 1, embedding: [0.5, -1] },
      { index: 0, embedding: [1, 0] },
    ],
    usage: { prompt_tokens: 6, completion_tokens: 0, total_tokens: 6 },
  }

  it('are listed once each', () => {
    expect(mistral.models!(target)).toMatchObject({
      method: 'GET',
      url: 'https://api.mistral.ai/v1/models',
      headers: { authorization: 'Bearer secret' },
    })
    const body = { data: [{ id: 'a' }, { id: 'b' }, { id: 'a' }, {}] }
    expect(mistral.readModels!(body)).toEqual(['a', 'b'])
    expect(mistral.readModels!('nonsense')).toEqual([])
  })

  it('are asked for in mistral words', () => {
    const { request: sent, changes } = mistral.embeddings!.encode!(request, target)
    expect(sent.url).toBe('https://api.mistral.ai/v1/embeddings')
    expect(JSON.parse(String(sent.body))).toEqual({
      model: 'mistral-embed',
      input: ['a', 'b'],
      output_dimension: 2,
      metadata: { a: '1' },
    })
    expect(changes.map(({ field }) => field)).toEqual(['user', 'output_dtype'])
  })

  it('refuse token ids', () => {
    expect(() => mistral.embeddings!.encode!({ ...request, input: [[1, 2]] }, target)).toThrow(
      expect.objectContaining({ code: 'unsupported_feature', param: 'input' }),
    )
  })

  it('come back in the order of the input', () => {
    expect(mistral.embeddings!.decode(answer, request)).toMatchObject({
      model: 'mistral-embed',
      vectors: [
        [1, 0],
        [0.5, -1],
      ],
      usage: { input: 6, output: 0 },
    })
  })

  it('come back as little-endian float32 where base64 is wanted', () => {
    const { vectors } = mistral.embeddings!.decode(answer, { ...request, encoding: 'base64' })
    const bytes = Buffer.from(String(vectors[1]), 'base64')
    expect([bytes.readFloatLE(0), bytes.readFloatLE(4)]).toEqual([0.5, -1])
  })

  it('are invalid when one is missing or no vector', () => {
    for (const data of [[], [{ embedding: [1] }], [{ embedding: [1] }, { embedding: 'x' }]]) {
      expect(() => mistral.embeddings!.decode({ data }, request)).toThrow(
        expect.objectContaining({ code: 'upstream_invalid' }),
      )
    }
  })
})

const ANSWER = { id: 'a1', model: 'mistral-small-2506', created: 1_780_000_000 }

function decode(choice: object, usage: unknown = USAGE) {
  return mistral.chat!.decode({ ...ANSWER, usage, choices: [{ index: 0, ...choice }] }, REQUEST)
}

function chunk(delta: object, finish: string | null = null, usage?: object) {
  return {
    ...ANSWER,
    choices: [{ index: 0, delta, finish_reason: finish }],
    p: 'padding',
    ...(usage === undefined ? {} : { usage }),
  }
}

function both(delta: object, finish: string | null) {
  const choices = [0, 1].map((index) => ({ index, delta, finish_reason: finish }))
  return { ...ANSWER, choices }
}

function stream(chunks: readonly object[], { done = true } = {}): ChatEvent[] {
  const reader = mistral.chat!.reader(REQUEST)
  const data = [...chunks.map((each) => JSON.stringify(each)), ...(done ? ['[DONE]'] : [])]
  return [...data.flatMap((each) => reader.read({ event: '', data: each })), ...reader.end()]
}

/** Blocks alone. */
function withoutFrame(events: readonly ChatEvent[]): ChatEvent[] {
  return events.filter(({ type }) => !['start', 'finish', 'usage', 'end'].includes(type))
}
