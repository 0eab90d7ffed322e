import { openSync, writeSync } from 'node:fs'
import { openStore } from '../../src/store/open.ts'
import { sampleEntry } from '../store/samples.ts'

/**
 * Writes entries until it is done, and notes each in a file of its own the moment it is
 * acknowledged. Arguments: data directory, file of acknowledgements, entries.
 */
const [dataDir = '', acks = '', entries = '0'] = process.argv.slice(2)
/** Commits of many sizes. */
const BURSTS = [1, 3, 1, 7, 20, 2]

const store = await openStore({ dataDir, synchronous: 'full', instanceId: 'inst_power' })
const noted = openSync(acks, 'w')
let number = 0
for (let burst = 0; number < Number(entries); burst += 1) {
  const size = BURSTS[burst % BURSTS.length]!
  await Promise.all(
    Array.from({ length: size }, async () => {
      number += 1
      const entry = sampleEntry(number)
      await store.record(entry)
      writeSync(noted, `${entry.id}\n`)
    }),
  )
}
await store.close()
