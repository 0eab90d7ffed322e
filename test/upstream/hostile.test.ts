import {
  brotliCompressSync,
  constants,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  collect,
  eventually,
  flood,
  get,
  httpServer,
  sendOptions,
  tcpServer,
  upstream,
} from './stand-in.ts'

const MIB = 1024 * 1024
const TEXT = '{"text":"é漢😀"}'.repeat(2000)

const CODINGS: readonly (readonly [string, (data: Buffer) => Buffer])[] = [
  ['gzip', (data) => gzipSync(data)],
  ['X-GZIP', (data) => gzipSync(data)],
  ['br', (data) => brotliCompressSync(data, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } })],
  ['zstd', (data) => zstdCompressSync(data)],
  ['deflate', (data) => deflateSync(data)],
  ['deflate', (data) => deflateRawSync(data)],
]

describe('compressed answers', () => {
  it.each(CODINGS)('are read, though not asked for (%s)', async (coding, compress) => {
    const provider = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': coding }).end(compress(Buffer.from(TEXT)))
    })
    const way = upstream()
    const whole = await way.send(get(provider.url), sendOptions())
    expect((await whole.bytes()).toString()).toBe(TEXT)
    const streamed = await way.send(get(provider.url), sendOptions())
    expect(await collect(streamed.chunks)).toBe(TEXT)
  })

  it.each(CODINGS)('of nothing are nothing (%s)', async (coding) => {
    const provider = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': coding }).end()
    })
    const answer = await upstream().send(get(provider.url), sendOptions())
    expect((await answer.bytes()).length).toBe(0)
  })

  it.each(CODINGS)(
    'that swell stop at the limit, in little memory (%s)',
    async (coding, compress) => {
      const bomb = compress(Buffer.alloc(64 * MIB))
      const provider = await httpServer((_request, response) => {
        response.writeHead(200, { 'content-encoding': coding }).end(bomb)
      })
      const way = upstream()
      for (const read of ['bytes', 'chunks'] as const) {
        const before = process.memoryUsage().rss
        const startedAt = performance.now()
        const answer = await way.send(get(provider.url), sendOptions({ maxBytes: 4 * MIB }))
        const reading = read === 'bytes' ? answer.bytes() : collect(answer.chunks)
        await expect(reading).rejects.toMatchObject({
          code: 'upstream_invalid',
          message: `${provider.host} sent more than ${4 * MIB} bytes`,
        })
        expect(process.memoryUsage().rss - before).toBeLessThan(32 * MIB)
        expect(performance.now() - startedAt).toBeLessThan(1000)
      }
    },
  )

  it('that swell for ever stop at the limit', async () => {
    const member = gzipSync(Buffer.alloc(16 * MIB))
    let written = 0
    const provider = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' })
      void flood(response, member).then((bytes) => (written = bytes))
    })
    const before = process.memoryUsage().rss
    const answer = await upstream().send(get(provider.url), sendOptions({ maxBytes: 100 * MIB }))
    let read = 0
    const reading = (async () => {
      for await (const chunk of answer.chunks) read += chunk.length
    })()
    await expect(reading).rejects.toMatchObject({ code: 'upstream_invalid' })
    await eventually(() => written > 0)
    expect(read).toBeLessThanOrEqual(100 * MIB)
    expect(process.memoryUsage().rss - before).toBeLessThan(48 * MIB)
  })

  it('that say nothing for ever stop at the limit', async () => {
    const provider = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'deflate' }).write(Buffer.from([0x78, 0x9c]))
      // Stored blocks of no length.
      void flood(response, Buffer.alloc(50_000, Buffer.from([0, 0, 0, 0xff, 0xff])))
    })
    const answer = await upstream().send(get(provider.url), sendOptions({ maxBytes: MIB }))
    await expect(answer.bytes()).rejects.toMatchObject({
      code: 'upstream_invalid',
      message: `${provider.host} sent more than ${MIB} bytes`,
    })
  })

  it('wait for their reader when all of them has come', async () => {
    const provider = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(MIB)))
    })
    const answer = await upstream().send(get(provider.url), sendOptions({ idleTimeoutMs: 50 }))
    await wait(150)
    expect((await collect(answer.chunks)).length).toBe(MIB)
  })

  it('hold back with their reader', async () => {
    const provider = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(64 * MIB)))
    })
    const way = upstream()
    const before = process.memoryUsage().rss
    const options = sendOptions({ maxBytes: 100 * MIB, idleTimeoutMs: 100 })
    const answer = await way.send(get(provider.url), options)
    await wait(200)
    let read = 0
    for await (const chunk of answer.chunks) {
      expect(chunk.length).toBeLessThanOrEqual(128 * 1024)
      read += chunk.length
      await new Promise(setImmediate)
    }
    expect(read).toBe(64 * MIB)
    expect(process.memoryUsage().rss - before).toBeLessThan(48 * MIB)
  })

  it.each([
    ['gzip that is none', 'gzip', Buffer.from('{"a":1}')],
    ['gzip cut short', 'gzip', gzipSync(TEXT).subarray(0, 50)],
    ['brotli that is none', 'br', Buffer.from('{"a":1}')],
    ['zstd that is none', 'zstd', Buffer.from('{"a":1}')],
    ['deflate that is none', 'deflate', Buffer.from('\xff\xff\xff\xff', 'latin1')],
  ])('fail when they are %s', async (_name, coding, body) => {
    const provider = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': coding }).end(body)
    })
    const answer = await upstream().send(get(provider.url), sendOptions())
    await expect(answer.bytes()).rejects.toMatchObject({ code: 'upstream_invalid' })
  })

  it.each([
    'gzip, gzip',
    'gzip, br',
    Array(1000).fill('gzip').join(','),
    'compress',
    'constructor',
  ])('in codings like %.30s are refused', async (coding) => {
    const provider = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-encoding': coding }).end('x')
    })
    const sent = upstream().send(get(provider.url), sendOptions())
    await expect(sent).rejects.toMatchObject({ code: 'upstream_invalid' })
  })

  it('are read to the end of each piece the provider flushes', async () => {
    const provider = await httpServer((_request, response) => {
      const [first, second] = [gzipSync('data: 1\n\n'), gzipSync('data: 2\n\n')]
      response.writeHead(200, { 'content-encoding': 'gzip' }).write(first)
      void read.promise.then(() => response.end(second))
    })
    const read = Promise.withResolvers<void>()
    const answer = await upstream().send(get(provider.url), sendOptions())
    const chunks = answer.chunks[Symbol.asyncIterator]()
    expect(Buffer.from((await chunks.next()).value ?? '').toString()).toBe('data: 1\n\n')
    read.resolve()
    expect(Buffer.from((await chunks.next()).value ?? '').toString()).toBe('data: 2\n\n')
  })
})

describe('answers without bounds', () => {
  it.each(['bytes', 'chunks'] as const)('end at the limit (%s)', async (read) => {
    let written = 0
    const provider = await httpServer((_request, response) => {
      void flood(response, Buffer.alloc(64 * 1024, 'x')).then((bytes) => (written = bytes))
    })
    const answer = await upstream().send(get(provider.url), sendOptions({ maxBytes: 2 * MIB }))
    const reading = read === 'bytes' ? answer.bytes() : collect(answer.chunks)
    await expect(reading).rejects.toMatchObject({ code: 'upstream_invalid' })
    await eventually(() => written > 0)
    expect(written).toBeLessThan(32 * MIB)
  })

  it('are refused by the length they announce', async () => {
    const provider = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n')
    })
    const sent = upstream().send(get(provider.url), sendOptions({ maxBytes: MIB }))
    await expect(sent).rejects.toMatchObject({ code: 'upstream_invalid' })
  })

  it('cost no more when they come a byte at a time', async () => {
    const bytes = MIB
    const provider = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
      socket.write('1\r\nx\r\n'.repeat(bytes))
      socket.end('0\r\n\r\n')
    })
    const answer = await upstream().send(get(provider.url), sendOptions())
    expect((await answer.bytes()).length).toBe(bytes)
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(64 * MIB)
  })

  it.each([
    ['headers', (index: number) => `x-${index}: ${'y'.repeat(100)}\r\n`],
    ['one header', () => 'y'.repeat(1000)],
  ])('of the head end at the limit (%s)', async (_name, more) => {
    const provider = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nx: ')
      for (let index = 0; index < 1000; index++) socket.write(more(index))
    })
    await expect(upstream().send(get(provider.url), sendOptions())).rejects.toMatchObject({
      code: 'upstream_invalid',
      message: expect.stringContaining('too many headers'),
    })
  })

  it.each([
    ['1xx answers', 'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n', 'upstream_invalid', 5000],
    ['a status line', 'x'.repeat(64 * 1024), 'upstream_timeout', 300],
    ['blank lines', '\r\n'.repeat(1000), 'upstream_timeout', 300],
  ])('before the head end (%s)', async (name, text, code, headTimeoutMs) => {
    const provider = await tcpServer((socket) => {
      if (name === 'a status line') socket.write('HTTP/1.1 200 ')
      void flood(socket, Buffer.from(text))
    })
    const before = process.memoryUsage().rss
    const sent = upstream().send(get(provider.url), sendOptions({ headTimeoutMs }))
    await expect(sent).rejects.toMatchObject({ code })
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * MIB)
  })

  it('of nothing but chunk extensions or trailers end', async () => {
    for (const start of ['1;', '0\r\nx: ']) {
      const provider = await tcpServer((socket) => {
        socket.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${start}`)
        void flood(socket, Buffer.alloc(16 * 1024, 'x'))
      })
      const answer = await upstream().send(get(provider.url), sendOptions({ idleTimeoutMs: 300 }))
      await expect(answer.bytes()).rejects.toMatchObject({ name: 'GatewayError' })
    }
  })
})

describe('answers that are no HTTP', () => {
  it.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9.6\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'],
    [
      'two lengths in two spellings',
      'HTTP/1.1 200 OK\r\ncontent-length: 1\r\nContent-Length: 2\r\n\r\nab',
    ],
    [
      'length and chunks',
      'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n',
    ],
    ['a length that is no number', 'HTTP/1.1 200 OK\r\ncontent-length: abc\r\n\r\n'],
    ['a negative length', 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n'],
    ['a NUL in a header', 'HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n'],
    ['a status of four digits', 'HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n'],
  ])('are refused (%s)', async (_name, text) => {
    const provider = await tcpServer((socket) => socket.write(text))
    const sent = upstream().send(get(provider.url), sendOptions({ headTimeoutMs: 1000 }))
    await expect(sent).rejects.toMatchObject({
      code: 'upstream_invalid',
      message: expect.stringMatching(/^127\.0\.0\.1:\d+ does not answer in HTTP/),
    })
  })

  it('are refused in a broken chunk', async () => {
    const provider = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n')
    })
    const reading = upstream()
      .send(get(provider.url), sendOptions())
      .then((answer) => answer.bytes())
    await expect(reading).rejects.toMatchObject({ code: 'upstream_invalid' })
  })

  it('do not switch protocols', async () => {
    const provider = await tcpServer((socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n')
    })
    await expect(upstream().send(get(provider.url), sendOptions())).rejects.toMatchObject({
      details: { request_sent: true },
    })
  })
})

describe('one answer', () => {
  it('never holds what the provider sent unasked on the same connection', async () => {
    const stray = 'HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret'
    const provider = await tcpServer((socket, request) => {
      const [, name] = /GET \/(\d+)/.exec(request) ?? []
      const reply = `answer ${name}`
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${reply.length}\r\n\r\n${reply}`)
      if (Number(name) % 3 === 0) socket.write(stray)
      if (Number(name) % 3 === 1) setImmediate(() => socket.write(stray))
      if (Number(name) % 3 === 2) setTimeout(() => socket.write(stray), 1)
    })
    const way = upstream()
    for (let round = 0; round < 300; round++) {
      const answer = await way.send(get(`${provider.url}/${round}`), sendOptions())
      expect((await answer.bytes()).toString()).toBe(`answer ${round}`)
      // What comes once the next request is on its way cannot be told from its answer.
      if (round % 3 > 0) await wait(4)
    }
  })

  it('never holds more than its length', async () => {
    const provider = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab and much more')
    })
    const way = upstream()
    for (let round = 0; round < 20; round++) {
      const answer = await way.send(get(provider.url), sendOptions())
      expect((await answer.bytes()).toString()).toBe('ab')
    }
  })
})
