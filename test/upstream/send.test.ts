import { createServer } from 'node:https'
import { getEventListeners } from 'node:events'
import { readFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import { join } from 'node:path'
import type { Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  bodyOf,
  collect,
  eventually,
  flood,
  get,
  httpServer,
  listen,
  post,
  sendOptions,
  tcpServer,
  upstream,
} from './stand-in.ts'
import type { SendOptions } from '../../src/upstream/send.ts'

const fixture = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../fixtures/tls', name), 'utf8')

describe('send', () => {
  it('sends the request as it is told and gives the answer as it comes', async () => {
    let seen: { method?: string; url?: string; headers?: IncomingHttpHeaders; body?: string } = {}
    const provider = await httpServer(async (request, response) => {
      const { method = '', url = '', headers } = request
      seen = { method, url, headers, body: await bodyOf(request) }
      response.writeHead(418, { 'x-twice': ['a', 'b'] }).end('{"ok":true}')
    })
    const answer = await upstream().send(
      {
        method: 'POST',
        url: `${provider.url}/v1/chat?x=%20a`,
        headers: { Authorization: 'Bearer k', 'content-type': 'application/json' },
        body: '{"a":"é"}',
      },
      sendOptions(),
    )
    expect(answer.status).toBe(418)
    expect(answer.headers['x-twice']).toEqual(['a', 'b'])
    expect((await answer.bytes()).toString()).toBe('{"ok":true}')
    expect(seen).toMatchObject({ method: 'POST', url: '/v1/chat?x=%20a', body: '{"a":"é"}' })
    expect(seen.headers).toEqual({
      host: provider.host,
      connection: 'keep-alive',
      authorization: 'Bearer k',
      'content-type': 'application/json',
      'accept-encoding': 'identity',
      'user-agent': 'tollgate',
      'content-length': '10',
    })
  })

  it('sends bytes, empty bodies and large ones', async () => {
    const provider = await httpServer(async (request, response) => {
      response.end(String((await bodyOf(request)).length))
    })
    const way = upstream()
    for (const body of [new Uint8Array([123, 125]), '', 'x'.repeat(5_000_000)]) {
      const answer = await way.send(post(provider.url, body), sendOptions())
      expect((await answer.bytes()).toString()).toBe(String(body.length))
    }
  })

  it('gives an answer that comes before the body is sent', async () => {
    const provider = await tcpServer((socket) => {
      socket.pause()
      socket.write('HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno')
    })
    const answer = await upstream().send(post(provider.url, 'x'.repeat(20_000_000)), sendOptions())
    expect([answer.status, (await answer.bytes()).toString()]).toEqual([413, 'no'])
  })

  // Two, because a connection rests for one turn of the loop before it is used again.
  it('uses its connections again and again', async () => {
    const provider = await httpServer((_request, response) => response.end('x'.repeat(100_000)))
    const way = upstream()
    for (let round = 0; round < 20; round++) {
      const answer = await way.send(get(provider.url), sendOptions())
      if (round % 2 === 0) await answer.bytes()
      else await collect(answer.chunks)
    }
    expect(provider.connections()).toBeLessThanOrEqual(2)
    expect(way.stats()).toMatchObject({ runningRequests: 0, pendingRequests: 0 })
  })

  it('gives each chunk as it comes', async () => {
    const provider = await httpServer((_request, response) => {
      response.write('one')
      void read.promise.then(() => response.end('two'))
    })
    const read = Promise.withResolvers<void>()
    const answer = await upstream().send(get(provider.url), sendOptions())
    const chunks = answer.chunks[Symbol.asyncIterator]()
    expect(Buffer.from((await chunks.next()).value ?? '').toString()).toBe('one')
    read.resolve()
    expect(Buffer.from((await chunks.next()).value ?? '').toString()).toBe('two')
    expect(await chunks.next()).toEqual({ done: true, value: undefined })
    expect(answer.ended).toBe(true)
  })

  it('keeps connections to so many providers, and closes those least used', async () => {
    const providers = await Promise.all(
      Array.from({ length: 4 }, () => httpServer((_request, response) => response.end('ok'))),
    )
    const way = upstream({ maxOrigins: 2 })
    for (const { url } of [...providers, ...providers]) {
      const answer = await way.send(get(url), sendOptions())
      expect((await answer.bytes()).toString()).toBe('ok')
    }
    await eventually(() => way.stats().openSockets <= 2)
    expect(providers.map(({ connections }) => connections())).toEqual([2, 2, 2, 2])
  })

  it.each([301, 302, 303, 307, 308])('does not follow a %i', async (status) => {
    const paths: (string | undefined)[] = []
    const provider = await httpServer((request, response) => {
      paths.push(request.url)
      response.writeHead(status, { location: '/elsewhere' }).end()
    })
    const answer = await upstream().send(get(`${provider.url}/a`), sendOptions())
    expect([answer.status, answer.headers['location'], paths]).toEqual([
      status,
      '/elsewhere',
      ['/a'],
    ])
  })

  it.each(['host', 'Connection', 'content-length', 'Transfer-Encoding', 'upgrade', 'expect', 'te'])(
    'does not let a request set %s',
    async (name) => {
      const sent = upstream().send(get('http://127.0.0.1:1/', { [name]: 'x' }), sendOptions())
      await expect(sent).rejects.toMatchObject({ code: 'internal_error' })
    },
  )

  it.each(['a\r\nx-evil: 1', 'a\nb', 'a\0b'])(
    'sends no header value %j and does not repeat it',
    async (value) => {
      const provider = await httpServer((_request, response) => response.end())
      const sent = upstream().send(get(provider.url, { authorization: value }), sendOptions())
      await expect(sent).rejects.toMatchObject({
        code: 'internal_error',
        message: `${provider.host} cannot be sent the request (UND_ERR_INVALID_ARG)`,
        details: { request_sent: false },
      })
    },
  )

  it('resolves a name, connects to that address, and keeps the name for TLS and Host', async () => {
    const asked: string[] = []
    const server = createServer(
      { key: fixture('key.pem'), cert: fixture('cert.pem') },
      (request, response) => {
        const { servername } = request.socket as Socket & { servername?: string }
        response.end(`${servername} ${request.headers.host}`)
      },
    )
    const { port } = await listen(server, '127.0.0.2')
    const resolve = async (name: string): Promise<string[]> => {
      asked.push(name)
      // What it would say next time is another address.
      return asked.length === 1 ? ['127.0.0.2'] : ['127.0.0.3']
    }
    const way = upstream({ resolve, ca: fixture('cert.pem') })
    const answer = await way.send(get(`https://provider.test:${port}/`), sendOptions())
    expect((await answer.bytes()).toString()).toBe(`provider.test provider.test:${port}`)
    expect(asked).toEqual(['provider.test'])
  })

  it.each([
    ['a certificate nobody signed', {}, 'provider.test', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    [
      'another host’s certificate',
      { ca: fixture('cert.pem') },
      'other.test',
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ],
  ])('refuses %s', async (_name, trust, host, code) => {
    let requests = 0
    const tls = { key: fixture('key.pem'), cert: fixture('cert.pem') }
    const { port } = await listen(createServer(tls, () => requests++))
    const way = upstream({ resolve: async () => ['127.0.0.1'], ...trust })
    await expect(way.send(get(`https://${host}:${port}/`), sendOptions())).rejects.toMatchObject({
      code: 'upstream_error',
      message: `${host}:${port} failed the TLS handshake (${code})`,
      details: { request_sent: false },
    })
    expect(requests).toBe(0)
  })
})

describe('the egress guard on sockets', () => {
  it.each([
    '127.0.0.1',
    '127.1',
    '2130706433',
    '0x7f.1',
    '[::ffff:7f00:1]',
    'localhost',
    'nip.example',
  ])('opens none to %s', async (host) => {
    const provider = await tcpServer(() => {})
    const way = upstream({ resolve: async () => ['8.8.8.8', '127.0.0.1'] })
    const sent = way.send(
      get(`http://${host}:${provider.port}/`),
      sendOptions({ allowPrivateNetwork: false }),
    )
    await expect(sent).rejects.toMatchObject({
      code: 'egress_refused',
      details: { request_sent: false },
    })
    expect(provider.connections()).toBe(0)
  })

  it('does not lend a connection opened with leave to a request without it', async () => {
    const provider = await httpServer((_request, response) => response.end())
    const way = upstream()
    await (await way.send(get(provider.url), sendOptions())).bytes()
    const second = way.send(get(provider.url), sendOptions({ allowPrivateNetwork: false }))
    await expect(second).rejects.toMatchObject({ code: 'egress_refused' })
  })

  it.each(['ftp://a.example/', 'file:///etc/passwd', 'http://u:p@a.example/'])(
    'does not call %s',
    async (url) => {
      await expect(upstream().send(get(url), sendOptions())).rejects.toMatchObject({
        code: 'invalid_value',
      })
    },
  )
})

describe('failures of send', () => {
  it('tells a refused connection from a lost request', async () => {
    const provider = await tcpServer((socket) => socket.destroy())
    const way = upstream()
    await expect(way.send(get('http://127.0.0.1:1/'), sendOptions())).rejects.toMatchObject({
      code: 'upstream_error',
      message: '127.0.0.1:1 refused the connection (ECONNREFUSED)',
      details: { request_sent: false },
    })
    await expect(way.send(post(provider.url, '{}'), sendOptions())).rejects.toMatchObject({
      code: 'upstream_error',
      message: expect.stringMatching(/^127\.0\.0\.1:\d+ closed the connection before it answered/),
      details: { request_sent: true },
    })
  })

  it('names the other side as it is told to, and then tells no address', async () => {
    const lost = await tcpServer((socket) => socket.destroy())
    const mute = await httpServer(() => {})
    const long = await httpServer((_request, response) => response.end('x'.repeat(99)))
    const way = upstream({ resolve: async () => ['10.1.2.3'] })
    const failures: readonly (readonly [url: string, options: Partial<SendOptions>])[] = [
      ['http://127.0.0.1:1/', {}],
      [lost.url, {}],
      [mute.url, { headTimeoutMs: 20 }],
      [long.url, { maxBytes: 9 }],
      ['http://inner.example/', { allowPrivateNetwork: false }],
      ['http://169.254.169.254/', {}],
    ]
    for (const [url, options] of failures) {
      const failed = way.send(get(url), sendOptions({ ...options, who: 'local' }))
      const { message } = await failed.then(
        () => new Error('sent'),
        (error: Error) => error,
      )
      expect(message).toMatch(/^local (refused|closed|did not|sent more|has an? )/)
      expect(message).not.toMatch(/\d+\.\d+|inner/)
    }
  })

  it('says that DNS does not know a name', async () => {
    const failure = Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' })
    const way = upstream({ resolve: () => Promise.reject(failure) })
    const sent = way.send(get('http://no.example/'), sendOptions())
    await expect(sent).rejects.toMatchObject({
      code: 'upstream_error',
      message: 'no.example is not known to DNS (ENOTFOUND)',
      details: { request_sent: false },
    })
  })

  it('gives up on a connection that does not come about', async () => {
    const way = upstream({ resolve: () => new Promise(() => {}), connectTimeoutMs: 100 })
    await expect(way.send(get('http://slow.example/'), sendOptions())).rejects.toMatchObject({
      code: 'upstream_timeout',
      details: { request_sent: false },
    })
  })

  it('gives up on a provider that does not begin to answer', async () => {
    const provider = await httpServer(() => {})
    const sent = upstream().send(get(provider.url), sendOptions({ headTimeoutMs: 50 }))
    await expect(sent).rejects.toMatchObject({
      code: 'upstream_timeout',
      message: `${provider.host} did not begin to answer within 50 ms`,
      details: { request_sent: true },
    })
  })

  it('gives up on a provider that falls silent, not on one that is slow', async () => {
    const provider = await httpServer(async (_request, response) => {
      for (let round = 0; round < 6; round++) {
        response.write('x')
        await wait(40)
      }
    })
    const answer = await upstream().send(get(provider.url), sendOptions({ idleTimeoutMs: 100 }))
    const seen: string[] = []
    const reading = (async () => {
      for await (const chunk of answer.chunks) seen.push(Buffer.from(chunk).toString())
    })()
    await expect(reading).rejects.toMatchObject({
      code: 'upstream_timeout',
      message: `${provider.host} sent nothing for 100 ms within its answer`,
    })
    expect(seen.join('')).toBe('xxxxxx')
  })

  it('does not blame a provider for a stall of our own', async () => {
    const provider = await httpServer((_request, response) => {
      response.write('1')
      // From where the loop next comes to its timers, then to its sockets.
      setTimeout(setImmediate, 20, () => {
        response.end('2')
        const until = performance.now() + 200
        while (performance.now() < until);
      })
    })
    const answer = await upstream().send(get(provider.url), sendOptions({ idleTimeoutMs: 100 }))
    expect((await answer.bytes()).toString()).toBe('12')
  })

  it.each([
    ['content-length', 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'],
    ['chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n'],
    [
      'connection: close and content-length',
      'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nhalf',
    ],
    [
      'connection: close and chunks',
      'HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n',
    ],
  ])('never takes half an answer for a whole one (%s)', async (_name, text) => {
    for (const leave of ['end', 'resetAndDestroy'] as const) {
      const provider = await tcpServer((socket) =>
        socket.write(text, () => setTimeout(() => socket[leave](), 20)),
      )
      const way = upstream()
      const failure = {
        code: 'upstream_error',
        message: expect.stringContaining('within its answer'),
      }
      const whole = await way.send(get(provider.url), sendOptions())
      await expect(whole.bytes()).rejects.toMatchObject(failure)
      const streamed = await way.send(get(provider.url), sendOptions())
      const chunks = streamed.chunks[Symbol.asyncIterator]()
      expect(Buffer.from((await chunks.next()).value ?? '').toString()).toBe('half')
      await expect(chunks.next()).rejects.toMatchObject(failure)
      await expect(chunks.next()).rejects.toMatchObject(failure)
    }
  })

  it('takes no more requests once it is closed', async () => {
    const provider = await httpServer((_request, response) => response.end('ok'))
    const way = upstream()
    const answer = await way.send(get(provider.url), sendOptions())
    const closing = way.close()
    await expect(way.send(get(provider.url), sendOptions())).rejects.toMatchObject({
      code: 'unavailable',
    })
    expect((await answer.bytes()).toString()).toBe('ok')
    await closing
  })

  it('breaks off what is under way when it is destroyed', async () => {
    const provider = await httpServer((_request, response) => response.write('x'))
    const way = upstream()
    const answer = await way.send(get(provider.url), sendOptions())
    await way.destroy()
    await expect(answer.bytes()).rejects.toMatchObject({ code: 'unavailable' })
  })
})

describe('aborting', () => {
  it('ends a request that waits for its connection, and nothing is ever sent', async () => {
    let requests = 0
    const provider = await httpServer((_request, response) => response.end(String(++requests)))
    const controller = new AbortController()
    const found = Promise.withResolvers<string[]>()
    const way = upstream({ resolve: () => found.promise })
    const sent = way.send(
      post(`http://a.example:${provider.port}`, '{}'),
      sendOptions({ signal: controller.signal }),
    )
    const refused = expect(sent).rejects.toBe('left')
    controller.abort('left')
    await refused
    found.resolve(['127.0.0.1'])
    await eventually(() => provider.connections() === 1)
    const next = await way.send(post(`http://a.example:${provider.port}`, '{}'), sendOptions())
    expect((await next.bytes()).toString()).toBe('1')
    expect(requests).toBe(1)
  })

  it('does not begin when it is too late already', async () => {
    const provider = await httpServer((_request, response) => response.end())
    const sent = upstream().send(
      get(provider.url),
      sendOptions({ signal: AbortSignal.abort('late') }),
    )
    await expect(sent).rejects.toBe('late')
    expect(provider.connections()).toBe(0)
  })

  it.each(['before the head', 'after the head', 'in the middle of a chunk'])(
    'reaches the provider at once %s',
    async (moment) => {
      const provider = await tcpServer((socket) => {
        if (moment !== 'before the head') {
          socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
        }
        if (moment === 'in the middle of a chunk') socket.write('ff\r\nhalf a chunk')
        socket.once('close', () => (closedAt = performance.now()))
        asked = true
      })
      let asked = false
      let closedAt = 0
      const lags: number[] = []
      const way = upstream()
      for (let round = 0; round < 20; round++) {
        asked = false
        closedAt = 0
        const controller = new AbortController()
        const reason = new Error('the caller left')
        const reading = way
          .send(get(provider.url), sendOptions({ signal: controller.signal }))
          .then((answer) => collect(answer.chunks))
        const refused = expect(reading).rejects.toBe(reason)
        await eventually(() => asked)
        await wait(3)
        const abortedAt = performance.now()
        controller.abort(reason)
        await refused
        await eventually(() => closedAt > 0)
        lags.push(closedAt - abortedAt)
      }
      // The least of them: a machine busy with something else is late at any of the others.
      expect(Math.min(...lags)).toBeLessThan(1)
      await eventually(() => way.stats().openSockets === 0)
    },
  )

  it('leaves no socket and no listener behind after 1,000 aborts', async () => {
    const provider = await httpServer((_request, response) => void response.write('x'))
    const way = upstream()
    const shared = new AbortController()
    for (let round = 0; round < 100; round++) {
      const answers = Array.from({ length: 10 }, async () => {
        const answer = await way.send(get(provider.url), sendOptions({ signal: shared.signal }))
        answer.abort()
        await expect(answer.bytes()).rejects.toMatchObject({ name: 'AbortError' })
      })
      await Promise.all(answers)
    }
    await eventually(() => way.stats().runningRequests === 0)
    expect(way.stats()).toMatchObject({ openSockets: 0, pendingRequests: 0 })
    expect(getEventListeners(shared.signal, 'abort')).toEqual([])
  })

  it('does nothing to an answer that is complete', async () => {
    const provider = await httpServer((_request, response) => response.end('all'))
    const controller = new AbortController()
    const way = upstream()
    const answer = await way.send(get(provider.url), sendOptions({ signal: controller.signal }))
    await eventually(() => answer.ended)
    controller.abort()
    answer.abort()
    expect(way.stats().openSockets).toBe(1)
  })
})

describe('draining', () => {
  it('lets a connection be used again when the rest comes soon', async () => {
    const provider = await httpServer((_request, response) => {
      response.write('data: [DONE]\n\n')
      setTimeout(() => response.end('x'.repeat(200_000)), 20)
    })
    const way = upstream()
    for (let round = 0; round < 3; round++) {
      const answer = await way.send(get(provider.url), sendOptions())
      for await (const chunk of answer.chunks) {
        expect(chunk.length).toBeGreaterThan(0)
        break
      }
      await answer.drain()
      expect(answer.ended).toBe(true)
    }
    expect(provider.connections()).toBeLessThanOrEqual(2)
  })

  it('does not wait for the rest for ever', async () => {
    const provider = await httpServer(
      (_request, response) => void flood(response, Buffer.alloc(100)),
    )
    const way = upstream({ maxResponseBytes: 1e12 })
    const answer = await way.send(get(provider.url), sendOptions())
    await answer.drain()
    await eventually(() => way.stats().openSockets === 0)
  })
})

describe('back-pressure', () => {
  it('reaches the provider when nobody reads, and loses nothing', async () => {
    let written = 0
    const provider = await httpServer((_request, response) => {
      void flood(response, Buffer.alloc(64 * 1024, 'x')).then((bytes) => (written = bytes))
    })
    const way = upstream({ maxResponseBytes: 1e12 })
    const before = process.memoryUsage().rss
    const answer = await way.send(get(provider.url), sendOptions({ idleTimeoutMs: 100 }))
    // Longer than the idle time: a reader that takes its time is not a provider that stalls.
    await wait(300)
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1024 * 1024)
    let read = 0
    for await (const chunk of answer.chunks) {
      expect(chunk.length).toBeLessThanOrEqual(192 * 1024)
      read += chunk.length
      if (read > 50 * 1024 * 1024) break
    }
    answer.abort()
    await eventually(() => written > 0)
    expect(written - read).toBeLessThan(32 * 1024 * 1024)
  })

  it('holds with one reader of many at a halt', async () => {
    const body = Buffer.alloc(1024 * 1024, 'y')
    const provider = await httpServer((_request, response) => response.end(body))
    const way = upstream()
    const halted = await way.send(get(provider.url), sendOptions())
    for (let round = 0; round < 20; round++) {
      const answer = await way.send(get(provider.url), sendOptions())
      expect((await answer.bytes()).length).toBe(body.length)
    }
    expect((await collect(halted.chunks)).length).toBe(body.length)
  })

  it('lets a whole body be asked for after a part of it has waited', async () => {
    const provider = await httpServer((_request, response) => response.end('z'.repeat(3_000_000)))
    const answer = await upstream().send(get(provider.url), sendOptions())
    await wait(50)
    expect((await answer.bytes()).length).toBe(3_000_000)
  })
})
