import { randomBytes } from 'node:crypto'
import { GatewayError } from '#errors'
import type {
  Budget,
  Demand,
  Entry,
  Grant,
  LimitStanding,
  NanoUsd,
  Scope,
  Settlement,
} from '#protocol'
import {
  admit,
  brokenBudget,
  charge,
  extend,
  freeSlot,
  portionFor,
  settle,
  standingOf,
  undo,
  unlimited,
} from './admission.ts'
import { held, HeldGrant, holdsFor, type OnFault, settlementOf } from './held-grant.ts'
import { brokenInvariant } from './refusals.ts'
import {
  type History,
  isIdle,
  isLimited,
  type Missing,
  missingOf,
  NO_HISTORY,
  scopeKey,
  type ScopeState,
  withHistory,
} from './scope-state.ts'

/** Holds demands against limits, and settles them. */
export interface Admission {
  /**
   * Holds the demand in all scopes at once; no promise where everything needed is in memory.
   *
   * @param now Unix ms
   * @param requestId by which the ledger knows it; the grant's id where it is shared
   * @throws GatewayError `rate_limit_exceeded`, `insufficient_quota`, `unpriced_model`
   */
  admit(
    scopes: readonly Scope[],
    demand: Demand,
    now: number,
    requestId?: string,
  ): Grant | Promise<Grant>
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
  /** Whether the scope holds something for the grant's request, or did. */
  holds(grant: Grant, scope: Scope): boolean
  /**
   * Counts money that no grant held: corrections, entries of crash recovery.
   *
   * @param at Unix ms of the admission it belongs to
   * @param entry of the ledger; one that a lapsed reservation has counted is not counted again
   */
  charge(
    scopes: readonly Scope[],
    cost: NanoUsd,
    at: number,
    entry?: LedgerEntry,
  ): void | Promise<void>
  /** How the limits of the scopes stand, for whoever asks without spending. */
  peek(
    scopes: readonly Scope[],
    now: number,
  ): readonly LimitStanding[] | Promise<readonly LimitStanding[]>
}

export type LedgerEntry = Pick<Entry, 'id' | 'kind' | 'requestId'>

export interface EmbeddedAdmissionDeps {
  /**
   * What the ledger knows of a scope: settled in each window asked for (windows by
   * `admittedAt`), and the requests and tokens of the last minute and the day, where asked.
   */
  readonly load: (scope: Scope, missing: Missing) => Promise<History>
  /** Milliseconds of a clock that nobody sets, for limits per minute. */
  readonly elapsed: () => number
  readonly onFault?: OnFault
  /** Told where `settled + reserved <= limit` did not hold; the request was refused. */
  readonly onBroken?: OnBroken
}

export type OnBroken = (scope: Scope, budget: Budget) => void

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
      // What failed attempts cost stays held: it is spent.
      check(states, scopes, extended.reserved.cost, now)
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
      const { scopes, states, holds } = own
      const sound = settlementOf(own, settlement, deps.onFault)
      if (sound === undefined) return
      const elapsed = deps.elapsed()
      for (let index = 0; index < holds.length; index++) {
        settle(states[index]!, holds[index]!, portionFor(scopes[index]!, sound), elapsed)
      }
    },

    holds: holdsFor,

    charge(scopes, cost, at) {
      for (const scope of scopes) {
        const state = states.get(scopeKey(scope))
        // A scope not in memory reads it from the ledger when it comes.
        if (state) charge(state, cost, at)
      }
    },

    peek(scopes, now) {
      return stand(scopes.filter(isLimited), now)
    },
  }

  function take(scopes: readonly Scope[], demand: Demand, now: number): Grant | Promise<Grant> {
    const own = statesOf(scopes, now)
    // Looked up again: what was loaded may lack a window by now, or have been let go.
    if (own === undefined) return load(scopes, now).then(() => take(scopes, demand, now))
    const decision = admit(own, scopes, demand, now, deps.elapsed())
    if (!decision.ok) throw decision.refusal
    try {
      check(own, scopes, decision.reserved.cost, now)
    } catch (error) {
      for (const [index, state] of own.entries()) {
        undo(state, decision.holds[index]!, deps.elapsed())
      }
      throw error
    }
    return new HeldGrant(nextId(), now, decision, scopes, own)
  }

  /** @throws GatewayError where a hard budget holds more than it may */
  function check(
    states: readonly ScopeState[],
    scopes: readonly Scope[],
    cost: NanoUsd,
    now: number,
  ): void {
    const broken = brokenBudget(states, scopes, cost, now)
    if (broken === undefined) return
    deps.onBroken?.(broken.scope, broken.budget)
    throw brokenInvariant(broken.scope, broken.budget)
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
      const state = states.get(scopeKey(scope))
      if (!isReady(state, scope, now)) return undefined
      own.push(state)
    }
    return own
  }

  async function load(scopes: readonly Scope[], now: number): Promise<void> {
    const missing = scopes.filter((scope) => !isReady(states.get(scopeKey(scope)), scope, now))
    await Promise.all(missing.map((scope) => loadOne(scope, now)))
  }

  function loadOne(scope: Scope, now: number): Promise<void> {
    const key = scopeKey(scope)
    let promise = loading.get(key)
    if (!promise) {
      promise = read(scope, key, now).finally(() => loading.delete(key))
      loading.set(key, promise)
    }
    return promise
  }

  async function read(scope: Scope, key: string, now: number): Promise<void> {
    const before = states.get(key)
    const missing = missingOf(before, scope, now)
    if (missing === undefined && before !== undefined) return
    const loading = missing === undefined ? NO_HISTORY : deps.load(scope, missing)
    const history = await Promise.resolve(loading).catch((cause: unknown) => {
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
  return state !== undefined && missingOf(state, scope, now) === undefined
}
