import { GatewayError } from '#errors'
import type { Entry, SentAttempt } from '#protocol'
import type { Database } from './schema.ts'

/** What one transaction takes to the database. */
export interface Batch {
  readonly entries: readonly Entry[]
  /** Attempts that have been under way for a while and now get a row. */
  readonly opened: readonly Entry[]
  /** Ids of entries whose row goes. */
  readonly closed: readonly string[]
}

/** The half of the ledger that knows its database. */
export interface Ledger {
  /**
   * Resolves once the batch is durable. An entry that is there already is left as it is.
   *
   * @returns the entries the database refused, by index, with its reason; the rest stands
   * @throws when nothing of the batch stands
   */
  commit(batch: Batch): Promise<ReadonlyMap<number, string>>
  /** Why nothing can be written; absent while it can. */
  failure(): string | undefined
}

/** A database and the ledger within it. */
export interface Backend {
  readonly db: Database
  readonly ledger: Ledger
  close(): Promise<void>
}

export interface LedgerWriter {
  /**
   * Writes an entry; resolves once it is durable. Writing one twice is the same as once.
   *
   * @throws GatewayError `unavailable` when the ledger cannot be written, `internal_error`
   *   when the entry is not acceptable
   */
  readonly record: (entry: Entry) => Promise<void>
  /**
   * Notes an attempt that was sent upstream. It gets a row when it is still under way after
   * {@link LAZY_MS}, and is asked for what to write only then; {@link record} takes the row
   * away. Never waits, never fails.
   */
  readonly openAttempt: (attempt: SentAttempt) => void
  /** Takes nothing more; writes all that waits, and a row for every attempt still under way. */
  close(): Promise<void>
}

/** Attempts shorter than this leave no row: most do, and a row costs as much as an entry. */
export const LAZY_MS = 25

interface Waiting {
  readonly entry: Entry
  readonly resolve: () => void
  readonly reject: (error: GatewayError) => void
}

/**
 * Gathers what settles in one turn of the loop into one transaction. While it commits, the
 * next one gathers, so that load makes batches larger, not more frequent.
 */
export function groupCommit(ledger: Ledger): LedgerWriter {
  let waiting: Waiting[] = []
  /** Under way without a row, by the sweep they came after. */
  let young = new Map<string, SentAttempt>()
  let old = new Map<string, SentAttempt>()
  /** Due for a row. */
  let due = new Map<string, SentAttempt>()
  /** Under way with a row. */
  const rows = new Set<string>()
  let sweeper: NodeJS.Timeout | undefined
  let scheduled: NodeJS.Immediate | undefined
  let running: Promise<void> | undefined
  let closed = false

  return { record, openAttempt, close }

  function record(entry: Entry): Promise<void> {
    if (closed) return Promise.reject(unavailable(new Error('The store is closed')))
    if (!entry.id.startsWith(`${entry.requestId}.`)) {
      return Promise.reject(refused(`entry ${entry.id} is not of request ${entry.requestId}`))
    }
    return new Promise((resolve, reject) => {
      waiting.push({ entry, resolve, reject })
      schedule()
    })
  }

  function openAttempt(attempt: SentAttempt): void {
    young.set(attempt.id, attempt)
    sweeper ??= setTimeout(sweep, LAZY_MS).unref()
  }

  /** Every attempt is seen by two sweeps before it gets a row: after one to two periods. */
  function sweep(): void {
    sweeper = undefined
    for (const [id, attempt] of old) due.set(id, attempt)
    old = young
    young = new Map()
    if (due.size > 0) schedule()
    if (old.size > 0) sweeper = setTimeout(sweep, LAZY_MS).unref()
  }

  function schedule(): void {
    if (running === undefined) scheduled ??= setImmediate(start)
  }

  function start(): void {
    scheduled = undefined
    running = run()
  }

  async function run(): Promise<void> {
    let written = true
    while (waiting.length > 0 || (written && due.size > 0)) written = await writeBatch()
    // At once: who comes in the next microtask must find that nobody is writing.
    running = undefined
  }

  /** @returns false when the batch failed */
  async function writeBatch(): Promise<boolean> {
    const settling = waiting
    const closing: string[] = []
    waiting = []
    for (const { entry } of settling) {
      if (young.delete(entry.id) || old.delete(entry.id) || due.delete(entry.id)) continue
      if (rows.delete(entry.id)) closing.push(entry.id)
    }
    const opening = [...due.values()]
    due = new Map()
    for (const { id } of opening) rows.add(id)

    try {
      const entries = settling.map(({ entry }) => entry)
      const opened = opening.map((attempt) => attempt.asIfCrashed())
      const failed = await ledger.commit({ entries, opened, closed: closing })
      for (const [index, { resolve, reject }] of settling.entries()) {
        const reason = failed.get(index)
        if (reason === undefined) resolve()
        else reject(refused(reason))
      }
      return true
    } catch (error) {
      for (const id of closing) rows.add(id)
      for (const attempt of opening) {
        if (rows.delete(attempt.id)) due.set(attempt.id, attempt)
      }
      for (const { reject } of settling) reject(unavailable(error))
      return false
    }
  }

  async function close(): Promise<void> {
    closed = true
    clearTimeout(sweeper)
    await running
    clearImmediate(scheduled)
    due = new Map([...due, ...old, ...young])
    await run()
  }
}

function unavailable(cause: unknown): GatewayError {
  return new GatewayError('unavailable', 'The ledger cannot be written', { cause })
}

function refused(reason: string): GatewayError {
  return new GatewayError('internal_error', 'The ledger refused an entry', {
    cause: new Error(reason),
  })
}
