import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { onEachDatabase } from '../store/databases.ts'
import { MASTER_KEY } from './budget-race.ts'
import { call, HELLO } from './caller.ts'
import type { Ask, Reply } from './caller.ts'
import { answers, bills, openProvider, streamsThen } from './provider.ts'
import type { Provider, Script } from './provider.ts'
import { nanos } from './usd.ts'

/** Hangs up within a whole answer: what it billed is ours to count. */
const hangsUp: Script = (_, response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '999' })
  response.write('{"id":"chatcmpl-1","choices":[')
  setTimeout(() => response.destroy(), 5)
}

onEachDatabase((database) => {
  let failing: Provider
  let sound: Provider
  let gateway: TestGateway

  beforeAll(async () => {
    failing = await openProvider()
    sound = await openProvider()
    const { url } = await database.fresh()
    const instance = (provider: Provider, input = '0'): object => ({
      kind: 'openai',
      api_key: 'sk-upstream',
      base_url: provider.baseUrl,
      allow_private_network: true,
      prices: { '*': { input, output: '1' } },
    })
    gateway = await openGateway(
      {
        providers: {
          failing: instance(failing),
          sound: instance(sound),
          counted: instance(failing, '1'),
        },
        models: {
          pair: { targets: ['failing/m1'], fallbacks: ['sound/m1'] },
          twice: { targets: ['failing/m1'], fallbacks: ['failing/m2', 'sound/m1'] },
          'counted-pair': { targets: ['counted/m1'], fallbacks: ['sound/m1'] },
        },
      },
      {
        env: {
          TOLLGATE_MASTER_KEY: MASTER_KEY,
          ...(url === undefined ? {} : { TOLLGATE_DATABASE_URL: url }),
        },
      },
    )
  })
  afterAll(async () => {
    await gateway.close()
    await failing.close()
    await sound.close()
  })
  beforeEach(() => {
    failing.script = bills(40)
    sound.script = answers()
  })

  /** A key with so much money, and what it has left. */
  async function keyWith(limit: string, limits: object = {}) {
    const { status, body } = await gateway.admin('POST', '/admin/v1/keys', {
      name: 'key',
      limits: { budgets: [{ window: 'total', limit }], ...limits },
    })
    expect(status, JSON.stringify(body)).toBe(201)
    const ask = (given: object, asks: Ask = {}): Promise<Reply> =>
      call(gateway.dataUrl, { messages: HELLO, ...given }, { key: body.secret, ...asks })
    /** As a request is told that asks for more than there is. */
    const account = async (): Promise<{ readonly spent: string; readonly reserved: string }> =>
      (await ask({ model: 'sound/m1', max_tokens: 1_000_000_000 })).body.error.details
    return { ask, account }
  }

  describe('a failed attempt that costs', () => {
    const STREAM = { model: 'pair', stream: true, max_tokens: 100 }

    it('is followed by another where the budget affords both', async () => {
      const { ask, account } = await keyWith('0.00014')
      const reply = await ask(STREAM)
      expect(reply.complete, reply.text).toBe(true)
      expect(await account()).toMatchObject({ spent: '0.00014', reserved: '0' })
      const entries = await gateway.entries(reply.requestId, 2)
      expect(entries.map(({ cost_usd }) => cost_usd)).toEqual(['0.00004', '0.0001'])
    })

    it('is followed by none where the budget does not, and is what the caller hears of', async () => {
      const { ask, account } = await keyWith('0.000139')
      const before = sound.received.length
      const reply = await ask(STREAM)
      expect(reply.status, reply.text).toBe(502)
      const { error } = reply.body
      expect(error).toMatchObject({
        code: 'upstream_error',
        details: {
          attempts: [{ target: 'failing/m1', code: 'upstream_error' }],
          stopped_by: {
            code: 'insufficient_quota',
            scope: 'key',
            window: 'total',
            limit: '0.000139',
            needed: '0.00004',
          },
        },
      })
      expect(error.message).toContain('no other attempt was made: Key "key" may spend 0.000139 USD')
      expect(reply.headers['x-should-retry']).not.toBe('false')
      expect(sound.received).toHaveLength(before)
      expect(await account()).toMatchObject({ spent: '0.00004', reserved: '0' })
      expect(await gateway.entries(reply.requestId)).toHaveLength(1)
    })

    it('is held each time it happens', async () => {
      const enough = await keyWith('0.00018')
      const reply = await enough.ask({ ...STREAM, model: 'twice' })
      expect(reply.complete, reply.text).toBe(true)
      expect(await enough.account()).toMatchObject({ spent: '0.00018', reserved: '0' })

      const short = await keyWith('0.000179')
      const refused = await short.ask({ ...STREAM, model: 'twice' })
      expect(refused.status).toBe(502)
      expect(refused.body.error.details.attempts).toHaveLength(2)
      expect(await short.account()).toMatchObject({ spent: '0.00008', reserved: '0' })
    })

    it('takes its cost from the output of the next, where the caller set no maximum', async () => {
      const { ask, account } = await keyWith('0.0001')
      const reply = await ask({ ...STREAM, max_tokens: undefined })
      expect(reply.complete, reply.text).toBe(true)
      expect(failing.received.at(-1)!.body.max_completion_tokens).toBe(100)
      expect(sound.received.at(-1)!.body.max_completion_tokens).toBe(60)
      expect(await account()).toMatchObject({ spent: '0.0001', reserved: '0' })
    })

    it('is held at its bound where it has to be counted', async () => {
      failing.script = hangsUp
      const given = { model: 'counted-pair', max_tokens: 100 }
      const poor = await keyWith('0.000000001')
      const bound = nanos((await poor.ask(given)).body.error.details.needed)
      const prompt = bound - 100_000n

      const short = await keyWith(usd(bound + prompt - 1n))
      const refused = await short.ask(given)
      expect(refused.status, refused.text).toBe(502)
      expect(refused.body.error.details.stopped_by.needed).toBe(usd(prompt))
      const [counted] = await gateway.entries(refused.requestId)
      expect(counted!.usage_source).toBe('estimated')
      expect(await short.account()).toMatchObject({ spent: counted!.cost_usd, reserved: '0' })

      const enough = await keyWith(usd(bound + prompt))
      const reply = await enough.ask(given)
      expect(reply.status, reply.text).toBe(200)
      const spent = nanos(counted!.cost_usd!) + 100_000n
      expect(await enough.account()).toMatchObject({ spent: usd(spent), reserved: '0' })
    })
  })

  describe('a request whose caller has left', () => {
    it('frees its place at once, and its money when it is counted', async () => {
      const { ask, account } = await keyWith('1', { concurrency: 1 })
      sound.script = streamsThen(1, () => undefined)
      const given = { model: 'sound/m1', max_tokens: 100 }
      // Long enough to be counted for a while.
      const messages = [{ role: 'user', content: 'what a long story this is '.repeat(120_000) }]
      await ask({ ...given, messages, stream: true }, { onPiece: (_, leave) => leave() })
      sound.script = answers()
      await expect.poll(async () => (await ask(given)).status, { interval: 5 }).toBe(200)
      expect((await account()).reserved).toBe('0.0001')
      await expect.poll(async () => (await account()).reserved, { timeout: 9000 }).toBe('0')
    })
  })
})

function usd(amount: bigint): string {
  return `0.${String(amount).padStart(9, '0')}`.replace(/0+$/, '')
}
