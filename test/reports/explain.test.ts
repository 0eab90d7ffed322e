import { describe, expect, it } from 'vitest'
import { EFFECTS, explain } from '../../src/reports/explain.ts'
import type { GroupSpend } from '../../src/reports/explain.ts'
import { dice } from '../gateway/dice.ts'
import type { Dice } from '../gateway/dice.ts'

/** @param lines quantity and cost by type */
function spend(
  group: string,
  requests: number,
  lines: Readonly<Record<string, readonly [number, bigint]>>,
): GroupSpend {
  const all = Object.entries(lines).map(([type, [quantity, cost]]) => ({ type, quantity, cost }))
  return {
    group: [group],
    requests,
    cost: all.reduce((sum, { cost }) => sum + cost, 0n),
    lines: all,
  }
}

describe('explaining a change of cost', () => {
  it.each([
    ['volume', spend('a', 20, { input: [200, 2000n] })],
    ['size', spend('a', 10, { input: [200, 2000n] })],
    ['price', spend('a', 10, { input: [100, 2000n] })],
  ] as const)('sees %s where only that changed', (effect, after) => {
    const { effects } = explain([spend('a', 10, { input: [100, 1000n] })], [after])
    expect(effects).toEqual({
      volume: 0n,
      mix: 0n,
      size: 0n,
      composition: 0n,
      price: 0n,
      [effect]: 1000n,
    })
  })

  it('sees mix where requests moved to a dearer group', () => {
    const one = (requests: number): Parameters<typeof spend>[2] => ({
      input: [10 * requests, 100n * BigInt(requests)],
    })
    const dear = (requests: number): Parameters<typeof spend>[2] => ({
      input: [10 * requests, 1000n * BigInt(requests)],
    })
    const { effects, groups } = explain(
      [spend('cheap', 8, one(8)), spend('dear', 2, dear(2))],
      [spend('cheap', 5, one(5)), spend('dear', 5, dear(5))],
    )
    expect(effects).toEqual({ volume: 0n, mix: 2700n, size: 0n, composition: 0n, price: 0n })
    expect(groups.map(({ group }) => group[0])).toEqual(['dear', 'cheap'])
  })

  it('sees composition where fewer tokens came from the cache', () => {
    const { effects } = explain(
      [spend('a', 10, { input: [500, 5000n], cache_read: [500, 500n] })],
      [spend('a', 10, { input: [1000, 10_000n] })],
    )
    expect(effects).toEqual({ volume: 0n, mix: 0n, size: 0n, composition: 4500n, price: 0n })
  })

  it('counts a group that is new or gone as mix, and all as volume after nothing', () => {
    const made = spend('new', 3, { output: [30, 900n] })
    expect(explain([], [made]).effects.volume).toBe(900n)
    const old = spend('old', 3, { output: [30, 900n] })
    expect(explain([old], [old, made]).effects).toMatchObject({ volume: 900n, mix: 0n })
    const gone = explain([made], [])
    expect(gone.effects.volume + gone.effects.mix).toBe(-900n)
  })

  it('adds up exactly, whatever changed', () => {
    const random = dice(7)
    for (let round = 0; round < 2000; round += 1) {
      const [before, after] = [ledger(random), ledger(random)]
      const explained = explain(before, after)
      const total = (spends: readonly GroupSpend[]): bigint =>
        spends.reduce((sum, { cost }) => sum + cost, 0n)
      const change = total(after) - total(before)
      expect(EFFECTS.reduce((sum, effect) => sum + explained.effects[effect], 0n)).toBe(change)
      for (const group of explained.groups) {
        const effects = EFFECTS.reduce((sum, effect) => sum + group.effects[effect], 0n)
        expect(effects).toBe(group.after - group.before)
      }
    }
  })
})

function ledger(random: Dice): readonly GroupSpend[] {
  return ['a', 'b', 'c', 'd'].flatMap((group) => {
    if (random.chance(0.3)) return []
    const line = (): readonly [number, bigint] => [random.below(5000), BigInt(random.below(1e9))]
    return [spend(group, random.below(50), { input: line(), cache_read: line(), output: line() })]
  })
}
