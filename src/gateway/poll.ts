import type { Logger } from 'pino'

/** How often other processes' changes are looked for, ms: a revocation holds everywhere within a second. */
export const POLL_MS = 500

/**
 * Looks again and again, never twice at once; what fails is logged, and looked for again.
 *
 * @param what - for the log: `changes of keys`
 * @returns what ends it
 */
export function poll(what: string, look: () => Promise<void>, log: Logger): () => void {
  let isLooking = false
  const timer = setInterval(() => {
    if (isLooking) return
    isLooking = true
    look()
      .catch((error) => log.error({ err: error }, `${what} could not be read`))
      .finally(() => {
        isLooking = false
      })
  }, POLL_MS)
  return () => clearInterval(timer)
}
