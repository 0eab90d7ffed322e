import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crashRounds } from '../gateway/crash-rounds.ts'
import type { CrashRound } from '../gateway/crash-rounds.ts'
import { MASTER_KEY } from '../gateway/budget-race.ts'
import { openProvider } from '../gateway/provider.ts'
import { postgresTables, sqliteTables } from '../gateway/tables.ts'

/** What a dead process held on Postgres is settled by another when its lease is over: 30 s. */
const POSTGRES_PATIENCE_MS = 60_000

/**
 * Kills the gateway under load again and again; prints what was found after each restart.
 *
 * @param url of an empty Postgres database; absent: SQLite
 * @returns whether nothing was lost, doubled or left behind
 */
export async function crashes(rounds: number, seed: number, url?: string): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-soak-'))
  const dataDir = join(folder, 'data')
  const provider = await openProvider()
  const tables = url === undefined ? sqliteTables(dataDir) : postgresTables(url)
  try {
    const results = await crashRounds({
      dataDir,
      provider,
      rounds,
      seed,
      tables,
      patienceMs: url === undefined ? 0 : POSTGRES_PATIENCE_MS,
      ...(url === undefined
        ? {}
        : { env: { TOLLGATE_DATABASE_URL: url, TOLLGATE_MASTER_KEY: MASTER_KEY } }),
      onRound: ({ round, faults }) => {
        for (const fault of faults) console.log(`round ${round}: ${fault}`)
      },
    })
    const total = (of: (round: CrashRound) => number): number =>
      results.reduce((sum, round) => sum + of(round), 0)
    const faults = total((round) => round.faults.length)
    const { count, crashed } = await tables.entries()
    console.log(
      `kill -9 on ${url === undefined ? 'SQLite' : 'Postgres'}: ${results.length} rounds, ${total((round) => round.answered)} answered, ` +
        `${total((round) => round.cutOff)} cut off, ${count} entries (${crashed} of crashes), ` +
        `${faults} faults`,
    )
    return faults === 0
  } finally {
    await provider.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
