import { describe, expect, it } from 'vitest'
import type { ChatRequest, Tool } from '#protocol'
import { inputTokens, outputTokens } from '#protocol'
import { anthropic } from '../../providers/anthropic/index.ts'

const USAGE = { input_tokens: 17, output_tokens: 20 }

describe('an Anthropic answer', () => {
  it('names itself, the dated model and why it ended', () => {
    const answer = decode({
      id: 'msg_1',
      model: 'claude-sonnet-4-20250514',
      content: [{ type: 'text', text: 'Hi' }],
      stop_reason: 'end_turn',
      usage: USAGE,
    })
    expect(answer).toMatchObject({
      id: 'msg_1',
      model: 'claude-sonnet-4-20250514',
      choices: [
        {
          index: 0,
          content: [{ type: 'text', text: 'Hi' }],
          finishReason: 'stop',
          rawFinishReason: 'end_turn',
        },
      ],
    })
  })

  it('keeps text split around citations as it is, with what it rests on', () => {
    const citations = [
      {
        type: 'char_location',
        cited_text: 'It rained.',
        document_title: 'Diary',
        document_index: 0,
        start_char_index: 0,
        end_char_index: 10,
      },
    ]
    expect(
      content([
        { type: 'text', text: 'On Monday ' },
        { type: 'text', text: 'it rained', citations },
        { type: 'text', text: '.' },
      ]),
    ).toEqual([
      { type: 'text', text: 'On Monday ' },
      { type: 'text', text: 'it rained', citations: [{ title: 'Diary', quote: 'It rained.' }] },
      { type: 'text', text: '.' },
    ])
  })

  it('gives thinking, withheld or sealed too, to be sent back as it came', () => {
    expect(
      content([
        { type: 'thinking', thinking: 'Hmm', signature: 'Eq+/=' },
        { type: 'thinking', thinking: '', signature: 'Ep' },
        { type: 'redacted_thinking', data: 'c2VhbGVk' },
      ]),
    ).toEqual([
      { type: 'reasoning', text: 'Hmm', signature: 'Eq+/=' },
      { type: 'reasoning', text: '', signature: 'Ep' },
      { type: 'reasoning', text: '', redacted: 'c2VhbGVk' },
    ])
  })

  it('gives the calls the application is to answer, and those alone', () => {
    expect(
      content([
        { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: { query: 'x' } },
        { type: 'web_search_tool_result', tool_use_id: 'srvtoolu_1', content: [] },
        {
          type: 'tool_use',
          id: 'toolu_1',
          name: 'add',
          input: { a: 1 },
          caller: { type: 'direct' },
        },
        { type: 'tool_use', id: 'toolu_2', name: 'now', input: {} },
        {
          type: 'tool_use',
          id: 'toolu_3',
          name: 'add',
          input: {},
          caller: { type: 'code_execution_20250825' },
        },
        { type: 'container_upload', file_id: 'file_1' },
        { type: 'hologram' },
      ]),
    ).toEqual([
      { type: 'tool-call', id: 'toolu_1', name: 'add', arguments: '{"a":1}' },
      { type: 'tool-call', id: 'toolu_2', name: 'now', arguments: '{}' },
    ])
  })

  it('gives tools their own names and custom tools their text back', () => {
    const tools: Tool[] = [
      { type: 'function', name: 'files.read' },
      { type: 'custom', name: 'shell' },
    ]
    const blocks = [
      { type: 'tool_use', id: 'a', name: 'files_read', input: {} },
      { type: 'tool_use', id: 'b', name: 'shell', input: { input: 'ls' } },
    ]
    expect(content(blocks, { tools })).toEqual([
      { type: 'tool-call', id: 'a', name: 'files.read', arguments: '{}' },
      { type: 'tool-call', id: 'b', name: 'shell', arguments: 'ls', custom: true },
    ])
  })

  it.each([
    ['end_turn', 'stop'],
    ['stop_sequence', 'stop'],
    ['pause_turn', 'stop'],
    ['compaction', 'stop'],
    ['max_tokens', 'length'],
    ['model_context_window_exceeded', 'length'],
    ['tool_use', 'tool-calls'],
    ['refusal', 'content-filter'],
    ['something_new', 'stop'],
  ])('that ended with %s is finished by %s', (reason, finishReason) => {
    const block = { type: 'tool_use', id: 'a', name: 'f', input: {} }
    const answer = decode({ content: [block], stop_reason: reason, usage: USAGE })
    expect(answer.choices[0]).toMatchObject({ finishReason, rawFinishReason: reason })
  })

  it('may be a refusal with nothing in it', () => {
    const stop = { type: 'refusal', category: 'bio', explanation: 'No.' }
    expect(
      decode({ content: [], stop_reason: 'refusal', stop_details: stop, usage: USAGE }).choices[0],
    ).toMatchObject({
      content: [],
      finishReason: 'content-filter',
    })
  })

  it.each([
    ['null', null],
    ['text', 'oops'],
    ['an error', { type: 'error', error: { type: 'api_error', message: 'x' } }],
    ["another wire's answer", { object: 'chat.completion', choices: [] }],
  ])('can not be %s', (_, body) => {
    expect(() => decode(body)).toThrow(expect.objectContaining({ code: 'upstream_invalid' }))
  })
})

describe('usage of an Anthropic answer', () => {
  it('has the cache beside the input, by how long it is kept', () => {
    expect(
      usage({
        input_tokens: 17,
        cache_read_input_tokens: 100,
        cache_creation_input_tokens: 2056,
        cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 2056 },
        output_tokens: 20,
      }),
    ).toMatchObject({ input: 17, cacheRead: 100, cacheWrite5m: 0, cacheWrite1h: 2056, output: 20 })
  })

  it('takes a cache write without a split for five minutes', () => {
    expect(
      usage({ ...USAGE, cache_creation_input_tokens: 40, cache_creation: null }),
    ).toMatchObject({
      cacheWrite5m: 40,
      cacheWrite1h: 0,
    })
  })

  it('takes thinking out of the output', () => {
    expect(usage({ ...USAGE, output_tokens_details: { thinking_tokens: 15 } })).toMatchObject({
      output: 5,
      reasoning: 15,
    })
  })

  it('never has more thinking than output', () => {
    expect(usage({ ...USAGE, output_tokens_details: { thinking_tokens: 99 } })).toMatchObject({
      output: 0,
      reasoning: 20,
    })
  })

  it('adds passes that the top level leaves out', () => {
    const read = usage({
      input_tokens: 682,
      output_tokens: 1320,
      iterations: [
        { type: 'compaction', input_tokens: 60_385, output_tokens: 592 },
        { type: 'message', input_tokens: 682, output_tokens: 1320 },
      ],
    })
    expect(read && [inputTokens(read), outputTokens(read)]).toEqual([61_067, 1912])
  })

  it.each([
    ['missing', undefined],
    ['null', null],
    ['negative', { input_tokens: -1, output_tokens: 2 }],
    ['absurd', { input_tokens: 1e300, output_tokens: 2 }],
    ['in words', { input_tokens: '7', output_tokens: 2 }],
    ['a fraction', { input_tokens: 1, output_tokens: 2.5 }],
  ])('is absent, never zero, when it is %s', (_, given) => {
    expect(usage(given)).toBeUndefined()
  })

  it('names the tier as OpenAI does', () => {
    expect(decode({ content: [], usage: { ...USAGE, service_tier: 'standard' } }).serviceTier).toBe(
      'default',
    )
    expect(decode({ content: [], usage: { ...USAGE, service_tier: 'priority' } }).serviceTier).toBe(
      'priority',
    )
  })
})

function decode(body: unknown, more: Partial<ChatRequest> = {}) {
  return anthropic.chat.decode(body, {
    model: 'm',
    messages: [],
    stream: false,
    includeUsage: false,
    providerOptions: {},
    ...more,
  })
}

function content(blocks: readonly unknown[], more: Partial<ChatRequest> = {}) {
  return decode({ content: blocks, usage: USAGE }, more).choices[0]?.content
}

function usage(given: unknown) {
  return decode({ content: [], usage: given }).usage
}
