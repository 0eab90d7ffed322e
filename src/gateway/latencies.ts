/** Weight of the newest figure in the running mean. */
const WEIGHT = 0.2

/** Running means of how long targets take to answer; ms. */
export interface Latencies {
  readonly note: (target: string, ms: number) => void
  /** Absent when the target was not asked yet. */
  readonly of: (target: string) => number | undefined
}

export function createLatencies(): Latencies {
  const means = new Map<string, number>()
  return {
    note(target, ms) {
      const before = means.get(target)
      means.set(target, before === undefined ? ms : before + WEIGHT * (ms - before))
    },
    of: (target) => means.get(target),
  }
}
