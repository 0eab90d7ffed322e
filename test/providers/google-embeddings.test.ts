import { describe, expect, it } from 'vitest'
import type { EmbeddingsRequest } from '#protocol'
import { google } from '../../providers/google/index.ts'
import { target } from './google-fixtures.ts'

const MODEL = 'gemini-embedding-001'

describe('embeddings of Gemini', () => {
  it('are asked for in one batch', () => {
    const { request, changes } = encode({
      dimensions: 768,
      providerOptions: { task_type: 'RETRIEVAL_QUERY' },
    })
    const each = {
      model: `models/${MODEL}`,
      outputDimensionality: 768,
      taskType: 'RETRIEVAL_QUERY',
    }
    expect(request.url).toBe(`https://google.test/v1beta/models/${MODEL}:batchEmbedContents`)
    expect(request.headers).toMatchObject({ 'x-goog-api-key': 'secret' })
    expect(JSON.parse(String(request.body))).toEqual({
      requests: [
        { ...each, content: { parts: [{ text: 'a' }] } },
        { ...each, content: { parts: [{ text: 'b' }] } },
      ],
    })
    expect(changes).toEqual([])
  })

  it('name what is lost', () => {
    const { changes } = encode({ endUser: 'x', providerOptions: { input_type: 'q' } })
    expect(changes.map(({ kind, field }) => `${kind} ${field}`)).toEqual([
      'lossy user',
      'lossy input_type',
    ])
  })

  it('take no token ids', () => {
    expect(() => encode({ input: ['a', [1, 2]] })).toThrow(
      expect.objectContaining({ code: 'unsupported_feature', param: 'input[1]' }),
    )
  })

  it('keep their order, and know no usage unless Google counts', () => {
    expect(decode({ embeddings: [{ values: [1, 2] }, { values: [3] }] })).toEqual({
      model: 'any',
      vectors: [[1, 2], [3]],
    })
  })

  it.each([
    [{ promptTokenCount: 9 }, { input: 9, inputImage: 0 }],
    [
      {
        promptTokenDetails: [
          { modality: 'TEXT', tokenCount: 4 },
          { modality: 'IMAGE', tokenCount: 6 },
        ],
      },
      { input: 4, inputImage: 6 },
    ],
  ])('are counted by %o', (usageMetadata, usage) => {
    const embeddings = [{ values: [1] }, { values: [2] }]
    expect(decode({ embeddings, usageMetadata }).usage).toMatchObject(usage)
  })

  it.each([
    [null],
    [{}],
    [{ embeddings: [{ values: [1] }] }],
    [{ embeddings: [{ values: ['x'] }, {}] }],
  ])('are invalid as %o', (body) => {
    expect(() => decode(body)).toThrow(expect.objectContaining({ code: 'upstream_invalid' }))
  })
})

function ask(fields: Partial<EmbeddingsRequest> = {}): EmbeddingsRequest {
  return { model: 'any', input: ['a', 'b'], encoding: 'float', providerOptions: {}, ...fields }
}

function encode(fields: Partial<EmbeddingsRequest> = {}) {
  return google.embeddings!.encode!(ask(fields), target(MODEL))
}

function decode(body: unknown) {
  return google.embeddings!.decode(body, ask())
}
