import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crashRounds } from '../gateway/crash-rounds.ts'
import type { CrashRound } from '../gateway/crash-rounds.ts'
import { openProvider } from '../gateway/provider.ts'
import { sqliteTables } from '../gateway/tables.ts'

/**
 * Kills the gateway under load again and again; prints what was found after each restart.
 *
 * @returns whether nothing was lost, doubled or left behind
 */
export async function crashes(rounds: number, seed: number): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-soak-'))
  const dataDir = join(folder, 'data')
  const provider = await openProvider()
  const tables = sqliteTables(dataDir)
  try {
    const results = await crashRounds({
      dataDir,
      provider,
      rounds,
      seed,
      tables,
      patienceMs: 0,
      onRound: ({ round, faults }) => {
        for (const fault of faults) console.log(`round ${round}: ${fault}`)
      },
    })
    const total = (of: (round: CrashRound) => number): number =>
      results.reduce((sum, round) => sum + of(round), 0)
    const faults = total((round) => round.faults.length)
    const { count, crashed } = await tables.entries()
    console.log(
      `kill -9: ${results.length} rounds, ${total((round) => round.answered)} answered, ` +
        `${total((round) => round.cutOff)} cut off, ${count} entries (${crashed} of crashes), ` +
        `${faults} faults`,
    )
    return faults === 0
  } finally {
    await provider.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
