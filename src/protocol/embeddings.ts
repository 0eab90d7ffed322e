import type { JsonObject } from './json.ts'
import type { Usage } from './usage.ts'

export interface EmbeddingsRequest {
  readonly model: string
  /** One vector per entry: text, or token ids of the model's own tokenizer. */
  readonly input: readonly (string | readonly number[])[]
  /** Length of the vectors wanted; absent means the model's own. */
  readonly dimensions?: number
  readonly encoding: 'float' | 'base64'
  readonly endUser?: string
  /** As in {@link ChatRequest}. */
  readonly providerOptions: JsonObject
}

export interface EmbeddingsResponse {
  readonly model: string
  /** In the order of the input. A string is base64 of little-endian float32. */
  readonly vectors: readonly (readonly number[] | string)[]
  readonly usage?: Usage
}
