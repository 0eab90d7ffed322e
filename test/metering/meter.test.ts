import { describe, expect, it } from 'vitest'
import {
  type Asked,
  type Candidate,
  type ChatRequest,
  NO_USAGE,
  type Tally,
  type Usage,
} from '#protocol'
import type { Consumption } from '../../src/metering/account.ts'
import { createCalibration } from '../../src/metering/calibration.ts'
import { createMeter, type MeterDeps, type Oddity } from '../../src/metering/meter.ts'
import { createPriceBook } from '../../src/metering/prices.ts'

const NOON = Date.parse('2026-11-23T12:00Z')
const BOOK = createPriceBook({
  catalogue: { version: 'none', providers: {}, serviceTiers: {}, billedApart: {} },
  overrides: {
    cheap: { '*': { input: '1', output: '2' } },
    dear: { '*': { input: '10', output: '30' } },
  },
})
const TERMS = { book: BOOK, at: NOON, tenantId: 'tenant_1' }
const cheap = candidate('cheap')
const dear = candidate('dear')
const unknown = candidate('unknown')
const USAGE: Usage = { ...NO_USAGE, input: 1000, output: 200 }

describe('a demand', () => {
  it('is the dearest of what may answer', () => {
    const demand = meter().demand(ask({ maxOutputTokens: 100 }), [cheap, dear], TERMS)
    const alone = meter().demand(ask({ maxOutputTokens: 100 }), [dear], TERMS)
    expect(demand).toMatchObject({ outputTokens: 100, clampable: false })
    expect(demand.cost?.(100)).toBe(alone.cost?.(100))
    expect(demand.cost!(100)).toBeGreaterThan(demand.cost!(99))
  })

  it('is open where the caller set no maximum', () => {
    expect(meter().demand(ask({}), [cheap], TERMS)).toMatchObject({
      outputTokens: 16_384,
      clampable: true,
    })
    const known = { ...cheap, target: { ...cheap.target, maxOutputTokens: 4096 } }
    expect(meter().demand(ask({}), [known], TERMS).outputTokens).toBe(4096)
    expect(meter().demand(ask({ n: 3 }), [known], TERMS)).toMatchObject({
      outputTokens: 12_288,
      clampable: true,
      answers: 3,
    })
  })

  for (const [maxOutputTokens, n] of [
    [2 ** 53 - 1, 128],
    [1e9, 1],
    [1, 2 ** 31],
    [16_384, 50_000],
  ] as const) {
    it(`stays within what the ledger holds for ${n} answers of ${maxOutputTokens} tokens`, () => {
      const book = createPriceBook({
        catalogue: { version: 'none', providers: {}, serviceTiers: {}, billedApart: {} },
        overrides: { cheap: { '*': { input: '999999.999999', output: '999999.999999' } } },
      })
      const demand = meter().demand(ask({ maxOutputTokens, n }), [cheap], { ...TERMS, book })
      expect(demand.outputTokens).toBeLessThanOrEqual(100_000_000)
      const cost = demand.cost!(demand.outputTokens)
      expect(cost).toBeGreaterThan(0n)
      expect(cost).toBeLessThan(2n ** 63n)
    })
  }

  it('has no cost where one of the candidates has no price', () => {
    expect(meter().demand(ask({}), [cheap, unknown], TERMS).cost).toBeUndefined()
    const allowing = meter({ unpriced: () => 'allow' })
    expect(allowing.demand(ask({}), [unknown], TERMS).cost?.(5)).toBe(0n)
    expect(allowing.demand(ask({}), [cheap, unknown], TERMS).cost?.(5)).toBeGreaterThan(0n)
  })

  it('of embeddings has no output', () => {
    const asked: Asked = {
      operation: 'embeddings',
      request: { model: 'm', input: ['abcd'], encoding: 'float', providerOptions: {} },
    }
    expect(meter().demand(asked, [cheap], TERMS)).toMatchObject({
      inputTokens: 10,
      outputTokens: 0,
      clampable: false,
    })
  })
})

describe('an attempt', () => {
  it('costs what the provider counted', () => {
    expect(measure({ tally: { usage: USAGE, outputLength: 9999 } })).toEqual({
      usage: USAGE,
      usageSource: 'provider',
      cost: 1_400_000n,
      priceVersion: expect.stringMatching(/^settings:cheap\/\*#/),
      costLines: [
        { type: 'input', quantity: 1000, cost: 1_000_000n },
        { type: 'output', quantity: 200, cost: 400_000n },
      ],
    })
  })

  it('costs nothing where the provider counted nothing', () => {
    const tally = { usage: NO_USAGE, outputLength: 500, outputText: 'x'.repeat(500) }
    expect(measure({ tally })).toMatchObject({ usageSource: 'provider', cost: 0n })
  })

  for (const [what, part] of [
    ['nothing was sent', { sent: false, outcome: 'aborted' }],
    ['the provider refused', { refused: true, outcome: 'error' }],
  ] as const) {
    it(`costs nothing where ${what}`, () => {
      expect(measure(part)).toMatchObject({ usage: NO_USAGE, usageSource: 'none', cost: 0n })
    })
  }

  it('is estimated from the text seen where no count came', async () => {
    const tally = { outputLength: 40, outputText: 'ten words of text' }
    expect(await measure({ tally, outcome: 'aborted' })).toMatchObject({
      usage: { ...NO_USAGE, input: 6, output: 4 + 6 },
      usageSource: 'estimated',
      cost: 26_000n,
    })
  })

  it('is estimated where the answer began before the provider gave up', async () => {
    const tally = { outputLength: 17, outputText: 'ten words of text' }
    const lost = await measure({ tally, refused: true, outcome: 'error' })
    expect(lost).toMatchObject({ usageSource: 'estimated', usage: { output: 4 } })
  })

  it('costs its prompt where it timed out', async () => {
    expect(await measure({ outcome: 'timeout' })).toMatchObject({
      usage: { input: 6, output: 0 },
      usageSource: 'estimated',
    })
  })

  it('raises the count of a stream’s start to what was seen of the stream', async () => {
    const started = { ...NO_USAGE, input: 30, output: 1 }
    const tally = { usage: started, outputLength: 17, outputText: 'ten words of text' }
    expect(await measure({ tally, outcome: 'aborted' })).toMatchObject({
      usage: { input: 30, output: 4 },
      usageSource: 'estimated',
    })
    const finished = { ...tally, finishReason: 'stop' }
    expect(await measure({ tally: finished, outcome: 'aborted' })).toMatchObject({
      usage: started,
      usageSource: 'provider',
    })
  })

  for (const [what, part] of [
    ['negative', { input: -1_000_000 }],
    ['absurd', { output: 10 ** 12 }],
    ['no number', { input: Number.NaN }],
  ] as const) {
    it(`is estimated where the count is ${what}`, async () => {
      const oddities: Oddity[] = []
      const tally = { usage: { ...USAGE, ...part }, outputLength: 4, outputText: 'four' }
      const result = await measure({ tally }, { onOddity: (oddity) => void oddities.push(oddity) })
      expect(result).toMatchObject({ usageSource: 'estimated', usage: { output: 1 } })
      expect(oddities).toMatchObject([{ kind: 'absurd-usage', model: 'cheap/m' }])
    })
  }

  it('has no cost without a price', () => {
    expect(measure({ candidate: unknown, tally: { usage: USAGE, outputLength: 1 } })).toEqual({
      usage: USAGE,
      usageSource: 'provider',
    })
  })

  it('says which part of it had no price', () => {
    const oddities: Oddity[] = []
    const usage = { ...USAGE, webSearches: 1 }
    const result = measure(
      { tally: { usage, outputLength: 1 } },
      { onOddity: (oddity) => void oddities.push(oddity) },
    )
    expect(result).toMatchObject({
      cost: 1_400_000n,
      priceVersion: expect.stringMatching(/!webSearches$/),
    })
    expect(oddities).toMatchObject([{ kind: 'uncovered', parts: ['webSearches'] }])
  })

  it('teaches how densely its model counts', () => {
    const calibration = createCalibration()
    const learning = meter({ calibration })
    const asked = ask({}, 'word '.repeat(2000))
    const demand = learning.demand(asked, [cheap], TERMS)
    const tally: Tally = { usage: { ...NO_USAGE, input: 10_000 }, outputLength: 0, outputText: '' }
    void learning.measure({ ...consumption(demand.inputTokens), demand, tally })
    expect(learning.demand(asked, [cheap], TERMS).inputTokens).toBeGreaterThan(12_000)
  })
})

function measure(
  part: Partial<Omit<Consumption, 'tally'>> & { readonly tally?: Partial<Tally> },
  deps: Partial<MeterDeps> = {},
) {
  const tested = meter(deps)
  const demand = tested.demand(ask({}), [cheap], TERMS)
  const { tally, ...rest } = part
  return tested.measure({
    ...consumption(demand.inputTokens),
    demand,
    ...rest,
    tally: tally && { outputLength: 0, outputText: '', ...tally },
  })
}

function consumption(promptBound: number): Omit<Consumption, 'demand'> {
  return {
    candidate: cheap,
    tally: undefined,
    sent: true,
    outcome: 'ok',
    refused: false,
    promptBound,
    at: NOON,
  }
}

function meter(deps: Partial<MeterDeps> = {}) {
  return createMeter({
    book: () => BOOK,
    facts: () => undefined,
    calibration: createCalibration(),
    countTokens: async (text) => text.split(/\s+/).filter(Boolean).length,
    unpriced: () => 'refuse',
    ...deps,
  })
}

function ask(part: Partial<ChatRequest>, text = 'Hello there'): Asked {
  const messages = [{ role: 'user' as const, content: [{ type: 'text' as const, text }] }]
  const request: ChatRequest = {
    model: 'm',
    messages,
    stream: false,
    includeUsage: false,
    providerOptions: {},
    ...part,
  }
  return { operation: 'chat', request }
}

function candidate(name: string): Candidate {
  const provider = {
    id: name,
    name,
    credentialVariables: [],
    capabilities: {
      tools: true,
      jsonSchema: true,
      images: 'url' as const,
      files: true,
      audio: true,
      reasoning: true,
    },
    readError: () => ({ kind: 'server' as const, message: '' }),
  }
  const baseUrl = 'http://127.0.0.1:1'
  return {
    name: `${name}/m`,
    instance: {
      name,
      provider,
      baseUrl,
      headers: {},
      allowPrivateNetwork: false,
      models: [],
      closed: false,
    },
    target: { provider: name, model: 'm', baseUrl, headers: {} },
  }
}
