import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Entry, NO_USAGE } from '#protocol'
import { loadConfig } from '../../src/config.ts'
import { costResources } from '../../src/control/costs.ts'
import { organizationResources } from '../../src/control/organization.ts'
import type { Reply, Resource } from '../../src/control/resource.ts'
import { costsDeps } from '../../src/gateway/costs-deps.ts'
import { configChecks } from '../../src/gateway/instances.ts'
import { DIMENSIONS } from '../../src/store/reports.ts'
import type { Store } from '../../src/store/open.ts'
import { onEachDatabase, open } from '../store/databases.ts'

/** What must hold of costs whatever is on the ledger; each fails in some other gateway. */

const DAY_MS = 86_400_000
/** Around a change of clocks in many zones. */
const BASE = Date.UTC(2026, 9, 22)
const NOW = BASE + 10 * DAY_MS
const ZONES = ['UTC', 'Europe/Warsaw', 'America/St_Johns', 'Asia/Kathmandu', 'Australia/Lord_Howe']
/** One that has two of a thing is in two rows. */
const ADDING_UP = DIMENSIONS.filter((name) => name !== 'tag')
const RANGE = { from: iso(BASE), to: iso(NOW), tz: 'UTC' }
const RUNS = { numRuns: 3, seed: 20_261_124 }

onEachDatabase((database) => {
  let store: Store
  let resources: readonly Resource[]
  let tenants = 0
  beforeAll(async () => {
    store = await open(await database.fresh())
    const config = loadConfig({
      flags: {},
      env: {},
      readFile: () => undefined,
      ...configChecks,
    })
    const deps = costsDeps({ db: store.db, configured: [], config, now: () => NOW })
    resources = [...costResources(deps), ...organizationResources(deps)]
  })
  afterAll(() => store.close())

  describe('whatever is on the ledger', () => {
    it('days, range, every grouping, export and the SDK say the same, to the nano', async () => {
      await onRandomLedgers(async (tenantId, entries) => {
        const exact = sumOf(entries)
        for (const by of [
          ...ADDING_UP,
          'day,model',
          'week,user,token_type',
          'month,end_user,key',
        ]) {
          const body = await report(tenantId, { group_by: by })
          expect([by, total(body), rowSum(body)]).toEqual([by, exact, exact])
        }
        const csv = { ...RANGE, group_by: 'day,key', format: 'csv' }
        expect(csvSum(await ask('/admin/v1/costs/report', tenantId, csv))).toBe(exact)
        for (const group_by of [[], ['line_item'], ['project_id', 'api_key_id']]) {
          const { data } = await ask('/v1/organization/costs', tenantId, {
            start_time: BASE / 1000,
            end_time: NOW / 1000,
            bucket_width: '1d',
            limit: 180,
            group_by,
          })
          const amounts = (data as Page).flatMap(({ results }) =>
            results.map(({ amount }) => BigInt(Math.round(amount.value * 1e9))),
          )
          expect(amounts.reduce((all, amount) => all + amount, 0n)).toBe(exact)
        }
      })
    })

    it('totals do not depend on the size of the page, and pages have every row once', async () => {
      await onRandomLedgers(async (tenantId, entries, random) => {
        for (const by of ['key', 'day,model,user', 'end_user,hour', 'tag', 'week,token_type']) {
          for (const order of ['cost', 'group']) {
            const whole = await report(tenantId, { group_by: by, order })
            const limit = 1 + (random % 17)
            const rows: unknown[] = []
            let page: string | undefined
            do {
              const body = await report(tenantId, { group_by: by, order, limit, page })
              expect(total(body)).toBe(sumOf(entries))
              rows.push(...body.rows)
              page = body.next_page ?? undefined
            } while (page !== undefined)
            expect(rows).toEqual(whole.rows)
          }
        }
      })
    })

    it('another zone moves requests between days, and no total', async () => {
      await onRandomLedgers(async (tenantId, entries) => {
        for (const tz of ZONES) {
          const body = await report(tenantId, { group_by: 'day', tz })
          expect([tz, total(body), rowSum(body)]).toEqual([tz, sumOf(entries), sumOf(entries)])
          expect(body.rows.reduce((all, row) => all + row.requests, 0)).toBe(body.total.requests)
        }
      })
    })

    it('kinds of tokens are counted and priced apart, none twice', async () => {
      await onRandomLedgers(async (tenantId, entries) => {
        const { rows } = await report(tenantId, { group_by: 'token_type' })
        const found = Object.fromEntries(rows.map((row) => [row.group.token_type, row]))
        for (const [name, type] of [
          ['input', 'input'],
          ['cache_read', 'cacheRead'],
          ['reasoning', 'reasoning'],
          ['output', 'output'],
        ] as const) {
          const quantity = entries.reduce((all, { usage }) => all + usage[type], 0)
          const row = found[name]
          expect((row?.input_tokens ?? 0) + (row?.output_tokens ?? 0)).toBe(quantity)
          const cost = entries
            .flatMap(({ costLines = [] }) => costLines)
            .reduce((all, line) => all + (line.type === type ? line.cost : 0n), 0n)
          expect(nanos(row?.cost.amount ?? '0')).toBe(cost)
        }
      })
    })

    it('what has no price is counted, and never free; priced later, it is counted no more', async () => {
      await onRandomLedgers(async (tenantId, entries) => {
        const open = entries.filter(({ cost, kind }) => cost === undefined && kind === 'attempt')
        const before = await report(tenantId, { group_by: 'model' })
        expect(before.total.unpriced).toBe(open.length)
        expect(before.rows.reduce((all, row) => all + row.unpriced, 0)).toBe(open.length)

        const cost = 7n
        for (const round of [1, 2]) {
          for (const one of open) await store.record(corrected(one, cost, round))
        }
        const after = await report(tenantId, { group_by: 'model' })
        expect(after.total.unpriced).toBe(0)
        expect(total(after)).toBe(sumOf(entries) + 2n * cost * BigInt(open.length))
      })
    })

    it('a correction counts in the hour of what it corrects, which stays as it was', async () => {
      await onRandomLedgers(async (tenantId, entries) => {
        const priced = entries.filter(({ cost }) => cost !== undefined).slice(0, 5)
        const hours = (body: Report) =>
          Object.fromEntries(
            body.rows.map((row) => [row.group.hour ?? '', nanos(row.cost.amount)] as const),
          )
        const before = hours(await report(tenantId, { group_by: 'hour' }))
        for (const one of priced) await store.record(corrected(one, -(one.cost ?? 0n), 1))
        const after = hours(await report(tenantId, { group_by: 'hour' }))
        for (const [hour, cost] of Object.entries(before)) {
          const own = priced.filter((one) => hourOf(one.admittedAt) === hour)
          expect(after[hour]).toBe(cost - sumOf(own))
        }
      })
    })

    it('who served is billed, whatever was asked', async () => {
      await onRandomLedgers(async (tenantId, entries) => {
        const { rows } = await report(tenantId, { group_by: 'model_asked,model' })
        for (const { group, cost } of rows) {
          const own = entries.filter(
            (one) =>
              `${one.provider}/${one.model}` === group.model &&
              one.modelAsked === group.model_asked,
          )
          expect(nanos(cost.amount)).toBe(sumOf(own))
        }
      })
    })

    it('the range before is that very range, row by row', async () => {
      await onRandomLedgers(async (tenantId) => {
        const middle = iso(BASE + 5 * DAY_MS)
        for (const by of ['model', 'day,key', 'end_user', 'token_type']) {
          const now = { group_by: by, from: middle, to: iso(NOW) }
          const compared = await report(tenantId, { ...now, compare: 'previous' })
          const plain = await report(tenantId, now)
          const then = await report(tenantId, { group_by: by, from: iso(BASE), to: middle })
          expect(total(compared)).toBe(total(plain))
          expect(nanos(compared.total.previous!.cost.amount)).toBe(total(then))
          expect(
            compared.rows.reduce((all, row) => all + nanos(row.previous!.cost.amount), 0n),
          ).toBe(total(then))
          for (const { cost, previous, change } of compared.rows) {
            expect(nanos(change!.amount)).toBe(nanos(cost.amount) - nanos(previous!.cost.amount))
          }
        }
      })
    })
  })

  async function onRandomLedgers(
    check: (tenantId: string, entries: readonly Entry[], random: number) => Promise<void>,
  ): Promise<void> {
    const ledger = fc.array(fc.record(FACTS), { minLength: 30, maxLength: 60 })
    await fc.assert(
      fc.asyncProperty(ledger, fc.nat(1000), async (facts, random) => {
        const tenantId = `tenant_i${++tenants}`
        const entries = facts.map((fact, number) => entryOf(tenantId, number, fact))
        await Promise.all(entries.map((entry) => store.record(entry)))
        await check(tenantId, entries, random)
      }),
      RUNS,
    )
  }

  // oxlint-disable-next-line typescript/no-explicit-any -- tests say what they expect of it
  async function ask(path: string, tenantId: string, query: object): Promise<any> {
    const resource = resources.find((one) => one.path === path)!
    const principal = { tenantId, allTenants: false, own: false }
    const parsed = resource.query!.parse(query)
    const reply: Reply = await resource.handle({ principal, query: parsed } as never)
    return typeof reply.body === 'string' ? reply.body : JSON.parse(JSON.stringify(reply.body))
  }

  function report(tenantId: string, query: object): Promise<Report> {
    return ask('/admin/v1/costs/report', tenantId, { ...RANGE, ...query })
  }
})

type Page = readonly {
  readonly results: readonly { readonly amount: { readonly value: number } }[]
}[]

interface Figures {
  readonly requests: number
  readonly input_tokens: number
  readonly output_tokens: number
  readonly unpriced: number
  readonly cost: { readonly amount: string }
  readonly previous?: Figures
  readonly change?: { readonly amount: string }
}

interface Report {
  readonly rows: readonly (Figures & { readonly group: Readonly<Record<string, string>> })[]
  readonly total: Figures
  readonly next_page: string | null
}

const FACTS = {
  at: fc.noBias(fc.nat(10 * DAY_MS - 1)),
  attempt: fc.integer({ min: 1, max: 2 }),
  provider: fc.constantFrom('openai', 'azure'),
  model: fc.constantFrom('a', 'b/c', 'ünï"cödé'),
  asked: fc.constantFrom('fast', 'good'),
  key: fc.constantFrom('key_1', 'key_2', 'key_3'),
  user: fc.constantFrom(undefined, 'user_1', 'user_2'),
  endUser: fc.constantFrom(undefined, 'ann', 'bob'),
  tags: fc.constantFrom(undefined, ['x'], ['x', 'y']),
  outcome: fc.constantFrom('ok' as const, 'error' as const, 'aborted' as const),
  quantities: fc.tuple(fc.nat(9999), fc.nat(9999), fc.nat(9999), fc.nat(9999)),
  /** Nano-dollars of each; none: without a price; all in one: not known apart. */
  costs: fc.oneof(
    fc.constant(undefined),
    fc.bigInt({ min: 0n, max: 10n ** 12n }),
    fc.tuple(...Array.from({ length: 4 }, () => fc.bigInt({ min: 0n, max: 10n ** 12n }))),
  ),
}

type Fact = {
  readonly [Name in keyof typeof FACTS]: (typeof FACTS)[Name] extends fc.Arbitrary<infer T>
    ? T
    : never
}

const TYPES = ['input', 'cacheRead', 'output', 'reasoning'] as const

function entryOf(tenantId: string, number: number, fact: Fact): Entry {
  const requestId = `${tenantId}_${number}`
  const { quantities, costs } = fact
  const usage = {
    ...NO_USAGE,
    ...Object.fromEntries(TYPES.map((type, index) => [type, quantities[index] ?? 0])),
  }
  const lines = Array.isArray(costs)
    ? TYPES.map((type, index) => ({ type, quantity: usage[type], cost: costs[index] ?? 0n }))
    : undefined
  const cost = lines
    ? lines.reduce((all, line) => all + line.cost, 0n)
    : (costs as bigint | undefined)
  return {
    id: `${requestId}.${fact.attempt}`,
    kind: 'attempt',
    requestId,
    attempt: fact.attempt,
    tenantId,
    applicationId: `app_${fact.key}`,
    keyId: fact.key,
    endpoint: '/v1/chat/completions',
    modelAsked: fact.asked,
    provider: fact.provider,
    model: fact.model,
    admittedAt: BASE + fact.at,
    startedAt: BASE + fact.at,
    durationMs: 5,
    stream: false,
    outcome: fact.outcome,
    usage,
    usageSource: 'provider',
    ...(cost !== undefined && { cost, priceVersion: 'v1' }),
    ...(lines && { costLines: lines }),
    ...(fact.user !== undefined && { userId: fact.user }),
    ...(fact.endUser !== undefined && { endUser: fact.endUser }),
    ...(fact.tags !== undefined && { tags: fact.tags }),
  }
}

function corrected(entry: Entry, cost: bigint, round: number): Entry {
  const { costLines: _, ...rest } = entry
  return {
    ...rest,
    id: `${entry.id}.${round}`,
    kind: 'adjustment',
    usage: NO_USAGE,
    usageSource: 'none',
    cost,
    priceVersion: 'v2',
    adjusts: entry.id,
    reason: 'a test',
  }
}

function sumOf(entries: readonly Entry[]): bigint {
  return entries.reduce((all, { cost = 0n }) => all + cost, 0n)
}

function total({ total: { cost } }: Report): bigint {
  return nanos(cost.amount)
}

function rowSum({ rows }: Report): bigint {
  return rows.reduce((all, { cost }) => all + nanos(cost.amount), 0n)
}

function csvSum(csv: string): bigint {
  const [head = '', ...lines] = csv.trimEnd().split('\r\n')
  const column = head.split(',').indexOf('cost_usd')
  return lines.reduce((all, line) => all + nanos(line.split(',')[column] ?? '0'), 0n)
}

function nanos(amount: string): bigint {
  const sign = amount.startsWith('-') ? -1n : 1n
  const [whole = '0', fraction = ''] = amount.replace('-', '').split('.')
  return sign * BigInt(whole + fraction.padEnd(9, '0'))
}

function hourOf(at: number): string {
  return `${iso(at).slice(0, 13)}+00:00`
}

function iso(at: number): string {
  return new Date(at).toISOString()
}
