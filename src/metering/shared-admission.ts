import { randomBytes } from 'node:crypto'
import { GatewayError } from '#errors'
import type { Entry, NanoUsd, Scope } from '#protocol'
import {
  admit,
  brokenBudget,
  charge,
  extend,
  freeSlot,
  portionFor,
  settle,
  standingOf,
  unlimited,
} from './admission.ts'
import type { Admission, EmbeddedAdmissionDeps, LedgerEntry } from './embedded-admission.ts'
import { held, HeldGrant, holdsFor, type OnFault, settlementOf } from './held-grant.ts'
import { brokenInvariant } from './refusals.ts'
import {
  type Hold,
  isLimited,
  missingOf,
  NO_HISTORY,
  scopeKey,
  type ScopeState,
  withHistory,
} from './scope-state.ts'

export interface SharedAdmissionDeps {
  /**
   * Runs a decision over the stored states of some scopes, alone: in one transaction that
   * holds a lock on each of them, taken in the order of the ids given (they are sorted).
   *
   * `decide` gets the stored text for each id (`undefined`: none yet) and the database's
   * clock in Unix ms, and gives back the text to store for each. Where it throws, nothing is stored
   * and the error goes to the caller.
   */
  readonly withScopes: <T>(
    ids: readonly string[],
    decide: (
      stored: readonly (string | undefined)[],
      now: number,
    ) => Promise<{ readonly states: readonly string[]; readonly result: T }>,
  ) => Promise<T>
  readonly load: EmbeddedAdmissionDeps['load']
  readonly onFault?: OnFault
  readonly onBroken?: EmbeddedAdmissionDeps['onBroken']
  /** What the ledger has of a request; the ids of grants are those of their requests. */
  readonly entriesOf?: (
    requestId: string,
  ) => Promise<readonly Pick<Entry, 'id' | 'provider' | 'model' | 'modelAsked' | 'cost'>[]>
  /** Told of a reservation whose process stopped renewing it. */
  readonly onLapsed?: (scopeId: string, grantId: string, hold: Hold) => void
  /** How long a reservation outlives the last word of its process, in ms; 60,000 if absent. */
  readonly leaseMs?: number
}

export interface SharedAdmission extends Admission {
  /** Extends the leases of this process's open grants; call it at least three times in a lease. */
  renew(): Promise<void>
}

/**
 * Admission for several processes over one database.
 *
 * The same decisions as {@link createEmbeddedAdmission}, on state that lives in the database.
 * Each open reservation is in its scopes' states with a lease. The rule for a lease that
 * ran out: the reservation is released by whoever next looks at the scope, at what the ledger
 * has of its request. What crash recovery writes later reaches the budgets through `charge`, and
 * a settlement that comes late after all is charged for the rest: nothing counts twice.
 */
export function createSharedAdmission(deps: SharedAdmissionDeps): SharedAdmission {
  const leaseMs = deps.leaseMs ?? 60_000
  const idPrefix = `grant_${randomBytes(6).toString('hex')}`
  const open = new Map<string, HeldGrant>()
  let granted = 0

  return {
    async admit(scopes, demand, now, requestId) {
      granted++
      const id = requestId ?? `${idPrefix}${granted.toString(36)}`
      const limited = inOrder(scopes.filter(isLimited))
      if (limited.length === 0) return new HeldGrant(id, now, unlimited(demand), limited)
      const grant = await within(limited, true, (states, clock) => {
        const decision = admit(states, limited, demand, clock)
        if (!decision.ok) throw decision.refusal
        check(states, limited, decision.reserved.cost, clock)
        for (const [index, hold] of decision.holds.entries()) {
          hold.expiresAt = clock + leaseMs
          const state = states[index]!
          state.holds ??= {}
          state.holds[id] = hold
        }
        return new HeldGrant(id, clock, decision, limited)
      })
      open.set(id, grant)
      return grant
    },

    async extend(grant, demand, spent) {
      const own = held(grant)
      if (own.scopes.length === 0) return
      const extended = await within(own.scopes, true, (states, clock) => {
        const holds = states.flatMap((state) => state.holds?.[own.id] ?? [])
        if (holds.length < states.length) throw lapsed()
        const decision = extend(states, own.scopes, holds, own, demand, spent, clock)
        if (!decision.ok) throw decision.refusal
        check(states, own.scopes, decision.reserved.cost, clock)
        return decision
      })
      own.outputTokens = extended.outputTokens
      own.reserved = extended.reserved
    },

    async freeSlot(grant) {
      const { id, scopes } = held(grant)
      const concurrent = scopes.filter(({ limits }) => limits.concurrency !== undefined)
      if (concurrent.length === 0) return
      try {
        await within(concurrent, false, (states, clock) => {
          for (const state of states) {
            const hold = state.holds?.[id]
            if (hold) freeSlot(state, hold, clock)
          }
        })
      } catch {
        deps.onFault?.('A place among the requests under way was not freed early', id)
      }
    },

    async settle(grant, settlement) {
      const own = held(grant)
      const { id, scopes, admittedAt } = own
      const sound = settlementOf(own, settlement, deps.onFault)
      if (sound === undefined || scopes.length === 0) return
      try {
        await within(scopes, false, (states, clock) => {
          for (const [index, state] of states.entries()) {
            const hold = state.holds?.[id]
            const own = portionFor(scopes[index]!, sound)
            if (hold) {
              settle(state, hold, own, clock)
              delete state.holds?.[id]
            } else charge(state, own.cost - (state.lapsed?.[id]?.cost ?? 0n), admittedAt)
          }
        })
        open.delete(id)
      } catch (error) {
        own.settled = false
        throw error
      }
    },

    holds: holdsFor,

    async charge(scopes, cost, at, entry) {
      const limited = inOrder(scopes.filter(isLimited))
      if (limited.length === 0) return
      await within(limited, false, (states) => {
        for (const state of states) {
          const lapsed = entry && state.lapsed?.[entry.requestId]
          if (entry !== undefined && isCounted(state, entry)) continue
          charge(state, cost, at)
          if (entry === undefined || lapsed === undefined) continue
          lapsed.cost += cost
          lapsed.entries.push(entry.id)
        }
      })
    },

    async peek(scopes) {
      const limited = inOrder(scopes.filter(isLimited))
      if (limited.length === 0) return []
      return within(limited, true, (states, clock) =>
        limited.flatMap((scope, index) => standingOf(states[index]!, scope, clock)),
      )
    },

    async renew() {
      const byScope = new Map<string, { scope: Scope; grants: string[] }>()
      for (const grant of open.values()) {
        for (const scope of grant.scopes) {
          const entry = byScope.get(scopeKey(scope)) ?? { scope, grants: [] }
          entry.grants.push(grant.id)
          byScope.set(scopeKey(scope), entry)
        }
      }
      for (const { scope, grants } of byScope.values()) {
        await within([scope], false, ([state], clock) => {
          for (const id of grants) {
            const hold = state?.holds?.[id]
            if (hold) hold.expiresAt = clock + leaseMs
          }
        })
      }
    },
  }

  /**
   * @param scopes in the order of their ids
   * @param complete whether the states must know all that the limits need
   */
  function within<T>(
    scopes: readonly Scope[],
    complete: boolean,
    decide: (states: readonly ScopeState[], now: number) => T,
  ): Promise<T> {
    return deps.withScopes(scopes.map(scopeKey), async (stored, now) => {
      const states: ScopeState[] = []
      for (const [index, scope] of scopes.entries()) {
        const text = stored[index]
        let state = text === undefined ? undefined : readState(text)
        const missing = missingOf(state, scope, now)
        if (state === undefined || (complete && missing !== undefined)) {
          const history = missing === undefined ? NO_HISTORY : await deps.load(scope, missing)
          state = withHistory(state, scope, history, now)
        }
        await release(state, scope, now)
        states.push(state)
      }
      const result = decide(states, now)
      return { states: states.map(writeState), result }
    })
  }

  /** @throws GatewayError where a hard budget holds more than it may: nothing is stored then */
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

  /** Ends what nobody renews any more: at what the ledger has of it, which may be nothing. */
  async function release(state: ScopeState, scope: Scope, now: number): Promise<void> {
    for (const [id, { at }] of Object.entries(state.lapsed ?? {})) {
      if (now - at > LAPSED_MS) delete state.lapsed?.[id]
    }
    for (const [id, hold] of Object.entries(state.holds ?? {})) {
      if (hold.expiresAt === undefined || hold.expiresAt > now) continue
      const entries = (await deps.entriesOf?.(id)) ?? []
      let cost = 0n
      for (const { provider, model, modelAsked, cost: own = 0n } of entries) {
        const counts = scope.counts?.({ name: `${provider}/${model}`, asked: modelAsked }) ?? true
        if (counts) cost += own
      }
      const { input, output } = hold
      settle(state, hold, { tokens: input + output, outputTokens: output, cost }, now)
      delete state.holds?.[id]
      state.lapsed ??= {}
      state.lapsed[id] = { cost, entries: entries.map((entry) => entry.id), at: now }
      deps.onLapsed?.(scopeKey(scope), id, hold)
    }
  }
}

/** Longer than crash recovery and late settlements take to come. */
const LAPSED_MS = 3_600_000

/** Whether a reservation has counted the entry, or will when it ends. */
function isCounted(state: ScopeState, { id, kind, requestId }: LedgerEntry): boolean {
  if (kind === 'attempt' && state.holds?.[requestId] !== undefined) return true
  return state.lapsed?.[requestId]?.entries.includes(id) === true
}

/** A state as text; the reverse of {@link readState}. */
export function writeState(state: ScopeState): string {
  return JSON.stringify(state, (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value,
  )
}

export function readState(text: string): ScopeState {
  // Only `writeState` writes these, and no other string in a state is digits and an n.
  const state: ScopeState = JSON.parse(text, (_, value: unknown) =>
    typeof value === 'string' && /^-?\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
  )
  return state
}

function lapsed(): GatewayError {
  return new GatewayError('unavailable', 'The reservation ran out before another attempt')
}

/** By id, each once: locks taken in one order cannot wait for each other in a circle. */
function inOrder(scopes: readonly Scope[]): Scope[] {
  const byId = new Map(scopes.map((scope) => [scopeKey(scope), scope]))
  return Array.from(byId.values()).toSorted((a, b) => (scopeKey(a) < scopeKey(b) ? -1 : 1))
}
