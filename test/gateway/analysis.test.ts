import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseUsd } from '../../src/metering/money.ts'
import { windowAt } from '../../src/metering/windows.ts'
import { readCsv } from '../../src/reports/csv.ts'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { HELLO, call } from './caller.ts'
import { answers, openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

const CALLS = 12

let provider: Provider
let gateway: TestGateway
let total: bigint

beforeAll(async () => {
  provider = await openProvider(answers())
  gateway = await openGateway({
    providers: {
      stand: {
        kind: 'openai',
        api_key: 'sk-upstream',
        base_url: provider.baseUrl,
        allow_private_network: true,
        prices: { '*': { input: '1', output: '2' } },
      },
    },
  })
  const made = await gateway.admin('POST', '/admin/v1/keys', {
    name: 'web',
    limits: { budgets: [{ window: 'month', limit: '0.01' }] },
  })
  for (let index = 0; index < CALLS; index += 1) {
    const body = { model: `stand/m${index % 2}`, messages: HELLO, max_tokens: 5 }
    const { requestId, status } = await call(gateway.dataUrl, body, { key: made.body.secret })
    expect(status).toBe(200)
    await gateway.entries(requestId)
  }
  const { body } = await gateway.admin('GET', '/admin/v1/costs/report')
  total = parseUsd(body.total.cost.amount)
  expect(total > 0n).toBe(true)
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
})

const month = new Date().toISOString().slice(0, 7)

describe('costs', () => {
  it('are explained in effects that add up to the change', async () => {
    const { status, body } = await gateway.admin('GET', '/admin/v1/costs/explain?group_by=model')
    expect(status).toBe(200)
    expect(parseUsd(body.change.amount)).toBe(total)
    const effects = Object.values(body.effects) as { amount: string }[]
    expect(effects.reduce((sum, { amount }) => sum + parseUsd(amount), 0n)).toBe(total)
    const [change] = body.configuration_changes
    expect(change).toMatchObject({ actor: 'admin', action: 'keys.create' })
    expect(change.id).toMatch(/^key_/)
    expect(body.groups.map(({ group }: { group: string[] }) => group[0]).toSorted()).toEqual([
      'stand/m0',
      'stand/m1',
    ])
  })

  it('are forecast for the month and every budget', async () => {
    const { body } = await gateway.admin('GET', '/admin/v1/costs/forecast')
    const [tenant, key] = body.budgets
    expect(tenant).toMatchObject({ scope: { kind: 'tenant', name: 'default' }, window: 'month' })
    expect(key).toMatchObject({
      scope: { kind: 'key', name: 'web' },
      window: 'month',
      limit: { amount: '0.01' },
    })
    for (const { spent, low, expected, high } of body.budgets) {
      expect(parseUsd(spent.amount)).toBe(total)
      expect(parseUsd(low.amount) <= parseUsd(expected.amount)).toBe(true)
      expect(parseUsd(expected.amount) <= parseUsd(high.amount)).toBe(true)
    }
  })

  it('go by the calendar of the tenant, as its budgets do', async () => {
    const calendar = { timeZone: 'Europe/Warsaw', weekStartsOn: 7, monthStartsOn: 15 }
    await gateway.admin('POST', '/admin/v1/tenants', {
      name: 'acme',
      time_zone: calendar.timeZone,
      week_starts_on: 'sunday',
      month_starts_on: calendar.monthStartsOn,
      currency: 'EUR',
    })
    const { body } = await gateway.admin('GET', '/admin/v1/costs/forecast?tenant=acme')
    expect(Date.parse(body.budgets[0].ends_at)).toBe(windowAt('month', calendar, Date.now()).end)
    const { body: statement } = await gateway.admin(
      'GET',
      '/admin/v1/costs/statements/2026-11?tenant=acme',
    )
    expect(statement).toMatchObject({
      from: '2026-11-14T23:00:00.000Z',
      to: '2026-12-14T23:00:00.000Z',
      currency: 'EUR',
    })
  })

  it('are owed by statements that say what every report says, to the nano-dollar', async () => {
    const path = `/admin/v1/costs/statements/${month}`
    const { body } = await gateway.admin('GET', path)
    expect(parseUsd(body.total.amount)).toBe(total)
    expect(body.requests).toBe(CALLS)
    const lines = body.lines as { cost: { amount: string }; type: string }[]
    expect(lines.reduce((sum, { cost }) => sum + parseUsd(cost.amount), 0n)).toBe(total)
    expect(new Set(lines.map(({ type }) => type))).toEqual(new Set(['input', 'output']))
    const csv = await gateway.admin('GET', `${path}?format=csv`)
    expect(parseUsd(readCsv(csv.body).at(-1)!['cost']!)).toBe(total)
    const focus = readCsv((await gateway.admin('GET', `${path}?format=focus`)).body)
    expect(focus.reduce((sum, row) => sum + parseUsd(row['BilledCost']!), 0n)).toBe(total)
    expect((await gateway.admin('GET', '/admin/v1/costs/statements/2026-13')).status).toBe(400)
  })

  it("are held beside a provider's export", async () => {
    const { body: report } = await gateway.admin(
      'GET',
      '/admin/v1/costs/report?group_by=day,model,model_served&tz=UTC',
    )
    const exported = (shift: number): string =>
      [
        'date,model,requests,input_tokens,output_tokens',
        ...report.rows.map(
          (row: {
            group: Record<string, string>
            requests: number
            input_tokens: number
            output_tokens: number
          }) =>
            [
              row.group['day'],
              row.group['model_served'] ?? row.group['model']!.split('/')[1],
              row.requests,
              row.input_tokens + shift,
              row.output_tokens,
            ].join(','),
        ),
      ].join('\n')
    const compare = async (shift: number) =>
      (
        await gateway.admin('POST', '/admin/v1/costs/reconcile', {
          provider: 'stand',
          export: exported(shift),
        })
      ).body
    expect(await compare(0)).toMatchObject({ differences: [], by: 'day' })
    const apart = await compare(3)
    expect(Object.keys(apart.by_cause)).toEqual(['input_tokens'])
    const wrong = await gateway.admin('POST', '/admin/v1/costs/reconcile', {
      provider: 'stand',
      export: 'a,b\n1,2\n',
    })
    expect(wrong).toMatchObject({ status: 400, body: { error: { code: 'invalid_value' } } })
  })
})
