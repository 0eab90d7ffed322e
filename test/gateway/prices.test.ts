import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { type AdminReply, openGateway, type TestGateway } from '../gateway.ts'

const CHAT = { model: 'simulator/chat', messages: [{ role: 'user', content: 'Hello' }] }
const DAY_MS = 86_400_000

let gateway: TestGateway

describe('prices that are set', () => {
  beforeEach(async () => {
    gateway = await openGateway()
  })
  afterEach(() => gateway.close())

  it('count at once, before those of the settings, and end when they are ended', async () => {
    const before = await ask()
    const set = await gateway.admin('POST', '/admin/v1/prices', {
      model: 'simulator/*',
      rates: { input: '1000', output: '2000', request: '0.5' },
    })
    expect(set).toMatchObject({
      status: 201,
      body: { model: 'simulator/*', source: 'operator', status: 'in_force', tenant_id: null },
    })
    const { id } = set.body
    const after = await ask()
    const { input, output } = after.usage as { input: number; output: number }
    expect(after.price_version).toBe(`operator:${id}`)
    expect(after.cost_usd).toBe(String(input / 1000 + output / 500 + 0.5))
    const ended = await gateway.admin('POST', `/admin/v1/prices/${id}/end`, {})
    expect(ended.body.status).toBe('ended')
    expect((await ask()).price_version).toBe(before.price_version)
    expect((await gateway.admin('POST', `/admin/v1/prices/${id}/end`, {})).status).toBe(409)
  })

  it('are never edited: a new one ends the one before, and history has both', async () => {
    const first = await set({ model: 'simulator/chat', rates: { input: '1', output: '2' } })
    const second = await set({ model: 'simulator/chat', rates: { input: '3', output: '4' } })
    const same = await set({ model: 'simulator/chat', rates: { output: '4', input: '3' } })
    expect(same.id).toBe(second.id)
    const { body } = await gateway.admin('GET', `/admin/v1/prices/${first.id}`)
    expect(body).toMatchObject({ effective_to: second.effective_from, rates: { input: '1' } })
    const history = await gateway.admin('GET', '/admin/v1/prices/history?model=simulator/chat')
    expect(history.body.data.map(({ version }: { version: string }) => version)).toEqual([
      `operator:${second.id}`,
      `operator:${first.id}`,
      expect.stringMatching(/^settings:simulator\//),
    ])
    const listed = await gateway.admin('GET', '/admin/v1/prices')
    expect(listed.body.data.map(({ id }: { id: string }) => id)).toEqual([second.id])
  })

  it('say what their version means, for good', async () => {
    const { id } = await set({ model: 'simulator/chat', rates: { input: '1', output: '2' } })
    const { price_version: version } = await ask()
    const path = `/admin/v1/prices/version?version=${encodeURIComponent(`${version}!webSearches`)}`
    await expect
      .poll(async () => (await gateway.admin('GET', path)).body)
      .toMatchObject({
        object: 'price.version',
        provider: 'simulator',
        rates: { input: '1', output: '2', cache_read: '1' },
        uncovered: ['webSearches'],
        first_used_at: expect.any(String),
        price: { id },
      })
    const unknown = await gateway.admin('GET', '/admin/v1/prices/version?version=nothing')
    expect(unknown.status).toBe(404)
  })

  it('can be for one tenant, as a price or a discount', async () => {
    const list = await ask()
    const tenant = 'tenant_default'
    const discount = await set({ model: 'simulator/*', tenant, discount_percent: '12.5' })
    const cheaper = await ask()
    expect(cheaper.price_version).toBe(`${list.price_version}%${discount.id}`)
    expect(nanos(cheaper.cost_usd)).toBe((nanos(list.cost_usd) * 875n + 500n) / 1000n)
    const own = await set({ model: 'simulator/chat', tenant, rates: { input: '9', output: '9' } })
    // A discount is off the list, not off what was negotiated.
    expect((await ask()).price_version).toBe(`tenant:${own.id}`)
  })

  it('that are imported are all set, or none', async () => {
    const rates = { input: '1', output: '2' }
    const wrong = await gateway.admin('POST', '/admin/v1/prices/import', {
      prices: [
        { model: 'simulator/chat', rates },
        {
          model: 'simulator/embed',
          rates: { input: '1', above: [{ input_tokens: 9, output: '1' }] },
        },
      ],
    })
    expect(wrong).toMatchObject({ status: 400, body: { error: { param: 'prices.1' } } })
    const prices = [
      { model: 'simulator/chat', rates, effective_from: '2026-01-01' },
      { model: 'simulator/chat', rates: { ...rates, input: '2' }, effective_from: '2026-02-01' },
      { model: 'simulator/x', discount_percent: '100', effective_from: null },
    ]
    const dry = await gateway.admin('POST', '/admin/v1/prices/import', { prices, dry_run: true })
    expect(dry.body).toMatchObject({ set: 3, ended: 0, unchanged: 0 })
    expect((await gateway.admin('GET', '/admin/v1/prices?all=true')).body.data).toEqual([])
    const done = await gateway.admin('POST', '/admin/v1/prices/import', { prices, source: 'test' })
    expect(done.body.data).toMatchObject([
      { status: 'in_force', discount_percent: '100', effective_from: null },
      { status: 'ended', effective_to: '2026-02-01T00:00:00.000Z' },
      { status: 'in_force', set_by: 'admin_key (import:test)' },
    ])
  })

  it('may begin later, and what is set before then holds until that', async () => {
    const from = new Date(Date.now() + DAY_MS).toISOString()
    const later = await set({
      model: 'simulator/chat',
      rates: { input: '5', output: '5' },
      effective_from: from,
    })
    expect(later.status).toBe('scheduled')
    const now = await set({ model: 'simulator/chat', rates: { input: '4', output: '4' } })
    expect(now).toMatchObject({ status: 'in_force', effective_to: from })
    expect(await effective()).toMatchObject({ version: `operator:${now.id}` })
    const at = new Date(Date.now() + 2 * DAY_MS).toISOString()
    expect(await effective(`&at=${at}`)).toMatchObject({ version: `operator:${later.id}` })
  })

  it('of a tenant are seen and paid by that tenant alone', async () => {
    const acme = await tenant('acme')
    const other = await tenant('other')
    const own = await set({
      model: 'simulator/*',
      tenant: 'acme',
      rates: { input: '7', output: '7' },
    })
    const discount = await set({ model: 'simulator/*', tenant: other.id, discount_percent: '50' })
    const common = await set({ model: 'simulator/small*', rates: { input: '1', output: '1' } })
    expect((await ask(acme.key)).price_version).toBe(`tenant:${own.id}`)
    expect((await ask(other.key)).price_version).toMatch(new RegExp(`%${discount.id}$`))
    expect((await ask()).price_version).toMatch(/^settings:/)

    const seen = async (path: string) => (await as(acme.token, 'GET', path)).body
    const { data } = await seen('/admin/v1/prices')
    expect(data.map(({ id }: { id: string }) => id)).toEqual([common.id, own.id])
    expect(await seen('/admin/v1/prices/effective?model=simulator/chat')).toMatchObject({
      data: [{ version: `tenant:${own.id}` }],
    })
    const secret = [
      `/admin/v1/prices/${discount.id}`,
      `/admin/v1/prices/version?version=tenant:${discount.id}`,
      `/admin/v1/prices/version?version=x%25${discount.id}`,
      '/admin/v1/prices/price_0',
    ]
    for (const path of secret) {
      expect((await as(acme.token, 'GET', path)).status, path).toBe(404)
    }
    expect(
      JSON.stringify(await seen('/admin/v1/prices/history?model=simulator/chat')),
    ).not.toContain(discount.id)
    for (const [method, path, body] of [
      ['POST', '/admin/v1/prices', { model: 'a/b', discount_percent: '1' }],
      ['POST', '/admin/v1/prices/import', { prices: [{ model: 'a/b', discount_percent: '1' }] }],
      ['POST', `/admin/v1/prices/${own.id}/end`, {}],
      ['PUT', '/admin/v1/prices/policy', { unpriced: 'allow' }],
      ['POST', '/admin/v1/costs/reprice', { from: '2026-01-01' }],
      ['GET', '/admin/v1/costs/reprice', undefined],
    ] as const) {
      expect((await as(acme.token, method, path, body)).status, path).toBe(403)
    }
  })

  it('are not set over a version that nobody has seen', async () => {
    const first = await set({ model: 'simulator/chat', rates: { input: '1', output: '2' } })
    const body = { model: 'simulator/chat', rates: { input: '2', output: '2' } }
    const stale = await as(gateway.adminKey, 'POST', '/admin/v1/prices', body, {
      'if-match': `"${first.revision - 1}"`,
    })
    expect(stale.status).toBe(412)
    const fresh = await as(gateway.adminKey, 'POST', '/admin/v1/prices', body, {
      'if-match': `"${first.revision}"`,
    })
    expect(fresh.status).toBe(201)
  })
})

describe('a price file', () => {
  it('is read again when it changes; a broken one leaves the last good one, loudly', async () => {
    const file = priceFile(
      'prices:\n  - { model: simulator/*, rates: { input: "1", output: "1" } }',
    )
    gateway = await openGateway({ prices_file: file }, { files: true })
    onTestFinished(() => gateway.close())
    const one = await ask()
    expect(one.price_version).toMatch(/^settings:simulator\/\*#/)

    writeFileSync(file, 'prices:\n  - { model: simulator/*, rates: { input: "2", output: "1" } }')
    await expect.poll(async () => (await effective()).rates.input).toBe('2')

    writeFileSync(file, 'prices:\n  - { model: simulator/*, rates: { input: "fr')
    await expect.poll(problems).toMatchObject([expect.stringContaining('could not be read again')])
    expect((await effective()).rates.input).toBe('2')
    const health = await gateway.admin('GET', '/admin/v1/health')
    expect(health.body).toMatchObject({ status: 'ok', warnings: [expect.any(String)] })
    const metrics = await gateway.admin('GET', '/metrics')
    expect(metrics.body).toMatch(/^tollgate_price_problems 1$/m)
    expect(metrics.body).toMatch(/^tollgate_price_reload_failures [1-9]/m)

    rmSync(file)
    await sleep(700)
    expect((await effective()).rates.input).toBe('2')

    writeFileSync(file, 'prices:\n  - { model: simulator/*, rates: { input: "3", output: "1" } }')
    await expect.poll(async () => (await effective()).rates.input).toBe('3')
    expect(await problems()).toEqual([])
  })
})

function priceFile(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-prices-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'prices.yaml')
  writeFileSync(file, text)
  return file
}

async function problems(): Promise<unknown> {
  return (await gateway.admin('GET', '/admin/v1/prices')).body.problems
}

async function effective(query = '') {
  const path = `/admin/v1/prices/effective?model=simulator/chat${query}`
  return (await gateway.admin('GET', path)).body.data[0]
}

async function set(body: object) {
  const reply = await gateway.admin('POST', '/admin/v1/prices', body)
  expect(reply.status, JSON.stringify(reply.body)).toBeLessThan(300)
  return reply.body
}

async function ask(key?: string) {
  const response = await fetch(`${gateway.dataUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key ?? gateway.key}`, 'content-type': 'application/json' },
    body: JSON.stringify(CHAT),
  })
  expect(response.status).toBe(200)
  const id = response.headers.get('x-request-id')!
  if (key === undefined) {
    const [entry] = await gateway.entries(id)
    return entry as NonNullable<typeof entry> & { readonly price_version: string }
  }
  const path = `/admin/v1/requests/${id}`
  const tenant = tenants.get(key)!
  await expect
    .poll(async () => (await gateway.admin('GET', `${path}?tenant=${tenant}`)).status)
    .toBe(200)
  return (await gateway.admin('GET', `${path}?tenant=${tenant}`)).body.data[0]
}

/** Of keys, as {@link tenant} makes them. */
const tenants = new Map<string, string>()

/** A tenant with a key, and the token of one who sees what there is to see. */
async function tenant(name: string) {
  const made = async (path: string, body: object) => {
    const reply = await gateway.admin('POST', path, body)
    expect(reply.status, JSON.stringify(reply.body)).toBe(201)
    return reply.body
  }
  const { id } = await made('/admin/v1/tenants', { name })
  const application = await made(`/admin/v1/applications?tenant=${id}`, { name: 'app' })
  const key = await made(`/admin/v1/keys?tenant=${id}`, {
    name: 'key',
    application_id: application.id,
    models: ['*'],
  })
  const user = { name: 'ann', email: `ann@${name}.example`, role: 'owner' }
  const { id: userId } = await made(`/admin/v1/users?tenant=${id}`, user)
  const token = await made(`/admin/v1/users/${userId}/tokens?tenant=${id}`, { name: 'token' })
  tenants.set(key.secret, id)
  return { id, key: key.secret as string, token: token.secret as string }
}

async function as(
  token: string,
  method: string,
  path: string,
  body?: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<AdminReply> {
  const response = await fetch(gateway.adminUrl + path, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: await response.json() }
}

function nanos(usd: string | null): bigint {
  const [whole = '0', fraction = ''] = (usd ?? '').split('.')
  return BigInt(whole + fraction.padEnd(9, '0'))
}
