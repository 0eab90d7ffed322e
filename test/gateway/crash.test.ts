import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../store/databases.ts'
import { crashRounds } from './crash-rounds.ts'
import { openProvider } from './provider.ts'
import { sqliteTables } from './tables.ts'

/** 100 rounds, and rounds on Postgres, are run by `npm run soak`. */
const ROUNDS = 5

describe('kill -9 at random moments under load', () => {
  const folder = temporaryFolder()

  it(`loses no answered request and keeps no reservation, ${ROUNDS} times`, async () => {
    const provider = await openProvider()
    const dataDir = `${folder}/data`
    const rounds = await crashRounds({
      dataDir,
      provider,
      rounds: ROUNDS,
      seed: 1,
      tables: sqliteTables(dataDir),
      patienceMs: 0,
    })
    await provider.close()
    expect(rounds.flatMap(({ faults }) => faults)).toEqual([])
    const total = (of: 'answered' | 'cutOff'): number =>
      rounds.reduce((sum, round) => sum + round[of], 0)
    // Else it was no load, and nothing was cut off.
    expect(total('answered')).toBeGreaterThan(ROUNDS * 20)
    expect(total('cutOff')).toBeGreaterThan(ROUNDS * 20)
    expect((await sqliteTables(dataDir).entries()).crashed).toBeGreaterThan(0)
  })
})
