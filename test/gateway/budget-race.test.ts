import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { onEachDatabase } from '../store/databases.ts'
import { MASTER_KEY, RACES, RACE_SETTINGS, race } from './budget-race.ts'
import { nestedRace } from './nested-race.ts'
import { openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

/** All 100 seeds, each with 1,000 requests, are run by `npm run soak`. */
onEachDatabase((database) => {
  // SQLite has one process, Postgres any number.
  const processes = database.kind === 'sqlite' ? 1 : 2

  describe(`a key with money for exactly ten requests, at ${processes} process(es)`, () => {
    let provider: Provider
    let gateways: readonly TestGateway[]

    beforeAll(async () => {
      provider = await openProvider()
      const { url } = await database.fresh()
      const env = {
        TOLLGATE_MASTER_KEY: MASTER_KEY,
        ...(url === undefined ? {} : { TOLLGATE_DATABASE_URL: url }),
      }
      gateways = await Promise.all(
        Array.from({ length: processes }, () => openGateway(RACE_SETTINGS(provider), { env })),
      )
    })
    afterAll(async () => {
      await Promise.all(gateways.map((gateway) => gateway.close()))
      await provider.close()
    })

    for (const [seed, name] of RACES.entries()) {
      const requests = seed === 0 ? 1000 : 400
      it(`admits exactly what it pays for of ${requests} at once: ${name}`, async () => {
        const result = await race(gateways, provider, seed, requests)
        expect(result.faults, `seed ${seed}`).toEqual([])
      })

      it(`passes no budget of keys, end users and a tag together: ${name} (T025, T026)`, async () => {
        const result = await nestedRace(gateways, provider, name, seed, 300)
        expect(result.faults, `seed ${seed}`).toEqual([])
      })
    }
  })
})
