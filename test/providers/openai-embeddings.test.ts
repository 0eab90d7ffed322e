import { describe, expect, it } from 'vitest'
import type { EmbeddingsRequest, Target } from '#protocol'
import { providers } from '../../providers/index.ts'
import { decodeEmbeddings } from '../../providers/openai-compatible/embeddings.ts'

const REQUEST: EmbeddingsRequest = {
  model: 'm',
  input: ['Hello'],
  encoding: 'float',
  providerOptions: {},
}
const TARGET: Target = { provider: 'p', model: 'm', baseUrl: 'https://p.example/v1', headers: {} }

describe('a request for embeddings', () => {
  it('says what the caller said, and no more', () => {
    expect(written('openai', REQUEST)).toEqual({ model: 'm', input: 'Hello' })
  })

  it('carries every word of ours', () => {
    const request: EmbeddingsRequest = {
      ...REQUEST,
      input: ['a', [1, 2]],
      dimensions: 8,
      encoding: 'base64',
      endUser: 'u1',
    }
    expect(written('openai', request)).toEqual({
      model: 'm',
      input: ['a', [1, 2]],
      dimensions: 8,
      encoding_format: 'base64',
      user: 'u1',
    })
  })

  it('asks for base64 only where that is known', () => {
    expect(written('alibaba', { ...REQUEST, encoding: 'base64' })).not.toHaveProperty(
      'encoding_format',
    )
  })

  it('sends the options a provider knows, and names the others', () => {
    const request = { ...REQUEST, providerOptions: { input_type: 'query', other: 1 } }
    const { request: sent, changes } = providers.get('nvidia')!.embeddings!.encode(request, TARGET)
    expect(JSON.parse(String(sent.body))).toMatchObject({ input_type: 'query' })
    expect(changes).toEqual([
      { field: 'other', kind: 'lossy', note: 'not supported by NVIDIA NIM' },
    ])
  })

  it('goes to the path of the provider', () => {
    const target = { ...TARGET, baseUrl: 'https://api.perplexity.ai' }
    const { request } = providers.get('perplexity')!.embeddings!.encode(REQUEST, target)
    expect(request.url).toBe('https://api.perplexity.ai/v1/embeddings')
  })

  it('is not offered where there are none', () => {
    expect(providers.get('groq')?.embeddings).toBeUndefined()
  })
})

describe('an answer of embeddings', () => {
  it('is read in the order of the input, with its usage', () => {
    const data = [
      { index: 1, embedding: [3, 4] },
      { index: 0, embedding: [1, 2] },
    ]
    const usage = { prompt_tokens: 5, total_tokens: 5 }
    expect(decodeEmbeddings({ model: 'm-1', data, usage }, 'float')).toEqual({
      model: 'm-1',
      vectors: [
        [1, 2],
        [3, 4],
      ],
      usage: expect.objectContaining({ input: 5, output: 0, reportedTotal: 5 }),
    })
  })

  it('hands base64 of float32 on as it is', () => {
    const embedding = base64(Float32Array.of(0.1, -0.2, 0.3, 0))
    expect(decodeEmbeddings({ data: [{ embedding }] }, 'base64').vectors).toEqual([embedding])
  })

  it('sees the doubles that old vLLM sends', () => {
    const numbers = [0.1, -0.2, 0.3, 0].map(Math.fround)
    const embedding = base64(Float64Array.from(numbers))
    expect(decodeEmbeddings({ data: [{ embedding }] }, 'base64').vectors).toEqual([numbers])
  })

  it('reads signed bytes where the provider is known for them', () => {
    const embedding = base64(Int8Array.of(-128, 0, 127))
    expect(decodeEmbeddings({ data: [{ embedding }] }, 'int8').vectors).toEqual([[-128, 0, 127]])
  })

  for (const body of [null, {}, { data: [] }, { data: [{}] }, { data: [{ embedding: ['a'] }] }]) {
    it(`cannot be read from ${JSON.stringify(body)}`, () => {
      expect(() => decodeEmbeddings(body, 'float')).toThrow(
        expect.objectContaining({ code: 'upstream_invalid' }),
      )
    })
  }
})

function written(id: string, request: EmbeddingsRequest): unknown {
  const encoded = providers.get(id)!.embeddings!.encode(request, TARGET)
  return JSON.parse(String(encoded.request.body))
}

function base64(values: Float32Array | Float64Array | Int8Array): string {
  return Buffer.from(values.buffer).toString('base64')
}
