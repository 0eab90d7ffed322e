import { afterEach, describe, expect, it } from 'vitest'
import { getEntries } from '../../src/store/ledger.ts'
import type { Store, StoreOptions } from '../../src/store/open.ts'
import { type Location, open, postgresServer } from './databases.ts'
import { sampleEntry, sampleSent } from './samples.ts'

const TENANT = 'tenant_default'

describe('a Postgres store', () => {
  const server = postgresServer()
  const stores: Store[] = []
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()))
  })

  it('leaves the attempts of living instances alone', async () => {
    const [first, second] = await two({ leaseMs: 300 })
    first.openAttempt(sampleSent(1))
    await pause(1200)

    expect(await getEntries(second.db, TENANT, 'req_00000001')).toEqual([])
    await first.record(sampleEntry(1))
    expect(await getEntries(second.db, TENANT, 'req_00000001')).toEqual([sampleEntry(1)])
  })

  it('is brought up by several at once', async () => {
    const location = await server.fresh()

    await Promise.all([1, 2, 3].map(() => start(location)))

    expect(stores.map((store) => store.health())).toEqual([
      { ok: true },
      { ok: true },
      { ok: true },
    ])
  })

  it('takes the same hours from several at once', async () => {
    const [first, second] = await two()
    const numbers = Array.from({ length: 500 }, (_, number) => number)
    await Promise.all(
      numbers.map((number) =>
        (number % 2 === 0 ? first : second).record(
          sampleEntry(number, { model: `model ${number % 50}` }),
        ),
      ),
    )
    const { attempts } = await first.db
      .selectFrom('usage_hours')
      .select((eb) => eb.cast<bigint>(eb.fn.sum('attempts'), 'bigint').as('attempts'))
      .executeTakeFirstOrThrow()

    expect(attempts).toBe(500n)
  })

  it('waits for a server that comes back, and writes once', async () => {
    const store = await start(await server.fresh())
    await store.record(sampleEntry(1))
    const down = server.restart(300)
    const writes = [2, 3, 4].map(async (number) => {
      await pause(number * 80)
      await store.record(sampleEntry(number))
    })
    await down
    await Promise.all(writes)

    expect(store.health()).toEqual({ ok: true })
    const entries = await store.db.selectFrom('entries').select('id').execute()
    expect(entries.length).toBe(4)
  })

  it('says so when the server stays away, and recovers with it', async () => {
    const store = await start(await server.fresh(), { leaseMs: 300 })
    store.openAttempt(sampleSent(1))
    await pause(120)
    const down = server.restart(7000)
    await pause(200)

    await expect(store.record(sampleEntry(1))).rejects.toMatchObject({ code: 'unavailable' })
    expect(store.health().ok).toBe(false)
    await down
    await expect.poll(() => store.health(), { timeout: 5000 }).toEqual({ ok: true })
    await store.record(sampleEntry(1))
    expect(await store.db.selectFrom('reservations').selectAll().execute()).toEqual([])
  })

  it('does not open without a server, and keeps the password to itself', async () => {
    const url = 'postgres://tollgate:hunter2@127.0.0.1:1/none'
    const failure: unknown = await open({ dataDir: '', url }).catch((error: unknown) => error)

    expect(failure).toMatchObject({ code: 'unavailable' })
    expect(JSON.stringify(failure) + String(failure)).not.toContain('hunter2')
  })

  async function start(location: Location, options: Partial<StoreOptions> = {}): Promise<Store> {
    const store = await open(location, options)
    stores.push(store)
    return store
  }

  async function two(options: Partial<StoreOptions> = {}): Promise<[Store, Store]> {
    const location = await server.fresh()
    return [await start(location, options), await start(location, options)]
  }
})

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
