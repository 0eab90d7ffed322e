import type { ChatEvent, ChatRequest, ChatResponse } from './chat.ts'
import type { EmbeddingsRequest, EmbeddingsResponse } from './embeddings.ts'
import type { Change, UpstreamHeaders } from './provider.ts'
import type { Candidate } from './route.ts'
import type { Usage } from './usage.ts'

/** A request as its endpoint read it. */
export type Asked =
  | { readonly operation: 'chat'; readonly request: ChatRequest }
  | { readonly operation: 'embeddings'; readonly request: EmbeddingsRequest }

/** What a target answered, not yet written. */
export type Answer = AnswerFacts & (WholeAnswer | StreamAnswer)

interface AnswerFacts {
  readonly candidate: Candidate
  readonly changes: readonly Change[]
  readonly tally: Tally
  /** Of the provider's answer. */
  readonly headers: UpstreamHeaders
}

export interface WholeAnswer {
  readonly type: 'whole'
  readonly content:
    | { readonly type: 'bytes'; readonly bytes: Uint8Array }
    | { readonly type: 'chat'; readonly response: ChatResponse }
    | { readonly type: 'embeddings'; readonly response: EmbeddingsResponse }
}

/**
 * Pieces as they come: bytes to pass on as they are, or events to write. Neither holds the
 * end marker, which is written when the entry is on the ledger. Throws when the stream breaks.
 */
export interface StreamAnswer {
  readonly type: 'stream'
  readonly pieces: AsyncIterable<Uint8Array | readonly ChatEvent[]>
}

/** What is known of an answer so far; complete once its last piece was read. */
export interface Tally {
  usage?: Usage
  model?: string
  /** The provider's HTTP status. */
  status?: number
  /** The provider's own id of the request. */
  requestId?: string
  finishReason?: string
  serviceTier?: string
  /** UTF-16 units of text, reasoning and tool arguments. */
  outputLength: number
  /** The same text, where it was decoded anyway. */
  outputText: string
  /** Milliseconds from the attempt's start to its first meaningful event; streams only. */
  firstEventMs?: number
}
