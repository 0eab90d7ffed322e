import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Entry, NO_USAGE } from '#protocol'
import type { Store } from '../../src/store/open.ts'
import { type CostsQuery, costsReport, type Dimension } from '../../src/store/reports.ts'
import { labelOf } from './calendar.ts'
import { onEachDatabase, open } from './databases.ts'
import { sampleEntry } from './samples.ts'

const ZONES = ['UTC', 'America/New_York', 'Asia/Kathmandu', 'Australia/Lord_Howe', 'Asia/Kolkata']
const GROUPINGS: readonly (readonly Dimension[])[] = [
  [],
  ['model'],
  ['provider', 'model'],
  ['key'],
  ['application'],
  ['endpoint'],
  ['outcome'],
  ['model_asked'],
  ['end_user'],
  ['hour'],
  ['day'],
  ['month'],
  ['day', 'model'],
  ['key', 'month', 'day'],
  ['end_user', 'day'],
  ['week'],
  ['week', 'month', 'user'],
  ['user'],
  ['tag'],
  ['tag', 'day', 'end_user'],
  ['tenant', 'model_served'],
  ['prompt', 'environment', 'credential'],
]
/** Around both changes of Lord Howe's clock. */
const SPANS = [Date.UTC(2026, 3, 3), Date.UTC(2026, 9, 2)]
const DAY_MS = 86_400_000

onEachDatabase((database) => {
  let store: Store
  beforeAll(async () => {
    store = await open(await database.fresh())
  })
  afterAll(() => store.close())

  describe('a report of costs', () => {
    it('says the same by every grouping, to the nano', async () => {
      let tenants = 0
      const property = fc.asyncProperty(
        fc.constantFrom(...SPANS),
        fc.array(fc.record(FACTS), { minLength: 60, maxLength: 100 }),
        fc.constantFrom(...ZONES),
        fc.tuple(MOMENT, MOMENT),
        async (base, facts, timeZone, borders) => {
          const tenantId = `tenant_${++tenants}`
          const entries = facts.map((fact, number) => entryOf(base, tenantId, number, fact))
          await Promise.all(entries.map((entry) => store.record(entry)))
          const [from, to] = borders.map((at) => base + at).toSorted((a, b) => a - b)
          const range = { tenantId, timeZone, from: from ?? 0, to: to ?? 0 }
          const within = entries.filter(
            ({ admittedAt }) => admittedAt >= range.from && admittedAt < range.to,
          )
          for (const groupBy of GROUPINGS) {
            const report = await costsReport(store.db, { ...range, groupBy })
            const rows = report.rows.map((row) => [JSON.stringify(row.group), row.cost])

            expect(Object.fromEntries(rows)).toEqual(sums(within, groupBy, timeZone))
            expect(report.total).toMatchObject({
              cost: within.reduce((cost, entry) => cost + (entry.cost ?? 0n), 0n),
              attempts: within.length,
              requests: within.filter(({ attempt }) => attempt === 1).length,
              unpriced: within.filter(({ cost }) => cost === undefined).length,
              estimated: within.filter(({ usageSource }) => usageSource === 'estimated').length,
            })
            expect(report.total.outputTokens).toBe(
              within.reduce((tokens, { usage }) => tokens + usage.output, 0),
            )
          }
        },
      )
      await fc.assert(property, { numRuns: 15 })
    })

    it('keeps to the filters, whichever source it reads', async () => {
      const tenantId = 'tenant_filters'
      const at = SPANS[0] ?? 0
      for (const [number, model] of ['a', 'a', 'b'].entries()) {
        const of = { provider: number === 0 ? 'x' : 'y', endUser: number === 0 ? 'ann' : 'bob' }
        const requestId = `filters_${number}`
        await store.record(
          sampleEntry(number, { requestId, tenantId, admittedAt: at, model, ...of, cost: 1n }),
        )
      }
      const query: CostsQuery = {
        tenantId,
        from: at,
        to: at + DAY_MS,
        timeZone: 'UTC',
        groupBy: ['model'],
      }

      const report = async (filters: CostsQuery['filters'] & {}) =>
        (await costsReport(store.db, { ...query, filters })).rows.map(({ group, cost }) => [
          group.model,
          cost,
        ])
      expect(await report({ model: ['a', 'c'] })).toEqual([
        ['x/a', 1n],
        ['y/a', 1n],
      ])
      expect(await report({ model: ['y/a', 'x/b'] })).toEqual([['y/a', 1n]])
      expect(await report({ model: ['a'], end_user: ['bob'] })).toEqual([['y/a', 1n]])
      expect(await report({ model: [] })).toEqual([])
      expect(await report({})).toEqual([
        ['x/a', 1n],
        ['y/a', 1n],
        ['y/b', 1n],
      ])
    })

    it('sees no other tenant', async () => {
      const tenantId = 'tenant_nobody'
      const query = { tenantId, from: 0, to: 4e12, timeZone: 'UTC', groupBy: [] }

      const report = await costsReport(store.db, query)

      expect(report).toMatchObject({ rows: [], total: { cost: 0n, outputTokens: 0 } })
    })

    it.each([
      ['a zone', { timeZone: 'Mars/Olympus' }, 'time_zone'],
      ['a range', { from: 2, to: 1 }, 'to'],
      ['a range', { from: Number.NaN, to: 1 }, 'to'],
    ])('refuses %s that is none', async (_, wrong, param) => {
      const query = { tenantId: 't', from: 0, to: 1, timeZone: 'UTC', groupBy: ['day'] as const }

      await expect(costsReport(store.db, { ...query, ...wrong })).rejects.toMatchObject({
        code: 'invalid_value',
        param,
      })
    })
  })
})

/** Without the usual lean to small numbers: the cut hours are to be hit. */
const MOMENT = fc.noBias(fc.nat(5 * DAY_MS))

const FACTS = {
  at: MOMENT,
  attempt: fc.integer({ min: 1, max: 2 }),
  provider: fc.constantFrom('openai', 'azure'),
  model: fc.constantFrom('gpt-5-mini', 'claude-haiku-4-5', 'ünï"cödé'),
  key: fc.constantFrom('key_1', 'key_2'),
  outcome: fc.constantFrom('ok' as const, 'error' as const),
  endUser: fc.option(fc.constantFrom('ann', 'bob'), { nil: undefined }),
  userId: fc.option(fc.constantFrom('user_1', 'user_2'), { nil: undefined }),
  tags: fc.option(fc.uniqueArray(fc.constantFrom('a', 'b:1', 'ünï"'), { minLength: 1 }), {
    nil: undefined,
  }),
  environment: fc.option(fc.constantFrom('prod', 'test'), { nil: undefined }),
  output: fc.nat(1_000_000),
  cost: fc.option(fc.bigInt({ min: 0n, max: 2n ** 55n }), { nil: undefined }),
  estimated: fc.boolean(),
}

interface Fact {
  readonly at: number
  readonly attempt: number
  readonly provider: string
  readonly model: string
  readonly key: string
  readonly outcome: 'ok' | 'error'
  readonly endUser: string | undefined
  readonly userId: string | undefined
  readonly tags: readonly string[] | undefined
  readonly environment: string | undefined
  readonly output: number
  readonly cost: bigint | undefined
  readonly estimated: boolean
}

function entryOf(base: number, tenantId: string, number: number, fact: Fact): Entry {
  const { cost: _, endUser: __, ...entry } = sampleEntry(number)
  const requestId = `${tenantId}_${number}`
  return {
    ...entry,
    id: `${requestId}.${fact.attempt}`,
    requestId,
    attempt: fact.attempt,
    tenantId,
    keyId: fact.key,
    provider: fact.provider,
    model: fact.model,
    outcome: fact.outcome,
    admittedAt: base + fact.at,
    usage: { ...NO_USAGE, output: fact.output },
    usageSource: fact.estimated ? 'estimated' : 'provider',
    ...(fact.endUser !== undefined && { endUser: fact.endUser }),
    ...(fact.userId !== undefined && { userId: fact.userId }),
    ...(fact.tags !== undefined && { tags: fact.tags.toSorted() }),
    ...(fact.environment !== undefined && { environment: fact.environment }),
    ...(fact.cost !== undefined && { cost: fact.cost }),
  }
}

/** The same report, made from the entries by hand. */
function sums(entries: readonly Entry[], groupBy: readonly Dimension[], zone: string) {
  const costs: Record<string, bigint> = {}
  for (const entry of entries) {
    for (const values of valuesOf(entry, groupBy, zone)) {
      const key = JSON.stringify(Object.fromEntries(values))
      costs[key] = (costs[key] ?? 0n) + (entry.cost ?? 0n)
    }
  }
  return costs
}

/** One list of values, or one for each tag. */
function valuesOf(entry: Entry, groupBy: readonly Dimension[], zone: string) {
  const tags = groupBy.includes('tag') ? (entry.tags ?? [null]) : [null]
  return tags.map((tag) =>
    groupBy.map((name) => [name, name === 'tag' ? tag : valueOf(entry, name, zone)]),
  )
}

function valueOf(entry: Entry, name: Dimension, zone: string): string | null {
  switch (name) {
    case 'hour':
    case 'day':
    case 'week':
    case 'month':
      return labelOf(entry.admittedAt, name, zone)
    case 'tenant':
      return entry.tenantId
    case 'application':
      return entry.applicationId
    case 'key':
      return entry.keyId
    case 'user':
      return entry.userId ?? null
    case 'model':
      return `${entry.provider}/${entry.model}`
    case 'model_asked':
      return entry.modelAsked
    case 'model_served':
      return entry.modelServed ?? null
    case 'prompt':
      return entry.promptId ?? null
    case 'environment':
      return entry.environment ?? null
    case 'credential':
      return entry.credentialId ?? null
    case 'end_user':
      return entry.endUser ?? null
    case 'tag':
    case 'token_type':
      throw new Error(`${name} is no single value`)
    default:
      return entry[name]
  }
}
