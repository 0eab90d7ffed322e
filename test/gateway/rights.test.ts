import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'
import type { Ask, Reply } from './caller.ts'
import { openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

let provider: Provider
let gateway: TestGateway
/** The same, behind a proxy on this machine. */
let proxied: TestGateway

beforeAll(async () => {
  provider = await openProvider()
  const stand = {
    kind: 'openai',
    api_key: 'sk-upstream',
    base_url: provider.baseUrl,
    allow_private_network: true,
    models: ['small', 'big'],
    prices: { '*': { input: '1', output: '2' } },
  }
  const settings = {
    providers: { stand, 'stand-evil': stand },
    models: {
      alias: { targets: ['stand/small'] },
      dear: { targets: ['stand/big'] },
      mixed: { strategy: 'weighted', targets: ['stand/small', 'stand/big'] },
      falling: { targets: ['stand/small'], fallbacks: ['stand/big'] },
    },
  }
  gateway = await openGateway(settings)
  proxied = await openGateway({ ...settings, trust_proxy: '127.0.0.0/8, ::1' })
})
afterAll(async () => {
  await Promise.all([gateway.close(), proxied.close()])
  await provider.close()
})

async function keyWith(rights: object, at = gateway): Promise<string> {
  const { status, body } = await at.admin('POST', '/admin/v1/keys', { name: 'right', ...rights })
  expect(status, JSON.stringify(body)).toBe(201)
  return body.secret
}

const ask = (key: string, model: string, asks: Ask = {}, at = gateway): Promise<Reply> =>
  call(at.dataUrl, { model, messages: HELLO, max_tokens: 5 }, { key, ...asks })

async function verdict(reply: Promise<Reply>): Promise<string> {
  const { status, body } = await reply
  return status === 200 ? '200' : `${status} ${body.error.code}`
}

describe('a key for some models', () => {
  it('calls these, and routes that lead to nothing else', async () => {
    const key = await keyWith({ models: ['stand/small'] })
    expect(await verdict(ask(key, 'stand/small'))).toBe('200')
    expect(await verdict(ask(key, 'alias'))).toBe('200')
    const refused = await ask(key, 'dear')
    expect(refused.status).toBe(403)
    expect(refused.body.error).toMatchObject({
      type: 'permission_error',
      code: 'model_not_allowed',
      param: 'model',
    })
    expect(refused.body.error.message).toContain('alias, stand/small')
    expect(refused.headers['x-should-retry']).toBe('false')
  })

  it('calls a route that it was given by name, with all that it leads to', async () => {
    const key = await keyWith({ models: ['falling'] })
    expect(await verdict(ask(key, 'falling'))).toBe('200')
    expect(await verdict(ask(key, 'stand/small'))).toBe('403 model_not_allowed')
    expect(await verdict(ask(key, 'stand/big'))).toBe('403 model_not_allowed')
  })

  it('sees these models and no others', async () => {
    const key = await keyWith({ models: ['stand/small'] })
    const list = await call(gateway.dataUrl, '', { key, path: '/v1/models', method: 'GET' })
    expect(list.body.data.map((row: { readonly id: string }) => row.id)).toEqual([
      'alias',
      'stand/small',
    ])
    for (const id of ['stand/big', 'dear', 'stand%2Fbig', 'nothing']) {
      const one = await call(gateway.dataUrl, '', { key, path: `/v1/models/${id}`, method: 'GET' })
      expect([one.status, one.body.error.code]).toEqual([404, 'model_not_found'])
    }
  })

  it.each([
    [
      'stand/*',
      ['stand/small', 'stand/big', 'stand/new', 'mixed'],
      ['stand-evil/small', 'stand/a/b'],
    ],
    ['stand/s*', ['stand/small', 'alias'], ['stand/big', 'mixed', 'falling', 'stand/S1']],
    ['stand/**', ['stand/small', 'stand/a/b'], ['stand-evil/small']],
    ['*/small', ['stand/small', 'stand-evil/small'], ['stand/big', 'stand/x/small']],
    ['stand/sm?ll', [], ['stand/small']],
    ['stand/.*', [], ['stand/small']],
    ['*', ['stand/small', 'stand-evil/big', 'mixed', 'simulator/chat'], []],
  ])('given as %s covers just what it says', async (pattern, allowed, refused) => {
    const key = await keyWith({ models: [pattern] })
    for (const model of allowed) expect(await verdict(ask(key, model)), model).toBe('200')
    for (const model of refused) {
      expect(await verdict(ask(key, model)), model).toBe('403 model_not_allowed')
    }
  })

  it('reaches no other model, however that is spelt', async () => {
    const key = await keyWith({ models: ['stand/small'] })
    const before = provider.received.length
    const reached: string[] = []
    const tried = bypasses()
    expect(tried.length).toBeGreaterThanOrEqual(60)
    for (const [body, asks] of tried) {
      const reply = await call(gateway.dataUrl, body, { key, ...asks })
      if (reply.status >= 500) reached.push(`${reply.status} ${body}`)
    }
    for (const { body } of provider.received.slice(before)) {
      if (body.model !== 'small') reached.push(body.model)
    }
    expect(reached).toEqual([])
  })
})

/** Requests by a key for `stand/small` that may end at another model. */
function bypasses(): readonly (readonly [body: string, asks: Ask])[] {
  const chat = (model: unknown, more = ''): string =>
    `{"model":${JSON.stringify(model)},"messages":${JSON.stringify(HELLO)},"max_tokens":5${more}}`
  const spellings = [
    'BIG big STAND/BIG Stand/big stand/BIG /big stand//big /stand/big stand/big/ stand/./big',
    'stand/small/../big stand\\big stand/bi\uFF47 \u0455tand/big stand/b\u0456g stand/b%69g',
    'stand%2Fbig stand/small,stand/big stand/small|stand/big stand/small;stand/big small#big',
    'stand/small?model=big stand/small@big stand/* * stand/s* stand/** ** dear DEAR mixed falling',
    'stand-evil/small stand-evil/big stand stand/ / small SMALL stand/SMALL ft:small:org::id',
    'stand/ft:small models/small stand/models/big openai/big __proto__ constructor toString',
    'stand/__proto__ stand/constructor hasOwnProperty alias/big alias,dear stand/big\u0000',
  ].flatMap((line) => line.split(' '))
  spellings.push('', ' dear', ' stand/big', 'stand/big ', 'stand/big\n', 'stand/small stand/big')
  return [
    ...spellings.map((model) => [chat(model), {}] as const),
    ...[null, 1, true, ['stand/big'], { id: 'stand/big' }].map(
      (model) => [chat(model), {}] as const,
    ),
    [chat('stand/small', ',"model":"stand/big"'), {}],
    [chat('stand/big', ',"model":"stand/small"'), {}],
    [chat('stand/small', ',"mod\\u0065l":"stand/big"'), {}],
    [chat('stand/small', ',"Model":"stand/big","MODEL":"stand/big"'), {}],
    [chat('stand/small', ',"__proto__":{"model":"stand/big"}'), {}],
    [chat('stand/small', ',"models":["stand/big"],"fallbacks":["stand/big"]'), {}],
    [chat('stand/small', ',"route":"fallback","provider":{"order":["big"]}'), {}],
    [chat('stand/small', ',"extra_body":{"model":"stand/big"}'), {}],
    [chat('stand/small'), { path: '/v1/chat/completions?model=stand/big' }],
    [chat('stand/small'), { headers: { 'x-model': 'stand/big', 'x-tollgate-model': 'stand/big' } }],
    [chat('stand/small'), { path: '/v1/engines/big/chat/completions' }],
    [chat('stand/small'), { path: '/openai/deployments/big/chat/completions' }],
  ]
}

describe('a key for some endpoints', () => {
  it('calls these and no other, and may list models', async () => {
    const key = await keyWith({ endpoints: ['/v1/chat/completions'] })
    expect(await verdict(ask(key, 'stand/small'))).toBe('200')
    const models = await call(gateway.dataUrl, '', { key, path: '/v1/models', method: 'GET' })
    expect([models.status, models.body.data.length > 0]).toEqual([200, true])
    const vectors = { model: 'simulator/embed', input: 'a' }
    const embedded = await call(gateway.dataUrl, vectors, { key, path: '/v1/embeddings' })
    expect([embedded.status, embedded.body.error.code]).toEqual([403, 'permission_denied'])
  })

  it('reaches no other by another spelling of the path', async () => {
    const key = await keyWith({ endpoints: ['/v1/embeddings'] })
    const before = provider.received.length
    for (const path of [
      '/v1/chat/completions',
      '/v1/chat/completions/',
      '//v1/chat/completions',
      '/V1/Chat/Completions',
      '/v1/embeddings/../chat/completions',
      '/v1/./chat/completions',
      '/v1/chat%2Fcompletions',
      '/v1/chat/%63ompletions',
      '/v1/chat/completions;/v1/embeddings',
      '/v1/chat/completions?/v1/embeddings',
      '/v1/chat/completions#/v1/embeddings',
      'http://evil.example/v1/chat/completions',
    ]) {
      const reply = await ask(key, 'stand/small', {
        path,
        headers: { host: '/v1/embeddings' },
      }).catch(() => undefined)
      expect(reply?.status ?? 400, path).toBeGreaterThanOrEqual(400)
    }
    expect(provider.received).toHaveLength(before)
  })
})

describe('a key for some addresses', () => {
  it('is refused from anywhere else, whatever the caller claims', async () => {
    const key = await keyWith({ addresses: ['10.0.0.0/8', '2001:db8::/32'] })
    for (const headers of [
      {},
      { 'x-forwarded-for': '10.1.2.3' },
      { 'x-forwarded-for': '10.1.2.3, 10.1.2.3' },
      { 'x-real-ip': '10.1.2.3' },
      { 'true-client-ip': '10.1.2.3' },
      { 'cf-connecting-ip': '10.1.2.3' },
      { forwarded: 'for=10.1.2.3' },
      { 'x-forwarded-host': '10.1.2.3', 'x-client-ip': '10.1.2.3' },
    ]) {
      const reply = await ask(key, 'stand/small', { headers })
      expect([reply.status, reply.body.error.code]).toEqual([403, 'ip_not_allowed'])
      expect(reply.body.error.message).toContain('127.0.0.1')
    }
  })

  it('is let in from these', async () => {
    for (const address of ['127.0.0.1', '127.0.0.0/8', '::ffff:127.0.0.1/128', '0.0.0.0/0']) {
      const key = await keyWith({ addresses: ['10.0.0.0/8', address] })
      expect(await verdict(ask(key, 'stand/small')), address).toBe('200')
    }
  })

  it.each([
    ['10.1.2.3', '200'],
    ['8.8.8.8, 10.1.2.3', '200'],
    // What another proxy of ours added is passed over.
    ['10.1.2.3, 127.0.0.2', '200'],
    ['2001:db8::1', '200'],
    ['::ffff:10.1.2.3', '200'],
    ['10.1.2.3, 8.8.8.8', '403 ip_not_allowed'],
    ['10.1.2.3, 8.8.8.8, 127.0.0.1', '403 ip_not_allowed'],
    ['8.8.8.8', '403 ip_not_allowed'],
    ['', '403 ip_not_allowed'],
    ['unknown', '403 ip_not_allowed'],
    ['10.1.2.3, unknown', '403 ip_not_allowed'],
    ['10.1.2.3:80, 10.1.2.999', '403 ip_not_allowed'],
  ])('behind a proxy of ours, from "%s": %s', async (forwarded, wanted) => {
    const key = await keyWith({ addresses: ['10.0.0.0/8', '2001:db8::/32'] }, proxied)
    const headers = { 'x-forwarded-for': forwarded }
    expect(await verdict(ask(key, 'stand/small', { headers }, proxied))).toBe(wanted)
  })
})
