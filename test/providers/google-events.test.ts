import { describe, expect, it } from 'vitest'
import { google } from '../../providers/google/index.ts'
import { answer, ask, body, piece, SIGNATURE, stream, TIME, WEATHER } from './google-fixtures.ts'

const tools = [WEATHER, TIME]
const end = answer([{ text: '' }])

describe('a stream of Gemini', () => {
  it('starts once, joins text, and ends with finish, usage and end', () => {
    const first = { usageMetadata: { promptTokenCount: 211, totalTokenCount: 211 } }
    const last = {
      usageMetadata: {
        promptTokenCount: 646,
        candidatesTokenCount: 4,
        totalTokenCount: 650,
        serviceTier: 'flex',
      },
    }
    const events = stream([
      piece([{ text: 'he' }], first),
      piece([{ text: 'llo' }], { usageMetadata: { trafficType: 'ON_DEMAND' } }),
      answer([{ text: '' }], {}, last),
    ])
    expect(events).toEqual([
      { type: 'start', id: 'wrB-afSL_NPC', model: 'gemini-3.1-pro-preview' },
      { type: 'text-start', choice: 0, block: 0 },
      { type: 'text-delta', block: 0, text: 'he' },
      { type: 'text-delta', block: 0, text: 'llo' },
      { type: 'block-end', block: 0 },
      { type: 'finish', choice: 0, reason: 'stop', rawReason: 'STOP' },
      {
        type: 'usage',
        usage: expect.objectContaining({ input: 646, output: 4, reportedTotal: 650 }),
        serviceTier: 'flex',
      },
      { type: 'end' },
    ])
  })

  it('gives each event as its frame comes', () => {
    const reader = google.chat!.reader(ask())
    const read = (data: object) => reader.read({ event: '', data: JSON.stringify(data) })
    expect(read(piece([{ text: 'a' }]))).toHaveLength(3)
    expect(read(piece([{ text: 'b' }]))).toEqual([{ type: 'text-delta', block: 0, text: 'b' }])
    expect(read(end)).toEqual([])
  })

  it('gives a whole call with its frame', () => {
    const frame = { event: '', data: JSON.stringify(piece([{ functionCall: { name: 'time' } }])) }
    expect(google.chat!.reader(ask()).read(frame).at(-1)).toEqual({ type: 'block-end', block: 0 })
  })

  it('knows no usage unless Google counts', () => {
    expect(stream([end]).some(({ type }) => type === 'usage')).toBe(false)
  })

  it('closes thoughts before text', () => {
    expect(body(stream([piece([{ text: 'hm', thought: true }]), answer([{ text: 'a' }])]))).toEqual(
      [
        { type: 'reasoning-start', choice: 0, block: 0 },
        { type: 'reasoning-delta', block: 0, text: 'hm' },
        { type: 'block-end', block: 0 },
        { type: 'text-start', choice: 0, block: 1 },
        { type: 'text-delta', block: 1, text: 'a' },
        { type: 'block-end', block: 1 },
      ],
    )
  })

  it('has parallel calls of several frames in blocks of their own', () => {
    const events = stream(
      [
        piece([
          {
            functionCall: { name: 'weather', args: { city: 'Rome' } },
            thoughtSignature: SIGNATURE,
          },
        ]),
        piece([{ functionCall: { name: 'weather', args: { city: 'Oslo' }, id: 'own' } }]),
        end,
      ],
      { tools },
    )
    expect(body(events)).toEqual([
      {
        type: 'tool-call-start',
        choice: 0,
        block: 0,
        callId: 'call_wrB-afSL_NPC_0',
        name: 'weather',
      },
      { type: 'tool-call-delta', block: 0, text: '{"city":"Rome"}' },
      { type: 'block-end', block: 0, signature: SIGNATURE },
      { type: 'tool-call-start', choice: 0, block: 1, callId: 'own', name: 'weather' },
      { type: 'tool-call-delta', block: 1, text: '{"city":"Oslo"}' },
      { type: 'block-end', block: 1 },
    ])
    expect(events).toContainEqual({
      type: 'finish',
      choice: 0,
      reason: 'tool-calls',
      rawReason: 'STOP',
    })
  })

  it('keeps the signature of an empty last part, after the citations of the text', () => {
    const groundingMetadata = {
      groundingChunks: [{ web: { uri: 'https://a.test' } }],
      groundingSupports: [{ segment: { endIndex: 5, text: 'hello' }, groundingChunkIndices: [0] }],
    }
    const events = stream([
      piece([{ text: 'hel' }]),
      piece([{ text: 'lo' }]),
      answer([{ text: '', thoughtSignature: SIGNATURE }], { groundingMetadata }),
    ])
    expect(body(events).slice(3)).toEqual([
      {
        type: 'citation',
        block: 0,
        citation: { url: 'https://a.test', quote: 'hello', start: 0, end: 5 },
      },
      { type: 'block-end', block: 0 },
      { type: 'text-start', choice: 0, block: 1 },
      { type: 'block-end', block: 1, signature: SIGNATURE },
    ])
  })

  it('counts sources through all frames', () => {
    const events = stream([
      answer([{ text: 'a' }], grounded('https://0.test', 0)),
      answer([{ text: 'b' }], grounded('https://1.test', 1)),
    ])
    expect(events.filter(({ type }) => type === 'citation')).toMatchObject([
      { citation: { url: 'https://0.test' } },
      { citation: { url: 'https://1.test' } },
    ])
  })

  it('interleaves candidates', () => {
    const events = stream([both('a', 'x'), both('b', 'y', 'STOP')], { n: 2 })
    expect(events.filter(({ type }) => type === 'text-delta')).toEqual([
      { type: 'text-delta', block: 0, text: 'a' },
      { type: 'text-delta', block: 1, text: 'x' },
      { type: 'text-delta', block: 0, text: 'b' },
      { type: 'text-delta', block: 1, text: 'y' },
    ])
    expect(events.filter(({ type }) => type === 'finish')).toMatchObject([
      { choice: 0 },
      { choice: 1 },
    ])
  })

  it.each([
    ['one JSON array', [JSON.stringify([piece([{ text: 'hello' }]), end])]],
    [
      'frames with blanks, fillers and [DONE]',
      [`${JSON.stringify(piece([{ text: 'hello' }]))}  `, ' ', end, '[DONE]'],
    ],
  ])('is read from %s', (_, frames) => {
    expect(stream(frames)).toContainEqual({ type: 'text-delta', block: 0, text: 'hello' })
  })

  it('of a blocked prompt is empty and filtered', () => {
    expect(stream([{ promptFeedback: { blockReason: 'SAFETY' }, responseId: 'x' }])).toEqual([
      { type: 'start', id: 'x', model: '' },
      { type: 'finish', choice: 0, reason: 'content-filter', rawReason: 'SAFETY' },
      { type: 'end' },
    ])
  })

  it.each([
    ['without a frame', []],
    ['without a finish reason', [piece([{ text: 'a' }])]],
    [
      'with an unspecified one',
      [answer([{ text: 'a' }], { finishReason: 'FINISH_REASON_UNSPECIFIED' })],
    ],
    ['with one candidate unfinished', [{ candidates: [{ finishReason: 'STOP' }, { index: 1 }] }]],
  ])('that ends %s is broken', (_, frames) => {
    expect(() => stream(frames)).toThrow(expect.objectContaining({ code: 'upstream_error' }))
  })

  it.each([
    ['{"a":', 'upstream_invalid'],
    ['7', 'upstream_invalid'],
    ['{"error":{"code":503,"status":"UNAVAILABLE","message":"x"}}', 'upstream_error'],
    [
      '[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"x"}}]',
      'upstream_rate_limited',
    ],
  ])('with the frame %s fails as %s', (frame, code) => {
    expect(() => stream([piece([{ text: 'a' }]), frame])).toThrow(expect.objectContaining({ code }))
  })

  it('says whether asking again may help after an error', () => {
    const bad = { error: { code: 400, status: 'INVALID_ARGUMENT', message: 'x' } }
    expect(() => stream([bad])).toThrow(expect.objectContaining({ retryable: false }))
  })
})

describe('streamed arguments of Gemini', () => {
  const close = piece([{ functionCall: {} }])
  it('grow by path, string by string', () => {
    expect(
      streamed(
        more([{ jsonPath: '$.items[0].name', stringValue: 'ap', willContinue: true }]),
        more([{ jsonPath: '$.items[0].name', stringValue: 'ple' }]),
        more([{ jsonPath: '$.items[0].price', numberValue: 0.5 }]),
        more([
          { jsonPath: '$.items[1]', nullValue: 'NULL_VALUE' },
          { jsonPath: "$['a.b']", boolValue: false },
        ]),
        close,
      ),
    ).toEqual([{ items: [{ name: 'apple', price: 0.5 }, null], 'a.b': false }])
  })

  it('end where nothing more is announced, though the closing call is missing', () => {
    expect(streamed(more([{ jsonPath: '$.a', numberValue: 1 }], false))).toEqual([{ a: 1 }])
  })

  it('end with the next call and with the stream', () => {
    expect(streamed(more([{ jsonPath: '$.a', numberValue: 1 }]), open('weather'))).toEqual([
      { a: 1 },
      {},
    ])
  })

  it('cannot reach the prototype', () => {
    streamed(more([{ jsonPath: '$.__proto__.polluted', stringValue: 'x' }]), close)
    expect({}).not.toHaveProperty('polluted')
  })

  it.each([['$.a[999999999]'], ['$']])('fail for the path %s', (jsonPath) => {
    expect(() => streamed(more([{ jsonPath, numberValue: 1 }]))).toThrow(
      expect.objectContaining({ code: 'upstream_invalid' }),
    )
  })

  it('of a tool the caller has not are skipped', () => {
    expect(
      body(
        stream([open('other'), more([{ jsonPath: '$.a', numberValue: 1 }]), close, end], { tools }),
      ),
    ).toEqual([])
  })
})

/** Text that rests on one more source. */
function grounded(uri: string, at: number) {
  return {
    finishReason: 'STOP',
    groundingMetadata: {
      groundingChunks: [{ web: { uri } }],
      groundingSupports: [{ segment: { endIndex: 1, text: 'a' }, groundingChunkIndices: [at] }],
    },
  }
}

/** Two candidates. */
function both(a: string, b: string, finishReason?: string) {
  return {
    candidates: [
      { content: { parts: [{ text: a }] }, index: 0, finishReason },
      { content: { parts: [{ text: b }] }, index: 1, finishReason },
    ],
  }
}

/** The first piece of a call whose arguments are streamed. */
function open(name: string) {
  return piece([{ functionCall: { name, willContinue: true } }])
}

function more(partialArgs: object[], willContinue = true) {
  return piece([{ functionCall: { partialArgs, ...(willContinue && { willContinue }) } }])
}

/** The arguments of the calls of a stream whose first call is of `time`. */
function streamed(...pieces: object[]): unknown[] {
  return stream([open('time'), ...pieces, end], { tools }).flatMap((event) =>
    event.type === 'tool-call-delta' ? [JSON.parse(event.text)] : [],
  )
}
