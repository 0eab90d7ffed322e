import { describe, expect, it } from 'vitest'
import { KINDS, MAJORS, setStage } from './stage.ts'

const stage = setStage()

/** Exact in 32 bits. */
const VECTORS = [
  [0.5, -0.25, 1],
  [0, 2, -0.125],
]
const INPUT = ['one', 'two']

/** What a provider receives for the wish, and the model that is asked. */
const EMBEDDERS = {
  openai: {
    model: 'text-embedding-3-small',
    body: { model: 'text-embedding-3-small', input: INPUT, encoding_format: 'base64' },
    dimensions: { dimensions: 3 },
  },
  google: {
    model: 'gemini-embedding-001',
    body: {
      requests: INPUT.map((text) => ({
        model: 'models/gemini-embedding-001',
        content: { parts: [{ text }] },
      })),
    },
    dimensions: {
      requests: INPUT.map((text) => ({
        model: 'models/gemini-embedding-001',
        content: { parts: [{ text }] },
        outputDimensionality: 3,
      })),
    },
  },
  mistral: {
    model: 'mistral-embed',
    body: { model: 'mistral-embed', input: INPUT },
    dimensions: { output_dimension: 3 },
  },
  llamacpp: {
    model: 'qwen3-8b',
    body: { model: 'qwen3-8b', input: INPUT, encoding_format: 'base64' },
    dimensions: { dimensions: 3 },
  },
} as const
const EMBEDDING_KINDS = KINDS.filter((kind) => kind !== 'anthropic')

describe.each(MAJORS)('%s', (major) => {
  describe.each(EMBEDDING_KINDS)('embeds with %s', (kind) => {
    const { model, body, dimensions } = EMBEDDERS[kind]

    it('as it does unasked: base64 on the wire, numbers in hand', async () => {
      stage.providers[kind].plays({ embeds: VECTORS, tokens: 4 })
      const answer = await stage.clients[major].embeddings.create({
        model: `${kind}/${model}`,
        input: INPUT,
      })
      expect(answer.object).toBe('list')
      expect(answer.model).toMatch(model)
      expect(answer.data.map(({ index, embedding }) => ({ index, embedding }))).toEqual(
        VECTORS.map((embedding, index) => ({ index, embedding })),
      )
      expect(stage.providers[kind].received[0]?.body).toEqual(body)
    })

    it('as floats of a wanted length', async () => {
      stage.providers[kind].plays({ embeds: VECTORS, tokens: 4 })
      const answer = await stage.clients[major].embeddings.create({
        model: `${kind}/${model}`,
        input: INPUT,
        encoding_format: 'float',
        dimensions: 3,
      })
      expect(answer.data.map(({ embedding }) => embedding)).toEqual(VECTORS)
      expect(stage.providers[kind].received[0]?.body).toMatchObject(dimensions)
    })

    it('and counts its tokens', async () => {
      stage.providers[kind].plays({ embeds: VECTORS, tokens: 4 })
      const { data: answer, request_id: id } = await stage.clients[major].embeddings
        .create({ model: `${kind}/${model}`, input: INPUT })
        .withResponse()
      // Gemini's first embedding models count nothing: what the ledger counts is told.
      const [entry] = await stage.gateway.entries(id!)
      const tokens = kind === 'google' ? entry!.usage['input'] : 4
      expect(answer.usage).toMatchObject({ prompt_tokens: tokens, total_tokens: tokens })
      expect(entry).toMatchObject({
        outcome: 'ok',
        usage: { input: tokens, output: 0 },
        usage_source: kind === 'google' ? 'estimated' : 'provider',
      })
    })
  })

  it('is told that anthropic embeds nothing', async () => {
    const asked = stage.clients[major].embeddings.create({
      model: 'anthropic/claude-sonnet-4-5',
      input: 'one',
    })
    await expect(asked).rejects.toMatchObject({
      status: 400,
      code: 'unsupported_feature',
      param: 'model',
    })
    expect(stage.providers.anthropic.received).toEqual([])
  })
})
