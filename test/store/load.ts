import { openStore } from '../../src/store/open.ts'
import { sampleEntry, sampleSent } from './samples.ts'

/**
 * Records without end, for `crash.test.ts` to kill. Writes the id of each entry once the store
 * has acknowledged it, and of each attempt it opens and never settles.
 *
 * Arguments: the store's options as JSON; a name for this run.
 */
const [options = '', run = ''] = process.argv.slice(2)
const store = await openStore(JSON.parse(options))
let next = 0

await Promise.all(Array.from({ length: 40 }, (_, lane) => work(lane)))

async function work(lane: number): Promise<never> {
  for (;;) {
    const number = next++
    const requestId = `req_${run}_${number}`
    const own = { requestId, id: `${requestId}.1`, keyId: `key_${lane}` }
    store.openAttempt(sampleSent(number, own))
    if (number % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 60))
    if (number % 500 === 0) continue
    await store.record(sampleEntry(number, own))
    process.stdout.write(`${own.id}\n`)
  }
}
