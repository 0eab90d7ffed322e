import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { openGateway, type TestGateway } from '../gateway.ts'
import { answers, openProvider, type Provider } from './provider.ts'

let gateway: TestGateway
let provider: Provider

interface Priced {
  readonly cost_usd: string | null
  readonly price_version: string | null
  readonly admitted_at: string
  readonly usage: Readonly<Record<string, number>>
}

describe('a price that changes while requests run', () => {
  beforeEach(async () => {
    provider = await openProvider()
    gateway = await openGateway({
      providers: { own: { kind: 'vllm', base_url: provider.baseUrl, allow_private_network: true } },
    })
  })
  afterEach(async () => {
    await gateway.close()
    await provider.close()
  })

  it('by the clock: each request has the price of its admission, whenever it ends', async () => {
    await set({ rates: { input: '1', output: '1' }, effective_from: null })
    const turn = Date.now() + 1500
    const before = await set({ rates: { input: '2', output: '2' } })
    const after = await set({
      rates: { input: '4', output: '4' },
      effective_from: new Date(turn).toISOString(),
    })
    provider.script = answers({ delayMs: 200 })
    const asked: Promise<Priced>[] = []
    while (Date.now() < turn + 300) {
      asked.push(ask())
      await sleep(20)
    }
    const entries = await Promise.all(asked)
    const seen = { before: 0, after: 0 }
    for (const { price_version, admitted_at, cost_usd, usage } of entries) {
      const isAfter = Date.parse(admitted_at) >= turn
      expect(price_version).toBe(`operator:${isAfter ? after.id : before.id}`)
      const tokens = (usage.input ?? 0) + (usage.output ?? 0)
      expect(Number(cost_usd) * 1e6).toBeCloseTo(tokens * (isAfter ? 4 : 2), 6)
      seen[isAfter ? 'after' : 'before']++
    }
    expect(seen.before).toBeGreaterThan(20)
    expect(seen.after).toBeGreaterThan(5)
    // The ledger and the book agree: there is nothing to adjust.
    expect(await adjusted()).toBe(0)
  })

  it('by hand: what is under way keeps the one it came under', async () => {
    const first = await set({ rates: { input: '1', output: '1' } })
    provider.script = answers({ delayMs: 300 })
    const slow = ask()
    await expect.poll(() => provider.received.length).toBe(1)
    // Back-dated: by the book of now, it would have been the price of the slow one too.
    const second = await set({
      rates: { input: '1000', output: '1000' },
      effective_from: '2026-01-01',
      effective_to: '2100-01-01',
    })
    const fast = ask()
    expect((await slow).price_version).toBe(`operator:${first.id}`)
    expect((await fast).price_version).toBe(`operator:${second.id}`)
  })

  it('is never missing in between, however often it is set', async () => {
    let ends = false
    await set({ rates: { input: '1', output: '1' } })
    const asking = (async () => {
      const entries: Priced[] = []
      while (!ends) entries.push(await ask())
      return entries
    })()
    for (let input = 2; input < 30; input++) {
      await set({ rates: { input: String(input), output: '1' } })
    }
    ends = true
    const entries = await asking
    expect(entries.length).toBeGreaterThan(10)
    for (const entry of entries) expect(Number(entry.cost_usd)).toBeGreaterThan(0)
  })
})

describe('a model without a price', () => {
  it('is refused, unless its tenant may have it: then it is unpriced, never 0', async () => {
    provider = await openProvider()
    gateway = await openGateway({
      providers: { own: { kind: 'vllm', base_url: provider.baseUrl, allow_private_network: true } },
    })
    try {
      const refused = await send()
      expect(refused.status).toBe(400)
      expect(await refused.json()).toMatchObject({ error: { code: 'unpriced_model' } })
      expect(provider.received).toEqual([])

      await gateway.admin('PUT', '/admin/v1/prices/policy', { unpriced: 'allow' })
      expect(await ask()).toMatchObject({ cost_usd: null, price_version: null })
      const report = await gateway.admin('GET', '/admin/v1/costs/report')
      expect(report.body.total).toMatchObject({ unpriced: 1, cost: { amount: '0' } })
      const metrics = await gateway.admin('GET', '/metrics')
      expect(metrics.body).toMatch(/^tollgate_unpriced_requests_total\{provider="own"\} 1$/m)

      await gateway.admin('PUT', '/admin/v1/prices/policy', { unpriced: null })
      expect((await send()).status).toBe(400)
    } finally {
      await gateway.close()
      await provider.close()
    }
  })
})

describe('a price in the database that is damaged', () => {
  it('leaves its models without a price, and says so wherever prices are asked for', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'tollgate-damaged-'))
    onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }))
    const first = await openGateway({}, { dataDir })
    const { key } = first
    gateway = first
    await set({ model: 'simulator/chat', rates: { input: '1', output: '2' } })
    await first.close()
    const database = new Database(join(dataDir, 'tollgate.db'))
    database.exec(`insert into prices select 'price_damaged', tenant_id, provider, model,
      effective_from, effective_to, '{"input": "1', discount, note, source, created_at, created_by,
      revision + 1 from prices`)
    database.close()

    gateway = await openGateway({}, { dataDir })
    onTestFinished(() => gateway.close())
    const asked = await send('simulator/chat', key)
    expect(asked.status).toBe(400)
    expect(await asked.json()).toMatchObject({ error: { code: 'unpriced_model' } })
    expect((await send('simulator/small', key)).status).not.toBe(500)
    const told = [expect.stringContaining('price_damaged')]
    expect((await gateway.admin('GET', '/admin/v1/prices')).body.problems).toEqual(told)
    expect((await gateway.admin('GET', '/admin/v1/health')).body.warnings).toEqual(told)

    // Mended by a price that is set over it.
    await set({ model: 'simulator/chat', rates: { input: '3', output: '4' } })
    expect((await send('simulator/chat', key)).status).toBe(200)
  })
})

async function set(body: object) {
  const reply = await gateway.admin('POST', '/admin/v1/prices', { model: 'own/*', ...body })
  expect(reply.status, JSON.stringify(reply.body)).toBe(201)
  return reply.body
}

async function adjusted(): Promise<number> {
  const from = new Date(Date.now() - 60_000).toISOString()
  const { body } = await gateway.admin('POST', '/admin/v1/costs/reprice', { from, dry_run: true })
  const path = `/admin/v1/costs/reprice/${body.id}`
  await expect.poll(async () => (await gateway.admin('GET', path)).body.status).toBe('done')
  return (await gateway.admin('GET', path)).body.adjusted
}

function send(model = 'own/model', key = gateway.key): Promise<Response> {
  return fetch(`${gateway.dataUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      messages: [{ role: 'user', content: 'Hello' }],
      max_tokens: 20,
    }),
  })
}

async function ask(): Promise<Priced> {
  const response = await send()
  expect(response.status).toBe(200)
  await response.text()
  const [entry] = await gateway.entries(response.headers.get('x-request-id')!)
  return entry as unknown as Priced
}
