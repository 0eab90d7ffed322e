import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'
import type { Reply } from './caller.ts'

let gateway: TestGateway

beforeAll(async () => {
  gateway = await openGateway({
    models: {
      falling: {
        targets: [{ model: 'simulator/fault/status-503' }],
        fallbacks: ['simulator/chat'],
      },
    },
  })
})
afterAll(() => gateway.close())

async function key(limits: object): Promise<string> {
  const wanted = { name: 'counted', limits }
  return (await gateway.admin('POST', '/admin/v1/keys', wanted)).body.secret
}

const ask = (secret: string, given: object = {}): Promise<Reply> =>
  call(
    gateway.dataUrl,
    { model: 'simulator/chat', messages: HELLO, max_tokens: 5, ...given },
    { key: secret },
  )

/** The sample of a name with its labels, as Prometheus would read it; 0 before it was seen. */
async function sample(name: string): Promise<number> {
  const { body } = await gateway.admin('GET', '/metrics')
  const line = (body as string).split('\n').find((one) => one.startsWith(`${name} `))
  return line === undefined ? 0 : Number(line.slice(name.length + 1))
}

describe('the metrics', () => {
  it('count requests refused by a limit, by limit', async () => {
    const secret = await key({ requests_per_minute: 1 })
    const statuses = [(await ask(secret)).status, (await ask(secret)).status]
    expect(statuses).toEqual([200, 429])
    expect(await sample('tollgate_rate_limited_total{limit="rpm"}')).toBe(1)
    expect(await sample('tollgate_budget_blocked_total')).toBe(0)
  })

  it('count requests refused by a budget', async () => {
    const secret = await key({ budgets: [{ window: 'day', limit: '0.000000001' }] })
    expect((await ask(secret)).body.error.code).toBe('insufficient_quota')
    expect(await sample('tollgate_budget_blocked_total')).toBe(1)
    expect(await sample('tollgate_rate_limited_total{limit="rpm"}')).toBe(1)
  })

  it('count fallbacks, and retries as none', async () => {
    expect((await ask(gateway.key, { model: 'falling' })).status).toBe(200)
    expect((await ask(gateway.key, { model: 'simulator/fault/status-503' })).status).toBe(502)
    const labels = 'from="simulator",to="simulator",reason="upstream_error"'
    expect(await sample(`tollgate_fallbacks_total{${labels}}`)).toBe(1)
  })

  it('time what the gateway takes, and the first event of streams', async () => {
    const first = 'tollgate_time_to_first_token_seconds'
    const overhead = 'tollgate_gateway_overhead_seconds'
    const whole = await sample(`${overhead}_count{stream="false"}`)
    expect((await ask(gateway.key)).status).toBe(200)
    expect(await sample(`${overhead}_count{stream="false"}`)).toBe(whole + 1)
    expect(await sample(`${first}_count{provider="simulator"}`)).toBe(0)
    expect((await ask(gateway.key, { stream: true })).status).toBe(200)
    expect(await sample(`${overhead}_count{stream="true"}`)).toBe(1)
    expect(await sample(`${first}_count{provider="simulator"}`)).toBe(1)
    const took = await sample(`${overhead}_sum{stream="true"}`)
    expect(took).toBeGreaterThan(0)
    expect(took).toBeLessThan(await sample(`${first}_sum{provider="simulator"}`))
  })
})
