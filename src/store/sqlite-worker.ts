import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import SqliteDatabase from 'better-sqlite3'
import { send } from './worker.ts'

/** Runs SQL for `sqlite-dialect.ts`, one statement after the other, off the event loop. */

export interface Query {
  readonly sql: string
  readonly parameters: readonly unknown[]
}

export type Answer =
  | {
      // oxlint-disable-next-line typescript/no-explicit-any -- the statement's own; Kysely's types vouch for them
      readonly rows: any[]
      readonly changes?: number
      readonly insertId?: number | bigint
    }
  | { readonly error: string; readonly code: string | undefined }

/** Statements kept prepared; reports make new texts without end. */
const MAX_STATEMENTS = 200

const { file }: { readonly file: string } = workerData
// A long report leaves the processor to requests. Linux has priorities by thread; elsewhere this
// would be the whole process.
if (process.platform === 'linux') setPriority(0, 10)
const database = new SqliteDatabase(file, { fileMustExist: true })
database.defaultSafeIntegers(true)
database.pragma('busy_timeout = 10000')
database.pragma('foreign_keys = on')
database.pragma('temp_store = memory')

const statements = new Map<string, SqliteDatabase.Statement>()

parentPort?.on('message', (query: Query | 'close') => {
  if (query === 'close') {
    database.close()
    parentPort?.close()
    return
  }
  send(parentPort, answer(query))
})

function answer({ sql, parameters }: Query): Answer {
  try {
    const statement = prepare(sql)
    if (statement.reader) return { rows: statement.all(parameters) }
    const { changes, lastInsertRowid } = statement.run(parameters)
    return { rows: [], changes, insertId: lastInsertRowid }
  } catch (error) {
    const code = error instanceof SqliteDatabase.SqliteError ? error.code : undefined
    return { error: String(error), code }
  }
}

function prepare(sql: string): SqliteDatabase.Statement {
  const known = statements.get(sql)
  if (known !== undefined) return known
  if (statements.size >= MAX_STATEMENTS) statements.clear()
  const statement = database.prepare(sql)
  statements.set(sql, statement)
  return statement
}
