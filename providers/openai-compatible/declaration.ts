import type { Capabilities } from '#protocol'
import type { UsageFacts } from './usage.ts'

/** Members of OpenAI's chat body that some provider does not take. */
export type ChatField =
  | 'frequency_penalty'
  | 'logit_bias'
  | 'logprobs'
  | 'messages.name'
  | 'metadata'
  | 'n'
  | 'parallel_tool_calls'
  | 'presence_penalty'
  | 'reasoning_effort'
  | 'response_format.json_object'
  | 'seed'
  | 'service_tier'
  | 'stop'
  | 'tools.strict'
  | 'top_p'
  | 'user'
  | 'verbosity'

/**
 * A provider that speaks OpenAI's chat wire, as the list of what it does differently.
 *
 * A difference left out means: as OpenAI does it. Every other one names its source.
 */
export interface Declaration {
  readonly id: string
  readonly name: string
  /** With the version path, as an OpenAI SDK takes it. Absent where each account has its own. */
  readonly baseUrl?: string
  /** First found wins; empty: none needed. */
  readonly credentialVariables: readonly string[]
  readonly priceId?: string
  readonly capabilities?: Partial<Capabilities>

  /** Lists the models, under the base or from the host's root (`/...`); `false`: no such list. */
  readonly modelsPath?: string | false
  /** `false`: no embeddings. `int8`: vectors come as base64 of signed bytes. */
  readonly embeddings?: false | EmbeddingsFacts

  /** `either`: both are known, and we send `max_completion_tokens`. */
  readonly maxTokensField?: 'max_tokens' | 'either'
  /** Usage comes with every stream, and `stream_options` is refused. */
  readonly alwaysStreamsUsage?: boolean
  /** Knows the role `developer` beside `system`. */
  readonly developerRole?: boolean
  /** Takes content as a list of text parts in every role; else such lists are joined to text. */
  readonly textParts?: boolean
  /** Highest temperature; a higher one is clamped. 2 unless said. */
  readonly maxTemperature?: number
  /** Most stop sequences. */
  readonly maxStops?: number
  /** `data`: files by their bytes or id; `url`: also by URL; `file_url`: Perplexity's own part. */
  readonly files?: 'data' | 'url' | 'file_url'
  /** Longest id of a tool call. */
  readonly maxCallId?: number
  /** Has `top_k`. */
  readonly topK?: boolean
  /** Fields it refuses or ignores that are no more than hints: left out, and said to be. */
  readonly ignores?: readonly ChatField[]
  /** Fields it lacks that change what the caller gets: the request is refused. */
  readonly lacks?: readonly ChatField[]
  /** Tool choices it does not take. `none` is then made by leaving the tools out. */
  readonly lacksToolChoice?: readonly ('none' | 'required' | 'tool')[]
  /** Takes free-text tools and `allowed_tools`. */
  readonly openAITools?: boolean
  /** How much to think is asked with... `effort`: `reasoning_effort`. */
  readonly reasoning?: 'effort' | 'effort+thinking' | 'reasoning' | 'enable_thinking' | 'none'
  /** Where earlier reasoning goes in an assistant message; absent: nowhere, it is dropped. */
  readonly replay?: 'reasoning_content' | 'reasoning' | 'reasoning_details'
  /** A tool-calling turn without reasoning needs an empty one. */
  readonly replayRequired?: boolean
  /** `automatic`: prompts are cached without asking. `markers`: Anthropic's `cache_control`. */
  readonly cache?: 'automatic' | 'markers'
  /** Members beyond our vocabulary that it understands. */
  readonly options?: readonly string[]
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>

  readonly usage?: UsageFacts
}

export interface EmbeddingsFacts {
  /** Under the base, or from the host's root (`/...`). `embeddings` unless said. */
  readonly path?: string
  /** `base64`: may be asked for. `int8`: vectors always come as base64 of signed bytes. */
  readonly encoding?: 'base64' | 'float' | 'int8'
}

/** Joins a path of the declaration to a base without a trailing slash. */
export function endpointUrl(baseUrl: string, path: string): string {
  return path.startsWith('/') ? new URL(path, baseUrl).href : `${baseUrl}/${path}`
}
