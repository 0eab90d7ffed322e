import type { Budget } from '#protocol'

/** A stretch of a calendar, `[start, end)` in Unix ms. */
export interface Window {
  readonly start: number
  /** {@link Number.MAX_SAFE_INTEGER} where there is none. */
  readonly end: number
}

/** What a tenant's windows follow. */
export interface Calendar {
  /** IANA name. */
  readonly timeZone: string
  /** 1 is Monday, 7 Sunday; absent: Monday. */
  readonly weekStartsOn?: number
  /** Day of the month on which the fiscal one begins, 1 to 28; absent: the first. */
  readonly monthStartsOn?: number
}

const TOTAL: Window = { start: 0, end: Number.MAX_SAFE_INTEGER }
const HOUR = 3_600_000
const DAY = 24 * HOUR

const formats = new Map<string, Intl.DateTimeFormat>()
const current = new Map<string, Window>()

/**
 * The day, week, month or eternity that `time` falls in, by the clocks of a time zone. A day
 * lasts 23 or 25 hours where the clocks change.
 *
 * The last answer for each window and zone is kept: asking `Intl` takes some 100 µs.
 *
 * @param calendar an IANA name alone stands for weeks from Monday and months from the first
 * @throws RangeError for a name that is no time zone
 */
export function windowAt(
  kind: Budget['window'],
  calendar: string | Calendar,
  time: number,
): Window {
  if (kind === 'total') return TOTAL
  const {
    timeZone,
    weekStartsOn = 1,
    monthStartsOn = 1,
  }: Calendar = typeof calendar === 'string' ? { timeZone: calendar } : calendar
  const start = kind === 'week' ? weekStartsOn : kind === 'month' ? monthStartsOn : 0
  const key = `${kind} ${start} ${timeZone}`
  const last = current.get(key)
  if (last !== undefined && time >= last.start && time < last.end) return last

  const [first, next] = bounds(kind, localDay(timeZone, time), start)
  const window = { start: startOfDay(timeZone, first), end: startOfDay(timeZone, next) }
  // Zones come from tenants: keep no more than there are.
  if (current.size > 2000) current.clear()
  current.set(key, window)
  return window
}

export function isTimeZone(name: string): boolean {
  try {
    formatOf(name)
    return true
  } catch {
    return false
  }
}

/** First day of the window and of the one after, as midnights UTC of those dates. */
function bounds(
  kind: 'day' | 'week' | 'month',
  day: number,
  startsOn: number,
): [first: number, next: number] {
  if (kind === 'day') return [day, day + DAY]
  const date = new Date(day)
  if (kind === 'week') {
    const first = day - ((date.getUTCDay() + 7 - (startsOn % 7)) % 7) * DAY
    return [first, first + 7 * DAY]
  }
  const month = date.getUTCMonth() - (date.getUTCDate() < startsOn ? 1 : 0)
  const year = date.getUTCFullYear()
  return [Date.UTC(year, month, startsOn), Date.UTC(year, month + 1, startsOn)]
}

/** The first moment of a date; not always 00:00, which some zones skip once a year. */
function startOfDay(timeZone: string, day: number): number {
  let before = day - 15 * HOUR
  let within = day + 15 * HOUR
  while (within - before > 1) {
    const middle = Math.floor((before + within) / 2)
    if (localDay(timeZone, middle) < day) before = middle
    else within = middle
  }
  return within
}

/** The date that clocks of the zone show, as midnight UTC of that date. */
function localDay(timeZone: string, time: number): number {
  let year = 0
  let month = 0
  let day = 0
  for (const { type, value } of formatOf(timeZone).formatToParts(time)) {
    if (type === 'year') year = Number(value)
    else if (type === 'month') month = Number(value)
    else if (type === 'day') day = Number(value)
  }
  return Date.UTC(year, month - 1, day)
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  let format = formats.get(timeZone)
  if (!format) {
    format = new Intl.DateTimeFormat('en-US-u-ca-gregory-nu-latn', {
      timeZone,
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
    })
    formats.set(timeZone, format)
  }
  return format
}
