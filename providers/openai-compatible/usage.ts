import type { Usage } from '#protocol'
import { count, fields, isFields } from './wire.ts'

/** How a provider counts. */
export interface UsageFacts {
  /** Reasoning tokens are not part of `completion_tokens` (xAI, Perplexity). */
  readonly reasoningApart?: boolean
  /** Counts at the root of `usage` billed as input on top of `prompt_tokens`. */
  readonly extraInput?: readonly string[]
}

/**
 * Reads OpenAI's `usage` and its dialects into disjoint buckets.
 *
 * One rule for nonsense: a count that is there but is no non-negative safe integer makes the
 * whole reading `undefined`, so that the attempt is estimated instead; nothing is ever negative.
 * A part larger than its whole is cut to the whole.
 *
 * Prompt tokens for images stay in `input`: no provider of this wire bills them apart.
 *
 * @returns `undefined` when nothing, or nothing believable, was reported
 */
export function readUsage(value: unknown, facts: UsageFacts = {}): Usage | undefined {
  if (!isFields(value)) return undefined
  const counts = counter()
  const total = counts.read(value['total_tokens'])
  const prompt = counts.read(value['prompt_tokens'], value['input_tokens'])
  const completion = counts.read(value['completion_tokens'], value['output_tokens'])
  if (total === undefined && prompt === undefined && completion === undefined) return undefined

  const promptDetails = fields(value['prompt_tokens_details'])
  const cached = counts.read(
    promptDetails['cached_tokens'],
    value['prompt_cache_hit_tokens'],
    value['cached_tokens'],
  )
  const written = counts.read(
    promptDetails['cache_write_tokens'],
    value['cache_creation_input_tokens'],
  )
  const inputAudio = counts.read(promptDetails['audio_tokens'])
  const details = fields(value['completion_tokens_details'])
  const reasoning = counts.read(details['reasoning_tokens'], value['reasoning_tokens']) ?? 0
  const outputAudio = counts.read(details['audio_tokens'])
  const outputImage = counts.read(details['image_tokens'])
  const searches = counts.read(
    fields(value['server_tool_use_details'])['web_search_requests'],
    fields(value['server_tool_use'])['web_search_requests'],
    value['num_search_queries'],
  )
  const extra = (facts.extraInput ?? []).reduce((sum, name) => {
    return sum + (counts.read(value[name]) ?? 0)
  }, 0)
  const asked = prompt ?? Math.max(0, (total ?? 0) - (completion ?? 0))
  const answered = completion ?? Math.max(0, (total ?? 0) - asked)
  if (counts.absurd || !Number.isSafeInteger(asked + answered + reasoning + extra)) return undefined

  // The provider's own sum is the better witness: gateways mix models of both kinds.
  const apart = facts.reasoningApart === true || total === asked + answered + reasoning
  const input = shares(asked)
  const cacheRead = input.take(cached)
  const cacheWrite5m = input.take(written)
  const heard = input.take(inputAudio)
  const output = shares(answered)
  const thought = apart ? reasoning : output.take(reasoning)
  const spoken = output.take(outputAudio)
  const drawn = output.take(outputImage)
  return {
    input: input.rest() + extra,
    cacheRead,
    cacheWrite5m,
    cacheWrite1h: 0,
    inputAudio: heard,
    inputImage: 0,
    output: output.rest(),
    reasoning: thought,
    outputAudio: spoken,
    outputImage: drawn,
    webSearches: searches ?? 0,
    ...(total === undefined ? {} : { reportedTotal: total }),
  }
}

/** Reads the first count given among spellings; remembers whether one of them was nonsense. */
function counter(): { absurd: boolean; read(...given: unknown[]): number | undefined } {
  const counts = {
    absurd: false,
    read(...given: unknown[]): number | undefined {
      const value = given.find((each) => each !== undefined && each !== null)
      if (value === undefined) return undefined
      const believable = count(value)
      counts.absurd ||= believable === undefined
      return believable
    },
  }
  return counts
}

/** Parts taken from a whole, none larger than what is left of it. */
function shares(whole: number): { take(part: number | undefined): number; rest(): number } {
  let left = whole
  return {
    take(part = 0) {
      const taken = Math.min(part, left)
      left -= taken
      return taken
    },
    rest: () => left,
  }
}
