import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openGateway, type TestGateway } from '../gateway.ts'
import { openProvider } from './provider.ts'

const MONTH_AGO = new Date(Date.now() - 30 * 86_400_000).toISOString()
const RATES = { input: '1000', output: '2000' }

let gateway: TestGateway

interface Line {
  readonly type: string
  readonly cost_usd: string
}

interface Entry {
  readonly id: string
  readonly kind: string
  readonly adjusts: string | null
  readonly reason: string | null
  readonly cost_usd: string | null
  readonly price_version: string | null
  readonly usage: Readonly<Record<string, number>>
  readonly cost_lines?: readonly Line[]
}

describe('pricing anew', () => {
  beforeEach(async () => {
    gateway = await openGateway()
  })
  afterEach(() => gateway.close())

  it('shows the difference first, then adjusts what costs otherwise, and once only', async () => {
    const requests = [await ask(), await ask(), await ask()]
    const before = await total()
    await set({ model: 'simulator/*', rates: RATES, effective_from: MONTH_AGO })

    const dry = await reprice({ dry_run: true })
    expect(dry).toMatchObject({ status: 'done', dry_run: true, adjusted: 3, priced: 0 })
    expect(dry.groups).toMatchObject([{ model: 'simulator/chat', entries: 3 }])
    expect(await total()).toBe(before)

    const run = await reprice()
    expect(run).toMatchObject({ adjusted: 3, before: dry.before, after: dry.after })
    expect(nanos(await total())).toBe(nanos(before) + nanos(run.delta.amount))
    for (const request of requests) {
      const [entry, adjustment] = await entries(request, 2)
      expect(adjustment).toMatchObject({
        kind: 'adjustment',
        id: `${entry!.id}.a1`,
        adjusts: entry!.id,
        reason: 'repriced',
      })
      const { input = 0, output = 0 } = entry!.usage
      expect(nanos(entry!.cost_usd) + nanos(adjustment!.cost_usd)).toBe(
        BigInt(input) * 1_000_000n + BigInt(output) * 2_000_000n,
      )
    }

    expect(await reprice()).toMatchObject({ seen: 3, adjusted: 0, unchanged: 3 })
    expect(await entries(requests[0]!, 2)).toHaveLength(2)
  })

  it('follows a price back and forth, and never edits', async () => {
    const request = await ask()
    const [first] = await entries(request)
    const { id } = await set({ model: 'simulator/*', rates: RATES, effective_from: MONTH_AGO })
    await reprice()
    await gateway.admin('POST', `/admin/v1/prices/${id}/end`, { effective_to: MONTH_AGO })
    const back = await reprice({ reason: 'the price was wrong' })
    expect(back.after.amount).toBe(first!.cost_usd)
    const all = await entries(request, 3)
    expect(all[0]).toEqual(first)
    expect(all.map(({ cost_usd }) => nanos(cost_usd)).reduce((a, b) => a + b)).toBe(
      nanos(first!.cost_usd),
    )
    expect(all[2]).toMatchObject({
      reason: 'the price was wrong',
      price_version: first!.price_version,
    })
  })

  it('keeps to what it is asked for', async () => {
    await ask()
    await set({ model: 'simulator/*', rates: RATES, effective_from: MONTH_AGO })
    expect(await reprice({ model: 'simulator/other*' })).toMatchObject({ seen: 0 })
    expect(await reprice({ provider: 'openai' })).toMatchObject({ seen: 0 })
    expect(await reprice({ to: MONTH_AGO, from: '2020-01-01' })).toMatchObject({ seen: 0 })
    expect(await reprice({ tenant: 'default', model: 'simulator/c*' })).toMatchObject({ seen: 1 })
    const unknown = await gateway.admin('POST', '/admin/v1/costs/reprice', {
      from: MONTH_AGO,
      tenant: 'nobody',
    })
    expect(unknown.status).toBe(404)
  })

  it('is under way once at a time', async () => {
    await ask()
    const begin = () =>
      gateway.admin('POST', '/admin/v1/costs/reprice', { from: MONTH_AGO, dry_run: true })
    const begun = await Promise.all([begin(), begin(), begin()])
    const done = begun.filter(({ status }) => status === 202)
    // One that ended before the next began is no conflict.
    for (const { status } of begun) expect([202, 409]).toContain(status)
    expect(done.length).toBeGreaterThan(0)
    expect(begun.some(({ status }) => status === 409)).toBe(true)
  })

  it('changes what a budget has left in the window of the admission', async () => {
    const budgeted = await gateway.admin('POST', '/admin/v1/keys', {
      name: 'budgeted',
      models: ['*'],
      limits: { budgets: [{ window: 'month', limit: '100.00' }] },
    })
    const key = budgeted.body.secret
    await ask(key)
    // The first request alone is worth more than the budget.
    await set({
      model: 'simulator/*',
      rates: { input: '1', output: '1', request: '200' },
      effective_from: MONTH_AGO,
    })
    const { id } = (await gateway.admin('GET', '/admin/v1/prices')).body.data[0]
    await reprice()
    await gateway.admin('POST', `/admin/v1/prices/${id}/end`, {})
    expect((await send('simulator/chat', key)).status).toBe(429)
  })
})

describe('an entry without a price', () => {
  it('gets one by an adjustment, and is counted as unpriced no more', async () => {
    const provider = await openProvider()
    gateway = await openGateway({
      unpriced: 'allow',
      providers: {
        own: { kind: 'vllm', base_url: provider.baseUrl, allow_private_network: true },
      },
    })
    try {
      const response = await send('own/own-model')
      expect(response.status).toBe(200)
      const request = response.headers.get('x-request-id')!
      const [entry] = await entries(request)
      expect(entry).toMatchObject({ cost_usd: null, price_version: null })
      expect(await unpriced()).toBe(1)
      expect(await reprice()).toMatchObject({ adjusted: 0, without_price: 1 })

      await set({ model: 'own/*', rates: RATES, effective_from: MONTH_AGO })
      expect(await reprice()).toMatchObject({ adjusted: 1, priced: 1, before: { amount: '0' } })
      const [, adjustment] = await entries(request, 2)
      expect(nanos(adjustment!.cost_usd)).toBeGreaterThan(0n)
      expect(await unpriced()).toBe(0)
      expect(await reprice()).toMatchObject({ adjusted: 0 })
    } finally {
      await gateway.close()
      await provider.close()
    }
  })
})

async function reprice(body: object = {}) {
  const begun = await gateway.admin('POST', '/admin/v1/costs/reprice', { from: MONTH_AGO, ...body })
  expect(begun.status, JSON.stringify(begun.body)).toBe(202)
  const path = `/admin/v1/costs/reprice/${begun.body.id}`
  await expect
    .poll(async () => (await gateway.admin('GET', path)).body.status, { interval: 10 })
    .not.toBe('running')
  return (await gateway.admin('GET', path)).body
}

async function set(body: object) {
  const reply = await gateway.admin('POST', '/admin/v1/prices', body)
  expect(reply.status, JSON.stringify(reply.body)).toBe(201)
  return reply.body
}

async function report() {
  return (await gateway.admin('GET', '/admin/v1/costs/report')).body.total
}

async function total(): Promise<string> {
  return (await report()).cost.amount
}

async function unpriced(): Promise<number> {
  return (await report()).unpriced
}

async function entries(request: string, count = 1): Promise<readonly Entry[]> {
  return (await gateway.entries(request, count)) as unknown as readonly Entry[]
}

function send(model: string, key = gateway.key): Promise<Response> {
  return fetch(`${gateway.dataUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 50 }),
  })
}

async function ask(key?: string): Promise<string> {
  const response = await send('simulator/chat', key)
  expect(response.status).toBe(200)
  await response.text()
  return response.headers.get('x-request-id')!
}

function nanos(usd: string | null): bigint {
  const [, sign, whole = '0', fraction = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(usd ?? '0') ?? []
  const amount = BigInt(whole + fraction.padEnd(9, '0'))
  return sign === '-' ? -amount : amount
}
