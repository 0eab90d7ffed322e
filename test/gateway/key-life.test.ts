import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
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
  gateway = await openGateway(settings())
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
})

const settings = () => ({
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

const BODY = { model: 'stand/m1', messages: HELLO, max_tokens: 5 }

function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'tollgate-keys-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

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

async function roll(id: string, body: object = {}): Promise<Made> {
  const rolled = await gateway.admin('POST', `/admin/v1/keys/${id}/roll`, body)
  expect(rolled.status, JSON.stringify(rolled.body)).toBe(201)
  return rolled.body
}

const ask = (key: string, asks: Ask = {}, given: object = {}): Promise<Reply> =>
  call(gateway.dataUrl, { ...BODY, ...given }, { key, ...asks })

async function verdict(reply: Promise<Reply>): Promise<string> {
  const { status, body } = await reply
  return status === 200 ? '200' : `${status} ${body.error.code}`
}

const get = async (path: string) => (await gateway.admin('GET', `/admin/v1/keys${path}`)).body

describe('a line of keys', () => {
  it('has one successor, and serves without a gap, however many roll it at once', async () => {
    const { id, secret } = await make()
    const outcomes: string[] = []
    let rolling = true
    const traffic = (async () => {
      while (rolling) outcomes.push(await verdict(ask(secret)))
    })()
    const rolls = await Promise.all(
      Array.from({ length: 64 }, () => gateway.admin('POST', `/admin/v1/keys/${id}/roll`, {})),
    )
    rolling = false
    await traffic
    const won = rolls.filter(({ status }) => status === 201)
    expect([won.length, rolls.filter(({ status }) => status === 409).length]).toEqual([1, 63])
    expect(await verdict(ask(secret))).toBe('200')
    expect(await verdict(ask(won[0]?.body.secret))).toBe('200')
    expect(new Set(outcomes)).toEqual(new Set(['200']))
    const successors = (await get('?limit=100')).data.filter(
      (key: { readonly root_id: string }) => key.root_id === id,
    )
    expect(successors).toHaveLength(2)
  })

  it('gets no fresh money by a roll, in this process or after a restart', async () => {
    const dataDir = temporaryDirectory()
    let own = await openGateway(settings(), { dataDir })
    const spend = async (key: string) => {
      for (let passed = 0; passed < 100; passed++) {
        const { status, body } = await call(own.dataUrl, BODY, { key })
        if (status !== 200) return [passed, body.error.code]
      }
      return []
    }
    const rolled = async (id: string): Promise<Made> =>
      (await own.admin('POST', `/admin/v1/keys/${id}/roll`, {})).body
    const { body: first } = await own.admin('POST', '/admin/v1/keys', {
      name: 'broke',
      limits: { budgets: [{ window: 'total', limit: '0.0003' }] },
    })
    const [passed, code] = await spend(first.secret)
    expect([Number(passed) > 0, code]).toEqual([true, 'insufficient_quota'])
    const second = await rolled(first.id)
    expect(await spend(second.secret)).toEqual([0, 'insufficient_quota'])
    expect(await spend(first.secret)).toEqual([0, 'insufficient_quota'])
    await own.close()
    own = await openGateway(settings(), { dataDir })
    const third = await rolled(second.id)
    for (const { secret } of [first, second, third]) {
      expect(await spend(secret)).toEqual([0, 'insufficient_quota'])
    }
    await own.close()
  })

  it('has one set of limits', async () => {
    const old = await make({ limits: { requests_per_minute: 100 } })
    const next = await roll(old.id)
    await gateway.admin('PATCH', `/admin/v1/keys/${next.id}`, {
      limits: { requests_per_minute: 2 },
    })
    expect((await get(`/${old.id}`)).limits.requests_per_minute).toBe(2)
    const outcomes = [
      await verdict(ask(old.secret)),
      await verdict(ask(next.secret)),
      await verdict(ask(old.secret)),
      await verdict(ask(next.secret)),
    ]
    expect(outcomes.slice(2)).toEqual(['429 rate_limit_exceeded', '429 rate_limit_exceeded'])
  })
})

describe('the use of a key', () => {
  it('is told by address and user agent, refusals apart, and never shows a key', async () => {
    const { id, secret } = await make()
    const other = await make()
    await ask(secret, { headers: { 'user-agent': 'app/1' } })
    await ask(secret, { headers: { 'user-agent': 'app/1' } })
    await ask(secret, { headers: { 'user-agent': `curl ${other.secret}` } })
    const usage = await get(`/${id}/usage`)
    expect(usage).toMatchObject({ object: 'key_usage', key_id: id, requests: 3, refused: [] })
    expect(usage.addresses).toMatchObject([{ value: '127.0.0.1', requests: 3 }])
    expect(usage.user_agents).toHaveLength(2)
    expect(usage.user_agents).toContainEqual(
      expect.objectContaining({ value: 'app/1', requests: 2 }),
    )
    expect(JSON.stringify(usage)).not.toContain(other.secret.slice(0, 24))
    expect((await get(`/${id}`)).last_used_at).toBe(usage.last_used_at)

    await gateway.admin('POST', `/admin/v1/keys/${id}/disable`)
    await ask(secret)
    const after = await get(`/${id}/usage`)
    expect([after.requests, after.refused[0]]).toMatchObject([3, { value: '127.0.0.1' }])
  })

  it('shows when the old key of a roll was last used', async () => {
    const { id, secret } = await make()
    await ask(secret)
    await get(`/${id}/usage`)
    const { body } = await gateway.admin('POST', `/admin/v1/keys/${id}/roll`, {})
    expect(body.replaces).toMatchObject({ id, last_used_at: expect.stringContaining('T') })
    await new Promise((resolve) => setTimeout(resolve, 5))
    await ask(secret)
    const found = await get('?filter=rolled_in_use&limit=100')
    const row = found.data.find((key: Made) => key.id === id)
    expect(row.findings[0].message).toContain('127.0.0.1')
    expect(row.findings[0].fix).toContain(body.last4)
  })
})

describe('the inventory', () => {
  it('names what is the matter with a key, and the fix', async () => {
    const broad = await make({ name: 'broad' })
    const dying = await make({
      name: 'dying',
      models: ['stand/m1'],
      expires_at: new Date(Date.now() + 86_400_000).toISOString(),
    })
    const off = await make({ name: 'off', models: ['stand/m1'] })
    await gateway.admin('POST', `/admin/v1/keys/${off.id}/disable`, { reason: 'holidays' })
    const bounded = await make({ name: 'fine', limits: { concurrency: 1 } })
    const { data } = await get('?filter=any&limit=100')
    const of = ({ id }: Made): readonly string[] =>
      data.find((key: Made) => key.id === id)?.findings.map((one: { type: string }) => one.type) ??
      []
    expect([of(broad), of(dying), of(off), of(bounded)]).toEqual([
      ['over_broad'],
      ['expiring'],
      ['disabled'],
      [],
    ])
    const found = data.find((key: Made) => key.id === off.id)
    expect(found.findings[0].message).toContain('holidays')
    const only = await get('?filter=expiring&days=2&limit=100')
    expect(only.data.map((key: Made) => key.id)).toEqual([dying.id])
  })
})

describe('keys of one beginning', () => {
  it('are shown by a dry run, and revoked together', async () => {
    const mine = [await make({ environment: 'ci' }), await make({ environment: 'ci' })]
    const spared = await make({ environment: 'cix' })
    await ask(mine[0]!.secret)
    const revoke = (body: object) => gateway.admin('POST', '/admin/v1/keys/revoke', body)
    const { body: dry } = await revoke({ prefix: 'sk-tg-ci-', dry_run: true })
    expect(dry).toMatchObject({ count: 2, used_last_hour: 1, dry_run: true, has_more: false })
    expect(await verdict(ask(mine[1]!.secret))).toBe('200')
    expect((await revoke({ prefix: 'sk-tg-ci-', expected: 7 })).status).toBe(409)
    expect((await revoke({ prefix: mine[0]!.secret })).status).toBe(400)
    expect((await revoke({})).status).toBe(400)
    const { body } = await revoke({ prefix: 'sk-tg-ci-', expected: 2, reason: 'laptop lost' })
    expect(body.data.map((key: Made) => key.id).toSorted()).toEqual(
      mine.map(({ id }) => id).toSorted(),
    )
    for (const { secret } of mine) expect(await verdict(ask(secret))).toBe('401 revoked_api_key')
    expect(await verdict(ask(spared.secret))).toBe('200')
    expect((await get(`/${mine[0]!.id}`)).status_reason).toBe('laptop lost')
  })
})

describe('a key that leaked', () => {
  const report = (token: unknown) =>
    call(gateway.dataUrl, { token }, { path: '/v1/keys/report-leak' })

  it('is frozen by whoever holds it, with its streams, within a second', async () => {
    const { id, secret } = await make()
    provider.script = answers({ pauseMs: 50, pieces: 200 })
    const open = Promise.withResolvers<void>()
    const stream = ask(secret, { onHead: () => open.resolve() }, { stream: true })
    await open.promise
    const at = performance.now()
    const unknown = await report(`${secret.slice(0, -7)}x${secret.slice(-6)}`)
    const known = await report(secret)
    const { complete, text } = await stream
    provider.script = answers()
    expect(performance.now() - at).toBeLessThan(1000)
    expect([complete, text.includes('revoked_api_key')]).toEqual([false, true])
    expect([known.status, known.body]).toEqual([unknown.status, unknown.body])
    expect([known.status, known.body.status]).toEqual([202, 'received'])
    expect(await get(`/${id}`)).toMatchObject({ status: 'disabled', status_reason: 'leaked' })
    expect(await verdict(ask(secret))).toBe('401 revoked_api_key')

    const enable = (body?: object) => gateway.admin('POST', `/admin/v1/keys/${id}/enable`, body)
    expect((await enable()).status).toBe(409)
    const next = await roll(id)
    expect(await verdict(ask(next.secret))).toBe('200')
    expect(await verdict(ask(secret))).toBe('401 revoked_api_key')
  })

  it('is frozen by an operator, who is told which were keys', async () => {
    const { id, secret } = await make()
    const wrong = `${secret.slice(0, -8)}${secret.at(-8) === 'a' ? 'b' : 'a'}${secret.slice(-7)}`
    const { body } = await gateway.admin('POST', '/admin/v1/keys/leaks', {
      tokens: [{ token: secret, url: 'https://example.com' }, { token: wrong }, { token: secret }],
    })
    expect(body.data).toEqual([
      { status: 'frozen', key_id: id },
      { status: 'unknown', key_id: null },
      { status: 'over', key_id: id },
    ])
  })

  it('cannot be guessed here: reports of one address are few', async () => {
    const codes = new Set<number>()
    for (let time = 0; time < 12; time++) codes.add((await report('sk-tg-nothing')).status)
    expect(codes).toContain(429)
    expect((await report(5)).status).toBeGreaterThanOrEqual(400)
  })
})

describe('keys in the control plane', () => {
  it('belong to an application by id or name, and to none that is not there', async () => {
    const { body } = await gateway.admin('GET', '/admin/v1/keys?limit=1')
    expect(body.data[0].application_id).toBe('app_default')
    expect((await make({ application_id: 'default' })) as unknown).toMatchObject({
      application_id: 'app_default',
      tags: [],
      owner_id: null,
    })
    for (const wanted of [{ application_id: 'nowhere' }, { owner_id: 'user_nobody' }]) {
      const refused = await gateway.admin('POST', '/admin/v1/keys', { name: 'a', ...wanted })
      expect([refused.status, refused.body.error.param]).toEqual([400, Object.keys(wanted)[0]])
    }
  })

  it('are of the tenant they are made in, and nobody else sees or reports them there', async () => {
    const { body: tenant } = await gateway.admin('POST', '/admin/v1/tenants', { name: 'acme' })
    const at = (method: string, path: string, body?: object) =>
      fetch(gateway.adminUrl + path, {
        method,
        headers: {
          authorization: `Bearer ${gateway.adminKey}`,
          'content-type': 'application/json',
          'x-tollgate-tenant': tenant.id,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
    const app = await at('POST', '/admin/v1/applications', { name: 'shop' })
    expect(app.status).toBe(201)
    const made = (await (await at('POST', '/admin/v1/keys', { name: 'a' })).json()) as Made
    expect(await verdict(ask(made.secret))).toBe('200')
    expect((await gateway.admin('GET', `/admin/v1/keys/${made.id}`)).status).toBe(404)
    expect((await gateway.admin('GET', `/admin/v1/keys/${made.id}/usage`)).status).toBe(404)
    expect((await at('GET', `/admin/v1/keys/${made.id}/usage`)).status).toBe(200)
    const tokens = [{ token: made.secret }]
    const { body } = await gateway.admin('POST', '/admin/v1/keys/leaks', { tokens })
    expect(body.data).toEqual([{ status: 'unknown', key_id: null }])
    const everything = { created_from: '2020-01-01T00:00:00Z', dry_run: true }
    const { body: meant } = await gateway.admin('POST', '/admin/v1/keys/revoke', everything)
    expect(meant.data.map((key: Made) => key.id)).not.toContain(made.id)
    expect(await verdict(ask(made.secret))).toBe('200')
  })

  it('change only in the version that was read', async () => {
    const { id } = await make()
    const patch = (etag: string, name: string) =>
      fetch(`${gateway.adminUrl}/admin/v1/keys/${id}`, {
        method: 'PATCH',
        headers: {
          authorization: `Bearer ${gateway.adminKey}`,
          'content-type': 'application/json',
          'if-match': etag,
        },
        body: JSON.stringify({ name, tags: ['b', 'a', 'b'] }),
      })
    const first = await patch('*', 'one')
    const etag = first.headers.get('etag')!
    expect(await first.json()).toMatchObject({ name: 'one', tags: ['a', 'b'] })
    expect((await patch(etag, 'two')).status).toBe(200)
    expect((await patch(etag, 'three')).status).toBe(412)
  })

  it('stand in no file of the data directory, in whole or beyond their public part', async () => {
    const { id, secret } = await make()
    const next = await roll(id)
    await ask(secret, { headers: { 'user-agent': `agent ${secret}` } })
    await gateway.admin('POST', '/admin/v1/keys/leaks', { tokens: [{ token: secret }] })
    await fetch(`${gateway.adminUrl}/admin/v1/keys`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${gateway.adminKey}`,
        'content-type': 'application/json',
        'idempotency-key': 'once',
      },
      body: JSON.stringify({ name: 'once' }),
    }).then(async (response) => {
      const { secret: third } = (await response.json()) as Made
      for (const name of readdirSync(gateway.dataDir)) {
        const text = readFileSync(join(gateway.dataDir, name)).toString('latin1')
        for (const key of [secret, next.secret, third]) {
          expect(text.includes(key.slice(0, 28)), name).toBe(false)
          expect(text.includes(key.slice(-20)), name).toBe(false)
        }
      }
    })
  })
})
