import { describe, expect, it } from 'vitest'
import type { Demand, Limits, Scope } from '#protocol'
import {
  admit,
  brokenBudget,
  portionFor,
  settle,
  standingOf,
} from '../../src/metering/admission.ts'
import { createEmbeddedAdmission } from '../../src/metering/embedded-admission.ts'
import { NO_HISTORY, withHistory } from '../../src/metering/scope-state.ts'
import { bindingOf } from '../../src/metering/standing.ts'
import { mix } from './mix.ts'

const NOON = Date.parse('2026-11-23T12:00Z')
const HOUR = 3_600_000

describe('nested scopes', () => {
  it('keep every limit at every level over random mixes (T027)', async () => {
    let [admitted, refused] = [0, 0]
    for (let seed = 1; seed <= 20; seed++) {
      const result = await mix(seed, 800)
      expect(result.faults, `seed ${seed}`).toEqual([])
      admitted += result.admitted
      refused += result.refused
    }
    // Neither all nor nothing passed: the limits were met.
    expect(Math.min(admitted, refused)).toBeGreaterThan(1500)
  }, 60_000)
})

describe('limits of the minute (T034)', () => {
  it('let no 60 s have more, whatever bursts, jumps of the clock and summer time', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = generator(seed)
      const limit = 1 + Math.floor(random() * 60)
      const one = scope({ requestsPerMinute: limit, requestsPerDay: 100_000 }, 'Europe/Berlin')
      // Two hours before the clocks go back.
      let wall = Date.parse('2026-10-24T23:00Z')
      let elapsed = 0
      const state = withHistory(undefined, one, NO_HISTORY, wall, elapsed)
      const admitted: number[] = []
      for (let burst = 0; burst < 60; burst++) {
        const step = random() < 0.5 ? 60_000 - (elapsed % 60_000) : Math.floor(random() * 61_000)
        elapsed += step
        wall += step
        if (random() < 0.1) wall += (random() < 0.5 ? 1 : -1) * HOUR
        for (let ask = 0; ask < limit; ask++) {
          if (admit([state], [one], demand(1), wall, elapsed).ok) admitted.push(elapsed)
        }
      }
      for (const [index, from] of admitted.entries()) {
        const next = admitted[index + limit]
        expect(next === undefined || next - from >= 60_000, `seed ${seed}`).toBe(true)
      }
    }
  })
})

describe('a budget at its border (T040)', () => {
  const budgets = [{ window: 'day', limit: 10n }] as const

  it('counts a request in the day of its admission', () => {
    const one = scope({ budgets })
    const state = withHistory(undefined, one, NO_HISTORY, NOON)
    const late = admit([state], [one], demand(6), NOON + 12 * HOUR - 1)
    const early = admit([state], [one], demand(7), NOON + 12 * HOUR)
    if (!late.ok || !early.ok) throw new Error('refused')
    settle(state, late.holds[0]!, { tokens: 0, cost: 6n }, NOON + 13 * HOUR)
    settle(state, early.holds[0]!, { tokens: 0, cost: 7n }, NOON + 13 * HOUR)
    expect(state.windows.day).toMatchObject({ settled: 7n, reserved: 0n })
  })

  it('goes on holding what is under way when the time zone changes', async () => {
    let spent = 0n
    const admission = createEmbeddedAdmission({
      load: async (_, { windows }) => ({
        spent: Object.fromEntries(windows.map(({ kind }) => [kind, spent])),
        recent: [],
      }),
      elapsed: () => NOON,
    })
    const berlin = scope({ budgets })
    const running = await admission.admit([berlin], demand(6), NOON)
    const done = await admission.admit([berlin], demand(3), NOON)
    spent = 3n
    await admission.settle(done, { tokens: 0, cost: 3n }, NOON)
    const tokyo = { ...berlin, timeZone: 'Asia/Tokyo', weekStartsOn: 7 }
    await expect(async () => admission.admit([tokyo], demand(2), NOON)).rejects.toMatchObject({
      details: { spent: '0.000000003', reserved: '0.000000006' },
    })
    await admission.settle(running, { tokens: 0, cost: 5n }, NOON)
    expect(await admission.peek([tokyo], NOON)).toMatchObject([
      { remaining: 2n, budget: { settled: 8n, reserved: 0n } },
    ])
  })
})

describe('a provider that bills more than was held (T028)', () => {
  it('is settled in full, and the next request is refused', () => {
    const one = scope({ budgets: [{ window: 'total', limit: 10n }] })
    const state = withHistory(undefined, one, NO_HISTORY, NOON)
    const grant = admit([state], [one], demand(10), NOON)
    if (!grant.ok) throw grant.refusal
    settle(state, grant.holds[0]!, { tokens: 0, cost: 14n }, NOON)
    expect(state.windows.total).toMatchObject({ settled: 14n })
    expect(admit([state], [one], demand(1), NOON).ok).toBe(false)
  })
})

describe('a budget', () => {
  it('that broke all the same is found by looking at the states alone', () => {
    const one = scope({ budgets: [{ window: 'total', limit: 10n }] })
    const state = withHistory(undefined, one, NO_HISTORY, NOON)
    admit([state], [one], demand(10), NOON)
    expect(brokenBudget([state], [one], 10n, NOON)).toBeUndefined()
    state.windows.total!.reserved += 1n
    expect(brokenBudget([state], [one], 1n, NOON)).toMatchObject({ budget: { window: 'total' } })
    // What is free passes an overrun budget.
    expect(brokenBudget([state], [one], 0n, NOON)).toBeUndefined()
  })

  it('blocks, warns and is raised by its percentages, until the raise ends', () => {
    const one = scope({
      budgets: [
        {
          window: 'total',
          limit: 100n,
          warn: 50,
          block: 80,
          raises: [{ amount: 100n, until: NOON + HOUR, reason: 'launch' }],
        },
      ],
    })
    const state = withHistory(undefined, one, NO_HISTORY, NOON)
    const status = (now: number) => {
      const [standing] = standingOf(state, one, now)
      return [standing?.max, standing?.remaining, standing?.budget?.status]
    }
    expect(admit([state], [one], demand(90), NOON).ok).toBe(true)
    expect(status(NOON)).toEqual([160n, 70n, 'ok'])
    expect(admit([state], [one], demand(20), NOON).ok).toBe(true)
    expect(status(NOON)).toEqual([160n, 50n, 'warn'])
    expect(status(NOON + HOUR)).toEqual([80n, 0n, 'blocked'])
    expect(admit([state], [one], demand(1), NOON + HOUR).ok).toBe(false)
  })

  it('that is soft counts what passes it, and never binds', () => {
    const limits: Limits = {
      concurrency: 50,
      budgets: [{ window: 'total', limit: 10n, policy: 'soft' }],
    }
    const one = scope(limits)
    const state = withHistory(undefined, one, NO_HISTORY, NOON)
    const grant = admit([state], [one], demand(30), NOON)
    expect(grant).toMatchObject({ ok: true, reserved: { cost: 30n } })
    if (!grant.ok) return
    expect(grant.standing.at(-1)?.budget?.status).toBe('soft-exceeded')
    expect(bindingOf(grant.standing)?.limit).toBe('concurrency')
  })
})

describe('a limit on some models', () => {
  it('counts what was used of these alone', () => {
    const one = {
      ...scope({}),
      model: 'openai/*',
      counts: ({ name }: { name: string }) => name.startsWith('openai/'),
    }
    const used = (name: string) => ({ name, asked: 'fast' })
    const parts = [
      { used: used('openai/a'), tokens: 5, outputTokens: 2, cost: 3n },
      { used: used('claude/b'), tokens: 50, outputTokens: 20, cost: 30n },
    ]
    expect(portionFor(one, { tokens: 55, outputTokens: 22, cost: 33n, parts })).toEqual({
      tokens: 5,
      outputTokens: 2,
      cost: 3n,
    })
  })
})

function scope(limits: Limits, timeZone = 'UTC'): Scope {
  return { kind: 'tenant', id: 'tenant_1', name: '', limits, timeZone }
}

function demand(price: number): Demand {
  return { inputTokens: 0, outputTokens: 1, clampable: false, cost: () => BigInt(price) }
}

function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
