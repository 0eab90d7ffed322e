import { describe, expect, it } from 'vitest'
import { GatewayError } from '#errors'
import type { ChatEvent, ChatRequest } from '#protocol'
import { decode } from '../../providers/openai-compatible/response.ts'
import { chatReader } from '../../providers/openai-compatible/events.ts'

const REQUEST: ChatRequest = {
  model: 'm',
  messages: [],
  stream: true,
  includeUsage: false,
  providerOptions: {},
}
const DONE = '[DONE]'
const USAGE = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }

const TEXT = [chunk({ role: 'assistant', content: '' }), chunk({ content: 'Hi' })]
const STOP = chunk({}, { finish_reason: 'stop' })

describe('a stream of the OpenAI wire', () => {
  it('is a start, its text, a finish, its usage and an end', () => {
    const usage = { id: 'c1', model: 'm-1', choices: [], usage: USAGE }
    expect(read([...TEXT, STOP, usage, DONE])).toEqual([
      { type: 'start', id: 'c1', model: 'm-1', created: 7 },
      { type: 'text-start', choice: 0, block: 0 },
      { type: 'text-delta', block: 0, text: 'Hi' },
      { type: 'block-end', block: 0 },
      { type: 'finish', choice: 0, reason: 'stop', rawReason: 'stop' },
      { type: 'usage', usage: expect.objectContaining({ input: 3, output: 2 }) },
      { type: 'end' },
    ])
  })

  it('may end without its marker once every choice has finished', () => {
    expect(read([...TEXT, STOP]).at(-1)).toEqual({ type: 'end' })
  })

  it('may end with its marker alone, as Snowflake does', () => {
    const events = read([...TEXT, DONE])
    expect(events.slice(-2)).toEqual([
      { type: 'finish', choice: 0, reason: 'stop' },
      { type: 'end' },
    ])
  })

  const broken: readonly (readonly [string, readonly unknown[]])[] = [
    ['one cut before its finish', TEXT],
    ['an empty one', []],
    ['an end marker alone', [DONE]],
    ['one where a choice of two is cut', [...TEXT, STOP, chunk({ content: 'a' }, { index: 1 })]],
    ['an error inside a chunk', [...TEXT, { ...chunk({}), error: { code: 502, message: 'x' } }]],
    ['an error after a finish', [...TEXT, STOP, { error: { message: 'x' } }, DONE]],
    ['an error of a choice', [...TEXT, chunk({}, { error: { code: 500, message: 'x' } })]],
    ['an error that is a text', [{ error: 'x' }]],
  ]
  for (const [what, frames] of broken) {
    it(`fails on ${what}`, () => {
      expect(failure(frames)).toMatchObject({ code: 'upstream_error' })
    })
  }

  it('fails on an error event, and says whether asking again may help', () => {
    const error = { message: 'bad call', code: 'tool_use_failed', status_code: 400 }
    const reader = chatReader(REQUEST)
    expect(() => reader.read({ event: 'error', data: JSON.stringify({ error }) })).toThrow(
      expect.objectContaining({ code: 'upstream_error', retryable: true }),
    )
  })

  it('fails on an error in plain words', () => {
    expect(() => chatReader(REQUEST).read({ event: 'error', data: 'gone' })).toThrow(
      expect.objectContaining({ code: 'upstream_error' }),
    )
  })

  it('fails as invalid on a frame that is no JSON', () => {
    expect(failure([...TEXT, '{"choices":[{'])).toMatchObject({ code: 'upstream_invalid' })
  })

  it('steps over comments and frames of a kind it does not know', () => {
    const odd = ['', { choices: [], prompt_filter_results: [] }, { object: 'ping' }]
    expect(texts(read([...odd, ...TEXT, ...odd, STOP, DONE]))).toBe('Hi')
  })

  it('takes the last usage, wherever it stands, and one finish of two (OpenRouter, Perplexity)', () => {
    const events = read([
      { ...chunk({ content: 'Hi' }), usage: { prompt_tokens: 3, completion_tokens: 1 } },
      STOP,
      { ...STOP, usage: USAGE },
      DONE,
    ])
    expect(events.filter(({ type }) => type === 'finish')).toHaveLength(1)
    expect(events.filter(({ type }) => type === 'usage')).toMatchObject([{ usage: { output: 2 } }])
  })

  it('finds usage where Groq puts it, and keeps it when a worse one follows', () => {
    const groq = { ...STOP, x_groq: { usage: USAGE } }
    const events = read([...TEXT, groq, { ...chunk({}), usage: { prompt_tokens: -1 } }])
    expect(events).toContainEqual(expect.objectContaining({ type: 'usage' }))
  })

  it('has no usage event when nothing was reported', () => {
    expect(read([...TEXT, STOP, DONE]).some(({ type }) => type === 'usage')).toBe(false)
  })

  for (const field of ['reasoning_content', 'reasoning']) {
    it(`tells reasoning in ${field} apart from the answer`, () => {
      const frames = [chunk({ content: null, [field]: 'hm' }), chunk({ content: 'Hi' }), STOP]
      expect(read(frames).slice(1, 6)).toEqual([
        { type: 'reasoning-start', choice: 0, block: 0 },
        { type: 'reasoning-delta', block: 0, text: 'hm' },
        { type: 'block-end', block: 0 },
        { type: 'text-start', choice: 0, block: 1 },
        { type: 'text-delta', block: 1, text: 'Hi' },
      ])
    })
  }

  it('counts reasoning once that comes as text and as details, with its signature', () => {
    const detail = { type: 'reasoning.text', format: 'anthropic-claude-v1', index: 0 }
    const events = read([
      chunk({ reasoning: 'hm', reasoning_details: [{ ...detail, text: 'hm' }] }),
      chunk({ content: '', reasoning_details: [{ ...detail, signature: 'sig' }] }),
      chunk({ content: 'Hi' }),
      STOP,
    ])
    expect(events.filter(({ type }) => type === 'reasoning-delta')).toHaveLength(1)
    expect(events).toContainEqual({ type: 'block-end', block: 0, signature: 'sig' })
  })

  it('keeps sealed reasoning as a block of its own', () => {
    const data = { type: 'reasoning.encrypted', format: 'anthropic-claude-v1', data: 'xyz' }
    const events = read([chunk({ reasoning_details: [data] }), chunk({ content: 'Hi' }), STOP])
    expect(events[2]).toEqual({ type: 'block-end', block: 0, redacted: 'xyz' })
  })

  it('tells calls that are interleaved apart', () => {
    const events = read([
      chunk({ tool_calls: [head(0, 'a', 'one'), head(1, 'b', 'two')] }),
      chunk({ tool_calls: [piece(1, '{"y"'), piece(0, '{"x"')] }),
      chunk({ tool_calls: [piece(0, ':1}'), piece(1, ':2}')] }),
      chunk({}, { finish_reason: 'tool_calls' }),
    ])
    expect(calls(events)).toEqual(['a one {"x":1}', 'b two {"y":2}'])
  })

  it('tells whole calls apart that all claim index 0, or none', () => {
    for (const index of [0, undefined]) {
      const events = read([
        chunk({ tool_calls: [{ ...head(0, 'a', 'one', '{}'), index }] }),
        chunk({ tool_calls: [{ ...head(0, 'b', 'two', '{}'), index }] }),
        chunk({}, { finish_reason: 'stop' }),
      ])
      expect(calls(events)).toEqual(['a one {}', 'b two {}'])
    }
  })

  it('keeps the first name and id when later pieces repeat, empty or change them', () => {
    const events = read([
      chunk({ tool_calls: [head(0, 'a', 'one')] }),
      chunk({ tool_calls: [{ index: 0, id: 'other', function: { name: '', arguments: '{' } }] }),
      chunk({ tool_calls: [{ index: 0, id: null, function: { name: null, arguments: '}' } }] }),
      chunk({}, { finish_reason: 'tool_calls' }),
    ])
    expect(calls(events)).toEqual(['a one {}'])
  })

  it('holds arguments back until the name is there', () => {
    const events = read([
      chunk({ tool_calls: [{ index: 0, id: 'a', function: { arguments: '{' } }] }),
      chunk({ tool_calls: [{ index: 0, function: { name: 'one', arguments: '}' } }] }),
      chunk({}, { finish_reason: 'tool_calls' }),
    ])
    expect(calls(events)).toEqual(['a one {}'])
  })

  it('gives a call without an id one, and without arguments empty ones', () => {
    const events = read([
      chunk({ tool_calls: [{ index: 0, function: { name: 'one' } }] }),
      chunk({}, { finish_reason: 'tool_calls' }),
    ])
    expect(calls(events)).toEqual([expect.stringMatching(/^call_[0-9a-f]{24} one {}$/)])
  })

  it('fails as invalid on a call that never says its name', () => {
    const nameless = chunk({ tool_calls: [piece(0, '{}')] })
    expect(failure([nameless, STOP])).toMatchObject({ code: 'upstream_invalid' })
  })

  it('reads the old function_call, and says that it ended for a call', () => {
    const events = read([
      chunk({ function_call: { name: 'one', arguments: '' } }),
      chunk({ function_call: { arguments: '{"x":1}' } }),
      chunk({}, { finish_reason: 'function_call' }),
    ])
    expect(calls(events)).toEqual([expect.stringMatching(/ one {"x":1}$/)])
    expect(events).toContainEqual(expect.objectContaining({ reason: 'tool-calls' }))
  })

  it('interleaves choices', () => {
    const events = read([
      chunk({ content: 'a' }),
      chunk({ content: 'x' }, { index: 1 }),
      chunk({ content: 'b' }),
      STOP,
      chunk({}, { index: 1, finish_reason: 'length' }),
    ])
    const deltas = events.filter(({ type }) => type === 'text-delta')
    expect(deltas).toMatchObject([
      { block: 0, text: 'a' },
      { block: 1, text: 'x' },
      { block: 0, text: 'b' },
    ])
    expect(events.filter(({ type }) => type === 'finish')).toMatchObject([
      { choice: 0, reason: 'stop' },
      { choice: 1, reason: 'length' },
    ])
  })

  it('tells a refusal', () => {
    const events = read([chunk({ content: null, refusal: '' }), chunk({ refusal: 'No' }), STOP])
    expect(events.slice(1, 3)).toEqual([
      { type: 'refusal-start', choice: 0, block: 0 },
      { type: 'refusal-delta', block: 0, text: 'No' },
    ])
  })

  it('reads content that is a list of parts', () => {
    const content = [{ type: 'text', text: 'Hi' }]
    expect(texts(read([chunk({ content }), STOP]))).toBe('Hi')
  })

  it('cites what the text rests on, before the text ends', () => {
    const url_citation = { url: 'https://a.example', title: 'A', start_index: 0, end_index: 2 }
    const events = read([
      ...TEXT,
      chunk({ annotations: [{ type: 'url_citation', url_citation }] }),
      STOP,
    ])
    expect(events[3]).toEqual({
      type: 'citation',
      block: 0,
      citation: { url: 'https://a.example', title: 'A', start: 0, end: 2 },
    })
  })

  it('cites in each text what that text rests on', () => {
    const url_citation = { url: 'https://a.example' }
    const events = read([
      ...TEXT,
      chunk({ annotations: [{ type: 'url_citation', url_citation }] }),
      chunk({ reasoning: 'hm' }),
      chunk({ content: 'more' }),
      STOP,
    ])
    expect(events.filter(({ type }) => type === 'citation')).toMatchObject([{ block: 0 }])
  })

  it("ends a call with Google's signature for it, and keeps one for no call", () => {
    const seal = { type: 'reasoning.encrypted', format: 'google-gemini-v1' }
    const events = read([
      chunk({ reasoning_details: [{ ...seal, id: 'a', data: 'x' }] }),
      chunk({ tool_calls: [head(0, 'a', 'one', '{}')] }),
      chunk({ reasoning_details: [{ ...seal, id: 'gone', data: 'y' }] }),
      STOP,
    ])
    expect(events.filter(({ type }) => type === 'block-end')).toEqual([
      { type: 'block-end', block: 0, signature: 'x' },
      { type: 'block-end', block: 1, redacted: expect.stringContaining('"y"') },
    ])
  })

  it("cites Perplexity's sources once, though they come with every chunk", () => {
    const search_results = [{ title: 'A', url: 'https://a.example', snippet: 'so' }]
    const events = read([...TEXT, STOP].map((each) => ({ ...each, search_results })))
    expect(events.filter(({ type }) => type === 'citation')).toEqual([
      {
        type: 'citation',
        block: 0,
        citation: { url: 'https://a.example', title: 'A', quote: 'so' },
      },
    ])
  })

  it('hands log probabilities on', () => {
    const logprobs = { content: [{ token: 'Hi', logprob: -0.1 }], refusal: null }
    const events = read([chunk({ content: 'Hi' }, { logprobs }), STOP])
    expect(events[2]).toEqual({ type: 'text-delta', block: 0, text: 'Hi', logprobs })
  })
})

describe('a whole answer of the OpenAI wire', () => {
  it('is read into parts in the order a model makes them', () => {
    const message = {
      role: 'assistant',
      content: 'Hi',
      reasoning_content: 'hm',
      tool_calls: [{ id: 'a', type: 'function', function: { name: 'one', arguments: '{"x":1}' } }],
      images: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }],
    }
    const response = decode(answer(message, 'tool_calls'), REQUEST)
    expect(response.choices[0]).toEqual({
      index: 0,
      content: [
        { type: 'reasoning', text: 'hm' },
        { type: 'text', text: 'Hi' },
        { type: 'tool-call', id: 'a', name: 'one', arguments: '{"x":1}' },
        {
          type: 'media',
          source: { type: 'base64', mediaType: 'image/png', data: 'AAAA' },
        },
      ],
      finishReason: 'tool-calls',
      rawFinishReason: 'tool_calls',
    })
  })

  it("sees through Snowflake's empty members", () => {
    const message = {
      content: '4',
      refusal: '',
      tool_calls: null,
      function_call: { name: '', arguments: '' },
      audio: { data: '', transcript: '' },
      annotations: null,
    }
    const { choices } = decode(answer(message, ''), REQUEST)
    expect(choices).toEqual([
      { index: 0, content: [{ type: 'text', text: '4' }], finishReason: 'stop' },
    ])
  })

  it('reads a call of a free-text tool', () => {
    const call = { id: 'a', type: 'custom', custom: { name: 'math', input: '4 + 4' } }
    const { choices } = decode(answer({ content: null, tool_calls: [call] }, 'tool_calls'), REQUEST)
    expect(choices[0]?.content).toEqual([
      { type: 'tool-call', id: 'a', name: 'math', arguments: '4 + 4', custom: true },
    ])
  })

  it('makes text of arguments that came as an object, or not at all', () => {
    const call = { id: 'a', function: { name: 'one', arguments: { x: 1 } } }
    const bare = { id: 'b', function: { name: 'two' } }
    const { choices } = decode(answer({ tool_calls: [call, bare] }, 'stop'), REQUEST)
    expect(choices[0]).toMatchObject({
      content: [{ arguments: '{"x":1}' }, { arguments: '{}' }],
      finishReason: 'tool-calls',
    })
  })

  const reasons = [
    ['length', 'length'],
    ['content_filter', 'content-filter'],
    ['sensitive', 'content-filter'],
    ['insufficient_system_resource', 'error'],
    ['eos_token', 'stop'],
    ['something new', 'stop'],
  ] as const
  for (const [raw, reason] of reasons) {
    it(`that ended with ${raw} ended with ${reason}`, () => {
      expect(decode(answer({ content: 'x' }, raw), REQUEST).choices[0]).toMatchObject({
        finishReason: reason,
        rawFinishReason: raw,
      })
    })
  }

  for (const body of [undefined, null, 'text', [], {}, { choices: [] }, { choices: [null] }]) {
    it(`cannot be read from ${JSON.stringify(body)}`, () => {
      expect(() => decode(body, REQUEST)).toThrow(
        expect.objectContaining({ code: 'upstream_invalid' }),
      )
    })
  }
})

function chunk(delta: object, choice: object = {}): object {
  return {
    id: 'c1',
    object: 'chat.completion.chunk',
    created: 7,
    model: 'm-1',
    choices: [{ index: 0, delta, finish_reason: null, ...choice }],
  }
}

function head(index: number, id: string, name: string, text = ''): object {
  return { index, id, type: 'function', function: { name, arguments: text } }
}

function piece(index: number, text: string): object {
  return { index, function: { arguments: text } }
}

function answer(message: object, finish_reason: string): object {
  return { id: 'c1', model: 'm-1', choices: [{ index: 0, message, finish_reason }] }
}

function read(frames: readonly unknown[]): ChatEvent[] {
  const reader = chatReader(REQUEST)
  const events = frames.flatMap((frame) => {
    return reader.read({
      event: '',
      data: typeof frame === 'string' ? frame : JSON.stringify(frame),
    })
  })
  return [...events, ...reader.end()]
}

function failure(frames: readonly unknown[]): unknown {
  try {
    read(frames)
  } catch (error) {
    expect(error).toBeInstanceOf(GatewayError)
    return error
  }
  throw new Error('it did not fail')
}

function texts(events: readonly ChatEvent[]): string {
  return events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('')
}

function calls(events: readonly ChatEvent[]): string[] {
  return events
    .filter((event) => event.type === 'tool-call-start')
    .map(({ block, callId, name }) => {
      const pieces = events.map((event) =>
        event.type === 'tool-call-delta' && event.block === block ? event.text : '',
      )
      return `${callId} ${name} ${pieces.join('')}`
    })
}
