import type { Usage } from '#protocol'
import { list, type ModalityCount, type UsageMetadata } from './wire.ts'

/**
 * Google's counts as disjoint buckets.
 *
 * `total = prompt + toolUsePrompt + candidates + thoughts`; the cached part lies within the
 * prompt, thoughts beside the candidates.
 *
 * @returns `undefined` where a count is none: nothing is made of it, so that the attempt is
 *   estimated rather than billed as nothing
 */
export function readUsage(metadata: UsageMetadata, webSearches: number): Usage | undefined {
  if (!TOTALS.every((name) => isCountOrAbsent(metadata[name]))) return undefined
  const prompt = metadata.promptTokensDetails
  const cached = metadata.cacheTokensDetails
  const toolUse = metadata.toolUsePromptTokensDetails
  const uncached = (modality: string) =>
    Math.max(0, tokensOf(prompt, modality) - tokensOf(cached, modality)) +
    tokensOf(toolUse, modality)

  const answered = count(metadata.candidatesTokenCount) + count(metadata.thoughtsTokenCount)
  const toolUsed = count(metadata.toolUsePromptTokenCount)
  // Who gives the total alone has counted all the same.
  const left = Math.max(0, count(metadata.totalTokenCount) - answered - toolUsed)
  const input = bucket(count(metadata.promptTokenCount ?? left) + toolUsed)
  const cacheRead = input.take(count(metadata.cachedContentTokenCount))
  const inputAudio = input.take(uncached('AUDIO'))
  const inputImage = input.take(uncached('IMAGE'))

  const output = bucket(count(metadata.candidatesTokenCount))
  const outputAudio = output.take(tokensOf(metadata.candidatesTokensDetails, 'AUDIO'))
  const outputImage = output.take(tokensOf(metadata.candidatesTokensDetails, 'IMAGE'))

  return {
    input: input.rest(),
    cacheRead,
    cacheWrite5m: 0,
    cacheWrite1h: 0,
    inputAudio,
    inputImage,
    output: output.rest(),
    reasoning: count(metadata.thoughtsTokenCount),
    outputAudio,
    outputImage,
    webSearches,
    ...(metadata.totalTokenCount !== undefined && {
      reportedTotal: count(metadata.totalTokenCount),
    }),
  }
}

/** Counts that a bill depends on; the details only split them. */
const TOTALS = [
  'promptTokenCount',
  'toolUsePromptTokenCount',
  'candidatesTokenCount',
  'thoughtsTokenCount',
  'cachedContentTokenCount',
  'totalTokenCount',
] as const

function isCountOrAbsent(value: unknown): boolean {
  if (value === undefined || value === null) return true
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** OpenAI's word for Google's tier; absent when it was not said. */
export function readServiceTier({ serviceTier }: UsageMetadata): string | undefined {
  if (serviceTier === 'unspecified') return undefined
  return serviceTier === 'standard' ? 'default' : serviceTier
}

export function tokensOf(details: ModalityCount[] | undefined, modality: string): number {
  return list(details)
    .filter((detail) => detail.modality === modality)
    .reduce((sum, detail) => sum + count(detail.tokenCount), 0)
}

export function count(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0
}

/** Splits a total so that no more is taken out than there is. */
function bucket(total: number) {
  let left = total
  return {
    take(wanted: number): number {
      const taken = Math.min(wanted, left)
      left -= taken
      return taken
    },
    rest: () => left,
  }
}
