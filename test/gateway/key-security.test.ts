import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Key } from '#protocol'
import { createKeyIndex } from '../../src/gateway/key-index.ts'
import { digestKey, generateKey, keyPrefix } from '../../src/secrets.ts'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { sampleKey } from '../store/samples.ts'
import { call, HELLO } from './caller.ts'
import type { Ask, Reply } from './caller.ts'
import { answers, openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

let provider: Provider
let gateway: TestGateway

beforeAll(async () => {
  provider = await openProvider()
  gateway = await openGateway({
    providers: {
      stand: {
        kind: 'openai',
        api_key: 'sk-upstream',
        base_url: provider.baseUrl,
        allow_private_network: true,
        prices: { '*': { input: '1', output: '2' } },
      },
    },
  })
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
})

interface Made {
  readonly id: string
  readonly secret: string
}

async function make(wanted: object = {}): Promise<Made> {
  const { status, body } = await gateway.admin('POST', '/admin/v1/keys', {
    name: 'guarded',
    ...wanted,
  })
  expect(status, JSON.stringify(body)).toBe(201)
  return body
}

const KEYS = 100_000

describe('among 100,000 keys', () => {
  const secret = randomBytes(32)
  const stored = new Map<string, { readonly key: Key; readonly digest: Uint8Array }>()
  const secrets: string[] = []
  const index = createKeyIndex({
    secret,
    load: async (prefix) => stored.get(prefix),
    capacity: KEYS,
  })

  /** Has seen none of them. */
  const cold = createKeyIndex({
    secret,
    load: async (prefix) => stored.get(prefix),
    capacity: KEYS,
  })
  /** Right in form and checksum, with a prefix of ours and with nobody's. */
  const wrong: (readonly [string, string])[] = []

  beforeAll(() => {
    for (let number = 0; number < KEYS; number++) {
      const text = generateKey('live')
      const prefix = keyPrefix(text)!
      secrets.push(text)
      stored.set(prefix, { key: sampleKey(number, { prefix }), digest: digestKey(secret, text) })
    }
    for (const text of secrets.slice(0, 10_000)) {
      const theirs = reseal(`${text.slice(0, 25)}${'A'.repeat(8)}-000000`)
      wrong.push([flat(theirs), flat(generateKey('live'))])
    }
  })

  it('each opens itself, and nothing that is random or one character off opens any', async () => {
    let opened = 0
    const accepted: string[] = []
    for (const [number, text] of secrets.entries()) {
      if (number % 10 === 0 && (await index.find(text))?.prefix === keyPrefix(text)) opened++
      const at = 11 + (number % 22)
      const off = text.slice(0, at) + (text[at] === 'x' ? 'y' : 'x') + text.slice(at + 1)
      for (const wrong of [off, reseal(off), generateKey('live')]) {
        if ((await index.find(wrong)) !== undefined) accepted.push(wrong)
      }
    }
    expect([opened, accepted]).toEqual([KEYS / 10, []])
  }, 60_000)

  it('a prefix that exists takes as long as one that does not', async ({ annotate }) => {
    for (const times of ['first', 'second']) {
      const [known, unknown] = [[] as number[], [] as number[]]
      for (const [number, [theirs, nobodys]] of wrong.entries()) {
        // In turns: whoever comes second finds warm caches.
        if (number % 2 === 0) known.push(await timed(theirs))
        unknown.push(await timed(nobodys))
        if (number % 2 === 1) known.push(await timed(theirs))
      }
      const t = welch(trimmed(known), trimmed(unknown))
      await annotate(
        `asked for the ${times} time: Welch t = ${t.toFixed(2)}, ${known.length} each, ${meanUs(known)} and ${meanUs(unknown)} µs`,
      )
      expect(Number.isFinite(t)).toBe(true)
    }
  }, 60_000)

  it('a new key is known at once, also where its prefix was tried before', async () => {
    const text = generateKey('live')
    const prefix = keyPrefix(text)!
    const key = sampleKey(KEYS, { prefix })
    expect(await index.find(text)).toBeUndefined()
    stored.set(prefix, { key, digest: digestKey(secret, text) })
    index.changed(key)
    expect(await index.find(text)).toEqual(key)
  })

  async function timed(text: string): Promise<number> {
    const start = performance.now()
    await cold.find(text)
    return performance.now() - start
  }
})

const CARRIERS: Readonly<Record<string, (key: string) => Ask>> = {
  'Authorization: Bearer': (key) => ({ headers: { authorization: `Bearer ${key}` } }),
  'authorization: bearer': (key) => ({ headers: { authorization: `bearer ${key}` } }),
  'x-api-key': (key) => ({ headers: { 'x-api-key': key } }),
  'api-key': (key) => ({ headers: { 'api-key': key } }),
  'x-goog-api-key': (key) => ({ headers: { 'x-goog-api-key': key } }),
  '?key=': (key) => ({ path: `?key=${key}` }),
}

const ROUTES: Readonly<Record<string, object>> = {
  '/v1/chat/completions': { model: 'stand/m1', messages: HELLO, max_tokens: 5 },
  '/v1/embeddings': { model: 'stand/m1', input: 'a' },
}

const RESTRICTIONS: Readonly<Record<string, readonly [wanted: object, code: string]>> = {
  'its addresses': [{ addresses: ['10.0.0.0/8'] }, 'ip_not_allowed'],
  'its models': [{ models: ['simulator/chat'] }, 'model_not_allowed'],
  'its endpoints': [{ endpoints: ['/v1/models'] }, 'permission_denied'],
  'its expiry': [{ expires_at: 'soon' }, 'expired_api_key'],
  'being disabled': [{}, 'revoked_api_key'],
}

describe('a key is kept to', () => {
  const cells = Object.keys(RESTRICTIONS).flatMap((restriction) =>
    Object.keys(CARRIERS).map((carrier) => [restriction, carrier] as const),
  )

  it.each(cells)('%s when it comes by %s', async (restriction, carrier) => {
    const [wanted, code] = RESTRICTIONS[restriction]!
    const expires = restriction === 'its expiry'
    const made = await make(
      expires ? { expires_at: new Date(Date.now() + 150).toISOString() } : wanted,
    )
    if (expires) await new Promise((resolve) => setTimeout(resolve, 160))
    if (restriction === 'being disabled') {
      await gateway.admin('POST', `/admin/v1/keys/${made.id}/disable`)
    }
    const before = provider.received.length
    for (const [route, body] of Object.entries(ROUTES)) {
      const { headers = {}, path = '' } = CARRIERS[carrier]!(made.secret)
      const reply = await call(gateway.dataUrl, body, { headers, path: route + path })
      expect([route, reply.body.error?.code]).toEqual([route, code])
    }
    expect(provider.received).toHaveLength(before)
  })
})

describe('a key for one model', () => {
  it('reaches no other by an embedding either', async () => {
    const { secret } = await make({ models: ['stand/small'] })
    const before = provider.received.length
    for (const model of [
      'stand/big',
      'STAND/BIG',
      'Stand/small',
      'big',
      ' stand/big',
      'stand/small/../big',
      'stand/small,stand/big',
      's\u0442and/small',
      'stand/*',
      '*',
      ['stand/big'],
      { id: 'stand/big' },
      null,
    ]) {
      const body = { model, input: 'a' }
      const reply = await call(gateway.dataUrl, body, { key: secret, path: '/v1/embeddings' })
      expect(reply.status, JSON.stringify(model)).toBeGreaterThanOrEqual(400)
    }
    for (const body of [
      '{"model":"stand/small","model":"stand/big","input":"a"}',
      '{"model":"stand/big","mod\\u0065l":"stand/small","input":"a"}',
    ]) {
      const reply = await call(gateway.dataUrl, body, { key: secret, path: '/v1/embeddings' })
      expect(reply.status, body).toBeGreaterThanOrEqual(400)
    }
    expect(provider.received.slice(before).filter(({ body }) => body.model !== 'small')).toEqual([])
  })
})

describe('a key that is revoked while it is used', () => {
  it('has its 50 streams cut and nothing served, within a second', async () => {
    const { id, secret } = await make()
    const ask = (asks: Ask, given: object): Promise<Reply> =>
      call(
        gateway.dataUrl,
        { ...ROUTES['/v1/chat/completions'], ...given },
        { key: secret, ...asks },
      )
    provider.script = answers({ pauseMs: 50, pieces: 400 })
    const open = Promise.withResolvers<void>()
    let heads = 0
    const onHead = (): void => void (++heads === 50 && open.resolve())
    const streams = Array.from({ length: 50 }, () => ask({ onHead }, { stream: true }))
    await open.promise
    await gateway.admin('POST', `/admin/v1/keys/${id}/revoke`)
    const at = performance.now()
    const received = provider.received.length
    const late = await Promise.all(Array.from({ length: 50 }, () => ask({}, {})))
    const cut = await Promise.all(streams)
    const tookMs = performance.now() - at
    provider.script = answers()
    expect(new Set(late.map(({ status }) => status))).toEqual(new Set([401]))
    expect(cut.filter(({ complete }) => complete)).toEqual([])
    expect(provider.received).toHaveLength(received)
    expect(tookMs).toBeLessThan(1000)
  })
})

/** With a right checksum, so that only the digest tells it from a key. */
function reseal(text: string): string {
  const body = text.slice(0, -7)
  const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  let rest = crc32(body)
  let out = ''
  for (let place = 0; place < 6; place++) {
    out = ALPHABET[rest % 62]! + out
    rest = Math.floor(rest / 62)
  }
  return `${body}-${out}`
}

/** The same text as it comes from a socket, whatever it was put together from. */
function flat(text: string): string {
  return Buffer.from(text).toString()
}

/** Without the slowest fifth: collections of garbage and other processes. */
function trimmed(samples: readonly number[]): readonly number[] {
  return samples.toSorted((a, b) => a - b).slice(0, Math.floor(samples.length * 0.8))
}

function meanUs(samples: readonly number[]): string {
  const all = trimmed(samples)
  return ((all.reduce((sum, one) => sum + one, 0) / all.length) * 1000).toFixed(2)
}

function welch(a: readonly number[], b: readonly number[]): number {
  const mean = (all: readonly number[]): number =>
    all.reduce((sum, one) => sum + one, 0) / all.length
  const variance = (all: readonly number[]): number => {
    const middle = mean(all)
    return all.reduce((sum, one) => sum + (one - middle) ** 2, 0) / (all.length - 1)
  }
  return (mean(a) - mean(b)) / Math.sqrt(variance(a) / a.length + variance(b) / b.length)
}
