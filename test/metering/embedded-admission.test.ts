import { describe, expect, it } from 'vitest'
import type { Demand, Grant, Limits, Scope } from '#protocol'
import { createEmbeddedAdmission } from '../../src/metering/embedded-admission.ts'
import { type History, type Missing, NO_HISTORY } from '../../src/metering/scope-state.ts'

const NOON = Date.parse('2026-11-23T12:00Z')

describe('embedded admission', () => {
  it('admits exactly what the money is for, however many ask at once', async () => {
    for (let seed = 1; seed <= 100; seed++) {
      const random = generator(seed)
      const price = BigInt(1 + Math.floor(random() * 1e9))
      const limit = price * 10n + BigInt(Math.floor(random() * Number(price)))
      const { admission } = start(async () => {
        await pause(random)
        return NO_HISTORY
      })
      const scopes = [scope('key', { budgets: [{ window: 'month', limit }] }), scope('tenant', {})]
      const asked = await Promise.allSettled(
        Array.from({ length: 1000 }, async () => {
          if (random() < 0.3) await pause(random)
          const grant = await admission.admit(scopes, demand(price), NOON)
          await pause(random)
          await admission.settle(grant, { tokens: 1, cost: price }, NOON)
        }),
      )
      expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(10)
    }
  })

  it('answers at once where everything is in memory', async () => {
    const { admission } = start()
    const unlimited = [scope('key', {})]
    expect(admission.admit(unlimited, demand(1n), NOON)).not.toBeInstanceOf(Promise)
    const limited = [scope('key', { concurrency: 5 })]
    await admission.admit(limited, demand(1n), NOON)
    expect(admission.admit(limited, demand(1n), NOON)).not.toBeInstanceOf(Promise)
  })

  it('reads each scope of the ledger once, and starts from there', async () => {
    const asked: unknown[] = []
    const { admission } = start(async ({ kind }, missing) => {
      asked.push([kind, missing])
      const recent = [{ at: NOON - 1000, requests: 2, input: 0, output: 0 }]
      return { spent: { day: 70n }, recent }
    })
    const limits = { requestsPerMinute: 5, budgets: [{ window: 'day', limit: 100n }] } as const
    const scopes = [scope('key', limits)]
    const all = await Promise.allSettled(
      Array.from({ length: 9 }, async () => admission.admit(scopes, demand(10n), NOON)),
    )
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
    expect(asked).toEqual([
      [
        'key',
        {
          windows: [{ kind: 'day', start: Date.parse('2026-11-23T00:00Z') }],
          recentSince: NOON - 60_000,
        },
      ],
    ])
  })

  it('reads the ledger again for a budget that was added', async () => {
    const { admission } = start(async (_, { windows }) => ({
      spent: Object.fromEntries(windows.map(({ kind }) => [kind, kind === 'day' ? 1n : 100n])),
      recent: [],
    }))
    const day = { window: 'day', limit: 10n } as const
    await admission.admit([scope('key', { budgets: [day] })], demand(1n), NOON)
    const both = scope('key', { budgets: [day, { window: 'total', limit: 50n }] })
    await expect(async () => admission.admit([both], demand(1n), NOON)).rejects.toMatchObject({
      code: 'insufficient_quota',
      details: { window: 'total', spent: '0.0000001' },
    })
  })

  it('keeps what is under way when the time zone changes', async () => {
    const { admission } = start()
    const limits = { concurrency: 1, budgets: [{ window: 'total', limit: 50n }] } as const
    const grant = await admission.admit([scope('key', limits)], demand(40n), NOON)
    const moved = { ...scope('key', limits), timeZone: 'Asia/Tokyo' }
    await expect(async () => admission.admit([moved], demand(1n), NOON)).rejects.toMatchObject({
      details: { limit: 'concurrency' },
    })
    await admission.settle(grant, { tokens: 1, cost: 40n }, NOON)
    expect(await admission.peek([moved], NOON)).toMatchObject([
      { limit: 'concurrency', remaining: 1n },
      { limit: 'budget', remaining: 10n },
    ])
  })

  it('settles a grant once', async () => {
    const { admission, faults } = start()
    const scopes = [scope('key', { budgets: [{ window: 'total', limit: 50n }] })]
    const grant = await admission.admit(scopes, demand(10n), NOON)
    for (let times = 0; times < 3; times++) {
      await admission.settle(grant, { tokens: 1, cost: 5n }, NOON)
    }
    expect(await admission.peek(scopes, NOON)).toMatchObject([{ remaining: 45n }])
    expect(faults).toEqual(['A grant was settled twice', 'A grant was settled twice'])
  })

  it('extends a grant by what failed, and settles all of it', async () => {
    const { admission } = start()
    const scopes = [scope('key', { budgets: [{ window: 'total', limit: 50n }] })]
    const left = async () => (await admission.peek(scopes, NOON))[0]?.remaining
    const grant = await admission.admit(scopes, demand(20n), NOON)
    await admission.extend(grant, demand(20n), { tokens: 1, cost: 15n }, NOON)
    expect([grant.reserved.cost, await left()]).toEqual([35n, 15n])
    await expect(async () =>
      admission.extend(grant, demand(20n), { tokens: 1, cost: 16n }, NOON),
    ).rejects.toMatchObject({ code: 'insufficient_quota' })
    expect([grant.reserved.cost, await left()]).toEqual([35n, 15n])
    await admission.settle(grant, { tokens: 2, cost: 30n }, NOON)
    expect(await left()).toBe(20n)
  })

  it('keeps an idle scope whose money is still held', async () => {
    let elapsed = 0
    const { admission } = start(undefined, () => elapsed)
    const limits = { concurrency: 1, budgets: [{ window: 'total', limit: 50n }] } as const
    const scopes = [scope('key', limits)]
    const grant = await admission.admit(scopes, demand(20n), NOON)
    await admission.freeSlot(grant)
    elapsed = 1_000_000
    for (let id = 0; id < 10_001; id++) {
      await admission.peek([scope('key', { concurrency: 1 }, `key_${id}`)], NOON)
    }
    expect(await admission.peek(scopes, NOON)).toMatchObject([
      { limit: 'concurrency', remaining: 1n },
      { limit: 'budget', remaining: 30n },
    ])
  })

  for (const [what, settlement] of [
    ['a negative cost', { tokens: 5, cost: -1_000n }],
    ['negative tokens', { tokens: -5, cost: 0n }],
    ['no number', { tokens: Number.NaN, cost: 0n }],
  ] as const) {
    it(`credits nobody for ${what}`, async () => {
      const { admission, faults } = start()
      const scopes = [scope('key', { budgets: [{ window: 'total', limit: 50n }] })]
      const grant = await admission.admit(scopes, demand(10n), NOON)
      await admission.settle(grant, settlement, NOON)
      expect(await admission.peek(scopes, NOON)).toMatchObject([{ remaining: 50n }])
      expect(faults).toEqual(['A settlement was not a usable amount'])
    })
  }

  it('refuses everything while the ledger cannot be read, and recovers', async () => {
    let broken = true
    const { admission } = start(async () => {
      if (broken) throw new Error('disk')
      return NO_HISTORY
    })
    const scopes = [scope('key', { requestsPerMinute: 1 })]
    const ask = async (): Promise<Grant> => admission.admit(scopes, demand(1n), NOON)
    await expect(ask()).rejects.toMatchObject({ code: 'unavailable', retryable: true })
    broken = false
    expect(await ask()).toMatchObject({ outputTokens: 1 })
  })

  it('counts corrections', async () => {
    const { admission } = start()
    const scopes = [scope('key', { budgets: [{ window: 'day', limit: 50n }] })]
    await admission.peek(scopes, NOON)
    await admission.charge(scopes, 20n, NOON)
    await admission.charge(scopes, 20n, NOON - 86_400_000)
    expect(await admission.peek(scopes, NOON)).toMatchObject([{ remaining: 30n }])
  })

  it('lets idle scopes go and reads them again', async () => {
    const read: string[] = []
    let elapsed = 0
    const { admission } = start(
      async ({ id }) => {
        read.push(id)
        return NO_HISTORY
      },
      () => elapsed,
    )
    const busy = scope('key', { concurrency: 2, requestsPerMinute: 2 }, 'busy')
    await admission.admit([busy], demand(1n), NOON)
    const idle = scope('key', { requestsPerMinute: 2 }, 'idle')
    await admission.settle(
      await admission.admit([idle], demand(1n), NOON),
      { tokens: 0, cost: 0n },
      NOON,
    )
    elapsed = 1_000_000
    for (let id = 0; id < 10_001; id++) {
      await admission.peek([scope('key', { concurrency: 1 }, `key_${id}`)], NOON)
    }
    read.length = 0
    await admission.admit([busy], demand(1n), NOON)
    await admission.admit([idle], demand(1n), NOON)
    expect(read).toEqual(['idle'])
  })
})

function start(
  load: (scope: Scope, missing: Missing) => Promise<History> = async () => NO_HISTORY,
  elapsed = () => NOON,
) {
  const faults: string[] = []
  const onFault = (message: string): void => void faults.push(message)
  return { admission: createEmbeddedAdmission({ load, elapsed, onFault }), faults }
}

function scope(kind: Scope['kind'], limits: Limits, id = `${kind}_1`): Scope {
  return { kind, id, name: '', limits, timeZone: 'UTC' }
}

function demand(price: bigint): Demand {
  return { inputTokens: 0, outputTokens: 1, clampable: false, cost: () => price }
}

async function pause(random: () => number): Promise<void> {
  for (let turns = Math.floor(random() * 4); turns > 0; turns--) await Promise.resolve()
}

function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
