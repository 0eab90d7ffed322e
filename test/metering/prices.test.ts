import { calcPrice, findProvider } from '@pydantic/genai-prices'
import { describe, expect, it } from 'vitest'
import { inputTokens, NO_USAGE, outputTokens, type Usage } from '#protocol'
import pkg from '../../package.json' with { type: 'json' }
import { type Catalogue, loadCatalogue } from '../../src/metering/catalogue.ts'
import { findListed, GENAI_PRICES } from '../../src/metering/price-list.ts'
import {
  billOf,
  costOf,
  createPriceBook,
  type PriceBook,
  type PriceTarget,
  upperBound,
} from '../../src/metering/prices.ts'

const NOW = Date.parse('2026-11-23T12:00Z')
const EMPTY: Catalogue = { version: 'none', providers: {}, serviceTiers: {}, billedApart: {} }

const USAGES: readonly Usage[] = [
  usage({ input: 1 }),
  usage({ input: 1000, output: 500 }),
  usage({ input: 7, cacheRead: 11, cacheWrite5m: 13, output: 3, reasoning: 29 }),
  usage({ input: 1, cacheRead: 199_998, output: 1 }),
  usage({ input: 200_000 }),
  usage({ input: 200_001, output: 9 }),
  usage({ input: 72_000, cacheRead: 200_000, output: 9 }),
  usage({ input: 272_001, cacheWrite5m: 8, cacheWrite1h: 30, output: 123_456 }),
  usage({ input: 9, inputAudio: 100, inputImage: 41, output: 3, outputAudio: 77, outputImage: 5 }),
  usage({ input: 900_000, output: 64_000, webSearches: 3 }),
]

describe('a cost', () => {
  // Prices by the hour and the page, cached sound, and so on are not what these requests are billed by.
  it('is what the price package computes, for every model and usage that has a price', () => {
    let compared = 0
    for (const { provider, model } of packageModels()) {
      for (const at of [NOW, Date.parse('2026-01-05T02:00Z')]) {
        const price = bookOf().find(target(provider, model), at)
        if (!price) continue
        for (const used of USAGES) {
          const cost = costOf(price, used)
          if (cost === undefined) continue
          const theirs = calcPrice(asTheirs(used), model, {
            providerId: provider,
            timestamp: new Date(at),
          })!.total_price
          const gap = Math.abs(Number(cost) - theirs * 1e9)
          expect(gap, `${provider}/${model} ${JSON.stringify(used)}`).toBeLessThanOrEqual(
            0.5 + theirs * 1e9 * 1e-12,
          )
          compared++
        }
      }
    }
    expect(compared).toBeGreaterThan(20_000)
  })

  it('is missing only for models that are not billed by the token', () => {
    const missing = packageModels().filter(({ provider, model }) => !findListed(provider, model))
    for (const { provider, model } of missing) {
      const found = calcPrice({}, model, { providerId: provider })!
      expect(Object.keys(found.model_price).filter((key) => TOKEN_KEYS.has(key))).toEqual([])
    }
  })

  it('is exact where floats are not', () => {
    const book = bookOf({ own: { '*': { input: '0.1', output: '0.3' } } })
    const price = book.find(target('own', 'm'), NOW)!
    expect(costOf(price, usage({ input: 3 }))).toBe(300n)
    expect(costOf(price, usage({ input: 9_007_199_254_740_991 }))).toBe(900_719_925_474_099_100n)
  })

  it('is rounded half up, once', () => {
    const book = bookOf({
      own: { '*': { input: '0.0001', output: '0.0004', cache_read: '0.0003' } },
    })
    const price = book.find(target('own', 'm'), NOW)!
    expect(costOf(price, usage({ input: 4 }))).toBe(0n)
    expect(costOf(price, usage({ input: 5 }))).toBe(1n)
    expect(costOf(price, usage({ input: 1, output: 1 }))).toBe(1n)
    expect(costOf(price, usage({ input: 4, cacheRead: 1, output: 2 }))).toBe(2n)
  })

  it('is never nothing for what has no price, and says so', () => {
    const price = bookOf().find(target('openai', 'gpt-4o-audio-preview'), NOW)!
    const sung = usage({ input: 1000, inputAudio: 5, webSearches: 1 })
    expect(costOf(price, sung)).toBeUndefined()
    expect(billOf(price, sung)).toMatchObject({
      cost: 2_512_500n,
      uncovered: ['inputAudio', 'webSearches'],
    })
  })

  it('has every fee of a request once', () => {
    const book = bookOf({
      own: { m: { input: '1', output: '2', request: '0.005', web_search: '0.01' } },
    })
    const price = book.find(target('own', 'm'), NOW)!
    expect(costOf(price, usage({ input: 1, webSearches: 2 }))).toBe(25_001_000n)
  })
})

describe('an upper bound', () => {
  it('is never below the cost, whatever buckets the tokens turn out to be in', () => {
    for (const { provider, model } of packageModels()) {
      const price = bookOf().find(target(provider, model), NOW)
      if (!price) continue
      for (const used of USAGES) {
        const cost = costOf(
          { ...price, card: withoutSearch(price.card) },
          { ...used, webSearches: 0 },
        )
        const bound = upperBound(price, inputTokens(used))
        if (cost === undefined || !bound) continue
        const most = bound(outputTokens(used))
        if (most < cost)
          expect.fail(`${provider}/${model} ${JSON.stringify(used)}: ${most} < ${cost}`)
      }
    }
  })

  it('grows with the output', () => {
    const price = bookOf().find(target('anthropic', 'claude-sonnet-4-5'), NOW)!
    const bound = upperBound(price, 1000, { longCache: false })!
    expect(bound(0)).toBe(3_750_000n)
    expect(upperBound(price, 1000)!(0)).toBe(6_000_000n)
    expect(bound(1) - bound(0)).toBe(15_000n)
    expect(upperBound(price, 200_001, { longCache: false })!(0)).toBe(1_500_007_500n)
  })

  it('is unknown for sound without a price', () => {
    const price = bookOf().find(target('openai', 'gpt-4o-audio-preview'), NOW)!
    expect(upperBound(price, 10, { audio: true })).toBeUndefined()
    expect(upperBound(price, 10, { audio: false })?.(1)).toBe(35_000n)
  })
})

describe('a price', () => {
  it('is the operator’s before the catalogue’s before the package’s', () => {
    const book = createPriceBook({
      catalogue: {
        ...EMPTY,
        providers: { openai: { 'gpt-5': { price: { input: '7', output: '7' } } } },
      },
      overrides: { mine: { 'gpt-5': { input: '9', output: '9' } } },
    })
    const found = ['mine', 'openai', 'other'].map((provider) =>
      book.find({ ...target('openai', 'gpt-5'), provider, kind: provider }, NOW),
    )
    expect(found.map((price) => price?.version)).toEqual([
      expect.stringMatching(/^settings:mine\/gpt-5#[0-9a-f]{8}$/),
      'catalogue@none:openai/gpt-5',
      `genai-prices@${GENAI_PRICES}:openai/gpt-5`,
    ])
  })

  it('comes from the pattern that spells out most', () => {
    const book = bookOf({
      own: {
        '*': { input: '1' },
        'llama-*': { input: '2' },
        'llama-*-70b*': { input: '3' },
        'llama-3-70b': { input: '4' },
      },
    })
    const of = (model: string) => book.find(target('own', model), NOW)?.matched
    expect(['x', 'llama-', 'llama-2-70b-chat', 'llama-3-70b', 'a.llama-3'].map(of)).toEqual([
      '*',
      'llama-*',
      'llama-*-70b*',
      'llama-3-70b',
      '*',
    ])
  })

  for (const model of ['constructor', '__proto__', 'no-such-model', '', 'toString']) {
    it(`is not known for ${JSON.stringify(model)}`, () => {
      const book = createPriceBook({ catalogue: loadCatalogue() })
      expect(book.find(target('openai', model), NOW)).toBeUndefined()
      expect(book.find(target(model, 'gpt-5'), NOW)).toBeUndefined()
      expect(book.find({ provider: 'x', kind: 'x', model }, NOW)).toBeUndefined()
    })
  }

  it('of zero is a price', () => {
    const book = bookOf({ llama: { '*': { input: '0', output: '0' } } })
    const price = book.find({ provider: 'llama', kind: 'llamacpp', model: 'any' }, NOW)!
    expect(costOf(price, usage({ input: 5, output: 5, cacheRead: 9 }))).toBe(0n)
  })

  it('says when a rule for a family matched, once', () => {
    const told: string[] = []
    const book = createPriceBook({
      catalogue: EMPTY,
      onInexact: ({ model }, { matched }) => void told.push(`${model} as ${matched}`),
    })
    const models = ['claude-sonnet-5-5', 'claude-sonnet-4-5-20250929', 'claude-sonnet-4-5']
    const found = models.map((model) => {
      book.find(target('anthropic', model), NOW)
      return book.find(target('anthropic', model), NOW)?.match
    })
    expect(found).toEqual(['inexact', 'exact', 'exact'])
    expect(told).toEqual(['claude-sonnet-5-5 as claude-sonnet-5'])
  })

  it('of the catalogue is for that very model', () => {
    const book = createPriceBook({ catalogue: loadCatalogue() })
    expect(book.find(target('anthropic', 'claude-sonnet-5-5'), NOW)).toMatchObject({
      source: 'catalogue',
      match: 'exact',
    })
    expect(book.find(target('openai', 'gpt-6.1-sol-2026-10-30'), NOW)).toMatchObject({
      matched: 'gpt-6.1-sol',
    })
  })

  it('changes with the time of day, and with the date', () => {
    const night = deepseekAt('2026-11-23T00:29:59.999Z')
    const day = deepseekAt('2026-11-23T00:30Z')
    expect(costOf(night!, usage({ input: 1000 }))).toBe(135_000n)
    expect(costOf(day!, usage({ input: 1000 }))).toBe(270_000n)
    expect(night?.version).not.toBe(day?.version)
    expect(deepseekAt('2026-11-23T16:30Z')?.version).toBe(night?.version)
  })

  it('follows the service tier', () => {
    const book = createPriceBook({ catalogue: loadCatalogue() })
    const cost = (serviceTier?: string) => {
      const price = book.find(target('openai', 'gpt-5'), NOW, { serviceTier })!
      return [costOf(price, usage({ input: 1000, webSearches: 1 })), price.version.split(';')[1]]
    }
    expect(['default', undefined, 'flex', 'priority', 'from-the-future'].map(cost)).toEqual([
      [11_250_000n, undefined],
      [11_250_000n, undefined],
      [10_625_000n, 'flex'],
      [12_500_000n, 'priority'],
      // Named, so that a price set for it later is found by it.
      [11_250_000n, 'from-the-future'],
    ])
    const own = createPriceBook({
      catalogue: loadCatalogue(),
      overrides: { openai: { '*': { input: '1', output: '2' } } },
    })
    const set = own.find(target('openai', 'gpt-5'), NOW, { serviceTier: 'priority' })!
    expect(costOf(set, usage({ input: 1000 }))).toBe(1_000_000n)
    const flex = book.find(target('openai', 'gpt-5'), NOW, { serviceTier: 'flex' })!
    expect(upperBound(flex, 1000)!(0)).toBe(1_250_000n)
  })

  for (const [field, text] of [
    ['input', '-1'],
    ['output', '1e-3'],
    ['cache_read', 'free'],
    ['request', '0.0000000000000000001'],
  ] as const) {
    it(`is refused where ${field} is ${text}`, () => {
      const prices = { m: { input: '1', output: '1', [field]: text } }
      expect(() => bookOf({ own: prices })).toThrowError(
        expect.objectContaining({
          code: 'invalid_value',
          param: `providers.own.prices.m.${field}`,
        }),
      )
    })
  }
})

describe('the price package', () => {
  it('is the one named in price versions', () => {
    expect(pkg.dependencies['@pydantic/genai-prices']).toBe(GENAI_PRICES)
  })
})

const TOKEN_KEYS = new Set(['input_mtok', 'output_mtok', 'cache_read_mtok'])

function deepseekAt(time: string) {
  return bookOf().find(target('deepseek', 'deepseek-chat'), Date.parse(time))
}

let shared: PriceBook | undefined

function bookOf(overrides?: Parameters<typeof createPriceBook>[0]['overrides']): PriceBook {
  const catalogue = { ...EMPTY, billedApart: loadCatalogue().billedApart }
  if (overrides) return createPriceBook({ catalogue, overrides })
  return (shared ??= createPriceBook({ catalogue }))
}

function target(provider: string, model: string): PriceTarget {
  return { provider, kind: provider, priceId: provider, model }
}

function usage(part: Partial<Usage>): Usage {
  return { ...NO_USAGE, ...part }
}

function asTheirs(used: Usage): Record<string, number> {
  return {
    input_tokens: inputTokens(used),
    cache_read_tokens: used.cacheRead,
    cache_write_tokens: used.cacheWrite5m + used.cacheWrite1h,
    cache_write_1h_tokens: used.cacheWrite1h,
    input_audio_tokens: used.inputAudio,
    input_image_tokens: used.inputImage,
    output_tokens: outputTokens(used),
    output_reasoning_tokens: used.reasoning,
    output_audio_tokens: used.outputAudio,
    output_image_tokens: used.outputImage,
    web_searches: used.webSearches,
  }
}

function withoutSearch<T>(card: T): T {
  return { ...card, webSearch: 0n }
}

let listed: { readonly provider: string; readonly model: string }[] | undefined

/** Every model of the package, by a name it matches. */
function packageModels() {
  listed ??= PROVIDERS.flatMap((provider) =>
    (findProvider({ providerId: provider })?.models ?? []).map(({ id }) => ({
      provider,
      model: id,
    })),
  ).filter(({ provider, model }) => calcPrice({}, model, { providerId: provider }) !== null)
  return listed
}

const PROVIDERS =
  'anthropic arcee avian aws azure baseten cerebras cloudflare cohere deepseek fireworks google groq huggingface_novita minimax mistral moonshotai novita openai openrouter ovhcloud perplexity together voyageai x-ai zai zhipuai'.split(
    ' ',
  )
