import type { Grant, Scope, Settlement } from '#protocol'
import type { Granted } from './admission.ts'
import { type Hold, scopeKey, type ScopeState } from './scope-state.ts'

/** Told of a grant that was not settled exactly once, or by negative or broken numbers. */
export type OnFault = (message: string, grantId: string) => void

/** A grant of this folder, with what its admission needs to change it. */
export class HeldGrant implements Grant {
  readonly id: string
  readonly admittedAt: number
  outputTokens: number
  reserved: Grant['reserved']
  readonly standing: Grant['standing']
  readonly clampedBy?: NonNullable<Grant['clampedBy']>
  /** Those that hold something for it. */
  readonly scopes: readonly Scope[]
  /** What each scope holds, and where; empty where a database keeps that, under the grant's id. */
  readonly holds: readonly Hold[]
  readonly states: readonly ScopeState[]
  /** Limits on some models need to know what was used of each. */
  readonly byModel: boolean
  settled = false

  constructor(
    id: string,
    admittedAt: number,
    decision: Granted,
    scopes: readonly Scope[],
    states: readonly ScopeState[] = [],
  ) {
    this.id = id
    this.admittedAt = admittedAt
    this.outputTokens = decision.outputTokens
    this.reserved = decision.reserved
    this.standing = decision.standing
    if (decision.clampedBy !== undefined) this.clampedBy = decision.clampedBy
    this.scopes = scopes
    this.byModel = scopes.some(({ counts }) => counts !== undefined)
    this.holds = states.length > 0 ? decision.holds : []
    this.states = states
  }
}

/** @throws TypeError for one that is of nowhere here */
export function held(grant: Grant): HeldGrant {
  if (grant instanceof HeldGrant) return grant
  throw new TypeError('The grant is of another admission')
}

export function holdsFor(grant: Grant, scope: Scope): boolean {
  const key = scopeKey(scope)
  return held(grant).scopes.some((one) => scopeKey(one) === key)
}

/**
 * Marks a grant as settled.
 *
 * @returns a settlement that cannot credit anyone: amounts below zero or no numbers count as
 *   zero; `undefined` where the grant was settled before
 */
export function settlementOf(
  grant: HeldGrant,
  settlement: Settlement,
  onFault: OnFault | undefined,
): Settlement | undefined {
  if (grant.settled) {
    onFault?.('A grant was settled twice', grant.id)
    return undefined
  }
  grant.settled = true
  const { tokens, outputTokens = 0, cost } = settlement
  const hasTokens = Number.isSafeInteger(tokens) && outputTokens >= 0 && tokens >= outputTokens
  if (hasTokens && cost >= 0n) return settlement
  onFault?.('A settlement was not a usable amount', grant.id)
  return {
    tokens: hasTokens ? tokens : 0,
    outputTokens: hasTokens ? outputTokens : 0,
    cost: cost >= 0n ? cost : 0n,
  }
}
