import type { Candidate, Route } from '#protocol'

export interface PlanOptions {
  /** From 0 up to but not including 1. */
  readonly random: () => number
  /** Recent time to a target's first event in ms; absent when it was not asked lately. */
  readonly latencyMs: (name: string) => number | undefined
  /** A price to compare by, any unit; absent when the target is unpriced. */
  readonly unitCost: (candidate: Candidate) => number | undefined
}

/** The targets to ask, best first; fallbacks follow in their own order. Nothing stands twice. */
export function plan(route: Route, options: PlanOptions): readonly Candidate[] {
  if (route.targets.length === 1 && route.fallbacks.length === 0) return route.targets
  const ordered = [...order(route, options), ...route.fallbacks]
  return ordered.filter(
    ({ name }, index) => ordered.findIndex((other) => other.name === name) === index,
  )
}

function order({ strategy, targets }: Route, options: PlanOptions): readonly Candidate[] {
  switch (strategy) {
    case 'ordered':
      return targets
    case 'weighted':
      return shuffle(targets, options.random)
    case 'least-latency':
      // A target without a figure comes first: it gets one by being asked.
      return targets.toSorted(
        (a, b) => (options.latencyMs(a.name) ?? 0) - (options.latencyMs(b.name) ?? 0),
      )
    case 'least-cost':
      return targets.toSorted(
        (a, b) => (options.unitCost(a) ?? Infinity) - (options.unitCost(b) ?? Infinity),
      )
  }
}

/** Draws without replacement, in proportion to the weights; a weight of 0 is never drawn. */
function shuffle(targets: Route['targets'], random: () => number): readonly Candidate[] {
  const left = targets.filter(({ weight }) => weight > 0)
  const drawn: Candidate[] = []
  while (left.length > 0) {
    let point = random() * left.reduce((sum, { weight }) => sum + weight, 0)
    const index = left.findIndex(({ weight }) => (point -= weight) < 0)
    drawn.push(...left.splice(Math.max(index, 0), 1))
  }
  return drawn
}
