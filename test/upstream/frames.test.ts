import { createParser } from 'eventsource-parser'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { frameSplitter } from '../../src/upstream/frames.ts'

interface Seen {
  readonly event: string
  readonly data: string
  readonly bytes: string
}

/** Each stream, and what its frames say: `data`, or `event>data`. */
const STREAMS: Readonly<Record<string, readonly [string, readonly string[]]>> = {
  'LF, data only, as OpenAI sends it': [
    'data: {"a":1}\n\ndata: {"a":2}\n\ndata: [DONE]\n\n',
    ['{"a":1}', '{"a":2}', '[DONE]'],
  ],
  'named events, as Anthropic sends them': [
    'event: message_start\ndata: {"a":1}\n\nevent: ping\ndata: {}\n\n',
    ['message_start>{"a":1}', 'ping>{}'],
  ],
  'CRLF, as Perplexity and Gemini send it': [
    'data: {"a":1}\r\n\r\nevent: x\r\ndata: {"a":2}\r\n\r\n',
    ['{"a":1}', 'x>{"a":2}'],
  ],
  'lone CR': ['data: 1\r\rdata: 2\r\revent: x\rdata: 3\r\r', ['1', '2', 'x>3']],
  'every line end at once': [
    'data: 1\r\n\ndata: 2\n\r\ndata: 3\r\n\r\ndata: 4\n\rdata: 5\r\r\n',
    ['1', '2', '3', '4', '5'],
  ],
  comments: [
    ': keep-alive\n\n:\n\ndata: 1\n: between\n\n: OPENROUTER PROCESSING\n\ndata: 2\n\n',
    ['', '', '1', '', '2'],
  ],
  'a byte order mark, which counts at the start alone': [
    '\u{FEFF}data: 1\n\ndata: \u{FEFF}2\n\n\u{FEFF}data: 3\n\n',
    ['1', '\u{FEFF}2', ''],
  ],
  'several data lines': [
    'data: {\ndata:  "a": 1\ndata: }\n\ndata\n\ndata\ndata\n\ndata:\n\n',
    ['{\n "a": 1\n}', '', '\n', ''],
  ],
  'no space after the colon': [
    'data:{"a":1}\n\nevent:x\ndata:  two spaces\n\n',
    ['{"a":1}', 'x> two spaces'],
  ],
  'blanks after JSON': ['data: {"a":1}  \n\ndata: 2\t\r\n\r\n', ['{"a":1}  ', '2\t']],
  'stray blank lines': ['\n\n\r\n\rdata: 1\n\n\n\ndata: 2\n\n', ['', '', '', '', '1', '', '', '2']],
  'unknown and odd fields': [
    'id: 7\nretry: 10\nfoo: bar\ndatax: no\ndat: no\n data: no\nDATA: no\ndata: 1\n\n',
    ['1'],
  ],
  'characters of two, three and four bytes': [
    'data: {"t":"é漢字😀 – \u{200B}"}\n\ndata: 日本\n\n',
    ['{"t":"é漢字😀 – \u{200B}"}', '日本'],
  ],
  'no blank line at the end': ['data: 1\n\ndata: {"usage":{}}', ['1', '{"usage":{}}']],
  'a line end but no blank line at the end': [
    'data: 1\r\n\r\nevent: x\r\ndata: [DONE]\r\n',
    ['1', 'x>[DONE]'],
  ],
  'a CR at the very end': ['data: 1\n\ndata: 2\r\r', ['1', '2']],
  'no event at all': [': nothing', ['']],
  nothing: ['', []],
}

const streams = Object.entries(STREAMS).map(
  ([name, [text, said]]) => [name, Buffer.from(text), said] as const,
)

describe('frameSplitter', () => {
  it.each(streams)('reads %s', (_name, stream, said) => {
    const seen = split([stream]).map(({ event, data }) =>
      event === '' ? data : `${event}>${data}`,
    )
    expect(seen).toEqual(said)
  })

  it.each(streams)('gives every byte of %s once', (_name, stream) => {
    const frames = splitRaw([stream])
    expect(Buffer.concat(frames.map(({ bytes }) => bytes))).toEqual(stream)
  })

  it.each(streams)('gives the same frames wherever %s is cut', (_name, stream) => {
    const whole = split([stream])
    for (let first = 0; first <= stream.length; first++) {
      for (let second = first; second <= stream.length; second++) {
        const chunks = [stream.subarray(0, first), stream.subarray(first, second)]
        expect(split([...chunks, stream.subarray(second)])).toEqual(whole)
      }
    }
  })

  it('gives the same frames for any bytes cut anywhere', () => {
    const piece = fc.constantFrom(
      '\r',
      '\n',
      '\r\n',
      ':',
      ' ',
      'data',
      'event',
      '\u{FEFF}',
      '漢',
      'x',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), fc.array(fc.nat(80)), (pieces, cuts) => {
        const stream = Buffer.from(pieces.join(''))
        const frames = split(cut(stream, cuts))
        expect(frames).toEqual(split([stream]))
        expect(frames.map(({ bytes }) => bytes).join('')).toBe(stream.toString('latin1'))
      }),
      { numRuns: 2000 },
    )
  })

  it('reads what eventsource-parser reads', () => {
    const line = fc.constantFrom(
      'data: a',
      'data:b',
      'data',
      'data: {"a":"漢"} ',
      'event: e',
      'event:f',
      ': c',
      'id: 1',
      'x: y',
      '',
    )
    const lineEnd = fc.constantFrom('\n', '\r\n', '\r')
    fc.assert(
      fc.property(fc.array(fc.tuple(line, lineEnd), { maxLength: 20 }), (lines) => {
        const text = `${lines.flat().join('')}\n\n`
        const ours = split([Buffer.from(text)]).filter(({ bytes }) => /(^|[\r\n])data/.test(bytes))
        expect(ours.map(({ event, data }) => ({ event, data }))).toEqual(parse(text))
      }),
      { numRuns: 2000 },
    )
  })

  it('reads an event of 5 MB that comes in small pieces', () => {
    const stream = Buffer.from(`data: ${'é'.repeat(2_500_000)}\n\n`)
    const chunks = Array.from({ length: Math.ceil(stream.length / 1021) }, (_, index) =>
      stream.subarray(index * 1021, (index + 1) * 1021),
    )
    const [frame] = splitRaw(chunks)
    expect(frame?.data().length).toBe(2_500_000)
  })

  it('bounds a line without end, however small its pieces', () => {
    const splitter = frameSplitter({ maxFrameBytes: 1024 * 1024 })
    const piece = Buffer.from('x')
    const before = process.memoryUsage().rss
    expect(() => {
      for (;;) splitter.push(piece)
    }).toThrow(expect.objectContaining({ code: 'upstream_invalid' }))
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1024 * 1024)
  })

  it.each([
    ['in one chunk', ['data: 1\n\n' + 'x'.repeat(20) + '\n\n']],
    ['in two', ['data: 1\n\n' + 'x'.repeat(10), 'x'.repeat(10)]],
  ])('gives the frames before one that is too large, then fails (%s)', (_name, chunks) => {
    const splitter = frameSplitter({ maxFrameBytes: 16 })
    const [first = '', second = ''] = chunks
    expect(splitter.push(Buffer.from(first)).map((frame) => frame.data())).toEqual(['1'])
    expect(() => splitter.push(Buffer.from(second))).toThrow('more than 16 bytes')
    expect(() => splitter.end()).toThrow('more than 16 bytes')
  })

  it('takes plain Uint8Arrays that view part of a buffer', () => {
    const view = new Uint8Array(Buffer.from('xxdata: 1\n\nyy')).subarray(2, 11)
    expect(split([view])).toEqual([{ event: '', data: '1', bytes: 'data: 1\n\n' }])
  })
})

function splitRaw(chunks: readonly Uint8Array[]) {
  const splitter = frameSplitter({ maxFrameBytes: 16 * 1024 * 1024 })
  return [...chunks.flatMap((chunk) => splitter.push(chunk)), ...splitter.end()]
}

function split(chunks: readonly Uint8Array[]): Seen[] {
  return splitRaw(chunks).map((frame) => ({
    event: frame.event,
    data: frame.data(),
    bytes: Buffer.from(frame.bytes).toString('latin1'),
  }))
}

function cut(stream: Buffer, cuts: readonly number[]): Buffer[] {
  const borders = [0, ...cuts.filter((at) => at < stream.length), stream.length].toSorted(
    (a, b) => a - b,
  )
  return borders.slice(1).map((border, index) => stream.subarray(borders[index], border))
}

function parse(text: string): { event: string; data: string }[] {
  const events: { event: string; data: string }[] = []
  const parser = createParser({
    onEvent: ({ event = '', data }) => events.push({ event, data }),
  })
  parser.feed(text)
  return events
}
