import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Store } from '../../src/store/open.ts'
import { type Location, onEachDatabase, open } from './databases.ts'

onEachDatabase((database) => {
  const stores: Store[] = []
  let location: Location
  beforeAll(async () => {
    location = await database.fresh()
    // One process owns an SQLite file; Postgres is there to be shared.
    const count = database.kind === 'sqlite' ? 1 : 3
    for (let number = 0; number < count; number++) stores.push(await open(location))
  })
  afterAll(async () => {
    for (const store of stores) await store.close()
  })

  describe('states of scopes', () => {
    it('lose no step, whoever takes it, whichever scopes it spans', async () => {
      const ids = ['a', 'b', 'c', 'd']
      const taken = new Map(ids.map((id) => [id, 0]))
      const steps = Array.from({ length: 300 }, (_, number) => {
        const own = ids.filter((_id, index) => (number >> index) % 2 === 0)
        const spans = number % 2 === 0 ? own : own.toReversed()
        for (const id of spans) taken.set(id, (taken.get(id) ?? 0) + 1)
        return at(number % stores.length).withScopes(spans, (states) => ({
          states: states.map((state) => String(Number(state ?? 0) + 1)),
          result: number,
        }))
      })

      expect(await Promise.all(steps)).toEqual(steps.map((_, number) => number))
      expect(await read(ids)).toEqual(ids.map((id) => String(taken.get(id))))
    })

    it('are as they were after a decision that throws, and its error is its own', async () => {
      const results = await Promise.allSettled([
        put('x', '1'),
        at(0).withScopes(['x', 'y'], () => {
          throw new Error('no')
        }),
        put('z', '2'),
      ])

      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect(results[1]).toMatchObject({ reason: { message: 'no' } })
      expect(await read(['x', 'y', 'z'])).toEqual(['1', undefined, '2'])
    })

    it('come with a clock', async () => {
      const before = Date.now()
      const now = await at(0).withScopes(['t'], async (_, clock) => ({ states: [], result: clock }))

      expect(Math.abs(now - before)).toBeLessThan(5000)
    })
  })

  function at(index: number): Store {
    const store = stores[index]
    if (store === undefined) throw new Error('not open')
    return store
  }

  function put(id: string, state: string): Promise<void> {
    return at(0).withScopes([id], () => ({ states: [state], result: undefined }))
  }

  function read(ids: readonly string[]): Promise<readonly (string | undefined)[]> {
    return at(0).withScopes(ids, (states) => ({ states: [], result: states }))
  }
})
