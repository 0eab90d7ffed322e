import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '#errors'
import type { ChatEvent, ChatRequest, Tool } from '#protocol'
import { anthropic } from '../../providers/anthropic/index.ts'

const START = {
  type: 'message_start',
  message: {
    id: 'msg_1',
    model: 'claude-haiku-4-5-20251001',
    content: [],
    usage: { input_tokens: 9, output_tokens: 1 },
  },
}
const STOP = { type: 'message_stop' }

describe('an Anthropic stream', () => {
  it('becomes our events in their order', () => {
    expect(
      read([START, { type: 'ping' }, ...text(0, 'Hel', 'lo'), done('end_turn', 5), STOP]),
    ).toEqual([
      { type: 'start', id: 'msg_1', model: 'claude-haiku-4-5-20251001' },
      { type: 'text-start', choice: 0, block: 0 },
      { type: 'text-delta', block: 0, text: 'Hel' },
      { type: 'text-delta', block: 0, text: 'lo' },
      { type: 'block-end', block: 0 },
      { type: 'finish', choice: 0, reason: 'stop', rawReason: 'end_turn' },
      { type: 'usage', usage: expect.objectContaining({ input: 9, output: 5 }) },
      { type: 'end' },
    ])
  })

  it('may carry blanks after its JSON and pings inside a block', () => {
    const [open, piece, close] = text(0, 'hi')
    const events = read(
      [START, open, { type: 'ping' }, piece, close, done('end_turn', 1), STOP],
      '      ',
    )
    expect(texts(events)).toEqual(['hi'])
  })

  it('keeps the blocks of parallel calls apart, behind text', () => {
    const events = read([
      START,
      ...text(0, 'Looking'),
      ...call(1, 'toolu_a', 'add', '', '{"a":', '1}'),
      ...call(2, 'toolu_b', 'mul', '', '{"b":2}'),
      done('tool_use', 30),
      STOP,
    ])
    expect(calls(events)).toEqual([
      { id: 'toolu_a', name: 'add', arguments: '{"a":1}' },
      { id: 'toolu_b', name: 'mul', arguments: '{"b":2}' },
    ])
    expect(events).toContainEqual({
      type: 'finish',
      choice: 0,
      reason: 'tool-calls',
      rawReason: 'tool_use',
    })
  })

  it('reassembles any number of calls, cut and interleaved anyhow', () => {
    const anyCall = fc.array(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 5 })
    const anyCalls = fc.array(anyCall, { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(anyCalls, fc.infiniteStream(fc.nat()), (pieces, choice) => {
        const queues = pieces.map((each, index) => call(index, `id${index}`, 'f', ...each))
        const events: unknown[] = [START]
        for (let left = queues; left.length > 0; left = left.filter(({ length }) => length > 0)) {
          const [next = 0] = choice.take(1)
          events.push(left[next % left.length]?.shift())
        }
        const found = calls(read([...events, done('tool_use', 1), STOP]))
        expect(new Map(found.map(({ id, arguments: json }) => [id, json]))).toEqual(
          new Map(pieces.map((each, index) => [`id${index}`, each.join('')])),
        )
      }),
    )
  })

  it('gives `{}` for a call without arguments', () => {
    const events = read([START, ...call(0, 'toolu_a', 'now', ''), done('tool_use', 3), STOP])
    expect(calls(events)).toEqual([{ id: 'toolu_a', name: 'now', arguments: '{}' }])
  })

  it('takes arguments that came whole with the start of the call', () => {
    const events = read([
      START,
      {
        type: 'content_block_start',
        index: 0,
        content_block: { type: 'tool_use', id: 'a', name: 'f', input: { x: 1 } },
      },
      { type: 'content_block_stop', index: 0 },
      done('tool_use', 3),
      STOP,
    ])
    expect(calls(events)).toEqual([{ id: 'a', name: 'f', arguments: '{"x":1}' }])
  })

  it('gives thinking with the signature at its end', () => {
    const events = read([
      START,
      {
        type: 'content_block_start',
        index: 0,
        content_block: { type: 'thinking', thinking: '', signature: '' },
      },
      delta(0, { type: 'thinking_delta', thinking: 'Hmm' }),
      delta(0, { type: 'thinking_delta', thinking: '' }),
      delta(0, { type: 'signature_delta', signature: 'EqQB+/=' }),
      { type: 'content_block_stop', index: 0 },
      done('end_turn', 3),
      STOP,
    ])
    expect(events.slice(1, 4)).toEqual([
      { type: 'reasoning-start', choice: 0, block: 0 },
      { type: 'reasoning-delta', block: 0, text: 'Hmm' },
      { type: 'block-end', block: 0, signature: 'EqQB+/=' },
    ])
  })

  it('gives redacted thinking, which has no deltas', () => {
    const events = read([
      START,
      {
        type: 'content_block_start',
        index: 0,
        content_block: { type: 'redacted_thinking', data: 'c2VhbGVk' },
      },
      { type: 'content_block_stop', index: 0 },
      done('end_turn', 3),
      STOP,
    ])
    expect(events.slice(1, 3)).toEqual([
      { type: 'reasoning-start', choice: 0, block: 0 },
      { type: 'block-end', block: 0, redacted: 'c2VhbGVk' },
    ])
  })

  it('gives a citation before the text that rests on it', () => {
    const citation = {
      type: 'web_search_result_location',
      url: 'https://a.example',
      title: 'A',
      cited_text: 'so',
      encrypted_index: 'x',
    }
    const events = read([
      START,
      {
        type: 'content_block_start',
        index: 0,
        content_block: { type: 'text', text: '', citations: [] },
      },
      delta(0, { type: 'citations_delta', citation }),
      delta(0, { type: 'text_delta', text: 'It is so' }),
      { type: 'content_block_stop', index: 0 },
      done('end_turn', 3),
      STOP,
    ])
    expect(events.slice(2, 4)).toEqual([
      {
        type: 'citation',
        block: 0,
        citation: { url: 'https://a.example', title: 'A', quote: 'so' },
      },
      { type: 'text-delta', block: 0, text: 'It is so' },
    ])
  })

  it.each([
    ['a server tool', { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: {} }],
    [
      'a call from code execution',
      {
        type: 'tool_use',
        id: 'a',
        name: 'f',
        input: {},
        caller: { type: 'code_execution_20260120', tool_id: 'b' },
      },
    ],
    ['a kind nobody knows', { type: 'hologram', id: 'a' }],
  ])('passes over %s without mixing up what follows', (_, block) => {
    const events = read([
      START,
      { type: 'content_block_start', index: 0, content_block: block },
      delta(0, { type: 'input_json_delta', partial_json: '{"query":"x"}' }),
      delta(0, { type: 'hologram_delta', text: 'no' }),
      { type: 'content_block_stop', index: 0 },
      ...text(1, 'yes'),
      done('end_turn', 3),
      STOP,
    ])
    expect(calls(events)).toEqual([])
    expect(texts(events)).toEqual(['yes'])
  })

  it('does not speak of tool calls where none was shown', () => {
    const block = {
      type: 'tool_use',
      id: 'a',
      name: 'f',
      input: {},
      caller: { type: 'code_execution_20260120' },
    }
    const events = read([
      START,
      { type: 'content_block_start', index: 0, content_block: block },
      done('tool_use', 3),
      STOP,
    ])
    expect(events).toContainEqual({
      type: 'finish',
      choice: 0,
      reason: 'stop',
      rawReason: 'tool_use',
    })
  })

  it('may be a refusal without a single block', () => {
    expect(read([START, done('refusal', 1), STOP]).map(({ type }) => type)).toEqual([
      'start',
      'finish',
      'usage',
      'end',
    ])
  })

  it('goes on after a second message_start, with new blocks and the later usage', () => {
    const events = read([
      START,
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      delta(0, { type: 'text_delta', text: 'one ' }),
      {
        type: 'message_start',
        message: { id: 'msg_2', model: 'm', usage: { input_tokens: 11, output_tokens: 2 } },
      },
      ...text(0, 'two'),
      done('end_turn', 7),
      STOP,
    ])
    expect(events.filter(({ type }) => type === 'start')).toHaveLength(1)
    expect(blocks(events)).toEqual([0, 1])
    expect(usage(events)).toMatchObject({ input: 11, output: 7 })
  })

  it('closes what a message_stop leaves open', () => {
    const [open, piece] = text(0, 'x')
    expect(read([START, open, piece, done('max_tokens', 1), STOP])).toContainEqual({
      type: 'block-end',
      block: 0,
    })
  })

  it('counts by the last word said on each number', () => {
    const events = read([
      {
        type: 'message_start',
        message: {
          id: 'msg_1',
          model: 'm',
          usage: {
            input_tokens: 2479,
            cache_creation_input_tokens: 30,
            cache_creation: { ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 20 },
            cache_read_input_tokens: 5,
            output_tokens: 8,
            service_tier: 'standard',
          },
        },
      },
      {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn' },
        usage: {
          input_tokens: 404_500,
          cache_creation_input_tokens: 30,
          cache_read_input_tokens: null,
          output_tokens: 90,
          output_tokens_details: { thinking_tokens: 40 },
          server_tool_use: { web_search_requests: 3 },
        },
      },
      STOP,
    ])
    expect(events.find(({ type }) => type === 'usage')).toMatchObject({
      serviceTier: 'default',
      usage: {
        input: 404_500,
        cacheRead: 5,
        cacheWrite5m: 10,
        cacheWrite1h: 20,
        output: 50,
        reasoning: 40,
        webSearches: 3,
      },
    })
  })

  it('keeps the first numbers where the end repeats the output alone', () => {
    expect(usage(read([START, done('end_turn', 12), STOP]))).toMatchObject({ input: 9, output: 12 })
  })

  it('gives a custom tool its text back out of the JSON, in one piece', () => {
    const tools: Tool[] = [{ type: 'custom', name: 'shell' }]
    const events = read(
      [
        START,
        ...call(0, 'a', 'shell', '', '{"inp', 'ut":"ls \\"x\\""}'),
        done('tool_use', 1),
        STOP,
      ],
      '',
      { tools },
    )
    expect(events.slice(1, 3)).toEqual([
      { type: 'tool-call-start', choice: 0, block: 0, callId: 'a', name: 'shell', custom: true },
      { type: 'tool-call-delta', block: 0, text: 'ls "x"' },
    ])
  })

  it('gives a tool its own name back', () => {
    const tools: Tool[] = [{ type: 'function', name: 'files.read' }]
    const events = read(
      [START, ...call(0, 'a', 'files_read', '{}'), done('tool_use', 1), STOP],
      '',
      { tools },
    )
    expect(calls(events)).toMatchObject([{ name: 'files.read' }])
  })

  it('says nothing after its end', () => {
    const stream = anthropic.chat.reader(request())
    for (const event of [START, STOP]) stream.read(frame(event))
    expect([...stream.read(frame(STOP)), ...stream.end()]).toEqual([])
  })

  it.each([
    ['before anything came', []],
    ['inside a block', [START, ...text(0, 'x').slice(0, 2)]],
    ['after its stop reason', [START, ...text(0, 'x'), done('end_turn', 1)]],
  ])('is a failure when cut off %s', (_, events) => {
    expect(thrown(() => read(events))).toMatchObject({ code: 'upstream_error', retryable: true })
  })

  it.each([
    ['overloaded_error', true],
    ['api_error', true],
    ['rate_limit_error', true],
    ['invalid_request_error', false],
  ])('fails on an error event of type %s', (type, retryable) => {
    const error = thrown(() =>
      read([START, { type: 'error', error: { type, message: 'Overloaded' } }]),
    )
    expect(error).toMatchObject({
      code: 'upstream_error',
      retryable,
      details: { type, message: 'Overloaded' },
    })
  })

  it.each([['{"type":'], ['<html>'], ['[]'], ['7']])('is unreadable with a frame of %s', (data) => {
    const stream = anthropic.chat.reader(request())
    expect(thrown(() => stream.read({ event: '', data }))).toMatchObject({
      code: 'upstream_invalid',
    })
  })
})

function request(more: Partial<ChatRequest> = {}): ChatRequest {
  return {
    model: 'm',
    messages: [],
    stream: true,
    includeUsage: false,
    providerOptions: {},
    ...more,
  }
}

function read(
  events: readonly unknown[],
  padding = '',
  more: Partial<ChatRequest> = {},
): ChatEvent[] {
  const stream = anthropic.chat.reader(request(more))
  return [...events.flatMap((event) => stream.read(frame(event, padding))), ...stream.end()]
}

function frame(event: unknown, padding = '') {
  return { event: '', data: JSON.stringify(event) + padding }
}

function delta(index: number, inner: object) {
  return { type: 'content_block_delta', index, delta: inner }
}

function text(index: number, ...pieces: string[]) {
  return [
    { type: 'content_block_start', index, content_block: { type: 'text', text: '' } },
    ...pieces.map((piece) => delta(index, { type: 'text_delta', text: piece })),
    { type: 'content_block_stop', index },
  ]
}

function call(index: number, id: string, name: string, ...pieces: string[]) {
  return [
    {
      type: 'content_block_start',
      index,
      content_block: { type: 'tool_use', id, name, input: {}, caller: { type: 'direct' } },
    },
    ...pieces.map((piece) => delta(index, { type: 'input_json_delta', partial_json: piece })),
    { type: 'content_block_stop', index },
  ]
}

function done(reason: string, outputTokens: number) {
  return {
    type: 'message_delta',
    delta: { stop_reason: reason, stop_sequence: null },
    usage: { output_tokens: outputTokens },
  }
}

function texts(events: readonly ChatEvent[]): string[] {
  return events.flatMap((event) => (event.type === 'text-delta' ? [event.text] : []))
}

function blocks(events: readonly ChatEvent[]): number[] {
  return events.flatMap((event) => (event.type === 'block-end' ? [event.block] : []))
}

function calls(events: readonly ChatEvent[]) {
  return events.flatMap((event) =>
    event.type === 'tool-call-start'
      ? [{ id: event.callId, name: event.name, arguments: argumentsOf(events, event.block) }]
      : [],
  )
}

function argumentsOf(events: readonly ChatEvent[], block: number): string {
  return events
    .map((event) => (event.type === 'tool-call-delta' && event.block === block ? event.text : ''))
    .join('')
}

function usage(events: readonly ChatEvent[]) {
  return events.flatMap((event) => (event.type === 'usage' ? [event.usage] : []))[0]
}

function thrown(act: () => unknown): GatewayError {
  try {
    act()
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
