import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createDecisionLog } from '../../src/gateway/decision-log.ts'
import type { Served } from '../../src/middleware/access-log.ts'
import { pino } from 'pino'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { onEachDatabase } from '../store/databases.ts'
import { MASTER_KEY } from './budget-race.ts'
import { call, HELLO } from './caller.ts'
import type { Reply } from './caller.ts'
import { ask, newPerson, newTenant } from './people.ts'
import { answers, fails, json, openProvider, streamsThen } from './provider.ts'
import type { Provider } from './provider.ts'

const CANARY = 'prompt-canary-3b90'

onEachDatabase((database) => {
  let failing: Provider
  let sound: Provider
  let gateway: TestGateway

  beforeAll(async () => {
    failing = await openProvider()
    sound = await openProvider()
    const { url } = await database.fresh()
    const instance = (provider: Provider): object => ({
      kind: 'openai',
      api_key: 'sk-upstream',
      base_url: provider.baseUrl,
      allow_private_network: true,
      prices: { '*': { input: '1', output: '2' } },
    })
    gateway = await openGateway(
      {
        providers: { failing: instance(failing), sound: instance(sound) },
        models: { pair: { targets: ['failing/m1'], fallbacks: ['sound/m1', 'sound/m2'] } },
      },
      {
        env: {
          TOLLGATE_MASTER_KEY: MASTER_KEY,
          ...(url === undefined ? {} : { TOLLGATE_DATABASE_URL: url }),
        },
      },
    )
  }, 60_000)
  afterAll(async () => {
    await gateway.close()
    await failing.close()
    await sound.close()
  })
  beforeEach(() => {
    failing.script = fails(503)
    sound.script = answers()
  })

  async function newKey(limits: object = {}, tenant = ''): Promise<{ id: string; secret: string }> {
    const query = tenant === '' ? '' : `?tenant=${tenant}`
    const { status, body } = await gateway.admin('POST', `/admin/v1/keys${query}`, {
      name: 'web',
      limits,
    })
    expect(status, JSON.stringify(body)).toBe(201)
    return body
  }

  const chat = (key: string, given: object, more: object = {}): Promise<Reply> =>
    call(gateway.dataUrl, { messages: HELLO, max_tokens: 10, ...given }, { key, ...more })

  /** What is told of a request, once it is. */
  async function logOf(id: string) {
    for (let tries = 0; ; tries++) {
      const { status, body } = await gateway.admin('GET', `/admin/v1/logs/${id}`)
      if (status === 200 && body.decision !== null) return body
      if (tries > 100) throw new Error(`no log of ${id}: ${JSON.stringify(body)}`)
      await sleep(20)
    }
  }

  it('tells which target answered, what each limit had left, and the cost line by line', async () => {
    const key = await newKey({
      requests_per_minute: 50,
      budgets: [{ window: 'month', limit: '5' }],
    })
    const { requestId } = await chat(key.secret, { model: 'pair', user: 'ann' })
    const { decision, entries, cost_usd } = await logOf(requestId)
    expect(decision).toMatchObject({
      outcome: 'ok',
      status: 200,
      model: 'pair',
      key: { id: key.id, name: 'web' },
      end_user: 'ann',
      error: null,
      route: { name: 'pair', strategy: 'ordered', targets: 1, fallbacks: 2 },
      target: 'sound/m1',
      candidates: [
        { target: 'failing/m1', result: 'failed', reason: 'upstream_error' },
        { target: 'sound/m1', result: 'answered', reason: null },
        { target: 'sound/m2', result: 'not_asked', reason: 'another had answered' },
      ],
      attempts: [
        { target: 'failing/m1', outcome: 'error', status: 503, sent: true },
        { target: 'sound/m1', outcome: 'ok', status: 200, sent: true },
      ],
      reserved: { output_tokens: 10 },
      cost_usd: '0.000028',
    })
    expect(decision.limits).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ scope: 'key', limit: 'requests', max: '50', remaining: '49' }),
        expect.objectContaining({ scope: 'key', limit: 'budget', max: '5', unit: 'USD' }),
      ]),
    )
    expect(cost_usd).toBe('0.000028')
    expect(entries).toHaveLength(2)
    expect(entries[1].cost_lines).toEqual(
      expect.arrayContaining([
        { type: 'input', quantity: 8, cost_usd: '0.000008' },
        { type: 'output', quantity: 10, cost_usd: '0.00002' },
      ]),
    )
    const stages: { stage: string; ms: number }[] = decision.stages
    expect(stages.map(({ stage }) => stage)).toEqual([
      'authenticate',
      'read',
      'admit',
      'provider',
      'ledger',
      'gateway',
    ])
    const sum = stages.reduce((total, { ms }) => total + ms, 0)
    expect(Math.abs(sum - decision.duration_ms)).toBeLessThan(0.01)
  })

  it('tells which limit refused, and that nothing was sent', async () => {
    const { secret } = await newKey({ budgets: [{ window: 'total', limit: '0.00000001' }] })
    const { requestId, status } = await chat(secret, { model: 'sound/m1' })
    expect(status).toBe(429)
    const { decision, entries } = await logOf(requestId)
    expect(decision).toMatchObject({
      outcome: 'refused',
      status: 429,
      error: { code: 'insufficient_quota', limit: { scope: 'key', limit: '0.00000001' } },
      attempts: [],
      candidates: [{ target: 'sound/m1', result: 'not_asked' }],
      cost_usd: null,
    })
    expect(decision.error.message).toContain('may spend 0.00000001 USD')
    expect(entries).toEqual([])
  })

  it('tells of a key that may not be used, and of none that nobody knows', async () => {
    const { id, secret } = await newKey()
    await gateway.admin('POST', `/admin/v1/keys/${id}/revoke`)
    const refused = await chat(secret, { model: 'sound/m1' })
    const unknown = await chat(`${secret.slice(0, -1)}x`, { model: 'sound/m1' })
    const { decision } = await logOf(refused.requestId)
    expect(decision).toMatchObject({ outcome: 'refused', error: { code: 'revoked_api_key' } })
    expect(decision.stages).toEqual([{ stage: 'authenticate', ms: decision.duration_ms }])
    const { status } = await gateway.admin('GET', `/admin/v1/logs/${unknown.requestId}`)
    expect(status).toBe(404)
  })

  it('tells of a stream that its caller left, and of one that broke', async () => {
    const { secret } = await newKey()
    sound.script = answers({ pieces: 50, pauseMs: 10 })
    const left = await chat(
      secret,
      { model: 'sound/m1', stream: true },
      { onPiece: (_: number, leave: () => void) => leave() },
    )
    expect((await logOf(left.requestId)).decision).toMatchObject({
      outcome: 'aborted',
      status: 499,
      stream: true,
      error: { code: 'client_closed_request' },
      attempts: [{ target: 'sound/m1', outcome: 'aborted', sent: true }],
    })
    sound.script = streamsThen(2, (response) => response.destroy())
    const broken = await chat(secret, { model: 'sound/m1', stream: true })
    const { decision } = await logOf(broken.requestId)
    expect(decision).toMatchObject({
      outcome: 'failed',
      status: 200,
      attempts: [{ outcome: 'error', first_event_ms: expect.any(Number) }],
      candidates: [{ result: 'failed' }],
    })
    sound.script = answers()
    const whole = await chat(secret, { model: 'sound/m1', stream: true })
    expect((await logOf(whole.requestId)).decision).toMatchObject({
      outcome: 'ok',
      stream: true,
      usage: { output: 10 },
      attempts: [{ outcome: 'ok', first_event_ms: expect.any(Number) }],
    })
  })

  it('keeps nothing of what was said, also where a provider repeats it', async () => {
    const { secret } = await newKey()
    sound.script = (_, response) =>
      json(response, 400, { error: { message: `no: ${CANARY}`, type: 'invalid_request_error' } })
    const { requestId, text } = await chat(secret, { model: 'sound/m1' })
    expect(text).toContain(CANARY)
    const shown = await logOf(requestId)
    expect(JSON.stringify(shown)).not.toContain(CANARY)
    expect(shown.decision.error).toMatchObject({
      code: 'invalid_value',
      message: 'sound answered with status 400: invalid request',
    })
  })

  it('takes names that a database does not', async () => {
    const { secret } = await newKey()
    const { requestId } = await chat(secret, { model: 'no\0body/\u001b[2J' })
    const { decision } = await logOf(requestId)
    expect(decision.error.code).toBe('model_not_found')
  })

  it('finds requests by key, model, status and code, in pages from the newest', async () => {
    const { id, secret } = await newKey()
    const made: string[] = []
    for (const model of ['sound/m1', 'pair', 'nowhere/m1', 'sound/m1']) {
      made.push((await chat(secret, { model })).requestId)
    }
    for (const requestId of made) await logOf(requestId)
    const find = async (query: string): Promise<readonly string[]> => {
      const { status, body } = await gateway.admin('GET', `/admin/v1/logs?key=${id}${query}`)
      expect(status, JSON.stringify(body)).toBe(200)
      return body.data.map((row: { id: string }) => row.id)
    }
    const newest = made.toReversed()
    expect(await find('')).toEqual(newest)
    expect(await find('&limit=2')).toEqual(newest.slice(0, 2))
    expect(await find(`&limit=2&after=${newest[1]}`)).toEqual(newest.slice(2))
    expect(await find('&model=sound/m1')).toEqual([made[3], made[1], made[0]])
    expect(await find('&code=model_not_found')).toEqual([made[2]])
    expect(await find('&status=404')).toEqual([made[2]])
    expect(await find(`&from=${new Date(Date.now() + 60_000).toISOString()}`)).toEqual([])
    expect(await find(`&to=${new Date(Date.now() + 60_000).toISOString()}`)).toEqual(newest)
    expect(await find('&application=app_none')).toEqual([])
  })

  it('shows a tenant its own alone, and a developer what their keys did', async () => {
    const here = await newTenant(gateway, `here-${database.kind}`)
    const there = await newTenant(gateway, `there-${database.kind}`)
    await gateway.admin('POST', `/admin/v1/applications?tenant=${here}`, { name: 'shop' })
    const developer = await newPerson(gateway, here, 'developer')
    const lead = await newPerson(gateway, here, 'lead')
    const stranger = await newPerson(gateway, there, 'owner')
    const keyOf = async (token: string) => {
      const made = await ask(gateway, token, 'POST', '/admin/v1/keys', {
        name: 'mine',
        application_id: 'shop',
      })
      expect(made.status, made.text).toBe(201)
      return made.body.secret as string
    }
    const [own, other] = [await keyOf(developer.token), await keyOf(lead.token)]
    const mine = await chat(own, { model: 'sound/m1' })
    const theirs = await chat(other, { model: 'nowhere/m1' })
    await sleep(600)
    const read = (token: string, id: string) => ask(gateway, token, 'GET', `/admin/v1/logs/${id}`)
    const listed = async (token: string) =>
      (await ask(gateway, token, 'GET', '/admin/v1/logs')).body.data.map(
        (row: { id: string }) => row.id,
      )
    expect(await listed(lead.token)).toEqual([theirs.requestId, mine.requestId])
    expect(await listed(developer.token)).toEqual([mine.requestId])
    expect(await listed(stranger.token)).toEqual([])
    expect((await read(developer.token, mine.requestId)).status).toBe(200)
    for (const reply of [
      await read(developer.token, theirs.requestId),
      await read(stranger.token, mine.requestId),
    ]) {
      const unknown = reply.body.error.message.replace(/req_\w+/, 'req_0')
      expect([reply.status, unknown]).toEqual([404, 'There is no request req_0'])
    }
  })
})

describe('a decision that was not kept', () => {
  it('leaves the ledger to answer', async () => {
    const gateway = await openGateway({ decisions_days: '0' })
    const { requestId } = await call(
      gateway.dataUrl,
      { model: 'simulator/echo', messages: HELLO, max_tokens: 10 },
      { key: gateway.key },
    )
    await gateway.entries(requestId)
    const { status, body } = await gateway.admin('GET', `/admin/v1/logs/${requestId}`)
    expect(status).toBe(200)
    expect(body).toMatchObject({ decision: null, entries: [{ outcome: 'ok', model: 'echo' }] })
    expect(body.cost_usd).toBe(body.entries[0].cost_usd)
    const { body: metrics } = await gateway.admin('GET', '/metrics')
    expect(metrics).toMatch(/^tollgate_decisions_dropped_total 0$/m)
    await gateway.close()
  })
})

describe('a flood of requests', () => {
  const served = (id: number) =>
    ({ requestId: `req_${id}`, record: { key: {}, endpoint: '/v1/chat/completions' } }) as never

  it('sheds what is too much, counts it, and writes the rest', async () => {
    const written: string[] = []
    const log = createDecisionLog({
      decisions: {
        async add(rows) {
          await sleep(5)
          written.push(...rows.map(({ id }) => id))
        },
        sweep: async () => 0,
      },
      describe: ({ requestId }: Served) => ({ id: requestId }) as never,
      days: 1,
      most: 1000,
      log: pino({ level: 'silent' }),
      now: Date.now,
    })
    for (let id = 0; id < 3000; id++) log.note(served(id))
    expect(log.dropped()).toBe(2000)
    await log.close()
    expect(written).toHaveLength(1000)
    expect(new Set(written).size).toBe(1000)
  })

  it('goes on where nothing can be written', async () => {
    const log = createDecisionLog({
      decisions: { add: () => Promise.reject(new Error('disk full')), sweep: async () => 0 },
      describe: ({ requestId }: Served) => ({ id: requestId }) as never,
      days: 1,
      log: pino({ level: 'silent' }),
      now: Date.now,
    })
    for (let id = 0; id < 30; id++) log.note(served(id))
    await log.close()
    expect(log.dropped()).toBe(30)
  })
})
