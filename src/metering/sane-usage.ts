import type { Usage } from '#protocol'
import { inputTokens, outputTokens } from '#protocol'
import type { ModelFacts } from './catalogue.ts'

/** Beyond this, a count is nonsense whatever the model. */
export const ABSURD_TOKENS = 100_000_000
const ABSURD_SEARCHES = 10_000
/** How far past its stated limits a model may count: limits grow before we hear of it. */
const TOLERANCE = 10

/**
 * Usage as a provider gave it, where it can be true.
 *
 * @returns `undefined` for counts that are negative, no integers, or ten times what the
 *   model can take: such usage counts as missing. Zero is a count.
 */
export function saneUsage(usage: Usage, facts: ModelFacts | undefined): Usage | undefined {
  for (const [name, count] of Object.entries(usage)) {
    if (name !== 'reportedTotal' && !(Number.isSafeInteger(count) && count >= 0)) return undefined
  }
  const { contextTokens, maxOutputTokens = 0 } = facts ?? {}
  const most = contextTokens === undefined ? ABSURD_TOKENS : contextTokens * TOLERANCE
  const mostOutput = Math.max(most, maxOutputTokens * TOLERANCE)
  const isSane =
    inputTokens(usage) <= most &&
    outputTokens(usage) <= mostOutput &&
    usage.webSearches <= ABSURD_SEARCHES
  return isSane ? usage : undefined
}
