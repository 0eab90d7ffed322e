/** What was spent on one day, nano-dollars; the days follow each other without a gap. */
export interface DaySpend {
  /** `2026-11-23`, in the budget's zone. */
  readonly day: string
  /** 1 for Monday to 7 for Sunday. */
  readonly weekday: number
  readonly cost: bigint
}

export interface ForecastInput {
  /** Whole days before today, the oldest first; more than {@link MAX_DAYS} are not looked at. */
  readonly history: readonly DaySpend[]
  /** Spent within the window so far, today included. */
  readonly spent: bigint
  /** Weekdays of the days that are still to come in the window, in order. */
  readonly comingWeekdays: readonly number[]
  /** The part of today that is still to come, 0 to 1. */
  readonly restOfToday: number
  readonly todayWeekday: number
  /** Absent: nothing to exceed. */
  readonly limit?: bigint
}

export interface Forecast {
  /** At the end of the window. */
  readonly expected: bigint
  /** Eight times out of ten the truth lies between these, if the days to come are as the days before. */
  readonly low: bigint
  readonly high: bigint
  /** Days from now until the limit is expected to be passed, within the window; absent: it is not. */
  readonly daysUntilLimit?: number
  /** How likely the limit is passed within the window, 0 to 1; absent without a limit. */
  readonly chanceToExceed?: number
  /** Days the forecast rests on; with fewer than 3 the interval says little. */
  readonly basedOnDays: number
}

/** Four weeks: long enough for a week's rhythm, short enough to follow growth. */
export const MAX_DAYS = 28

/** Of the normal distribution: 80 % lie within so many standard deviations. */
const EIGHTY_PERCENT = 1.2816

/**
 * Where a window's spend will end.
 *
 * The days to come are expected to cost what days of their kind (weekday or weekend) did on
 * average, recent ones counting more (a half-life of a week). The interval comes from how much
 * such days differed, and from how few there were. A statistic over floats: money that is owed
 * never comes from here.
 */
export function forecast(input: ForecastInput): Forecast {
  const { spent, comingWeekdays, restOfToday, todayWeekday, limit } = input
  const history = input.history.slice(-MAX_DAYS)
  const kinds = { week: statsOf(history, isWeekday), weekend: statsOf(history, isWeekend) }
  const all = statsOf(history, () => true)
  const of = (weekday: number): Stats => {
    const kind = isWeekend(weekday) ? kinds.weekend : kinds.week
    return kind.days >= 2 ? kind : all
  }

  let expected = Number(spent)
  let variance = 0
  let daysUntilLimit: number | undefined = limit !== undefined && spent > limit ? 0 : undefined
  let passed = 0
  for (const [weekday, part] of [
    [todayWeekday, restOfToday] as const,
    ...comingWeekdays.map((one) => [one, 1] as const),
  ]) {
    const { mean, spread } = of(weekday)
    const before = expected
    expected += mean * part
    variance += spread * spread * part
    if (limit !== undefined && daysUntilLimit === undefined && expected > Number(limit)) {
      daysUntilLimit = passed + (part * (Number(limit) - before)) / (expected - before)
    }
    passed += part
  }
  const remaining = restOfToday + comingWeekdays.length
  // The mean itself is uncertain, and wrong on all days at once.
  if (all.days > 0) variance += (all.spread * remaining) ** 2 / all.days
  const deviation = Math.sqrt(variance)
  return {
    expected: nanos(expected),
    low: nanos(Math.max(Number(spent), expected - EIGHTY_PERCENT * deviation)),
    high: nanos(expected + EIGHTY_PERCENT * deviation),
    ...(daysUntilLimit !== undefined && { daysUntilLimit }),
    ...(limit !== undefined && {
      chanceToExceed: spent > limit ? 1 : above(Number(limit), expected, deviation),
    }),
    basedOnDays: history.length,
  }
}

interface Stats {
  readonly days: number
  readonly mean: number
  /** Standard deviation of a day. */
  readonly spread: number
}

const HALF_LIFE_DAYS = 7

function statsOf(history: readonly DaySpend[], of: (weekday: number) => boolean): Stats {
  let weights = 0
  let weighted = 0
  const days: { weight: number; cost: number }[] = []
  for (const [index, { weekday, cost }] of history.entries()) {
    if (!of(weekday)) continue
    const weight = 0.5 ** ((history.length - 1 - index) / HALF_LIFE_DAYS)
    days.push({ weight, cost: Number(cost) })
    weights += weight
    weighted += weight * Number(cost)
  }
  if (days.length === 0) return { days: 0, mean: 0, spread: 0 }
  const mean = weighted / weights
  const squares = days.reduce((all, { weight, cost }) => all + weight * (cost - mean) ** 2, 0)
  const bias = days.length > 1 ? days.length / (days.length - 1) : 1
  // A single day says nothing of how days differ: as much as it cost.
  const spread = days.length > 1 ? Math.sqrt((squares / weights) * bias) : mean
  return { days: days.length, mean, spread }
}

function isWeekend(weekday: number): boolean {
  return weekday >= 6
}

function isWeekday(weekday: number): boolean {
  return !isWeekend(weekday)
}

/** The chance that a normal variable is above a value. */
function above(value: number, mean: number, deviation: number): number {
  if (deviation === 0) return mean > value ? 1 : 0
  return 1 - normal((value - mean) / deviation)
}

/** Abramowitz and Stegun 26.2.17; off by less than 10^-7. */
function normal(z: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(z))
  const tail =
    0.3989422804014327 *
    Math.exp((-z * z) / 2) *
    t *
    (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
  return z >= 0 ? 1 - tail : tail
}

function nanos(amount: number): bigint {
  return BigInt(Math.round(amount))
}
