import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'
import type { Reply } from './caller.ts'
import { answers, openProvider } from './provider.ts'
import type { Provider } from './provider.ts'
import { nanos } from './usd.ts'

let provider: Provider
let gateway: TestGateway

beforeAll(async () => {
  provider = await openProvider()
  gateway = await openGateway({
    providers: {
      stand: {
        kind: 'openai',
        api_key: 'sk-upstream',
        base_url: provider.baseUrl,
        allow_private_network: true,
        prices: { '*': { input: '0', output: '1' } },
      },
      other: {
        kind: 'mistral',
        api_key: 'sk-upstream',
        base_url: provider.baseUrl,
        allow_private_network: true,
        prices: { '*': { input: '0', output: '1' } },
      },
    },
  })
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
})

async function keyWith(limits: object): Promise<(given?: object) => Promise<Reply>> {
  const { status, body } = await gateway.admin('POST', '/admin/v1/keys', {
    name: 'limited',
    limits,
  })
  expect(status, JSON.stringify(body)).toBe(201)
  return (given = {}) =>
    call(
      gateway.dataUrl,
      { model: 'stand/m1', messages: HELLO, max_tokens: 10, ...given },
      { key: body.secret },
    )
}

describe('a limit of requests per minute', () => {
  it('counts down in the headers, then refuses with a time to come back', async () => {
    const ask = await keyWith({ requests_per_minute: 2 })
    const [first, second, third] = [await ask(), await ask(), await ask()]
    expect(first.headers).toMatchObject({
      'x-ratelimit-limit-requests': '2',
      'x-ratelimit-remaining-requests': '1',
    })
    expect(first.headers['x-ratelimit-reset-requests']).toMatch(/^\d+(\.\d+)?s$/)
    expect(first.headers).not.toHaveProperty('x-ratelimit-limit-tokens')
    expect(second.headers['x-ratelimit-remaining-requests']).toBe('0')

    expect(third.status).toBe(429)
    expect(third.body.error).toMatchObject({
      type: 'rate_limit_error',
      code: 'rate_limit_exceeded',
      param: null,
      request_id: third.requestId,
      details: { limit: 'rpm', scope: 'key', max: 2, remaining: 0 },
    })
    const seconds = Number(third.headers['retry-after'])
    const ms = Number(third.headers['retry-after-ms'])
    expect(seconds).toBeGreaterThanOrEqual(1)
    expect(seconds).toBeLessThanOrEqual(60)
    expect(Math.ceil(ms / 1000)).toBe(seconds)
    expect(third.headers['x-should-retry']).not.toBe('false')
    expect(Date.parse(third.body.error.details.resets_at)).toBeGreaterThan(Date.now())
    expect(third.headers).toMatchObject({
      'x-ratelimit-limit-requests': '2',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': expect.stringMatching(/^\d+(\.\d+)?s$/),
    })
  })

  it('lets no more through when they come at once', async () => {
    const ask = await keyWith({ requests_per_minute: 5 })
    const replies = await Promise.all(Array.from({ length: 50 }, () => ask()))
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(5)
  })

  it('is not used up by requests that were refused before it was asked', async () => {
    const ask = await keyWith({ requests_per_minute: 1 })
    expect((await ask({ model: 'stand/' })).status).toBe(404)
    expect((await ask({ messages: 'no' })).status).toBe(400)
    expect((await ask()).status).toBe(200)
  })
})

describe('a limit of tokens per minute', () => {
  it('holds the bound and gives back what was not used', async () => {
    const ask = await keyWith({ tokens_per_minute: 1000 })
    provider.script = answers({ outputTokens: 4 })
    const left = ({ headers }: Reply): number => Number(headers['x-ratelimit-remaining-tokens'])
    const first = await ask({ max_tokens: 500 })
    const second = await ask({ max_tokens: 1 })
    const promptBound = 1000 - left(first) - 500
    expect(first.headers['x-ratelimit-limit-tokens']).toBe('1000')
    expect(promptBound).toBeGreaterThanOrEqual(8)
    // 8 of the prompt and 4 of the answer were used.
    expect(left(second)).toBeGreaterThanOrEqual(1000 - 12 - promptBound - 1)
    provider.script = answers()
  })

  it('refuses with a time to come back what fits later', async () => {
    const ask = await keyWith({ tokens_per_minute: 1000 })
    expect((await ask({ max_tokens: 700 })).status).toBe(200)
    const refused = await ask({ max_tokens: 700 })
    expect(refused.status).toBe(429)
    expect(refused.body.error.details).toMatchObject({ limit: 'tpm', max: 1000 })
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(60)
  })

  it('tells a client not to repeat what can never fit', async () => {
    const ask = await keyWith({ tokens_per_minute: 1000 })
    const refused = await ask({ max_tokens: 5000 })
    expect(refused.status).toBe(429)
    expect(refused.headers).toMatchObject({ 'x-should-retry': 'false' })
    expect(refused.headers).not.toHaveProperty('retry-after')
  })
})

describe('a limit of concurrent requests', () => {
  it('refuses the one too many and lets it in when another has ended', async () => {
    const ask = await keyWith({ concurrency: 2 })
    const going = Promise.withResolvers<void>()
    const before = provider.received.length
    provider.script = async (received, response) => {
      await going.promise
      await answers()(received, response)
    }
    const running = [ask(), ask({ stream: true })]
    await expect.poll(() => provider.received.length).toBe(before + 2)
    const refused = await ask()
    going.resolve()
    provider.script = answers()
    expect(refused.status).toBe(429)
    expect(refused.body.error.details).toMatchObject({ limit: 'concurrency', max: 2 })
    expect(Number(refused.headers['retry-after-ms'])).toBeLessThanOrEqual(1000)
    expect((await Promise.all(running)).every(({ complete }) => complete)).toBe(true)
    expect((await ask()).status).toBe(200)
  })
})

describe('a budget', () => {
  it('that is spent is refused as a quota, with nothing to wait for', async () => {
    const ask = await keyWith({ budgets: [{ window: 'day', limit: '0.00001' }] })
    expect((await ask()).status).toBe(200)
    const refused = await ask()
    expect(refused.status).toBe(429)
    expect(refused.headers['x-should-retry']).toBe('false')
    expect(refused.headers).not.toHaveProperty('retry-after')
    expect(refused.headers).not.toHaveProperty('retry-after-ms')
    const { error } = refused.body
    expect(error).toMatchObject({
      type: 'insufficient_quota',
      code: 'insufficient_quota',
      details: {
        scope: 'key',
        name: 'limited',
        limit: '0.00001',
        spent: '0.00001',
        reserved: '0',
        needed: '0.00001',
        currency: 'USD',
        window: 'day',
      },
    })
    const midnight = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10)
    expect(error.details.resets_at).toBe(`${midnight}T00:00:00.000Z`)
  })

  it('in several windows is held by the tightest', async () => {
    const ask = await keyWith({
      budgets: [
        { window: 'month', limit: '1' },
        { window: 'week', limit: '0.00002' },
      ],
    })
    const statuses = [await ask(), await ask(), await ask()].map(({ status }) => status)
    expect(statuses).toEqual([200, 200, 429])
  })

  it('that is raised lets the key go on', async () => {
    const { body: key } = await gateway.admin('POST', '/admin/v1/keys', {
      name: 'raised',
      limits: { budgets: [{ window: 'total', limit: '0.00001' }] },
    })
    const ask = (): Promise<Reply> =>
      call(
        gateway.dataUrl,
        { model: 'stand/m1', messages: HELLO, max_tokens: 10 },
        { key: key.secret },
      )
    expect([(await ask()).status, (await ask()).status]).toEqual([200, 429])
    await gateway.admin('PATCH', `/admin/v1/keys/${key.id}`, {
      limits: { budgets: [{ window: 'total', limit: '0.00002' }] },
    })
    expect([(await ask()).status, (await ask()).status]).toEqual([200, 429])
  })

  // OpenAI's own wire takes the newer name, Mistral's the older one.
  for (const [model, member] of [
    ['stand/m1', 'max_completion_tokens'],
    ['other/m1', 'max_tokens'],
  ] as const) {
    it(`lowers what an open-ended request to ${model} may use to what it affords`, async () => {
      const ask = await keyWith({ budgets: [{ window: 'total', limit: '0.0001' }] })
      const { max_tokens: _, ...open } = { model, max_tokens: undefined }
      const reply = await ask({ ...open, max_tokens: undefined })
      expect(reply.status, reply.text).toBe(200)
      expect(provider.received.at(-1)!.body[member]).toBe(100)
      // It used all of it: nothing is left.
      const { details } = (await ask({ ...open, max_tokens: undefined })).body.error
      expect([nanos(details.spent), nanos(details.reserved)]).toEqual([100_000n, 0n])
    })
  }

  it('refuses a maximum of the caller that it cannot pay for, and holds nothing', async () => {
    const ask = await keyWith({ budgets: [{ window: 'total', limit: '0.0001' }] })
    const before = provider.received.length
    const refused = await ask({ max_tokens: 101 })
    expect(refused.status).toBe(429)
    expect(refused.body.error.message).toContain('can never fit')
    expect(provider.received).toHaveLength(before)
    expect((await ask({ max_tokens: 100 })).status).toBe(200)
  })

  it('lowers an open end of several answers to what it affords of each', async () => {
    const ask = await keyWith({ budgets: [{ window: 'total', limit: '0.0001' }] })
    const reply = await ask({ max_tokens: undefined, n: 3 })
    expect(reply.status, reply.text).toBe(200)
    expect(provider.received.at(-1)!.body.max_completion_tokens).toBe(33)
    // Not a token for each of them is left, be there one for some.
    const little = await keyWith({ budgets: [{ window: 'total', limit: '0.000002' }] })
    expect((await little({ max_tokens: undefined, n: 3 })).status).toBe(429)
    expect((await little({ max_tokens: undefined, n: 2 })).status).toBe(200)
  })

  it('counts every alternative answer', async () => {
    const ask = await keyWith({ budgets: [{ window: 'total', limit: '0.0001' }] })
    expect((await ask({ max_tokens: 60, n: 2 })).status).toBe(429)
    expect((await ask({ max_tokens: 50, n: 2 })).status).toBe(200)
  })
})
