import { parentPort, workerData } from 'node:worker_threads'
import SqliteDatabase from 'better-sqlite3'
import { cellName, cellNamed, MOST_CELLS } from './cells.ts'
import { send } from './worker.ts'

/** Commits the ledger's batches for `sqlite.ts`, on a connection and a thread of its own. */

export interface LedgerWorkerOptions {
  readonly file: string
  readonly synchronous: 'full' | 'normal'
}

/** The statements, sent first. */
export interface Statements {
  /** Takes the values of one entry and its cell; leaves one that is there. */
  readonly insertEntry: string
  /** Takes the sequence number before the batch. */
  readonly rollUp: string
  /** Each takes the numbers of the entry before and of the last one. */
  readonly folds: readonly string[]
  /** Takes a digest. */
  readonly findCell: string
  /** Takes a digest, whether it has end users, and the values. */
  readonly insertCell: string
  /** Takes a cell and a tag. */
  readonly insertCellTag: string
  /** Takes id, instance and JSON. */
  readonly insertReservation: string
  /** Takes an id. */
  readonly deleteReservation: string
}

/** Where an entry's id stands among its values. */
const ID = 0

export interface PackedBatch {
  readonly entries: readonly (readonly unknown[])[]
  readonly opened: readonly (readonly [id: string, instance: string, entry: string])[]
  readonly closed: readonly string[]
}

export type Outcome =
  | { readonly refused: readonly (readonly [index: number, reason: string])[] }
  | {
      readonly error: string
      /** Nothing may be written any more. */
      readonly fatal: boolean
    }

const { file, synchronous }: LedgerWorkerOptions = workerData
const database = new SqliteDatabase(file, { fileMustExist: true })
// A commit waits for an admin's transaction, which is short.
database.pragma('busy_timeout = 10000')
database.pragma(`synchronous = ${synchronous}`)
database.pragma('cache_size = -16000')
// Rarer and larger check-points: each costs two more fsyncs, whatever its size.
database.pragma('wal_autocheckpoint = 4000')

/** Entries folded at once: some 30 ms, for which a commit may have to wait. */
const FOLD_MOST = 500
/** How long until few are folded, too. */
const FOLD_IDLE_MS = 1000
/** Between two folds, for the commits. */
const FOLD_PAUSE_MS = 50

let commit: ((batch: PackedBatch) => Outcome) | undefined
let fold: (() => boolean) | undefined
let folding: NodeJS.Timeout | undefined
let committed = 0

parentPort?.on('message', (message: Statements | PackedBatch | 'close') => {
  if (message === 'close') {
    clearTimeout(folding)
    database.close()
    parentPort?.close()
  } else if ('rollUp' in message) {
    commit = prepare(message)
    fold = prepareFold(message)
  } else {
    send(parentPort, commit?.(message))
    foldLater(FOLD_IDLE_MS)
  }
})

function foldLater(ms: number): void {
  if (committed >= FOLD_MOST && ms > FOLD_PAUSE_MS) {
    clearTimeout(folding)
    folding = undefined
    committed = 0
    ms = FOLD_PAUSE_MS
  }
  folding ??= setTimeout(() => {
    folding = undefined
    if (fold?.() === true) foldLater(FOLD_PAUSE_MS)
  }, ms)
}

/** Adds entries to the sums by day and end user. @returns whether there are more */
function prepareFold(sql: Statements): () => boolean {
  const begin = database.prepare('begin immediate')
  const end = database.prepare('commit')
  const pending = database.prepare(
    `select value as first, (select coalesce(max(seq), 0) from entries) as last
     from counters where name = 'folded_seq'`,
  )
  const advance = database.prepare(`update counters set value = ? where name = 'folded_seq'`)
  const folds = sql.folds.map((one) => database.prepare(one))

  return () => {
    try {
      begin.run()
      const { first, last } = pending.get() as { first: number; last: number }
      const until = Math.min(last, first + FOLD_MOST)
      if (until > first) {
        for (const one of folds) one.run(first, until)
        advance.run(until)
      }
      end.run()
      return last > until
    } catch (error) {
      const outcome = fail(error)
      if (!('fatal' in outcome) || !outcome.fatal) return true
      send(parentPort, outcome)
      return false
    }
  }
}

function prepare(sql: Statements): (batch: PackedBatch) => Outcome {
  const begin = database.prepare('begin immediate')
  const end = database.prepare('commit')
  const lastSeq = database.prepare('select coalesce(max(seq), 0) from entries').pluck()
  const insertEntry = database.prepare(sql.insertEntry)
  const rollUp = database.prepare(sql.rollUp)
  const findCell = database.prepare(sql.findCell).pluck()
  const insertCell = database.prepare(sql.insertCell)
  const insertCellTag = database.prepare(sql.insertCellTag)
  /** Their numbers, by name. */
  const cells = new Map<string, unknown>()
  const insertReservation = database.prepare(sql.insertReservation)
  const deleteReservation = database.prepare(sql.deleteReservation)

  return (batch) => {
    try {
      begin.run()
      const refused = write(batch)
      end.run()
      committed += batch.entries.length
      return { refused }
    } catch (error) {
      // Those of this batch are not there now.
      cells.clear()
      return fail(error)
    }
  }

  /** The number of the cell that an entry counts in. */
  function cellNumber(values: readonly unknown[]): unknown {
    const name = cellName(values)
    const known = cells.get(name)
    if (known !== undefined) return known
    const cell = cellNamed(name)
    let id = findCell.get(cell.digest)
    if (id === undefined) {
      id = insertCell.run(cell.digest, cell.endUsers, ...cell.values).lastInsertRowid
      for (const tag of cell.tags) insertCellTag.run(id, tag)
    }
    if (cells.size >= MOST_CELLS) cells.clear()
    cells.set(name, id)
    return id
  }

  function write({ entries, opened, closed }: PackedBatch): [number, string][] {
    const refused: [number, string][] = []
    for (const row of opened) insertReservation.run(row)
    if (entries.length === 0) return refused
    const before = lastSeq.get()
    for (const [index, values] of entries.entries()) {
      try {
        insertEntry.run([...values, cellNumber(values)])
      } catch (error) {
        // One bad entry must not take the others with it: a constraint undoes its own
        // statement only. Whatever else goes wrong ends the batch.
        if (!codeOf(error).startsWith('SQLITE_CONSTRAINT')) throw error
        refused.push([index, String(error)])
      }
    }
    rollUp.run(before)
    const kept = new Set(refused.map(([index]) => entries[index]?.[ID]))
    for (const id of closed) if (!kept.has(id)) deleteReservation.run(id)
    return refused
  }
}

/**
 * After a failed write or fsync what is on the disk is not known any more, and a second
 * fsync may report success for pages the system has dropped. So `sqlite.ts` sends nothing after it.
 */
function fail(error: unknown): Outcome {
  const fatal = !codeOf(error).startsWith('SQLITE_BUSY')
  try {
    if (database.inTransaction) database.exec('rollback')
  } catch {
    // The first error is the one that counts.
  }
  return { error: String(error), fatal }
}

function codeOf(error: unknown): string {
  return error instanceof SqliteDatabase.SqliteError ? error.code : ''
}
