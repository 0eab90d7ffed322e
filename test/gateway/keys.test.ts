import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
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
    name: 'life',
    ...wanted,
  })
  expect(status, JSON.stringify(body)).toBe(201)
  return body
}

const ask = (key: string, asks: Ask = {}, given: object = {}): Promise<Reply> =>
  call(
    gateway.dataUrl,
    { model: 'stand/m1', messages: HELLO, max_tokens: 5, ...given },
    { key, ...asks },
  )

/** The status, and the code of a refusal. */
async function verdict(reply: Promise<Reply>): Promise<string> {
  const { status, body } = await reply
  return status === 200 ? '200' : `${status} ${body.error.code}`
}

describe('a key', () => {
  it('is shown once, and then by its prefix and last characters', async () => {
    const made = await make({ environment: 'test' })
    expect(made.secret).toMatch(/^sk-tg-test-[0-9A-Za-z]{22}-[0-9A-Za-z]{6}$/)
    const { body: got } = await gateway.admin('GET', `/admin/v1/keys/${made.id}`)
    expect(got).not.toHaveProperty('secret')
    expect(got.last4).toBe(made.secret.slice(-4))
    expect(made.secret.startsWith(got.prefix)).toBe(true)
    expect(got.prefix.length).toBeLessThan(made.secret.length - 14)
    const { body: list } = await gateway.admin('GET', '/admin/v1/keys?limit=1')
    expect(list.data).toEqual([got])
    expect(JSON.stringify(list)).not.toContain(made.secret)
  })

  it('lists in pages, newest first', async () => {
    const names = ['one', 'two', 'three']
    for (const name of names) await make({ name: `page ${name}` })
    const seen: string[] = []
    let after = ''
    for (let page = 0; page < 3; page++) {
      const { body } = await gateway.admin('GET', `/admin/v1/keys?limit=1${after}`)
      seen.push(body.data[0].name)
      after = `&after=${body.last_id}`
    }
    expect(seen).toEqual(['page three', 'page two', 'page one'])
    expect((await gateway.admin('GET', '/admin/v1/keys?after=key_nobody')).status).toBe(400)
    expect((await gateway.admin('GET', '/admin/v1/keys/key_nobody')).status).toBe(404)
  })

  it('works until it is disabled, and again when it is enabled', async () => {
    const { id, secret } = await make()
    expect(await verdict(ask(secret))).toBe('200')
    await gateway.admin('POST', `/admin/v1/keys/${id}/disable`)
    expect(await verdict(ask(secret))).toBe('401 revoked_api_key')
    await gateway.admin('POST', `/admin/v1/keys/${id}/enable`)
    expect(await verdict(ask(secret))).toBe('200')
  })

  it('is revoked for good', async () => {
    const { id, secret } = await make()
    await gateway.admin('POST', `/admin/v1/keys/${id}/revoke`)
    expect(await verdict(ask(secret))).toBe('401 revoked_api_key')
    expect((await gateway.admin('POST', `/admin/v1/keys/${id}/enable`)).status).toBe(409)
    expect(await verdict(ask(secret))).toBe('401 revoked_api_key')
  })

  it('is cut off within a second when it is revoked, with all its streams', async () => {
    const { id, secret } = await make()
    provider.script = answers({ pauseMs: 50, pieces: 200 })
    const open = Promise.withResolvers<void>()
    let heads = 0
    const onHead = (): void => void (++heads === 10 && open.resolve())
    const streams = Array.from({ length: 10 }, () => ask(secret, { onHead }, { stream: true }))
    await open.promise
    const revokedAt = performance.now()
    await gateway.admin('POST', `/admin/v1/keys/${id}/revoke`)
    const replies = await Promise.all(streams)
    expect(performance.now() - revokedAt).toBeLessThan(1000)
    provider.script = answers()
    for (const { text, complete } of replies) {
      expect(complete).toBe(false)
      expect(text).toContain('"code":"revoked_api_key"')
      expect(text).not.toContain('[DONE]')
    }
    await expect.poll(() => provider.received.filter((one) => one.abandoned).length).toBe(10)
  })

  it('that is rolled works beside its successor until the overlap ends', async () => {
    const old = await make({ name: 'rolled', models: ['stand/m1'] })
    const { status, body: next } = await gateway.admin('POST', `/admin/v1/keys/${old.id}/roll`, {
      overlap_seconds: 1,
    })
    expect(status).toBe(201)
    expect(next).toMatchObject({ name: 'rolled', models: ['stand/m1'] })
    expect(next.secret).not.toBe(old.secret)
    expect(await Promise.all([verdict(ask(old.secret)), verdict(ask(next.secret))])).toEqual([
      '200',
      '200',
    ])
    await expect
      .poll(() => verdict(ask(old.secret)), { timeout: 2000, interval: 100 })
      .toBe('401 expired_api_key')
    expect(await verdict(ask(next.secret))).toBe('200')
    const { body: ended } = await gateway.admin('GET', `/admin/v1/keys/${old.id}`)
    expect(ended.successor_id).toBe(next.id)
  })

  it('has one successor, however many roll it at once', async () => {
    const { id } = await make()
    const rolls = await Promise.all(
      Array.from({ length: 16 }, () => gateway.admin('POST', `/admin/v1/keys/${id}/roll`, {})),
    )
    expect(rolls.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(rolls.filter(({ status }) => status === 409)).toHaveLength(15)
  })

  it('expires at its time', async () => {
    const { secret } = await make({ expires_at: new Date(Date.now() + 400).toISOString() })
    expect(await verdict(ask(secret))).toBe('200')
    await expect
      .poll(() => verdict(ask(secret)), { timeout: 2000, interval: 100 })
      .toBe('401 expired_api_key')
  })

  it('changes at once, and what was not named stays', async () => {
    const { id, secret } = await make({ models: ['stand/m1'], addresses: ['127.0.0.0/8'] })
    const { body } = await gateway.admin('PATCH', `/admin/v1/keys/${id}`, { models: ['stand/m2'] })
    expect(body).toMatchObject({ models: ['stand/m2'], addresses: ['127.0.0.0/8'], name: 'life' })
    expect(await verdict(ask(secret))).toBe('403 model_not_allowed')
    expect(await verdict(ask(secret, {}, { model: 'stand/m2' }))).toBe('200')
  })

  it.each([
    ['no name', {}],
    ['a field of the server', { name: 'a', id: 'key_1' }],
    ['a tenant', { name: 'a', tenant_id: 'other' }],
    ['a float for money', { name: 'a', limits: { budgets: [{ window: 'day', limit: 1.5 }] } }],
    ['money with too many places', budget('0.0000000001')],
    ['negative money', budget('-1')],
    ['an exponent', budget('1e3')],
    ['a window twice', budget('1', 'day', 'day')],
    ['a limit of zero', { name: 'a', limits: { requests_per_minute: 0 } }],
    ['an address that is none', { name: 'a', addresses: ['10.0.0.0/99'] }],
    ['a past expiry', { name: 'a', expires_at: '2020-01-01T00:00:00Z' }],
    ['no models', { name: 'a', models: [] }],
    ['the environment of the control plane', { name: 'a', environment: 'admin' }],
  ])('is not made with %s', async (_, wanted) => {
    const { status, body } = await gateway.admin('POST', '/admin/v1/keys', wanted)
    expect([status, body.error.code]).toEqual([400, 'invalid_value'])
    expect(body.error.param).toBeTruthy()
  })
})

function budget(limit: string, ...windows: readonly string[]): object {
  const all = windows.length === 0 ? ['total'] : windows
  return { name: 'a', limits: { budgets: all.map((window) => ({ window, limit })) } }
}
