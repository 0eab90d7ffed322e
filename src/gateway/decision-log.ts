import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { ENDPOINTS } from '../app.ts'
import type { Served } from '../middleware/access-log.ts'
import type { DecisionRow, Decisions } from '../store/decisions.ts'

/** Decisions on their way to the store. A request waits for none of it. */
export interface DecisionLog {
  /** Takes a request that has been answered; sheds it where too many wait. */
  readonly note: (served: Served) => void
  /** How many were shed, or could not be written, since the start. */
  readonly dropped: () => number
  /** Writes what waits. */
  readonly flush: () => Promise<void>
  /** Writes the rest. Nothing is taken after. */
  readonly close: () => Promise<void>
}

export interface DecisionLogOptions {
  readonly decisions: Pick<Decisions, 'add' | 'sweep'>
  readonly describe: (served: Served) => DecisionRow
  /** How long they are kept; 0: none is taken. */
  readonly days: number
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
  /** Most that may wait; absent: {@link MOST_WAITING}. */
  readonly most?: number
}

const MOST_WAITING = 10_000

/** How often what waits is written, ms. */
const FLUSH_MS = 200

/** Rows of one insert. */
const ROWS_AT_ONCE = 500

/** Made without a pause; between two such pieces, requests have their turn. */
const ROWS_IN_A_TURN = 25

const DAY_MS = 86_400_000
const SWEEP_MS = 600_000
const SWEPT_AT_ONCE = 500

/** Between two steps of a sweep, ms. */
const SWEEP_PAUSE_MS = 100

export function createDecisionLog(options: DecisionLogOptions): DecisionLog {
  const { decisions, describe, days, log, now, most = MOST_WAITING } = options
  let waiting: Served[] = []
  let dropped = 0
  let closed = false
  let writing: Promise<void> | undefined
  let sweeping: Promise<void> | undefined
  const flusher = setInterval(() => void flush(), FLUSH_MS)
  const sweeper = setInterval(() => (sweeping ??= sweep()), SWEEP_MS).unref()

  function flush(): Promise<void> {
    writing ??= write().finally(() => (writing = undefined))
    return writing
  }

  async function write(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, ROWS_AT_ONCE)
      try {
        const rows: DecisionRow[] = []
        for (const served of batch) {
          rows.push(describe(served))
          if (rows.length % ROWS_IN_A_TURN === 0) await turn()
        }
        await decisions.add(rows)
      } catch (error) {
        dropped += batch.length
        log.error({ err: error, requests: batch.length }, 'decisions were not written')
      }
      // Not before: what is being written counts against the bound.
      waiting = waiting.slice(batch.length)
    }
  }

  async function sweep(): Promise<void> {
    try {
      const before = now() - days * DAY_MS
      while (!closed && (await decisions.sweep(before, SWEPT_AT_ONCE)) === SWEPT_AT_ONCE) {
        await sleep(SWEEP_PAUSE_MS, undefined, { ref: false })
      }
    } catch (error) {
      log.error({ err: error }, 'old decisions were not removed')
    } finally {
      sweeping = undefined
    }
  }

  return {
    note(served) {
      const { endpoint, key } = served.record
      // An unknown key has no tenant, and no flood of them is to fill a disk.
      if (key === undefined || !Object.hasOwn(ENDPOINTS, endpoint) || days === 0 || closed) return
      if (waiting.length < most) waiting.push(served)
      else dropped++
    },
    dropped: () => dropped,
    flush,
    async close() {
      closed = true
      clearInterval(flusher)
      clearInterval(sweeper)
      await sweeping
      // What came while the last batch was on its way is another.
      await flush()
      await flush()
    },
  }
}
