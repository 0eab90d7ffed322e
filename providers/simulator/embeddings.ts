import { setImmediate } from 'node:timers/promises'
import type { JsonObject, JsonValue } from '#protocol'
import { Refusal } from './chat-request.ts'
import { randomFrom } from './random.ts'
import { countTokens } from './tokens.ts'

const USUAL_DIMENSIONS = 256
const MAX_DIMENSIONS = 4_096
const MAX_INPUTS = 2_048
/** Places in the vector that one word adds to. */
const PLACES = 8
/** Words of one input that count. */
const MAX_WORDS = 2_000

/**
 * Vectors of length 1, always the same for the same text; texts that share words are nearer
 * to each other than texts that do not.
 */
export async function answerEmbeddings(body: JsonObject): Promise<object> {
  const inputs = readInputs(body['input'])
  const dimensions = readDimensions(body['dimensions'])
  const base64 = body['encoding_format'] === 'base64'
  const tokens = inputs.map((words) =>
    typeof words === 'string' ? countTokens(words) : words.length,
  )
  const total = tokens.reduce((sum, count) => sum + count, 0)
  const data: object[] = []
  for (const [index, input] of inputs.entries()) {
    // The gateway runs in this process too, and is not to stand still for a long list.
    if (index % 32 === 31) await setImmediate()
    const vector = vectorOf(input, dimensions)
    data.push({ object: 'embedding', index, embedding: base64 ? encode(vector) : [...vector] })
  }
  return {
    object: 'list',
    data,
    model: body['model'],
    usage: { prompt_tokens: total, total_tokens: total },
  }
}

function vectorOf(input: string | readonly number[], dimensions: number): Float32Array {
  const words = typeof input === 'string' ? wordsOf(input) : input.map(String)
  const vector = new Float32Array(dimensions)
  const noise = randomFrom(words.join(' '))
  for (let index = 0; index < dimensions; index += 1) vector[index] = (noise() - 0.5) / 50
  for (const word of words.slice(0, MAX_WORDS)) {
    const random = randomFrom(word)
    for (let place = 0; place < PLACES; place += 1) {
      const index = Math.floor(random() * dimensions)
      vector[index] = (vector[index] ?? 0) + (random() < 0.5 ? -1 : 1)
    }
  }
  let squares = 0
  for (const each of vector) squares += each * each
  const length = Math.sqrt(squares)
  return length === 0 ? vector.fill(1 / Math.sqrt(dimensions)) : vector.map((each) => each / length)
}

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
}

function encode(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4)
  return bytes.toString('base64')
}

function readInputs(input: JsonValue | undefined): readonly (string | readonly number[])[] {
  const list = Array.isArray(input) && !input.every(isNumber) ? input : [input]
  const inputs = list.filter((each) => typeof each === 'string' || isTokens(each))
  if (inputs.length === 0 || inputs.length < list.length || inputs.length > MAX_INPUTS) {
    throw new Refusal(
      400,
      `Invalid 'input': expected 1 to ${MAX_INPUTS} texts or lists of tokens`,
      {
        code: 'invalid_value',
        param: 'input',
      },
    )
  }
  return inputs
}

function isTokens(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length > 0 && value.every(isNumber)
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number'
}

function readDimensions(asked: JsonValue | undefined): number {
  if (asked === undefined || asked === null) return USUAL_DIMENSIONS
  if (typeof asked === 'number' && Number.isInteger(asked) && asked >= 1) {
    if (asked <= MAX_DIMENSIONS) return asked
  }
  throw new Refusal(400, `Invalid 'dimensions': expected an integer from 1 to ${MAX_DIMENSIONS}`, {
    code: 'invalid_value',
    param: 'dimensions',
  })
}
