import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { addUses, lastUses, MOST_VALUES, requestsSince, usesOf } from '../../src/store/key-uses.ts'
import type { KeyUse, Seen } from '../../src/store/key-uses.ts'
import type { Store } from '../../src/store/open.ts'
import { ensureDefaults } from '../../src/store/tenants.ts'
import { onEachDatabase, open } from './databases.ts'
import { sampleEntry } from './samples.ts'

onEachDatabase((database) => {
  let store: Store
  beforeAll(async () => {
    store = await open(await database.fresh())
    await ensureDefaults(store.db, 1)
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    await store.db.deleteFrom('key_uses').execute()
  })

  describe('uses of keys', () => {
    it('add up over writes, with the first and the last moment', async () => {
      await addUses(store.db, [use('key_1', { '10.0.0.1': seen(5, 9, 2) }, seen(5, 9, 2))])
      await addUses(store.db, [use('key_1', { '10.0.0.1': seen(3, 7, 1) }, seen(3, 7, 1))])

      expect(await usesOf(store.db, 'key_1')).toEqual([
        { kind: 'total', value: '', ...seen(3, 9, 3) },
        { kind: 'address', value: '10.0.0.1', ...seen(3, 9, 3) },
      ])
      expect(await lastUses(store.db, ['key_1', 'key_2'])).toEqual(new Map([['key_1', 9]]))
    })

    it('that were only refused are no use', async () => {
      const refused = new Map([['10.0.0.1', seen(5, 5, 1)]])
      await addUses(store.db, [{ ...use('key_1', {}), refused }])

      expect(await lastUses(store.db, ['key_1'])).toEqual(new Map())
      expect(await usesOf(store.db, 'key_1')).toEqual([
        { kind: 'refused', value: '10.0.0.1', ...seen(5, 5, 1) },
      ])
    })

    it('keep so many values and count the rest together, however many write at once', async () => {
      const writers = Array.from({ length: 8 }, (_, writer) =>
        Array.from({ length: 20 }, (_value, index) => [`10.${writer}.0.${index}`, seen(1, 1, 1)]),
      )
      await Promise.all(
        writers.map((addresses) =>
          addUses(store.db, [
            use('key_1', Object.fromEntries(addresses)),
            use('key_2', Object.fromEntries(addresses)),
          ]),
        ),
      )

      for (const key of ['key_1', 'key_2']) {
        const uses = await usesOf(store.db, key)
        expect(uses).toHaveLength(MOST_VALUES + 1)
        expect(uses.find(({ value }) => value === 'other')?.count).toBe(160 - MOST_VALUES)
      }
    })
  })

  it('requests are counted by key, failed attempts beside them not', async () => {
    const at = Date.now()
    await store.record(sampleEntry(1, { keyId: 'key_1', admittedAt: at }))
    await store.record(sampleEntry(2, { keyId: 'key_1', admittedAt: at, attempt: 2 }))
    await store.record(sampleEntry(3, { keyId: 'key_2', admittedAt: at - 10 }))

    expect(await requestsSince(store.db, ['key_1', 'key_2'], at)).toEqual(new Map([['key_1', 1]]))
  })
})

function seen(firstSeen: number, lastSeen: number, count: number): Seen {
  return { firstSeen, lastSeen, count }
}

function use(keyId: string, addresses: Readonly<Record<string, Seen>>, total?: Seen): KeyUse {
  return {
    keyId,
    ...(total === undefined ? {} : { total }),
    addresses: new Map(Object.entries(addresses)),
    agents: new Map(),
    refused: new Map(),
  }
}
