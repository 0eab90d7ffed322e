import type { Usage } from '#protocol'
import { addUsage, NO_USAGE } from '#protocol'
import type { WireUsage } from './wire.ts'

/**
 * What the end of a stream says of usage, over what its beginning said.
 *
 * Both are totals, so the two are never added. The later one wins, but older hosts repeat
 * only `output_tokens` in it: what it leaves out stays as it was.
 */
export function mergeUsage(earlier: WireUsage, later: WireUsage): WireUsage {
  const said = Object.entries(later).filter(([, value]) => value !== undefined && value !== null)
  return { ...earlier, ...Object.fromEntries(said) }
}

/**
 * Disjoint buckets; `undefined` where the provider gave none, or numbers that can not be.
 *
 * `input_tokens` leaves out what was read from or written to the cache; `output_tokens`
 * holds the thinking.
 */
export function readUsage(usage: WireUsage | null | undefined): Usage | undefined {
  if (!usage || typeof usage.output_tokens !== 'number') return undefined
  let total = readPass(usage)
  // The top level counts the passes of type `message` alone; the others are billed beside it.
  for (const pass of usage.iterations ?? []) {
    if (pass.type === 'compaction' || pass.type === 'advisor_message') {
      total = addUsage(total, readPass(pass))
    }
  }
  const webSearches = usage.server_tool_use?.web_search_requests ?? 0
  const read = { ...total, webSearches }
  return Object.values(read).every(isCount) ? read : undefined
}

function readPass(usage: WireUsage): Usage {
  const written = usage.cache_creation_input_tokens ?? 0
  const cacheWrite1h = Math.min(usage.cache_creation?.ephemeral_1h_input_tokens ?? 0, written)
  const output = usage.output_tokens ?? 0
  const reasoning = Math.min(usage.output_tokens_details?.thinking_tokens ?? 0, output)
  return {
    ...NO_USAGE,
    input: usage.input_tokens ?? 0,
    cacheRead: usage.cache_read_input_tokens ?? 0,
    // By subtraction: the end of a stream gives the total again, but not how it splits.
    cacheWrite5m: written - cacheWrite1h,
    cacheWrite1h,
    output: output - reasoning,
    reasoning,
  }
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

/** OpenAI's word for the tier that served the request. */
export function readServiceTier(usage: WireUsage | null | undefined): string | undefined {
  const tier = usage?.service_tier
  if (typeof tier !== 'string') return undefined
  return tier === 'standard' ? 'default' : tier
}
