import type { Budget, NanoUsd, Scope } from '#protocol'
import { quotasOf } from './quotas.ts'
import { type Calendar, type Window, windowAt } from './windows.ts'

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
  /** Present once requests or tokens of a minute were limited. */
  ring?: Ring
  /** Present once requests or tokens of a day were limited. */
  day?: DayCount
  /** Requests under way; one that is over may still hold money until it is counted. */
  open: number
  /** What the windows were computed by. */
  calendar: Calendar
  /** Present for each window that a budget was set for. */
  windows: { [kind in WindowKind]?: WindowState }
  /** Windows opened so far; numbers them. */
  opened: number
  /** When it was last admitted for or settled, in ms of the clock that is never set. */
  usedAt: number
  /** Open reservations with their leases; kept where several processes share the state. */
  holds?: Record<string, Hold>
  /** Requests whose lease ran out lately, and what of them was counted then. */
  lapsed?: Record<string, Lapsed>
}

export interface Lapsed {
  cost: NanoUsd
  /** Of the entries that were counted. */
  readonly entries: string[]
  /** Unix ms. */
  readonly at: number
}

export interface WindowState extends Window {
  /** Unlike any other window's of this scope, so that money goes back to where it was taken. */
  readonly number: number
  settled: NanoUsd
  reserved: NanoUsd
}

/** What was used of a day, or is held. */
export interface DayCount extends Window {
  /** Unlike any other day's of this scope. */
  readonly number: number
  requests: number
  input: number
  output: number
}

export interface Ring {
  /** The clock's second the newest bucket stands for. */
  second: number
  /** Seconds this ring has moved on by; buckets go by this, so that a clock set back moves nothing. */
  tick: number
  readonly requests: number[]
  readonly input: number[]
  readonly output: number[]
  requestSum: number
  inputSum: number
  outputSum: number
}

/** What one grant took of one scope. Changed in place as the states are. */
export interface Hold {
  cost: NanoUsd
  input: number
  output: number
  /** The ring's tick at admission; -1 without a ring. */
  readonly tick: number
  /** Number of the day; absent where days are not counted. */
  readonly day?: number
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
  readonly recent: readonly (Used & { readonly at: number })[]
  /** Of the day, where asked for. */
  readonly day?: Used
}

export interface Used {
  readonly requests: number
  /** Tokens. */
  readonly input: number
  readonly output: number
}

export const NO_HISTORY: History = { spent: {}, recent: [] }

/** A window whose spend must be known before the scope can be asked. */
export interface WindowQuery {
  readonly kind: WindowKind
  /** Unix ms, inclusive. */
  readonly start: number
}

/** What has to be known of the ledger. Undefined where nothing has. */
export interface Missing {
  readonly windows: readonly WindowQuery[]
  /** Unix ms: of the last minute; absent where known. */
  readonly recentSince?: number
  /** Unix ms: of the day; absent where known. */
  readonly daySince?: number
}

/** What of the scope's history the state does not know; usually nothing. */
export function missingOf(
  state: ScopeState | undefined,
  scope: Scope,
  now: number,
): Missing | undefined {
  const isSame = state !== undefined && isCalendar(state.calendar, scope)
  let windows: WindowQuery[] | undefined
  const { budgets } = scope.limits
  if (budgets !== undefined) {
    for (const { window: kind } of budgets) {
      if (isSame && state.windows[kind] !== undefined) continue
      if (windows?.some((query) => query.kind === kind)) continue
      windows ??= []
      windows.push({ kind, start: windowAt(kind, scope, now).start })
    }
  }
  const { perMinute, perDay } = quotasOf(scope.limits)
  const needsRing = perMinute && state?.ring === undefined
  const needsDay = perDay && !(isSame && state.day !== undefined)
  if (windows === undefined && !needsRing && !needsDay) return undefined
  return {
    windows: windows ?? [],
    ...(needsRing && { recentSince: now - 60_000 }),
    ...(needsDay && { daySince: windowAt('day', scope, now).start }),
  }
}

/**
 * Brings a scope's state up to what its limits need, from what the ledger says; a new one
 * where there was none. Known windows stay. Where the scope's calendar changed they begin and
 * end anew: what is held goes on being held, and what was spent is what the ledger says.
 */
export function withHistory(
  state: ScopeState | undefined,
  scope: Scope,
  history: History,
  now: number,
  elapsed = now,
): ScopeState {
  const { perMinute, perDay } = quotasOf(scope.limits)
  const next = state ?? {
    open: 0,
    calendar: calendarOf(scope),
    windows: {},
    opened: 0,
    usedAt: elapsed,
  }
  const isMoved = !isCalendar(next.calendar, scope)
  if (isMoved) next.calendar = calendarOf(scope)
  for (const { window: kind } of scope.limits.budgets ?? []) {
    const known = next.windows[kind]
    const settled = history.spent[kind]
    if (known === undefined) openWindow(next, kind, now, settled ?? 0n)
    else if (isMoved && settled !== undefined) {
      const { start, end } = windowAt(kind, scope, now)
      next.windows[kind] = { ...known, start, end, settled }
    }
  }
  if (isMoved) dropUnknown(next, history)
  if (perDay && (next.day === undefined || isMoved)) {
    const { start, end } = windowAt('day', scope, now)
    next.opened++
    const used = history.day ?? { requests: 0, input: 0, output: 0 }
    next.day = { start, end, number: next.opened, ...used }
  }
  if (next.ring === undefined && perMinute) {
    next.ring = newRing(Math.floor(elapsed / 1000))
    for (const { at, requests, input, output } of history.recent) {
      const age = Math.max(0, Math.floor((now - at) / 1000))
      add(next.ring, next.ring.tick - age, requests, input, output)
    }
  }
  return next
}

/** Windows of the calendar before, of budgets that are no longer there. */
function dropUnknown(state: ScopeState, history: History): void {
  for (const kind of Object.keys(state.windows) as WindowKind[]) {
    if (history.spent[kind] === undefined) delete state.windows[kind]
  }
}

function calendarOf({ timeZone, weekStartsOn = 1, monthStartsOn = 1 }: Calendar): Calendar {
  return { timeZone, weekStartsOn, monthStartsOn }
}

function isCalendar(known: Calendar, { timeZone, weekStartsOn, monthStartsOn }: Calendar): boolean {
  return (
    known.timeZone === timeZone &&
    known.weekStartsOn === (weekStartsOn ?? 1) &&
    known.monthStartsOn === (monthStartsOn ?? 1)
  )
}

/** Whether admission has anything to ask of the scope. */
export function isLimited({ limits }: Scope): boolean {
  return (
    limits.concurrency !== undefined ||
    (limits.budgets !== undefined && limits.budgets.length > 0) ||
    quotasOf(limits).rates.length > 0
  )
}

/** The state's window at `now`. A clock set back does not bring an earlier window back. */
export function rolled(state: ScopeState, kind: WindowKind, now: number): WindowState {
  const window = state.windows[kind]
  return window !== undefined && now < window.end ? window : openWindow(state, kind, now, 0n)
}

/** The same for the day that requests and tokens are counted in. */
export function rolledDay(state: ScopeState, now: number): DayCount {
  const { day } = state
  if (day !== undefined && now < day.end) return day
  const { start, end } = windowAt('day', state.calendar, now)
  state.opened++
  state.day = { start, end, number: state.opened, requests: 0, input: 0, output: 0 }
  return state.day
}

function openWindow(
  state: ScopeState,
  kind: WindowKind,
  now: number,
  settled: NanoUsd,
): WindowState {
  const { start, end } = windowAt(kind, state.calendar, now)
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
    ring.input.fill(0)
    ring.output.fill(0)
    ring.requestSum = 0
    ring.inputSum = 0
    ring.outputSum = 0
  } else {
    for (let step = 1; step <= steps; step++) {
      const index = (ring.tick + step) % BUCKETS
      ring.requestSum -= ring.requests[index] ?? 0
      ring.inputSum -= ring.input[index] ?? 0
      ring.outputSum -= ring.output[index] ?? 0
      ring.requests[index] = 0
      ring.input[index] = 0
      ring.output[index] = 0
    }
  }
  ring.tick += steps
}

/** Adds to the bucket of a tick; nothing where that bucket is gone. Counts never fall below zero. */
export function add(
  ring: Ring,
  tick: number,
  requests: number,
  input: number,
  output: number,
): void {
  if (ring.tick - tick >= BUCKETS || tick > ring.tick) return
  const index = tick % BUCKETS
  ring.requestSum += raise(ring.requests, index, requests)
  ring.inputSum += raise(ring.input, index, input)
  ring.outputSum += raise(ring.output, index, output)
}

/** @returns by how much the count has changed */
function raise(counts: number[], index: number, by: number): number {
  if (by === 0) return 0
  const before = counts[index] ?? 0
  const after = Math.max(0, before + by)
  counts[index] = after
  return after - before
}

/** Seconds until `amount` of what the buckets hold is out of the minute. */
export function secondsUntilFree(
  ring: Ring,
  of: 'requests' | 'input' | 'output' | 'tokens',
  amount: number,
): number {
  let freed = 0
  for (let age = BUCKETS - 1; age > 0; age--) {
    const index = (ring.tick - age) % BUCKETS
    freed +=
      of === 'tokens'
        ? (ring.input[index] ?? 0) + (ring.output[index] ?? 0)
        : (ring[of][index] ?? 0)
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
    input: Array<number>(BUCKETS).fill(0),
    output: Array<number>(BUCKETS).fill(0),
    requestSum: 0,
    inputSum: 0,
    outputSum: 0,
  }
}

/** Names a scope among all. */
export function scopeKey({ kind, id, model }: Scope): string {
  return model === undefined ? `${kind}:${id}` : `${kind}:${id} ${model}`
}

/** Nothing is under way or uncommitted, no count matters: the ledger can give the state back. */
export function isIdle({ open, usedAt, windows }: ScopeState, elapsed: number): boolean {
  if (open > 0 || elapsed - usedAt <= IDLE_MS) return false
  return Object.values(windows).every(({ reserved }) => reserved === 0n)
}
