import { GatewayError } from '#errors'
import type { Budget, Demand, Grant, LimitStanding, NanoUsd, Scope, Settlement } from '#protocol'
import { neverFits, overBudget, tooFast, tooManyOpen, unpriced, windowOver } from './refusals.ts'
import { capOf, quotasOf, type Rate } from './quotas.ts'
import {
  add,
  advance,
  type Hold,
  rolled,
  rolledDay,
  type ScopeState,
  secondsUntilFree,
  type WindowState,
} from './scope-state.ts'
import { describe, describeBudget } from './standing.ts'

/**
 * Output tokens that a request without a maximum of its own holds of a limit of tokens; what
 * it uses beyond is counted when it settles.
 */
const OPEN_ENDED_TOKENS = 1024

export type Decision = Granted | { readonly ok: false; readonly refusal: GatewayError }

export interface Granted {
  readonly ok: true
  /** Output tokens granted; fewer than asked only where the demand is clampable. */
  readonly outputTokens: number
  readonly reserved: { readonly tokens: number; readonly cost: NanoUsd }
  /** What each scope holds, in the order of the scopes. */
  readonly holds: readonly Hold[]
  readonly standing: readonly LimitStanding[]
  /** What kept the output below what was asked. */
  readonly clampedBy?: LimitStanding
}

const NOTHING_HELD = Object.freeze({ tokens: 0, cost: 0n })

/** What a demand is granted where nothing limits it. */
export function unlimited({ outputTokens }: Demand): Granted {
  return { ok: true, outputTokens, reserved: NOTHING_HELD, holds: [], standing: [] }
}

/**
 * Holds a demand's upper bound in every scope, or in none.
 *
 * The rules: requests and tokens of any 60 s, and of the day, stay within their limits;
 * `settled + reserved` of each hard budget's window stays within its limit, a window being
 * chosen by the moment of admission. A soft budget lets pass. A demand whose caller set no maximum holds its input and at most
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

  const least = leastOutput(demand)
  // The scope with the least left decides for all, so that all count the same tokens.
  let output = demand.clampable
    ? Math.min(demand.outputTokens, OPEN_ENDED_TOKENS)
    : demand.outputTokens
  let holdsTokens = false
  for (let index = 0; index < scopes.length; index++) {
    const scope = scopes[index]!
    const state = states[index]!
    const { concurrency } = scope.limits
    if (concurrency !== undefined && state.open >= concurrency) {
      return { ok: false, refusal: tooManyOpen(scope, state.open, concurrency) }
    }
    const { rates, perMinute, perDay, tokens } = quotasOf(scope.limits)
    if (perMinute) advance(state.ring!, Math.floor(elapsed / 1000))
    if (perDay) rolledDay(state, now)
    if (tokens) holdsTokens = true
    for (let each = 0; each < rates.length; each++) {
      const rate = rates[each]!
      const free = rate.max - usedOf(state, rate)
      const needed = neededOf(rate, demand.inputTokens, least)
      if (needed > free)
        return { ok: false, refusal: pacing(scope, state, rate, needed, now, elapsed) }
      if (rate.measure === 'output') output = Math.min(output, free)
      else if (rate.measure === 'tokens') output = Math.min(output, free - demand.inputTokens)
    }
  }

  const input = holdsTokens ? demand.inputTokens : 0
  if (!holdsTokens) output = 0
  const holds: Hold[] = []
  for (let index = 0; index < scopes.length; index++) {
    holds.push(hold(states[index]!, scopes[index]!, money.cost, input, output, now, elapsed))
  }
  const standing: LimitStanding[] = []
  for (let index = 0; index < scopes.length; index++) {
    describe(standing, states[index]!, scopes[index]!, now, elapsed)
  }
  const { clampedBy } = money
  return {
    ok: true,
    outputTokens: money.outputTokens,
    reserved: { tokens: input + output, cost: money.cost },
    holds,
    standing,
    ...(clampedBy !== undefined && {
      clampedBy: describeBudget(clampedBy.scope, clampedBy.budget, clampedBy.window, now),
    }),
  }
}

/**
 * The hard budget that holds more than it may after `cost` was held in the scopes; `undefined`
 * where none does. There must be none: this is asked to notice a fault of ours, and looks at
 * nothing but the states. What passes free of cost may meet a budget that is overrun.
 */
export function brokenBudget(
  states: readonly ScopeState[],
  scopes: readonly Scope[],
  cost: NanoUsd,
  now: number,
): { readonly scope: Scope; readonly budget: Budget } | undefined {
  if (cost <= 0n) return undefined
  for (let index = 0; index < scopes.length; index++) {
    const scope = scopes[index]!
    const { budgets } = scope.limits
    if (budgets === undefined) continue
    for (const budget of budgets) {
      if (budget.policy === 'soft') continue
      const window = states[index]!.windows[budget.window]
      if (window === undefined || window.settled + window.reserved > capOf(budget, now)) {
        return { scope, budget }
      }
    }
  }
  return undefined
}

/** What a rate has left of requests, or of tokens in a way. */
function usedOf({ ring, day }: ScopeState, { measure, window }: Rate): number {
  if (window === 'minute') {
    if (measure === 'requests') return ring!.requestSum
    if (measure === 'input') return ring!.inputSum
    if (measure === 'output') return ring!.outputSum
    return ring!.inputSum + ring!.outputSum
  }
  if (measure === 'tokens') return day!.input + day!.output
  return day![measure]
}

function neededOf({ measure }: Rate, input: number, output: number): number {
  if (measure === 'requests') return 1
  if (measure === 'input') return input
  if (measure === 'output') return output
  return input + output
}

function pacing(
  scope: Scope,
  state: ScopeState,
  rate: Rate,
  needed: number,
  now: number,
  elapsed: number,
): GatewayError {
  if (needed > rate.max) return neverFits(scope, rate, needed)
  const used = usedOf(state, rate)
  const waitMs =
    rate.window === 'day'
      ? Math.max(1000, state.day!.end - now)
      : secondsUntilFree(state.ring!, rate.measure, needed - rate.max + used) * 1000 -
        Math.floor(elapsed % 1000)
  return tooFast(scope, rate, used, now, waitMs)
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
    const state = states[index]!
    const { rates, perMinute, perDay } = quotasOf(scope.limits)
    if (perMinute) advance(state.ring!, Math.floor(elapsed / 1000))
    if (perDay) rolledDay(state, now)
    for (const rate of rates) {
      if (rate.measure === 'requests') continue
      const needed = neededOf(rate, inputOf(spent), spent.outputTokens ?? 0)
      if (needed <= rate.max - usedOf(state, rate)) continue
      // It can fit later, though it is more than a whole minute has: the attempt was made.
      const most = Math.min(needed, rate.max)
      return { ok: false, refusal: pacing(scope, state, rate, most, now, elapsed) }
    }
  }

  for (let index = 0; index < scopes.length; index++) {
    const state = states[index]!
    const held = holds[index]!
    held.cost += money.more
    const input = inputOf(spent)
    const output = spent.outputTokens ?? 0
    held.input += input
    held.output += output
    if (state.ring !== undefined) add(state.ring, state.ring.tick, 0, input, output)
    count(state, held, 0, input, output)
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
  const input = inputOf(settlement) - held.input
  const output = (settlement.outputTokens ?? 0) - held.output
  count(state, held, 0, input, output)
  const { ring } = state
  if (ring === undefined) return
  advance(ring, Math.floor(elapsed / 1000))
  add(ring, input <= 0 ? held.tick : ring.tick, 0, input, 0)
  add(ring, output <= 0 ? held.tick : ring.tick, 0, 0, output)
}

/** Takes back a grant as if it had never been. */
export function undo(state: ScopeState, held: Hold, elapsed: number): void {
  settle(state, held, { tokens: 0, cost: 0n }, elapsed)
  if (state.ring !== undefined) add(state.ring, held.tick, -1, 0, 0)
  count(state, held, -1, 0, 0)
}

/** Counts what is used of the day the hold is of, unless that is over. */
function count(
  { day }: ScopeState,
  held: Hold,
  requests: number,
  input: number,
  output: number,
): void {
  if (day === undefined || held.day !== day.number) return
  day.requests = Math.max(0, day.requests + requests)
  day.input = Math.max(0, day.input + input)
  day.output = Math.max(0, day.output + output)
}

function inputOf({ tokens, outputTokens = 0 }: Settlement): number {
  return tokens - outputTokens
}

/** What a settlement counts for a scope: of one for some models, only what was used of these. */
export function portionFor(
  { counts }: Scope,
  settlement: Settlement,
): Pick<Settlement, 'tokens' | 'outputTokens' | 'cost'> {
  const { parts } = settlement
  if (counts === undefined || parts === undefined) return settlement
  let [tokens, outputTokens, cost] = [0, 0, 0n]
  for (const part of parts) {
    if (!counts(part.used)) continue
    tokens += part.tokens
    outputTokens += part.outputTokens ?? 0
    cost += part.cost
  }
  return { tokens, outputTokens, cost }
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
  if (quotasOf(scope.limits).perDay) rolledDay(state, now)
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
  if (tightest === undefined) return { outputTokens, cost: boundWithout(scopes, demand) }
  if (demand.cost === undefined) return unpriced(tightest.scope)
  const fitting = fit(demand.cost, outputTokens, leastOutput(demand), tightest.remaining)
  if (typeof fitting === 'bigint') return overBudget(tightest, fitting, now, 'this one may cost')
  return fitting.outputTokens < outputTokens ? { ...fitting, clampedBy: tightest } : fitting
}

/** What is held where no hard budget asks for it: nothing, unless a soft one counts it. */
function boundWithout(scopes: readonly Scope[], { cost, outputTokens }: Demand): NanoUsd {
  const isCounted = scopes.some(({ limits: { budgets } }) => budgets !== undefined)
  return isCounted && cost !== undefined ? cost(outputTokens) : 0n
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
  demand: Demand,
  spent: NanoUsd,
  now: number,
): { readonly outputTokens: number; readonly more: NanoUsd } | GatewayError {
  const { cost } = demand
  const tightest = tightestBudget(states, scopes, now)
  if (cost === undefined || spent === 0n) return { outputTokens, more: 0n }
  if (tightest === undefined) {
    const isCounted = scopes.some(({ limits: { budgets } }) => budgets !== undefined)
    return { outputTokens, more: isCounted ? spent : 0n }
  }
  for (let index = 0; index < scopes.length; index++) {
    for (const { window, policy } of scopes[index]!.limits.budgets ?? []) {
      if (policy === 'soft') continue
      const isOver = states[index]!.windows[window]?.number !== holds[index]!.windows[window]
      if (isOver) return windowOver(scopes[index]!, window)
    }
  }
  const held = cost(outputTokens)
  const least = Math.min(leastOutput(demand), outputTokens)
  const fitting = fit(cost, outputTokens, least, tightest.remaining + held - spent)
  if (typeof fitting !== 'bigint') {
    return { outputTokens: fitting.outputTokens, more: spent + fitting.cost - held }
  }
  return overBudget(tightest, spent + fitting - held, now, 'another attempt takes')
}

export interface Tightest {
  readonly scope: Scope
  readonly budget: Budget
  readonly window: WindowState
  readonly remaining: NanoUsd
}

/** The hard budget with the least left, of all scopes. The windows of all are this moment's then. */
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
      if (budget.policy === 'soft') continue
      const remaining = capOf(budget, now) - window.settled - window.reserved
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
  readonly clampedBy?: Tightest
}

/** The least output a demand can be granted: where it may be clamped, a token of each answer. */
function leastOutput({ clampable, answers = 1, outputTokens }: Demand): number {
  return clampable ? Math.min(outputTokens, answers) : outputTokens
}

/**
 * As much output as the money is enough for: all of it, or less where it may be clamped.
 *
 * @returns the least that would be needed, where it is not enough for any
 */
function fit(
  cost: (outputTokens: number) => NanoUsd,
  outputTokens: number,
  least: number,
  money: NanoUsd,
): Affordable | NanoUsd {
  const full = cost(outputTokens)
  // What is free is never refused for want of money.
  if (full <= money || full === 0n) return { outputTokens, cost: full }
  const needed = least < outputTokens ? cost(least) : full
  if (needed > money && needed !== 0n) return needed
  const granted = largest(least, outputTokens, (tokens) => {
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

function hold(
  state: ScopeState,
  { limits }: Scope,
  cost: NanoUsd,
  input: number,
  output: number,
  now: number,
  elapsed: number,
): Hold {
  state.open++
  state.usedAt = elapsed
  if (state.ring !== undefined) {
    advance(state.ring, Math.floor(elapsed / 1000))
    add(state.ring, state.ring.tick, 1, input, output)
  }
  const day = state.day === undefined ? undefined : rolledDay(state, now)
  if (day !== undefined) {
    day.requests++
    day.input += input
    day.output += output
  }
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
  return {
    cost,
    input,
    output,
    tick,
    ...(day !== undefined && { day: day.number }),
    windows,
    admittedAt: now,
    slotFree: false,
  }
}
