import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, it } from 'vitest'
import { costsReport } from '../../src/store/reports.ts'
import { type Location, onEachDatabase, open } from './databases.ts'

const LEASE_MS = 400

onEachDatabase((database) => {
  // The longer run of the same is `STORE_CRASH_ROUNDS=1000`.
  const rounds = Number(process.env.STORE_CRASH_ROUNDS ?? (database.kind === 'sqlite' ? 20 : 5))

  describe('kill -9 under load', () => {
    it(
      `loses nothing acknowledged and leaves nothing open, ${rounds} times`,
      {
        timeout: 60_000 + rounds * 3000,
      },
      async () => {
        const location = await database.fresh()
        const acknowledged: string[] = []
        for (let round = 0; round < rounds; round++) {
          acknowledged.push(...(await killed(location, `r${round}`, 40 + round * 13)))
        }

        const store = await open(location, { leaseMs: LEASE_MS })
        await expect.poll(() => rowsOf('reservations'), { timeout: 5000 }).toEqual([])
        const entries = await rowsOf('entries')
        const report = await costsReport(store.db, {
          tenantId: 'tenant_default',
          from: 0,
          to: 4e12,
          timeZone: 'UTC',
          groupBy: ['outcome'],
        })
        const byEntries = await store.db
          .selectFrom('entries')
          .select((eb) => eb.cast<bigint>(eb.fn.sum('cost_nanos'), 'bigint').as('cost'))
          .executeTakeFirstOrThrow()
        await store.close()

        expect(acknowledged.length).toBeGreaterThan(rounds * 10)
        expect(new Set(entries).size).toBe(entries.length)
        expect(acknowledged.filter((id) => !new Set(entries).has(id))).toEqual([])
        expect(new Set(report.rows.map(({ group }) => group.outcome))).toEqual(
          new Set(['crashed', 'ok']),
        )
        expect(report.total).toMatchObject({ attempts: entries.length, cost: byEntries.cost })

        async function rowsOf(table: 'entries' | 'reservations'): Promise<string[]> {
          return (await store.db.selectFrom(table).select('id').execute()).map(({ id }) => id)
        }
      },
    )
  })
})

/** What is acknowledged before the clock of a round starts, however slow the machine is. */
const WARM = 20

/**
 * Starts a process that records, kills it, and tells what was acknowledged to it.
 *
 * @param afterMs from the first {@link WARM} acknowledgements on
 */
async function killed(location: Location, run: string, afterMs: number): Promise<string[]> {
  const options = { ...location, synchronous: 'full', instanceId: `inst_${run}`, leaseMs: LEASE_MS }
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'load.ts'), JSON.stringify(options), run],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const exited = once(child, 'exit')
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    // The last one may be half a line: nothing was read into it that was not acknowledged.
    if (line.endsWith('.1')) lines.push(line)
    if (lines.length === WARM) setTimeout(() => child.kill('SIGKILL'), afterMs)
  }
  await exited
  return lines
}
