import type { Budget, NanoUsd, Scope } from '#protocol'
import { type Window, windowAt } from './windows.ts'

/**
 * One second per bucket. Any 60 s touch at most 61 of them, so what these hold together is
 * never less than what was used in any minute.
 */
const BUCKETS = 61

/** Longer than a minute's counts matter, and than a settled entry takes to its commit. */
const IDLE_MS = 180_000

export type WindowKind = Budget['window']

/** What the admission of one scope remembers. Changed in place, by the functions of this folder only. */
export interface ScopeState {
  /** Present once requests or tokens were limited. */
  ring?: Ring
  /** Requests under way; one that is over may still hold money until it is counted. */
  open: number
  /** The zone the windows were computed in. */
  timeZone: string
  /** Present for each window that a budget was set for. */
  windows: { [kind in WindowKind]?: WindowState }
  /** Windows opened so far; numbers them. */
  opened: number
  /** When it was last admitted for or settled, in ms of the clock that is never set. */
  usedAt: number
  /** Open reservations with their leases; kept where several processes share the state. */
  holds?: Record<string, Hold>
}

export interface WindowState extends Window {
  /** Unlike any other window's of this scope, so that money goes back to where it was taken. */
  readonly number: number
  settled: NanoUsd
  reserved: NanoUsd
}

export interface Ring {
  /** The clock's second the newest bucket stands for. */
  second: number
  /** Seconds this ring has moved on by; buckets go by this, so that a clock set back moves nothing. */
  tick: number
  readonly requests: number[]
  readonly tokens: number[]
  requestSum: number
  tokenSum: number
}

/** What one grant took of one scope. Changed in place as the states are. */
export interface Hold {
  cost: NanoUsd
  tokens: number
  /** The ring's tick at admission; -1 without a ring. */
  readonly tick: number
  /** Numbers of the windows the cost is reserved in. */
  readonly windows: { readonly [kind in WindowKind]?: number }
  /** Unix ms of the admission. */
  readonly admittedAt: number
  /** The request is over, and counts among those under way no more. */
  slotFree?: boolean
  /** Unix ms after which the hold counts as abandoned; absent in a process's own memory. */
  expiresAt?: number
}

/** What happened to a scope before its state was in memory. */
export interface History {
  /** Settled so far in each of the windows asked for. */
  readonly spent: { readonly [kind in WindowKind]?: NanoUsd }
  /** Requests of the last minute; empty where nobody can say. */
  readonly recent: readonly {
    readonly at: number
    readonly requests: number
    readonly tokens: number
  }[]
}

export const NO_HISTORY: History = { spent: {}, recent: [] }

/** A window whose spend must be known before the scope can be asked. */
export interface WindowQuery {
  readonly kind: WindowKind
  /** Unix ms, inclusive. */
  readonly start: number
}

const NO_WINDOWS: readonly WindowQuery[] = []

/** The windows of the scope's budgets that the state knows nothing of; usually none. */
export function missingWindows(
  state: ScopeState | undefined,
  scope: Scope,
  now: number,
): readonly WindowQuery[] {
  const { budgets } = scope.limits
  if (budgets === undefined) return NO_WINDOWS
  const known = state?.timeZone === scope.timeZone ? state.windows : undefined
  let missing: WindowQuery[] | undefined
  for (const { window: kind } of budgets) {
    if (known?.[kind] !== undefined || missing?.some((query) => query.kind === kind)) continue
    missing ??= []
    missing.push({ kind, start: windowAt(kind, scope.timeZone, now).start })
  }
  return missing ?? NO_WINDOWS
}

/**
 * Brings a scope's state up to what its limits need, from what the ledger says; a new one
 * where there was none. Known windows stay, unless the scope's time zone changed.
 */
export function withHistory(
  state: ScopeState | undefined,
  scope: Scope,
  history: History,
  now: number,
  elapsed = now,
): ScopeState {
  const next = state ?? {
    open: 0,
    timeZone: scope.timeZone,
    windows: {},
    opened: 0,
    usedAt: elapsed,
  }
  if (next.timeZone !== scope.timeZone) {
    next.timeZone = scope.timeZone
    next.windows = {}
  }
  for (const { window: kind } of scope.limits.budgets ?? []) {
    if (!next.windows[kind]) openWindow(next, kind, now, history.spent[kind] ?? 0n)
  }
  if (next.ring === undefined && isPaced(scope)) {
    next.ring = newRing(Math.floor(elapsed / 1000))
    for (const { at, requests, tokens } of history.recent) {
      const age = Math.max(0, Math.floor((now - at) / 1000))
      add(next.ring, next.ring.tick - age, requests, tokens)
    }
  }
  return next
}

export function isPaced({ limits }: Scope): boolean {
  return limits.requestsPerMinute !== undefined || limits.tokensPerMinute !== undefined
}

/** Whether admission has anything to ask of the scope. */
export function isLimited({ limits }: Scope): boolean {
  return (
    limits.requestsPerMinute !== undefined ||
    limits.tokensPerMinute !== undefined ||
    limits.concurrency !== undefined ||
    (limits.budgets !== undefined && limits.budgets.length > 0)
  )
}

/** The state's window at `now`. A clock set back does not bring an earlier window back. */
export function rolled(state: ScopeState, kind: WindowKind, now: number): WindowState {
  const window = state.windows[kind]
  return window !== undefined && now < window.end ? window : openWindow(state, kind, now, 0n)
}

function openWindow(
  state: ScopeState,
  kind: WindowKind,
  now: number,
  settled: NanoUsd,
): WindowState {
  const { start, end } = windowAt(kind, state.timeZone, now)
  state.opened++
  const window = { start, end, number: state.opened, settled, reserved: 0n }
  state.windows[kind] = window
  return window
}

/**
 * Moves the ring to the clock's second. A clock that went back leaves every count where it
 * is, to age from now on.
 */
export function advance(ring: Ring, second: number): void {
  const steps = second - ring.second
  ring.second = second
  if (steps <= 0) return
  if (steps >= BUCKETS) {
    ring.requests.fill(0)
    ring.tokens.fill(0)
    ring.requestSum = 0
    ring.tokenSum = 0
  } else {
    for (let step = 1; step <= steps; step++) {
      const index = (ring.tick + step) % BUCKETS
      ring.requestSum -= ring.requests[index] ?? 0
      ring.tokenSum -= ring.tokens[index] ?? 0
      ring.requests[index] = 0
      ring.tokens[index] = 0
    }
  }
  ring.tick += steps
}

/** Adds to the bucket of a tick; nothing where that bucket is gone. Counts never fall below zero. */
export function add(ring: Ring, tick: number, requests: number, tokens: number): void {
  if (ring.tick - tick >= BUCKETS || tick > ring.tick) return
  const index = tick % BUCKETS
  const requestsBefore = ring.requests[index] ?? 0
  const tokensBefore = ring.tokens[index] ?? 0
  const requestsAfter = Math.max(0, requestsBefore + requests)
  const tokensAfter = Math.max(0, tokensBefore + tokens)
  ring.requests[index] = requestsAfter
  ring.tokens[index] = tokensAfter
  ring.requestSum += requestsAfter - requestsBefore
  ring.tokenSum += tokensAfter - tokensBefore
}

/** Seconds until `amount` of what the buckets hold is out of the minute. */
export function secondsUntilFree(ring: Ring, of: 'requests' | 'tokens', amount: number): number {
  const buckets = ring[of]
  let freed = 0
  for (let age = BUCKETS - 1; age > 0; age--) {
    freed += buckets[(ring.tick - age) % BUCKETS] ?? 0
    if (freed >= amount) return BUCKETS - age
  }
  return BUCKETS
}

function newRing(second: number): Ring {
  return {
    second,
    // Starts where buckets of the minute before have ticks of their own.
    tick: BUCKETS,
    requests: Array<number>(BUCKETS).fill(0),
    tokens: Array<number>(BUCKETS).fill(0),
    requestSum: 0,
    tokenSum: 0,
  }
}

/** Nothing is under way or uncommitted, no count matters: the ledger can give the state back. */
export function isIdle({ open, usedAt, windows }: ScopeState, elapsed: number): boolean {
  if (open > 0 || elapsed - usedAt <= IDLE_MS) return false
  return Object.values(windows).every(({ reserved }) => reserved === 0n)
}
