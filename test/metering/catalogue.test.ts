import { statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { knownModels, loadCatalogue, modelFacts } from '../../src/metering/catalogue.ts'
import { formatUsd } from '../../src/metering/money.ts'
import { findListed } from '../../src/metering/price-list.ts'
import { createPriceBook } from '../../src/metering/prices.ts'
import type { RateCard } from '../../src/metering/rates.ts'

const PRICE_IDS: Record<string, string> = {
  xai: 'x-ai',
  moonshot: 'moonshotai',
  voyage: 'voyageai',
}

const entries = Object.entries(loadCatalogue().providers).flatMap(([kind, models]) =>
  Object.entries(models ?? {}).map(([model, facts]) => ({ kind, model, facts })),
)

describe('the catalogue', () => {
  it('is small enough to read at start', () => {
    const file = new URL('../../providers/catalogue.json', import.meta.url)
    expect(statSync(file).size).toBeLessThan(300_000)
  })

  it('knows limits and capabilities', () => {
    expect(modelFacts('anthropic', 'claude-haiku-5-5')).toMatchObject({
      contextTokens: 1_000_000,
      maxOutputTokens: 128_000,
      input: ['text', 'image'],
      reasoning: true,
    })
    expect(modelFacts('openai', 'text-embedding-3-small')).toEqual({
      contextTokens: 8192,
      embeddings: true,
    })
  })

  it('knows a model by the name of its dated snapshot', () => {
    const snapshot = modelFacts('openai', 'gpt-5-mini-2025-08-07')
    expect(snapshot).toBeDefined()
    expect(snapshot).toBe(modelFacts('openai', 'gpt-5-mini'))
  })

  it('lists the models of a kind of provider', () => {
    expect(knownModels('openai')).toContain('gpt-5-mini')
    expect(knownModels('mistral')).toContain('mistral-embed')
    expect(knownModels('vllm')).toEqual([])
  })

  for (const name of ['constructor', '__proto__', 'toString', '']) {
    it(`knows nothing of ${JSON.stringify(name)}`, () => {
      expect(modelFacts('openai', name)).toBeUndefined()
      expect(modelFacts(name, 'gpt-5')).toBeUndefined()
      expect(knownModels(name)).toEqual([])
    })
  }

  it('has sound limits', () => {
    const broken = entries.filter(({ facts: { contextTokens, maxOutputTokens } }) =>
      [contextTokens, maxOutputTokens].some(
        (n) => n !== undefined && !(Number.isInteger(n) && n > 0),
      ),
    )
    expect(broken).toEqual([])
  })

  it('has prices that can be read', () => {
    const book = createPriceBook({ catalogue: loadCatalogue() })
    const priced = entries.filter(({ facts }) => facts.price)
    const sources = priced.map(
      ({ kind, model }) => book.find({ provider: kind, kind, model }, 0)?.source,
    )
    expect(new Set(sources)).toEqual(new Set(['catalogue']))
  })

  it('differs from the price package only as listed', () => {
    const book = createPriceBook({ catalogue: loadCatalogue() })
    const differences = entries.flatMap(({ kind, model, facts }) => {
      const listed = findListed(PRICE_IDS[kind] ?? kind, model)
      const ours = facts.price && book.find({ provider: kind, kind, model }, 0)?.card
      const theirs = listed?.cards.at(-1)?.card
      if (!ours || !theirs) return []
      return [`${kind}/${model}: ${brief(ours)}, not ${brief(theirs)} as ${listed?.id}`]
    })
    expect(differences).toEqual(DIFFERENCES)
  })
})

// Input / output / cache read in USD per million tokens. The catalogue is the newer.
const DIFFERENCES = [
  'openai/gpt-4o-audio-preview: 2.5/10/2.5, not 2.5/10/- as gpt-4o-audio-preview',
  'openai/gpt-4o-mini-audio-preview: 0.15/0.6/0.15, not 0.15/0.6/- as gpt-4o-mini-audio-preview',
  'anthropic/claude-sonnet-5-5: 2/10/0.1, not 2/10/0.2 as claude-sonnet-5',
  'mistral/codestral-latest: 0.3/0.9/0.03, not 0.3/0.9/- as codestral',
  'mistral/magistral-medium-latest: 2/5/0.2, not 2/5/- as magistral-medium',
  'mistral/mistral-large-latest: 0.5/1.5/0.05, not 2/6/- as mistral-large',
  'mistral/mistral-small-latest: 0.15/0.6/0.015, not 0.1/0.3/- as mistral-small-latest',
  'mistral/open-mistral-nemo: 0.15/0.15/0.015, not 0.15/0.15/- as mistral-nemo',
  'mistral/pixtral-12b: 0.15/0.15/0.015, not 0.15/0.15/- as pixtral-12b',
  'groq/openai/gpt-oss-safeguard-20b: 0.075/0.3/0.0375, not 0.15/0.6/0.075 as openai/gpt-oss-120b',
  'zai/glm-5.3-flash: 0.15/0.5/0.03, not 0.075/0.25/0.015 as GLM-5.3-Flash',
]

function brief({ tokens }: RateCard): string {
  return [tokens.input, tokens.output, tokens.cacheRead]
    .map((rate) => (rate ? formatUsd(rate.base / 10n ** 9n) : '-'))
    .join('/')
}
