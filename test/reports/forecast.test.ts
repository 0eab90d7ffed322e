import { describe, expect, it } from 'vitest'
import { forecast } from '../../src/reports/forecast.ts'
import type { DaySpend } from '../../src/reports/forecast.ts'

const DOLLAR = 1_000_000_000n

/** @param costs dollars a day, from a Monday on */
function days(costs: readonly number[]): readonly DaySpend[] {
  return costs.map((cost, index) => ({
    day: `2026-11-${String(2 + index).padStart(2, '0')}`,
    weekday: (index % 7) + 1,
    cost: BigInt(Math.round(cost * 1e9)),
  }))
}

const WEEK = [10, 10, 10, 10, 10, 2, 2]

describe('a forecast', () => {
  it('goes on as the days before did, weekends apart', () => {
    const { expected, low, high, basedOnDays } = forecast({
      history: days([...WEEK, ...WEEK]),
      spent: 50n * DOLLAR,
      todayWeekday: 5,
      restOfToday: 0,
      comingWeekdays: [6, 7, 1],
    })
    expect(expected).toBe(64n * DOLLAR)
    expect(basedOnDays).toBe(14)
    expect(low <= expected && expected <= high).toBe(true)
  })

  it('says when a limit will be passed, and how likely', () => {
    const steady = { history: days(Array.from({ length: 14 }, () => 10)), todayWeekday: 1 }
    const coming = { spent: 30n * DOLLAR, restOfToday: 0, comingWeekdays: [2, 3, 4, 5] }
    const over = forecast({ ...steady, ...coming, limit: 55n * DOLLAR })
    expect(over.daysUntilLimit).toBeCloseTo(2.5)
    expect(over.chanceToExceed).toBe(1)
    const under = forecast({ ...steady, ...coming, limit: 100n * DOLLAR })
    expect(under.daysUntilLimit).toBeUndefined()
    expect(under.chanceToExceed).toBe(0)
    expect(forecast({ ...steady, ...coming, limit: 20n * DOLLAR })).toMatchObject({
      daysUntilLimit: 0,
      chanceToExceed: 1,
    })
  })

  it('is less sure the more the days differ, and never below what is spent', () => {
    const wild = Array.from({ length: 14 }, (_, index) => (index % 2 === 0 ? 0 : 20))
    const input = { spent: 1n * DOLLAR, todayWeekday: 1, restOfToday: 0.5, comingWeekdays: [2, 3] }
    const calm = forecast({ ...input, history: days(Array.from({ length: 14 }, () => 10)) })
    const loose = forecast({ ...input, history: days(wild) })
    expect(loose.high - loose.low).toBeGreaterThan(calm.high - calm.low)
    expect(loose.low).toBeGreaterThanOrEqual(1n * DOLLAR)
  })

  it('without a history expects no more than what is there', () => {
    const nothing = { spent: 3n * DOLLAR, todayWeekday: 2, restOfToday: 1, comingWeekdays: [3, 4] }
    expect(forecast({ ...nothing, history: [] })).toEqual({
      expected: 3n * DOLLAR,
      low: 3n * DOLLAR,
      high: 3n * DOLLAR,
      basedOnDays: 0,
    })
  })

  it('holds the truth in its interval about eight times of ten', () => {
    let state = 1
    const noise = (): number => {
      let all = 0
      for (let i = 0; i < 12; i += 1) {
        state = (state * 48271) % 2147483647
        all += state / 2147483647
      }
      return all - 6
    }
    const day = (): number => Math.max(0, 100 + 20 * noise())
    let held = 0
    for (let round = 0; round < 500; round += 1) {
      const { low, high } = forecast({
        history: days(Array.from({ length: 28 }, day)),
        spent: 0n,
        todayWeekday: 1,
        restOfToday: 0,
        comingWeekdays: [2, 3, 4, 5, 6, 7, 1],
      })
      const truth = BigInt(Math.round(Array.from({ length: 7 }, day).reduce((a, b) => a + b) * 1e9))
      if (low <= truth && truth <= high) held += 1
    }
    expect(held / 500).toBeGreaterThan(0.7)
    expect(held / 500).toBeLessThan(0.92)
  })
})
