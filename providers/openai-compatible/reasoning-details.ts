import type { JsonObject, ReasoningPart } from '#protocol'
import { type Fields, count, isFields, parsed, text } from './wire.ts'

/**
 * OpenRouter's `reasoning_details`, also spoken by Snowflake and Vercel's gateway.
 * https://openrouter.ai/docs/use-cases/reasoning-tokens
 *
 * Anthropic's signatures and sealed data are kept bare, as they are valid at every door to that
 * model. Of any other format the whole detail is kept as our opaque signature: it must come back
 * with its own `type`, `format` and `id`.
 */
export interface Detail {
  /** The call that Google's signature belongs to; empty for none. */
  readonly callId: string
  readonly text: string
  readonly signature: string
  readonly redacted: string
  /** Details of one block share it. */
  readonly block: string
}

const ANTHROPIC = 'anthropic-claude-v1'
const GOOGLE = 'google-gemini-v1'

/** A call with Google's signature, which stands among the details on this wire. */
export interface SealedCall {
  readonly id: string
  readonly signature: string
}

export function readDetail(value: unknown): Detail | undefined {
  if (!isFields(value)) return undefined
  const type = text(value['type'])
  const block = `${type === 'reasoning.encrypted' ? 'sealed' : 'open'}:${count(value['index']) ?? ''}`
  if (type === 'reasoning.encrypted') {
    const data = text(value['data'])
    if (data === '') return undefined
    const callId = value['format'] === GOOGLE ? text(value['id']) : ''
    const redacted = value['format'] === ANTHROPIC ? data : JSON.stringify(value)
    return { callId, text: '', signature: callId === '' ? '' : data, redacted, block }
  }
  const words = text(value['text']) || text(value['summary'])
  return { callId: '', text: words, signature: signatureOf(value, type), redacted: '', block }
}

function signatureOf(value: Fields, type: string): string {
  const signature = text(value['signature'])
  if (value['format'] === ANTHROPIC && type === 'reasoning.text') return signature
  if (signature === '' && type !== 'reasoning.summary') return ''
  const { text: _text, summary: _summary, ...rest } = value
  return JSON.stringify(rest)
}

/** The details an assistant message is replayed with. */
export function writeDetails(
  parts: readonly ReasoningPart[],
  sealed: readonly SealedCall[],
): readonly JsonObject[] {
  const calls = sealed.map(({ id, signature }, index) => {
    return { type: 'reasoning.encrypted', data: signature, format: GOOGLE, id, index }
  })
  return [...parts.map(writeDetail), ...calls]
}

function writeDetail(part: ReasoningPart, index: number): JsonObject {
  if (part.redacted !== undefined) {
    const data = { type: 'reasoning.encrypted', data: part.redacted, format: ANTHROPIC, index }
    return ours(part.redacted) ?? data
  }
  const kept = part.signature === undefined ? undefined : ours(part.signature)
  if (kept !== undefined) {
    const words = kept['type'] === 'reasoning.summary' ? 'summary' : 'text'
    return part.text === '' ? kept : { ...kept, [words]: part.text }
  }
  return {
    type: 'reasoning.text',
    text: part.text,
    ...(part.signature === undefined ? {} : { signature: part.signature, format: ANTHROPIC }),
    index,
  }
}

function ours(opaque: string): JsonObject | undefined {
  if (!opaque.startsWith('{')) return undefined
  const detail = parsed(opaque)
  return isFields(detail) && text(detail['type']).startsWith('reasoning.') ? detail : undefined
}
