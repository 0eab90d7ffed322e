import { describe, expect, it } from 'vitest'
import { reconcile } from '../../src/reports/reconcile.ts'
import type { Cause, UsageRecord } from '../../src/reports/reconcile.ts'

const REQUESTS = 2000

function ledger(): readonly UsageRecord[] {
  return Array.from({ length: REQUESTS }, (_, index) => ({
    id: `chatcmpl-${index}`,
    day: `2026-11-${String(1 + (index % 28)).padStart(2, '0')}`,
    model: index % 3 === 0 ? 'gpt-5' : 'gpt-5-mini',
    requests: 1,
    inputTokens: 100 + index,
    outputTokens: 50 + (index % 70),
    cachedTokens: index % 40,
    cost: BigInt(1_000_000 + index * 137),
    ...(index % 100 === 99 && { estimated: true }),
  }))
}

/** One kind of error for each, made in a record of the provider. */
const ERRORS: readonly (readonly [Cause, (record: UsageRecord) => readonly UsageRecord[]])[] = [
  ['not_at_provider', () => []],
  ['duplicate', (record) => [record, record]],
  ['other_day', (record) => [{ ...record, day: '2026-12-01' }]],
  ['input_tokens', (record) => [{ ...record, inputTokens: record.inputTokens + 7 }]],
  ['output_tokens', (record) => [{ ...record, outputTokens: record.outputTokens - 3 }]],
  ['cached', (record) => [{ ...record, cachedTokens: record.cachedTokens! + 5 }]],
  ['price', (record) => [{ ...record, cost: (record.cost! * 11n) / 10n }]],
  ['rounding', (record) => [{ ...record, cost: record.cost! + 400n }]],
]

describe('reconciliation', () => {
  it('finds nothing where both sides say the same', () => {
    const { matched, differences } = reconcile(ledger(), ledger().toReversed(), 'request')
    expect({ matched, differences }).toEqual({ matched: REQUESTS, differences: [] })
  })

  it('finds every one of 50 planted errors, with its cause', () => {
    const planted = new Map<string, Cause>()
    const provider = ledger().flatMap((record, index) => {
      const nth = index / 41
      if (!Number.isInteger(nth) || nth >= 45) return [record]
      const [cause, spoil] = ERRORS[nth % ERRORS.length]!
      planted.set(
        record.id,
        record.estimated === true && /tokens/.test(cause) ? 'estimated' : cause,
      )
      return spoil(record)
    })
    for (let extra = 0; extra < 5; extra += 1) {
      planted.set(`unknown-${extra}`, 'not_in_ledger')
      provider.push({ ...ledger()[extra]!, id: `unknown-${extra}` })
    }
    expect(planted.size).toBe(50)
    const { differences } = reconcile(ledger(), provider, 'request')
    const found = new Map(differences.map(({ id, causes }) => [id, causes[0]]))
    expect(found).toEqual(planted)
  })

  it('adds the records of a model on a day, however many there are', () => {
    const day = (requests: number, inputTokens: number): UsageRecord => ({
      id: '2026-11-02 gpt-5',
      day: '2026-11-02',
      model: 'gpt-5',
      requests,
      inputTokens,
      outputTokens: 0,
    })
    expect(reconcile([day(3, 30)], [day(1, 10), day(2, 20)], 'day').differences).toEqual([])
    const [missed] = reconcile([day(3, 30)], [day(1, 10), day(3, 40)], 'day').differences
    expect(missed?.causes).toEqual(['requests', 'input_tokens'])
  })

  it('names what a cut-off answer explains as an estimate', () => {
    const [ours] = ledger()
    const [found] = reconcile(
      [{ ...ours!, estimated: true }],
      [{ ...ours!, outputTokens: 3 }],
      'request',
    ).differences
    expect(found?.causes).toEqual(['estimated'])
  })

  it('tells what is dearest first, and the totals of both sides', () => {
    const provider = ledger().map((record, index) =>
      index < 3 ? { ...record, cost: record.cost! * BigInt(2 + index) } : record,
    )
    const { differences, ledgerCost, providerCost } = reconcile(ledger(), provider, 'request')
    expect(differences.map(({ id }) => id)).toEqual(['chatcmpl-2', 'chatcmpl-1', 'chatcmpl-0'])
    const all = differences.reduce((sum, { costDifference }) => sum + costDifference!, 0n)
    expect(providerCost - ledgerCost).toBe(all)
  })
})
