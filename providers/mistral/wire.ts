import type {
  AssistantMessage$Outbound,
  ChatCompletionRequest$Outbound,
  ContentChunk$Outbound,
  FunctionT$Outbound,
  SystemMessage$Outbound,
  ToolCall$Outbound,
  ToolMessage$Outbound,
  UserMessage$Outbound,
} from '@mistralai/mistralai/models/components'

/**
 * Mistral's chat wire, as its own SDK writes it. Members with a default there are optional here.
 * Source: https://docs.mistral.ai/api/endpoint/chat
 */
export type WireRequest = Omit<
  ChatCompletionRequest$Outbound,
  'messages' | 'tools' | 'tool_choice' | 'response_format' | 'prediction' | 'guardrails'
> & {
  messages: readonly WireMessage[]
  tools?: readonly WireTool[]
  tool_choice?: unknown
  response_format?: unknown
  prediction?: unknown
  guardrails?: unknown
}

export type WireMessage =
  | SystemMessage$Outbound
  | UserMessage$Outbound
  | WireAssistantMessage
  | ToolMessage$Outbound

export type WireAssistantMessage = Omit<
  AssistantMessage$Outbound,
  'content' | 'prefix' | 'tool_calls'
> & {
  content: string | ContentChunk$Outbound[]
  tool_calls?: Omit<ToolCall$Outbound, 'index'>[]
  prefix?: true
}

export type WireChunk = ContentChunk$Outbound

export interface WireTool {
  type: 'function'
  function: Partial<FunctionT$Outbound> & Pick<FunctionT$Outbound, 'name' | 'parameters'>
}

/** What of an answer is read. Anything may be missing, null, or of another type than promised. */
export interface WireAnswer {
  readonly id?: unknown
  readonly model?: unknown
  readonly created?: unknown
  readonly choices?: unknown
  readonly usage?: unknown
}

export type Fields = Readonly<Record<string, unknown>>

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
