import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decimal, importPrices } from '../../src/cli/import-prices.ts'
import { openGateway, type TestGateway } from '../gateway.ts'
import { directory, type Ran, tollgate } from './tollgate.ts'

const LITELLM = {
  sample_spec: { litellm_provider: 'one of https://docs', input_cost_per_token: 0 },
  'gpt-x': {
    litellm_provider: 'simulator',
    mode: 'chat',
    max_tokens: 4096,
    supports_vision: true,
    input_cost_per_token: 2.5e-6,
    output_cost_per_token: 1e-5,
    cache_read_input_token_cost: 1.25e-7,
    input_cost_per_audio_token: 4e-5,
    input_cost_per_token_above_200k_tokens: 5e-6,
    output_cost_per_token_above_200k_tokens: 1.5e-5,
    cache_creation_input_token_cost_above_200k_tokens: 7e-6,
    input_cost_per_token_batches: 1.25e-6,
    input_cost_per_token_priority: 5e-6,
    input_cost_per_token_above_200k_tokens_priority: 1e-5,
    search_context_cost_per_query: {
      search_context_size_low: 0.03,
      search_context_size_high: 0.05,
    },
    output_cost_per_second: 0.1,
    input_cost_per_character: 0,
  },
  'theirs/gpt-y': {
    litellm_provider: 'theirs',
    input_cost_per_token: 8.333e-8,
    output_cost_per_token: 0,
  },
  'dall-e': { litellm_provider: 'simulator', output_cost_per_image: 0.04 },
  'gpt-z': { litellm_provider: 'elsewhere', input_cost_per_token: 1e-6 },
}

describe('prices from a file of LiteLLM', () => {
  const imported = importPrices(JSON.stringify(LITELLM), {
    providers: new Map([
      ['simulator', ['simulator']],
      ['theirs', ['simulator']],
    ]),
    only: [],
  })

  it('are the very decimals, with their tiers and thresholds', () => {
    expect(imported.prices).toEqual([
      {
        model: 'simulator/gpt-x',
        rates: {
          input: '2.5',
          output: '10',
          cache_read: '0.125',
          input_audio: '40',
          web_search: '0.05',
          above: [{ input_tokens: 200_000, input: '5', output: '15' }],
          service_tiers: {
            batch: { input: '1.25' },
            priority: { input: '5', above: [{ input_tokens: 200_000, input: '10' }] },
          },
        },
      },
      { model: 'simulator/gpt-y', rates: { input: '0.08333', output: '0' } },
    ])
  })

  it('name what did not carry over', () => {
    expect(imported.left).toEqual([
      {
        model: 'gpt-x',
        field: 'search_context_cost_per_query',
        why: 'it differs by size: the highest was taken',
      },
      { model: 'gpt-x', field: 'output_cost_per_second', why: 'there is no such rate here' },
      {
        model: 'gpt-x',
        field: 'cache_write above 200000',
        why: 'it has no price below that',
      },
    ])
    expect([...imported.skipped]).toEqual([
      ['they have no price by the token', 1],
      ['no provider is configured for "elsewhere"', 1],
    ])
  })

  for (const [value, text] of [
    [1e-7, '0.1'],
    [3e-8, '0.03'],
    [0.000015, '15'],
    [1.5e-10, '0.00015'],
    [0, '0'],
    [0.12, '120000'],
    [12, undefined],
    [1e-21, undefined],
    [-1, undefined],
    [Number.NaN, undefined],
    [1e308, undefined],
  ] as const) {
    it(`have ${value} a token as ${text} a million`, () => {
      expect(decimal(value, 6)).toBe(text)
    })
  }
})

describe('tollgate prices', () => {
  let gateway: TestGateway

  beforeAll(async () => {
    gateway = await openGateway()
  })
  afterAll(() => gateway.close())

  const run = (...args: readonly string[]): Promise<Ran> =>
    tollgate(args, {
      env: { TOLLGATE_URL: gateway.adminUrl, TOLLGATE_ADMIN_KEY: gateway.adminKey },
    })

  it('sets, shows, lists and ends', async () => {
    const rates = ['--input', '1.25', '--output', '10', '--tier', 'flex:multiplier=0.5']
    const set = await run('prices', 'set', 'simulator/chat', ...rates, '--quiet')
    expect(set).toMatchObject({ code: 0, stderr: '' })
    const id = set.stdout.trim()
    const listed = JSON.parse(
      (await run('prices', 'list', '--model', 'simulator/chat', '--json')).stdout,
    )
    expect(listed).toMatchObject([{ version: `operator:${id}`, rates: { input: '1.25' } }])
    expect((await run('prices', 'get', 'simulator/chat')).stdout).toContain(
      `price             ${id}`,
    )
    expect((await run('prices', 'get', id)).stdout).toContain('in_force')
    expect((await run('prices', 'list', '--set')).stdout).toMatch(
      /input=1.25 output=10 service_tiers=…/,
    )
    expect((await run('prices', 'history', 'simulator/chat')).stdout).toContain(`operator:${id}`)
    expect((await run('prices', 'end', id, '--dry-run')).stderr).toContain('Nothing was changed')
    expect((await run('prices', 'end', id)).stdout).toMatch(/status +ended/)
    expect((await run('prices', 'list', '--set', '--json')).stdout.trim()).toBe('[]')
  })

  it('imports what it exported, and a file of LiteLLM, dry first', async () => {
    const file = join(directory({ 'prices.json': JSON.stringify(LITELLM) }), 'prices.json')
    const dry = await run('prices', 'import', file, '--map', 'theirs=simulator', '--dry-run')
    expect(dry.stderr).toMatch(/not carried over: gpt-x output_cost_per_second/)
    expect(dry.stderr).toMatch(/2 would be set, 0 would be ended.*Nothing was changed/)
    const done = await run('prices', 'import', file, '--map', 'theirs=simulator')
    expect(done).toMatchObject({ code: 0 })
    const again = await run('prices', 'import', file, '--map', 'theirs=simulator')
    expect(again.stderr).toMatch(/0 set, 0 ended, 2 as they are/)

    const exported = (await run('prices', 'list', '--set', '--json')).stdout
    const copy = join(directory({ 'copy.json': exported }), 'copy.json')
    expect((await run('prices', 'import', copy, '--from', '2027-01-01')).stderr).toMatch(/2 set/)
  })

  it('imports CSV', async () => {
    const csv = [
      'model,from,input,output,service_tier,above_input_tokens,note',
      'simulator/csv,2026-01-01,1,2,,,"by hand, twice"',
      'simulator/csv,2026-01-01,3,4,,200000,',
      'simulator/csv,2026-01-01,0.5,1,batch,,',
    ].join('\n')
    const file = join(directory({ 'prices.csv': csv }), 'prices.csv')
    const { stdout } = await run('prices', 'import', file, '--json')
    expect(JSON.parse(stdout).data).toMatchObject([
      {
        model: 'simulator/csv',
        note: 'by hand, twice',
        rates: {
          input: '1',
          output: '2',
          above: [{ input_tokens: 200_000, input: '3', output: '4' }],
          service_tiers: { batch: { input: '0.5', output: '1' } },
        },
      },
    ])
  })

  it('tells the policy, and changes it', async () => {
    expect((await run('prices', 'policy')).stdout).toMatch(/refuse\tas the installation/)
    expect((await run('prices', 'policy', 'allow')).stdout).toMatch(/allow\n/)
    expect((await run('prices', 'policy', 'inherit')).stdout).toMatch(/as the installation/)
    expect((await run('prices', 'policy', 'maybe')).code).toBe(2)
    const ofTenant = await run('prices', 'policy', 'allow', '--tenant', 'tenant_default')
    expect(ofTenant.stdout).toBe('tenant_default\tallow\n')
    expect((await run('prices', 'policy', '--tenant', 'nobody')).code).toBe(3)
    await run('prices', 'policy', 'inherit')
  })

  it('sets a price for the tenant that is named, and for nobody else', async () => {
    const { body } = await gateway.admin('POST', '/admin/v1/tenants', { name: 'acme' })
    const set = ['prices', 'set', 'simulator/embed', '--discount', '10']
    const ofTenant = await run(...set, '--tenant', 'acme', '--json')
    expect(JSON.parse(ofTenant.stdout)).toMatchObject({ source: 'tenant', tenant_id: body.id })
    const ofAll = await run(...set, '--dry-run', '--json')
    expect(JSON.parse(ofAll.stdout)).toMatchObject({ source: 'operator', tenant_id: null })
  })

  it('reprices the tenant that is named alone', async () => {
    const since = new Date(Date.now() - 3_600_000).toISOString()
    const all = await run('costs', 'reprice', '--from', since, '--dry-run', '--json')
    const none = await run(
      'costs',
      'reprice',
      '--from',
      since,
      '--dry-run',
      '--tenant',
      'acme',
      '--json',
    )
    expect(JSON.parse(none.stdout)).toMatchObject({ status: 'done', seen: 0 })
    expect(JSON.parse(all.stdout)).toMatchObject({ status: 'done' })
  })

  for (const [what, args] of [
    ['a price without rates', ['prices', 'set', 'simulator/chat']],
    ['rates and a discount', ['prices', 'set', 'a/b', '--input', '1', '--discount', '5']],
    ['a negative price', ['prices', 'set', 'simulator/chat', '--input', '-1']],
    ['a tier without rates', ['prices', 'set', 'a/b', '--input', '1', '--tier', 'flex']],
    ['an end before the beginning', ['prices', 'set', 'a/b', '--input', '1', '--to', '2020-01-01']],
    ['a repricing without its beginning', ['costs', 'reprice']],
  ] as const) {
    it(`refuses ${what}`, async () => {
      expect(await run(...args)).toMatchObject({ code: 2, stdout: '' })
    })
  }

  it('reprices, with the difference shown first', async () => {
    const response = await fetch(`${gateway.dataUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'simulator/chat',
        messages: [{ role: 'user', content: 'Hello' }],
      }),
    })
    await gateway.entries(response.headers.get('x-request-id')!)
    await run(
      'prices',
      'set',
      'simulator/*',
      '--input',
      '1000',
      '--output',
      '1',
      '--from',
      '2026-01-01',
    )
    const dry = await run('costs', 'reprice', '--from', '2026-01-01', '--dry-run')
    expect(dry.stdout).toMatch(/^simulator\/chat\t/m)
    expect(dry.stderr).toMatch(/1 would be adjusted.*\n.*Nothing was written/)
    expect((await run('costs', 'reprice', '--from', '2026-01-01')).stderr).toMatch(/1 adjusted/)
    expect((await run('costs', 'reprice', '--from', '2026-01-01')).stderr).toMatch(/0 adjusted/)
  })
})
