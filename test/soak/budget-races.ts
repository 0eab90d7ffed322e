import { openGateway } from '../gateway.ts'
import { MASTER_KEY, RACES, RACE_SETTINGS, race } from '../gateway/budget-race.ts'
import { nestedRace } from '../gateway/nested-race.ts'
import { openProvider } from '../gateway/provider.ts'

/**
 * Runs the race for the last ten requests of a budget over many seeds, and one over nested budgets
 * beside each; prints figures.
 *
 * @param url of a Postgres database, for two processes over it; absent: SQLite, one process
 * @returns whether no budget was passed and none was left unused
 */
export async function budgetRaces(seeds: number, requests: number, url?: string): Promise<boolean> {
  const provider = await openProvider()
  const env = {
    TOLLGATE_MASTER_KEY: MASTER_KEY,
    ...(url === undefined ? {} : { TOLLGATE_DATABASE_URL: url }),
  }
  const gateways = await Promise.all(
    Array.from({ length: url === undefined ? 1 : 2 }, () =>
      openGateway(RACE_SETTINGS(provider), { env }),
    ),
  )
  const sums = new Map(
    RACES.map((name) => [name, { seeds: 0, answered: 0, refused: 0, failed: 0, later: 0 }]),
  )
  let faults = 0
  const started = performance.now()
  for (let seed = 0; seed < seeds; seed++) {
    const result = await race(gateways, provider, seed, requests)
    const sum = sums.get(result.race)!
    sum.seeds++
    sum.answered += result.answered
    sum.refused += result.refused
    sum.failed += result.failed
    sum.later += result.afterwards
    faults += result.faults.length
    for (const fault of result.faults) console.log(`seed ${seed} (${result.race}): ${fault}`)
    const nested = await nestedRace(gateways, provider, result.race, seed, requests)
    faults += nested.faults.length
    for (const fault of nested.faults) console.log(`seed ${seed}, nested: ${fault}`)
  }
  const seconds = (performance.now() - started) / 1000
  console.log(
    `budget races, flat and nested, on ${url === undefined ? 'SQLite' : 'Postgres, 2 processes'}: ` +
      `${seeds} seeds of ${requests} requests in ${seconds.toFixed(0)} s, ${faults} faults`,
  )
  console.table(Object.fromEntries(sums))
  await Promise.all(gateways.map((gateway) => gateway.close()))
  await provider.close()
  return faults === 0
}
