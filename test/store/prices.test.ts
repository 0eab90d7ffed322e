import { sql } from 'kysely'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Store } from '../../src/store/open.ts'
import {
  endPrice,
  getPrice,
  getPriceVersion,
  insertPrices,
  keepPriceVersions,
  listPrices,
  type NewPrice,
  openPrices,
  priceRevision,
  readPriceTable,
  setPricePolicy,
} from '../../src/store/prices.ts'
import {
  getRepricing,
  insertRepricing,
  listRepricings,
  pageAttempts,
  runningRepricing,
  updateRepricing,
} from '../../src/store/repricings.ts'
import { insertTenant } from '../../src/store/tenants.ts'
import { onEachDatabase, open } from './databases.ts'
import { sampleEntry } from './samples.ts'

const NOON = Date.UTC(2026, 10, 23, 12)

onEachDatabase((database) => {
  let store: Store

  beforeEach(async () => {
    store = await open(await database.fresh())
    for (const id of ['tenant_default', 'tenant_1', 'tenant_2']) {
      await insertTenant(store.db, {
        id,
        name: id,
        status: 'active',
        currency: 'USD',
        weekStartsOn: 1,
        monthStartsOn: 1,
        settings: {},
        createdAt: 1,
      })
    }
  })
  afterEach(() => store.close())

  it('keeps prices as they were set, under one revision', async () => {
    const before = await priceRevision(store.db)
    const rates = { input: '1', above: [{ input_tokens: 5, input: '2' }] }
    const wanted = [
      price(1, { rates, from: NOON, to: NOON + 5, note: 'why', tenantId: 'tenant_1' }),
      price(2, { discount: '12.5' }),
    ]
    const inserted = await insertPrices(store.db, wanted)
    const revision = Number(before) + 1
    expect(inserted).toEqual(wanted.map((one) => ({ ...one, revision })))
    const table = await readPriceTable(store.db)
    expect(table).toEqual({ rows: inserted, policies: [], revision: BigInt(revision) })
    expect(await getPrice(store.db, '*', 'price_1')).toEqual(inserted[0])
  })

  it('shows a tenant its own prices and those for all', async () => {
    const many = [1, 2, 3].map((n) => price(n, n < 3 ? { tenantId: `tenant_${n}` } : {}))
    await insertPrices(store.db, many)
    const seen = async (visibleTo: string, filter = {}) =>
      (await listPrices(store.db, { limit: 9, visibleTo, ...filter })).prices.map(({ id }) => id)
    expect(await seen('tenant_1')).toEqual(['price_3', 'price_1'])
    expect(await seen('tenant_2', { of: 'operator' })).toEqual(['price_3'])
    expect(await seen('tenant_2', { of: 'tenant_1' })).toEqual([])
    expect(await seen('*')).toEqual(['price_3', 'price_2', 'price_1'])
    expect(await getPrice(store.db, 'tenant_2', 'price_1')).toBeUndefined()
    const { hasMore } = await listPrices(store.db, { limit: 2, visibleTo: '*' })
    expect(hasMore).toBe(true)
    expect(await seen('*', { after: 'price_2' })).toEqual(['price_1'])
    await expect(seen('tenant_2', { after: 'price_1' })).rejects.toMatchObject({
      code: 'invalid_value',
    })
  })

  it('ends a price once, or earlier, never later', async () => {
    await insertPrices(store.db, [price(1, { from: 1000 })])
    expect(await endPrice(store.db, 'price_1', 5000)).toMatchObject({ to: 5000 })
    expect(await endPrice(store.db, 'price_1', 6000)).toBeUndefined()
    expect(await endPrice(store.db, 'price_1', 4000)).toMatchObject({ to: 4000 })
    const list = (notEndedAt: number) =>
      listPrices(store.db, { limit: 9, visibleTo: '*', notEndedAt })
    expect((await list(3999)).prices).toHaveLength(1)
    expect((await list(4000)).prices).toHaveLength(0)
  })

  it('finds the prices without an end for the very same patterns', async () => {
    await insertPrices(store.db, [
      price(1),
      price(2, { tenantId: 'tenant_1' }),
      price(3, { discount: '1' }),
      price(4, { model: 'other' }),
      price(5, { to: NOON }),
    ])
    const open = async (like: Partial<NewPrice>) =>
      (await openPrices(store.db, { ...price(9), ...like })).map(({ id }) => id)
    expect(await open({})).toEqual(['price_1'])
    expect(await open({ tenantId: 'tenant_1' })).toEqual(['price_2'])
    expect(await open({ discount: '5' })).toEqual(['price_3'])
  })

  for (const [what, change] of [
    ['its rates', sql`update prices set rates = '{}'`],
    ['its beginning', sql`update prices set effective_from = 1`],
    ['who set it', sql`update prices set created_by = 'nobody'`],
    ['that it was', sql`delete from prices`],
  ] as const) {
    it(`refuses to change of a price ${what}`, async () => {
      await insertPrices(store.db, [price(1)])
      await expect(change.execute(store.db)).rejects.toThrow(/a price is not/)
    })
  }

  it('refuses a row that is both a price and a discount, or neither', async () => {
    await insertPrices(store.db, [price(1)])
    const copy = (rates: string | null, discount: string | null) =>
      sql`
      insert into prices select 'price_x', tenant_id, provider, model, effective_from,
        effective_to, ${rates}, ${discount}, note, source, created_at, created_by, revision
      from prices`.execute(store.db)
    await expect(copy('{}', '5')).rejects.toThrow()
    await expect(copy(null, null)).rejects.toThrow()
  })

  it('reads the others where one row is damaged', async () => {
    await insertPrices(store.db, [price(1)])
    await sql`insert into prices select 'price_2', tenant_id, provider, model, effective_from,
      effective_to, '{"inp', discount, note, source, created_at, created_by, revision from prices`.execute(
      store.db,
    )
    const { rows } = await readPriceTable(store.db)
    expect(rows.map(({ id, rates }) => [id, rates !== undefined])).toEqual([
      ['price_1', true],
      ['price_2', false],
    ])
  })

  it('keeps what happens to the unpriced, by tenant', async () => {
    await setPricePolicy(store.db, 'tenant_1', 'allow')
    await setPricePolicy(store.db, 'tenant_1', 'refuse')
    await setPricePolicy(store.db, 'tenant_2', 'allow')
    await setPricePolicy(store.db, 'tenant_2', undefined)
    expect((await readPriceTable(store.db)).policies).toEqual([
      { tenantId: 'tenant_1', unpriced: 'refuse' },
    ])
  })

  it('keeps what a version meant when it was first used', async () => {
    const version = { version: 'v', provider: 'p', model: 'm', firstUsedAt: 5 }
    await keepPriceVersions(store.db, [{ ...version, description: { rates: 1 } }])
    await keepPriceVersions(store.db, [{ ...version, description: { rates: 2 }, firstUsedAt: 9 }])
    await keepPriceVersions(store.db, [])
    expect(await getPriceVersion(store.db, 'v')).toEqual({ ...version, description: { rates: 1 } })
    expect(await getPriceVersion(store.db, 'w')).toBeUndefined()
  })

  it('pages attempts by admission, each with its adjustments in order', async () => {
    // Three at once, so that a page ends among equals.
    const entries = [0, 1, 2, 3, 4, 5, 6].map((n) =>
      sampleEntry(n, { admittedAt: NOON + Math.floor(n / 3) }),
    )
    for (const entry of entries) await store.record(entry)
    const adjusted = entries[1]!
    for (const n of [1, 2]) {
      await store.record({
        ...adjusted,
        id: `${adjusted.id}.a${n}`,
        kind: 'adjustment',
        adjusts: adjusted.id,
        cost: BigInt(-n),
        listCost: BigInt(n),
        reason: `reason ${n}`,
      })
    }
    const found: string[] = []
    let after: Parameters<typeof pageAttempts>[1]['after']
    do {
      const page = await pageAttempts(store.db, {
        tenantId: 'tenant_default',
        from: NOON,
        to: NOON + 2,
        limit: 2,
        after,
      })
      for (const { entry, adjustments } of page.attempts) {
        found.push(entry.id)
        const expected = entry.id === adjusted.id ? [-1n, -2n] : []
        expect(adjustments.map(({ cost }) => cost)).toEqual(expected)
        if (expected.length > 0) expect(adjustments[0]).toMatchObject({ listCost: 1n })
      }
      after = page.next
    } while (after !== undefined)
    expect(found).toEqual(entries.slice(0, 6).map(({ id }) => id))
    const others = { tenantId: 'tenant_1', from: 0, to: NOON * 2, limit: 9 }
    expect((await pageAttempts(store.db, others)).attempts).toEqual([])
  })

  it('keeps runs that price anew; one that fell silent is interrupted', async () => {
    const run = { id: 'reprice_1', query: { from: 1 }, createdAt: 1, createdBy: 'x', updatedAt: 10 }
    await insertRepricing(store.db, { ...run, status: 'running', result: {} })
    expect(await runningRepricing(store.db, 10)).toMatchObject({ id: 'reprice_1' })
    const second = { ...run, id: 'reprice_2', status: 'running' as const, result: {} }
    expect(await insertRepricing(store.db, second)).toBe(false)
    expect(await runningRepricing(store.db, 11)).toBeUndefined()
    expect(await insertRepricing(store.db, { ...second, createdAt: 0 })).toBe(true)
    await updateRepricing(store.db, { ...second, status: 'failed' })
    expect(await getRepricing(store.db, 'reprice_1')).toMatchObject({ status: 'interrupted' })
    const result = { before: 2n ** 60n }
    await updateRepricing(store.db, { id: 'reprice_1', status: 'done', result, updatedAt: 20 })
    expect(await listRepricings(store.db, 1)).toMatchObject([
      { status: 'done', result: { before: String(2n ** 60n) }, updatedAt: 20 },
    ])
  })
})

function price(number: number, changes: Partial<NewPrice> = {}): NewPrice {
  const isDiscount = changes.discount !== undefined
  return {
    id: `price_${number}`,
    provider: 'openai',
    model: 'gpt-*',
    ...(!isDiscount && { rates: { input: '1' } }),
    note: '',
    source: 'api',
    createdAt: NOON + number,
    createdBy: 'admin_key',
    ...changes,
  }
}
