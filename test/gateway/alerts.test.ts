import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'
import { openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

let provider: Provider
let gateway: TestGateway

beforeAll(async () => {
  provider = await openProvider()
  gateway = await openGateway({
    webhook_private_networks: 'true',
    providers: {
      stand: standIn(),
    },
  })
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
})

it('many requests that cross 80 % of a budget at once send one signed message', async () => {
  const got: { headers: Record<string, string>; body: string }[] = []
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk)
    got.push({
      headers: req.headers as Record<string, string>,
      body: Buffer.concat(chunks).toString(),
    })
    res.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const made = await gateway.admin('POST', '/admin/v1/webhooks', {
    name: 'ops',
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    allow_private_network: true,
  })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  const { body: key } = await gateway.admin('POST', '/admin/v1/keys', {
    name: 'near',
    limits: { budgets: [{ window: 'month', limit: '0.0005' }] },
  })
  // Each costs 0.00001: 45 of them are 90 %.
  const replies = await Promise.all(
    Array.from({ length: 45 }, () =>
      call(
        gateway.dataUrl,
        { model: 'stand/m1', messages: HELLO, max_tokens: 10 },
        { key: key.secret },
      ),
    ),
  )
  expect(replies.every(({ status }) => status === 200)).toBe(true)
  for (let tries = 0; tries < 50 && got.length === 0; tries++) await sleep(200)
  await sleep(2500)
  server.close()
  expect(got).toHaveLength(1)
  const event = new Webhook(made.body.secret).verify(got[0]!.body, got[0]!.headers)
  expect(event).toMatchObject({
    type: 'budget.threshold_reached',
    data: { threshold_percent: 80, limit: '0.0005', scope: { kind: 'key', name: 'near' } },
  })
  const { body: events } = await gateway.admin('GET', '/admin/v1/alerts/-/events')
  expect(events.data).toHaveLength(1)
  const path = `/admin/v1/webhooks/${made.body.id}`
  const { body: deliveries } = await gateway.admin('GET', `${path}/deliveries`)
  expect(deliveries.data).toMatchObject([{ status: 'delivered', attempts: 1 }])
  const shown = JSON.stringify((await gateway.admin('GET', path)).body)
  expect(shown).not.toContain('whsec_')
})

it('a budget that refuses is told of once, one that a request never fitted is not', async () => {
  const { body: key } = await gateway.admin('POST', '/admin/v1/keys', {
    name: 'spent',
    limits: { budgets: [{ window: 'day', limit: '0.00003' }] },
  })
  const ask = (tokens: number) =>
    call(
      gateway.dataUrl,
      { model: 'stand/m1', messages: HELLO, max_tokens: tokens },
      { key: key.secret },
    )
  const spent = await Promise.all(Array.from({ length: 9 }, () => ask(10)))
  expect(spent.filter(({ status }) => status === 429).length).toBeGreaterThan(2)
  const told = await eventsOf('budget.exhausted', 1)
  expect(told).toMatchObject([
    {
      subject: `key:${key.id}`,
      data: { limit: '0.00003', window: { kind: 'day' }, scope: { kind: 'key', name: 'spent' } },
    },
  ])
})

it('a budget that nobody uses is told of when it is lowered', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'tollgate-'))
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }))
  const settings = { providers: { stand: standIn() } }
  const before = await openGateway(settings, { dataDir })
  const { body: key } = await before.admin('POST', '/admin/v1/keys', {
    name: 'idle',
    limits: { budgets: [{ window: 'month', limit: '1' }] },
  })
  const spend = { model: 'stand/m1', messages: HELLO, max_tokens: 10 }
  const { status } = await call(before.dataUrl, spend, { key: key.secret })
  expect(status).toBe(200)
  await before.close()

  const after = await openGateway(settings, { dataDir })
  onTestFinished(() => after.close())
  const lowered = await after.admin('PATCH', `/admin/v1/keys/${key.id}`, {
    limits: { budgets: [{ window: 'month', limit: '0.000011' }] },
  })
  expect(lowered.status, JSON.stringify(lowered.body)).toBe(200)
  expect(await eventsOf('budget.threshold_reached', 1, after)).toMatchObject([
    { subject: `key:${key.id}`, data: { threshold_percent: 80, limit: '0.000011' } },
  ])
})

async function eventsOf(type: string, count: number, at = gateway): Promise<readonly object[]> {
  for (let tries = 0; ; tries++) {
    const { body } = await at.admin('GET', `/admin/v1/alerts/${type}/events`)
    if (body.data.length >= count || tries === 80) return body.data
    await sleep(100)
  }
}

function standIn(): object {
  return {
    kind: 'openai',
    api_key: 'sk-upstream',
    base_url: provider.baseUrl,
    allow_private_network: true,
    prices: { '*': { input: '0', output: '1' } },
  }
}
