import type { Budget, LimitStanding, NanoUsd, Quotas } from '#protocol'

export type Measure = 'requests' | 'tokens' | 'input' | 'output'

/** One limit of requests or tokens in a time. */
export interface Rate {
  readonly measure: Measure
  readonly window: 'minute' | 'day'
  readonly max: number
  /** As errors name it. */
  readonly code: string
  /** As standings name it. */
  readonly limit: LimitStanding['limit']
}

/** The limits of a scope in the form in which they are gone through. */
export interface RateList {
  readonly rates: readonly Rate[]
  readonly perMinute: boolean
  readonly perDay: boolean
  /** Tokens are limited, so that they are to be held. */
  readonly tokens: boolean
}

const RATES = [
  ['requestsPerMinute', 'requests', 'minute', 'rpm', 'requests'],
  ['tokensPerMinute', 'tokens', 'minute', 'tpm', 'tokens'],
  ['inputTokensPerMinute', 'input', 'minute', 'itpm', 'input_tokens'],
  ['outputTokensPerMinute', 'output', 'minute', 'otpm', 'output_tokens'],
  ['requestsPerDay', 'requests', 'day', 'rpd', 'requests'],
  ['tokensPerDay', 'tokens', 'day', 'tpd', 'tokens'],
  ['inputTokensPerDay', 'input', 'day', 'itpd', 'input_tokens'],
  ['outputTokensPerDay', 'output', 'day', 'otpd', 'output_tokens'],
] as const

const lists = new WeakMap<Quotas, RateList>()

export function quotasOf(limits: Quotas): RateList {
  let list = lists.get(limits)
  if (list === undefined) {
    const rates = RATES.flatMap(([name, measure, window, code, limit]): Rate[] => {
      const max = limits[name]
      return max === undefined ? [] : [{ measure, window, max, code, limit }]
    })
    list = {
      rates,
      perMinute: rates.some(({ window }) => window === 'minute'),
      perDay: rates.some(({ window }) => window === 'day'),
      tokens: rates.some(({ measure }) => measure !== 'requests'),
    }
    lists.set(limits, list)
  }
  return list
}

/** What a budget allows now: with the raises that have not ended, up to where it blocks. */
export function capOf(budget: Budget, now: number): NanoUsd {
  const { block, raises } = budget
  if (raises === undefined && block === undefined) return budget.limit
  const limit = raisedLimit(budget, now)
  return block === undefined ? limit : (limit * BigInt(block)) / 100n
}

/** The limit with the raises that have not ended. */
export function raisedLimit({ limit, raises }: Budget, now: number): NanoUsd {
  if (raises === undefined) return limit
  return raises.reduce((sum, { amount, until }) => (now < until ? sum + amount : sum), limit)
}

/** From where a budget is near its end; `undefined`: it never says so. */
export function warnAt(budget: Budget, now: number): NanoUsd | undefined {
  if (budget.warn === undefined) return undefined
  return (raisedLimit(budget, now) * BigInt(budget.warn)) / 100n
}
