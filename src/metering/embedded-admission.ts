import { randomBytes } from 'node:crypto'
import { GatewayError } from '#errors'
import type { Demand, Grant, LimitStanding, NanoUsd, Scope, Settlement } from '#protocol'
import { admit, charge, type Granted, settle, standingOf, unlimited } from './admission.ts'
import {
  type History,
  type Hold,
  isIdle,
  isLimited,
  isPaced,
  missingWindows,
  type ScopeState,
  type WindowQuery,
  withHistory,
} from './scope-state.ts'

/** Holds demands against limits, and settles them. */
export interface Admission {
  /**
   * Holds the demand in all scopes at once; no promise where everything needed is in memory.
   *
   * @param now Unix ms
   * @throws GatewayError `rate_limit_exceeded`, `insufficient_quota`, `unpriced_model`
   */
  admit(scopes: readonly Scope[], demand: Demand, now: number): Grant | Promise<Grant>
  /** Replaces a reservation by the truth. Once: what comes after the first is reported and changes nothing. */
  settle(grant: Grant, settlement: Settlement, now: number): void | Promise<void>
  /**
   * Counts money that no grant held: corrections, entries of crash recovery.
   *
   * @param at Unix ms of the admission it belongs to
   */
  charge(scopes: readonly Scope[], cost: NanoUsd, at: number): void | Promise<void>
  /** How the limits of the scopes stand, for whoever asks without spending. */
  standing(
    scopes: readonly Scope[],
    now: number,
  ): readonly LimitStanding[] | Promise<readonly LimitStanding[]>
}

export interface EmbeddedAdmissionDeps {
  /**
   * What the ledger knows of a scope: settled in each window asked for (windows by
   * `admittedAt`), and the requests of the last minute, where asked.
   */
  readonly load: (
    scope: Scope,
    windows: readonly WindowQuery[],
    /** Unix ms; absent: the last minute is not needed. */
    recentSince: number | undefined,
  ) => Promise<History>
  /** Milliseconds of a clock that nobody sets, for limits per minute. */
  readonly elapsed: () => number
  /** Told of a grant settled twice, or settled by negative or broken numbers. */
  readonly onFault?: (message: string, grantId: string) => void
}

/** Scopes remembered before idle ones are let go. */
const SWEEP_ABOVE = 10_000

/** A grant of this module, with what has to be undone when it settles. */
class HeldGrant implements Grant {
  readonly id: string
  readonly admittedAt: number
  readonly outputTokens: number
  readonly reserved: Grant['reserved']
  readonly standing: Grant['standing']
  readonly states: readonly ScopeState[]
  readonly holds: readonly Hold[]
  settled = false

  constructor(id: string, admittedAt: number, decision: Granted, states: readonly ScopeState[]) {
    this.id = id
    this.admittedAt = admittedAt
    this.outputTokens = decision.outputTokens
    this.reserved = decision.reserved
    this.standing = decision.standing
    this.holds = decision.holds
    this.states = states
  }
}

/**
 * Admission for one process that owns its database.
 *
 * The state of a scope is in memory, built from the ledger when the scope is first seen.
 * A decision runs without a pause from its first look to its last change, so requests
 * cannot come between. After a crash the reservations are gone with the memory, and what
 * their requests consumed is what recovery writes to the ledger.
 */
export function createEmbeddedAdmission(deps: EmbeddedAdmissionDeps): Admission {
  const states = new Map<string, ScopeState>()
  const loading = new Map<string, Promise<void>>()
  const idPrefix = `grant_${randomBytes(6).toString('hex')}`
  let granted = 0
  let sweepAt = SWEEP_ABOVE

  return {
    admit(scopes, demand, now) {
      const limited = scopes.every(isLimited) ? scopes : scopes.filter(isLimited)
      if (limited.length === 0) return new HeldGrant(nextId(), now, unlimited(demand), [])
      const wait = load(limited, now)
      return wait ? wait.then(() => take(limited, demand, now)) : take(limited, demand, now)
    },

    settle(grant, settlement) {
      if (!(grant instanceof HeldGrant)) throw new TypeError('The grant is of another admission')
      if (grant.settled) {
        deps.onFault?.('A grant was settled twice', grant.id)
        return
      }
      grant.settled = true
      const sound = soundSettlement(settlement)
      if (sound !== settlement) deps.onFault?.('A settlement was not a usable amount', grant.id)
      const elapsed = deps.elapsed()
      for (let index = 0; index < grant.holds.length; index++) {
        settle(grant.states[index]!, grant.holds[index]!, sound, elapsed)
      }
    },

    charge(scopes, cost, at) {
      for (const scope of scopes) {
        const state = states.get(keyOf(scope))
        // A scope not in memory reads it from the ledger when it comes.
        if (state) charge(state, cost, at)
      }
    },

    standing(scopes, now) {
      const limited = scopes.filter(isLimited)
      const answer = () =>
        limited.flatMap((scope) => standingOf(stateOf(scope), scope, now, deps.elapsed()))
      const wait = load(limited, now)
      return wait ? wait.then(answer) : answer()
    },
  }

  function take(scopes: readonly Scope[], demand: Demand, now: number): Grant {
    const own = scopes.length === 1 ? [stateOf(scopes[0]!)] : scopes.map(stateOf)
    const decision = admit(own, scopes, demand, now, deps.elapsed())
    if (!decision.ok) throw decision.refusal
    return new HeldGrant(nextId(), now, decision, own)
  }

  function nextId(): string {
    granted++
    return `${idPrefix}${granted.toString(36)}`
  }

  function stateOf(scope: Scope): ScopeState {
    const state = states.get(keyOf(scope))
    if (!state) throw new Error(`The state of scope ${keyOf(scope)} is not loaded`)
    return state
  }

  /** Undefined where every scope is ready. */
  function load(scopes: readonly Scope[], now: number): Promise<void> | undefined {
    let pending: Promise<void>[] | undefined
    for (const scope of scopes) {
      const state = states.get(keyOf(scope))
      if (isReady(state, scope, now)) continue
      pending ??= []
      pending.push(loadOne(scope, now))
    }
    // What was loaded for an earlier limit may lack a window this one needs: look again.
    return pending && Promise.all(pending).then(() => load(scopes, now))
  }

  function loadOne(scope: Scope, now: number): Promise<void> {
    const key = keyOf(scope)
    let promise = loading.get(key)
    if (!promise) {
      promise = read(scope, key, now).finally(() => loading.delete(key))
      loading.set(key, promise)
    }
    return promise
  }

  async function read(scope: Scope, key: string, now: number): Promise<void> {
    const before = states.get(key)
    const windows = missingWindows(before, scope, now)
    const recentSince = isPaced(scope) && before?.ring === undefined ? now - 60_000 : undefined
    const history = await deps.load(scope, windows, recentSince).catch((cause: unknown) => {
      throw new GatewayError('unavailable', 'The ledger cannot be read; try again shortly', {
        cause,
      })
    })
    states.set(key, withHistory(states.get(key), scope, history, now, deps.elapsed()))
    if (states.size > sweepAt) sweep()
  }

  function sweep(): void {
    const elapsed = deps.elapsed()
    for (const [key, state] of states) if (isIdle(state, elapsed)) states.delete(key)
    sweepAt = Math.max(SWEEP_ABOVE, states.size * 2)
  }
}

/** A settlement that cannot credit anyone: amounts below zero or no numbers count as zero. */
export function soundSettlement(settlement: Settlement): Settlement {
  const { tokens, cost } = settlement
  if (Number.isSafeInteger(tokens) && tokens >= 0 && cost >= 0n) return settlement
  return {
    tokens: Number.isSafeInteger(tokens) && tokens >= 0 ? tokens : 0,
    cost: cost >= 0n ? cost : 0n,
  }
}

function isReady(state: ScopeState | undefined, scope: Scope, now: number): boolean {
  if (state === undefined) return false
  if (state.ring === undefined && isPaced(scope)) return false
  return missingWindows(state, scope, now).length === 0
}

function keyOf({ kind, id }: Scope): string {
  return `${kind}:${id}`
}
