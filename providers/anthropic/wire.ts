import type {
  Base64ImageSource,
  ContentBlockParam,
  MessageCreateParamsBase,
  ServerToolUseBlock,
  TextBlockParam,
  ThinkingConfigParam,
  Tool,
  ToolResultBlockParam,
} from '@anthropic-ai/sdk/resources/messages'
import type { JsonObject } from '#protocol'

/**
 * The Messages API as it goes over the line.
 *
 * What we send is the official SDK's own type, so that the compiler holds us to it. What we
 * read is declared here with every field optional: hosts that imitate the API leave fields
 * out, and new ones appear without notice.
 *
 * Source: https://platform.claude.com/docs/en/api/messages
 */

export type { Base64ImageSource, ContentBlockParam, TextBlockParam, Tool, ToolResultBlockParam }

/** The newest SDK has dropped the sampling fields, which models up to Claude 4.6 still take. */
export type MessagesBody = Omit<MessageCreateParamsBase, 'thinking'> & {
  /** Of ours, or as the caller wrote it in the provider's own words. */
  thinking?: ThinkingConfigParam | JsonObject
  temperature?: number
  top_p?: number
  top_k?: number
}

export interface WireUsage {
  readonly input_tokens?: number | null
  readonly output_tokens?: number | null
  readonly cache_read_input_tokens?: number | null
  readonly cache_creation_input_tokens?: number | null
  readonly cache_creation?: {
    readonly ephemeral_5m_input_tokens?: number | null
    readonly ephemeral_1h_input_tokens?: number | null
  } | null
  readonly output_tokens_details?: { readonly thinking_tokens?: number | null } | null
  readonly server_tool_use?: { readonly web_search_requests?: number | null } | null
  readonly service_tier?: string | null
  /** Passes of one request; those of type `message` are what the top level counts. */
  readonly iterations?: readonly (WireUsage & { readonly type?: string })[] | null
}

export interface WireCitation {
  readonly type?: string
  readonly url?: string | null
  readonly source?: string | null
  readonly title?: string | null
  readonly document_title?: string | null
  readonly cited_text?: string | null
}

export interface WireBlock {
  readonly type?: ServerToolUseBlock['type'] | (string & {})
  readonly text?: string
  readonly citations?: readonly WireCitation[] | null
  readonly thinking?: string
  readonly signature?: string
  readonly data?: string
  readonly id?: string
  readonly name?: string
  readonly input?: unknown
  /** Absent or `direct` for a call the application is to answer. */
  readonly caller?: { readonly type?: string } | null
}

export interface WireMessage {
  readonly type?: string
  readonly id?: string
  readonly model?: string
  readonly content?: readonly WireBlock[] | null
  readonly stop_reason?: string | null
  readonly usage?: WireUsage | null
}

export interface WireError {
  readonly type?: string
  readonly message?: string
  readonly details?: { readonly error_code?: string } | null
}

export interface WireEvent {
  readonly type?: string
  readonly index?: number
  readonly message?: WireMessage
  readonly content_block?: WireBlock
  readonly delta?: {
    readonly type?: string
    readonly text?: string
    readonly thinking?: string
    readonly signature?: string
    readonly partial_json?: string
    readonly citation?: WireCitation
    readonly stop_reason?: string | null
  }
  readonly usage?: WireUsage | null
  readonly error?: WireError
}

/** Whether a value that came out of JSON is an object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Fits any object: every field of a message is optional, and looked at before it is used. */
export function isMessage(value: unknown): value is WireMessage {
  return isObject(value) && Array.isArray(value['content'])
}

/** Fits any object, as {@link isMessage} does. */
export function isEvent(value: unknown): value is WireEvent {
  return isObject(value)
}
