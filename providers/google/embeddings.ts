import type { EmbeddingsRequest, EmbeddingsResponse, Encoded, Target, Usage } from '#protocol'
import { NO_USAGE } from '#protocol'
import { GatewayError } from '#errors'
import { changeLog } from './changes.ts'
import { modelPath, resourceName } from './models.ts'
import { headers } from './request.ts'
import { count, tokensOf } from './usage.ts'
import { isObject, type ModalityCount } from './wire.ts'

/** Passed on to each text's request, in both spellings. */
const OPTIONS = new Map([
  ['taskType', 'taskType'],
  ['task_type', 'taskType'],
  ['title', 'title'],
])

/**
 * https://ai.google.dev/api/embeddings#method:-models.batchembedcontents
 *
 * @throws GatewayError `unsupported_feature` for token ids: Google takes text only
 */
export function encodeEmbeddings(request: EmbeddingsRequest, target: Target): Encoded {
  const log = changeLog()
  if (request.endUser !== undefined) log.lossy('user', 'not supported by google')
  const options: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(request.providerOptions)) {
    const option = OPTIONS.get(name)
    if (option !== undefined) options[option] = value
    else if (value !== null) log.lossy(name, 'not supported by google')
  }

  const requests = request.input.map((text, index) => ({
    model: resourceName(target.model),
    content: { parts: [{ text: inputText(text, index) }] },
    ...(request.dimensions !== undefined && { outputDimensionality: request.dimensions }),
    ...options,
  }))
  return {
    request: {
      method: 'POST',
      url: `${target.baseUrl}/v1beta/${modelPath(target.model)}:batchEmbedContents`,
      headers: headers(target),
      body: JSON.stringify({ requests }),
    },
    changes: log.list,
  }
}

function inputText(input: string | readonly number[], index: number): string {
  if (typeof input === 'string') return input
  throw new GatewayError('unsupported_feature', 'google takes text, not token ids', {
    param: `input[${index}]`,
  })
}

/** @throws GatewayError `upstream_invalid` unless there is one vector per input */
export function decodeEmbeddings(body: unknown, request: EmbeddingsRequest): EmbeddingsResponse {
  const answer = isObject(body) ? body : {}
  const embeddings = Array.isArray(answer['embeddings']) ? answer['embeddings'] : []
  const vectors = embeddings.flatMap((embedding: unknown) =>
    isObject(embedding) && isVector(embedding['values']) ? [embedding['values']] : [],
  )
  if (vectors.length !== request.input.length)
    throw new GatewayError('upstream_invalid', 'The provider did not answer one vector per input')
  const usage = readUsage(answer['usageMetadata'])
  return { model: request.model, vectors, ...(usage && { usage }) }
}

function isVector(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((number) => typeof number === 'number')
}

/** Only gemini-embedding-2 counts, and some of its versions by modality alone. */
function readUsage(metadata: unknown): Usage | undefined {
  if (!isObject(metadata)) return undefined
  const details: ModalityCount[] = Array.isArray(metadata['promptTokenDetails'])
    ? metadata['promptTokenDetails'].filter(isObject)
    : []
  if (metadata['promptTokenCount'] === undefined && details.length === 0) return undefined
  const summed = details.reduce((sum, detail) => sum + count(detail.tokenCount), 0)
  const total = count(metadata['promptTokenCount'] ?? summed)
  const inputImage = Math.min(total, tokensOf(details, 'IMAGE'))
  const inputAudio = Math.min(total - inputImage, tokensOf(details, 'AUDIO'))
  return { ...NO_USAGE, input: total - inputImage - inputAudio, inputImage, inputAudio }
}
