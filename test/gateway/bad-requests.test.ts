import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call } from './caller.ts'
import type { Ask } from './caller.ts'
import { openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

const MIB = 1024 * 1024

let provider: Provider
let gateway: TestGateway
let key: string
let keyId: string

beforeAll(async () => {
  provider = await openProvider()
  gateway = await openGateway({
    max_body_bytes: 4 * MIB,
    providers: {
      stand: {
        kind: 'openai',
        api_key: 'sk-upstream',
        base_url: provider.baseUrl,
        allow_private_network: true,
        models: ['gpt-4o-mini'],
        prices: { 'gpt-4o-mini': { input: '1', output: '2' }, m1: { input: '1', output: '2' } },
      },
    },
  })
  const { body } = await gateway.admin('POST', '/admin/v1/keys', {
    name: 'bad',
    limits: { concurrency: 1, budgets: [{ window: 'total', limit: '1' }] },
  })
  key = body.secret
  keyId = body.id
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
})

const chat = (members: string): string =>
  `{"model":"stand/m1","messages":[{"role":"user","content":"Hi"}],"max_tokens":5${members}}`
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

describe('a request that is refused', () => {
  // Whatever it was: no attempt, no cost, nothing held.
  afterEach(async () => {
    const { body } = await gateway.admin('GET', `/admin/v1/costs/report?key=${keyId}`)
    expect(body.total).toMatchObject({ attempts: 0, cost: { amount: '0' } })
    expect(provider.received).toEqual([])
    const over = await call(gateway.dataUrl, chat(',"n":100').replace(':5', ':1000000'), { key })
    expect(over.body.error.details).toMatchObject({ reserved: '0', spent: '0' })
  })

  it.each<[what: string, code: string, body: string | Uint8Array]>([
    ['nothing', 'invalid_json', ''],
    ['half of it', 'invalid_json', chat('').slice(0, 40)],
    ['more than one value', 'invalid_json', `${chat('')}{}`],
    ['a trailing comma', 'invalid_json', chat(',')],
    ['single quotes', 'invalid_json', "{'model':'stand/m1'}"],
    ['a comment', 'invalid_json', `/* hi */${chat('')}`],
    ['NaN', 'invalid_json', chat(',"temperature":NaN')],
    ['Infinity', 'invalid_json', chat(',"temperature":-Infinity')],
    ['a hexadecimal number', 'invalid_json', chat(',"seed":0x10')],
    ['an array', 'invalid_json', '[]'],
    ['null', 'invalid_json', 'null'],
    ['a text', 'invalid_json', '"hi"'],
    ['a member twice', 'invalid_json', chat(',"max_tokens":6')],
    ['a member twice, once escaped', 'invalid_json', chat(',"max\\u005ftokens":6')],
    ['__proto__', 'invalid_json', chat(',"__proto__":{"n":9}')],
    ['__proto__ within', 'invalid_json', chat(',"metadata":{"__proto__":{"n":9}}')],
    ['__proto__, escaped', 'invalid_json', chat(',"\\u005f_proto__":{"n":9}')],
    ['10,000 levels', 'invalid_json', chat(`,"x":${nested(10_000)}`)],
    ['10,000 levels, never closed', 'invalid_json', chat(`,"x":${'['.repeat(10_000)}`)],
    ['half a character pair', 'invalid_json', chat(',"user":"\\ud800"')],
    ['bytes that are no UTF-8', 'invalid_json', Buffer.from(chat(',"user":"\xff\xfe"'), 'latin1')],
    ['UTF-16', 'invalid_json', Buffer.from(chat(''), 'utf16le')],
    ['a negative maximum', 'invalid_value', chat('').replace(':5', ':-5')],
    ['a maximum of zero', 'invalid_value', chat('').replace(':5', ':0')],
    ['a maximum beyond all numbers', 'invalid_json', chat('').replace(':5', ':1e999')],
    ['a maximum of 2^63', 'invalid_value', chat('').replace(':5', ':9223372036854775808')],
    ['a maximum as text', 'invalid_value', chat('').replace(':5', ':"5"')],
    ['a negative number of answers', 'invalid_value', chat(',"n":-1')],
    ['too many answers', 'invalid_value', chat(',"n":2147483648')],
    ['half an answer', 'invalid_value', chat(',"n":0.5')],
    ['no model', 'invalid_value', chat('').replace('"model"', '"moedl"')],
    ['messages as text', 'invalid_value', '{"model":"stand/m1","messages":"Hi"}'],
    ['a role nobody has', 'invalid_value', chat('').replace('"user"', '"wizard"')],
    ['stream as text', 'invalid_value', chat(',"stream":"yes"')],
  ])('for %s, with 400 %s', async (_, code, body) => {
    const started = performance.now()
    const reply = await call(gateway.dataUrl, body, { key })
    expect(performance.now() - started).toBeLessThan(1000)
    expect([reply.status, reply.body.error.code], reply.text).toEqual([400, code])
    expect(reply.body.error).toMatchObject({
      type: 'invalid_request_error',
      request_id: reply.requestId,
    })
    expect(reply.headers['x-should-retry']).toBe('false')
    expect(reply.text.length).toBeLessThan(2000)
  })

  it.each<[what: string, status: number, code: string, body: string, asks: Ask]>([
    ['an unknown model', 404, 'model_not_found', chat('').replace('stand/m1', 'gpt-4o-mni'), {}],
    ['a model without a price', 400, 'unpriced_model', chat('').replace('/m1', '/m2'), {}],
    ['no content type', 415, 'unsupported_media_type', chat(''), contentType('')],
    ['a form', 415, 'unsupported_media_type', chat(''), contentType('multipart/form-data')],
    [
      'a charset',
      415,
      'unsupported_media_type',
      chat(''),
      contentType('application/json; charset=latin1'),
    ],
    [
      'compression',
      415,
      'unsupported_media_type',
      chat(''),
      { headers: { 'content-encoding': 'gzip' } },
    ],
    ['an unknown path', 404, 'unknown_url', chat(''), { path: '/v1/chat/completion' }],
    ['an unknown method', 405, 'method_not_allowed', '', { method: 'DELETE' }],
  ])('for %s, with %i %s', async (_, status, code, body, asks) => {
    const reply = await call(gateway.dataUrl, body, { key, ...asks })
    expect([reply.status, reply.body.error.code]).toEqual([status, code])
  })

  it('names the nearest model and path', async () => {
    const near = chat('').replace('stand/m1', 'gpt-4o-mni')
    const { body } = await call(gateway.dataUrl, near, { key })
    expect(body.error).toMatchObject({
      param: 'model',
      message: expect.stringContaining('gpt-4o-mini'),
    })
    const path = await call(gateway.dataUrl, chat(''), { key, path: '/v1/chat/completion' })
    expect(path.body.error.message).toContain('/v1/chat/completions')
  })

  it('for its 100 MB, after the limit was read', async () => {
    const { head, sent } = await flood(`authorization: Bearer ${key}\r\n`, 100 * MIB)
    expect(head).toMatch(/^HTTP\/1\.1 413 /)
    expect(sent).toBeLessThan(16 * MIB)
  })

  it('for the 100 MB it announces, before any is read', async () => {
    const announced = `authorization: Bearer ${key}\r\ncontent-length: ${100 * MIB}\r\n`
    const { head, sent } = await flood(announced, 100 * MIB)
    expect(head).toMatch(/^HTTP\/1\.1 413 /)
    expect(sent).toBeLessThan(12 * MIB)
  })

  it('for want of a key, before its 100 MB are read', async () => {
    const { head, sent } = await flood('', 100 * MIB)
    expect(head).toMatch(/^HTTP\/1\.1 401 /)
    expect(sent).toBeLessThan(12 * MIB)
  })
})

describe('names of JavaScript in a body', () => {
  it('are members like any other, and reach the provider as they are', async () => {
    const members = ',"constructor":{"prototype":{"max_tokens":9}},"prototype":{"n":9},"toString":1'
    const reply = await call(gateway.dataUrl, chat(members), { key })
    expect(reply.status).toBe(200)
    expect(provider.received.at(-1)!.text).toContain(members)
    expect(Object.hasOwn(Object.prototype, 'max_tokens')).toBe(false)
    const { body } = await gateway.admin('GET', `/admin/v1/requests/${reply.requestId}`)
    expect(body.data[0].usage.output).toBe(5)
  })
})

function contentType(type: string): Ask {
  return { headers: { 'content-type': type } }
}

/**
 * Sends without end, chunked where the head announces no length, until it may not.
 *
 * @returns the answer's head, and bytes that left for the gateway (some are in buffers of the
 *   system still)
 */
async function flood(head: string, bytes: number): Promise<{ head: string; sent: number }> {
  const { hostname, port } = new URL(gateway.dataUrl)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const isChunked = !head.includes('content-length')
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n${head}` +
      `${isChunked ? 'transfer-encoding: chunked\r\n' : ''}\r\n`,
  )
  let answer = ''
  socket.on('data', (data) => (answer += data.toString('latin1')))
  socket.on('error', () => undefined)
  const closed = new Promise((resolve) => socket.on('close', resolve))
  const size = 64 * 1024
  const piece = Buffer.alloc(size, 0x20)
  const framed = isChunked
    ? Buffer.concat([Buffer.from(`${size.toString(16)}\r\n`), piece, Buffer.from('\r\n')])
    : piece
  for (let sent = 0; sent < bytes && !socket.destroyed; sent += size) {
    if (!socket.write(framed)) await writable(socket)
  }
  await closed
  return {
    head: answer.split('\r\n\r\n')[0] ?? '',
    sent: socket.bytesWritten - socket.writableLength,
  }
}

function writable(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done).off('close', done)
      resolve()
    }
    socket.on('drain', done).on('close', done)
  })
}
