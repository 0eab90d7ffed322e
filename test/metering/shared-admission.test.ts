import { describe, expect, it } from 'vitest'
import type { Demand, Limits, Scope } from '#protocol'
import { NO_HISTORY } from '../../src/metering/scope-state.ts'
import { createSharedAdmission, readState } from '../../src/metering/shared-admission.ts'

const NOON = Date.parse('2026-11-23T12:00Z')

describe('shared admission', () => {
  it('admits exactly what the money is for, over four processes', async () => {
    const table = rows()
    const processes = [1, 2, 3, 4].map(() => table.process())
    const scopes = [
      scope('tenant', { concurrency: 500 }),
      scope('key', { budgets: [{ window: 'day', limit: 100n }] }),
    ]
    const asked = await Promise.allSettled(
      Array.from({ length: 400 }, async (_, index) => {
        const admission = processes[index % 4]!
        const ordered = index % 2 ? scopes : scopes.toReversed()
        const grant = await admission.admit(ordered, demand(10n), NOON)
        await admission.settle(grant, { tokens: 1, cost: 10n }, NOON)
      }),
    )
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(10)
    expect(table.state('key:key_1').windows.day).toMatchObject({ settled: 100n, reserved: 0n })
    expect(table.state('tenant:tenant_1').open).toBe(0)
    expect(table.faults).toEqual([])
  })

  it('releases what a dead process held, once its lease is over', async () => {
    const table = rows()
    const dead = table.process()
    const alive = table.process()
    const scopes = [scope('key', { concurrency: 2, budgets: [{ window: 'total', limit: 100n }] })]
    await dead.admit(scopes, demand(60n), NOON)
    await alive.admit(scopes, demand(40n), NOON)
    table.now += 50_000
    await alive.renew()
    await expect(alive.admit(scopes, demand(1n), NOON)).rejects.toMatchObject({
      details: { limit: expect.anything() },
    })
    table.now += 20_000
    await alive.admit(scopes, demand(60n), NOON)
    expect(table.lapsed).toEqual(['key:key_1'])
    expect(table.state('key:key_1')).toMatchObject({
      open: 2,
      windows: { total: { reserved: 100n, settled: 0n } },
    })
  })

  it('ends a lapsed reservation at what the ledger has of its request, once', async () => {
    const table = rows()
    const scopes = [scope('key', { budgets: [{ window: 'total', limit: 100n }] })]
    const entry = { id: 'req_1.1', kind: 'attempt', requestId: 'req_1' } as const
    table.ledger.set('req_1', [{ ...entry, cost: 25n }])
    const dead = table.process()
    const grant = await dead.admit(scopes, demand(60n), NOON, 'req_1')
    const alive = table.process()
    // What recovery finds while the lease runs is left to the end of the lease.
    await alive.charge(scopes, 25n, NOON, entry)
    expect(table.state('key:key_1').windows.total).toMatchObject({ reserved: 60n, settled: 0n })
    table.now += 70_000
    expect(await alive.peek(scopes, NOON)).toMatchObject([{ remaining: 75n }])
    await alive.charge(scopes, 25n, NOON, entry)
    await alive.charge(scopes, 5n, NOON, { ...entry, id: 'req_1.2' })
    expect(await alive.peek(scopes, NOON)).toMatchObject([{ remaining: 70n }])
    // It was not dead after all: only what is new counts.
    await dead.settle(grant, { tokens: 1, cost: 30n }, NOON)
    expect(table.state('key:key_1').windows.total).toMatchObject({ reserved: 0n, settled: 30n })
  })

  it('charges a settlement that comes after the lease', async () => {
    const table = rows()
    const admission = table.process()
    const scopes = [scope('key', { budgets: [{ window: 'total', limit: 100n }] })]
    const late = await admission.admit(scopes, demand(60n), NOON)
    table.now += 70_000
    await admission.admit(scopes, demand(60n), NOON)
    await admission.settle(late, { tokens: 1, cost: 50n }, NOON)
    await admission.settle(late, { tokens: 1, cost: 50n }, NOON)
    expect(table.state('key:key_1')).toMatchObject({
      open: 1,
      windows: { total: { reserved: 60n, settled: 50n } },
    })
    expect(table.faults).toEqual(['A grant was settled twice'])
  })

  it('can settle again where storing the settlement failed', async () => {
    const table = rows()
    const admission = table.process()
    const scopes = [scope('key', { concurrency: 1 })]
    const grant = await admission.admit(scopes, demand(0n), NOON)
    table.broken = true
    await expect(admission.settle(grant, { tokens: 1, cost: 0n }, NOON)).rejects.toThrow('gone')
    table.broken = false
    await admission.settle(grant, { tokens: 1, cost: 0n }, NOON)
    expect(table.state('key:key_1').open).toBe(0)
  })

  it('extends a grant by what failed in all scopes or in none', async () => {
    const table = rows()
    const admission = table.process()
    const scopes = [
      scope('key', { budgets: [{ window: 'total', limit: 100n }] }),
      scope('tenant', { budgets: [{ window: 'day', limit: 50n }] }),
    ]
    const held = () => [
      table.state('key:key_1').windows.total?.reserved,
      table.state('tenant:tenant_1').windows.day?.reserved,
    ]
    const grant = await admission.admit(scopes, demand(20n), NOON)
    await admission.extend(grant, demand(20n), { tokens: 1, cost: 25n }, NOON)
    expect([...held(), grant.reserved.cost]).toEqual([45n, 45n, 45n])
    await expect(
      admission.extend(grant, demand(20n), { tokens: 1, cost: 6n }, NOON),
    ).rejects.toMatchObject({ code: 'insufficient_quota', details: { scope: 'tenant' } })
    expect([...held(), grant.reserved.cost]).toEqual([45n, 45n, 45n])
    await admission.settle(grant, { tokens: 2, cost: 40n }, NOON)
    expect(held()).toEqual([0n, 0n])
    expect(table.state('key:key_1').windows.total?.settled).toBe(40n)
  })

  it('extends nothing once the lease is over', async () => {
    const table = rows()
    const admission = table.process()
    const scopes = [scope('key', { budgets: [{ window: 'total', limit: 100n }] })]
    const grant = await admission.admit(scopes, demand(20n), NOON)
    table.now += 70_000
    await expect(
      admission.extend(grant, demand(20n), { tokens: 1, cost: 5n }, NOON),
    ).rejects.toMatchObject({ code: 'unavailable' })
  })

  it('frees the place of a request that is over, and keeps its money', async () => {
    const table = rows()
    const [first, second] = [table.process(), table.process()]
    const scopes = [scope('key', { concurrency: 1, budgets: [{ window: 'total', limit: 100n }] })]
    const over = await first.admit(scopes, demand(60n), NOON)
    await expect(second.admit(scopes, demand(30n), NOON)).rejects.toMatchObject({
      details: { limit: 'concurrency' },
    })
    await first.freeSlot(over)
    await second.admit(scopes, demand(30n), NOON)
    expect(table.state('key:key_1')).toMatchObject({
      open: 1,
      windows: { total: { reserved: 90n } },
    })
    await first.settle(over, { tokens: 1, cost: 50n }, NOON)
    await first.freeSlot(over)
    expect(table.state('key:key_1')).toMatchObject({
      open: 1,
      windows: { total: { reserved: 30n, settled: 50n } },
    })
    expect(table.faults).toEqual([])
  })

  it('leaves a place to the settlement where it cannot be freed before', async () => {
    const table = rows()
    const admission = table.process()
    const scopes = [scope('key', { concurrency: 1 })]
    const grant = await admission.admit(scopes, demand(0n), NOON)
    table.broken = true
    await admission.freeSlot(grant)
    expect(table.faults).toEqual(['A place among the requests under way was not freed early'])
    table.broken = false
    await admission.settle(grant, { tokens: 1, cost: 0n }, NOON)
    expect(table.state('key:key_1').open).toBe(0)
  })

  it('asks nobody where nothing is limited', async () => {
    const table = rows()
    table.broken = true
    const admission = table.process()
    const grant = await admission.admit([scope('key', {})], demand(1n), NOON)
    await admission.settle(grant, { tokens: 1, cost: 0n }, NOON)
    expect(grant).toMatchObject({ outputTokens: 1, standing: [] })
  })
})

/** A table with row locks, as small as can be: one transaction at a time. */
function rows() {
  const stored = new Map<string, string>()
  let last: Promise<unknown> = Promise.resolve()
  const table = {
    now: NOON,
    broken: false,
    lapsed: [] as string[],
    faults: [] as string[],
    ledger: new Map<string, readonly { readonly id: string; readonly cost: bigint }[]>(),
    state: (id: string) => readState(stored.get(id) ?? ''),
    process: () =>
      createSharedAdmission({
        withScopes,
        load: async () => NO_HISTORY,
        entriesOf: async (requestId) =>
          (table.ledger.get(requestId) ?? []).map((entry) => ({
            ...entry,
            provider: 'stand',
            model: 'm1',
            modelAsked: 'm1',
          })),
        onLapsed: (scopeId) => void table.lapsed.push(scopeId),
        onFault: (message) => void table.faults.push(message),
      }),
  }
  return table

  function withScopes<T>(
    ids: readonly string[],
    decide: (
      states: readonly (string | undefined)[],
      now: number,
    ) => Promise<{ readonly states: readonly string[]; readonly result: T }>,
  ): Promise<T> {
    const run = last.then(async () => {
      if (table.broken) throw new Error('gone')
      if (ids.join() !== ids.toSorted().join()) table.faults.push('locks out of order')
      const { states, result } = await decide(
        ids.map((id) => stored.get(id)),
        table.now,
      )
      for (const [index, id] of ids.entries()) stored.set(id, states[index]!)
      return result
    })
    last = run.catch(() => undefined)
    return run
  }
}

function scope(kind: Scope['kind'], limits: Limits, id = `${kind}_1`): Scope {
  return { kind, id, name: '', limits, timeZone: 'UTC' }
}

function demand(price: bigint): Demand {
  return { inputTokens: 0, outputTokens: 1, clampable: false, cost: () => price }
}
