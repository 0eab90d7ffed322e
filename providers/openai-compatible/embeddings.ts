import { GatewayError } from '#errors'
import type {
  EmbeddingsOperation,
  EmbeddingsRequest,
  EmbeddingsResponse,
  Inspected,
  JsonValue,
} from '#protocol'
import { type Declaration, type EmbeddingsFacts, endpointUrl } from './declaration.ts'
import { inspect } from './pass-through.ts'
import { headers } from './request.ts'
import { readUsage } from './usage.ts'
import { count, fields, isFields, list, text } from './wire.ts'

export function embeddingsOperation(
  facts: Declaration,
  { path = 'embeddings', encoding = 'float' }: EmbeddingsFacts,
): EmbeddingsOperation {
  return {
    decode: (body) => decodeEmbeddings(body, encoding, facts),
    passThrough: {
      // Left out, it means floats everywhere; asked for by name, some refuse it.
      edits: () => (encoding === 'base64' ? {} : { encoding_format: undefined }),
      url: (target) => endpointUrl(target.baseUrl, path),
      headers: (target) => headers(facts, target),
      inspect: (body, request) => inspectEmbeddings(body, request, encoding, facts),
    },
  }
}

/**
 * @returns undefined where a caller could not read the answer as it is: a vector in another
 *   encoding, out of order, or without the model and usage that clients rely on
 */
export function inspectEmbeddings(
  body: unknown,
  request: Pick<EmbeddingsRequest, 'encoding'>,
  encoding: EmbeddingsFacts['encoding'],
  facts: Pick<Declaration, 'usage'> = {},
): Inspected | undefined {
  const data = list(fields(body)['data'])
  const asAsked = data.every(
    (item, index) =>
      isFields(item) &&
      item['index'] === index &&
      (request.encoding === 'float'
        ? isVector(item['embedding'])
        : encoding === 'base64' && isFloat32(item['embedding'])),
  )
  const seen = inspect(body, facts.usage)
  const isWhole = data.length > 0 && seen.usage !== undefined && seen.model !== undefined
  return asAsked && isWhole ? seen : undefined
}

function isVector(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'number')
}

function isFloat32(value: JsonValue | undefined): boolean {
  return typeof value === 'string' && value !== '' && !holdsDoubles(Buffer.from(value, 'base64'))
}

/** @throws GatewayError `upstream_invalid` for a body without vectors */
export function decodeEmbeddings(
  body: unknown,
  encoding: EmbeddingsFacts['encoding'],
  facts: Pick<Declaration, 'usage'> = {},
): EmbeddingsResponse {
  const answer = fields(body)
  const data = list(answer['data']).filter(isFields)
  if (data.length === 0) {
    throw new GatewayError('upstream_invalid', 'The provider answered without embeddings')
  }
  const ordered = data.toSorted((one, other) => place(one) - place(other))
  const usage = readUsage(answer['usage'], facts.usage)
  return {
    model: text(answer['model']),
    vectors: ordered.map((each) => readVector(each['embedding'], encoding)),
    ...(usage === undefined ? {} : { usage }),
  }
}

/** 0 where no index is given, so that the order stays as it came. */
function place(item: { readonly index?: unknown }): number {
  return count(item.index) ?? 0
}

function readVector(value: unknown, encoding: EmbeddingsFacts['encoding']): number[] | string {
  if (isVector(value)) return value
  if (typeof value !== 'string' || value === '') {
    throw new GatewayError('upstream_invalid', 'The provider answered something that is no vector')
  }
  const bytes = Buffer.from(value, 'base64')
  if (encoding === 'int8') return Array.from(new Int8Array(bytes))
  return holdsDoubles(bytes) ? readDoubles(bytes) : value
}

/**
 * Whether these are the doubles that old vLLM sends in place of float32. They were widened from
 * float32, so that the low 29 bits of each are zero: three bytes of every eight, which no vector
 * of float32 shows. Dated 2025, fixed in later releases.
 */
function holdsDoubles(bytes: Buffer): boolean {
  if (bytes.length % 8 !== 0) return false
  let any = false
  for (let at = 0; at < bytes.length; at += 8) {
    if (bytes[at] !== 0 || bytes[at + 1] !== 0 || bytes[at + 2] !== 0) return false
    any ||= bytes[at + 7] !== 0
  }
  return any
}

function readDoubles(bytes: Buffer): number[] {
  return Array.from({ length: bytes.length / 8 }, (_, index) => bytes.readDoubleLE(index * 8))
}
