import { GatewayError } from '#errors'
import type { ChatRequest, Encoded, JsonObject, Target, ToolMessage, UserMessage } from '#protocol'
import { anthropic } from '../../providers/anthropic/index.ts'

/** What the tests of Anthropic requests are built from. */

export const PIXEL = { type: 'base64', data: 'iVBORw0=', mediaType: 'image/png' } as const

export function target(more: Partial<Target> = {}): Target {
  return {
    provider: 'claude',
    model: 'claude-sonnet-4-5',
    baseUrl: 'https://api.anthropic.com',
    credential: 'secret',
    headers: {},
    ...more,
  }
}

export function user(text: string): UserMessage {
  return { role: 'user', content: [{ type: 'text', text }] }
}

export function result(callId: string, text: string): ToolMessage {
  return { role: 'tool', callId, content: [{ type: 'text', text }] }
}

export function encode(more: Partial<ChatRequest>, to: Partial<Target> = {}): Encoded {
  return anthropic.chat.encode(
    {
      model: 'claude',
      messages: [user('Hello')],
      stream: false,
      includeUsage: false,
      providerOptions: {},
      ...more,
    },
    target(to),
  )
}

export interface WrittenBody extends Record<string, unknown> {
  readonly messages: readonly { readonly role: string; readonly content: readonly JsonObject[] }[]
}

export function body(more: Partial<ChatRequest>, to: Partial<Target> = {}): WrittenBody {
  return JSON.parse(String(encode(more, to).request.body))
}

/** As `kind field`; not the maximum of tokens, which the API wants and most tests leave open. */
export function changes(more: Partial<ChatRequest>, to: Partial<Target> = {}): string[] {
  return encode({ maxOutputTokens: 20_000, ...more }, to).changes.map(
    ({ kind, field }) => `${kind} ${field}`,
  )
}

export function refusal(more: Partial<ChatRequest>, to: Partial<Target> = {}): GatewayError {
  try {
    encode(more, to)
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
  throw new Error('the request was accepted')
}
