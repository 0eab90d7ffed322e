import type { Budget, Demand, Grant, Quotas, Scope, ScopeKind } from '#protocol'
import { createEmbeddedAdmission } from '../../src/metering/embedded-admission.ts'
import { scopeKey } from '../../src/metering/scope-state.ts'
import { windowAt } from '../../src/metering/windows.ts'
import { dice } from '../gateway/dice.ts'

const START = Date.parse('2026-10-24T12:00Z')

/** What was settled, as a ledger would have it. */
interface Spent {
  readonly keys: ReadonlySet<string>
  readonly at: number
  readonly cost: bigint
  readonly tokens: number
}

interface Running {
  readonly grant: Grant
  readonly scopes: readonly Scope[]
  readonly demand: Demand
  /** What attempts cost that failed and were made again. */
  failed: bigint
}

export interface MixResult {
  readonly admitted: number
  readonly refused: number
  /** What is wrong; empty when nothing is. */
  readonly faults: readonly string[]
}

/**
 * Random requests over nested scopes, with settlements, failed attempts, idle time over summer
 * time and restarts between. After every step no budget, no limit of requests and none of
 * concurrency is passed at any level; the sums are taken from what was settled, not from the admission.
 */
export async function mix(seed: number, steps: number): Promise<MixResult> {
  const random = dice(seed)
  const faults: string[] = []
  const ledger: Spent[] = []
  let now = START
  const scopesOf = tree(random)
  const open: Running[] = []
  let [admitted, refused] = [0, 0]
  const spentIn = (scope: Scope, start: number, end: number): Spent[] => {
    const key = scopeKey(scope)
    return ledger.filter(({ keys, at }) => keys.has(key) && at >= start && at < end)
  }
  const newAdmission = () =>
    createEmbeddedAdmission({
      load: async (scope, { windows, daySince }) => {
        await Promise.resolve()
        const sum = (since: number) =>
          spentIn(scope, since, Infinity).reduce((all, { cost }) => all + cost, 0n)
        const day = daySince === undefined ? [] : spentIn(scope, daySince, Infinity)
        return {
          spent: Object.fromEntries(windows.map(({ kind, start }) => [kind, sum(start)])),
          recent: [],
          day: {
            requests: day.length,
            input: 0,
            output: day.reduce((all, { tokens }) => all + tokens, 0),
          },
        }
      },
      elapsed: () => now,
      onFault: (message) => faults.push(message),
      onBroken: (scope, { window }) => faults.push(`broken: ${scopeKey(scope)} ${window}`),
    })
  let admission = newAdmission()

  const settle = async (running: Running, share: number): Promise<void> => {
    const bound = running.demand.cost!(running.grant.outputTokens)
    const cost = running.failed + (bound * BigInt(share)) / 100n
    const tokens = Math.floor((running.grant.outputTokens * share) / 100)
    const keys = new Set(running.scopes.map(scopeKey))
    ledger.push({ keys, at: running.grant.admittedAt, cost, tokens })
    await admission.settle(running.grant, { tokens, outputTokens: tokens, cost }, now)
  }

  for (let step = 0; step < steps; step++) {
    const what = random.below(100)
    if (what < 50) {
      const scopes = scopesOf()
      const perToken = BigInt(1 + random.below(5))
      const demand: Demand = {
        inputTokens: 0,
        outputTokens: 1 + random.below(50),
        clampable: random.chance(0.3),
        cost: (tokens) => BigInt(tokens) * perToken,
      }
      try {
        const grant = await admission.admit(scopes, demand, now)
        open.push({ grant, scopes, demand, failed: 0n })
        admitted++
      } catch {
        refused++
      }
    } else if (what < 90 && open.length > 0) {
      const [running] = open.splice(random.below(open.length), 1)
      await settle(running!, random.below(101))
    } else if (what < 95 && open.length > 0) {
      const running = open[random.below(open.length)]!
      const spent = running.demand.cost!(running.grant.outputTokens) / 2n
      try {
        await admission.extend(running.grant, running.demand, { tokens: 0, cost: spent }, now)
        running.failed += spent
      } catch {
        // Another attempt was refused: what was held is what may be settled.
      }
    } else if (what < 99) now += random.below(3_600_000)
    else {
      // A restart: what was open is settled at its bound, as recovery does.
      for (const running of open.splice(0)) await settle(running, 100)
      admission = newAdmission()
    }
    if (step % 20 === 0) await check(scopesOf())
  }
  for (const running of open.splice(0)) await settle(running, 100)
  for (const scope of scopesOf.all) checkLedger(scope)
  return { admitted, refused, faults }

  async function check(scopes: readonly Scope[]): Promise<void> {
    for (const { scope, limit, max, remaining, budget, window } of await admission.peek(
      scopes,
      now,
    )) {
      if (remaining < 0n) faults.push(`${scope.kind} ${limit}: ${remaining} left`)
      if (budget?.policy === 'hard' && budget.settled + budget.reserved > max) {
        faults.push(`${scope.kind} ${window}: ${budget.settled} + ${budget.reserved} of ${max}`)
      }
    }
  }

  /** Every window of every hard budget, by the ledger alone. */
  function checkLedger(scope: Scope): void {
    const own = spentIn(scope, 0, Infinity)
    for (const { window, limit, policy } of scope.limits.budgets ?? []) {
      if (policy === 'soft') continue
      const sums = new Map<number, bigint>()
      for (const { at, cost } of own) {
        const { start } = windowAt(window, scope, at)
        sums.set(start, (sums.get(start) ?? 0n) + cost)
      }
      for (const [start, sum] of sums) {
        if (sum > limit)
          faults.push(`${scopeKey(scope)} ${window} from ${start}: ${sum} of ${limit}`)
      }
    }
    const { requestsPerDay = Infinity } = scope.limits
    const days = new Map<number, number>()
    for (const { at } of own) {
      const { start } = windowAt('day', scope, at)
      days.set(start, (days.get(start) ?? 0) + 1)
    }
    for (const [start, count] of days) {
      if (count > requestsPerDay) faults.push(`${scopeKey(scope)} day ${start}: ${count} requests`)
    }
  }
}

/** key within application within tenant within platform; end user, service and tag beside them. */
function tree(
  random: ReturnType<typeof dice>,
): (() => readonly Scope[]) & { all: readonly Scope[] } {
  const zone = ['UTC', 'Europe/Berlin', 'America/New_York'][random.below(3)]!
  const calendar = {
    timeZone: zone,
    weekStartsOn: 1 + random.below(7),
    monthStartsOn: 1 + random.below(28),
  }
  const windows = ['day', 'week', 'month', 'total'] as const
  const quotas = (level: number): Quotas => ({
    ...(random.chance(0.3) && { concurrency: 2 + random.below(10 * level) }),
    ...(random.chance(0.2) && { requestsPerMinute: 3 + random.below(40 * level) }),
    ...(random.chance(0.2) && { requestsPerDay: 5 + random.below(60 * level) }),
    ...(random.chance(0.1) && { outputTokensPerDay: 200 + random.below(9000 * level) }),
    ...(random.chance(0.8) && {
      budgets: windows
        .filter(() => random.chance(0.4))
        .map((window, index): Budget => ({
          window,
          limit: BigInt((1 + random.below(4000)) * level * (index + 1)),
          ...(random.chance(0.15) && { policy: 'soft' }),
        })),
    }),
  })
  const scopes = (kind: ScopeKind, count: number, level: number): Scope[] =>
    Array.from({ length: count }, (_, id) => ({
      kind,
      id: `${kind}_${id}`,
      name: '',
      limits: quotas(level),
      ...calendar,
    }))
  const kinds = [
    scopes('platform', 1, 20),
    scopes('tenant', 2, 10),
    scopes('application', 4, 5),
    scopes('key', 8, 2),
    scopes('end_user', 20, 1),
    scopes('service', 2, 6),
    scopes('tag', 3, 4),
  ] as const
  const [platform, tenants, applications, keys, ...beside] = kinds
  const next = (): readonly Scope[] => {
    const key = random.below(8)
    return [
      ...platform,
      tenants[key >> 2]!,
      applications[key >> 1]!,
      keys[key]!,
      ...beside.flatMap((some) => (random.chance(0.6) ? [some[random.below(some.length)]!] : [])),
    ]
  }
  return Object.assign(next, { all: kinds.flat() })
}
