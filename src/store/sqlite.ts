import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { Kysely, sql } from 'kysely'
import { GatewayError } from '#errors'
import { CELL_COLUMNS } from './cells.ts'
import { ENTRY_COLUMNS, packEntry, toValues, unpackEntry } from './entries.ts'
import type { Backend, Batch, Ledger } from './group-commit.ts'
import type { Outcome, PackedBatch, Statements } from './ledger-worker.ts'
import { migrate } from './migrate.ts'
import { fold, rollUpHours } from './roll-up.ts'
import type { Database, Tables } from './schema.ts'
import { sqliteDialect } from './sqlite-dialect.ts'
import { sumAnew } from './sum-anew.ts'
import { send, startWorker } from './worker.ts'

export interface SqliteOptions {
  readonly file: string
  readonly synchronous: 'full' | 'normal'
  readonly instanceId: string
}

/**
 * Opens the file, making it where there is none, and settles what a crash left open.
 *
 * @throws GatewayError `unavailable` when another process has it, or it is too new
 */
export async function openSqlite(options: SqliteOptions): Promise<Backend> {
  const unlock = lock(options.file)
  try {
    useWal(options.file)
  } catch (cause) {
    unlock()
    throw new GatewayError('unavailable', `${options.file} cannot be opened`, { cause })
  }
  const db: Database = new Kysely<Tables>({ dialect: sqliteDialect(options.file) })
  const ledger = openLedger(db, options)
  async function close(): Promise<void> {
    await ledger.close()
    await db.destroy()
    unlock()
  }
  try {
    await migrate(db, 'sqlite')
    await sumAnew(db)
    await settleCrashed(db, ledger)
    return { db, ledger, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Before any thread has the file open: the change of mode waits for nobody, and fails instead. */
function useWal(file: string): void {
  const database = new SqliteDatabase(file)
  try {
    database.pragma('journal_mode = wal')
  } finally {
    database.close()
  }
}

/**
 * Makes the file readable by its owner alone, and takes it for this process. The lock is the
 * system's, on a file beside it: it goes with the process, however that ends.
 */
function lock(file: string): () => void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  for (const path of [file, `${file}.lock`]) {
    // Never opened when it is there: to close it again would drop the locks of this process.
    if (!existsSync(path)) closeSync(openSync(path, 'a', 0o600))
    chmodSync(path, 0o600)
  }
  const holder = new SqliteDatabase(`${file}.lock`, { timeout: 0 })
  try {
    holder.exec('begin exclusive')
  } catch (cause) {
    holder.close()
    throw new GatewayError(
      'unavailable',
      `${file} is in use by another Tollgate: stop that one, or set another TOLLGATE_DATA_DIR`,
      { cause },
    )
  }
  return () => holder.close()
}

interface WorkerLedger extends Ledger {
  close(): Promise<void>
}

function openLedger(db: Database, { file, synchronous, instanceId }: SqliteOptions): WorkerLedger {
  const worker = startWorker('ledger-worker', { file, synchronous })
  let prepared = false
  let failure: string | undefined
  let settle: ((outcome: Outcome) => void) | undefined
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()))

  worker.on('message', finish)
  worker.on('error', (error: Error) => finish({ error: error.message, fatal: true }))
  worker.on('exit', () => finish({ error: 'The ledger thread ended', fatal: true }))

  function finish(outcome: Outcome): void {
    if ('error' in outcome && outcome.fatal) failure ??= outcome.error
    settle?.(outcome)
    settle = undefined
  }

  return {
    failure: () => failure,

    async commit(batch) {
      if (failure !== undefined) throw new Error(failure)
      // Not before the migrations: there would be no tables to prepare them for.
      if (!prepared) send(worker, statements(db))
      prepared = true
      const outcome = await new Promise<Outcome>((resolve) => {
        settle = resolve
        send(worker, pack(batch, instanceId))
      })
      if ('error' in outcome) throw new Error(outcome.error)
      return new Map(outcome.refused)
    },

    async close() {
      send(worker, 'close')
      await exited
    },
  }
}

function statements(db: Database): Statements {
  // By number alone: for the sake of the grouping, an index would be read from end to end.
  const batch = sql.raw('(select * from entries not indexed where seq > ?)')
  const some = sql.raw('(select * from entries not indexed where seq > ? and seq <= ?)')
  return {
    insertEntry: `${insert('entries', [...ENTRY_COLUMNS, 'cell'])} on conflict (id) do nothing`,
    rollUp: rollUpHours(batch).compile(db).sql,
    folds: fold(some).map((one) => one.compile(db).sql),
    findCell: 'select id from usage_cells where digest = ?',
    insertCell: insert('usage_cells', ['digest', 'end_users', ...CELL_COLUMNS]),
    insertCellTag: insert('usage_cell_tags', ['cell', 'tag']),
    insertReservation: `${insert('reservations', ['id', 'instance_id', 'entry'])}
      on conflict (id) do nothing`,
    deleteReservation: 'delete from reservations where id = ?',
  }
}

function insert(table: string, columns: readonly string[]): string {
  return `insert into ${table} (${columns.join(', ')})
    values (${columns.map(() => '?').join(', ')})`
}

function pack({ entries, opened, closed }: Batch, instanceId: string): PackedBatch {
  return {
    entries: entries.map((entry) => Object.values(toValues(entry))),
    opened: opened.map((attempt) => [attempt.id, instanceId, packEntry(attempt)]),
    closed,
  }
}

/** One process owns the file, so whatever is still open at its start was left by a crash. */
async function settleCrashed(db: Database, ledger: Ledger): Promise<void> {
  const left = await db.selectFrom('reservations').select(['id', 'entry']).execute()
  if (left.length === 0) return
  const refused = await ledger.commit({
    entries: left.map((row) => unpackEntry(row.entry)),
    opened: [],
    closed: left.map((row) => row.id),
  })
  for (const reason of refused.values()) {
    throw new GatewayError('unavailable', 'An attempt of before the crash cannot be settled', {
      cause: new Error(reason),
    })
  }
}
