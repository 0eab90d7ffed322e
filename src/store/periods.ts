import { GatewayError } from '#errors'

/** A stretch of time `[start, end)`, Unix ms. */
export interface Period {
  readonly start: number
  readonly end: number
  /** Local time, for each unit asked for. */
  readonly labels: Readonly<Partial<Record<PeriodUnit, string>>>
}

/** Finest first. */
export const PERIOD_UNITS = ['hour', 'day', 'week', 'month'] as const

/** Labels: `2026-11-23T14+05:45` with its offset, `2026-11-23`, the week's first day, `2026-11`. */
export type PeriodUnit = (typeof PERIOD_UNITS)[number]

export interface Calendar {
  /** IANA name. */
  readonly timeZone: string
  /** 1 is Monday, the default; 7 Sunday. */
  readonly weekStartsOn?: number
}

export interface Range {
  /** Unix ms, inclusive. */
  readonly from: number
  /** Unix ms, exclusive. */
  readonly to: number
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/**
 * Cuts a range at the borders of the zone's calendar, those of every unit asked for. No instant
 * is in two periods or in none, whatever summer time does: a day may have 23 or 25 hours, and
 * an hour 30 minutes.
 *
 * @throws GatewayError `invalid_value` on an unknown zone, or on more than `max` periods
 */
export function periodsOf(
  { from, to }: Range,
  units: readonly PeriodUnit[],
  calendar: Calendar,
  max = 10_000,
): Period[] {
  const zone = openZone(calendar)
  const finest = PERIOD_UNITS.find((unit) => units.includes(unit)) ?? 'hour'
  // Weeks lie across months; whatever else is coarser begins where something finer does.
  const cuts = units.includes('week') && finest === 'week' ? units : [finest]
  const periods: Period[] = []
  for (let start = from; start < to;) {
    if (periods.length >= max) {
      throw new GatewayError('invalid_value', `The range has more than ${max} ${finest}s`, {
        param: 'from',
      })
    }
    const end = Math.min(to, ...cuts.map((unit) => zone.nextBorder(start, unit)))
    const labels = Object.fromEntries(units.map((unit) => [unit, zone.label(start, unit)]))
    periods.push({ start, end, labels })
    start = end
  }
  return periods
}

/**
 * The range to compare one with: as many months before where it begins with a month, as many
 * days where it begins with a day, else as much time. A month that is not over yet is compared
 * with the same part of the one before.
 */
export function rangeBefore({ from, to }: Range, calendar: Calendar): Range {
  const zone = openZone(calendar)
  if (to <= from) return { from, to: from }
  if (zone.isBorder(from, 'month')) {
    let months = 1
    for (let at = zone.nextBorder(from, 'month'); at < to; at = zone.nextBorder(at, 'month')) {
      months++
    }
    const start = zone.back(from, months)
    return { from: start, to: Math.min(from, zone.back(to, months)) }
  }
  if (zone.isBorder(from, 'day') && zone.isBorder(to, 'day')) {
    const days = Math.round((to - from) / DAY_MS)
    return { from: zone.daysBack(from, days), to: from }
  }
  return { from: from - (to - from), to: from }
}

interface Zone {
  /** The first instant after `at` that is in another hour, day, week or month. */
  nextBorder(at: number, unit: PeriodUnit): number
  isBorder(at: number, unit: PeriodUnit): boolean
  /** The same local time so many months before; the month's last day where there is none such. */
  back(at: number, months: number): number
  /** The start of the day that is so many days before. */
  daysBack(at: number, days: number): number
  label(at: number, unit: PeriodUnit): string
}

/**
 * A zone by its offsets from UTC, which is all that `Intl` is asked for. (`Temporal` does this
 * too, but Node has it only from 26 on.)
 */
function openZone({ timeZone, weekStartsOn = 1 }: Calendar): Zone {
  const format = formatOf(timeZone)
  /** By UTC day; `undefined` where it changes within. `Intl` takes some 5 µs for each answer. */
  const offsets = new Map<number, number | undefined>()
  return { nextBorder, isBorder, back, daysBack, label }

  /** Milliseconds that local time is ahead of UTC. */
  function offsetAt(at: number): number {
    const day = Math.floor(at / DAY_MS)
    if (!offsets.has(day)) {
      const first = readOffset(day * DAY_MS)
      offsets.set(day, first === readOffset((day + 1) * DAY_MS) ? first : undefined)
    }
    return offsets.get(day) ?? readOffset(at)
  }

  function readOffset(at: number): number {
    const name = format.formatToParts(at).find((part) => part.type === 'timeZoneName')?.value
    const [, sign, hours, minutes = '0', seconds = '0'] =
      /^GMT([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(name ?? '') ?? []
    if (hours === undefined) return 0
    const ms = (Number(hours) * 60 + Number(minutes)) * 60_000 + Number(seconds) * 1000
    return sign === '-' ? -ms : ms
  }

  function nextBorder(at: number, unit: PeriodUnit): number {
    const offset = offsetAt(at)
    const local = at + offset
    if (unit === 'hour') {
      const next = local - modulo(local, HOUR_MS) + HOUR_MS - offset
      return offsetAt(next) === offset ? next : Math.min(next, transition(at, next, offset))
    }
    if (unit === 'week') return firstInstant(weekOf(local) + 7 * DAY_MS)
    return firstInstant(unit === 'day' ? nextDay(local) : nextMonth(local))
  }

  function isBorder(at: number, unit: PeriodUnit): boolean {
    return nextBorder(at - 1, unit) === at
  }

  function back(at: number, months: number): number {
    const local = new Date(at + offsetAt(at))
    const [year, month] = [local.getUTCFullYear(), local.getUTCMonth() - months]
    const lastDay = new Date(Date.UTC(year, month + 1, 0)).getUTCDate()
    const day = Math.min(local.getUTCDate(), lastDay)
    return firstInstant(Date.UTC(year, month, day) + modulo(local.getTime(), DAY_MS))
  }

  function daysBack(at: number, days: number): number {
    const local = at + offsetAt(at)
    return firstInstant(local - modulo(local, DAY_MS) - days * DAY_MS)
  }

  /** The first day of the local time's week. */
  function weekOf(local: number): number {
    const day = local - modulo(local, DAY_MS)
    // 1970 began on a Thursday, which is 4.
    return day - modulo(day / DAY_MS + 4 - weekStartsOn, 7) * DAY_MS
  }

  /**
   * The first instant whose local time is `local` or, where the clock jumps over it, later.
   *
   * @param local - a local time, written as if it were UTC
   */
  function firstInstant(local: number): number {
    const before = offsetAt(local - DAY_MS)
    const after = offsetAt(local + DAY_MS)
    if (before === after) return local - before
    const change = transition(local - DAY_MS, local + DAY_MS, before)
    const [early, late] = [local - before, local - after]
    if (early < change) return early
    return Math.max(late, change)
  }

  /** The first instant in `(from, to]` with another offset than `offset`, which `from` has. */
  function transition(from: number, to: number, offset: number): number {
    let [low, high] = [from, to]
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (offsetAt(middle) === offset) low = middle
      else high = middle
    }
    return high
  }

  function label(at: number, unit: PeriodUnit): string {
    const offset = offsetAt(at)
    const local = at + offset
    const iso = new Date(unit === 'week' ? weekOf(local) : local).toISOString()
    if (unit === 'month') return iso.slice(0, 7)
    if (unit === 'day' || unit === 'week') return iso.slice(0, 10)
    return `${iso.slice(0, 13)}${offsetName(offset)}`
  }
}

const formats = new Map<string, Intl.DateTimeFormat>()

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone)
  if (known !== undefined) return known
  try {
    const format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' })
    // Callers name zones in any case.
    if (formats.size >= 1000) formats.clear()
    formats.set(timeZone, format)
    return format
  } catch (cause) {
    throw new GatewayError('invalid_value', `${timeZone} is no known time zone`, {
      param: 'time_zone',
      cause,
    })
  }
}

function nextDay(local: number): number {
  return local - modulo(local, DAY_MS) + DAY_MS
}

function nextMonth(local: number): number {
  const date = new Date(local)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1)
}

function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor
}

function offsetName(offset: number): string {
  const minutes = Math.abs(Math.trunc(offset / 60_000))
  return `${offset < 0 ? '-' : '+'}${twoDigits(Math.floor(minutes / 60))}:${twoDigits(minutes % 60)}`
}

function twoDigits(part: number): string {
  return String(part).padStart(2, '0')
}
