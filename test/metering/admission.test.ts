import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { GatewayError } from '#errors'
import type { Demand, Limits, Scope, Settlement } from '#protocol'
import {
  admit,
  charge,
  extend,
  freeSlot,
  settle,
  standingOf,
} from '../../src/metering/admission.ts'
import { NO_HISTORY, type ScopeState, withHistory } from '../../src/metering/scope-state.ts'

const NOON = Date.parse('2026-11-23T12:00Z')

describe('requests per minute', () => {
  it('are never more than the limit in any 60 seconds', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 20, maxLength: 60 }),
        fc.integer({ min: 0, max: 999 }),
        (limit, gaps, offset) => {
          const { ask } = gate({ requestsPerMinute: limit })
          const admitted: number[] = []
          let now = NOON + offset
          for (const gap of gaps) {
            now += gap
            if (ask(demand(), now).ok) admitted.push(now)
          }
          for (const from of admitted) {
            const within = admitted.filter((time) => time >= from && time < from + 60_000)
            expect(within.length).toBeLessThanOrEqual(limit)
          }
        },
      ),
    )
  })

  it('say when to come back, and are then admitted', () => {
    const { ask } = gate({ requestsPerMinute: 2 })
    ask(demand(), NOON + 100)
    ask(demand(), NOON + 5_300)
    const refusal = refused(ask(demand(), NOON + 6_200))
    expect(refusal).toMatchObject({
      code: 'rate_limit_exceeded',
      retryable: true,
      retryAfterMs: 54_800,
      details: { limit: 'rpm', scope: 'key', scope_id: 'key_1', max: 2, remaining: 0 },
    })
    expect(ask(demand(), NOON + 6_200 + 54_799).ok).toBe(false)
    expect(ask(demand(), NOON + 6_200 + 54_800).ok).toBe(true)
  })

  it('come back in no case because a clock was set back', () => {
    const { ask } = gate({ requestsPerMinute: 1 })
    ask(demand(), NOON)
    for (const minutes of [-60, -59.5, -1440, -1439.6]) {
      expect(ask(demand(), NOON + minutes * 60_000).ok).toBe(false)
    }
    expect(ask(demand(), NOON - 1440 * 60_000 + 62_000).ok).toBe(true)
  })

  it('go by the clock that nobody sets', () => {
    const { ask } = gate({ requestsPerMinute: 1 })
    ask(demand(), NOON, 1000)
    expect(ask(demand(), NOON + 3_600_000, 2000).ok).toBe(false)
    expect(ask(demand(), NOON - 3_600_000, 62_000).ok).toBe(true)
  })
})

describe('tokens per minute', () => {
  it('hold the input and the maximum the caller set', () => {
    const { ask } = gate({ tokensPerMinute: 100 })
    expect(ask(demand({ inputTokens: 30, outputTokens: 40 })).ok).toBe(true)
    expect(refused(ask(demand({ inputTokens: 30, outputTokens: 1 })))).toMatchObject({
      details: { limit: 'tpm', max: 100, remaining: 30 },
    })
    expect(ask(demand({ inputTokens: 29, outputTokens: 1 })).ok).toBe(true)
  })

  it('hold little for an open end, and count the truth when it settles', () => {
    const { ask, state } = gate({ tokensPerMinute: 10_000 })
    const first = ask(demand({ inputTokens: 100, outputTokens: 128_000, clampable: true }))
    expect(first).toMatchObject({ outputTokens: 128_000, reserved: { tokens: 1124 } })
    settle(state, holdOf(first), { tokens: 9_990, cost: 0n }, NOON + 2000)
    const second = ask(
      demand({ inputTokens: 5, outputTokens: 128_000, clampable: true }),
      NOON + 3000,
    )
    expect(second).toMatchObject({ reserved: { tokens: 10 } })
    expect(ask(demand({ inputTokens: 1 }), NOON + 3000).ok).toBe(false)
  })

  it('give back what was not used', () => {
    const { ask, state } = gate({ tokensPerMinute: 100 })
    const grant = ask(demand({ inputTokens: 50, outputTokens: 50 }))
    settle(state, holdOf(grant), { tokens: 10, cost: 0n }, NOON + 30_000)
    expect(ask(demand({ inputTokens: 90, outputTokens: 0 }), NOON + 30_000).ok).toBe(true)
  })

  it('refuse for good what no minute could hold', () => {
    const { ask } = gate({ tokensPerMinute: 100 })
    const refusal = refused(ask(demand({ inputTokens: 60, outputTokens: 41 })))
    expect(refusal).toMatchObject({ code: 'rate_limit_exceeded', retryable: false })
    expect(refusal.retryAfterMs).toBeUndefined()
    expect(refusal.message).toContain('can never fit')
  })
})

describe('concurrency', () => {
  it('counts what is under way', () => {
    const { ask, state } = gate({ concurrency: 2 })
    const first = ask(demand())
    ask(demand())
    expect(refused(ask(demand()))).toMatchObject({
      details: { limit: 'concurrency', max: 2 },
      retryAfterMs: 1000,
    })
    settle(state, holdOf(first), { tokens: 0, cost: 0n }, NOON)
    expect(ask(demand()).ok).toBe(true)
  })

  it('frees a place once, when the request is over or else when it settles', () => {
    const { ask, state } = gate({ concurrency: 2, budgets: [{ window: 'total', limit: 10n }] })
    const over = ask(demand({ outputTokens: 4, perToken: 1n }))
    ask(demand())
    freeSlot(state, holdOf(over), NOON)
    freeSlot(state, holdOf(over), NOON)
    expect(state).toMatchObject({ open: 1, windows: { total: { reserved: 4n } } })
    settle(state, holdOf(over), { tokens: 4, cost: 4n }, NOON)
    expect(state).toMatchObject({ open: 1, windows: { total: { reserved: 0n, settled: 4n } } })
  })
})

describe('a budget', () => {
  it('refuses with the sum, the window and no retry-after', () => {
    const { ask, state } = gate({ budgets: [{ window: 'day', limit: 1_000_000_000n }] })
    charge(state, 900_000_000n, NOON)
    const refusal = refused(ask(demand({ outputTokens: 200, perToken: 1_000_000n })))
    expect(refusal).toMatchObject({
      code: 'insufficient_quota',
      status: 429,
      retryAfterMs: undefined,
      details: {
        scope: 'key',
        scope_id: 'key_1',
        name: 'robot',
        limit: '1',
        spent: '0.9',
        reserved: '0',
        needed: '0.2',
        currency: 'USD',
        window: 'day',
        resets_at: '2026-11-24T00:00:00.000Z',
      },
    })
    expect(refusal.message).toContain('Key "robot" may spend 1 USD per day')
  })

  it('lowers an open end to what it can still afford', () => {
    const { ask, state } = gate({ budgets: [{ window: 'total', limit: 1000n }] })
    charge(state, 1n, NOON)
    const open = demand({ outputTokens: 100_000, clampable: true, perToken: 7n })
    expect(ask(open)).toMatchObject({ outputTokens: 142, reserved: { cost: 994n } })
    expect(refused(ask(open)).code).toBe('insufficient_quota')
  })

  it('lets pass what is free, however spent it is', () => {
    const { ask, state } = gate({ budgets: [{ window: 'total', limit: 10n }] })
    charge(state, 50n, NOON)
    expect(ask(demand({ perToken: 0n })).ok).toBe(true)
    expect(ask(demand({ perToken: 1n })).ok).toBe(false)
    const open = demand({ outputTokens: 500, clampable: true, perToken: 0n })
    expect(ask(open)).toMatchObject({ outputTokens: 500 })
  })

  it('holds money once where two share a window', () => {
    const limits = [10n, 20n].map((limit) => ({ window: 'day' as const, limit }))
    const { ask, state } = gate({ budgets: limits })
    const grant = ask(demand({ outputTokens: 6, perToken: 1n }))
    expect(state.windows.day?.reserved).toBe(6n)
    settle(state, holdOf(grant), { tokens: 6, cost: 6n }, NOON)
    expect(state.windows.day).toMatchObject({ reserved: 0n, settled: 6n })
    expect(refused(ask(demand({ outputTokens: 5, perToken: 1n })))).toMatchObject({
      details: { limit: '0.00000001' },
    })
  })

  it('refuses what has no price', () => {
    const { ask } = gate({ budgets: [{ window: 'total', limit: 10n }] })
    const { inputTokens, outputTokens, clampable } = demand()
    const unpriced = { inputTokens, outputTokens, clampable, cost: undefined }
    expect(refused(ask(unpriced)).code).toBe('unpriced_model')
    expect(gate({ requestsPerMinute: 1 }).ask(unpriced).ok).toBe(true)
  })

  it('is full again in its next window, where the old one settles no more', () => {
    const { ask, state } = gate({ budgets: [{ window: 'day', limit: 10n }] })
    const late = ask(demand({ outputTokens: 10, perToken: 1n }), NOON + 11.9 * 3_600_000)
    const tomorrow = NOON + 12.1 * 3_600_000
    expect(ask(demand({ outputTokens: 8, perToken: 1n }), tomorrow).ok).toBe(true)
    settle(state, holdOf(late), { tokens: 10, cost: 10n }, tomorrow)
    expect(state.windows.day).toMatchObject({ settled: 0n, reserved: 8n })
  })

  it('is not full again because a clock was set back', () => {
    const { ask, state } = gate({ budgets: [{ window: 'day', limit: 10n }] })
    charge(state, 10n, NOON)
    expect(ask(demand({ perToken: 1n }), NOON - 48 * 3_600_000).ok).toBe(false)
  })

  it('takes an overrun whole, and then refuses', () => {
    const { ask, state } = gate({ budgets: [{ window: 'total', limit: 10n }] })
    const grant = ask(demand({ outputTokens: 10, perToken: 1n }))
    settle(state, holdOf(grant), { tokens: 10, cost: 25n }, NOON)
    expect(refused(ask(demand({ perToken: 1n }))).details).toMatchObject({ spent: '0.000000025' })
  })
})

describe('another attempt', () => {
  const spent = (cost: bigint, tokens = 0) => ({ cost, tokens })

  it('is held beside what the failed one cost', () => {
    const { ask, more, state } = gate({ budgets: [{ window: 'day', limit: 100n }] })
    const grant = granted(ask(demand({ outputTokens: 60, perToken: 1n })))
    expect(more(grant, spent(40n))).toMatchObject({ ok: true, reserved: { cost: 100n } })
    expect(state.windows.day).toMatchObject({ reserved: 100n })
    settle(state, holdOf(grant), { tokens: 0, cost: 75n }, NOON)
    expect(state.windows.day).toMatchObject({ reserved: 0n, settled: 75n })
  })

  it('is refused where the budget has no room for both, and nothing changes', () => {
    const { ask, more, state } = gate({ budgets: [{ window: 'day', limit: 100n }] })
    const grant = granted(ask(demand({ outputTokens: 60, perToken: 1n })))
    const before = JSON.stringify(state, text)
    const refusal = refused(more(grant, spent(41n)))
    expect(refusal).toMatchObject({
      code: 'insufficient_quota',
      details: { needed: '0.000000041', reserved: '0.00000006', limit: '0.0000001' },
    })
    expect(refusal.message).toContain('another attempt takes 0.000000041')
    expect(JSON.stringify(state, text)).toBe(before)
  })

  it('gives up output where the caller set no maximum', () => {
    const { ask, more, state } = gate({ budgets: [{ window: 'total', limit: 100n }] })
    const open = demand({ outputTokens: 4096, clampable: true, perToken: 1n })
    const grant = granted(ask(open))
    expect(grant.outputTokens).toBe(100)
    const second = granted(more(grant, spent(30n), open))
    expect(second).toMatchObject({ outputTokens: 70, reserved: { cost: 100n } })
    expect(granted(more({ ...grant, ...second }, spent(69n), open)).outputTokens).toBe(1)
    expect(state.windows.total).toMatchObject({ reserved: 100n })
    expect(refused(more({ ...grant, outputTokens: 1 }, spent(1n), open)).code).toBe(
      'insufficient_quota',
    )
  })

  it('is refused where the minute has no tokens for both', () => {
    const { ask, more } = gate({ tokensPerMinute: 100 })
    const grant = granted(ask(demand({ inputTokens: 40, outputTokens: 10 })))
    expect(refused(more(grant, spent(0n, 51)))).toMatchObject({
      code: 'rate_limit_exceeded',
      details: { limit: 'tpm' },
    })
    expect(more(grant, spent(0n, 50))).toMatchObject({ ok: true, reserved: { tokens: 100 } })
    expect(ask(demand({ inputTokens: 1 })).ok).toBe(false)
  })

  it('is refused by a budget whose window is over', () => {
    const { ask, more } = gate({ budgets: [{ window: 'day', limit: 100n }] })
    const grant = granted(ask(demand({ outputTokens: 10, perToken: 1n })))
    const tomorrow = NOON + 86_400_000
    expect(more(grant, spent(0n), undefined, tomorrow).ok).toBe(true)
    expect(refused(more(grant, spent(1n), undefined, tomorrow))).toMatchObject({
      code: 'insufficient_quota',
      details: { window: 'day' },
    })
  })
})

describe('several scopes', () => {
  const limits: Record<string, Limits> = {
    key: {
      requestsPerMinute: 40,
      concurrency: 6,
      budgets: [
        { window: 'day', limit: 300n },
        { window: 'total', limit: 2000n },
      ],
    },
    application: { tokensPerMinute: 500, budgets: [{ window: 'day', limit: 400n }] },
    tenant: { concurrency: 9, budgets: [{ window: 'month', limit: 1500n }] },
  }

  it('change nothing where one refuses', () => {
    const scopes = [scope('key', { concurrency: 5 }), scope('tenant', { concurrency: 0 })]
    const states = scopes.map((one) => withHistory(undefined, one, NO_HISTORY, NOON))
    const before = JSON.stringify(states)
    expect(admit(states, scopes, demand(), NOON).ok).toBe(false)
    expect(JSON.stringify(states)).toBe(before)
  })

  it('extend no grant where one refuses', () => {
    const budget = (limit: bigint): Limits => ({ budgets: [{ window: 'day', limit }] })
    const scopes = [
      scope('key', { ...budget(100n), tokensPerMinute: 9 }),
      scope('tenant', budget(50n)),
    ]
    const states = scopes.map((one) => withHistory(undefined, one, NO_HISTORY, NOON))
    const what = demand({ outputTokens: 5, perToken: 5n })
    const grant = granted(admit(states, scopes, what, NOON))
    const before = JSON.stringify([states, grant.holds], text)
    for (const spent of [
      { cost: 26n, tokens: 1 },
      { cost: 1n, tokens: 5 },
    ]) {
      expect(extend(states, scopes, grant.holds, grant, what, spent, NOON).ok).toBe(false)
      expect(JSON.stringify([states, grant.holds], text)).toBe(before)
    }
  })

  it('keep every limit at every level, whatever comes in whatever order', () => {
    const step = fc.oneof(
      fc.record({
        type: fc.constant('admit' as const),
        keys: fc.integer({ min: 0, max: 2 }),
        input: fc.integer({ min: 0, max: 60 }),
        output: fc.integer({ min: 0, max: 90 }),
        clampable: fc.boolean(),
      }),
      fc.record({
        type: fc.constant('settle' as const),
        which: fc.nat(20),
        share: fc.integer({ min: 0, max: 100 }),
      }),
      fc.record({
        type: fc.constant('fail' as const),
        which: fc.nat(20),
        share: fc.integer({ min: 1, max: 100 }),
      }),
      fc.record({
        type: fc.constant('free' as const),
        which: fc.nat(20),
      }),
      fc.record({
        type: fc.constant('wait' as const),
        ms: fc.integer({ min: -5000, max: 9_000_000 }),
      }),
    )
    fc.assert(
      fc.property(fc.array(step, { minLength: 30, maxLength: 120 }), (steps) => {
        const tenant = scope('tenant', limits['tenant']!)
        const application = scope('application', limits['application']!)
        const keys = [1, 2, 3].map((id) => scope('key', limits['key']!, `key_${id}`))
        const all = new Map(
          [tenant, application, ...keys].map((one) => [
            one,
            withHistory(undefined, one, NO_HISTORY, NOON),
          ]),
        )
        const open: Held[] = []
        const shareOf = ({ cost, tokens }: Held, share: number) => ({
          cost: (cost * BigInt(share)) / 100n,
          tokens: Math.floor((tokens * share) / 100),
        })
        let now = NOON
        for (const one of steps) {
          if (one.type === 'wait') now += one.ms
          else if (one.type === 'admit') {
            const scopes = [keys[one.keys]!, application, tenant]
            const states = scopes.map((each) => all.get(each)!)
            const asked = demand({
              inputTokens: one.input,
              outputTokens: one.output,
              clampable: one.clampable,
              perToken: 3n,
            })
            const grant = admit(states, scopes, asked, now)
            if (!grant.ok) continue
            expect(grant.outputTokens).toBeLessThanOrEqual(one.output)
            open.push({
              scopes,
              grant: { ...grant },
              asked,
              cost: grant.reserved.cost,
              tokens: Math.min(grant.reserved.tokens, one.input + grant.outputTokens),
            })
          } else if (one.type === 'settle') {
            const [held] = open.splice(one.which % Math.max(1, open.length), 1)
            if (!held) continue
            const settlement = shareOf(held, one.share)
            for (const [index, each] of held.scopes.entries()) {
              settle(all.get(each)!, held.grant.holds[index]!, settlement, now)
            }
          } else {
            const held = open[one.which % Math.max(1, open.length)]
            if (!held) continue
            const states = held.scopes.map((each) => all.get(each)!)
            const { holds } = held.grant
            if (one.type === 'free') {
              for (const [index, state] of states.entries()) freeSlot(state, holds[index]!, now)
              continue
            }
            // An attempt costs no more than its own bound, and is then made again.
            const attempt = { ...held, cost: held.asked.cost!(held.grant.outputTokens) }
            const spent = shareOf(attempt, one.share)
            const { asked, grant } = held
            const more = extend(states, held.scopes, holds, grant, asked, spent, now)
            if (!more.ok) continue
            Object.assign(grant, { outputTokens: more.outputTokens, reserved: more.reserved })
            held.cost = more.reserved.cost
            held.tokens += spent.tokens
          }
          for (const [each, state] of all) expectWithin(each, state)
        }
        for (const held of open) {
          for (const [index, each] of held.scopes.entries()) {
            settle(all.get(each)!, held.grant.holds[index]!, { tokens: 0, cost: 0n }, now)
          }
        }
        for (const state of all.values()) {
          expect(state.open).toBe(0)
          for (const window of Object.values(state.windows)) expect(window.reserved).toBe(0n)
        }
      }),
      { numRuns: 100 },
    )
  })

  it('say how each stands', () => {
    const { ask, state, scopes } = gate({
      requestsPerMinute: 10,
      concurrency: 3,
      budgets: [{ window: 'total', limit: 100n }],
    })
    const granted = ask(demand({ outputTokens: 4, perToken: 5n }))
    const standing = [
      { limit: 'requests', max: 10n, remaining: 9n, resetsAt: NOON + 61_000 },
      { limit: 'concurrency', max: 3n, remaining: 2n },
      { limit: 'budget', window: 'total', max: 100n, remaining: 80n },
    ]
    expect(granted).toMatchObject({ standing })
    expect(standingOf(state, scopes[0]!, NOON)).toMatchObject(standing)
  })
})

type Granted = Extract<ReturnType<typeof admit>, { ok: true }>

/** A request under way, and the most it can settle at. */
interface Held {
  readonly scopes: readonly Scope[]
  readonly grant: Granted
  readonly asked: Demand
  cost: bigint
  tokens: number
}

function gate(limits: Limits) {
  const scopes = [scope('key', limits)]
  const state = withHistory(undefined, scopes[0]!, NO_HISTORY, NOON)
  return {
    scopes,
    state,
    ask: (what: Demand, now = NOON, elapsed = now) => admit([state], scopes, what, now, elapsed),
    more: (
      grant: Granted,
      spent: Settlement,
      what = demand({ outputTokens: grant.outputTokens, perToken: 1n }),
      now = NOON,
    ) => extend([state], scopes, grant.holds, grant, what, spent, now),
  }
}

function scope(kind: Scope['kind'], limits: Limits, id = `${kind}_1`): Scope {
  return { kind, id, name: 'robot', limits, timeZone: 'UTC' }
}

function demand({
  inputTokens = 0,
  outputTokens = 1,
  clampable = false,
  perToken = 0n,
} = {}): Demand {
  const cost = (output: number) => BigInt(output) * perToken
  return { inputTokens, outputTokens, clampable, cost }
}

function refused(decision: ReturnType<typeof admit | typeof extend>): GatewayError {
  if (decision.ok) throw new Error('admitted')
  return decision.refusal
}

function granted<T extends { readonly ok: boolean }>(
  decision: T,
): Extract<T, { readonly ok: true }> {
  if (!decision.ok) throw Reflect.get(decision, 'refusal')
  return decision as Extract<T, { readonly ok: true }>
}

function holdOf(decision: ReturnType<typeof admit>) {
  return granted(decision).holds[0]!
}

function text(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}` : value
}

function expectWithin({ limits }: Scope, state: ScopeState): void {
  for (const { window, limit } of limits.budgets ?? []) {
    const { settled, reserved } = state.windows[window]!
    expect(settled).toBeGreaterThanOrEqual(0n)
    expect(reserved).toBeGreaterThanOrEqual(0n)
    expect(settled + reserved).toBeLessThanOrEqual(limit)
  }
  expect(state.open).toBeLessThanOrEqual(limits.concurrency ?? Infinity)
  if (!state.ring) return
  expect(state.ring.requestSum).toBeLessThanOrEqual(limits.requestsPerMinute ?? Infinity)
  const { inputSum, outputSum } = state.ring
  expect(inputSum + outputSum).toBeLessThanOrEqual(limits.tokensPerMinute ?? Infinity)
  expect(state.ring.requestSum).toBe(state.ring.requests.reduce((sum, count) => sum + count, 0))
  expect(inputSum).toBe(state.ring.input.reduce((sum, count) => sum + count, 0))
  expect(outputSum).toBe(state.ring.output.reduce((sum, count) => sum + count, 0))
}
