import { GatewayError } from '#errors'

/** A stretch of time `[start, end)`, Unix ms. */
export interface Period {
  readonly start: number
  readonly end: number
  /** Local time: `2026-11`, `2026-11-23`, or `2026-11-23T14+05:45` with its offset. */
  readonly label: string
}

export type PeriodUnit = 'hour' | 'day' | 'month'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/**
 * Cuts a range at the borders of the zone's calendar. No instant is in two periods or in none,
 * whatever summer time does: a day may have 23 or 25 hours, and an hour 30 minutes.
 *
 * @throws GatewayError `invalid_value` on an unknown zone, or on more than `max` periods
 */
export function periodsOf(
  range: { readonly from: number; readonly to: number },
  unit: PeriodUnit,
  timeZone: string,
  max = 10_000,
): Period[] {
  const zone = openZone(timeZone)
  const periods: Period[] = []
  for (let start = range.from; start < range.to;) {
    if (periods.length >= max) {
      throw new GatewayError('invalid_value', `The range has more than ${max} ${unit}s`, {
        param: 'from',
      })
    }
    const end = Math.min(range.to, zone.nextBorder(start, unit))
    periods.push({ start, end, label: zone.label(start, unit) })
    start = end
  }
  return periods
}

interface Zone {
  /** The first instant after `at` that is in another hour, day or month. */
  nextBorder(at: number, unit: PeriodUnit): number
  label(at: number, unit: PeriodUnit): string
}

/**
 * A zone by its offsets from UTC, which is all that `Intl` is asked for. (`Temporal` does this
 * too, but Node has it only from 26 on.)
 */
function openZone(timeZone: string): Zone {
  const format = formatOf(timeZone)
  return { nextBorder, label }

  /** Milliseconds that local time is ahead of UTC. */
  function offsetAt(at: number): number {
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
    return firstInstant(unit === 'day' ? nextDay(local) : nextMonth(local))
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
    const iso = new Date(at + offset).toISOString()
    if (unit === 'month') return iso.slice(0, 7)
    if (unit === 'day') return iso.slice(0, 10)
    return `${iso.slice(0, 13)}${offsetName(offset)}`
  }
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' })
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
