import { describe, expect, it } from 'vitest'
import type { EmbeddingsPassThrough, EmbeddingsRequest, Inspected, Target } from '#protocol'
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
  it.each([
    ['openai', {}],
    ['llamacpp', {}],
    ['alibaba', { encoding_format: undefined }],
    ['perplexity', { encoding_format: undefined }],
  ])('goes to %s with no edits but %o', (id, edits) => {
    expect(passThrough(id).edits({ ...REQUEST, encoding: 'base64' })).toEqual(edits)
  })

  it('goes to the path of the provider', () => {
    const target = { ...TARGET, baseUrl: 'https://api.perplexity.ai' }
    expect(passThrough('perplexity').url(target)).toBe('https://api.perplexity.ai/v1/embeddings')
  })

  it('is not offered where there are none', () => {
    expect(providers.get('groq')?.embeddings).toBeUndefined()
  })
})

const FLOATS = [0.1, -0.2, 0.3, 0].map(Math.fround)
const FLOAT32 = base64(Float32Array.from(FLOATS))
const USAGE = { prompt_tokens: 5, total_tokens: 5 }

describe('an answer as it was asked for', () => {
  it.each([
    ['float', FLOATS],
    ['base64', FLOAT32],
  ] as const)('goes by: %s', (encoding, embedding) => {
    expect(inspected(encoding, [{ index: 0, embedding }])).toMatchObject({
      model: 'm-1',
      usage: { input: 5 },
    })
  })

  it.each([
    ['base64 for floats', 'float', [{ index: 0, embedding: FLOAT32 }]],
    ['floats for base64', 'base64', [{ index: 0, embedding: FLOATS }]],
    ['doubles', 'base64', [{ index: 0, embedding: base64(Float64Array.from(FLOATS)) }]],
    ['no vectors', 'float', []],
    ['an empty vector', 'base64', [{ index: 0, embedding: '' }]],
    ['another order', 'float', [{ index: 1, embedding: FLOATS }]],
    ['no index', 'float', [{ embedding: FLOATS }]],
  ] as const)('is none with %s', (_, encoding, data) => {
    expect(inspected(encoding, data)).toBeUndefined()
  })

  it.each([{ usage: undefined }, { model: undefined }])('is none with %o', (members) => {
    expect(inspected('float', [{ index: 0, embedding: FLOATS }], members)).toBeUndefined()
  })

  it('is none from a provider of signed bytes, for who asked for base64', () => {
    const body = { model: 'm-1', data: [{ index: 0, embedding: FLOAT32 }], usage: USAGE }
    expect(
      passThrough('perplexity').inspect(body, { ...REQUEST, encoding: 'base64' }),
    ).toBeUndefined()
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

function passThrough(id: string): EmbeddingsPassThrough {
  return providers.get(id)!.embeddings!.passThrough!
}

function inspected(
  encoding: EmbeddingsRequest['encoding'],
  data: readonly object[],
  members: object = {},
): Inspected | undefined {
  const body = { model: 'm-1', data, usage: USAGE, ...members }
  return passThrough('vllm').inspect(body, { ...REQUEST, encoding })
}

function base64(values: Float32Array | Float64Array | Int8Array): string {
  return Buffer.from(values.buffer).toString('base64')
}
