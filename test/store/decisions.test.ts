import { afterAll, beforeAll, expect, it } from 'vitest'
import { openDecisions } from '../../src/store/decisions.ts'
import type { DecisionRow, Decisions } from '../../src/store/decisions.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/open.ts'
import { onEachDatabase } from './databases.ts'

const START = Date.UTC(2026, 10, 1)
const DAY_MS = 86_400_000

const row = (day: number, more: Partial<DecisionRow> = {}): DecisionRow => {
  const id = `req_${(START + day * DAY_MS).toString(16).padStart(12, '0')}0123456789abcdef`
  return {
    id,
    tenantId: 'tnt_1',
    applicationId: 'app_1',
    keyId: 'key_1',
    userId: null,
    model: 'm1',
    target: null,
    status: 200,
    errorCode: null,
    outcome: 'ok',
    record: JSON.stringify({ day, said: 'a\0b\ud800' }),
    ...more,
  }
}

onEachDatabase((database) => {
  let store: Store
  let decisions: Decisions

  beforeAll(async () => {
    const location = await database.fresh()
    store = await openStore({ ...location, synchronous: 'normal', instanceId: 'inst_1' })
    decisions = await openDecisions({
      dataDir: location.dataDir,
      shared: location.url === undefined ? undefined : store.db,
    })
  }, 60_000)
  afterAll(async () => {
    await decisions.close()
    await store.close()
  })

  const days = async (filter: object = {}): Promise<readonly number[]> =>
    (await decisions.list('tnt_1', filter, { limit: 100 })).map((text) => JSON.parse(text).day)

  it('keeps a request once, with whatever stands in it', async () => {
    const odd = row(3, { model: 'a\0b\ud800' })
    await decisions.add([row(1), row(2), odd])
    await decisions.add([odd])
    expect(await days()).toEqual([3, 2, 1])
    expect(await days({ model: 'a\0b\ud800' })).toEqual([3])
    expect(await decisions.get('tnt_1', odd.id)).toBe(odd.record)
    expect(await decisions.get('tnt_2', odd.id)).toBeUndefined()
    expect(await days({ from: START + 2 * DAY_MS, to: START + 3 * DAY_MS })).toEqual([2])
  })

  it('is rid of the old ones in small steps', async () => {
    await decisions.add([4, 5, 6].map((day) => row(day)))
    const before = START + 5 * DAY_MS
    expect(await decisions.sweep(before, 3)).toBe(3)
    expect(await days()).toEqual([6, 5, 4])
    expect(await decisions.sweep(before, 3)).toBe(1)
    expect(await decisions.sweep(before, 3)).toBe(0)
    expect(await days()).toEqual([6, 5])
  })
})
