import { LRUCache } from 'lru-cache'
import type { PromptSize } from './estimate.ts'

/** What a model's usage teaches about how densely it counts text. */
export interface Calibration {
  /** What to multiply a text's bound by; 1 for a model not seen enough. */
  factor(provider: string, model: string): number
  /** @param actual tokens of the prompt as the provider counted them */
  observe(provider: string, model: string, size: PromptSize, actual: number): void
}

/** Prompts whose bound is under 500 tokens say more of wrappers than of text. */
const LEAST_QUARTERS = 2000
const EPOCH = 256
/** The densest prompt of the last epochs, and a quarter on top. */
const MARGIN = 1.25
/** Half of what plain English needs by the default: the most a hostile text can gain. */
const LEAST_FACTOR = 0.4
const MOST_FACTOR = 4

interface Seen {
  count: number
  /** Most tokens per token of the default bound, in this epoch and the one before. */
  highest: number
  before: number
}

/**
 * Lowers the bound for models that turned out to count less, and raises it at once for
 * those that count more. Keeps the maximum, not an average: it is to stay a bound.
 */
export function createCalibration(most = 1000): Calibration {
  const models = new LRUCache<string, Seen>({ max: most })
  return {
    factor(provider, model) {
      const seen = models.get(`${provider}/${model}`)
      if (!seen) return 1
      const highest = Math.max(seen.highest, seen.before)
      if (highest > 1) return Math.min(MOST_FACTOR, highest * MARGIN)
      return seen.before === 0 ? 1 : Math.min(1, Math.max(LEAST_FACTOR, highest * MARGIN))
    },

    observe(provider, model, size, actual) {
      if (!isTelling(size) || !Number.isSafeInteger(actual) || actual <= 0) return
      const name = `${provider}/${model}`
      let seen = models.get(name)
      if (!seen) models.set(name, (seen = { count: 0, highest: 0, before: 0 }))
      seen.highest = Math.max(seen.highest, (actual * 4) / size.quarters)
      if (++seen.count < EPOCH) return
      seen.before = seen.highest
      seen.highest = 0
      seen.count = 0
    },
  }
}

/** Text alone, and enough of it. */
function isTelling({ quarters, images, audio, open, exact, fixed, media }: PromptSize): boolean {
  return (
    quarters >= LEAST_QUARTERS &&
    images === 0 &&
    !audio &&
    !open &&
    exact === 0 &&
    media === 0 &&
    fixed * 4 < quarters * 2
  )
}
