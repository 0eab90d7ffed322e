import { describe, expect, it } from 'vitest'
import { inputTokens, NO_USAGE, outputTokens, type Usage } from '#protocol'
import { loadCatalogue } from '../../src/metering/catalogue.ts'
import {
  readDiscount,
  readRates,
  writeCard,
  writeDiscount,
} from '../../src/metering/price-rates.ts'
import {
  billOf,
  costOf,
  createPriceBook,
  type Price,
  type PriceRow,
  type PriceTarget,
  upperBound,
} from '../../src/metering/prices.ts'
import { BUCKETS } from '../../src/metering/rates.ts'
import { type Dice, dice } from '../gateway/dice.ts'

const NOON = Date.parse('2026-11-23T12:00Z')
const MIDNIGHT = Date.parse('2026-11-24T00:00Z')
const MILLION = usage({ input: 1_000_000 })

describe('a row', () => {
  it('holds from its first moment until before its last', () => {
    const book = bookOf([
      row({ id: 'price_a', rates: { input: '1' }, to: MIDNIGHT }),
      row({ id: 'price_b', rates: { input: '2' }, from: MIDNIGHT, to: MIDNIGHT + 1000 }),
    ])
    const at = (time: number) => book.find(target(), time)?.version
    expect([NOON, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 999].map(at)).toEqual([
      'operator:price_a',
      'operator:price_a',
      'operator:price_b',
      'operator:price_b',
    ])
    // And then the next source counts again.
    expect(at(MIDNIGHT + 1000)).toMatch(/^genai-prices@/)
  })

  it('that was set later corrects an earlier one for as long as it holds', () => {
    const book = bookOf([
      row({ id: 'price_new', rates: { input: '2' }, from: 1000, to: 2000, revision: 9 }),
      row({ id: 'price_old', rates: { input: '1' }, revision: 1 }),
    ])
    const at = (time: number) => book.find(target(), time)?.version
    expect([999, 1000, 1999, 2000].map(at)).toEqual(
      ['old', 'new', 'new', 'old'].map((name) => `operator:price_${name}`),
    )
  })

  it('counts by its source, then by what its pattern spells out', () => {
    const rates = { input: '1' }
    const rows = [
      row({ id: 'file', origin: 'file', model: 'gpt-5', rates }),
      row({ id: 'all', provider: '*', model: '*', rates }),
      row({ id: 'provider', model: '*', rates, revision: 9 }),
      row({ id: 'family', model: 'gpt-*', rates }),
      row({ id: 'own', provider: '*', model: '*', tenantId: 'tenant_1', rates }),
    ]
    const of = (model: string, tenantId?: string) =>
      bookOf(rows).find({ ...target(), model, tenantId }, NOON)?.version
    expect(of('gpt-5')).toBe('operator:family')
    expect(of('o9')).toBe('operator:provider')
    expect(of('gpt-5', 'tenant_1')).toBe('tenant:own')
    expect(of('gpt-5', 'tenant_2')).toBe('operator:family')
    expect(bookOf(rows.slice(0, 1)).find(target(), NOON)?.version).toBe('settings:file')
  })

  it('that cannot be read leaves its models without a price, and is named', () => {
    const broken = row({ id: 'price_x', model: 'gpt-5', to: MIDNIGHT })
    const book = bookOf([
      broken,
      row({ id: 'price_y', model: 'gpt-5-mini', rates: { input: '1' } }),
    ])
    expect(book.broken).toEqual([broken])
    expect(book.find(target(), NOON)).toBeUndefined()
    expect(book.find(target(), MIDNIGHT)).toBeDefined()
    expect(book.find({ ...target(), model: 'gpt-5-mini' }, NOON)).toBeDefined()
  })

  it('does not change a price that was found before', () => {
    const rows = [row({ id: 'price_a', rates: { input: '1' } })]
    const book = bookOf(rows)
    const found = book.find(target(), NOON)!
    bookOf([...rows, row({ id: 'price_b', rates: { input: '9' }, revision: 2 })])
    expect(book.find(target(), NOON)).toBe(found)
    expect(costOf(found, MILLION)).toBe(1_000_000_000n)
  })
})

describe('a service tier', () => {
  const book = bookOf([
    row({
      id: 'price_a',
      rates: {
        input: '2',
        output: '8',
        cache_read: '0.5',
        request: '1',
        above: [{ input_tokens: 200_000, input: '4' }],
        service_tiers: {
          flex: { multiplier: '0.5' },
          batch: { input: '1' },
          priority: { input: '4', output: '16', above: [{ input_tokens: 200_000, input: '7' }] },
        },
      },
    }),
  ])
  const cost = (tier: string | undefined, used: Partial<Usage>) => {
    const price = book.find(target(), NOON, { serviceTier: tier })!
    return [Number(costOf(price, usage(used))) / 1e9, price.version]
  }

  it('has its multiplier on tokens, not on fees', () => {
    expect(cost('flex', { input: 100_000, output: 100_000 })).toEqual([
      1.5,
      'operator:price_a;flex',
    ])
  })

  it('costs as without it where it says nothing', () => {
    expect(cost('batch', { input: 100_000, cacheRead: 100_000, output: 100_000 })).toEqual([
      1.95,
      'operator:price_a;batch',
    ])
    expect(cost('from-the-future', { input: 100_000 })).toEqual([
      1.2,
      'operator:price_a;from-the-future',
    ])
  })

  it('has thresholds of its own', () => {
    expect(cost('priority', { input: 100_000 })[0]).toBe(1.4)
    expect(cost('priority', { input: 1_000_000 })[0]).toBe(8)
    expect(cost(undefined, { input: 1_000_000 })[0]).toBe(5)
  })

  for (const tier of ['default', 'auto', 'standard', 'Not A Tier', ';%!', 'x'.repeat(40), '']) {
    it(`called ${JSON.stringify(tier)} is the price as such`, () => {
      expect(cost(tier, { input: 1 })[1]).toBe('operator:price_a')
    })
  }

  it('is bound by the dearer of itself and the standard one', () => {
    for (const tier of ['flex', 'batch', 'priority']) {
      const price = book.find(target(), NOON, { serviceTier: tier })!
      const standard = book.find(target(), NOON)!
      const bound = upperBound(price, 300_000)!(1000)
      expect(bound).toBeGreaterThanOrEqual(upperBound(standard, 300_000)!(1000))
      expect(bound).toBeGreaterThanOrEqual(costOf(price, usage({ input: 300_000, output: 1000 }))!)
    }
  })
})

describe('a discount', () => {
  const price = row({ id: 'price_a', rates: { input: '1', output: '1' } })

  it('is off the list of its tenant, and named', () => {
    const book = bookOf([
      row({ id: 'price_d', provider: '*', model: '*', tenantId: 'tenant_1', discount: '12.5' }),
    ])
    const list = book.find({ ...target(), tenantId: 'tenant_2' }, NOON)!
    const net = book.find({ ...target(), tenantId: 'tenant_1' }, NOON)!
    expect(net.version).toBe(`${list.version}%price_d`)
    const [full, less] = [billOf(list, MILLION), billOf(net, MILLION)]
    expect(less).toMatchObject({ cost: (full.cost * 7n) / 8n, listCost: full.cost })
    expect(less.lines).toEqual([{ type: 'input', quantity: 1_000_000, cost: less.cost }])
  })

  it('is not off prices of its own source or a later one, and never adds up with another', () => {
    const ofTenant = row({ id: 'price_t', tenantId: 'tenant_1', discount: '50' })
    const ofAll = row({ id: 'price_o', discount: '10' })
    const own = row({ id: 'price_own', tenantId: 'tenant_1', rates: { input: '1' } })
    const version = (rows: readonly PriceRow[], tenantId: string) =>
      bookOf(rows)
        .find({ ...target(), tenantId }, NOON)
        ?.version.replace(/^genai.*?%/, 'list%')
    expect(version([ofAll], 'tenant_1')).toBe('list%price_o')
    expect(version([ofAll, price], 'tenant_1')).toBe('operator:price_a')
    expect(version([ofAll, ofTenant, price], 'tenant_1')).toBe('operator:price_a%price_t')
    expect(version([ofAll, ofTenant], 'tenant_1')).toBe('list%price_t')
    expect(version([ofAll, ofTenant], 'tenant_2')).toBe('list%price_o')
    expect(version([ofAll, ofTenant, own], 'tenant_1')).toBe('tenant:price_own')
  })

  it('comes and goes by the clock', () => {
    const book = bookOf([price, row({ id: 'd', tenantId: 't', discount: '50', from: MIDNIGHT })])
    const at = (time: number) => costOf(book.find({ ...target(), tenantId: 't' }, time)!, MILLION)
    expect([at(MIDNIGHT - 1), at(MIDNIGHT)]).toEqual([1_000_000_000n, 500_000_000n])
  })

  for (const [percent, left] of [
    ['0', 100_000_000n],
    ['12.5', 87_500_000n],
    ['33.333333', 66_666_667n],
    ['0.000001', 99_999_999n],
    ['100', 0n],
  ] as const) {
    it(`of ${percent} % leaves ${left} of 100,000,000`, () => {
      expect(readDiscount(percent)).toBe(left)
      expect(writeDiscount(left)).toBe(percent)
    })
  }

  for (const percent of ['-1', '100.000001', '1e1', '', '101', '0.1234567', '12,5', 'NaN']) {
    it(`of ${JSON.stringify(percent)} is refused`, () => {
      expect(() => readDiscount(percent)).toThrow(
        expect.objectContaining({ code: 'invalid_value' }),
      )
    })
  }
})

describe('whatever is billed', () => {
  it('adds up to the nano, line by line, within its bound', () => {
    for (let seed = 0; seed < 20_000; seed++) {
      const roll = dice(seed)
      const { price, exact } = anyPrice(roll)
      const used = anyUsage(roll)
      const { cost, listCost, lines } = billOf(price, used)
      const [numerator, denominator] = exact(used)
      const what = () => JSON.stringify({ seed, cost: String(cost), lines: lines.map(String) })
      const sum = lines.reduce((total, line) => total + line.cost, 0n)
      if (sum !== cost) expect.fail(`lines: ${what()}`)
      if (lines.some((line) => line.cost < 0n)) expect.fail(`negative: ${what()}`)
      // Rounded half up, once, from the exact sum.
      if (cost !== (numerator * 2n + denominator) / (denominator * 2n)) expect.fail(what())
      if (listCost < cost) expect.fail(`list: ${what()}`)
      const bound = upperBound(price, inputTokens(used))?.(outputTokens(used))
      const searches = lines.find(({ type }) => type === 'webSearches')?.cost ?? 0n
      // Two roundings lie between: the bound's own is upwards.
      if (bound === undefined || bound + searches + 1n < cost) expect.fail(`bound: ${what()}`)
      const counted = lines.filter(({ type }) => type !== 'request')
      for (const { type, quantity } of counted) {
        if (used[type as keyof Usage] !== quantity) expect.fail(`quantity: ${what()}`)
      }
    }
  })

  it('never costs nothing for tokens of a kind without a price', () => {
    const { card } = readRates('x', { input: '1' })
    const price: Price = { version: 'v', source: 'operator', match: 'exact', matched: 'm', card }
    for (const bucket of BUCKETS) {
      const bill = billOf(price, usage({ [bucket]: 1000 }))
      expect([bucket, bill.cost]).toEqual([bucket, 1_000_000n])
    }
    expect(billOf(price, usage({ output: 1 })).uncovered).toEqual(['output'])
    expect(upperBound(price, 0)!(1000)).toBe(1_000_000n)
  })
})

describe('rates', () => {
  it('are written as they were read', () => {
    const written = {
      input: '1.25',
      output: '10',
      cache_read: '0.125',
      cache_write: '1.5',
      cache_write_1h: '2',
      input_audio: '3',
      input_image: '4',
      reasoning: '11',
      output_audio: '12',
      output_image: '13',
      request: '0.001',
      web_search: '0.01',
      image: '0.04',
      above: [{ input_tokens: 200_000, input: '2.5', output: '15' }],
    }
    expect(writeCard(readRates('x', written).card)).toEqual(written)
  })

  for (const [what, rates, param] of [
    [
      'a threshold without a base',
      { input: '1', above: [{ input_tokens: 9, output: '1' }] },
      'x.output',
    ],
    [
      'a multiplier beside prices',
      { input: '1', service_tiers: { flex: { multiplier: '0.5', input: '1' } } },
      'x.service_tiers.flex',
    ],
    [
      'a tier that is no price',
      { input: '1', service_tiers: { flex: { input: '-1' } } },
      'x.service_tiers.flex.input',
    ],
  ] as const) {
    it(`are refused for ${what}`, () => {
      expect(() => readRates('x', rates)).toThrow(expect.objectContaining({ param }))
    })
  }
})

function anyPrice(roll: Dice): {
  readonly price: Price
  readonly exact: (used: Usage) => readonly [bigint, bigint]
} {
  const rate = (): bigint => BigInt(roll.below(2 ** 40)) * 10n ** BigInt(roll.below(8))
  const tokens = Object.fromEntries(
    BUCKETS.map((bucket) => [
      bucket,
      { base: rate(), tiers: roll.chance(0.3) ? [{ above: 100_000, rate: rate() }] : [] },
    ]),
  )
  const factor = roll.chance(0.3) ? BigInt(roll.below(3_000_000)) * 10n ** 12n : undefined
  const keep = roll.chance(0.5) ? BigInt(roll.below(100_000_001)) : undefined
  const request = roll.chance(0.5) ? rate() : undefined
  const webSearch = rate()
  const price: Price = {
    version: 'v',
    source: 'operator',
    match: 'exact',
    matched: 'm',
    card: {
      tokens,
      webSearch,
      ...(factor !== undefined && { factor }),
      ...(keep !== undefined && { keep }),
      ...(request !== undefined && { request }),
    },
  }
  return {
    price,
    exact(used) {
      const prompt = inputTokens(used)
      let sum = 0n
      for (const bucket of BUCKETS) {
        const { base, tiers } = tokens[bucket]!
        const [tier] = tiers
        sum += BigInt(used[bucket]) * (tier && prompt > tier.above ? tier.rate : base)
      }
      const one = 10n ** 18n
      const fees = (request ?? 0n) + BigInt(used.webSearches) * webSearch
      const numerator = (sum * (factor ?? one) + fees * one) * (keep ?? 10n ** 8n)
      return [numerator, one * 10n ** 15n * 10n ** 8n]
    },
  }
}

function anyUsage(roll: Dice): Usage {
  const counts = BUCKETS.map((bucket) => [bucket, roll.chance(0.4) ? roll.below(200_000) : 0])
  return { ...NO_USAGE, ...Object.fromEntries(counts), webSearches: roll.below(3) }
}

function bookOf(rows: readonly PriceRow[]) {
  const { billedApart, serviceTiers } = loadCatalogue()
  return createPriceBook({
    catalogue: { version: 'none', providers: {}, serviceTiers, billedApart },
    rows,
  })
}

function row(changes: Partial<PriceRow> & Pick<PriceRow, 'id'>): PriceRow {
  return { provider: 'openai', model: 'gpt-5', revision: 1, origin: 'table', ...changes }
}

function target(): PriceTarget {
  return { provider: 'openai', kind: 'openai', priceId: 'openai', model: 'gpt-5' }
}

function usage(part: Partial<Usage>): Usage {
  return { ...NO_USAGE, ...part }
}
