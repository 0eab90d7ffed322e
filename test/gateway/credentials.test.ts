import { request } from 'node:http'
import type { OutgoingHttpHeaders } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { HELLO } from './caller.ts'
import { answers, openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

let provider: Provider
let gateway: TestGateway
let key: string
/** Another good key, for requests that carry two. */
let other: string

beforeAll(async () => {
  provider = await openProvider(answers())
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
  key = gateway.key
  other = (await gateway.admin('POST', '/admin/v1/keys', { name: 'other' })).body.secret
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
})

/** A chat with these headers; 0: the connection ended without an answer. */
function status(headers: OutgoingHttpHeaders, query = ''): Promise<number> {
  return new Promise((resolve) => {
    const asked = request(`${gateway.dataUrl}/v1/chat/completions${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
    })
    asked.on('response', (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0))
    })
    asked.on('error', () => resolve(0))
    asked.end(JSON.stringify({ model: 'stand/m1', messages: HELLO, max_tokens: 5 }))
  })
}

const HEADERS = ['authorization', 'x-api-key', 'api-key', 'x-goog-api-key'] as const

describe('a good key', () => {
  it('is taken from wherever an SDK puts it', async () => {
    const asked = [
      status({ authorization: `Bearer ${key}` }),
      status({ authorization: `bearer ${key}` }),
      status({ 'x-api-key': key }),
      status({ 'api-key': key }),
      status({ 'x-goog-api-key': key }),
      status({}, `?key=${key}`),
      status({ authorization: `Bearer ${key}`, 'x-api-key': key }, `?key=${key}`),
    ]
    expect(await Promise.all(asked)).toEqual(asked.map(() => 200))
  })

  it.each(['', 'Basic ', 'Bearer:', 'Token '])('is not taken after %j', async (scheme) => {
    const answer = await fetch(`${gateway.dataUrl}/v1/models`, {
      headers: { authorization: scheme + key },
    })
    expect(answer.status).toBe(401)
    const { error } = (await answer.json()) as { error: { message: string } }
    expect(error.message).toContain('`Bearer` is missing')
  })

  it('is not looked for among several', async () => {
    const pairs = HEADERS.flatMap((first) =>
      [...HEADERS, 'query' as const]
        .filter((second) => second !== first)
        .map((second) => [first, second] as const),
    )
    for (const [first, second] of pairs) {
      for (const wrong of [other, 'sk-tg-live-nonsense', '']) {
        const headers: OutgoingHttpHeaders = { [first]: valueOf(first, key) }
        if (second !== 'query') headers[second] = valueOf(second, wrong)
        const query = second === 'query' ? `?key=${wrong}` : ''
        expect(await status(headers, query), `${first}, ${second} "${wrong}"`).toBe(401)
      }
    }
  })
})

describe('anything that is no key', () => {
  it('reaches no handler, in 500 variants', async () => {
    const before = provider.received.length
    const variants = [...credentials()]
    expect(variants.length).toBeGreaterThanOrEqual(500)
    const passed: string[] = []
    for (let from = 0; from < variants.length; from += 25) {
      const batch = variants.slice(from, from + 25)
      const statuses = await Promise.all(batch.map(({ headers, query }) => status(headers, query)))
      for (const [index, found] of statuses.entries()) {
        const { what } = batch[index]!
        if (![0, 400, 401, 431].includes(found)) passed.push(`${what}: ${found}`)
      }
    }
    expect(passed).toEqual([])
    expect(provider.received).toHaveLength(before)
  })
})

function valueOf(header: string, credential: string): string {
  return header === 'authorization' ? `Bearer ${credential}` : credential
}

interface Variant {
  readonly what: string
  readonly headers: OutgoingHttpHeaders
  readonly query: string
}

function* credentials(): Generator<Variant> {
  yield { what: 'nothing', headers: {}, query: '' }
  for (const [what, text] of wrongKeys()) {
    for (const header of HEADERS) {
      yield {
        what: `${what} in ${header}`,
        headers: { [header]: valueOf(header, text) },
        query: '',
      }
    }
    yield { what: `${what} in the query`, headers: {}, query: `?key=${encodeURIComponent(text)}` }
  }
  for (const [what, value] of wrongAuthorizations()) {
    yield { what, headers: { authorization: value as string }, query: '' }
  }
}

/** Texts that are near a key, or that careless code takes for one. */
function* wrongKeys(): Generator<readonly [string, string]> {
  for (const text of [
    '',
    'null',
    'undefined',
    'Bearer',
    '*',
    '0',
    'true',
    '[object Object]',
    '{}',
  ]) {
    yield [`"${text}"`, text]
  }
  yield ['the admin key', gateway.adminKey]
  yield ['the prefix', key.slice(0, key.indexOf('-', 11) - 14)]
  yield ['64 KiB', 'a'.repeat(65_536)]
  yield ['the key 300 times', key.repeat(300)]
  yield ['sql', `${key.slice(0, 20)}' or '1'='1`]
  yield ['a wildcard', `${key.slice(0, -3)}%%%`]
  yield ['another environment', key.replace('-live-', '-test-')]
  yield ['upper case', key.toUpperCase()]
  yield ['lower case', key.toLowerCase()]
  yield ['doubled', key + key]
  yield ['both keys', `${key},${other}`]
  yield ['quoted', `"${key}"`]
  yield ['with a path', `${key}/../${key}`]
  yield ['with a query', `${key}?a`]
  yield ['with a tab inside', `${key.slice(0, 20)}\t${key.slice(20)}`]
  yield ['with a space inside', `${key.slice(0, 20)} ${key.slice(20)}`]
  yield ['with a letter of Latin-1', `${key.slice(0, -1)}é`]
  for (let at = 0; at < key.length; at++) {
    yield [`${at} cut short`, key.slice(0, at)]
    const changed = key[at] === 'a' ? 'b' : 'a'
    yield [`character ${at} changed`, key.slice(0, at) + changed + key.slice(at + 1)]
  }
}

/** An array makes a header of each. */
function* wrongAuthorizations(): Generator<readonly [string, string | string[]]> {
  const basic = Buffer.from(`user:${key}`).toString('base64')
  for (const value of [
    `Basic ${basic}`,
    `Token ${key}`,
    `Digest ${key}`,
    key,
    `Bearer${key}`,
    `Bearer: ${key}`,
    `Bearer "${key}"`,
    `Bearer ${key}, Bearer ${other}`,
    `Bearer ${other},${key}`,
    `Bearer ${key} ${other}`,
    `Bearer Bearer ${key}`,
    `Negotiate, Bearer ${key}`,
  ]) {
    yield [`Authorization: ${value.slice(0, 30)}`, value]
  }
  yield ['two Authorization headers', [`Bearer ${key}`, `Bearer ${other}`]]
  yield ['an Authorization header and nonsense', [`Bearer ${key}`, 'nonsense']]
  yield ['nonsense and an Authorization header', ['nonsense', `Bearer ${key}`]]
}
