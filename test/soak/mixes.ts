import { mix } from '../metering/mix.ts'

/** Operations of one mix: its own ledger is summed again and again. */
const STEPS = 2000

/**
 * Random operations on nested limits, many mixes of them; prints figures.
 *
 * @returns whether no limit was passed
 */
export async function mixes(operations: number, firstSeed: number): Promise<boolean> {
  const started = performance.now()
  let [admitted, refused, faults] = [0, 0, 0]
  for (let mixed = 0; mixed * STEPS < operations; mixed++) {
    const seed = firstSeed + mixed
    const result = await mix(seed, STEPS)
    admitted += result.admitted
    refused += result.refused
    faults += result.faults.length
    for (const fault of result.faults) console.log(`mix ${seed}: ${fault}`)
  }
  const seconds = (performance.now() - started) / 1000
  console.log(
    `mixes over nested limits: ${operations} operations in ${seconds.toFixed(0)} s, ` +
      `${admitted} admitted, ${refused} refused, ${faults} faults`,
  )
  return faults === 0
}
