import { GatewayError } from '#errors'
import type { Change, EmbeddingsRequest, EmbeddingsResponse, Encoded, Target } from '#protocol'
import { headers } from './request.ts'
import { readUsage } from './usage.ts'
import { isFields, text } from './wire.ts'

/** @throws GatewayError `unsupported_feature` for token ids, which are of another tokenizer */
export function encode(request: EmbeddingsRequest, target: Target): Encoded {
  const { input, dimensions, endUser, providerOptions } = request
  if (input.some((entry) => typeof entry !== 'string')) {
    throw new GatewayError('unsupported_feature', 'Mistral embeds text, not token ids', {
      param: 'input',
    })
  }
  const { metadata, ...others } = providerOptions
  const changes = Object.entries({ user: endUser, ...others })
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([field]): Change => ({ field, kind: 'lossy', note: 'not supported by mistral' }))
  const body = {
    model: target.model,
    input,
    ...(dimensions === undefined ? {} : { output_dimension: dimensions }),
    ...(metadata === undefined ? {} : { metadata }),
  }
  return {
    request: {
      method: 'POST',
      url: `${target.baseUrl}/v1/embeddings`,
      headers: headers(target, false),
      body: JSON.stringify(body),
    },
    changes,
  }
}

/** Floats are asked for always; base64 is made here, since the SDKs ask for it by default. */
export function decode(body: unknown, request: EmbeddingsRequest): EmbeddingsResponse {
  const answer = isFields(body) ? body : {}
  const data: unknown[] = Array.isArray(answer['data']) ? answer['data'] : []
  const vectors = data
    .map((entry, position) => {
      const fields = isFields(entry) ? entry : {}
      const index = typeof fields['index'] === 'number' ? fields['index'] : position
      return { index, vector: fields['embedding'] }
    })

    .toSorted((a, b) => a.index - b.index)
    .map(({ vector }) => vector)
  if (vectors.length !== request.input.length || !vectors.every(isVector)) {
    throw new GatewayError('upstream_invalid', 'Mistral sent other than one vector per input')
  }
  const usage = readUsage(answer['usage'])
  return {
    model: text(answer['model']),
    vectors: request.encoding === 'base64' ? vectors.map(base64) : vectors,
    ...(usage === undefined ? {} : { usage }),
  }
}

function isVector(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'number')
}

function base64(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4)
  return bytes.toString('base64')
}
