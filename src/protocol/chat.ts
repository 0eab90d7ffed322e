import type { JsonObject, JsonValue } from './json.ts'
import type { Usage } from './usage.ts'

/**
 * A conversation turn asked of a model, in Tollgate's own words.
 *
 * Every optional property that is absent was not said by the caller, and is not
 * sent to the provider. Nothing here is ever mutated.
 */
export interface ChatRequest {
  /** The model as the caller wrote it; a target carries the provider's own name. */
  readonly model: string
  readonly messages: readonly Message[]
  readonly tools?: readonly Tool[]
  readonly toolChoice?: ToolChoice
  /** `false` forbids more than one tool call in an answer. */
  readonly parallelToolCalls?: boolean
  readonly responseFormat?: ResponseFormat
  /** Most tokens the answer may hold, reasoning included. */
  readonly maxOutputTokens?: number
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly frequencyPenalty?: number
  readonly presencePenalty?: number
  readonly stop?: readonly string[]
  readonly seed?: number
  /** How many alternative answers; absent means one. */
  readonly n?: number
  /** Present when log probabilities are wanted; `top` is how many alternatives per token. */
  readonly logprobs?: { readonly top?: number }
  /** Token id (of the model's own tokenizer) to bias, -100 to 100. */
  readonly logitBias?: Readonly<Record<string, number>>
  readonly reasoning?: Reasoning
  readonly verbosity?: 'low' | 'medium' | 'high'
  /** The caller's own name for the person behind the request. */
  readonly endUser?: string
  readonly metadata?: Readonly<Record<string, string>>
  /** OpenAI's word for the processing tier: `auto`, `default`, `flex`, `priority`, ... */
  readonly serviceTier?: string
  /** Marks the whole request as cacheable, where a provider has that. */
  readonly cache?: CacheMarker
  /** The caller knows OpenAI's older `functions` only: a call is answered as `function_call`. */
  readonly legacyFunctions?: boolean
  readonly stream: boolean
  /** The caller asked for usage in the stream. Usage is asked of the provider regardless. */
  readonly includeUsage: boolean
  /** What else the caller's wire says of its stream; a provider of that wire is told the same. */
  readonly streamOptions?: JsonObject
  /**
   * Fields of the caller's wire that Tollgate has no word for, untouched, under their
   * own names. A provider of the same wire family sends those it knows; any other must
   * report them as changes.
   */
  readonly providerOptions: JsonObject
}

export interface Reasoning {
  /** `none` switches reasoning off; `xhigh` and `max` exist on some models only. */
  readonly effort?: 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max'
  /** Most tokens to think with, where the caller's wire counts them. */
  readonly budgetTokens?: number
}

/** Asks the provider to keep what precedes this point in its prompt cache. */
export interface CacheMarker {
  readonly ttl?: '5m' | '1h'
}

export type Message = InstructionMessage | UserMessage | AssistantMessage | ToolMessage

/** What the application says to the model. `developer` is OpenAI's newer word for `system`. */
export interface InstructionMessage {
  readonly role: 'system' | 'developer'
  readonly content: readonly TextPart[]
  readonly name?: string
}

export interface UserMessage {
  readonly role: 'user'
  readonly content: readonly UserPart[]
  readonly name?: string
}

/** Parts stand in the order the model produced them. */
export interface AssistantMessage {
  readonly role: 'assistant'
  readonly content: readonly AssistantPart[]
  readonly name?: string
}

export interface ToolMessage {
  readonly role: 'tool'
  readonly callId: string
  readonly content: readonly (TextPart | ImagePart | FilePart | AudioPart)[]
  /** The tool failed; the content says how. */
  readonly isError?: boolean
}

export type UserPart = TextPart | ImagePart | FilePart | AudioPart
export type AssistantPart = TextPart | ReasoningPart | ToolCallPart | RefusalPart | MediaPart

export interface TextPart {
  readonly type: 'text'
  readonly text: string
  readonly cache?: CacheMarker
  /** What the text rests on; in answers only. */
  readonly citations?: readonly Citation[]
  /** Opaque data to return with this part, such as Gemini's `thoughtSignature`. */
  readonly signature?: string
}

/** Where bytes come from. `base64` is standard alphabet, without a `data:` prefix. */
export type Source =
  | { readonly type: 'base64'; readonly data: string; readonly mediaType: string }
  | { readonly type: 'url'; readonly url: string }
  | { readonly type: 'id'; readonly id: string }

export interface ImagePart {
  readonly type: 'image'
  readonly source: Source
  /** OpenAI's hint for how closely to look. */
  readonly detail?: 'auto' | 'low' | 'high' | 'original'
  readonly cache?: CacheMarker
}

export interface FilePart {
  readonly type: 'file'
  readonly source: Source
  readonly filename?: string
  readonly cache?: CacheMarker
}

export interface AudioPart {
  readonly type: 'audio'
  readonly data: string
  /** `wav`, `mp3`, ... */
  readonly format: string
  readonly cache?: CacheMarker
}

/** An image or sound a model produced. */
export interface MediaPart {
  readonly type: 'media'
  readonly source: Source
}

export interface ToolCallPart {
  readonly type: 'tool-call'
  readonly id: string
  readonly name: string
  /** JSON text exactly as the model wrote it, possibly broken; free text for a custom tool. */
  readonly arguments: string
  /** A call of a custom (free-text) tool. */
  readonly custom?: boolean
  /** Opaque data to return with this call, such as Gemini's `thoughtSignature`. */
  readonly signature?: string
  readonly cache?: CacheMarker
}

/**
 * What a model thought. To be returned unchanged in the next turn.
 *
 * `text` may be empty (thinking withheld). `signature` proves the text to its provider;
 * `redacted` replaces both where the provider sends sealed data only.
 */
export interface ReasoningPart {
  readonly type: 'reasoning'
  readonly text: string
  readonly signature?: string
  readonly redacted?: string
}

/** The model's own words for declining. */
export interface RefusalPart {
  readonly type: 'refusal'
  readonly text: string
}

export interface Citation {
  /** Where the cited thing is; absent for documents of the request. */
  readonly url?: string
  readonly title?: string
  /** The cited words. */
  readonly quote?: string
  /** UTF-16 offsets into the part's text; absent when the whole part rests on it. */
  readonly start?: number
  readonly end?: number
}

export type Tool = FunctionTool | CustomTool

export interface FunctionTool {
  readonly type: 'function'
  readonly name: string
  readonly description?: string
  /** JSON Schema of the arguments; absent means no arguments. */
  readonly parameters?: JsonObject
  /** Arguments are to match the schema exactly. */
  readonly strict?: boolean
  readonly cache?: CacheMarker
}

/** A tool that takes free text (OpenAI), optionally constrained by a grammar. */
export interface CustomTool {
  readonly type: 'custom'
  readonly name: string
  readonly description?: string
  readonly format?: JsonObject
}

export type ToolChoice =
  | { readonly type: 'auto' }
  | { readonly type: 'none' }
  /** At least one call. */
  | { readonly type: 'required' }
  /** Exactly this tool. */
  | { readonly type: 'tool'; readonly name: string }
  /** Only these tools, `auto` or `required` among them. */
  | {
      readonly type: 'allowed'
      readonly mode: 'auto' | 'required'
      readonly names: readonly string[]
    }

export type ResponseFormat =
  | { readonly type: 'text' }
  | { readonly type: 'json-object' }
  | {
      readonly type: 'json-schema'
      readonly name: string
      readonly description?: string
      readonly schema: JsonObject
      readonly strict?: boolean
    }

/** A whole answer. */
export interface ChatResponse {
  /** The provider's id; empty when it gave none. */
  readonly id: string
  /** The model that answered, as the provider names it; empty when it did not say. */
  readonly model: string
  /** Unix time in seconds; absent when the provider did not say. */
  readonly created?: number
  readonly choices: readonly Choice[]
  /** Absent when the provider reported none; never a zero in its place. */
  readonly usage?: Usage
  readonly serviceTier?: string
}

export interface Choice {
  readonly index: number
  readonly content: readonly AssistantPart[]
  readonly finishReason: FinishReason
  /** The provider's own word; absent when it gave none. */
  readonly rawFinishReason?: string
  /** In OpenAI's shape, as the provider sent it. */
  readonly logprobs?: JsonValue
}

/**
 * Why an answer ended. `error`: the provider gave up on its own output (Gemini's
 * malformed call, Mistral's `error`); the text so far stands.
 */
export type FinishReason = 'stop' | 'length' | 'tool-calls' | 'content-filter' | 'error'

/**
 * One step of a streamed answer.
 *
 * Order: one `start`; blocks of any number of choices, interleaved as the provider
 * sends them, each opened by `*-start` and closed by `block-end`; one `finish` per
 * choice; `usage` at most once; `end` last. A reader of a provider's stream throws
 * instead of an `end` when the stream breaks off.
 *
 * `block` is unique within the answer, across choices.
 */
export type ChatEvent =
  | {
      readonly type: 'start'
      readonly id: string
      readonly model: string
      readonly created?: number
    }
  | { readonly type: 'text-start'; readonly choice: number; readonly block: number }
  | {
      readonly type: 'text-delta'
      readonly block: number
      readonly text: string
      readonly logprobs?: JsonValue
    }
  | { readonly type: 'refusal-start'; readonly choice: number; readonly block: number }
  | { readonly type: 'refusal-delta'; readonly block: number; readonly text: string }
  | { readonly type: 'reasoning-start'; readonly choice: number; readonly block: number }
  | { readonly type: 'reasoning-delta'; readonly block: number; readonly text: string }
  | {
      readonly type: 'tool-call-start'
      readonly choice: number
      readonly block: number
      readonly callId: string
      readonly name: string
      readonly custom?: boolean
    }
  /** A piece of the arguments' JSON text. */
  | { readonly type: 'tool-call-delta'; readonly block: number; readonly text: string }
  | {
      readonly type: 'media'
      readonly choice: number
      readonly block: number
      readonly source: Source
    }
  | { readonly type: 'citation'; readonly block: number; readonly citation: Citation }
  /** `signature` and `redacted` belong to the block that ends. */
  | {
      readonly type: 'block-end'
      readonly block: number
      readonly signature?: string
      readonly redacted?: string
    }
  | {
      readonly type: 'finish'
      readonly choice: number
      readonly reason: FinishReason
      readonly rawReason?: string
    }
  | { readonly type: 'usage'; readonly usage: Usage; readonly serviceTier?: string }
  | { readonly type: 'end' }
