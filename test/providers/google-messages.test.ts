import { describe, expect, it } from 'vitest'
import type { AssistantPart, Message, ToolMessage, UserPart } from '#protocol'
import { encode, SIGNATURE, SKIP, user } from './google-fixtures.ts'

const system: Message = { role: 'system', content: [{ type: 'text', text: 'be brief' }] }
const png = { type: 'base64', data: 'iVBO', mediaType: 'image/png' } as const
const OLD = 'gemini-2.5-flash'

describe('messages to Gemini', () => {
  it('have the roles user and model, and the system in front', () => {
    const { body, changes } = encode({
      messages: [system, user('a'), assistant({ type: 'text', text: 'b' }), user('c')],
    })
    expect(body).toEqual({
      systemInstruction: { parts: [{ text: 'be brief' }] },
      contents: [
        { role: 'user', parts: [{ text: 'a' }] },
        { role: 'model', parts: [{ text: 'b' }] },
        { role: 'user', parts: [{ text: 'c' }] },
      ],
    })
    expect(changes).toEqual([])
  })

  it('tell of a system message moved to the front', () => {
    const { body, changed } = encode({ messages: [user('a'), { ...system, role: 'developer' }] })
    expect(body.systemInstruction.parts).toEqual([{ text: 'be brief' }])
    expect(changed).toEqual(['adapted messages[1]'])
  })

  it.each([
    ['no other message', [system], undefined, [{ role: 'user', parts: [{ text: 'be brief' }] }]],
    [
      'Gemma, which takes none',
      [system, user('a')],
      'gemma-3-27b-it',
      [
        { role: 'user', parts: [{ text: 'be brief' }] },
        { role: 'user', parts: [{ text: 'a' }] },
      ],
    ],
  ])('send the system as a user message with %s', (_, messages, model, contents) => {
    const { body, changed } = encode({ messages }, model)
    expect(body).toEqual({ contents })
    expect(changed).toEqual(['adapted messages'])
  })

  it('name what has no place', () => {
    const { changed } = encode({
      messages: [
        { ...user('a'), name: 'ann' },
        assistant({ type: 'refusal', text: 'no' }, { type: 'reasoning', text: '', redacted: 'x' }),
        { role: 'user', content: [{ type: 'text', text: 'b', cache: { ttl: '1h' } }] },
      ],
    })
    expect(changed).toEqual([
      'lossy messages[0].name',
      'adapted messages[1].content[0]',
      'lossy messages[1].content[1]',
      'adapted messages[2].content[0].cache_control',
    ])
  })
})

describe('media to Gemini', () => {
  it.each<[string, UserPart, object, string[]]>([
    [
      'an image',
      { type: 'image', source: png, detail: 'auto' },
      { inlineData: { mimeType: 'image/png', data: 'iVBO' } },
      [],
    ],
    [
      'an image with detail',
      { type: 'image', source: png, detail: 'low' },
      { inlineData: { mimeType: 'image/png', data: 'iVBO' } },
      ['lossy messages[0].content[0].image_url.detail'],
    ],
    [
      'a PDF',
      { type: 'file', source: { ...png, mediaType: 'application/pdf' }, filename: 'a.pdf' },
      { inlineData: { mimeType: 'application/pdf', data: 'iVBO' } },
      ['lossy messages[0].content[0].file.filename'],
    ],
    [
      'a file of no known type',
      {
        type: 'file',
        source: { ...png, mediaType: 'application/octet-stream' },
        filename: 'A.PDF',
      },
      { inlineData: { mimeType: 'application/pdf', data: 'iVBO' } },
      ['lossy messages[0].content[0].file.filename'],
    ],
    [
      'sound',
      { type: 'audio', data: 'UklG', format: 'mp3' },
      { inlineData: { mimeType: 'audio/mp3', data: 'UklG' } },
      [],
    ],
    [
      'a file of the Files API',
      { type: 'file', source: { type: 'id', id: 'files/abc-1' } },
      { fileData: { fileUri: 'https://google.test/v1beta/files/abc-1' } },
      [],
    ],
    [
      'its full address',
      {
        type: 'image',
        source: { type: 'url', url: 'https://generativelanguage.googleapis.com/v1beta/files/abc' },
      },
      { fileData: { fileUri: 'https://generativelanguage.googleapis.com/v1beta/files/abc' } },
      [],
    ],
    [
      'a YouTube video',
      { type: 'file', source: { type: 'url', url: 'https://youtu.be/x' } },
      { fileData: { fileUri: 'https://youtu.be/x' } },
      [],
    ],
    [
      'an object of Cloud Storage',
      { type: 'file', source: { type: 'url', url: 'gs://b/x.png' } },
      { fileData: { fileUri: 'gs://b/x.png' } },
      [],
    ],
  ])('carry %s', (_, part, sent, changed) => {
    const encoded = encode({ messages: [{ role: 'user', content: [part] }] })
    expect(encoded.body.contents[0].parts).toEqual([sent])
    expect(encoded.changed).toEqual(changed)
  })

  it.each<[string, UserPart]>([
    [
      'a URL that Google does not fetch',
      { type: 'image', source: { type: 'url', url: 'https://a.test/x.png' } },
    ],
    [
      'a URL that only looks like Google’s',
      { type: 'image', source: { type: 'url', url: 'https://evil.test/https://youtu.be/' } },
    ],
    ['another provider’s file', { type: 'file', source: { type: 'id', id: 'file-abc' } }],
  ])('refuse %s', (_, part) => {
    expect(() => encode({ messages: [{ role: 'user', content: [part] }] })).toThrow(
      expect.objectContaining({ code: 'unsupported_feature', param: 'messages[0].content[0]' }),
    )
  })
})

describe('tool calls and results to Gemini', () => {
  it('are paired by id, with the name out of the history, in the order of the calls', () => {
    const { body } = encode({
      messages: [
        user('a'),
        assistant(call('1', 'add', '{"a":2}'), call('2', 'mul')),
        result('2', 'six'),
        result('1', 'five'),
      ],
    })
    expect(body.contents.slice(1)).toEqual([
      {
        role: 'model',
        parts: [
          { functionCall: { id: '1', name: 'add', args: { a: 2 } }, thoughtSignature: SKIP },
          { functionCall: { id: '2', name: 'mul', args: {} } },
        ],
      },
      {
        role: 'user',
        parts: [
          { functionResponse: { id: '1', name: 'add', response: { output: 'five' } } },
          { functionResponse: { id: '2', name: 'mul', response: { output: 'six' } } },
        ],
      },
    ])
  })

  it('take the name from the latest call where ids are used again', () => {
    const { body } = encode({
      messages: [
        user('a'),
        assistant(call('1', 'add')),
        result('1', 'x'),
        assistant(call('1', 'mul')),
        result('1', 'y'),
      ],
    })
    expect(body.contents[4].parts[0].functionResponse.name).toBe('mul')
  })

  // A `$ref` within a response object would be read as a reference to its parts.
  it.each([['plain text'], ['{"$ref":"#/x"}'], ['[1,2]'], ['']])('wrap the result %s', (text) => {
    const { body } = encode({ messages: [user('a'), assistant(call('1')), result('1', text)] })
    expect(body.contents[2].parts[0].functionResponse.response).toEqual({ output: text })
  })

  it('say that a tool failed', () => {
    const failed: ToolMessage = { ...result('1', 'boom'), isError: true }
    const { body } = encode({ messages: [user('a'), assistant(call('1')), failed] })
    expect(body.contents[2].parts[0].functionResponse.response).toEqual({ error: 'boom' })
  })

  it('refuse a result of no call', () => {
    expect(() => encode({ messages: [user('a'), assistant(call('1')), result('2', 'x')] })).toThrow(
      expect.objectContaining({ code: 'invalid_value', param: 'messages[2].tool_call_id' }),
    )
  })

  it.each([
    ['', {}, []],
    ['{"a":1}', { a: 1 }, []],
    ['{"a":', { input: '{"a":' }, ['adapted messages[1].content[0].function.arguments']],
    ['[1]', { input: '[1]' }, ['adapted messages[1].content[0].function.arguments']],
  ])('send the arguments %s as an object', (text, args, changed) => {
    const signed = { ...call('1', 'add', text), signature: SIGNATURE }
    const encoded = encode({ messages: [user('a'), assistant(signed)] })
    expect(encoded.body.contents[1].parts[0].functionCall.args).toEqual(args)
    expect(encoded.changed).toEqual(changed)
  })

  const pictured: ToolMessage = {
    role: 'tool',
    callId: '1',
    content: [
      { type: 'text', text: 'see' },
      { type: 'image', source: png },
    ],
  }
  const inlineData = { mimeType: 'image/png', data: 'iVBO' }

  it('hold media themselves from Gemini 3 on', () => {
    const { body, changes } = encode({
      messages: [user('a'), assistant({ ...call('1', 'look'), signature: SIGNATURE }), pictured],
    })
    expect(body.contents.slice(2)).toEqual([
      {
        role: 'user',
        parts: [
          {
            functionResponse: {
              id: '1',
              name: 'look',
              response: { output: 'see' },
              parts: [{ inlineData }],
            },
          },
        ],
      },
    ])
    expect(changes).toEqual([])
  })

  it('have media beside them before Gemini 3', () => {
    const { body, changed } = encode(
      { messages: [user('a'), assistant(call('1', 'look')), pictured] },
      OLD,
    )
    expect(body.contents.slice(2)).toEqual([
      {
        role: 'user',
        parts: [{ functionResponse: { id: '1', name: 'look', response: { output: 'see' } } }],
      },
      { role: 'user', parts: [{ inlineData }] },
    ])
    expect(changed).toEqual(['adapted messages[2].content[1]'])
  })

  it('have sound beside them always', () => {
    const heard: ToolMessage = {
      role: 'tool',
      callId: '1',
      content: [{ type: 'audio', data: 'UklG', format: 'wav' }],
    }
    const { body } = encode({ messages: [user('a'), assistant(call('1')), heard] })
    expect(body.contents[3]).toEqual({
      role: 'user',
      parts: [{ inlineData: { mimeType: 'audio/wav', data: 'UklG' } }],
    })
  })
})

describe('thought signatures to Gemini', () => {
  it('go back on the very parts they came with', () => {
    const { body } = encode({
      messages: [
        user('a'),
        assistant({ ...call('1'), signature: SIGNATURE }, call('2')),
        result('1', 'x'),
        result('2', 'y'),
        assistant({ type: 'text', text: 'done' }, { type: 'text', text: '', signature: 'c2ln' }),
        user('more'),
      ],
    })
    expect(
      body.contents[1].parts.map((part: { thoughtSignature?: string }) => part.thoughtSignature),
    ).toEqual([SIGNATURE, undefined])
    expect(body.contents[3].parts).toEqual([
      { text: 'done' },
      { text: '', thoughtSignature: 'c2ln' },
    ])
  })

  it('are made up for each first unsigned call of the current turn only, which is said', () => {
    const { body, changed } = encode({
      messages: [
        user('a'),
        assistant(call('1')),
        result('1', 'x'),
        user('b'),
        assistant(call('2'), call('3')),
        result('2', 'x'),
        result('3', 'x'),
        assistant(call('4')),
        result('4', 'x'),
      ],
    })
    expect(signatures(body)).toEqual([undefined, SKIP, undefined, SKIP])
    expect(changed).toEqual(['adapted messages[4].content[0]', 'adapted messages[7].content[0]'])
  })

  it('are not made up for models that do not check them', () => {
    const { body } = encode({ messages: [user('a'), assistant(call('1')), result('1', 'x')] }, OLD)
    expect(signatures(body)).toEqual([undefined])
  })

  it('of another provider’s reasoning stay behind', () => {
    const { body } = encode({
      messages: [
        user('a'),
        assistant(
          { type: 'reasoning', text: 'hm', signature: 'anthropic' },
          { type: 'text', text: 'b' },
        ),
      ],
    })
    expect(body.contents[1].parts).toEqual([{ text: 'hm', thought: true }, { text: 'b' }])
  })

  it('leave out what is empty and unsigned', () => {
    const { body } = encode({
      messages: [user('a'), assistant({ type: 'text', text: '' }), user('b')],
    })
    expect(body.contents).toHaveLength(2)
  })
})

function assistant(...content: AssistantPart[]): Message {
  return { role: 'assistant', content }
}

function call(id: string, name = 'tool', args = '') {
  return { type: 'tool-call', id, name, arguments: args } as const
}

function result(callId: string, text: string): ToolMessage {
  return { role: 'tool', callId, content: [{ type: 'text', text }] }
}

function signatures(body: {
  contents: { parts: { functionCall?: object; thoughtSignature?: string }[] }[]
}) {
  return body.contents
    .flatMap(({ parts }) => parts)
    .filter((part) => part.functionCall !== undefined)
    .map((part) => part.thoughtSignature)
}
