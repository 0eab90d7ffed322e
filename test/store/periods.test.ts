import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { periodsOf } from '../../src/store/periods.ts'
import { labelOf } from './calendar.ts'

const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'America/St_Johns',
  'America/Sao_Paulo',
  'Asia/Kathmandu',
  'Asia/Beirut',
  'Africa/Cairo',
  'Africa/Casablanca',
  'Australia/Lord_Howe',
  'Pacific/Chatham',
  'Pacific/Apia',
]

describe('periods', () => {
  it.each(['hour', 'day', 'week', 'month'] as const)(
    'by %s follow each other without a gap, and are those of Temporal',
    (unit) => {
      const DAY = 86_400_000
      const spans = { hour: 40 * 3_600_000, day: 20 * DAY, week: 90 * DAY, month: 400 * DAY }
      fc.assert(
        fc.property(
          fc.constantFrom(...ZONES),
          fc.integer({ min: Date.UTC(2009, 0, 1), max: Date.UTC(2037, 0, 1) }),
          fc.integer({ min: 1, max: spans[unit] }),
          (zone, from, length) => {
            const to = from + length
            const periods = periodsOf({ from, to }, [unit], { timeZone: zone })

            expect(periods[0]?.start).toBe(from)
            expect(periods.at(-1)?.end).toBe(to)
            for (const [index, period] of periods.entries()) {
              expect(period.end).toBeGreaterThan(period.start)
              if (index > 0) expect(period.start).toBe(periods[index - 1]?.end)
              expect(period.labels[unit]).toBe(labelOf(period.start, unit, zone))
              expect(period.labels[unit]).toBe(labelOf(period.end - 1, unit, zone))
            }
            expect(new Set(periods.map(({ labels }) => labels[unit])).size).toBe(periods.length)
          },
        ),
        { numRuns: 150 },
      )
    },
  )

  it.each([
    ['a day of 23 hours', 'Europe/Berlin', '2026-03-29', [23]],
    ['a day of 25 hours', 'Europe/Berlin', '2026-10-25', [25]],
    ['a day of 24.5 hours', 'Australia/Lord_Howe', '2026-04-05', [24.5]],
    ['a day that begins at one', 'Asia/Beirut', '2026-03-29', [23]],
  ])('know %s', (_, zone, date, hours) => {
    const from = Temporal.PlainDate.from(date).toZonedDateTime(zone).epochMilliseconds
    const to = Temporal.PlainDate.from(date)
      .add({ days: 1 })
      .toZonedDateTime(zone).epochMilliseconds
    const periods = periodsOf({ from, to }, ['day'], { timeZone: zone })

    expect(periods.map(({ start, end }) => (end - start) / 3_600_000)).toEqual(hours)
    expect(periods[0]?.labels.day).toBe(date)
  })

  it('refuse an unknown zone and a range without end', () => {
    const range = { from: 0, to: 1e12 }
    expect(() => periodsOf(range, ['day'], { timeZone: 'Mars/Olympus' })).toThrow(
      /no known time zone/,
    )
    expect(() => periodsOf(range, ['hour'], { timeZone: 'UTC' })).toThrow(/more than 10000 hours/)
  })
})
