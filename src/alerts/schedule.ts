const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** Waits before the second and each later attempt, ms: 31.6 hours together. */
const WAITS = [5000, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR]

/** Each wait is longer by up to this part, so that what failed together is not sent together. */
const JITTER = 0.2

const LONGEST_ASKED_MS = 24 * HOUR

/**
 * How long to wait after an attempt failed: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, each up
 * to a fifth longer; or as long as the other side asks for, up to a day.
 *
 * @param attempts made so far, 1 after the first
 * @param random from 0 up to but not including 1
 * @returns ms; undefined where it is given up
 */
export function retryAfter(
  attempts: number,
  random: number,
  askedMs: number | undefined,
): number | undefined {
  const wait = WAITS[attempts - 1]
  if (wait === undefined) return undefined
  const jittered = Math.round(wait * (1 + JITTER * random))
  return Math.max(jittered, Math.min(askedMs ?? 0, LONGEST_ASKED_MS))
}

/** How long an endpoint may fail before nothing more is sent to it, ms. */
export const DEAD_AFTER_MS = 5 * 24 * HOUR
