import type { GenerateContentRequest } from '@google/generative-ai'
import type {
  AssistantMessage$Outbound,
  ChatCompletionRequest$Outbound,
  ChatCompletionRequestMessage$Outbound,
  ToolCall$Outbound,
} from '@mistralai/mistralai/models/components'
import type Anthropic from '@anthropic-ai/sdk'
import type OpenAI from 'openai'
import type { JsonObject } from '#protocol'

/** A request as the OpenAI SDK's users write it; the model is set by the test. */
export type Asked = Omit<OpenAI.ChatCompletionCreateParamsNonStreaming, 'model' | 'stream'>

/** What each kind of provider is to receive, in the types of its own SDK. */
export interface Sent {
  readonly openai: OpenAI.ChatCompletionCreateParamsNonStreaming
  readonly anthropic: ClaudeRequest
  readonly google: GeminiRequest
  readonly mistral: MistralRequest
  readonly llamacpp: LlamaRequest
}

export type Kind = keyof Sent

/** With what the API still takes for its older models, and the SDK has put away. */
export type ClaudeRequest = Anthropic.MessageCreateParamsNonStreaming & {
  readonly temperature?: number
}

/** As the SDK writes it, less its defaults: a message's `prefix`, a call's `index`. */
export type MistralRequest = Omit<ChatCompletionRequest$Outbound, 'messages'> & {
  readonly messages: readonly (
    | Exclude<ChatCompletionRequestMessage$Outbound, { role: 'assistant' }>
    | (Pick<AssistantMessage$Outbound, 'role' | 'content'> & {
        readonly tool_calls?: readonly Omit<ToolCall$Outbound, 'index'>[]
      })
  )[]
}

/** OpenAI's, as llama.cpp reads it: reasoning is returned to the template. */
export type LlamaRequest = Omit<OpenAI.ChatCompletionCreateParamsNonStreaming, 'messages'> & {
  readonly messages: readonly (
    | OpenAI.ChatCompletionMessageParam
    | (OpenAI.ChatCompletionAssistantMessageParam & { readonly reasoning_content: string })
  )[]
}

/**
 * As @google/generative-ai has it, whose last version came before thinking, JSON Schema in full
 * and ids of calls: https://ai.google.dev/api has those.
 */
export type GeminiRequest = Omit<
  GenerateContentRequest,
  'contents' | 'tools' | 'toolConfig' | 'generationConfig' | 'systemInstruction'
> & {
  readonly contents: readonly { readonly role: string; readonly parts: readonly GeminiPart[] }[]
  readonly systemInstruction?: { readonly parts: readonly GeminiPart[] }
  readonly tools?: readonly {
    readonly functionDeclarations: readonly {
      readonly name: string
      readonly description?: string
      readonly parametersJsonSchema?: JsonObject
    }[]
  }[]
  readonly toolConfig?: {
    readonly functionCallingConfig: {
      readonly mode: 'AUTO' | 'ANY' | 'NONE' | 'VALIDATED'
      readonly allowedFunctionNames?: readonly string[]
    }
  }
  readonly generationConfig?: Omit<
    NonNullable<GenerateContentRequest['generationConfig']>,
    'responseSchema'
  > & {
    readonly responseJsonSchema?: JsonObject
    readonly thinkingConfig?: {
      readonly includeThoughts: boolean
      readonly thinkingLevel: 'MINIMAL' | 'LOW' | 'MEDIUM' | 'HIGH'
    }
  }
}

type GeminiPart =
  | { readonly text: string; readonly thoughtSignature?: string }
  | { readonly inlineData: { readonly mimeType: string; readonly data: string } }
  | {
      readonly functionCall: {
        readonly name: string
        readonly args: JsonObject
        readonly id?: string
      }
      readonly thoughtSignature?: string
    }
  | {
      readonly functionResponse: {
        readonly name: string
        readonly response: JsonObject
        readonly id?: string
      }
    }
