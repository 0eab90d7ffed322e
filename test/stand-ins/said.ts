import { createHash } from 'node:crypto'
import type { JsonObject } from '#protocol'

/** What a model says, in no provider's words: each stand-in says it in its own. */
export interface Said {
  readonly thinking?: string
  readonly text?: string
  readonly calls?: readonly SaidCall[]
  /** The answer ran into its maximum. */
  readonly cutShort?: true
  readonly usage: SaidUsage
}

export interface SaidCall {
  readonly name: string
  readonly arguments: JsonObject
}

/** In tokens. */
export interface SaidUsage {
  /** The whole prompt. */
  readonly prompt: number
  /** Of the prompt, read from the provider's cache. */
  readonly cached: number
  /** The whole answer. */
  readonly output: number
  /** Of the answer, thought. */
  readonly reasoning: number
}

/** A proof of authorship, as providers sign what they want back unchanged. */
export function sign(...what: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(what)).digest('base64')
}

/** Pieces as a model streams them: words, some of them cut. */
export function pieces(text: string): readonly string[] {
  return text.match(/\S{1,6}\s*/g) ?? []
}

/** Pieces of JSON, cut anywhere. */
export function fragments(json: string): readonly string[] {
  return json.match(/[\s\S]{1,7}/g) ?? []
}

export function callArguments(call: SaidCall): string {
  return JSON.stringify(call.arguments)
}

/** A server-sent event. */
export function frame(data: unknown, event?: string): string {
  const text = typeof data === 'string' ? data : JSON.stringify(data)
  return `${event === undefined ? '' : `event: ${event}\n`}data: ${text}\n\n`
}
