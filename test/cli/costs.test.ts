import { describe, expect, it } from 'vitest'
import { controlPlane, key, listOf } from './control-plane.ts'
import { atTerminal } from './tollgate.ts'

describe('costs summary', () => {
  it('says in words what was spent, and names the dearest models by exact amounts', async () => {
    const plane = await controlPlane({ 'GET /admin/v1/costs/report': { body: report() } })
    const ran = await atTerminal(
      'costs summary --from 2026-11-01 --to 2026-11-02 --tz Europe/Warsaw --no-color'.split(' '),
      plane,
    )
    expect(plane.asked[0]?.path).toBe(
      '/admin/v1/costs/report?from=2026-11-01&to=2026-11-02&tz=Europe%2FWarsaw&group_by=model',
    )
    expect(ran.stdout.split('\n').slice(0, 4)).toEqual([
      '2026-11-01 00:00 to 2026-11-03 00:00 (Europe/Warsaw): 12345678901.000000003 USD for 1,234 requests, 1,240 attempts.',
      '5,000,000 tokens in, 1,000 out.',
      '3 unpriced: what they cost is not known and not in the sum.',
      '2 estimated: the provider did not tell their usage.',
    ])
    const models = ran.stdout.split('\n').slice(5, 10)
    expect(models.map((line) => line.split(' ')[0])).toEqual(['f', 'e', 'd', 'c', 'b'])
    expect(ran.stderr).toContain('1 more')
  })

  it('leaves out what did not happen', async () => {
    const none = { ...report(), rows: [], total: figures('0', 0) }
    const plane = await controlPlane({ 'GET /admin/v1/costs/report': { body: none } })
    const { stdout } = await atTerminal(['costs', 'summary'], plane)
    expect(stdout).toMatch(/: 0 USD for 0 requests\.\n0 tokens in, 0 out\.\n$/)
  })

  it('keeps amounts as text in JSON', async () => {
    const plane = await controlPlane({ 'GET /admin/v1/costs/report': { body: report() } })
    const { stdout } = await atTerminal(['costs', 'summary', '--json=total,by_model'], plane)
    expect(JSON.parse(stdout)).toMatchObject({
      total: { cost: { amount: '12345678901.000000003', currency: 'USD' } },
      by_model: [{ group: { model: 'f' } }, {}, {}, {}, {}],
    })
  })
})

describe('costs report', () => {
  it('asks for the grouping and shows names for ids', async () => {
    const rows = [
      {
        ...figures('0.1', 2),
        group: { model: 'a', key: 'key_1', day: '2026-11-01' },
        names: { key: 'web' },
      },
      { ...figures('0.2', 1), group: { model: null, key: 'key_2', day: '2026-11-02' }, names: {} },
    ]
    const body = { ...report(), group_by: ['model', 'key', 'day'], rows }
    const plane = await controlPlane({ 'GET /admin/v1/costs/report': { body } })
    const args = 'costs report --by model,key --by day --where outcome=ok --no-color'.split(' ')
    const { stdout } = await atTerminal(args, plane)
    expect(plane.asked[0]?.path).toBe(
      '/admin/v1/costs/report?outcome=ok&group_by=model%2Ckey%2Cday',
    )
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/).slice(0, 4))).toEqual([
      ['MODEL', 'KEY', 'DAY', 'REQUESTS'],
      ['a', 'web', '2026-11-01', '2'],
      ['-', 'key_2', '2026-11-02', '1'],
      [''],
    ])
  })

  it('tells keys of one name apart', async () => {
    const groups = [
      ['key_1', 'web'],
      ['key_2', 'web'],
      ['key_3', 'ci'],
    ] as const
    const rows = groups.map(([key, name]) => ({
      ...figures('1', 1),
      group: { key },
      names: { key: name },
    }))
    const body = { ...report(), group_by: ['key'], rows }
    const plane = await controlPlane({ 'GET /admin/v1/costs/report': { body } })
    const { stdout } = await atTerminal('costs report --by key --no-color'.split(' '), plane)
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/)[0])).toEqual([
      'KEY',
      'web (key_1)',
      'web (key_2)',
      'ci',
      '',
    ])
  })

  it('sends the id of a key that is named by itself', async () => {
    const plane = await controlPlane({
      'GET /admin/v1/costs/report': { body: report() },
      'GET /admin/v1/keys': listOf([key()]),
    })
    const secret = `${key().prefix}IjKlMnOpQrStUv-0a1B2c`
    await atTerminal(['costs', 'report', '--where', `key=web,${secret}`], plane)
    expect(plane.asked.at(-1)?.path).toBe('/admin/v1/costs/report?key=web%2Ckey_1')
  })

  it('passes the CSV of the server on, byte for byte', async () => {
    const csv = 'model,cost_usd\r\n"a,b",0.000000001\r\n'
    const plane = await controlPlane({ 'GET /admin/v1/costs/report': { body: csv } })
    const { stdout } = await atTerminal(['costs', 'report', '--by', 'model', '--csv'], plane)
    expect(stdout).toBe(csv)
    expect(plane.asked[0]?.path).toContain('format=csv')
  })
})

describe('costs summary --compare', () => {
  it.each([
    ['1.5', ', 1.5 more than 2 USD in '],
    ['-0.5', ', 0.5 less than 2 USD in '],
    ['0', ', as much as 2 USD in '],
  ])('says in words that %s changed', async (change, words) => {
    const body = {
      ...report(),
      previous: { from: '2026-09-30T22:00:00.000Z', to: '2026-10-31T23:00:00.000Z' },
      total: {
        ...figures('3', 1),
        previous: figures('2', 1),
        change: { amount: change, currency: 'USD' },
      },
    }
    const plane = await controlPlane({ 'GET /admin/v1/costs/report': { body } })
    const { stdout } = await atTerminal(['costs', 'summary', '--compare'], plane)
    expect(plane.asked[0]?.path).toContain('compare=previous')
    expect(stdout).toContain(`${words}2026-10-01 00:00 to 2026-11-01 00:00 (Europe/Warsaw).`)
  })
})

describe('costs export', () => {
  it('passes on all of the CSV', async () => {
    const csv = 'model,cost_usd\r\na,0.000000001\r\n'
    const plane = await controlPlane({ 'GET /admin/v1/costs/report': { body: csv } })
    const { stdout } = await atTerminal('costs export --by model --where tag=a'.split(' '), plane)
    expect(stdout).toBe(csv)
    expect(plane.asked[0]?.path).toBe('/admin/v1/costs/report?tag=a&group_by=model&format=csv')
  })

  it('joins the pages of JSON', async () => {
    const rows = ['a', 'b'].map((model) => ({ ...figures('1', 1), group: { model }, names: {} }))
    const plane = await controlPlane({
      'GET /admin/v1/costs/report': ({ path }) => ({
        body: path.includes('page=second')
          ? { ...report(), rows: rows.slice(1), has_more: false, next_page: null }
          : { ...report(), rows: rows.slice(0, 1), has_more: true, next_page: 'second' },
      }),
    })
    const { stdout } = await atTerminal('costs export --by model --json=rows'.split(' '), plane)
    expect(JSON.parse(stdout).rows).toEqual(rows)
    expect(plane.asked.map(({ path }) => path)).toEqual([
      '/admin/v1/costs/report?group_by=model&order=group&limit=5000',
      '/admin/v1/costs/report?group_by=model&order=group&limit=5000&page=second',
    ])
  })
})

function figures(amount: string, requests: number): object {
  return {
    requests,
    attempts: requests,
    input_tokens: 0,
    output_tokens: 0,
    tokens: {},
    cost: { amount, currency: 'USD' },
    unpriced: 0,
    estimated: 0,
  }
}

/** Amounts that floats would order or add up wrongly. */
function report(): object {
  const amounts = {
    a: '0.000000001',
    b: '0.000000002',
    c: '0.1',
    d: '9',
    e: '12345678900.100000001',
    f: '12345678900.100000002',
  }
  return {
    object: 'costs.report',
    from: '2026-10-31T23:00:00.000Z',
    to: '2026-11-02T23:00:00.000Z',
    time_zone: 'Europe/Warsaw',
    as_of: '2026-11-05T00:00:00.000Z',
    group_by: ['model'],
    rows: Object.entries(amounts).map(([model, amount]) => ({
      ...figures(amount, 1),
      group: { model },
      names: {},
    })),
    total: {
      ...figures('12345678901.000000003', 1234),
      attempts: 1240,
      input_tokens: 5_000_000,
      output_tokens: 1000,
      unpriced: 3,
      estimated: 2,
    },
  }
}
