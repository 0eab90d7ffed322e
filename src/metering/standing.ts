import type { Budget, LimitStanding, Scope } from '#protocol'
import { capOf, quotasOf, warnAt } from './quotas.ts'
import type { ScopeState, WindowState } from './scope-state.ts'

/** Adds how a scope's limits stand. The state's windows are this moment's. */
export function describe(
  standing: LimitStanding[],
  state: ScopeState,
  scope: Scope,
  now: number,
  elapsed: number,
): void {
  const { concurrency, budgets } = scope.limits
  const { ring, day } = state
  const { rates } = quotasOf(scope.limits)
  for (let index = 0; index < rates.length; index++) {
    const { limit, window, measure, max } = rates[index]!
    let used: number
    let resetsAt: number
    if (window === 'minute') {
      if (ring === undefined) continue
      const idle = ring.requestSum === 0 && ring.inputSum === 0 && ring.outputSum === 0
      resetsAt = idle ? now : now + 61_000 - Math.floor(elapsed % 1000)
      if (measure === 'requests') used = ring.requestSum
      else if (measure === 'input') used = ring.inputSum
      else if (measure === 'output') used = ring.outputSum
      else used = ring.inputSum + ring.outputSum
    } else {
      if (day === undefined) continue
      resetsAt = day.end
      used = measure === 'tokens' ? day.input + day.output : day[measure]
    }
    standing.push({
      scope,
      limit,
      window,
      max: BigInt(max),
      remaining: BigInt(Math.max(0, max - used)),
      resetsAt,
    })
  }
  if (concurrency !== undefined) {
    const remaining = BigInt(Math.max(0, concurrency - state.open))
    standing.push({ scope, limit: 'concurrency', max: BigInt(concurrency), remaining })
  }
  if (budgets === undefined) return
  for (const budget of budgets) {
    const window = state.windows[budget.window]
    if (window !== undefined) standing.push(describeBudget(scope, budget, window, now))
  }
}

export function describeBudget(
  scope: Scope,
  budget: Budget,
  { settled, reserved, end }: WindowState,
  now: number,
): LimitStanding {
  const max = capOf(budget, now)
  const used = settled + reserved
  const policy = budget.policy ?? 'hard'
  const warn = warnAt(budget, now)
  return {
    scope,
    limit: 'budget',
    window: budget.window,
    max,
    remaining: used < max ? max - used : 0n,
    ...(budget.window === 'total' ? {} : { resetsAt: end }),
    budget: {
      settled,
      reserved,
      policy,
      status:
        policy === 'soft' && used > max
          ? 'soft-exceeded'
          : policy === 'hard' && used >= max
            ? 'blocked'
            : warn !== undefined && used >= warn
              ? 'warn'
              : 'ok',
    },
  }
}

/** The limit with the least left of its maximum: the one to be met first. */
export function bindingOf(standing: readonly LimitStanding[]): LimitStanding | undefined {
  let binding: LimitStanding | undefined
  let least = Infinity
  for (const one of standing) {
    // A soft budget stops nobody.
    if (one.budget?.policy === 'soft') continue
    const share = one.max === 0n ? 0 : Number(one.remaining) / Number(one.max)
    if (share < least) {
      binding = one
      least = share
    }
  }
  return binding
}
