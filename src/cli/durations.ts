import { InvalidArgumentError } from 'commander'

const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
  ['w', 604_800_000],
])

/** `30d`, `12h`, `45s` in ms; undefined for anything else. */
export function readDuration(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,6})([a-z]{1,2})$/.exec(text) ?? []
  const ms = UNIT_MS.get(unit)
  return ms === undefined ? undefined : Number(digits) * ms
}

/** For commander: a duration in ms. */
export function duration(text: string): number {
  const ms = readDuration(text)
  if (ms === undefined || ms === 0)
    throw new InvalidArgumentError('Expected a time such as 45s, 12h or 30d.')
  return ms
}

/**
 * For commander: a moment to come, as a duration from now, a day (its start in UTC) or RFC 3339.
 *
 * @returns RFC 3339 in UTC, or `never`
 */
export function moment(text: string, now: number): string {
  if (text === 'never') return text
  const ms = readDuration(text)
  if (ms !== undefined) return new Date(now + ms).toISOString()
  const isMoment = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text)
  const time = isMoment ? Date.parse(text) : Number.NaN
  if (Number.isNaN(time)) {
    throw new InvalidArgumentError('Expected 30d, 2027-01-31, 2027-01-31T12:00:00Z or never.')
  }
  return new Date(time).toISOString()
}
