import { findProvider } from '@pydantic/genai-prices'
import { describe, expect, it } from 'vitest'
import type { Target } from '#protocol'
import { providers } from '../../providers/index.ts'
import { readModels } from '../../providers/openai-compatible/index.ts'
import { presets } from '../../providers/openai-compatible/presets.ts'

const ASKED_FOR =
  'openai anthropic google mistral simulator openai-compatible llamacpp ollama vllm lmstudio groq ' +
  'together fireworks deepseek xai openrouter perplexity cerebras sambanova moonshot zai nvidia ' +
  'huggingface deepinfra hyperbolic novita alibaba databricks github-models nebius snowflake'

describe('the table of providers', () => {
  it('has every kind, each under its own id', () => {
    expect([...providers.keys()].toSorted()).toEqual(ASKED_FOR.split(' ').toSorted())
    for (const [id, provider] of providers) expect(provider.id).toBe(id)
  })

  it('knows prices under the ids it gives', () => {
    for (const { id, priceId } of providers.values()) {
      if (priceId === undefined) continue
      expect(findProvider({ providerId: priceId })?.id, id).toBe(priceId)
    }
  })

  it('has no address where each account has its own', () => {
    const homeless = presets.filter(({ baseUrl }) => baseUrl === undefined).map(({ id }) => id)
    expect(homeless).toEqual(['openai-compatible', 'databricks', 'snowflake'])
  })

  it('has addresses without a trailing slash, in clear only to this machine', () => {
    for (const { baseUrl = 'https://x' } of providers.values()) {
      expect(baseUrl).toMatch(/^(https:\/\/|http:\/\/127\.0\.0\.1:\d+\/).*[^/]$/)
    }
  })

  it('shares no credential variable between two', () => {
    const names = presets.flatMap(({ credentialVariables }) => credentialVariables)
    expect(new Set(names).size).toBe(names.length)
  })
})

describe('the list of models', () => {
  const lists: readonly (readonly [string, string, string | undefined])[] = [
    ['groq', 'https://api.groq.com/openai/v1', 'https://api.groq.com/openai/v1/models'],
    [
      'github-models',
      'https://models.github.ai/inference',
      'https://models.github.ai/catalog/models',
    ],
    [
      'databricks',
      'https://w.example/serving-endpoints',
      'https://w.example/api/2.0/serving-endpoints',
    ],
    ['perplexity', 'https://api.perplexity.ai', undefined],
  ]
  for (const [id, baseUrl, url] of lists) {
    it(`of ${id} is ${url === undefined ? 'not to be had' : `at ${url}`}`, () => {
      const target: Target = { provider: id, model: '', baseUrl, headers: {} }
      expect(providers.get(id)!.models?.(target).url).toBe(url)
    })
  }

  const bodies: readonly (readonly [unknown, readonly string[]])[] = [
    [{ object: 'list', data: [{ id: 'a' }, { id: 'b' }, { id: 'a' }] }, ['a', 'b']],
    [
      [{ id: 'a' }, 'b'],
      ['a', 'b'],
    ],
    [{ models: [{ name: 'a' }] }, ['a']],
    [{ endpoints: [{ name: 'a' }] }, ['a']],
    [{ data: [null, {}, { id: 7 }] }, []],
    ['<html>', []],
    [null, []],
  ]
  for (const [body, names] of bodies) {
    it(`is read from ${JSON.stringify(body)}`, () => {
      expect(readModels(body)).toEqual(names)
    })
  }
})
