import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'
import type { Reply } from './caller.ts'
import { onEachDatabase } from '../store/databases.ts'
import type { Location } from '../store/databases.ts'
import { newTenant } from './people.ts'
import { answers, openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

/** Ten output tokens, at a dollar a million. */
const REQUEST = '0.00001'

let provider: Provider
let gateway: TestGateway

async function open(location: Location): Promise<void> {
  provider = await openProvider()
  provider.script = answers({ outputTokens: 10 })
  const { url: database_url } = location
  gateway = await openGateway({
    ...(database_url !== undefined && { database_url }),
    providers: {
      stand: {
        kind: 'openai',
        api_key: 'sk-upstream',
        base_url: provider.baseUrl,
        allow_private_network: true,
        models: ['m1', 'm2'],
        prices: { '*': { input: '0', output: '1' } },
      },
    },
  })
}

async function newKey(fields: object = {}, tenant = 'default') {
  const path = `/admin/v1/keys?tenant=${tenant}`
  const { status, body } = await gateway.admin('POST', path, {
    name: 'web',
    models: ['stand/m1'],
    ...fields,
  })
  expect(status, JSON.stringify(body)).toBe(201)
  return body
}

const chat = (key: string, given: object = {}): Promise<Reply> =>
  call(gateway.dataUrl, { model: 'stand/m1', messages: HELLO, max_tokens: 10, ...given }, { key })

async function me(key: string) {
  const { status, text, body } = await call(gateway.dataUrl, '', {
    key,
    path: '/v1/me',
    method: 'GET',
  })
  expect(status, text).toBe(200)
  return body
}

const roll = (key: string, body: object | string = ''): Promise<Reply> =>
  call(gateway.dataUrl, body, { key, path: '/v1/me/roll' })

async function limit(path: string, limits: object, act: () => Promise<void>): Promise<void> {
  const { status, body } = await gateway.admin('PUT', `/admin/v1/limits/${path}`, limits)
  expect(status, JSON.stringify(body)).toBe(200)
  try {
    await act()
  } finally {
    await gateway.admin('DELETE', `/admin/v1/limits/${path}`)
  }
}

// oxlint-disable-next-line typescript/no-explicit-any -- as in the replies
const limitOf = (body: any, scope: string, what: string) =>
  body.limits.find(
    (one: Record<string, unknown>) => one['scope'] === scope && one['limit'] === what,
  )

onEachDatabase((database) => {
  beforeAll(async () => open(await database.fresh()))
  afterAll(async () => {
    await gateway.close()
    await provider.close()
  })

  describe('GET /v1/me', () => {
    it('says whose key it is and what it may call', async () => {
      const key = await newKey({
        name: 'batch',
        tags: ['team:a'],
        endpoints: ['/v1/embeddings'],
        expires_at: '2099-01-01T00:00:00.000Z',
      })
      const body = await me(key.secret)
      expect(body.key).toMatchObject({
        id: key.id,
        name: 'batch',
        last4: key.secret.slice(-4),
        prefix: key.prefix,
        status: 'active',
        expires_at: '2099-01-01T00:00:00.000Z',
        tags: ['team:a'],
      })
      expect(body).toMatchObject({
        application: { id: key.application_id, name: 'default' },
        tenant: { name: 'default', time_zone: 'UTC' },
        owner: null,
        may: {
          models: ['stand/m1'],
          endpoints: ['/v1/embeddings', '/v1/models', '/v1/me'],
          addresses: [],
        },
        binding: null,
      })
      expect(JSON.stringify(body)).not.toContain(key.secret)
    })

    it('has the numbers of the ledger and of the headers of the next call', async () => {
      const key = await newKey({
        limits: { requests_per_minute: 50, budgets: [{ window: 'month', limit: '0.001' }] },
      })
      for (let count = 0; count < 3; count++) {
        const { status, requestId } = await chat(key.secret)
        expect(status).toBe(200)
        const [entry] = await gateway.entries(requestId)
        expect(entry?.cost_usd).toBe(REQUEST)
      }
      await limit('application/default', { requests_per_minute: 1000 }, async () => {
        const body = await me(key.secret)
        expect(body.spend.map(({ window }: { window: string }) => window)).toEqual([
          'day',
          'week',
          'month',
        ])
        expect(body.spend[2]).toMatchObject({
          requests: 3,
          spent: { amount: '0.00003' },
          limit: { amount: '0.001' },
        })
        expect(Number(body.spend[2].forecast.expected.amount)).toBeGreaterThanOrEqual(0.00003)
        expect(limitOf(body, 'key', 'budget')).toMatchObject({
          used: { amount: '0.00003' },
          remaining: { amount: '0.00097' },
          window: 'month',
          policy: 'hard',
          binding: false,
        })
        expect(limitOf(body, 'application', 'requests')).toMatchObject({ max: '1000', used: '3' })
        const requests = limitOf(body, 'key', 'requests')
        expect(requests).toMatchObject({ max: '50', used: '3', remaining: '47', binding: true })
        expect(body.binding).toEqual(requests)
        expect(await me(key.secret)).toMatchObject({ binding: { remaining: '47' } })

        const { headers } = await chat(key.secret)
        expect(headers['x-ratelimit-remaining-requests']).toBe('46')
        expect(headers['x-tollgate-limit']).toMatch(/^key "web"; requests; .*remaining=46/)
      })
    })

    it('answers over budget, names the limit that binds and the calls it refused', async () => {
      const key = await newKey({ limits: { budgets: [{ window: 'day', limit: REQUEST }] } })
      expect((await chat(key.secret)).status).toBe(200)
      const refused = await chat(key.secret)
      expect(refused.body.error.code).toBe('insufficient_quota')
      await chat(key.secret, { model: 'stand/m2' })
      await chat(key.secret, { temperature: 'my secret words' })
      const body = await me(key.secret)
      expect(body.binding).toMatchObject({
        scope: 'key',
        scope_id: key.id,
        limit: 'budget',
        window: 'day',
        remaining: { amount: '0' },
        status: 'blocked',
        binding: true,
      })
      expect(body.refused.map(({ code }: { code: string }) => code)).toEqual([
        'invalid_value',
        'model_not_allowed',
        'insufficient_quota',
      ])
      expect(body.refused[2]).toMatchObject({
        request_id: refused.requestId,
        endpoint: '/v1/chat/completions',
        model: 'stand/m1',
        status: refused.status,
        message: refused.body.error.message,
        limit: { kind: 'budget', scope: 'key', window: 'day' },
      })
      expect(JSON.stringify(body)).not.toContain('secret words')
    })

    it('shows every scope that can stop it, and hides what all of the platform use', async () => {
      const key = await newKey({ tags: ['team:b'] })
      await limit('platform/platform', { requests_per_minute: 900 }, () =>
        limit('tag/team:b', { requests_per_day: 77 }, () =>
          limit('end_user/*', { requests_per_day: 5 }, () =>
            limit('service/stand%2Fm1', { concurrency: 4 }, () =>
              limit('service/stand%2Fm2', { concurrency: 3 }, async () => {
                const { limits } = await me(key.secret)
                expect(
                  limits.map((one: Record<string, unknown>) => [
                    one['scope'],
                    one['scope_id'],
                    one['max'],
                    one['remaining'],
                  ]),
                ).toEqual([
                  ['platform', 'platform', null, null],
                  ['service', 'stand/m1', '4', '4'],
                  ['tag', 'team:b', '77', '77'],
                  ['end_user', '*', '5', null],
                ])
              }),
            ),
          ),
        ),
      )
    })

    it('is told to nobody whose key has ended', async () => {
      const key = await newKey()
      await gateway.admin('POST', `/admin/v1/keys/${key.id}/revoke`, {})
      for (const secret of [key.secret, 'sk-tg-live-nothing']) {
        const { status } = await call(gateway.dataUrl, '', {
          key: secret,
          path: '/v1/me',
          method: 'GET',
        })
        expect(status).toBe(401)
      }
      expect((await roll(key.secret)).status).toBe(401)
    })

    it('tells twins in two tenants nothing of each other', async () => {
      const twins = []
      for (const name of ['twin-a', 'twin-b']) {
        const tenant = await newTenant(gateway, name)
        const fields = { tags: ['same'], limits: { requests_per_minute: 9 } }
        twins.push({ tenant, key: await newKey(fields, tenant) })
        const set = await gateway.admin('PUT', `/admin/v1/limits/tag/same?tenant=${tenant}`, {
          requests_per_day: 60,
        })
        expect(set.status).toBe(200)
      }
      const [a, b] = twins as [(typeof twins)[0], (typeof twins)[0]]
      expect((await chat(a.key.secret)).status).toBe(200)
      await chat(a.key.secret, { model: 'stand/m2' })
      const before = await me(b.key.secret)
      expect(before.refused).toEqual([])
      expect(before.spend[0]).toMatchObject({ requests: 0, spent: { amount: '0' } })
      expect(limitOf(before, 'key', 'requests').used).toBe('0')
      expect(limitOf(before, 'tag', 'requests')).toMatchObject({ scope_id: 'same', used: '0' })
      const text = JSON.stringify(before)
      for (const theirs of [a.tenant, a.key.id, a.key.application_id, 'twin-a']) {
        expect(text).not.toContain(theirs)
      }
      const after = await me(a.key.secret)
      expect(limitOf(after, 'tag', 'requests').used).toBe('1')
      expect(after.refused).toHaveLength(1)
    })
  })

  describe('POST /v1/me/roll', () => {
    it('makes a successor while both are on the way; limits and spend are one', async () => {
      const key = await newKey({
        endpoints: ['/v1/chat/completions'],
        limits: { requests_per_minute: 20 },
      })
      await chat(key.secret)
      const calls: Promise<Reply>[] = Array.from({ length: 5 }, () => chat(key.secret))
      const { status, body, headers } = await roll(key.secret, { overlap_seconds: 2 })
      expect(status).toBe(201)
      expect(headers['cache-control']).toBe('no-store')
      expect(body).toMatchObject({
        root_id: key.id,
        models: ['stand/m1'],
        endpoints: ['/v1/chat/completions'],
        replaces: { id: key.id },
      })
      expect(body.secret).not.toBe(key.secret)
      calls.push(...Array.from({ length: 4 }, (_, i) => chat(i % 2 ? key.secret : body.secret)))
      expect((await Promise.all(calls)).map((one) => one.status)).toEqual(Array(9).fill(200))
      const [old, young] = [await me(key.secret), await me(body.secret)]
      expect(old.key.successor_id).toBe(body.id)
      expect(young.key.id).toBe(body.id)
      for (const one of [old, young]) expect(one.binding).toMatchObject({ used: '10' })

      // A second answer would be a second successor.
      expect((await roll(key.secret)).status).toBe(409)
      const { body: audit } = await gateway.admin('GET', '/admin/v1/audit?outcome=failed')
      expect(audit.data[0]).toMatchObject({
        action: 'keys.roll',
        error_code: 'conflict',
        actor: { type: 'key', id: key.id },
      })
      await sleep(2100)
      expect((await chat(key.secret)).body.error.code).toBe('expired_api_key')
      expect((await chat(body.secret)).status).toBe(200)
    })

    it('is in the audit, done by the key, without its secret', async () => {
      const key = await newKey()
      const { body, requestId } = await roll(key.secret)
      const { body: audit } = await gateway.admin(
        'GET',
        '/admin/v1/audit?action=keys.roll&limit=100',
      )
      const records = audit.data.filter(
        (one: Record<string, unknown>) => one['request_id'] === requestId,
      )
      expect(records).toHaveLength(2)
      for (const record of records) {
        expect(record).toMatchObject({
          actor: { type: 'key', id: key.id, name: 'web' },
          outcome: 'ok',
        })
      }
      const text = JSON.stringify(audit)
      for (const secret of [key.secret, body.secret]) expect(text).not.toContain(secret)
      expect((await gateway.admin('GET', '/admin/v1/audit/verify')).body.ok).toBe(true)
    })

    it.each([
      ['a fraction', { overlap_seconds: 1.5 }],
      ['too long', { overlap_seconds: 604_801 }],
      ['a stranger', { limits: {} }],
    ])('is refused with %s', async (_, wrong) => {
      const { secret } = await newKey()
      const { status, body } = await roll(secret, wrong)
      expect([status, body.error.code]).toEqual([400, 'invalid_value'])
    })

    it('ends after ten in an hour', async () => {
      let { secret } = await newKey()
      for (let count = 0; count < 10; count++) {
        const { status, body } = await roll(secret, { overlap_seconds: 60 })
        expect(status).toBe(201)
        secret = body.secret
      }
      expect((await roll(secret)).body.error.code).toBe('rate_limit_exceeded')
    })
  })
})
