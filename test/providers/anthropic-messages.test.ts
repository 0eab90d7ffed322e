import { describe, expect, it } from 'vitest'
import type { AssistantPart, ChatRequest, Message, UserPart } from '#protocol'
import { anthropic } from '../../providers/anthropic/index.ts'
import { PIXEL, body, changes, encode, refusal, result, user } from './anthropic-requests.ts'

const NOTHING_ASKED: ChatRequest = {
  model: 'm',
  messages: [],
  stream: false,
  includeUsage: false,
  providerOptions: {},
}

describe('instructions to Anthropic', () => {
  it('that open the conversation stand apart, each in a block', () => {
    const messages: Message[] = [
      { role: 'system', content: [{ type: 'text', text: 'Be brief' }] },
      { role: 'developer', content: [{ type: 'text', text: 'Be kind' }] },
      user('Hi'),
    ]
    expect(body({ messages })['system']).toEqual([
      { type: 'text', text: 'Be brief' },
      { type: 'text', text: 'Be kind' },
    ])
    expect(changes({ messages })).toEqual([])
  })

  it('that come later become user text in their place', () => {
    const messages: Message[] = [
      user('Hi'),
      assistant('Hello'),
      { role: 'system', content: [{ type: 'text', text: 'Now in French' }] },
      user('Go on'),
    ]
    expect(body({ messages }).messages.at(-1)?.content).toEqual([
      { type: 'text', text: '<system>\nNow in French\n</system>' },
      { type: 'text', text: 'Go on' },
    ])
    expect(changes({ messages })).toEqual(['adapted messages[2]'])
  })

  it('alone become the user message the API wants', () => {
    const messages: Message[] = [
      { role: 'system', content: [{ type: 'text', text: 'Tell a joke' }] },
    ]
    const written = body({ messages })
    expect(written.messages).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'Tell a joke' }] },
    ])
    expect(written).not.toHaveProperty('system')
    expect(changes({ messages })).toEqual(['adapted messages'])
  })
})

describe('the turns of an Anthropic conversation', () => {
  it('hold all results of a turn first, then what the user says next', () => {
    const messages: Message[] = [
      user('Compare'),
      {
        role: 'assistant',
        content: [{ type: 'text', text: '' }, call('a', '{"x":1}'), call('b', '')],
      },
      result('b', 'two'),
      user('And hurry'),
      result('a', 'one'),
    ]
    expect(body({ messages }).messages.slice(1)).toEqual([
      {
        role: 'assistant',
        content: [
          { type: 'tool_use', id: 'a', name: 'f', input: { x: 1 } },
          { type: 'tool_use', id: 'b', name: 'f', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'b', content: 'two' },
          { type: 'tool_result', tool_use_id: 'a', content: 'one' },
          { type: 'text', text: 'And hurry' },
        ],
      },
    ])
    expect(changes({ messages })).toEqual([])
  })

  it('merge messages of one role', () => {
    const messages = [user('a'), user('b'), assistant('c'), assistant('d'), user('e')]
    expect(body({ messages }).messages.map(({ role }) => role)).toEqual([
      'user',
      'assistant',
      'user',
    ])
  })

  it('leave out what holds no text', () => {
    const messages = [user('a'), assistant(''), user(''), user('b')]
    expect(body({ messages }).messages).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
    ])
    expect(changes({ messages })).toEqual(['adapted messages[2]'])
  })

  it('say so when they leave out blanks', () => {
    const content: UserPart[] = [
      { type: 'text', text: '\n ' },
      { type: 'text', text: 'a' },
    ]
    expect(changes({ messages: [{ role: 'user', content }] })).toEqual([
      'adapted messages[0].content[0]',
    ])
  })

  it.each([[[]], [[user('  ')]], [[assistant('')]]])('are not to be empty', (messages) => {
    expect(refusal({ messages })).toMatchObject({ code: 'invalid_value', param: 'messages' })
  })

  it('may end with the assistant where the model goes on from there', () => {
    const messages = [user('Count'), assistant('One, two, \n')]
    const model = 'claude-haiku-4-5'
    expect(body({ messages }, { model }).messages.at(-1)).toEqual({
      role: 'assistant',
      content: [{ type: 'text', text: 'One, two,' }],
    })
    expect(changes({ messages }, { model })).toEqual(['adapted messages'])
  })

  it.each(['claude-sonnet-4-6', 'claude-opus-5', 'claude-fable-5-1'])(
    'end with the user for %s, which wants that',
    (model) => {
      const messages = [user('Count'), assistant('One')]
      expect(body({ messages }, { model }).messages.at(-1)?.role).toBe('user')
      expect(changes({ messages }, { model })).toEqual(['adapted messages'])
    },
  )

  it('name the speaker as lost', () => {
    expect(changes({ messages: [{ ...user('x'), name: 'ada' }] })).toEqual([
      'lossy messages[0].name',
    ])
  })
})

describe('tool calls in an Anthropic conversation', () => {
  it.each([['{"a":'], ['[1]'], ['"x"'], ['null']])(
    'wrap arguments of %s, which are no object',
    (text) => {
      const messages: Message[] = [
        user('x'),
        { role: 'assistant', content: [call('a', text)] },
        result('a', '1'),
      ]
      expect(body({ messages }).messages[1]?.content[0]).toMatchObject({
        input: { arguments: text },
      })
      expect(changes({ messages })).toEqual([
        'adapted messages[1].tool_calls[0].function.arguments',
      ])
    },
  )

  it('have ids the API takes, the same in call and result', () => {
    const messages: Message[] = [
      user('x'),
      {
        role: 'assistant',
        content: [call('functions.get:0', '{}'), call('functions_get_0', '{}'), call('', '{}')],
      },
      result('functions.get:0', '1'),
      result('functions_get_0', '2'),
      result('', '3'),
    ]
    const [, calls, results] = body({ messages }).messages
    expect(calls?.content.map(({ id }) => id)).toEqual([
      'functions_get_0',
      'functions_get_0_2',
      'call',
    ])
    expect(results?.content.map(({ tool_use_id: id, content }) => [id, content])).toEqual([
      ['functions_get_0', '1'],
      ['functions_get_0_2', '2'],
      ['call', '3'],
    ])
    expect(changes({ messages })).toEqual(
      [0, 1, 2].map((n) => `adapted messages[1].tool_calls[${n}].id`),
    )
  })

  it('have ids of their own where two turns use the same one', () => {
    const turn: Message[] = [
      { role: 'assistant', content: [call('get', '{}')] },
      result('get', '1'),
    ]
    const [, , , calls, results] = body({
      messages: [user('x'), ...turn, user('y'), assistant('z'), user('w'), ...turn],
    }).messages
    expect([calls?.role, results?.role]).toEqual(['assistant', 'user'])
    const written = body({ messages: [user('x'), ...turn, ...turn] }).messages
    expect(written[3]?.content[0]).toMatchObject({ id: 'get_2' })
    expect(written[4]?.content[0]).toMatchObject({ tool_use_id: 'get_2' })
  })

  it('cost no more each when all of them have the same id', () => {
    const calls = Array.from({ length: 20_000 }, () => call('', '{}'))
    const results = calls.map(() => result('', '1'))
    const messages: Message[] = [user('x'), { role: 'assistant', content: calls }, ...results]
    const started = performance.now()
    expect(body({ messages }).messages[2]?.content).toHaveLength(20_000)
    // Half a second, where every id tried all numbers before it: half a minute.
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  it('keep the ids of other providers', () => {
    const messages: Message[] = [
      user('x'),
      { role: 'assistant', content: [call('call_Ab-9', '{}')] },
      result('call_Ab-9', '1'),
    ]
    expect(changes({ messages })).toEqual([])
  })

  it('are refused without their result, by name', () => {
    const messages: Message[] = [
      user('x'),
      { role: 'assistant', content: [call('a', '{}'), call('b', '{}')] },
      result('a', '1'),
      assistant('y'),
    ]
    expect(refusal({ messages })).toMatchObject({
      code: 'invalid_value',
      param: 'messages[1].tool_calls[1]',
    })
  })

  it.each([
    ['no call', [user('x'), result('a', '1')]],
    [
      'another call',
      [user('x'), { role: 'assistant', content: [call('b', '{}')] }, result('a', '1')],
    ],
  ] as [string, Message[]][])('are missed by a result that answers %s', (_, messages) => {
    expect(refusal({ messages })).toMatchObject({
      code: 'invalid_value',
      param: `messages[${messages.length - 1}].tool_call_id`,
    })
  })

  it('may fail, return nothing, or return images and files', () => {
    const messages: Message[] = [
      user('x'),
      { role: 'assistant', content: [call('a', '{}'), call('b', '{}'), call('c', '{}')] },
      { ...result('a', 'boom'), isError: true },
      { role: 'tool', callId: 'b', content: [{ type: 'text', text: '' }] },
      {
        role: 'tool',
        callId: 'c',
        content: [
          { type: 'text', text: 'see' },
          { type: 'image', source: PIXEL },
        ],
      },
    ]
    expect(body({ messages }).messages[2]?.content).toEqual([
      { type: 'tool_result', tool_use_id: 'a', content: 'boom', is_error: true },
      { type: 'tool_result', tool_use_id: 'b' },
      {
        type: 'tool_result',
        tool_use_id: 'c',
        content: [
          { type: 'text', text: 'see' },
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PIXEL.data } },
        ],
      },
    ])
  })

  it('of a custom tool hold its text', () => {
    const messages: Message[] = [
      user('x'),
      { role: 'assistant', content: [{ ...call('a', 'ls {'), custom: true }] },
      result('a', '1'),
    ]
    expect(body({ messages }).messages[1]?.content[0]).toMatchObject({ input: { input: 'ls {' } })
  })
})

describe('what an assistant said, sent back to Anthropic', () => {
  it('has its thinking byte for byte, before the calls', () => {
    const content: AssistantPart[] = [
      { type: 'reasoning', text: ' Hm\u00a0m ', signature: 'Eq+/==' },
      { type: 'reasoning', text: '', signature: 'Ep' },
      { type: 'reasoning', text: '', redacted: 'c2VhbGVk' },
      { type: 'text', text: 'Looking' },
      call('a', '{}'),
    ]
    const messages: Message[] = [user('x'), { role: 'assistant', content }, result('a', '1')]
    expect(body({ messages }).messages[1]?.content).toEqual([
      { type: 'thinking', thinking: ' Hm\u00a0m ', signature: 'Eq+/==' },
      { type: 'thinking', thinking: '', signature: 'Ep' },
      { type: 'redacted_thinking', data: 'c2VhbGVk' },
      { type: 'text', text: 'Looking' },
      { type: 'tool_use', id: 'a', name: 'f', input: {} },
    ])
  })

  it('is what it sent, block for block', () => {
    const blocks = [
      { type: 'thinking', thinking: 'Two of them', signature: 'Eq+/==' },
      { type: 'redacted_thinking', data: 'c2VhbGVk' },
      { type: 'text', text: 'Both then.' },
      { type: 'tool_use', id: 'toolu_1', name: 'f', input: { a: [1, { b: null }] } },
      { type: 'tool_use', id: 'toolu_2', name: 'f', input: {} },
    ]
    const answer = anthropic.chat.decode({ content: blocks }, NOTHING_ASKED)
    const messages: Message[] = [
      user('x'),
      { role: 'assistant', content: answer.choices[0]?.content ?? [] },
      result('toolu_1', '1'),
      result('toolu_2', '2'),
    ]
    expect(body({ messages }).messages[1]?.content).toEqual(blocks)
    expect(changes({ messages })).toEqual([])
  })

  it.each<[string, AssistantPart[], unknown[], string[]]>([
    [
      'loses thinking nobody signed',
      [
        { type: 'reasoning', text: 'hm' },
        { type: 'text', text: 'a' },
      ],
      [{ type: 'text', text: 'a' }],
      ['adapted messages[1].content[0]'],
    ],
    [
      'loses thinking that led to nothing',
      [
        { type: 'text', text: 'a' },
        { type: 'reasoning', text: 'hm', signature: 's' },
      ],
      [{ type: 'text', text: 'a' }],
      ['adapted messages'],
    ],
    [
      'has a refusal as text',
      [{ type: 'refusal', text: 'No' }],
      [{ type: 'text', text: 'No' }],
      [],
    ],
    [
      'loses images it made',
      [
        { type: 'text', text: 'a' },
        { type: 'media', source: PIXEL },
      ],
      [{ type: 'text', text: 'a' }],
      ['lossy messages[1].content[1]'],
    ],
  ])('%s', (_, content, written, noted) => {
    const messages: Message[] = [user('x'), { role: 'assistant', content }, user('y')]
    expect(body({ messages }).messages[1]?.content).toEqual(written)
    expect(changes({ messages })).toEqual(noted)
  })
})

describe('images and files for Anthropic', () => {
  it.each<[string, UserPart, unknown, string[]]>([
    [
      'an image in bytes',
      { type: 'image', source: PIXEL },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'iVBORw0=' } },
      [],
    ],
    [
      'an image by address',
      { type: 'image', source: { type: 'url', url: 'https://a.example/b.png' }, detail: 'auto' },
      { type: 'image', source: { type: 'url', url: 'https://a.example/b.png' } },
      [],
    ],
    [
      'an image to look at closely',
      { type: 'image', source: { type: 'url', url: 'https://a.example/b' }, detail: 'high' },
      { type: 'image', source: { type: 'url', url: 'https://a.example/b' } },
      ['lossy messages[0].content[0].detail'],
    ],
    [
      'a JPEG by its wrong name',
      { type: 'image', source: { ...PIXEL, mediaType: 'image/jpg' } },
      { type: 'image', source: { type: 'base64', media_type: 'image/jpeg', data: 'iVBORw0=' } },
      [],
    ],
    [
      'a PDF in bytes',
      {
        type: 'file',
        filename: 'a.pdf',
        source: { type: 'base64', data: 'JVBE', mediaType: 'application/pdf' },
      },
      {
        type: 'document',
        title: 'a.pdf',
        source: { type: 'base64', media_type: 'application/pdf', data: 'JVBE' },
      },
      [],
    ],
    [
      'a PDF by address',
      { type: 'file', source: { type: 'url', url: 'https://a.example/b.pdf' } },
      { type: 'document', source: { type: 'url', url: 'https://a.example/b.pdf' } },
      [],
    ],
    [
      'a text file, as text',
      {
        type: 'file',
        source: { type: 'base64', data: 'aMOpIQ==', mediaType: 'text/plain; charset=utf-8' },
      },
      { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'hé!' } },
      [],
    ],
    [
      'a CSV, as plain text',
      { type: 'file', source: { type: 'base64', data: 'YSxi', mediaType: 'text/csv' } },
      { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'a,b' } },
      ['adapted messages[0].content[0]'],
    ],
    [
      'an image sent as a file',
      { type: 'file', source: PIXEL },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'iVBORw0=' } },
      [],
    ],
  ])('%s', (_, part, written, noted) => {
    const messages: Message[] = [{ role: 'user', content: [part] }]
    expect(body({ messages }).messages[0]?.content).toEqual([written])
    expect(changes({ messages })).toEqual(noted)
  })

  it('by id ask for the files API', () => {
    const content: UserPart[] = [
      { type: 'image', source: { type: 'id', id: 'file_1' } },
      { type: 'file', source: { type: 'id', id: 'file_2' } },
    ]
    const { request } = encode({ messages: [{ role: 'user', content }] })
    expect(JSON.parse(String(request.body)).messages[0].content).toEqual([
      { type: 'image', source: { type: 'file', file_id: 'file_1' } },
      { type: 'document', source: { type: 'file', file_id: 'file_2' } },
    ])
    expect(request.headers['anthropic-beta']).toBe('files-api-2025-04-14')
  })

  it.each<[string, UserPart]>([
    ['sound', { type: 'audio', data: 'AAAA', format: 'wav' }],
    ['a TIFF', { type: 'image', source: { ...PIXEL, mediaType: 'image/tiff' } }],
    [
      'a zip',
      { type: 'file', source: { type: 'base64', data: 'UEs=', mediaType: 'application/zip' } },
    ],
  ])('are refused when they are %s, by name', (_, part) => {
    const messages: Message[] = [{ role: 'user', content: [{ type: 'text', text: 'x' }, part] }]
    expect(refusal({ messages })).toMatchObject({
      code: 'unsupported_feature',
      param: 'messages[0].content[1]',
    })
  })
})

function assistant(text: string): Message {
  return { role: 'assistant', content: [{ type: 'text', text }] }
}

function call(id: string, text: string) {
  return { type: 'tool-call' as const, id, name: 'f', arguments: text }
}
