import type { ChatEvent, ChatRequest, ChatResponse } from './chat.ts'
import type { EmbeddingsRequest, EmbeddingsResponse } from './embeddings.ts'
import type { Usage } from './usage.ts'

/** A request/answer format. Equal wires pass bytes through; others are translated. */
export type Wire = 'openai-chat' | 'anthropic-messages' | 'google-generate' | 'mistral-chat'

/**
 * How to speak to one kind of provider: pure translation, no clock, no network, no state.
 *
 * An operation left out is one the provider does not offer.
 */
export interface Provider {
  /** `openai`, `anthropic`, `llamacpp`, ...; what `kind:` in the settings takes. */
  readonly id: string
  /** For people: `OpenAI`, `llama.cpp`. */
  readonly name: string
  /** As the provider's official SDK takes it; absent when there is no usual address. */
  readonly baseUrl?: string
  /** Environment variables that hold its credential, first found wins. Empty: none needed. */
  readonly credentialVariables: readonly string[]
  /** The `provider` id the price engine knows it by; absent when it has no prices for it. */
  readonly priceId?: string
  readonly capabilities: Capabilities
  /** Whether the provider fetches a link itself although its images are `inline`: its own files. */
  readsUrl?(url: string): boolean
  readonly chat?: ChatOperation
  readonly embeddings?: EmbeddingsOperation
  /** The request that lists models; used to test a provider, at no cost. */
  models?(target: Target): UpstreamRequest
  /** Names in the answer to {@link Provider.models}. */
  readModels?(body: unknown): readonly string[]
  /** What an answer with an error status says. Never throws. */
  readError(status: number, headers: UpstreamHeaders, body: string): ProviderError
}

/** What a provider's wire can carry, for routing and for the README's table. */
export interface Capabilities {
  readonly tools: boolean
  readonly jsonSchema: boolean
  readonly images: 'none' | 'inline' | 'url'
  readonly files: boolean
  readonly audio: boolean
  readonly reasoning: boolean
}

export interface ChatOperation {
  readonly wire: Wire
  /**
   * Writes our request in the provider's words. What cannot be carried is listed in `changes`.
   *
   * @throws GatewayError `unsupported_feature` where leaving something out would change
   *   what the caller gets beyond a hint
   */
  encode(request: ChatRequest, target: Target): Encoded
  /** @throws GatewayError `upstream_invalid` for a body that is no answer */
  decode(body: unknown, request: ChatRequest): ChatResponse
  /** A fresh reader for one streamed answer. */
  reader(request: ChatRequest): EventReader
  /**
   * For callers who speak the provider's own wire: the caller's bytes with `edits` made to
   * them go out. Absent: the provider is always translated for.
   */
  readonly passThrough?: PassThrough
}

/** Either of the two ways to ask; callers always speak OpenAI's wire. */
export type EmbeddingsOperation = {
  decode(body: unknown, request: EmbeddingsRequest): EmbeddingsResponse
} & (
  | {
      encode(request: EmbeddingsRequest, target: Target): Encoded
      readonly passThrough?: undefined
    }
  | { readonly encode?: undefined; readonly passThrough: EmbeddingsPassThrough }
)

/** For a provider of OpenAI's wire: the caller's bytes go out with `edits` made to them. */
export interface EmbeddingsPassThrough extends Pick<PassThrough, 'url' | 'headers'> {
  /** As of {@link PassThrough}; what they change, the answer makes good. */
  edits(request: EmbeddingsRequest): BodyEdits
  /** @returns undefined for an answer not as it was asked for: it is decoded and written anew */
  inspect(body: unknown, request: EmbeddingsRequest): Inspected | undefined
}

/** Reads a provider's frames into events. One per answer; holds that answer's state. */
export interface EventReader {
  /**
   * @returns what the frame says, often nothing
   * @throws GatewayError `upstream_error` on the provider's own error frame,
   *   `upstream_invalid` on a frame that cannot be read
   */
  read(frame: Frame): readonly ChatEvent[]
  /**
   * Called once, when the stream is over.
   *
   * @returns the closing events, `end` last, unless `read` gave them already
   * @throws GatewayError `upstream_error` when the stream broke off before its own end
   */
  end(): readonly ChatEvent[]
}

/** One decoded unit of an event stream. */
export interface Frame {
  /** Empty when the frame named none. */
  readonly event: string
  readonly data: string
}

/** Same wire in and out. */
export interface PassThrough {
  /**
   * Top-level members to set (a JSON text) or to take away (`undefined`) in the caller's
   * body. The model is set by the caller of this function.
   */
  edits(
    request: ChatRequest,
    target: Target,
  ): { readonly edits: BodyEdits; readonly changes: readonly Change[] }
  /** The member that limits output tokens, for a maximum that the budgets impose. */
  maxTokensField(target: Target): string
  url(target: Target): string
  headers(target: Target): Readonly<Record<string, string>>
  /** A fresh reader that watches one streamed answer go by. */
  watcher(): StreamWatcher
  /** Usage, finish and served model of a whole answer of this wire. Never throws; absent where unsaid. */
  inspect(body: unknown): Inspected
}

export type BodyEdits = Readonly<Record<string, string | undefined>>

export interface Inspected {
  readonly usage?: Usage
  readonly model?: string
  /** Present in every answer with a choice. */
  readonly finishReason?: string
  readonly serviceTier?: string
  /** All text and arguments of a whole answer, for an estimate where no usage came. */
  readonly outputText?: string
}

/** Watches frames of a passed-through stream; cheap for those that say nothing it needs. */
export interface StreamWatcher {
  /**
   * @returns what to do with the frame's bytes: `pass`; `usage` for a frame that holds usage
   *   alone (dropped when the caller did not ask for it); `done` for the end marker
   * @throws GatewayError `upstream_error` on an error frame, `upstream_invalid` on one that is
   *   not JSON
   */
  watch(frame: RawFrame): 'pass' | 'usage' | 'done'
  /**
   * Where the last frame, which is to pass, has a member that a caller who did not ask for usage
   * is not told: that there is none yet, or usage without a choice but beside something else.
   */
  readonly unaskedUsage: { readonly start: number; readonly end: number } | undefined
  /** True once a frame carried something of the answer itself. */
  readonly answered: boolean
  /** True once every choice seen has its finish reason. */
  readonly finished: boolean
  readonly seen: Inspected
  /** Text and tool arguments that went by, for an estimate when no usage comes; in UTF-16 units. */
  readonly outputLength: number
}

/** A frame of which only the bytes are known. */
export interface RawFrame {
  readonly event: string
  readonly bytes: Uint8Array
  /** The frame's data, decoded when first asked for. */
  data(): string
}

/** One way to reach one model: where it is, and the credential that opens it. */
export interface Target {
  /** Name of the configured provider: `openai`, `claude`, `llama`. */
  readonly provider: string
  /** The provider's own name for the model. */
  readonly model: string
  /** Without a trailing slash. */
  readonly baseUrl: string
  /** Absent where none is needed. */
  readonly credential?: string
  /** Of a tenant's own credential; absent: it is the operator's. */
  readonly credentialId?: string
  /** Extra headers from the settings. */
  readonly headers: Readonly<Record<string, string>>
  /** Output tokens the model can give at most; absent when the catalogue does not know. */
  readonly maxOutputTokens?: number
  readonly contextTokens?: number
}

export interface UpstreamRequest {
  readonly method: 'GET' | 'POST'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** Lower-case names. */
export type UpstreamHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

export interface Encoded {
  readonly request: UpstreamRequest
  /** Empty: carried exactly. */
  readonly changes: readonly Change[]
}

/**
 * Something of the caller's request that reaches the provider differently.
 *
 * `adapted`: the same meaning in other words (a clamp the provider's range forces, a hoisted
 * system message). `lossy`: meaning is gone (a seed the provider does not have).
 */
export interface Change {
  /** The caller's field, by path: `seed`, `messages[3].content[0].detail`. */
  readonly field: string
  readonly kind: 'adapted' | 'lossy'
  /** A few words: `not supported by anthropic`, `clamped from 1.7 to 1`. */
  readonly note: string
}

/** A provider's refusal, read. */
export interface ProviderError {
  readonly kind:
    | 'invalid_request'
    | 'context_length'
    | 'authentication'
    | 'permission'
    | 'not_found'
    | 'rate_limit'
    /** The provider's own account is out of money; retrying there is useless. */
    | 'quota'
    | 'overloaded'
    | 'server'
    | 'timeout'
    | 'content_filter'
  /** The provider's words, or a plain sentence when it had none. */
  readonly message: string
  readonly code?: string
  /** The request field at fault, where named. */
  readonly param?: string
  /** When the provider says to come back; ms from now. */
  readonly retryAfterMs?: number
  /** The provider's explicit word on retrying; absent when it said nothing. */
  readonly retryable?: boolean
}
