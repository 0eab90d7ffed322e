import { randomBytes } from 'node:crypto'
import { GatewayError } from '#errors'
import type { Demand, Grant, LimitStanding, NanoUsd, Scope, Settlement } from '#protocol'
import { admit, charge, extend, freeSlot, settle, standingOf, unlimited } from './admission.ts'
import { held, HeldGrant, type OnFault, settlementOf } from './held-grant.ts'
import {
  type History,
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
  /**
   * Holds what failed attempts of the grant's request cost beside the bound of its next one,
   * in all scopes at once. Where money is short, a demand without a maximum of its caller
   * gives up output.
   *
   * @param spent by attempts that no call covered before
   * @throws GatewayError `insufficient_quota`, `rate_limit_exceeded`: nothing has changed, and
   *   another attempt might pass a limit
   */
  extend(grant: Grant, demand: Demand, spent: Settlement, now: number): void | Promise<void>
  /**
   * Lets another request take this one's place among those under way; money stays held until
   * {@link settle}, which frees the place as well. Never fails.
   */
  freeSlot(grant: Grant): void | Promise<void>
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
  readonly onFault?: OnFault
}

/** Scopes remembered before idle ones are let go. */
const SWEEP_ABOVE = 10_000

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
      if (limited.length === 0) return new HeldGrant(nextId(), now, unlimited(demand), limited)
      return take(limited, demand, now)
    },

    extend(grant, demand, spent, now) {
      const own = held(grant)
      const { states, scopes, holds } = own
      const extended = extend(states, scopes, holds, own, demand, spent, now, deps.elapsed())
      if (!extended.ok) throw extended.refusal
      own.outputTokens = extended.outputTokens
      own.reserved = extended.reserved
    },

    freeSlot(grant) {
      const { states, holds } = held(grant)
      const elapsed = deps.elapsed()
      for (let index = 0; index < holds.length; index++) {
        freeSlot(states[index]!, holds[index]!, elapsed)
      }
    },

    settle(grant, settlement) {
      const own = held(grant)
      const { states, holds } = own
      const sound = settlementOf(own, settlement, deps.onFault)
      if (sound === undefined) return
      const elapsed = deps.elapsed()
      for (let index = 0; index < holds.length; index++) {
        settle(states[index]!, holds[index]!, sound, elapsed)
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
      return stand(scopes.filter(isLimited), now)
    },
  }

  function take(scopes: readonly Scope[], demand: Demand, now: number): Grant | Promise<Grant> {
    const own = statesOf(scopes, now)
    // Looked up again: what was loaded may lack a window by now, or have been let go.
    if (own === undefined) return load(scopes, now).then(() => take(scopes, demand, now))
    const decision = admit(own, scopes, demand, now, deps.elapsed())
    if (!decision.ok) throw decision.refusal
    return new HeldGrant(nextId(), now, decision, scopes, own)
  }

  function stand(
    scopes: readonly Scope[],
    now: number,
  ): readonly LimitStanding[] | Promise<readonly LimitStanding[]> {
    const own = statesOf(scopes, now)
    if (own === undefined) return load(scopes, now).then(() => stand(scopes, now))
    return scopes.flatMap((scope, index) => standingOf(own[index]!, scope, now, deps.elapsed()))
  }

  function nextId(): string {
    granted++
    return `${idPrefix}${granted.toString(36)}`
  }

  /** Undefined where one has to be loaded first. */
  function statesOf(scopes: readonly Scope[], now: number): readonly ScopeState[] | undefined {
    const own: ScopeState[] = []
    for (const scope of scopes) {
      const state = states.get(keyOf(scope))
      if (!isReady(state, scope, now)) return undefined
      own.push(state)
    }
    return own
  }

  async function load(scopes: readonly Scope[], now: number): Promise<void> {
    const missing = scopes.filter((scope) => !isReady(states.get(keyOf(scope)), scope, now))
    await Promise.all(missing.map((scope) => loadOne(scope, now)))
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

function isReady(state: ScopeState | undefined, scope: Scope, now: number): state is ScopeState {
  if (state === undefined) return false
  if (state.ring === undefined && isPaced(scope)) return false
  return missingWindows(state, scope, now).length === 0
}

function keyOf({ kind, id }: Scope): string {
  return `${kind}:${id}`
}
