import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'
import type { Reply } from './caller.ts'
import { answers, openProvider } from './provider.ts'
import type { Provider } from './provider.ts'
import { nanos } from './usd.ts'

/** Ten output tokens, at a dollar a million. */
const REQUEST = '0.00001'
const TWO = '0.00002'

let provider: Provider
let gateway: TestGateway
let dataDir: string

const settings = () => ({
  providers: {
    stand: {
      kind: 'openai',
      api_key: 'sk-upstream',
      base_url: provider.baseUrl,
      allow_private_network: true,
      prices: { '*': { input: '0', output: '1' } },
    },
  },
  models: { fast: { targets: [{ model: 'stand/m1' }] } },
})

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'tollgate-limits-'))
  provider = await openProvider()
  provider.script = answers({ outputTokens: 10 })
  gateway = await openGateway(settings(), { dataDir })
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
  rmSync(dataDir, { recursive: true, force: true })
})

/** Limits of a scope, until what is asked of them is done. */
async function under(path: string, limits: object, act: () => Promise<void>): Promise<void> {
  const set = await gateway.admin('PUT', `/admin/v1/limits/${path}`, limits)
  expect(set.status, JSON.stringify(set.body)).toBe(200)
  try {
    await act()
  } finally {
    expect((await gateway.admin('DELETE', `/admin/v1/limits/${path}`)).status).toBe(200)
  }
}

type Ask = (given?: object, headers?: Record<string, string>) => Promise<Reply>

async function newKey(fields: object = {}): Promise<Ask> {
  const { status, body } = await gateway.admin('POST', '/admin/v1/keys', { name: 'any', ...fields })
  expect(status, JSON.stringify(body)).toBe(201)
  return (given = {}, headers = {}) =>
    call(
      gateway.dataUrl,
      { model: 'stand/m1', messages: HELLO, max_tokens: 10, ...given },
      { key: body.secret, headers },
    )
}

const SCOPES: readonly [
  kind: string,
  path: string,
  given: object,
  headers: Record<string, string>,
][] = [
  ['platform', 'platform/platform', {}, {}],
  ['tenant', 'tenant/default', {}, {}],
  ['tenant', 'tenant/*', {}, {}],
  ['application', 'application/default', {}, {}],
  ['application', 'application/*', {}, {}],
  ['end_user', 'end_user/ann%40x.org', { user: 'ann@x.org' }, {}],
  ['end_user', 'end_user/*', { user: 'tim' }, {}],
  ['service', 'service/fast', { model: 'fast' }, {}],
  ['tag', 'tag/team:blue', {}, { 'x-tollgate-tags': 'team:blue' }],
]

describe('the limits of a scope', () => {
  for (const [kind, path, given, headers] of SCOPES) {
    it(`hold for all keys together: ${path}`, async () => {
      const asks = [await newKey(), await newKey()]
      await under(path, { requests_per_minute: 2 }, async () => {
        const statuses: number[] = []
        let last: Reply | undefined
        for (const ask of [...asks, ...asks]) {
          last = await ask(given, headers)
          statuses.push(last.status)
        }
        // What came before the limits were set counts too.
        expect(statuses.filter((status) => status === 200).length).toBeLessThanOrEqual(2)
        expect(last?.body.error).toMatchObject({
          code: 'rate_limit_exceeded',
          details: {
            limit: 'rpm',
            scope: kind,
            ...(kind !== 'platform' && { max: 2, used: expect.any(Number) }),
          },
        })
      })
      expect((await asks[0]!(given, headers)).status).toBe(200)
    })
  }

  it('do not concern others', async () => {
    const ask = await newKey()
    await under('end_user/eve', { requests_per_minute: 1 }, async () => {
      expect((await ask({ user: 'eve' })).status).toBe(200)
      const refused = await ask({ user: 'eve' })
      expect(refused.status).toBe(429)
      expect(refused.body.error.message).toContain('its limit of 1 request per minute')
      expect((await ask({ user: 'eva' })).status).toBe(200)
      expect((await ask()).status).toBe(200)
    })
  })

  it('of a service hold for every way to write its name, also after a restart', async () => {
    const ask = await newKey()
    const path = '/admin/v1/limits/service/simulator%2Ftiny'
    await gateway.admin('PUT', path, { requests_per_day: 3 })
    const of = async (model: string) => (await ask({ model })).status
    expect([await of('tiny'), await of('simulator/tiny')]).toEqual([200, 200])
    const used = async () =>
      (
        await gateway.admin(
          'GET',
          '/admin/v1/limits/standing?kind=service&subject=simulator%2Ftiny',
        )
      ).body.data[0].used
    expect(await used()).toBe('2')
    await gateway.close()
    gateway = await openGateway(settings(), { dataDir })
    expect(await used()).toBe('2')
    expect([await of('tiny'), await of('tiny'), await of('simulator/tiny')]).toEqual([
      200, 429, 429,
    ])
    await gateway.admin('DELETE', path)
  })

  it('of the platform keep its figures from tenants', async () => {
    const ask = await newKey()
    const secret = /0\.0009|0\.098|"(max|used|spent|remaining|reserved|needed)"/
    const limits = {
      requests_per_day: 1_000_000,
      budgets: [{ window: 'day', limit: '0.09876', block_percent: 1 }],
    }
    await under('platform/platform', limits, async () => {
      const replies = [await ask({ max_tokens: 1 }), await ask({ max_tokens: 100_000 })]
      for (const { headers } of replies) {
        const names = Object.keys(headers).join()
        expect(names).not.toMatch(/x-ratelimit-|x-tollgate-budget/)
        expect(headers['x-tollgate-limit']).toBeUndefined()
      }
      const refused = replies[1]!
      expect(refused.status).toBe(429)
      expect(refused.body.error).toMatchObject({
        code: 'insufficient_quota',
        message: "The platform's budget is used up; ask its operator",
      })
      expect(JSON.stringify(refused.body.error)).not.toMatch(secret)
    })
    await under('platform/platform', { requests_per_minute: 1 }, async () => {
      await ask()
      const { status, body, headers } = await ask()
      expect([status, body.error.details.limit]).toEqual([429, 'rpm'])
      expect(JSON.stringify(body.error)).not.toMatch(secret)
      expect(Object.keys(headers).join()).not.toContain('x-ratelimit-')
    })
  })

  it('of a tag hold however it is written', async () => {
    const [ask, key] = [await newKey(), await newKey({ tags: ['Vip'] })]
    await under('tag/VIP', { requests_per_minute: 2 }, async () => {
      const as = async (tag: string) => (await ask({}, { 'x-tollgate-tags': tag })).status
      expect([await as('vip'), (await key()).status, await as('VIP'), await as('vIp')]).toEqual([
        200, 200, 429, 429,
      ])
    })
  })

  it('of its own replace the default', async () => {
    const ask = await newKey()
    await under('end_user/*', { requests_per_minute: 1 }, () =>
      under('end_user/vip', { requests_per_minute: 3 }, async () => {
        const of = async (user: string) => (await ask({ user })).status
        expect([await of('vip'), await of('vip'), await of('one'), await of('one')]).toEqual([
          200, 200, 200, 429,
        ])
      }),
    )
  })

  it('are one default for an end user never seen before, however many come at once (T037)', async () => {
    const ask = await newKey()
    const budgets = [{ window: 'month', limit: TWO }]
    await under('end_user/*', { budgets }, async () => {
      const replies = await Promise.all(Array.from({ length: 64 }, () => ask({ user: 'new' })))
      expect(replies.filter(({ status }) => status === 200)).toHaveLength(2)
      const { body } = await gateway.admin(
        'GET',
        '/admin/v1/limits/standing?kind=end_user&subject=new',
      )
      expect(body.data).toMatchObject([
        { scope: 'end_user', used: { amount: TWO }, remaining: { amount: '0' }, status: 'blocked' },
      ])
    })
  })

  it('on some models leave the others alone', async () => {
    const ask = await newKey()
    const models = [{ pattern: 'stand/mini*', budgets: [{ window: 'day', limit: REQUEST }] }]
    await under('application/default', { models }, async () => {
      const of = (model: string) => ask({ model })
      expect((await of('stand/mini-1')).status).toBe(200)
      const refused = await of('stand/mini-2')
      expect(refused.body.error.details).toMatchObject({
        scope: 'application',
        name: 'default',
        model: 'stand/mini*',
      })
      expect((await of('stand/big')).status).toBe(200)
    })
  })

  for (const [limit, code] of [
    ['requests_per_day', 'rpd'],
    ['tokens_per_day', 'tpd'],
    ['output_tokens_per_day', 'otpd'],
    ['output_tokens_per_minute', 'otpm'],
    ['input_tokens_per_day', 'itpd'],
    ['input_tokens_per_minute', 'itpm'],
  ] as const) {
    it(`may be ${limit}`, async () => {
      // Of input, more is held than a prompt turns out to have.
      const most = limit === 'requests_per_day' ? 2 : /^(input|tokens)/.test(limit) ? 300 : 25
      const ask = await newKey({ limits: { [limit]: most } })
      const replies: Reply[] = []
      for (let times = 0; times < 40; times++) replies.push(await ask())
      const refused = replies.filter(({ status }) => status === 429)
      expect(replies[0]?.status).toBe(200)
      expect(refused.length).toBeGreaterThan(0)
      expect(refused[0]?.body.error.details).toMatchObject({ limit: code, scope: 'key' })
    })
  }
})

describe('budgets of nested scopes', () => {
  it('admit exactly what the tightest pays for, and name it', async () => {
    const asks = await Promise.all([
      newKey({ limits: { budgets: [{ window: 'total', limit: '0.0009' }] } }),
      newKey({ limits: { budgets: [{ window: 'total', limit: '0.0009' }] } }),
    ])
    await under('tag/nest', { budgets: [{ window: 'day', limit: '0.0001' }] }, async () => {
      const tags = { 'x-tollgate-tags': 'nest' }
      const replies = await Promise.all(
        Array.from({ length: 100 }, (_, index) => asks[index % 2]!({}, tags)),
      )
      expect(replies.filter(({ status }) => status === 200)).toHaveLength(10)
      const [ask] = asks
      const last = await ask({}, tags)
      expect(last.body.error).toMatchObject({
        code: 'insufficient_quota',
        details: { scope: 'tag', name: 'nest', window: 'day', limit: '0.0001', spent: '0.0001' },
      })
      expect(last.headers['x-tollgate-limit']).toMatch(
        /^tag "nest"; budget; per=day; max=0\.0001; remaining=0; resets=\d/,
      )
      expect(last.body.error.message).toContain('Tag "nest" may spend 0.0001 USD per day')
    })
  })

  it('lower an open end to what all of them afford, and say by which', async () => {
    const ask = await newKey({ limits: { budgets: [{ window: 'total', limit: '0.001' }] } })
    await under('tag/tight', { budgets: [{ window: 'month', limit: '0.0001' }] }, async () => {
      const reply = await ask({ max_tokens: undefined }, { 'x-tollgate-tags': 'tight' })
      expect(reply.status, reply.text).toBe(200)
      expect(reply.headers['x-tollgate-max-tokens']).toBe('100')
      expect(reply.headers['x-tollgate-max-tokens-limit']).toMatch(
        /^tag "tight"; budget; per=month/,
      )
      expect(reply.headers['x-tollgate-limit']).toMatch(/^tag "tight"; budget; .*remaining=0;/)
      expect(provider.received.at(-1)!.body.max_completion_tokens).toBe(100)
    })
  })

  it('warn, then block', async () => {
    const budget = { window: 'day', limit: '0.0001', warn_percent: 20, block_percent: 30 }
    const ask = await newKey({ limits: { budgets: [budget] } })
    const replies = [await ask(), await ask(), await ask(), await ask()]
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 429])
    expect(replies.map(({ headers }) => headers['x-tollgate-budget'])).toEqual([
      undefined,
      'warn',
      'warn',
      undefined,
    ])
    expect(replies[3]?.body.error.details).toMatchObject({ limit: '0.00003' })
  })

  it('that are soft let pass, and mark it', async () => {
    const ask = await newKey({
      limits: { budgets: [{ window: 'day', limit: REQUEST, policy: 'soft' }] },
    })
    const replies = [await ask(), await ask()]
    expect(replies.map(({ status }) => status)).toEqual([200, 200])
    expect(replies.map(({ headers }) => headers['x-tollgate-budget'])).toEqual([
      undefined,
      'soft-exceeded',
    ])
    const metrics = await gateway.admin('GET', '/metrics').catch(() => undefined)
    if (typeof metrics?.body === 'string') {
      expect(metrics.body).toMatch(/tollgate_budget_soft_exceeded_total [1-9]/)
    }
  })

  it('are raised for a while, which ends by itself', async () => {
    const raise = (ms: number) => ({
      amount: REQUEST,
      until: new Date(Date.now() + ms).toISOString(),
      reason: 'launch',
    })
    const limitsWith = (ms: number) => ({
      limits: { budgets: [{ window: 'total', limit: REQUEST, raises: [raise(ms)] }] },
    })
    const raised = await newKey(limitsWith(3_600_000))
    expect([(await raised()).status, (await raised()).status, (await raised()).status]).toEqual([
      200, 200, 429,
    ])
    const ending = await newKey(limitsWith(1500))
    expect((await ending()).status).toBe(200)
    await new Promise((resolve) => setTimeout(resolve, 1600))
    expect((await ending()).status).toBe(429)
  })
})

describe('a budget set while a request is under way', () => {
  it('counts it when it is over', async () => {
    const ask = await newKey()
    const going = Promise.withResolvers<void>()
    const before = provider.received.length
    provider.script = async (received, response) => {
      await going.promise
      await answers({ outputTokens: 10 })(received, response)
    }
    const tags = { 'x-tollgate-tags': 'late' }
    const running = ask({}, tags)
    await expect.poll(() => provider.received.length).toBe(before + 1)
    await under('tag/late', { budgets: [{ window: 'month', limit: TWO }] }, async () => {
      const used = async () => {
        const { body } = await gateway.admin(
          'GET',
          '/admin/v1/limits/standing?kind=tag&subject=late',
        )
        return body.data[0].used.amount
      }
      expect(await used()).toBe('0')
      provider.script = answers({ outputTokens: 10 })
      going.resolve()
      expect((await running).status).toBe(200)
      expect(await used()).toBe(REQUEST)
      expect([(await ask({}, tags)).status, (await ask({}, tags)).status]).toEqual([200, 429])
    })
  })
})

describe('after a restart', () => {
  it('every scope has spent what it had before', async () => {
    const ask = await newKey()
    const budgets = [{ window: 'month', limit: '0.001' }]
    const daily = { budgets, tokens_per_day: 1_000_000 }
    const paths = [
      'tenant/default',
      'application/default',
      'end_user/rita',
      'service/fast',
      'tag/restart',
    ]
    for (const path of paths) {
      expect((await gateway.admin('PUT', `/admin/v1/limits/${path}`, daily)).status).toBe(200)
    }
    for (let times = 0; times < 3; times++) {
      const reply = await ask({ model: 'fast', user: 'rita' }, { 'x-tollgate-tags': 'restart' })
      expect(reply.status, reply.text).toBe(200)
    }
    const standing = async () => {
      const { body } = await gateway.admin('GET', '/admin/v1/limits/standing')
      return body.data.filter(({ scope }: { scope: string }) => scope !== 'key')
    }
    const before = await standing()
    const spent = before.find(({ id }: { id: string }) => /^end_user.*rita\/budget/.test(id))
    expect(nanos(spent.used.amount)).toBe(30_000n)
    await gateway.close()
    gateway = await openGateway(settings(), { dataDir })
    expect(await standing()).toEqual(before)
    for (const path of paths) await gateway.admin('DELETE', `/admin/v1/limits/${path}`)
  })
})

describe('the control plane', () => {
  it('lists, shows, sets and takes away limits', async () => {
    const path = '/admin/v1/limits/service/fast'
    const none = await gateway.admin('GET', path)
    expect(none.status).toBe(404)
    expect(none.body.error.message).toBe('No limits are set for service/fast')
    const set = await gateway.admin('PUT', path, {
      concurrency: 5,
      budgets: [{ window: 'ever', limit: '10', warn_percent: 80 }],
    })
    expect(set.body).toMatchObject({
      id: 'service/fast',
      limits: {
        concurrency: 5,
        tokens_per_day: null,
        budgets: [
          {
            window: 'total',
            limit: { amount: '10', currency: 'USD' },
            warn_percent: 80,
            block_percent: 100,
            policy: 'hard',
            raises: [],
          },
        ],
        models: [],
      },
    })
    expect((await gateway.admin('PUT', path, set.body.limits)).body.limits).toEqual(set.body.limits)
    const { body: list } = await gateway.admin('GET', '/admin/v1/limits')
    expect(list.data.map(({ id }: { id: string }) => id)).toEqual(['service/fast'])
    expect((await gateway.admin('DELETE', path)).status).toBe(200)
    expect((await gateway.admin('GET', path)).status).toBe(404)
  })

  it('knows no application of another', async () => {
    const { status, body } = await gateway.admin('PUT', '/admin/v1/limits/application/nobody', {})
    expect([status, body.error.code]).toEqual([404, 'not_found'])
  })

  for (const [what, limits] of [
    [
      'a window twice',
      {
        budgets: [
          { window: 'day', limit: '1' },
          { window: 'day', limit: '2' },
        ],
      },
    ],
    ['a float', { budgets: [{ window: 'day', limit: 1 }] }],
    [
      'a raise of nothing',
      {
        budgets: [
          { window: 'day', limit: '1', raises: [{ until: '2030-01-01T00:00:00Z', reason: 'x' }] },
        ],
      },
    ],
    [
      'a raise that has ended',
      {
        budgets: [
          {
            window: 'day',
            limit: '1',
            raises: [{ amount: '1', until: '2020-01-01T00:00:00Z', reason: 'x' }],
          },
        ],
      },
    ],
    ['a warning beyond the end', { budgets: [{ window: 'day', limit: '1', warn_percent: 150 }] }],
    [
      'a warning where it blocks',
      { budgets: [{ window: 'day', limit: '1', warn_percent: 80, block_percent: 50 }] },
    ],
    ['a model that there is not', { models: [{ pattern: 'stond/m1', concurrency: 1 }] }],
    ['a pattern of no provider', { models: [{ pattern: 'stond/*', concurrency: 1 }] }],
    ['a model by its bare name', { models: [{ pattern: 'tiny', concurrency: 1 }] }],
    ['an unknown limit', { requests_per_hour: 5 }],
    ['a limit below one', { requests_per_day: 0 }],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const { status, body } = await gateway.admin('PUT', '/admin/v1/limits/service/fast', limits)
      expect([status, body.error?.code]).toEqual([400, 'invalid_value'])
    })
  }

  it('refuses a service that there is not, and names the right one', async () => {
    const put = async (name: string) =>
      (await gateway.admin('PUT', `/admin/v1/limits/service/${name}`, { concurrency: 1 })).body
        .error
    expect(await put('fest')).toMatchObject({ code: 'invalid_value', param: 'subject' })
    expect((await put('fest')).message).toContain('did you mean "fast"')
    expect((await put('tiny')).message).toContain('simulator/tiny in full')
  })
})
