import { GatewayError } from '#errors'
import type { EmbeddingsRequest, EmbeddingsResponse, JsonObject, JsonValue, Usage } from '#protocol'
import { inputTokens } from '#protocol'
import {
  at,
  carryUnknown,
  choiceAt,
  integerAt,
  isList,
  nameAt,
  names,
  refuse,
  textAt,
} from './fields.ts'
import type { Carried, Place } from './fields.ts'

const MAX_INPUTS = 2048
const MAX_DIMENSIONS = 1_000_000
/** Tokens are counted from 0; no tokenizer has nearly so many. */
const MAX_TOKEN = 2 ** 31 - 1

const KNOWN = names('model input dimensions encoding_format user')
const INPUT = at(undefined, 'input')

/**
 * Reads a body of `POST /v1/embeddings`.
 *
 * @throws GatewayError `invalid_value` with the field's path in `param`
 * @see https://platform.openai.com/docs/api-reference/embeddings/create
 */
export function readEmbeddings(body: JsonObject): EmbeddingsRequest {
  const carried: Carried = {}
  carryUnknown(body, KNOWN, undefined, carried)
  const dimensions = integerAt(body, 'dimensions', undefined, 1, MAX_DIMENSIONS)
  const endUser = textAt(body, 'user', undefined)
  return {
    model: nameAt(body, 'model', undefined),
    input: readInput(body['input']),
    encoding: choiceAt(body, 'encoding_format', undefined, ['float', 'base64']) ?? 'float',
    ...(dimensions === undefined ? {} : { dimensions }),
    ...(endUser === undefined ? {} : { endUser }),
    providerOptions: carried,
  }
}

/** One text, one list of tokens, or a list of either. */
function readInput(input: JsonValue | undefined): readonly (string | readonly number[])[] {
  if (typeof input === 'string') return [readText(input, INPUT)]
  if (!isList(input) || input.length === 0) {
    return refuse(INPUT, 'a string or a non-empty array of strings or token arrays', input)
  }
  if (typeof input[0] === 'number') return [readTokens(input, INPUT)]
  if (input.length > MAX_INPUTS) {
    return refuse(INPUT, `at most ${MAX_INPUTS} inputs`, input)
  }
  const texts = typeof input[0] === 'string'
  return input.map((one, index) => {
    const place = at(INPUT, index)
    if (texts)
      return typeof one === 'string' ? readText(one, place) : refuse(place, 'a string', one)
    return isList(one) ? readTokens(one, place) : refuse(place, 'an array of tokens', one)
  })
}

function readText(text: string, place: Place): string {
  return text === '' ? refuse(place, 'a non-empty string', text) : text
}

function readTokens(tokens: readonly JsonValue[], place: Place): readonly number[] {
  if (tokens.length === 0) return refuse(place, 'at least one token', tokens)
  return tokens.map((token, index) =>
    Number.isInteger(token) && Number(token) >= 0 && Number(token) <= MAX_TOKEN
      ? Number(token)
      : refuse(at(place, index), 'a token id', token),
  )
}

/**
 * Writes the answer, each vector in the encoding that was asked for, whatever the provider gave.
 *
 * @param context model and usage are for a provider that does not tell its own: clients rely on
 *   both
 * @throws GatewayError `upstream_invalid` for a vector that is no list of finite numbers
 */
export function writeEmbeddings(
  response: EmbeddingsResponse,
  request: Pick<EmbeddingsRequest, 'encoding'>,
  context: { readonly model: string; readonly cost?: string; readonly usage?: Usage },
): string {
  const usage = response.usage ?? context.usage
  const tokens = usage === undefined ? 0 : inputTokens(usage)
  const { cost } = context
  return JSON.stringify({
    object: 'list',
    data: response.vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: request.encoding === 'base64' ? toBase64(vector) : toFloats(vector),
    })),
    model: response.model === '' ? context.model : response.model,
    ...(usage === undefined
      ? {}
      : {
          usage: {
            prompt_tokens: tokens,
            total_tokens: tokens,
            ...(cost === undefined ? {} : { cost }),
          },
        }),
  })
}

const FLOAT_BYTES = 4

/** Little-endian float32, as OpenAI's SDKs read it. */
function toBase64(vector: readonly number[] | string): string {
  if (typeof vector === 'string') return vector
  const bytes = Buffer.allocUnsafe(vector.length * FLOAT_BYTES)
  for (const [index, value] of finite(vector).entries()) {
    bytes.writeFloatLE(value, index * FLOAT_BYTES)
  }
  return bytes.toString('base64')
}

function toFloats(vector: readonly number[] | string): readonly number[] {
  if (typeof vector !== 'string') return finite(vector)
  const bytes = Buffer.from(vector, 'base64')
  if (bytes.length === 0 || bytes.length % FLOAT_BYTES !== 0) throw unreadable()
  const values: number[] = []
  for (let offset = 0; offset < bytes.length; offset += FLOAT_BYTES) {
    values.push(bytes.readFloatLE(offset))
  }
  return finite(values)
}

function finite(vector: readonly number[]): readonly number[] {
  if (!vector.every(Number.isFinite)) throw unreadable()
  return vector
}

function unreadable(): GatewayError {
  return new GatewayError('upstream_invalid', 'The provider answered a vector that is unreadable')
}
