import { describe, expect, it } from 'vitest'
import type { JsonObject, Message } from '#protocol'
import { readChat } from '../../src/endpoints/chat-request.ts'

const PNG = 'iVBORw0KGgo='

describe('a user message', () => {
  it.each<readonly [string, object, object]>([
    ['text', { type: 'text', text: 'Hi' }, { type: 'text', text: 'Hi' }],
    [
      'a marked text',
      { type: 'text', text: 'Hi', cache_control: { type: 'ephemeral', ttl: '5m' } },
      { type: 'text', text: 'Hi', cache: { ttl: '5m' } },
    ],
    [
      "a text marked in OpenAI's way",
      { type: 'text', text: 'Hi', prompt_cache_breakpoint: { mode: 'explicit' } },
      { type: 'text', text: 'Hi', cache: {} },
    ],
    [
      'an image by address',
      { type: 'image_url', image_url: { url: 'https://a/b.png', detail: 'low' } },
      { type: 'image', source: { type: 'url', url: 'https://a/b.png' }, detail: 'low' },
    ],
    [
      'an image by bytes',
      { type: 'image_url', image_url: { url: `data:image/PNG;base64,${PNG}` } },
      { type: 'image', source: { type: 'base64', mediaType: 'image/png', data: PNG } },
    ],
    [
      'an image as a bare string',
      { type: 'image_url', image_url: 'gs://bucket/a.png' },
      { type: 'image', source: { type: 'url', url: 'gs://bucket/a.png' } },
    ],
    [
      'audio',
      { type: 'input_audio', input_audio: { data: 'AAAA', format: 'mp3' } },
      { type: 'audio', data: 'AAAA', format: 'mp3' },
    ],
    [
      'audio in a data: URL',
      { type: 'input_audio', input_audio: { data: 'data:audio/wav;base64,AAAA', format: 'wav' } },
      { type: 'audio', data: 'AAAA', format: 'wav' },
    ],
    [
      'a file by bytes',
      {
        type: 'file',
        file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,AAAA' },
      },
      {
        type: 'file',
        source: { type: 'base64', mediaType: 'application/pdf', data: 'AAAA' },
        filename: 'a.pdf',
      },
    ],
    [
      'a file by id',
      { type: 'file', file: { file_id: 'file-1' } },
      { type: 'file', source: { type: 'id', id: 'file-1' } },
    ],
    [
      'a file by address in its id',
      { type: 'file', file: { file_id: 'https://a/b.pdf' } },
      { type: 'file', source: { type: 'url', url: 'https://a/b.pdf' } },
    ],
  ])('may hold %s', (_what, part, expected) => {
    expect(message({ role: 'user', content: [part] }).content).toEqual([expected])
  })

  it('passes its own cache marker to its last part', () => {
    const cache_control = { type: 'ephemeral' }
    expect(message({ role: 'user', content: 'Hi', cache_control }).content).toEqual([
      { type: 'text', text: 'Hi', cache: {} },
    ])
  })
})

describe('a tool message', () => {
  it('may hold text, parts, images and a mark of failure', () => {
    const content = [
      { type: 'text', text: 'no' },
      { type: 'image_url', image_url: { url: 'https://a' } },
    ]
    expect(message({ role: 'tool', tool_call_id: 'c1', content, is_error: true })).toEqual({
      role: 'tool',
      callId: 'c1',
      content: [
        { type: 'text', text: 'no' },
        { type: 'image', source: { type: 'url', url: 'https://a' } },
      ],
      isError: true,
    })
  })
})

const CALL = { id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }
const CALL_PART = { type: 'tool-call', id: 'c1', name: 'f', arguments: '{"a":1}' }

describe('an assistant message', () => {
  it.each<readonly [string, object, readonly object[]]>([
    ['text', { content: 'Hi' }, [{ type: 'text', text: 'Hi' }]],
    ['nothing', { content: null }, []],
    ['no text beside calls', { content: '', tool_calls: [CALL] }, [CALL_PART]],
    ['a refusal', { content: null, refusal: 'No.' }, [{ type: 'refusal', text: 'No.' }]],
    [
      'a refusal among its parts',
      { content: [{ type: 'refusal', refusal: 'No.' }] },
      [{ type: 'refusal', text: 'No.' }],
    ],
    [
      'a call without type or arguments',
      { tool_calls: [{ id: 'c1', function: { name: 'f' } }] },
      [{ ...CALL_PART, arguments: '' }],
    ],
    [
      'broken arguments, as they are',
      { tool_calls: [{ ...CALL, function: { name: 'f', arguments: '{"a"' } }] },
      [{ ...CALL_PART, arguments: '{"a"' }],
    ],
    [
      'a custom call',
      { tool_calls: [{ id: 'c2', type: 'custom', custom: { name: 'sql', input: 'select 1' } }] },
      [{ type: 'tool-call', id: 'c2', name: 'sql', arguments: 'select 1', custom: true }],
    ],
    [
      "a call with Google's signature",
      { tool_calls: [{ ...CALL, extra_content: { google: { thought_signature: 'S' } } }] },
      [{ ...CALL_PART, signature: 'S' }],
    ],
    [
      "a text with Google's signature",
      { content: 'Hi', extra_content: { google: { thought_signature: 'S' } } },
      [{ type: 'text', text: 'Hi', signature: 'S' }],
    ],
    [
      "Google's signature without a text",
      { content: null, extra_content: { google: { thought_signature: 'S' } } },
      [{ type: 'text', text: '', signature: 'S' }],
    ],
    [
      'reasoning_content',
      { content: 'Hi', reasoning_content: 'Hm' },
      [
        { type: 'reasoning', text: 'Hm' },
        { type: 'text', text: 'Hi' },
      ],
    ],
    ['reasoning', { content: '', reasoning: 'Hm' }, [{ type: 'reasoning', text: 'Hm' }]],
    [
      'reasoning details rather than plain reasoning',
      {
        content: 'Hi',
        reasoning: 'Hm',
        reasoning_details: [
          { type: 'reasoning.text', text: 'Hm', signature: 'S', index: 0 },
          { type: 'reasoning.encrypted', data: 'D', index: 1 },
          { type: 'reasoning.summary', summary: 'In short', index: 2 },
        ],
      },
      [
        { type: 'reasoning', text: 'Hm', signature: 'S' },
        { type: 'reasoning', text: '', redacted: 'D' },
        { type: 'reasoning', text: 'In short' },
        { type: 'text', text: 'Hi' },
      ],
    ],
    [
      'reasoning details in the pieces they were streamed in',
      {
        reasoning_details: [
          { type: 'reasoning.text', text: 'H', index: 0 },
          { type: 'reasoning.text', text: 'm', index: 0 },
          { type: 'reasoning.text', signature: 'S', index: 0 },
          { type: 'reasoning.text', text: 'Other', index: 1 },
        ],
      },
      [
        { type: 'reasoning', text: 'Hm', signature: 'S' },
        { type: 'reasoning', text: 'Other' },
      ],
    ],
    [
      "a call's signature among the reasoning details",
      {
        tool_calls: [CALL],
        reasoning_details: [
          { type: 'reasoning.encrypted', data: 'S', id: 'c1', format: 'google-gemini-v1' },
        ],
      },
      [{ ...CALL_PART, signature: 'S' }],
    ],
    [
      'thinking blocks',
      {
        thinking_blocks: [
          { type: 'thinking', thinking: 'Hm', signature: 'S' },
          { type: 'redacted_thinking', data: 'D' },
        ],
      },
      [
        { type: 'reasoning', text: 'Hm', signature: 'S' },
        { type: 'reasoning', text: '', redacted: 'D' },
      ],
    ],
    [
      "Mistral's thinking among its parts",
      {
        content: [
          { type: 'thinking', thinking: [{ type: 'text', text: 'Hm' }] },
          { type: 'text', text: 'Hi' },
        ],
      },
      [
        { type: 'reasoning', text: 'Hm' },
        { type: 'text', text: 'Hi' },
      ],
    ],
    [
      'pictures it made',
      { content: null, images: [{ type: 'image_url', image_url: { url: 'https://a' }, index: 0 }] },
      [{ type: 'media', source: { type: 'url', url: 'https://a' } }],
    ],
  ])('may hold %s', (_what, fields, expected) => {
    expect(message({ role: 'assistant', ...fields }).content).toEqual(expected)
  })

  it('may echo what an answer holds and no provider wants back', () => {
    const { providerOptions } = read({
      role: 'assistant',
      content: 'Hi',
      refusal: null,
      annotations: [],
      audio: null,
      function_call: null,
      tool_calls: null,
      parsed: {},
    })
    expect(providerOptions).toEqual({})
  })
})

function message(one: object): Message {
  const [, read1] = read(one).messages
  if (read1 === undefined) throw new Error('No message was read')
  return read1
}

function read(one: object): ReturnType<typeof readChat> {
  const body: JsonObject = JSON.parse(
    JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'Hi' }, one] }),
  )
  return readChat(body)
}
