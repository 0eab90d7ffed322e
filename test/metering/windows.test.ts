import { describe, expect, it } from 'vitest'
import { isTimeZone, windowAt } from '../../src/metering/windows.ts'

const HOUR = 3_600_000

describe('a window', () => {
  for (const [what, kind, zone, at, start, end] of [
    ['a day', 'day', 'UTC', '2026-11-23T12:00Z', '2026-11-23T00:00Z', '2026-11-24T00:00Z'],
    [
      'a day east',
      'day',
      'Asia/Tokyo',
      '2026-11-23T16:00Z',
      '2026-11-23T15:00Z',
      '2026-11-24T15:00Z',
    ],
    [
      'its first moment',
      'day',
      'UTC',
      '2026-11-23T00:00Z',
      '2026-11-23T00:00Z',
      '2026-11-24T00:00Z',
    ],
    [
      '23 hours',
      'day',
      'Europe/Berlin',
      '2026-03-29T12:00Z',
      '2026-03-28T23:00Z',
      '2026-03-29T22:00Z',
    ],
    [
      '25 hours',
      'day',
      'Europe/Berlin',
      '2026-10-25T12:00Z',
      '2026-10-24T22:00Z',
      '2026-10-25T23:00Z',
    ],
    [
      'no midnight',
      'day',
      'Africa/Cairo',
      '2026-04-24T12:00Z',
      '2026-04-23T22:00Z',
      '2026-04-24T21:00Z',
    ],
    [
      'half an hour',
      'day',
      'Australia/Lord_Howe',
      '2026-04-05T06:00Z',
      '2026-04-04T13:00Z',
      '2026-04-05T13:30Z',
    ],
    ['a week', 'week', 'UTC', '2026-11-29T23:59Z', '2026-11-23T00:00Z', '2026-11-30T00:00Z'],
    [
      'a week of a Monday',
      'week',
      'UTC',
      '2026-11-23T00:00Z',
      '2026-11-23T00:00Z',
      '2026-11-30T00:00Z',
    ],
    [
      'a month',
      'month',
      'America/New_York',
      '2026-11-01T05:00Z',
      '2026-11-01T04:00Z',
      '2026-12-01T05:00Z',
    ],
    ['December', 'month', 'UTC', '2026-12-31T23:59Z', '2026-12-01T00:00Z', '2027-01-01T00:00Z'],
    [
      'February',
      'month',
      'Pacific/Kiritimati',
      '2028-02-29T00:00Z',
      '2028-01-31T10:00Z',
      '2028-02-29T10:00Z',
    ],
  ] as const) {
    it(`is right for ${what} in ${zone}`, () => {
      expect(windowAt(kind, zone, Date.parse(at))).toEqual({
        start: Date.parse(start),
        end: Date.parse(end),
      })
    })
  }

  for (const zone of ['Europe/Berlin', 'America/Havana', 'Pacific/Apia', 'Asia/Kathmandu']) {
    it(`follows the one before without gap or overlap in ${zone}`, () => {
      let time = Date.UTC(2026, 0, 5)
      let last = windowAt('day', zone, time)
      while (time < Date.UTC(2026, 11, 31)) {
        time += 7 * HOUR
        const next = windowAt('day', zone, time)
        if (next.start === last.start) continue
        expect(next.start).toBe(last.end)
        last = next
      }
    })
  }

  for (const [what, kind, calendar, at, start, end] of [
    [
      'a week from Sunday',
      'week',
      { weekStartsOn: 7 },
      '2026-11-23T12:00Z',
      '2026-11-22',
      '2026-11-29',
    ],
    [
      'its last moment',
      'week',
      { weekStartsOn: 7 },
      '2026-11-28T23:59Z',
      '2026-11-22',
      '2026-11-29',
    ],
    [
      'a week from Saturday',
      'week',
      { weekStartsOn: 6 },
      '2026-11-27T12:00Z',
      '2026-11-21',
      '2026-11-28',
    ],
    [
      'a fiscal month',
      'month',
      { monthStartsOn: 15 },
      '2026-11-14T23:00Z',
      '2026-10-15',
      '2026-11-15',
    ],
    [
      'its first day',
      'month',
      { monthStartsOn: 15 },
      '2026-11-15T00:00Z',
      '2026-11-15',
      '2026-12-15',
    ],
    [
      'one over the year',
      'month',
      { monthStartsOn: 28 },
      '2027-01-05T00:00Z',
      '2026-12-28',
      '2027-01-28',
    ],
  ] as const) {
    it(`follows the tenant's calendar: ${what}`, () => {
      expect(windowAt(kind, { timeZone: 'UTC', ...calendar }, Date.parse(at))).toEqual({
        start: Date.parse(start),
        end: Date.parse(end),
      })
    })
  }

  it('of everything has no end', () => {
    expect(windowAt('total', 'UTC', 5)).toEqual({ start: 0, end: Number.MAX_SAFE_INTEGER })
  })

  it('needs a time zone', () => {
    expect(isTimeZone('Europe/Berlin')).toBe(true)
    expect(isTimeZone('Europe/Atlantis')).toBe(false)
    expect(() => windowAt('day', 'Europe/Atlantis', 0)).toThrow(RangeError)
  })
})
