import type { Usage } from '#protocol'
import { NO_USAGE } from '#protocol'
import { type Fields, isFields } from './wire.ts'

/**
 * Reads a usage block.
 *
 * Audio is billed apart and is not in `prompt_tokens`, but in the total: the prompt is what
 * the total leaves. Cached tokens have had three spellings. Reasoning is inside the
 * completion and not told apart.
 *
 * @returns absent where the block is missing, or any of its numbers can not be
 */
export function readUsage(usage: unknown): Usage | undefined {
  if (!isFields(usage)) return undefined
  const details: Fields =
    [usage['prompt_tokens_details'], usage['prompt_token_details']].find(isFields) ?? {}
  const prompt = usage['prompt_tokens']
  const audio = details['audio_tokens'] ?? 0
  const cached = details['cached_tokens'] ?? usage['num_cached_tokens'] ?? 0
  // Embeddings have no completion, and say 0 or nothing.
  const output = usage['completion_tokens'] ?? 0
  if (!isCount(prompt) || !isCount(audio) || !isCount(cached) || !isCount(output)) return undefined

  const total = usage['total_tokens'] ?? undefined
  if (total !== undefined && !isCount(total)) return undefined
  const whole = total === undefined ? prompt + audio : Math.max(prompt, total - output)
  const inputAudio = Math.min(audio, whole)
  const cacheRead = Math.min(cached, whole - inputAudio)
  return {
    ...NO_USAGE,
    input: whole - inputAudio - cacheRead,
    cacheRead,
    inputAudio,
    output,
    ...(total === undefined ? {} : { reportedTotal: total }),
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** Its word for the tier that served, in OpenAI's terms. */
export function readServiceTier(usage: unknown): string | undefined {
  const tier = isFields(usage) ? usage['service_tier'] : undefined
  if (typeof tier !== 'string') return undefined
  return tier === 'standard' ? 'default' : tier
}
