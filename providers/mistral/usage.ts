import type { Usage } from '#protocol'
import { NO_USAGE } from '#protocol'
import { isFields } from './wire.ts'

/**
 * Reads a usage block.
 *
 * Audio is billed apart and is not in `prompt_tokens`, but in the total: the prompt is what
 * the total leaves. Cached tokens have had three spellings. Reasoning is inside the
 * completion and not told apart.
 *
 * @returns absent where the block is missing or its numbers can not be
 */
export function readUsage(usage: unknown): Usage | undefined {
  if (!isFields(usage)) return undefined
  const prompt = count(usage['prompt_tokens'])
  // Embeddings have no completion, and say 0 or nothing.
  const completion = count(usage['completion_tokens'] ?? 0)
  if (prompt === undefined || completion === undefined) return undefined

  const details = [usage['prompt_tokens_details'], usage['prompt_token_details']].find(isFields)
  const audio = count(details?.['audio_tokens']) ?? 0
  const cached = count(details?.['cached_tokens']) ?? count(usage['num_cached_tokens']) ?? 0
  const total = count(usage['total_tokens'])
  const whole = total === undefined ? prompt + audio : Math.max(prompt, total - completion)

  const inputAudio = Math.min(audio, whole)
  const cacheRead = Math.min(cached, whole - inputAudio)
  return {
    ...NO_USAGE,
    input: whole - inputAudio - cacheRead,
    cacheRead,
    inputAudio,
    output: completion,
    ...(total === undefined ? {} : { reportedTotal: total }),
  }
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

/** Its word for the tier that served, in OpenAI's terms. */
export function readServiceTier(usage: unknown): string | undefined {
  const tier = isFields(usage) ? usage['service_tier'] : undefined
  if (typeof tier !== 'string') return undefined
  return tier === 'standard' ? 'default' : tier
}
