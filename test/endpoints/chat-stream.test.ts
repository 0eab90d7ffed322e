import OpenAI from 'openai'
import type { ChatCompletionChunk } from 'openai/resources/chat/completions'
import { describe, expect, it } from 'vitest'
import { NO_USAGE } from '#protocol'
import type { ChatEvent, ChatRequest } from '#protocol'
import { END_MARKER, HEARTBEAT, chatWriter } from '../../src/endpoints/chat-stream.ts'

const CONTEXT = { id: 'chatcmpl-1', created: 1_700_000_000, model: 'asked' }
const START: ChatEvent = { type: 'start', id: 'up-1', model: 'served' }
const END: ChatEvent = { type: 'end' }
const USAGE: ChatEvent = { type: 'usage', usage: { ...NO_USAGE, input: 2, output: 1 } }

const TEXT: readonly ChatEvent[] = [
  START,
  { type: 'text-start', choice: 0, block: 0 },
  { type: 'text-delta', block: 0, text: 'Hé "' },
  { type: 'text-delta', block: 0, text: '\n' },
  { type: 'block-end', block: 0 },
  { type: 'finish', choice: 0, reason: 'stop' },
  USAGE,
  END,
]

const PARALLEL: readonly ChatEvent[] = [
  START,
  { type: 'tool-call-start', choice: 0, block: 0, callId: 'a', name: 'f' },
  { type: 'tool-call-start', choice: 0, block: 1, callId: 'b', name: 'g' },
  { type: 'tool-call-delta', block: 1, text: '{"x"' },
  { type: 'tool-call-delta', block: 0, text: '{}' },
  { type: 'tool-call-delta', block: 1, text: ':1}' },
  { type: 'block-end', block: 0 },
  { type: 'block-end', block: 1 },
  { type: 'finish', choice: 0, reason: 'tool-calls', rawReason: 'tool_use' },
  END,
]

describe('chatWriter', () => {
  it('writes chunks of exactly this form', () => {
    expect(chatWriter({ includeUsage: true }, CONTEXT).write(TEXT.slice(0, 3))).toBe(
      'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,' +
        '"model":"served","choices":[{"index":0,"delta":' +
        '{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],' +
        '"usage":null}\n\n' +
        'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,' +
        '"model":"served","choices":[{"index":0,"delta":' +
        '{"content":"Hé \\""},"logprobs":null,"finish_reason":null}],"usage":null}\n\n',
    )
  })

  it('writes the role, the text, an empty delta with the reason, and the end', () => {
    expect(deltas(TEXT)).toEqual([
      { role: 'assistant', content: '', refusal: null },
      { content: 'Hé "' },
      { content: '\n' },
      {},
    ])
    const out = write(TEXT)
    expect(out.endsWith(END_MARKER)).toBe(true)
    expect(chunks(out).map(({ choices }) => choices[0]?.finish_reason)).toEqual([
      null,
      null,
      null,
      'stop',
    ])
  })

  it('says nothing of usage unless asked', () => {
    expect(write(TEXT)).not.toContain('usage')
  })

  it('writes usage alone and last when asked, and null before', () => {
    const all = chunks(write(TEXT, { includeUsage: true }))
    expect(all.slice(0, -1).every(({ usage }) => usage === null)).toBe(true)
    expect(all.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 2, completion_tokens: 1, total_tokens: 3 },
    })
  })

  it('writes a head for each parallel call, then only its index and arguments', () => {
    expect(deltas(PARALLEL)).toEqual([
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' } },
        ],
        refusal: null,
      },
      {
        tool_calls: [
          { index: 1, id: 'b', type: 'function', function: { name: 'g', arguments: '' } },
        ],
      },
      { tool_calls: [{ index: 1, function: { arguments: '{"x"' } }] },
      { tool_calls: [{ index: 0, function: { arguments: '{}' } }] },
      { tool_calls: [{ index: 1, function: { arguments: ':1}' } }] },
      {},
    ])
  })

  it.each<readonly [string, readonly ChatEvent[], readonly object[]]>([
    [
      'a call without arguments',
      [call({}), { type: 'block-end', block: 0 }],
      [head({}), { tool_calls: [{ index: 0, function: { arguments: '{}' } }] }],
    ],
    [
      'a signature in the head of a call that came whole',
      [call({}), args('{}'), { type: 'block-end', block: 0, signature: 'S' }],
      [
        head({ extra_content: { google: { thought_signature: 'S' } } }),
        { tool_calls: [{ index: 0, function: { arguments: '{}' } }] },
      ],
    ],
    [
      'a custom call',
      [call({ custom: true }), args('select'), { type: 'block-end', block: 0 }],
      [
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ index: 0, id: 'a', type: 'custom', custom: { name: 'f', input: '' } }],
          refusal: null,
        },
        { tool_calls: [{ index: 0, custom: { input: 'select' } }] },
      ],
    ],
    [
      'a refusal',
      [
        { type: 'refusal-start', choice: 0, block: 0 },
        { type: 'refusal-delta', block: 0, text: 'No.' },
      ],
      [{ role: 'assistant', content: null, refusal: '' }, { refusal: 'No.' }],
    ],
    [
      'reasoning, whole once more beside its signature',
      [
        { type: 'reasoning-start', choice: 0, block: 0 },
        { type: 'reasoning-delta', block: 0, text: 'H' },
        { type: 'reasoning-delta', block: 0, text: 'm' },
        { type: 'block-end', block: 0, signature: 'S' },
      ],
      [
        { role: 'assistant', content: '', refusal: null },
        { reasoning_content: 'H' },
        { reasoning_content: 'm' },
        {
          reasoning_details: [{ type: 'reasoning.text', text: 'Hm', signature: 'S', index: 0 }],
        },
      ],
    ],
    [
      'sealed reasoning',
      [
        { type: 'reasoning-start', choice: 0, block: 0 },
        { type: 'block-end', block: 0, redacted: 'D' },
      ],
      [
        { role: 'assistant', content: '', refusal: null },
        { reasoning_details: [{ type: 'reasoning.encrypted', data: 'D', index: 0 }] },
      ],
    ],
    [
      'a citation, with offsets into the whole text',
      [
        { type: 'text-start', choice: 0, block: 0 },
        { type: 'text-delta', block: 0, text: 'One.' },
        { type: 'block-end', block: 0 },
        { type: 'text-start', choice: 0, block: 1 },
        // Anthropic says what a text rests on before it says the text.
        { type: 'citation', block: 1, citation: { url: 'https://a', title: 'A' } },
        { type: 'text-delta', block: 1, text: 'Two.' },
        { type: 'block-end', block: 1 },
      ],
      [
        { role: 'assistant', content: '', refusal: null },
        { content: 'One.' },
        { content: 'Two.' },
        {
          annotations: [
            {
              type: 'url_citation',
              url_citation: { start_index: 4, end_index: 8, url: 'https://a', title: 'A' },
            },
          ],
        },
      ],
    ],
    [
      'a picture',
      [{ type: 'media', choice: 0, block: 0, source: { type: 'url', url: 'https://a' } }],
      [
        { role: 'assistant', content: '', refusal: null },
        { images: [{ type: 'image_url', image_url: { url: 'https://a' }, index: 0 }] },
      ],
    ],
    [
      'a signature of a text',
      [
        { type: 'text-start', choice: 0, block: 0 },
        { type: 'block-end', block: 0, signature: 'S' },
      ],
      [
        { role: 'assistant', content: '', refusal: null },
        { extra_content: { google: { thought_signature: 'S' } } },
      ],
    ],
    [
      'an answer that says nothing',
      [{ type: 'finish', choice: 0, reason: 'length' }],
      [{ role: 'assistant', content: '', refusal: null }, {}],
    ],
  ])('writes %s', (_what, events, expected) => {
    expect(deltas([START, ...events])).toEqual(expected)
  })

  it('writes a late signature where the call can still be found', () => {
    const writer = chatWriter({ includeUsage: false }, CONTEXT)
    writer.write([START, call({}), args('{}')])
    const late = chunks(writer.write([{ type: 'block-end', block: 0, signature: 'S' }]))
    expect(late.map(({ choices }) => choices[0]?.delta)).toEqual([
      {
        tool_calls: [
          {
            index: 0,
            function: { arguments: '' },
            extra_content: { google: { thought_signature: 'S' } },
          },
        ],
      },
    ])
  })

  it('answers a caller of the older wire with a function call', () => {
    const out = write(
      [START, call({}), args('{}'), { type: 'finish', choice: 0, reason: 'tool-calls' }],
      { legacyFunctions: true },
    )
    expect(chunks(out).map(({ choices }) => choices[0])).toMatchObject([
      { delta: { role: 'assistant', function_call: { name: 'f', arguments: '' } } },
      { delta: { function_call: { arguments: '{}' } } },
      { delta: {}, finish_reason: 'function_call' },
    ])
    expect(out).not.toContain('tool_calls')
  })

  it('passes log probabilities and the provider’s own reason on', () => {
    const logprobs = { content: [], refusal: null }
    const out = chunks(
      write([
        START,
        { type: 'text-start', choice: 0, block: 0 },
        { type: 'text-delta', block: 0, text: '$&', logprobs },
        { type: 'finish', choice: 0, reason: 'error', rawReason: 'MALFORMED' },
      ]),
    )
    expect(out[1]?.choices[0]).toMatchObject({ delta: { content: '$&' }, logprobs })
    expect(out[2]?.choices[0]).toMatchObject({
      finish_reason: 'error',
      native_finish_reason: 'MALFORMED',
    })
  })

  it('keeps choices apart', () => {
    const out = chunks(
      write([
        START,
        { type: 'text-start', choice: 1, block: 5 },
        { type: 'text-start', choice: 0, block: 6 },
        { type: 'text-delta', block: 6, text: 'a' },
        { type: 'text-delta', block: 5, text: 'b' },
      ]),
    )
    expect(out.map(({ choices }) => [choices[0]?.index, choices[0]?.delta.content])).toEqual([
      [1, ''],
      [0, ''],
      [0, 'a'],
      [1, 'b'],
    ])
  })

  it('writes the same whether events come at once or one by one', () => {
    const writer = chatWriter({ includeUsage: true }, CONTEXT)
    const apart = [...TEXT].map((event) => writer.write([event])).join('')
    expect(apart).toBe(write(TEXT, { includeUsage: true }))
  })

  it('writes what OpenAI’s own client puts together again', async () => {
    const headers = { 'content-type': 'text/event-stream' }
    const client = new OpenAI({
      apiKey: 'k',
      fetch: () => Promise.resolve(new Response(HEARTBEAT + write(PARALLEL), { headers })),
    })
    const completion = await client.chat.completions
      .stream({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] })
      .finalChatCompletion()
    expect(completion.choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } },
          { id: 'b', type: 'function', function: { name: 'g', arguments: '{"x":1}' } },
        ],
      },
    })
  })
})

function call(rest: { readonly custom?: boolean }): ChatEvent {
  return { type: 'tool-call-start', choice: 0, block: 0, callId: 'a', name: 'f', ...rest }
}

function args(text: string): ChatEvent {
  return { type: 'tool-call-delta', block: 0, text }
}

function head(extra: object): object {
  return {
    role: 'assistant',
    content: null,
    tool_calls: [
      { index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' }, ...extra },
    ],
    refusal: null,
  }
}

function write(events: readonly ChatEvent[], request: Partial<ChatRequest> = {}): string {
  return chatWriter({ includeUsage: false, ...request }, CONTEXT).write(events)
}

function deltas(events: readonly ChatEvent[]): unknown[] {
  return chunks(write(events)).map(({ choices }) => choices[0]?.delta)
}

function chunks(out: string): ChatCompletionChunk[] {
  return out
    .split('\n\n')
    .filter((block) => block.startsWith('data: {'))
    .map((block): ChatCompletionChunk => JSON.parse(block.slice('data: '.length)))
}
