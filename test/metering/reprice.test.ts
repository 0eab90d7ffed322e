import { describe, expect, it } from 'vitest'
import { type Entry, NO_USAGE, type Usage } from '#protocol'
import { joined } from '../../src/gateway/repricing.ts'
import { billOf, type Price } from '../../src/metering/prices.ts'
import { BUCKETS } from '../../src/metering/rates.ts'
import { reprice, tierOf } from '../../src/metering/reprice.ts'
import { type Dice, dice } from '../gateway/dice.ts'

const NOW = Date.UTC(2026, 10, 24)

describe('pricing an entry anew', () => {
  it('always comes to what the price says, whatever prices there were before, and then rests', () => {
    for (let seed = 0; seed < 5000; seed++) {
      const roll = dice(seed)
      const isUnpriced = roll.chance(0.3)
      const entry = entryOf(anyUsage(roll), isUnpriced ? undefined : anyPrice(roll, 0))
      const adjustments: Entry[] = []
      for (let round = 1; round <= 4; round++) {
        const price = roll.chance(0.2) ? undefined : anyPrice(roll, round)
        const done = reprice(entry, adjustments, price, NOW, 'why')
        if ('adjustment' in done) {
          expect(done.adjustment.id).toBe(`${entry.id}.a${adjustments.length + 1}`)
          adjustments.push(done.adjustment)
        }
        if (price === undefined) {
          expect(done.outcome).toBe('no_price')
          continue
        }
        const what = JSON.stringify({ seed, round })
        check([entry, ...adjustments], price, what)
        // Run twice, nothing more is written.
        const again = reprice(entry, adjustments, price, NOW, 'why')
        if (again.outcome !== 'unchanged') expect.fail(`written again: ${what}`)
      }
    }
  })

  it('gives what had no price its own, were it nothing', () => {
    const free = priceOf({ input: 0n, output: 0n })
    const done = reprice(entryOf({ input: 5 }, undefined), [], free, NOW, 'why')
    expect(done).toMatchObject({ outcome: 'priced', after: 0n, adjustment: { cost: 0n } })
  })

  it('adjusts where only the parts differ, or only the list', () => {
    const usage = { input: 10, output: 10 }
    const [one, other] = [priceOf({ input: 1n, output: 2n }), priceOf({ input: 2n, output: 1n })]
    const parts = reprice(entryOf(usage, one), [], other, NOW, 'why')
    expect(parts).toMatchObject({
      adjustment: {
        cost: 0n,
        costLines: [
          { type: 'input', quantity: 0, cost: 10n },
          { type: 'output', quantity: 0, cost: -10n },
        ],
      },
    })
    const halved: Price = {
      ...one,
      card: { ...priceOf({ input: 2n, output: 4n }).card, keep: 50_000_000n },
    }
    expect(reprice(entryOf(usage, one), [], halved, NOW, 'why')).toMatchObject({
      adjustment: { cost: 0n, listCost: 30n },
    })
  })

  it('has no parts where the entry has none, as those of before had', () => {
    const { costLines: _, ...old } = entryOf({ input: 10 }, priceOf({ input: 1n }))
    const done = reprice(old, [], priceOf({ input: 3n }), NOW, 'why')
    expect(done).toMatchObject({ outcome: 'adjusted', before: 10n, after: 30n })
    expect('adjustment' in done && done.adjustment.costLines).toBeUndefined()
    if ('adjustment' in done) {
      const again = reprice(old, [done.adjustment], priceOf({ input: 3n }), NOW, 'why')
      expect(again.outcome).toBe('unchanged')
    }
  })

  it('leaves what was free, and what is a bound', () => {
    const price = priceOf({ input: 3n })
    const entry = entryOf({ input: 10 }, priceOf({ input: 1n }))
    const none = reprice({ ...entry, usageSource: 'none' }, [], price, NOW, 'why')
    const bound = reprice({ ...entry, priceVersion: 'bound' }, [], price, NOW, 'why')
    expect([none.outcome, bound.outcome]).toEqual(['free', 'bound'])
  })

  it('says of an adjustment what it is, in the window of its entry', () => {
    const entry = {
      ...entryOf({ input: 10 }, priceOf({ input: 1n })),
      firstEventMs: 5,
      stream: true,
    }
    const done = reprice(entry, [], priceOf({ input: 3n }), NOW, 'a new list')
    expect('adjustment' in done && done.adjustment).toEqual({
      id: 'req_1.1.a1',
      kind: 'adjustment',
      requestId: 'req_1',
      attempt: 1,
      tenantId: 't',
      applicationId: 'a',
      keyId: 'k',
      endpoint: '/v1/chat/completions',
      modelAsked: 'm',
      provider: 'p',
      model: 'm',
      admittedAt: 1,
      startedAt: NOW,
      durationMs: 0,
      stream: true,
      outcome: 'ok',
      usage: NO_USAGE,
      usageSource: 'none',
      cost: 20n,
      costLines: [{ type: 'input', quantity: 0, cost: 20n }],
      priceVersion: 'v',
      adjusts: 'req_1.1',
      reason: 'a new list',
    })
  })

  for (const [version, tier] of [
    ['genai-prices@0.1.8:openai/gpt-5;flex', 'flex'],
    ['operator:price_1;priority%price_2!webSearches', 'priority'],
    ['catalogue@2026:openai/gpt-5%price_2', undefined],
    [undefined, undefined],
  ] as const) {
    it(`keeps to the tier ${tier} of ${version}`, () => {
      expect(tierOf({ ...(version !== undefined && { priceVersion: version }) })).toBe(tier)
    })
  }
})

describe('charges for adjustments', () => {
  it('are joined where every budget counts them alike, and come to the same', () => {
    const one = { ...entryOf({ input: 1 }, priceOf({ input: 1n })), kind: 'adjustment' as const }
    const quarter = Date.UTC(2026, 10, 24)
    const adjustments = [
      { ...one, cost: 5n, admittedAt: quarter },
      { ...one, cost: -7n, admittedAt: quarter + 899_999 },
      { ...one, cost: 1n, admittedAt: quarter - 1 },
      { ...one, cost: 2n, admittedAt: quarter, keyId: 'other' },
      { ...one, cost: 3n, admittedAt: quarter, endUser: 'ann' },
      { ...one, cost: 4n, admittedAt: quarter, tags: ['x'] },
      { ...one, cost: 6n, admittedAt: quarter, model: 'other' },
    ]
    expect(joined(adjustments).map(({ cost }) => cost)).toEqual([-2n, 1n, 2n, 3n, 4n, 6n])
  })
})

function check(all: readonly Entry[], price: Price, what: string): void {
  const [entry] = all
  const bill = billOf(price, entry!.usage)
  const sum = (amount: (one: Entry) => bigint): bigint =>
    all.reduce((total, one) => total + amount(one), 0n)
  const cost = sum((one) => one.cost ?? 0n)
  if (cost !== bill.cost) expect.fail(`${cost} is not ${bill.cost}: ${what}`)
  const list = sum((one) => one.listCost ?? one.cost ?? 0n)
  if (list !== bill.listCost) expect.fail(`list ${list} is not ${bill.listCost}: ${what}`)
  for (const type of [...BUCKETS, 'webSearches', 'request'] as const) {
    const wanted = bill.lines.find((line) => line.type === type)?.cost ?? 0n
    const lines = sum((one) => one.costLines?.find((line) => line.type === type)?.cost ?? 0n)
    if (lines !== wanted) expect.fail(`${type} ${lines} is not ${wanted}: ${what}`)
  }
  for (const { cost: total = 0n, costLines = [] } of all) {
    const added = costLines.reduce((one, line) => one + line.cost, 0n)
    if (added !== total) expect.fail(`lines ${added} of ${total}: ${what}`)
  }
}

function entryOf(part: Partial<Usage>, price: Price | undefined): Entry {
  const usage = { ...NO_USAGE, ...part }
  const bill = price && billOf(price, usage)
  return {
    id: 'req_1.1',
    kind: 'attempt',
    requestId: 'req_1',
    attempt: 1,
    tenantId: 't',
    applicationId: 'a',
    keyId: 'k',
    endpoint: '/v1/chat/completions',
    modelAsked: 'm',
    provider: 'p',
    model: 'm',
    admittedAt: 1,
    startedAt: 2,
    durationMs: 3,
    stream: false,
    outcome: 'ok',
    usage,
    usageSource: 'provider',
    ...(bill && {
      cost: bill.cost,
      ...(price.card.keep !== undefined && { listCost: bill.listCost }),
      costLines: bill.lines,
      priceVersion: price.version,
    }),
  }
}

/** Nano-dollars a token. */
function priceOf(rates: Readonly<Record<string, bigint>>): Price {
  const tokens = Object.fromEntries(
    Object.entries(rates).map(([bucket, rate]) => [bucket, { base: rate * 10n ** 15n, tiers: [] }]),
  )
  return { version: 'v', source: 'operator', match: 'exact', matched: 'm', card: { tokens } }
}

function anyPrice(roll: Dice, number: number): Price {
  const rate = (): bigint => BigInt(roll.below(2 ** 40)) * 10n ** BigInt(roll.below(8))
  const tokens = Object.fromEntries(BUCKETS.map((bucket) => [bucket, { base: rate(), tiers: [] }]))
  return {
    version: `v${number}`,
    source: 'operator',
    match: 'exact',
    matched: 'm',
    card: {
      tokens,
      ...(roll.chance(0.5) && { webSearch: rate() }),
      ...(roll.chance(0.5) && { request: rate() }),
      ...(roll.chance(0.4) && { keep: BigInt(roll.below(100_000_001)) }),
      ...(roll.chance(0.3) && { factor: 5n * 10n ** 17n }),
    },
  }
}

function anyUsage(roll: Dice): Usage {
  const counts = BUCKETS.map((bucket) => [bucket, roll.chance(0.4) ? roll.below(200_000) : 0])
  return { ...NO_USAGE, ...Object.fromEntries(counts), webSearches: roll.below(3) }
}
