import { pino } from 'pino'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openPriceBooks, type PriceBooks } from '../../src/gateway/price-books.ts'
import type { PriceTable, StoredPrice } from '../../src/store/prices.ts'

/** A table as another process, or a bad day, would change it. */
function tableOf(rows: readonly StoredPrice[] = []) {
  return { rows, policies: [], revision: 1n, fails: false, reads: 0 } as {
    rows: readonly StoredPrice[]
    policies: PriceTable['policies']
    revision: bigint
    fails: boolean
    reads: number
  }
}

describe('the book in force', () => {
  it('follows what other processes set, within a second', async () => {
    const table = tableOf([price('1')])
    const books = await open(table, true)
    expect(versionIn(books)).toBe('operator:price_1')
    table.rows = [price('1'), price('2', 2)]
    table.policies = [{ tenantId: 'tenant_1', unpriced: 'allow' }]
    // Until the revision says so, there is nothing new.
    expect(versionIn(books)).toBe('operator:price_1')
    table.revision = 2n
    await expect.poll(() => versionIn(books)).toBe('operator:price_2')
    expect(books.unpriced('tenant_1')).toBe('allow')
    expect(books.unpriced('tenant_2')).toBeUndefined()
  })

  it('stays the last good one while the table cannot be read, and says so until it can', async () => {
    const table = tableOf([price('1')])
    const books = await open(table, false)
    table.fails = true
    table.rows = [price('2', 2)]
    table.revision = 2n
    await books.tableChanged()
    expect(versionIn(books)).toBe('operator:price_1')
    expect(books.state()).toMatchObject({
      problems: [expect.stringContaining('table could not be read again: the disk is gone')],
      reloads: { failed: 1 },
    })
    table.fails = false
    await expect.poll(() => versionIn(books)).toBe('operator:price_2')
    expect(books.state().problems).toEqual([])
  })

  it('is never replaced by an earlier one, however reads overlap', async () => {
    const table = tableOf([price('1')])
    const books = await open(table, false)
    const changes = Array.from({ length: 20 }, (_, index) => {
      table.rows = [price('1'), price(String(index + 2), index + 2)]
      table.revision++
      return books.tableChanged()
    })
    await Promise.all(changes)
    expect(versionIn(books)).toBe('operator:price_21')
  })

  it('is another object after a change, and the one before is as it was', async () => {
    const table = tableOf([price('1')])
    const books = await open(table, false)
    const before = books.current()
    table.rows = []
    await books.tableChanged()
    expect(books.current()).not.toBe(before)
    expect(before.find(TARGET, 5)?.version).toBe('operator:price_1')
    expect(versionIn(books)).toBeUndefined()
  })
})

const TARGET = { provider: 'own', kind: 'vllm', model: 'm' }

function versionIn(books: PriceBooks): string | undefined {
  return books.current().find(TARGET, 5)?.version
}

async function open(table: ReturnType<typeof tableOf>, isShared: boolean): Promise<PriceBooks> {
  const read = async (): Promise<PriceTable> => {
    const { rows, policies, revision } = table
    // The first read takes longest: answers would come in the wrong order.
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, 10 - table.reads++)))
    if (table.fails) throw new Error('the disk is gone')
    return { rows, policies, revision }
  }
  const books = await openPriceBooks({
    catalogue: { version: 'none', providers: {}, serviceTiers: {}, billedApart: {} },
    settings: { prices: [], providers: {} },
    builtIn: {},
    files: [],
    table: read,
    tableRevision: async () => table.revision,
    isShared,
    onInexact: () => undefined,
    log: pino({ level: 'silent' }),
    now: Date.now,
  })
  onTestFinished(() => books.close())
  return books
}

function price(number: string, revision = 1): StoredPrice {
  return {
    id: `price_${number}`,
    provider: 'own',
    model: '*',
    rates: { input: number },
    note: '',
    source: 'api',
    createdAt: 1,
    createdBy: 'admin_key',
    revision,
  }
}
