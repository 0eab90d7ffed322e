import type { CreateEmbeddingResponse } from 'openai/resources/embeddings'
import { describe, expect, it } from 'vitest'
import { NO_USAGE } from '#protocol'
import type { EmbeddingsResponse, JsonObject } from '#protocol'
import { readEmbeddings, writeEmbeddings } from '../../src/endpoints/embeddings.ts'

/** 1 and -0.5 as little-endian float32. */
const BASE64 = 'AACAPwAAAL8='

describe('readEmbeddings', () => {
  it.each([
    ['a text', 'Hi', ['Hi']],
    ['texts', ['a', 'b'], ['a', 'b']],
    ['tokens', [1, 2], [[1, 2]]],
    ['lists of tokens', [[1], [2, 3]], [[1], [2, 3]]],
  ])('reads %s', (_what, input, expected) => {
    expect(readEmbeddings({ model: 'm', input })).toEqual({
      model: 'm',
      input: expected,
      encoding: 'float',
      providerOptions: {},
    })
  })

  it('reads everything else, and carries what it does not know', () => {
    expect(
      readEmbeddings({
        model: 'm',
        input: 'Hi',
        encoding_format: 'base64',
        dimensions: 256,
        user: 'u',
        input_type: 'query',
      }),
    ).toEqual({
      model: 'm',
      input: ['Hi'],
      encoding: 'base64',
      dimensions: 256,
      endUser: 'u',
      providerOptions: { input_type: 'query' },
    })
  })

  it.each<readonly [JsonObject, string]>([
    [{ input: null }, 'input'],
    [{ input: '' }, 'input'],
    [{ input: [] }, 'input'],
    [{ input: 5 }, 'input'],
    [{ input: ['a', ''] }, 'input[1]'],
    [{ input: ['a', 1] }, 'input[1]'],
    [{ input: [[1], []] }, 'input[1]'],
    [{ input: [1, -1] }, 'input[1]'],
    [{ input: [[1, 0.5]] }, 'input[0][1]'],
    [{ input: [{ type: 'text' }] }, 'input[0]'],
    [{ input: Array.from({ length: 2049 }, () => 'a') }, 'input'],
    [{ model: 1 }, 'model'],
    [{ dimensions: 0 }, 'dimensions'],
    [{ dimensions: '9' }, 'dimensions'],
    [{ encoding_format: 'int8' }, 'encoding_format'],
    [{ user: 1 }, 'user'],
  ])('refuses %j, naming the field', (fields, param) => {
    const read = (): unknown => readEmbeddings({ model: 'm', input: 'a', ...fields })
    expect(read).toThrow(expect.objectContaining({ code: 'invalid_value', param }))
  })
})

describe('writeEmbeddings', () => {
  it('writes OpenAI’s list', () => {
    const response = answer([[1, -0.5]], { usage: { ...NO_USAGE, input: 3 } })
    expect(write(response, 'float')).toEqual({
      object: 'list',
      data: [{ object: 'embedding', index: 0, embedding: [1, -0.5] }],
      model: 'served',
      usage: { prompt_tokens: 3, total_tokens: 3 },
    })
  })

  it('writes our own count of tokens where the provider has none', () => {
    const context = { model: 'asked', usage: { ...NO_USAGE, input: 5 } }
    const written = JSON.parse(writeEmbeddings(answer([[1]]), { encoding: 'float' }, context))
    expect(written.usage).toEqual({ prompt_tokens: 5, total_tokens: 5 })
  })

  it.each([
    ['floats as base64', [1, -0.5], 'base64', BASE64],
    ['base64 as floats', BASE64, 'float', [1, -0.5]],
    ['floats as they are', [0.1, 1e-9], 'float', [0.1, 1e-9]],
    ['base64 as it is', BASE64, 'base64', BASE64],
  ] as const)('writes %s', (_what, vector, encoding, expected) => {
    expect(write(answer([vector]), encoding).data[0]?.embedding).toEqual(expected)
  })

  it.each([
    ['half a float', 'AACA', 'float'],
    ['NaN', [Number.NaN], 'base64'],
    ['NaN in base64', 'AADAfw==', 'float'],
  ] as const)('refuses %s', (_what, vector, encoding) => {
    expect(() => write(answer([vector]), encoding)).toThrow(
      expect.objectContaining({ code: 'upstream_invalid' }),
    )
  })
})

function answer(
  vectors: EmbeddingsResponse['vectors'],
  rest: Partial<EmbeddingsResponse> = {},
): EmbeddingsResponse {
  return { model: 'served', vectors, ...rest }
}

function write(
  response: EmbeddingsResponse,
  encoding: 'float' | 'base64',
): CreateEmbeddingResponse {
  const body: CreateEmbeddingResponse = JSON.parse(
    writeEmbeddings(response, { encoding }, { model: 'asked' }),
  )
  return body
}
