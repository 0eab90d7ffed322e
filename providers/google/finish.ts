import type { FinishReason } from '#protocol'

/** https://ai.google.dev/api/generate-content#FinishReason, and MODEL_ARMOR from Vertex. */
const FINISH_REASONS = new Map<string, FinishReason>([
  ['STOP', 'stop'],
  ['MAX_TOKENS', 'length'],
  ['SAFETY', 'content-filter'],
  ['RECITATION', 'content-filter'],
  ['LANGUAGE', 'content-filter'],
  ['BLOCKLIST', 'content-filter'],
  ['PROHIBITED_CONTENT', 'content-filter'],
  ['SPII', 'content-filter'],
  ['IMAGE_SAFETY', 'content-filter'],
  ['IMAGE_PROHIBITED_CONTENT', 'content-filter'],
  ['IMAGE_RECITATION', 'content-filter'],
  ['MODEL_ARMOR', 'content-filter'],
])

/**
 * Google says STOP for calls as well. Any other word (MALFORMED_FUNCTION_CALL, OTHER, ...)
 * means that the model's output was given up.
 *
 * @param calls how many calls were handed on, and how many held back as no tool of the caller's
 */
export function finishReason(
  raw: string,
  calls: { readonly forwarded: number; readonly withheld: number },
): FinishReason {
  const reason = FINISH_REASONS.get(raw) ?? 'error'
  if (reason !== 'stop') return reason
  if (calls.forwarded > 0) return 'tool-calls'
  return calls.withheld > 0 ? 'error' : 'stop'
}
