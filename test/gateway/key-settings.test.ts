import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { AdminReply, TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'

let gateway: TestGateway

beforeAll(async () => {
  gateway = await openGateway({
    providers: { stand: { kind: 'openai', api_key: 'sk-upstream', models: ['m1'] } },
    models: { fast: { targets: [{ model: 'simulator/chat' }] } },
  })
})
afterAll(() => gateway.close())

const create = (wanted: object = {}): Promise<AdminReply> =>
  gateway.admin('POST', '/admin/v1/keys', { name: 'set', ...wanted })

const change = (id: string, wanted: object): Promise<AdminReply> =>
  gateway.admin('PATCH', `/admin/v1/keys/${id}`, wanted)

const read = async (id: string): Promise<AdminReply['body']> =>
  (await gateway.admin('GET', `/admin/v1/keys/${id}`)).body

describe('a key sent back as it was read', () => {
  it.each([
    ['with no limits', {}],
    [
      'with limits',
      {
        limits: { requests_per_minute: 5, budgets: [{ window: 'day', limit: '0.000000001' }] },
        expires_at: '2100-01-01T00:00:00Z',
        addresses: ['10.0.0.0/8'],
      },
    ],
  ])('stays the same, %s', async (_, wanted) => {
    const { id } = (await create(wanted)).body
    const shown = await read(id)
    const { status, body } = await change(id, shown)
    expect([status, body]).toEqual([200, shown])
  })

  it('stays the same although it is expired', async () => {
    const { id } = await expired()
    const shown = await read(id)
    expect(await change(id, shown)).toEqual({ status: 200, body: shown })
  })

  it.each([
    ['id', 'key_other'],
    ['status', 'revoked'],
    ['created_at', '2020-01-01T00:00:00Z'],
    ['successor_id', 'key_other'],
  ])('is refused when its %s is another', async (field, value) => {
    const { id } = (await create()).body
    const { status, body } = await change(id, { ...(await read(id)), [field]: value })
    expect([status, body.error.code, body.error.param]).toEqual([400, 'invalid_value', field])
  })

  it('loses the limits that are null', async () => {
    const { id } = (await create({ limits: { requests_per_minute: 5, concurrency: 2 } })).body
    const { body } = await change(id, { limits: { requests_per_minute: null, concurrency: 2 } })
    expect(body.limits).toMatchObject({ requests_per_minute: null, concurrency: 2 })
  })

  it.each([
    ['10,00'],
    [10],
    [{ amount: '10', currency: 'EUR' }],
    [{ amount: 10, currency: 'USD' }],
  ])('is refused with the budget %j, in words that help', async (limit) => {
    const { status, body } = await create({ limits: { budgets: [{ window: 'day', limit }] } })
    expect([status, body.error.param]).toEqual([400, 'limits.budgets.0.limit'])
    expect(body.error.message).toContain('such as "10.00"')
  })
})

describe('a key past its expiry', () => {
  it('is shown and listed as expired, and refused as such', async () => {
    const { id, secret } = await expired()
    expect(await read(id)).toMatchObject({ status: 'expired' })
    expect(await listed('expired')).toContain(id)
    expect(await listed('active')).not.toContain(id)
    const { status, body } = await call(
      gateway.dataUrl,
      { model: 'simulator/chat', messages: HELLO },
      { key: secret },
    )
    expect([status, body.error.code]).toEqual([401, 'expired_api_key'])
  })

  it('is active again with a later one', async () => {
    const { id } = await expired()
    expect((await change(id, { expires_at: null })).body.status).toBe('active')
    expect(await listed('expired')).not.toContain(id)
  })

  it('is revoked when it is revoked', async () => {
    const { id } = await expired()
    const { body } = await gateway.admin('POST', `/admin/v1/keys/${id}/revoke`)
    expect(body.status).toBe('revoked')
    expect(await listed('expired')).not.toContain(id)
  })

  it('is not rolled', async () => {
    const { id } = await expired()
    const { status, body } = await gateway.admin('POST', `/admin/v1/keys/${id}/roll`, {})
    expect([status, body.error.message]).toEqual([409, expect.stringContaining('expired')])
  })
})

describe('the rights of a new key', () => {
  it.each([
    ['endpoints', '/v1/chat', 'did you mean /v1/chat/completions?'],
    ['endpoints', '/v1/embedings', 'did you mean /v1/embeddings?'],
    ['endpoints', '/nowhere', 'there are /v1/chat/completions, '],
    ['models', 'simulator/chatt', 'did you mean "simulator/chat"?'],
    ['models', 'fasst', 'did you mean "fast"?'],
    ['models', 'nobody/gpt-5', 'does not exist here'],
    ['models', 'm1', '"m1" is stand/m1 in full'],
  ])('name in %s no %s', async (param, name, hint) => {
    const { status, body } = await create({ [param]: ['*', name] })
    expect([status, body.error.code, body.error.param]).toEqual([400, 'invalid_value', param])
    expect(body.error.message).toContain(hint)
  })

  it('name routes, models nobody has listed, and patterns', async () => {
    const models = ['fast', 'stand/m1', 'stand/brand-new', 'simulator/*', 'later/*', '*']
    const endpoints = ['/v1/chat/completions', '/v1/embeddings', '/v1/models', '*']
    expect((await create({ models, endpoints })).status).toBe(201)
  })

  it('are checked when they change', async () => {
    const { id } = (await create()).body
    expect((await change(id, { models: ['simulator/chatt'] })).status).toBe(400)
    expect((await change(id, { endpoints: ['/v1/chat'] })).status).toBe(400)
  })
})

async function expired(): Promise<{ readonly id: string; readonly secret: string }> {
  const { body } = await create({ expires_at: new Date(Date.now() + 60).toISOString() })
  await sleep(Math.max(0, Date.parse(body.expires_at) - Date.now()) + 2)
  return body
}

async function listed(status: string): Promise<readonly string[]> {
  const { body } = await gateway.admin('GET', `/admin/v1/keys?limit=100&status=${status}`)
  return body.data.map(({ id }: { readonly id: string }) => id)
}
