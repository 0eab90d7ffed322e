import { array, assert, boolean, constantFrom, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ChatRequest, RawFrame, StreamWatcher, Target } from '#protocol'
import { chatWatcher, inspect } from '../../providers/openai-compatible/pass-through.ts'
import { providers } from '../../providers/index.ts'

const REQUEST: ChatRequest = {
  model: 'm',
  messages: [],
  stream: false,
  includeUsage: false,
  providerOptions: {},
}
const TARGET: Target = {
  provider: 'p',
  model: 'm',
  baseUrl: 'https://p.example/v1',
  credential: 'secret',
  headers: { 'x-own': '1' },
}
/** Of one to four bytes, escaped by JSON or not, and half a pair. */
const UNITS = constantFrom('a', '"', '\\', '\n', 'é', '€', '😀', '\u2028', '\ud83d')
const USAGE = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }

describe("the caller's own bytes", () => {
  it('go to openai untouched when nothing is streamed', () => {
    const request = { ...REQUEST, temperature: 1.9, seed: 1, maxOutputTokens: 9, logitBias: {} }
    expect(edits('openai', request)).toEqual({ edits: {}, changes: [] })
  })

  it('ask for usage in a stream, and keep the other options of streaming', () => {
    const request: ChatRequest = {
      ...REQUEST,
      stream: true,
      providerOptions: {},
      streamOptions: { include_obfuscation: false },
    }
    expect(edits('openai', request)).toEqual({
      edits: { stream_options: '{"include_obfuscation":false,"include_usage":true}' },
      changes: [],
    })
  })

  it('have a field taken out that the provider refuses, and that is said', () => {
    const request = { ...REQUEST, seed: 7, frequencyPenalty: 1, user: 'x' }
    expect(edits('zai', request)).toEqual({
      edits: { seed: undefined, frequency_penalty: undefined },
      changes: [
        { field: 'frequency_penalty', kind: 'lossy', note: 'not supported by Z.ai' },
        { field: 'seed', kind: 'lossy', note: 'not supported by Z.ai' },
      ],
    })
  })

  it('say what is ignored below their top', () => {
    const strict = { type: 'function', name: 'f', strict: true } as const
    const request: ChatRequest = {
      ...REQUEST,
      tools: [{ ...strict, strict: false }, strict],
      messages: [
        { role: 'user', content: [], name: 'Ann' },
        { role: 'user', content: [] },
      ],
    }
    const ignored = (field: string, by: string): object => ({
      field,
      kind: 'lossy',
      note: `ignored by ${by}`,
    })
    expect(edits('openai', request)).toEqual({ edits: {}, changes: [] })
    expect(edits('llamacpp', request)).toEqual({
      edits: {},
      changes: [ignored('tools[1].strict', 'llama.cpp')],
    })
    expect(edits('ollama', request).changes).toEqual([
      ignored('tools[1].strict', 'Ollama'),
      ignored('messages[0].name', 'Ollama'),
    ])
  })

  it('name the most tokens as the provider does', () => {
    expect(edits('deepseek', { ...REQUEST, maxOutputTokens: 9 })).toEqual({
      edits: { max_tokens: '9', max_completion_tokens: undefined },
      changes: [],
    })
  })

  it('have a temperature clamped that is out of range', () => {
    expect(edits('zai', { ...REQUEST, temperature: 1.7 })).toEqual({
      edits: { temperature: '1' },
      changes: [{ field: 'temperature', kind: 'adapted', note: 'clamped from 1.7 to 1' }],
    })
  })

  it('are refused where the provider would answer something else in silence', () => {
    expect(() => edits('ollama', { ...REQUEST, n: 2 })).toThrow(
      expect.objectContaining({ code: 'unsupported_feature', param: 'n' }),
    )
    expect(edits('ollama', { ...REQUEST, n: 1 }).changes).toEqual([])
  })

  it('stay, and it is said, where the provider ignores them', () => {
    const request: ChatRequest = { ...REQUEST, toolChoice: { type: 'required' } }
    expect(edits('ollama', request)).toEqual({
      edits: {},
      changes: [{ field: 'tool_choice', kind: 'lossy', note: 'ignored by Ollama' }],
    })
  })

  it('go to the chat path with the credential', () => {
    const pass = providers.get('groq')!.chat!.passThrough!
    expect(pass.url(TARGET)).toBe('https://p.example/v1/chat/completions')
    expect(pass.headers(TARGET)).toEqual({
      'content-type': 'application/json',
      authorization: 'Bearer secret',
      'x-own': '1',
    })
  })
})

describe('a stream that passes', () => {
  it('is watched for its model, finish, usage and end', () => {
    const watcher = chatWatcher()
    const frames = [
      chunk({ role: 'assistant', content: '' }),
      chunk({ content: 'Hi' }),
      chunk({}, { finish_reason: 'stop' }),
      { ...chunk({}), choices: [], usage: USAGE, service_tier: 'default' },
      '[DONE]',
    ]
    expect(frames.map((each) => watcher.watch(frame(each)))).toEqual([
      'pass',
      'pass',
      'pass',
      'usage',
      'done',
    ])
    expect(watcher).toMatchObject({ answered: true, finished: true, outputLength: 2 })
    expect(watcher.seen).toMatchObject({
      model: 'm-1',
      finishReason: 'stop',
      serviceTier: 'default',
      usage: { input: 3, output: 2 },
    })
  })

  it('has not answered before its first text', () => {
    const watcher = watched([chunk({ role: 'assistant', content: '', refusal: null })])
    expect(watcher.answered).toBe(false)
  })

  const answers: readonly object[] = [
    { content: 'a' },
    { reasoning: 'a' },
    { reasoning_content: 'a' },
    { refusal: 'a' },
    { tool_calls: [{ index: 0, id: 'a', function: { name: 'f', arguments: '' } }] },
    { function_call: { name: 'f', arguments: '' } },
    { content: [{ type: 'text', text: 'a' }] },
  ]
  for (const delta of answers) {
    it(`has answered with ${JSON.stringify(delta)}`, () => {
      expect(watched([chunk(delta)]).answered).toBe(true)
    })
  }

  it('is finished once every choice is', () => {
    const watcher = watched([chunk({ content: 'a' }), chunk({ content: 'a' }, { index: 1 })])
    watcher.watch(frame(chunk({}, { finish_reason: 'stop' })))
    expect(watcher.finished).toBe(false)
    watcher.watch(frame(chunk({}, { index: 1, finish_reason: 'stop' })))
    expect(watcher.finished).toBe(true)
  })

  it('keeps a frame that holds usage beside a choice, and takes the last usage', () => {
    const watcher = chatWatcher()
    const growing = { ...chunk({ content: 'a' }), usage: { ...USAGE, completion_tokens: 1 } }
    expect(watcher.watch(frame(growing))).toBe('pass')
    expect(watcher.watch(frame({ ...chunk({}, { finish_reason: 'stop' }), usage: USAGE }))).toBe(
      'pass',
    )
    expect(watcher.seen.usage?.output).toBe(2)
  })

  it('keeps a frame without choices that holds something else', () => {
    const watcher = chatWatcher()
    const first = { id: '', choices: [], prompt_filter_results: [], usage: null }
    expect(watcher.watch(frame(first))).toBe('pass')
    expect(watcher.watch(frame({ ...chunk({}), choices: [], moderation: {} }))).toBe('pass')
  })

  for (const data of ['{"choices":[{"finish_reason":"stop"', '{"choices":[]}}', '{"choices":{"a']) {
    it(`fails on ${data}`, () => {
      expect(() => chatWatcher().watch(frame(data))).toThrow(
        expect.objectContaining({ code: 'upstream_invalid' }),
      )
    })
  }

  it.each(['model', 'service_tier', 'system_fingerprint', 'x_groq', 'obfuscation'])(
    'holds usage alone in a frame with %s',
    (name) => {
      const last = { ...chunk({}), choices: [], usage: USAGE, [name]: 'x', other: null }
      expect(watched([chunk({ content: 'a' })]).watch(frame(last))).toBe('usage')
    },
  )

  it('keeps a frame that has more than usage', () => {
    const last = { ...chunk({}), choices: [], usage: USAGE, timings: {} }
    expect(watched([chunk({ content: 'a' })]).watch(frame(last))).toBe('pass')
  })

  for (const [data, rest] of [
    ['{"choices":[],"usage":{"a":{"}":"}\\""}} ,"b":1}', '{"choices":[] ,"b":1}'],
    ['{"usage":{},"choices":[],"b":1}', '{"choices":[],"b":1}'],
    ['{"choices":[{}],"usage":{},"b":1}', undefined],
    [
      '{"choices":[{}],"usage":null,"x_groq":{"usage":{}}}',
      '{"choices":[{}],"x_groq":{"usage":{}}}',
    ],
    ['{"id":"a","choices":[],"usage":null}', '{"id":"a","choices":[]}'],
    ['{"usage" : null , "id":"a"}', '{ "id":"a"}'],
    ['{"usage":null}', '{}'],
    ['{"id":"a","choices":[{"usage":null}]}', undefined],
    ['{"id":"\\"usage\\":null"}', undefined],
  ] as const) {
    it(`shows where ${data} has usage that is not told unasked`, () => {
      const watcher = chatWatcher()
      const { bytes } = raw(data, 'data: ')
      watcher.watch(raw(data, 'data: '))
      const cut = watcher.unaskedUsage
      const text = Buffer.from(bytes).toString()
      expect(cut && text.slice(0, cut.start) + text.slice(cut.end)).toBe(
        rest && text.replace(data, rest),
      )
    })
  }

  it('passes a comment and a blank on', () => {
    const watcher = chatWatcher()
    for (const data of ['', 'hello']) {
      expect(watcher.watch(frame(data))).toBe('pass')
    }
    expect(watcher.watch(raw('', ': OPENROUTER PROCESSING\n\n'))).toBe('pass')
  })

  const failures: readonly (readonly [string, RawFrame])[] = [
    ['an error beside choices', frame({ ...chunk({}), error: { message: 'x' } })],
    ['an error alone', frame({ error: { message: 'x' } })],
    ['an error as text', frame({ error: 'x' })],
    ['an error of a choice', frame(chunk({}, { error: { message: 'x' } }))],
    ['an error event', raw('{"error":{"message":"x"}}', 'event: error\ndata: ', 'error')],
    ['an error event in words', raw('x', 'event: error\ndata: ', 'error')],
  ]
  for (const [what, bad] of failures) {
    it(`fails on ${what}`, () => {
      expect(() => watched([chunk({ content: 'a' })]).watch(bad)).toThrow(
        expect.objectContaining({ code: 'upstream_error' }),
      )
    })
  }

  const WORDS = '"error":{"usage":{"prompt_tokens":1},"finish_reason":"stop",[DONE] \\" {'

  it('is not misled by such words inside its text', () => {
    const call = { index: 0, function: { arguments: WORDS } }
    const watcher = watched([chunk({ content: WORDS }), chunk({ tool_calls: [call] })])
    expect(watcher.watch(frame(chunk({ content: 'data: [DONE]' })))).toBe('pass')
    expect(watcher.finished).toBe(false)
    expect(watcher.seen).toEqual({ model: 'm-1' })
  })

  it('is measured in UTF-16 units, whatever its text and however it is written', () => {
    assert(
      property(array(UNITS), boolean(), (units, escape) => {
        const content = units.join('')
        const json = JSON.stringify(chunk({ content, reasoning: content }))
        const written = escape ? json.replaceAll(/[^\0-\x7f]/g, ascii) : json
        expect(watched([written]).outputLength).toBe(2 * content.length)
      }),
    )
  })

  it('is measured with the arguments of calls, not with what details repeat', () => {
    const delta = {
      reasoning: 'abc',
      reasoning_details: [{ type: 'reasoning.text', text: 'abc' }],
      tool_calls: [{ index: 0, id: 'not counted', function: { name: 'f', arguments: '{}' } }],
    }
    expect(watched([chunk(delta)]).outputLength).toBe(5)
    expect(watched([chunk({ reasoning_details: [{ text: 'abc' }] })]).outputLength).toBe(3)
  })

  it('is measured without the text so far that Perplexity repeats', () => {
    const message = { role: 'assistant', content: 'all { of "it' }
    expect(
      watched([chunk({ content: 'it' }, { message, delta: { content: 'it' } })]),
    ).toMatchObject({ outputLength: 2 })
  })

  it('is read with blanks between its tokens', () => {
    const spaced = JSON.stringify(chunk({ content: 'Hi' }, { finish_reason: 'stop' }), null, 1)
    const watcher = watched([spaced.replaceAll('\n', ' ')])
    expect(watcher).toMatchObject({ finished: true, outputLength: 2 })
  })
})

describe('a whole answer that passes', () => {
  it('is inspected for usage, model, finish and tier', () => {
    const choices = [{ index: 0, message: { tool_calls: [{}] }, finish_reason: 'stop' }]
    const body = { model: 'm-1', choices, usage: USAGE, service_tier: 'flex' }
    expect(inspect(body)).toMatchObject({
      model: 'm-1',
      finishReason: 'tool-calls',
      serviceTier: 'flex',
      usage: { input: 3 },
    })
  })

  for (const body of [undefined, null, 'x', [], {}]) {
    it(`says nothing when it is ${JSON.stringify(body)}`, () => {
      expect(inspect(body)).toEqual({})
    })
  }
})

function edits(id: string, request: ChatRequest): { edits: object; changes: readonly object[] } {
  return providers.get(id)!.chat!.passThrough!.edits(request, TARGET)
}

function chunk(delta: object, choice: object = {}): object {
  return { id: 'c1', model: 'm-1', choices: [{ index: 0, delta, finish_reason: null, ...choice }] }
}

function frame(value: object | string): RawFrame {
  return raw(typeof value === 'string' ? value : JSON.stringify(value), 'data: ')
}

function raw(data: string, before: string, event = ''): RawFrame {
  return { event, bytes: Buffer.from(`${before}${data}\n\n`), data: () => data }
}

function watched(values: readonly (object | string)[]): StreamWatcher {
  const watcher = chatWatcher()
  for (const value of values) watcher.watch(frame(value))
  return watcher
}

function ascii(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
