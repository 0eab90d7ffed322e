import { GatewayError } from '#errors'
import type { Budget, Demand, Grant, LimitStanding, NanoUsd, Scope, Settlement } from '#protocol'
import { formatUsd } from './money.ts'
import {
  add,
  advance,
  type Hold,
  type Ring,
  rolled,
  type ScopeState,
  secondsUntilFree,
  type WindowState,
} from './scope-state.ts'

/**
 * Output tokens that a request without a maximum of its own holds of a tokens-per-minute
 * limit; what it uses beyond is counted when it settles.
 */
const OPEN_ENDED_TOKENS = 1024

/** Concurrency frees itself at no known time; clients are asked to come back after this. */
const CONCURRENCY_RETRY_MS = 1000

export type Decision = Granted | { readonly ok: false; readonly refusal: GatewayError }

export interface Granted {
  readonly ok: true
  /** Output tokens granted; fewer than asked only where the demand is clampable. */
  readonly outputTokens: number
  readonly reserved: { readonly tokens: number; readonly cost: NanoUsd }
  /** What each scope holds, in the order of the scopes. */
  readonly holds: readonly Hold[]
  readonly standing: readonly LimitStanding[]
}

const NOTHING_HELD = Object.freeze({ tokens: 0, cost: 0n })

/** What a demand is granted where nothing limits it. */
export function unlimited({ outputTokens }: Demand): Granted {
  return { ok: true, outputTokens, reserved: NOTHING_HELD, holds: [], standing: [] }
}

/**
 * Holds a demand's upper bound in every scope, or in none.
 *
 * The rules: requests and tokens of any 60 s stay within their limits; `settled + reserved`
 * of each budget's window stays within its limit, a window being chosen by the moment of
 * admission. A demand whose caller set no maximum holds its input and at most
 * {@link OPEN_ENDED_TOKENS} of a token limit, and of money what the budgets can still afford.
 * Where a scope refuses, nothing changes in any.
 *
 * @param states one for each scope, with history ({@link withHistory}); changed in place
 * @param now Unix ms, for the budgets' windows
 * @param elapsed ms of a clock that is never set, for the minute's limits
 */
export function admit(
  states: readonly ScopeState[],
  scopes: readonly Scope[],
  demand: Demand,
  now: number,
  elapsed = now,
): Decision {
  const money = affordable(states, scopes, demand, now)
  if (money instanceof GatewayError) return { ok: false, refusal: money }

  let tokens: number | undefined
  for (let index = 0; index < scopes.length; index++) {
    const scope = scopes[index]!
    const state = states[index]!
    const { concurrency } = scope.limits
    if (concurrency !== undefined && state.open >= concurrency) {
      return { ok: false, refusal: tooManyOpen(scope, state.open, concurrency) }
    }
    if (state.ring !== undefined) {
      advance(state.ring, Math.floor(elapsed / 1000))
      const paced = paceOf(scope, state.ring, demand, now, elapsed)
      if (paced instanceof GatewayError) return { ok: false, refusal: paced }
      // The scope with the least left decides for all, so that all count the same tokens.
      if (paced !== undefined) tokens = Math.min(tokens ?? paced, paced)
    }
  }

  const held = tokens ?? 0
  const holds: Hold[] = []
  const standing: LimitStanding[] = []
  for (let index = 0; index < scopes.length; index++) {
    const scope = scopes[index]!
    const state = states[index]!
    holds.push(hold(state, scope, money.cost, held, now, elapsed))
    describe(standing, state, scope, now, elapsed)
  }
  return {
    ok: true,
    outputTokens: money.outputTokens,
    reserved: { tokens: held, cost: money.cost },
    holds,
    standing,
  }
}

export type Extension =
  | ({ readonly ok: true } & Pick<Grant, 'outputTokens' | 'reserved'>)
  | { readonly ok: false; readonly refusal: GatewayError }

/**
 * Holds what failed attempts of a request cost beside the bound of its next one, in every
 * scope or in none.
 *
 * Where money is short, a demand whose caller set no maximum gives up output for it. A budget
 * window that is over since the admission takes nothing more: what was spent in it is no
 * longer known here.
 *
 * @param holds what each scope holds for the request; changed in place, as the states are
 * @param spent by attempts that no hold covers yet
 */
export function extend(
  states: readonly ScopeState[],
  scopes: readonly Scope[],
  holds: readonly Hold[],
  granted: Pick<Grant, 'outputTokens' | 'reserved'>,
  demand: Demand,
  spent: Settlement,
  now: number,
  elapsed = now,
): Extension {
  const money = affordableBeside(states, scopes, holds, granted, demand, spent.cost, now)
  if (money instanceof GatewayError) return { ok: false, refusal: money }
  for (let index = 0; index < scopes.length; index++) {
    const scope = scopes[index]!
    const { ring } = states[index]!
    if (ring === undefined) continue
    advance(ring, Math.floor(elapsed / 1000))
    const { tokensPerMinute } = scope.limits
    if (tokensPerMinute === undefined) continue
    const free = tokensPerMinute - ring.tokenSum
    if (spent.tokens <= free) continue
    const wait = untilFree(ring, 'tokens', spent.tokens - free, elapsed)
    const refusal = tooFast(scope, 'tpm', tokensPerMinute, Math.max(0, free), now, wait)
    return { ok: false, refusal }
  }

  for (let index = 0; index < scopes.length; index++) {
    const state = states[index]!
    const held = holds[index]!
    held.cost += money.more
    held.tokens += spent.tokens
    if (state.ring !== undefined) add(state.ring, state.ring.tick, 0, spent.tokens)
    for (const kind of WINDOWS) {
      const window = state.windows[kind]
      if (window !== undefined && held.windows[kind] === window.number) {
        window.reserved += money.more
      }
    }
  }
  const { tokens, cost } = granted.reserved
  return {
    ok: true,
    outputTokens: money.outputTokens,
    reserved: { tokens: tokens + spent.tokens, cost: cost + money.more },
  }
}

/** Ends a request's part in the scope's concurrency, at the latest when it settles. */
export function freeSlot(state: ScopeState, held: Hold, elapsed: number): void {
  if (held.slotFree === true) return
  held.slotFree = true
  state.open = Math.max(0, state.open - 1)
  state.usedAt = elapsed
}

/**
 * Replaces what a scope holds for a request by what the request consumed.
 *
 * Money goes to the window the request was admitted in, or nowhere here if that is over
 * (the ledger has it). Tokens given back leave the second they were taken in; tokens beyond
 * the reservation count from now on.
 */
export function settle(
  state: ScopeState,
  held: Hold,
  settlement: Settlement,
  elapsed: number,
): void {
  freeSlot(state, held, elapsed)
  state.usedAt = elapsed
  for (const kind of WINDOWS) {
    const window = state.windows[kind]
    if (window === undefined) continue
    if (held.windows[kind] === window.number) window.reserved -= held.cost
    if (held.admittedAt >= window.start && held.admittedAt < window.end) {
      window.settled += settlement.cost
    }
  }
  const { ring } = state
  if (ring === undefined) return
  advance(ring, Math.floor(elapsed / 1000))
  const excess = settlement.tokens - held.tokens
  if (excess <= 0) add(ring, held.tick, 0, excess)
  else add(ring, ring.tick, 0, excess)
}

/** Adds money that no reservation covered to the windows that hold `at`: corrections, crash recovery. */
export function charge(state: ScopeState, cost: NanoUsd, at: number): void {
  for (const kind of WINDOWS) {
    const window = state.windows[kind]
    if (window !== undefined && at >= window.start && at < window.end) window.settled += cost
  }
}

/** How a scope's limits stand now. */
export function standingOf(
  state: ScopeState,
  scope: Scope,
  now: number,
  elapsed = now,
): readonly LimitStanding[] {
  const standing: LimitStanding[] = []
  if (state.ring) advance(state.ring, Math.floor(elapsed / 1000))
  for (const { window } of scope.limits.budgets ?? []) rolled(state, window, now)
  describe(standing, state, scope, now, elapsed)
  return standing
}

export const WINDOWS = ['day', 'week', 'month', 'total'] as const

/** What the budgets let the demand have: its bound, or less output where it may be clamped. */
function affordable(
  states: readonly ScopeState[],
  scopes: readonly Scope[],
  demand: Demand,
  now: number,
): Affordable | GatewayError {
  const tightest = tightestBudget(states, scopes, now)
  const { outputTokens } = demand
  // No budget holds money, so none is held.
  if (tightest === undefined) return { outputTokens, cost: 0n }
  if (demand.cost === undefined) return unpriced(tightest.scope)
  const fitting = fit(demand.cost, outputTokens, demand.clampable, tightest.remaining)
  if (typeof fitting !== 'bigint') return fitting
  return overBudget(tightest, fitting, 'this one may cost')
}

/**
 * What the budgets let a request have for another attempt, `spent` being held as well.
 *
 * @returns how much `more` than now is to be held
 */
function affordableBeside(
  states: readonly ScopeState[],
  scopes: readonly Scope[],
  holds: readonly Hold[],
  { outputTokens }: Pick<Grant, 'outputTokens'>,
  { cost, clampable }: Demand,
  spent: NanoUsd,
  now: number,
): { readonly outputTokens: number; readonly more: NanoUsd } | GatewayError {
  const tightest = tightestBudget(states, scopes, now)
  if (tightest === undefined || cost === undefined || spent === 0n) {
    return { outputTokens, more: 0n }
  }
  for (let index = 0; index < scopes.length; index++) {
    for (const { window } of scopes[index]!.limits.budgets ?? []) {
      const isOver = states[index]!.windows[window]?.number !== holds[index]!.windows[window]
      if (isOver) return windowOver(scopes[index]!, window)
    }
  }
  const held = cost(outputTokens)
  const fitting = fit(cost, outputTokens, clampable, tightest.remaining + held - spent)
  if (typeof fitting !== 'bigint') {
    return { outputTokens: fitting.outputTokens, more: spent + fitting.cost - held }
  }
  return overBudget(tightest, spent + fitting - held, 'another attempt takes')
}

interface Tightest {
  readonly scope: Scope
  readonly budget: Budget
  readonly window: WindowState
  readonly remaining: NanoUsd
}

/** The budget with the least left, of all scopes. */
function tightestBudget(
  states: readonly ScopeState[],
  scopes: readonly Scope[],
  now: number,
): Tightest | undefined {
  let tightest: Tightest | undefined
  for (let index = 0; index < scopes.length; index++) {
    const scope = scopes[index]!
    const { budgets } = scope.limits
    if (budgets === undefined) continue
    for (const budget of budgets) {
      const window = rolled(states[index]!, budget.window, now)
      const remaining = budget.limit - window.settled - window.reserved
      if (tightest === undefined || remaining < tightest.remaining) {
        tightest = { scope, budget, window, remaining }
      }
    }
  }
  return tightest
}

interface Affordable {
  readonly outputTokens: number
  readonly cost: NanoUsd
}

/**
 * As much output as the money is enough for: all of it, or less where it may be clamped.
 *
 * @returns the least that would be needed, where it is not enough for any
 */
function fit(
  cost: (outputTokens: number) => NanoUsd,
  outputTokens: number,
  clampable: boolean,
  money: NanoUsd,
): Affordable | NanoUsd {
  const full = cost(outputTokens)
  // What is free is never refused for want of money.
  if (full <= money || full === 0n) return { outputTokens, cost: full }
  const least = clampable && outputTokens > 0 ? cost(1) : full
  if (least > money && least !== 0n) return least
  const granted = largest(1, outputTokens, (tokens) => {
    const bound = cost(tokens)
    return bound <= money || bound === 0n
  })
  return { outputTokens: granted, cost: cost(granted) }
}

/** The largest whole number in `[least, most)` that passes; `least` passes, `most` does not. */
function largest(least: number, most: number, passes: (value: number) => boolean): number {
  let low = least
  let high = most
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (passes(middle)) low = middle
    else high = middle
  }
  return low
}

/**
 * Tokens the demand takes of a scope's minute; `undefined` where only requests are limited.
 */
function paceOf(
  scope: Scope,
  ring: Ring,
  demand: Demand,
  now: number,
  elapsed: number,
): number | undefined | GatewayError {
  const { requestsPerMinute, tokensPerMinute } = scope.limits
  if (requestsPerMinute !== undefined && ring.requestSum >= requestsPerMinute) {
    const excess = ring.requestSum - requestsPerMinute + 1
    const wait = untilFree(ring, 'requests', excess, elapsed)
    return tooFast(scope, 'rpm', requestsPerMinute, 0, now, wait)
  }
  if (tokensPerMinute === undefined) return undefined

  const { inputTokens, outputTokens } = demand
  const most = demand.clampable ? Math.min(outputTokens, OPEN_ENDED_TOKENS) : outputTokens
  const least = inputTokens + (demand.clampable ? Math.min(outputTokens, 1) : outputTokens)
  const free = tokensPerMinute - ring.tokenSum
  if (least <= free) return Math.min(inputTokens + most, free)
  if (least > tokensPerMinute) return neverFits(scope, least, tokensPerMinute)
  const wait = untilFree(ring, 'tokens', least - free, elapsed)
  return tooFast(scope, 'tpm', tokensPerMinute, Math.max(0, free), now, wait)
}

function hold(
  state: ScopeState,
  { limits }: Scope,
  cost: NanoUsd,
  tokens: number,
  now: number,
  elapsed: number,
): Hold {
  state.open++
  state.usedAt = elapsed
  if (state.ring !== undefined) add(state.ring, state.ring.tick, 1, tokens)
  const windows: { [kind in Budget['window']]?: number } = {}
  if (limits.budgets !== undefined) {
    for (const { window: kind } of limits.budgets) {
      const window = state.windows[kind]
      // Two budgets may share a window; it holds the money once.
      if (window === undefined || windows[kind] !== undefined) continue
      window.reserved += cost
      windows[kind] = window.number
    }
  }
  const tick = state.ring?.tick ?? -1
  return { cost, tokens, tick, windows, admittedAt: now, slotFree: false }
}

function describe(
  standing: LimitStanding[],
  state: ScopeState,
  scope: Scope,
  now: number,
  elapsed: number,
): void {
  const { requestsPerMinute, tokensPerMinute, concurrency, budgets } = scope.limits
  const { ring } = state
  if (ring !== undefined) {
    const idle = ring.requestSum === 0 && ring.tokenSum === 0
    const resetsAt = idle ? now : now + 61_000 - Math.floor(elapsed % 1000)
    if (requestsPerMinute !== undefined) {
      const remaining = left(requestsPerMinute, ring.requestSum)
      standing.push({
        scope,
        limit: 'requests',
        max: BigInt(requestsPerMinute),
        remaining,
        resetsAt,
      })
    }
    if (tokensPerMinute !== undefined) {
      const remaining = left(tokensPerMinute, ring.tokenSum)
      standing.push({ scope, limit: 'tokens', max: BigInt(tokensPerMinute), remaining, resetsAt })
    }
  }
  if (concurrency !== undefined) {
    const remaining = left(concurrency, state.open)
    standing.push({ scope, limit: 'concurrency', max: BigInt(concurrency), remaining })
  }
  if (budgets === undefined) return
  for (const { window: kind, limit } of budgets) {
    const window = state.windows[kind]
    if (window === undefined) continue
    const remaining = limit - window.settled - window.reserved
    standing.push({
      scope,
      limit: 'budget',
      window: kind,
      max: limit,
      remaining: remaining > 0n ? remaining : 0n,
      ...(kind === 'total' ? {} : { resetsAt: window.end }),
    })
  }
}

function left(limit: number, used: number): bigint {
  return BigInt(Math.max(0, limit - used))
}

function untilFree(ring: Ring, of: 'requests' | 'tokens', amount: number, elapsed: number): number {
  return secondsUntilFree(ring, of, amount) * 1000 - Math.floor(elapsed % 1000)
}

function tooManyOpen(scope: Scope, open: number, max: number): GatewayError {
  return new GatewayError(
    'rate_limit_exceeded',
    `${title(scope)} has ${open} requests under way, and ${max} is its limit; try again when one has ended`,
    { details: rateDetails(scope, 'concurrency', max, 0), retryAfterMs: CONCURRENCY_RETRY_MS },
  )
}

function tooFast(
  scope: Scope,
  limit: 'rpm' | 'tpm',
  max: number,
  remaining: number,
  now: number,
  retryAfterMs: number,
): GatewayError {
  const what = limit === 'rpm' ? 'requests' : 'tokens'
  return new GatewayError(
    'rate_limit_exceeded',
    `${title(scope)} is at its limit of ${max} ${what} per minute; try again in ${Math.ceil(retryAfterMs / 1000)} s`,
    {
      details: {
        ...rateDetails(scope, limit, max, remaining),
        resets_at: new Date(now + retryAfterMs).toISOString(),
      },
      retryAfterMs,
    },
  )
}

function neverFits(scope: Scope, needed: number, max: number): GatewayError {
  return new GatewayError(
    'rate_limit_exceeded',
    `The request may use ${needed} tokens, and ${title(scope)} may use ${max} per minute: it can never fit. Shorten the prompt or lower the maximum of output tokens`,
    { details: { ...rateDetails(scope, 'tpm', max, 0), needed }, retryable: false },
  )
}

function rateDetails(scope: Scope, limit: string, max: number, remaining: number) {
  return { limit, scope: scope.kind, scope_id: scope.id, max, remaining }
}

function unpriced(scope: Scope): GatewayError {
  return new GatewayError(
    'unpriced_model',
    `The model has no known price, and ${title(scope)} has a budget that such a request would escape`,
    { details: { scope: scope.kind, scope_id: scope.id, name: scope.name } },
  )
}

/** @param what the request does with the money needed: `this one may cost` */
function overBudget(
  { scope, budget, window: { settled, reserved, end } }: Tightest,
  needed: NanoUsd,
  what: string,
): GatewayError {
  const resets = budget.window === 'total' ? undefined : new Date(end).toISOString()
  const span = budget.window === 'total' ? 'in total' : `per ${budget.window}`
  return new GatewayError(
    'insufficient_quota',
    `${title(scope)} may spend ${formatUsd(budget.limit)} USD ${span}: ${formatUsd(settled)} is spent, ` +
      `${formatUsd(reserved)} is held by requests under way, and ${what} ${formatUsd(needed)}. ` +
      (needed > budget.limit
        ? 'It can never fit: shorten it or ask for a higher budget'
        : resets === undefined
          ? 'Ask for a higher budget'
          : `The budget will reset at ${resets}`),
    {
      details: {
        scope: scope.kind,
        scope_id: scope.id,
        name: scope.name,
        limit: formatUsd(budget.limit),
        spent: formatUsd(settled),
        reserved: formatUsd(reserved),
        needed: formatUsd(needed),
        currency: 'USD',
        window: budget.window,
        ...(resets === undefined ? {} : { resets_at: resets }),
      },
    },
  )
}

function windowOver(scope: Scope, window: Budget['window']): GatewayError {
  return new GatewayError(
    'insufficient_quota',
    `The ${window} that ${title(scope)} was admitted in is over, and can pay for no other attempt`,
    { details: { scope: scope.kind, scope_id: scope.id, name: scope.name, window } },
  )
}

function title(scope: Scope): string {
  const kind = scope.kind.charAt(0).toUpperCase() + scope.kind.slice(1)
  return scope.name === '' ? `${kind} ${scope.id}` : `${kind} "${scope.name}"`
}
