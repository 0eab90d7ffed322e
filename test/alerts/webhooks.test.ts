import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { performance } from 'node:perf_hooks'
import OpenAI from 'openai'
import { Webhook as Verifier } from 'standardwebhooks'
import { describe, expect, it, onTestFinished } from 'vitest'
import { reached } from '../../src/alerts/budgets.ts'
import { checkWebhookUrl } from '../../src/alerts/deliver.ts'
import {
  createDispatcher,
  dispatchDue,
  newWebhookId,
  webhookSecrets,
} from '../../src/gateway/webhooks.ts'
import type { DispatchDeps } from '../../src/gateway/webhooks.ts'
import { listEvents, recordEvent } from '../../src/store/alerts.ts'
import type { Store } from '../../src/store/open.ts'
import { findWebhook, insertWebhook, listDeliveries } from '../../src/store/webhooks.ts'
import { createUpstream } from '../../src/upstream/send.ts'
import { onEachDatabase, open } from '../store/databases.ts'
import type { Location } from '../store/databases.ts'

const START = Date.parse('2026-11-24T12:00:00Z')
const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const ROOT = randomBytes(32).toString('hex')
const secrets = webhookSecrets(ROOT)

const EVENTS = reached('tenant_1', {
  scope: { kind: 'key', id: 'key_1', name: 'web' },
  limit: 'budget',
  window: 'month',
  max: 10_000_000_000n,
  remaining: 1_500_000_000n,
  resetsAt: Date.parse('2026-12-01T00:00:00Z'),
  budget: { settled: 8_500_000_000n, reserved: 0n, policy: 'hard', status: 'ok' },
})

describe('the thresholds of a budget', () => {
  it('are those that settled spend has reached, in decimal strings', () => {
    expect(EVENTS).toMatchObject([
      {
        type: 'budget.threshold_reached',
        subject: 'key:key_1',
        data: { threshold_percent: 80, spent: '8.5', limit: '10', window: { kind: 'month' } },
      },
    ])
  })
})

describe('the URL of a webhook', () => {
  it.each([
    'https://127.0.0.1/x',
    'https://10.1.2.3',
    'https://169.254.169.254/latest/meta-data',
    'https://[::1]/',
    'https://[fe80::1]/',
    'https://[::ffff:192.168.0.1]/',
    'https://2130706433/',
    'https://localhost/',
    'http://example.com/',
    'ftp://example.com/',
    'https://user:pass@example.com/',
    'nothing',
  ])('is refused where it is %s', (url) => {
    expect(() => checkWebhookUrl(url, false)).toThrow(/URL/)
  })
})

onEachDatabase((database) => {
  it('of many who see a threshold crossed, one tells of it, also after a restart', async () => {
    const location = await database.fresh()
    const store = await open(location)
    await hook(store, 'https://example.com/')
    const told = await Promise.all(
      Array.from({ length: 50 }, () => recordEvent(store.db, EVENTS[0]!, START)),
    )
    expect(told.filter(Boolean)).toHaveLength(1)
    await store.close()
    const again = await open(location)
    expect(await recordEvent(again.db, EVENTS[0]!, START)).toBe(false)
    expect((await listEvents(again.db, 'tenant_1', { limit: 10 })).events).toHaveLength(1)
    await again.close()
  })

  it('a message is one that other verifiers accept, by the old secret as by the new', async () => {
    const { store, receiver, clock } = await told(await database.fresh(), [200])
    expect(await dispatchDue(clock.deps)).toBe(1)
    const [got] = receiver.got
    // Both verifiers want a time of now.
    expect(got?.headers['webhook-timestamp']).toBe(String(START / 1000))
    for (const secret of receiver.secrets) {
      expect(() => new Verifier(secret).verify(got!.body, timely(got!, secret))).not.toThrow()
      const client = new OpenAI({ apiKey: 'x', webhookSecret: secret })
      const event = await client.webhooks.unwrap(got!.body, timely(got!, secret))
      expect(event).toMatchObject({ type: 'budget.threshold_reached', data: { spent: '8.5' } })
    }
    expect(got!.headers['webhook-signature']?.toString().split(' ')).toHaveLength(2)
    expect(await dispatchDue(clock.deps)).toBe(0)
    await store.close()
  })

  it('is tried again on schedule with one id, then given up', async () => {
    const { store, receiver, clock, id } = await told(await database.fresh(), [500])
    for (const wait of [0, 5000, 5, 30, 120, 300, 600, 840]) {
      const ms = wait >= 5000 ? wait : wait * MINUTE
      clock.at += ms - 1
      if (ms > 0) expect(await dispatchDue(clock.deps)).toBe(0)
      clock.at += 1
      expect(await dispatchDue(clock.deps)).toBe(1)
    }
    clock.at += DAY
    expect(await dispatchDue(clock.deps)).toBe(0)
    expect(new Set(receiver.got.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    const { deliveries } = await listDeliveries(store.db, 'tenant_1', id, { limit: 10 })
    expect(deliveries[0]).toMatchObject({ status: 'failed', attempts: 8, responseStatus: 500 })
    await store.close()
  })

  it('goes to an endpoint no more that failed for five days, or is gone', async () => {
    for (const [status, days] of [
      [500, 5],
      [410, 0],
    ] as const) {
      const { store, clock, id } = await told(await database.fresh(), [status])
      await dispatchDue(clock.deps)
      clock.at += days * DAY
      await dispatchDue(clock.deps)
      expect(await findWebhook(store.db, 'tenant_1', id)).toMatchObject({ status: 'disabled' })
      const { events } = await listEvents(store.db, 'tenant_1', {
        limit: 10,
        type: 'webhook.disabled',
      })
      expect(events).toHaveLength(1)
      await store.close()
    }
  })

  it('follows no redirect, and reaches no private address however it is named', async () => {
    const { store, receiver, clock, id } = await told(await database.fresh(), [302])
    await dispatchDue(clock.deps)
    expect(receiver.got).toHaveLength(1)
    clock.at += 6000
    await dispatchDue({ ...clock.deps, privateNetworks: false })
    expect(receiver.got).toHaveLength(1)
    const rebinding = createUpstream({
      resolve: async () => ['93.184.216.34', '127.0.0.1'],
      connectTimeoutMs: 1000,
      maxResponseBytes: 65_536,
    })
    clock.at += 10 * MINUTE
    await dispatchDue({ ...clock.deps, upstream: rebinding, privateNetworks: false })
    await rebinding.destroy()
    const { deliveries } = await listDeliveries(store.db, 'tenant_1', id, { limit: 10 })
    expect(deliveries[0]).toMatchObject({ attempts: 3, error: 'The host has no public address' })
    expect(receiver.got).toHaveLength(1)
    await store.close()
  })

  it('is held up by no other endpoint that is slow, of this tenant or another', async () => {
    const { store, clock, receiver } = await told(await database.fresh(), [200])
    const held: ServerResponse[] = []
    const slow = createServer((_, res) => void held.push(res))
    slow.listen(0, '127.0.0.1')
    await once(slow, 'listening')
    const url = `http://127.0.0.1:${(slow.address() as AddressInfo).port}/`
    for (let count = 0; count < 20; count++) await hook(store, url, 'tenant_2')
    await hook(store, url)
    const { round, idle } = createDispatcher(clock.deps)
    const tell = (tenantId: string, once: string) =>
      recordEvent(store.db, { ...EVENTS[0]!, tenantId, once }, START)
    for (let count = 0; count < 6; count++) await tell('tenant_2', `slow ${count}`)
    await round()
    for (let count = 0; count < 3; count++) {
      await tell('tenant_1', `next ${count}`)
      const got = async () => {
        await round()
        return receiver.got.length
      }
      await expect.poll(got, { timeout: 3000 }).toBe(count + 2)
    }
    expect(held.length).toBeGreaterThan(20)
    // No more than that at once: what a tenant has much of waits for itself.
    expect(held.length).toBeLessThan(60)
    slow.closeAllConnections()
    slow.close()
    await idle()
    await store.close()
  })

  it('is sent by one of two processes', async () => {
    const location = await database.fresh()
    const { store, receiver, clock } = await told(location, [200])
    const other = database.kind === 'postgres' ? await open(location) : store
    const tried = await Promise.all([
      dispatchDue(clock.deps),
      dispatchDue({ ...clock.deps, db: other.db }),
    ])
    expect(tried.toSorted()).toEqual([0, 1])
    expect(receiver.got).toHaveLength(1)
    if (other !== store) await other.close()
    await store.close()
  })
})

interface Got {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** Its headers as they would be now: the signature is of the body, at a time of long ago. */
function timely({ headers, body }: Got, secret: string): Record<string, string> {
  const id = String(headers['webhook-id'])
  const sent = new Date(Number(headers['webhook-timestamp']) * 1000)
  const expected = new Verifier(secret).sign(id, sent, body)
  expect(String(headers['webhook-signature']).split(' ')).toContain(expected)
  const now = new Date()
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
    'webhook-signature': new Verifier(secret).sign(id, now, body),
  }
}

/** A webhook in the middle of a roll, and an event that is due for it. */
async function told(location: Location, statuses: readonly number[]) {
  const got: Got[] = []
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk)
    got.push({ headers: req.headers, body: Buffer.concat(chunks).toString() })
    res.writeHead(statuses[got.length - 1] ?? statuses.at(-1)!, { location: '/elsewhere' })
    res.end('thanks')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const upstream = createUpstream({ connectTimeoutMs: 1000, maxResponseBytes: 65_536 })
  onTestFinished(async () => {
    await upstream.destroy()
    server.close()
  })
  const store = await open(location)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?x=1`
  const made = await hook(store, url)
  await recordEvent(store.db, EVENTS[0]!, START)
  const clock = {
    at: START,
    get deps(): DispatchDeps {
      return {
        db: store.db,
        upstream,
        secrets,
        privateNetworks: true,
        now: () => clock.at,
        tick: () => performance.now(),
        random: () => 0,
      }
    },
  }
  return { store, clock, id: made.id, receiver: { got, secrets: made.secrets } }
}

async function hook(store: Store, url: string, tenantId = 'tenant_1') {
  const id = newWebhookId()
  const first = secrets.first()
  const both = secrets.roll(first, START + DAY)
  await insertWebhook(store.db, {
    id,
    tenantId,
    name: 'ops',
    url,
    types: ['*'],
    secrets: secrets.seal(id, both),
    allowPrivateNetwork: true,
    status: 'active',
    createdAt: START,
    revision: 1,
  })
  return { id, secrets: [both.current, first.current] }
}
