import type { Logger } from 'pino'
import { writeCard } from '../metering/price-rates.ts'
import type { Price, PriceTarget } from '../metering/prices.ts'
import type { PriceVersion } from '../store/prices.ts'

export interface PriceVersionsDeps {
  readonly keep: (versions: readonly PriceVersion[]) => Promise<void>
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
}

/** Soon enough that no version is lost by more than a crash, ms; prices repeat, so few are written. */
const DELAY_MS = 50
const RETRY_MS = 5000

/**
 * Keeps what the versions on the ledger mean, beside the requests: a price package is replaced,
 * a settings file edited, but an entry says for good what it was billed by.
 */
export function keepVersions({ keep, log, now }: PriceVersionsDeps): {
  readonly note: (price: Price, target: PriceTarget) => void
  /** Writes what waits. */
  close(): Promise<void>
} {
  const known = new Set<string>()
  let waiting: PriceVersion[] = []
  let timer: NodeJS.Timeout | undefined

  async function flush(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    const versions = waiting
    waiting = []
    if (versions.length === 0) return
    try {
      await keep(versions)
    } catch (error) {
      log.error({ err: error }, 'versions of prices could not be kept; it is tried again')
      waiting.push(...versions)
      schedule(RETRY_MS)
    }
  }

  function schedule(ms: number): void {
    timer ??= setTimeout(() => void flush(), ms).unref()
  }

  return {
    note(price, target) {
      if (known.has(price.version)) return
      known.add(price.version)
      waiting.push({
        version: price.version,
        provider: target.provider,
        model: target.model,
        description: describePrice(price),
        firstUsedAt: now(),
      })
      schedule(DELAY_MS)
    },
    close: flush,
  }
}

/** A price as JSON has it, for people and for keeping. */
export function describePrice({ source, match, matched, card }: Price) {
  return { source, match, matched, rates: writeCard(card) }
}
