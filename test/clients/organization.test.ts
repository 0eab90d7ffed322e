import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call, HELLO } from '../gateway/caller.ts'
import { openProvider, type Provider } from '../gateway/provider.ts'
import { type AdminReply, openGateway, type TestGateway } from '../gateway.ts'

const DAY_S = 86_400

let provider: Provider
let gateway: TestGateway
let client: OpenAI
let key: { readonly id: string; readonly secret: string }

beforeAll(async () => {
  provider = await openProvider()
  const stand = {
    kind: 'openai',
    api_key: 'sk-upstream',
    base_url: provider.baseUrl,
    allow_private_network: true,
    // Amounts that no short double is.
    prices: { '*': { input: '0.123', output: '7.001' } },
  }
  gateway = await openGateway({ providers: { stand, other: stand } })
  client = new OpenAI({
    adminAPIKey: gateway.adminKey,
    apiKey: 'none',
    baseURL: `${gateway.adminUrl}/v1`,
    maxRetries: 0,
  })
  key = (await gateway.admin('POST', '/admin/v1/keys', { name: 'one' })).body
  for (const [secret, model] of [
    [key.secret, 'stand/a'],
    [key.secret, 'other/a'],
    [key.secret, 'stand/b'],
    [gateway.key, 'stand/a'],
  ] as const) {
    const reply = await call(
      gateway.dataUrl,
      { model, messages: HELLO, max_tokens: 5 },
      { key: secret },
    )
    expect(reply.status).toBe(200)
  }
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
})

const start = Math.floor(Date.now() / 1000) - 3 * DAY_S

describe('the stock OpenAI admin client', () => {
  it.each([
    [[], 1],
    [['api_key_id'], 2],
    [['project_id', 'user_id'], 1],
    [['line_item'], 6],
    [['line_item', 'api_key_id'], 8],
  ] as const)('reads costs by %j, equal to ours to the nano', async (groups, rows) => {
    const { results } = await costs({ group_by: [...groups] })
    expect(results.length).toBe(rows)
    const sum = results.reduce((total, { amount }) => total + nanos(amount?.value ?? 0), 0n)
    expect(sum).toBe(decimalNanos((await report('')).total.cost.amount))
    expect(sum).toBeGreaterThan(0n)
  })

  it('reads what one key cost, as our report has it', async () => {
    const { results } = await costs({ api_key_ids: [key.id] })
    const ours = (await report(`key=${key.id}`)).total.cost.amount
    expect(nanos(results[0]?.amount?.value ?? 0)).toBe(decimalNanos(ours))
    expect((await costs({ project_ids: ['app_none'] })).results).toEqual([])
  })

  it('names what was billed, and how much of it', async () => {
    const { results } = await costs({ group_by: ['line_item'] })
    const { rows } = await report('group_by=model,token_type')
    const named = results.map(({ line_item, quantity }) => [line_item ?? '', quantity])
    const own = rows
      .filter((row: Row) => row.group.token_type !== 'request')
      .map((row: Row) => [
        `${row.group.model}, ${row.group.token_type}`,
        row.input_tokens + row.output_tokens,
      ])
    expect(Object.fromEntries(named)).toEqual(Object.fromEntries(own))
    expect(new Set(results.map((result) => result.quantity_unit))).toEqual(new Set(['tokens']))
  })

  it('turns pages, and their buckets meet without a gap', async () => {
    const buckets = []
    let page: string | undefined
    do {
      const body = await client.admin.organization.usage.completions({
        start_time: start,
        bucket_width: '1h',
        limit: 10,
        ...(page !== undefined && { page }),
      })
      buckets.push(...body.data)
      page = body.next_page ?? undefined
    } while (page !== undefined)
    expect(buckets[0]?.start_time).toBe(start)
    for (const [index, bucket] of buckets.entries()) {
      if (index > 0) expect(bucket.start_time).toBe(buckets[index - 1]?.end_time)
    }
    const results = buckets.flatMap((bucket) => bucket.results) as unknown as UsageResult[]
    const { total } = await report('')
    const sum = (name: keyof UsageResult): number =>
      results.reduce((all, result) => all + result[name], 0)
    expect(sum('input_tokens')).toBe(total.input_tokens)
    expect(sum('output_tokens')).toBe(total.output_tokens)
    expect(sum('num_model_requests')).toBe(total.attempts)
  })

  it('reads usage by model and by the minute', async () => {
    const { data } = await client.admin.organization.usage.completions({
      start_time: Math.floor(Date.now() / 1000) - 1800,
      bucket_width: '1m',
      group_by: ['model'],
      models: ['a'],
      api_key_ids: [key.id],
    })
    const results = data.flatMap((bucket) => bucket.results) as unknown as { model: string }[]
    expect(new Set(results.map(({ model }) => model))).toEqual(new Set(['stand/a', 'other/a']))
  })

  it('finds nothing in what is not served', async () => {
    const { usage } = client.admin.organization
    for (const body of [
      await usage.embeddings({ start_time: start }),
      await usage.images({ start_time: start }),
      await usage.audioSpeeches({ start_time: start }),
      await usage.vectorStores({ start_time: start }),
      await usage.completions({ start_time: start, batch: true }),
    ]) {
      expect(body.data.flatMap((bucket) => bucket.results)).toEqual([])
    }
  })

  it.each(['group_by=project_id,api_key_id', 'group_by=project_id&group_by=api_key_id'])(
    'is not needed: %s is understood by hand',
    async (groups) => {
      const path = `/v1/organization/costs?start_time=${start}&${groups}`
      const { status, body } = await gateway.admin('GET', path)
      expect([status, body.data.at(-1).results.length]).toEqual([200, 2])
    },
  )

  it.each([
    ['costs?start_time=1&group_by=model', 'group_by'],
    ['usage/completions?start_time=1&page=nonsense', 'page'],
    ['usage/completions?start_time=5&end_time=1', 'end_time'],
    ['costs?end_time=1', 'start_time'],
  ])('is told what is wrong with %s', async (rest, param) => {
    const { status, body } = await gateway.admin('GET', `/v1/organization/${rest}`)
    expect([status, body.error.param]).toEqual([400, param])
  })
})

interface Row {
  readonly group: { readonly model: string; readonly token_type: string }
  readonly input_tokens: number
  readonly output_tokens: number
}

interface UsageResult {
  readonly input_tokens: number
  readonly output_tokens: number
  readonly num_model_requests: number
}

interface CostsResult {
  readonly amount?: { readonly value?: number }
  readonly line_item?: string | null
  readonly quantity?: number | null
  readonly quantity_unit?: string | null
}

async function costs(
  params: Partial<Parameters<typeof client.admin.organization.usage.costs>[0]>,
): Promise<{ readonly results: readonly CostsResult[] }> {
  const body = await client.admin.organization.usage.costs({ start_time: start, ...params })
  return { results: body.data.flatMap((bucket) => bucket.results) as unknown as CostsResult[] }
}

const report = async (query: string): Promise<AdminReply['body']> =>
  (
    await gateway.admin(
      'GET',
      `/admin/v1/costs/report?from=${new Date(start * 1000).toISOString()}&${query}`,
    )
  ).body

function nanos(dollars: number): bigint {
  return BigInt(Math.round(dollars * 1e9))
}

function decimalNanos(amount: string): bigint {
  const [whole = '0', fraction = ''] = amount.split('.')
  return BigInt(whole + fraction.padEnd(9, '0'))
}
