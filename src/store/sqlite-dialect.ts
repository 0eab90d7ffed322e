import type { Worker } from 'node:worker_threads'
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type TransactionSettings,
} from 'kysely'
import type { Answer, Query } from './sqlite-worker.ts'
import { send, startWorker } from './worker.ts'

/** Threads beside the ledger's, started when needed: a long report must not hold up a look-up. */
const MAX_WORKERS = 3

/**
 * How long those there must all be busy before one more is started, which takes 10 MB and about
 * as long as it waits.
 */
const BUSY_MS = 25

/** SQLite on worker threads: whatever a query takes, the event loop does not wait for it. */
export function sqliteDialect(file: string): Dialect {
  return {
    createAdapter: () => new WorkerAdapter(),
    createDriver: () => createDriver(file),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}

class WorkerAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true
  }

  /** SQLite's DDL is transactional; Kysely's own adapter just does not use it. */
  override get supportsTransactionalDdl(): boolean {
    return true
  }
}

function createDriver(file: string): Driver {
  const all = new Map<DatabaseConnection, WorkerConnection>()
  const idle: DatabaseConnection[] = []
  const queue: ((connection: DatabaseConnection) => void)[] = []

  function start(): DatabaseConnection {
    const connection = createConnection(file)
    all.set(connection, connection)
    return connection
  }

  return {
    async init() {},

    async acquireConnection() {
      const free = idle.pop()
      if (free !== undefined) return free
      if (all.size === 0) return start()
      return new Promise((resolve) => {
        const late =
          all.size < MAX_WORKERS
            ? setTimeout(() => {
                if (all.size >= MAX_WORKERS) return
                queue.splice(queue.indexOf(take), 1)
                resolve(start())
              }, BUSY_MS)
            : undefined
        const take = (connection: DatabaseConnection): void => {
          clearTimeout(late)
          resolve(connection)
        }
        queue.push(take)
      })
    },

    async releaseConnection(connection) {
      const next = queue.shift()
      if (all.get(connection)?.dead() === true) {
        all.delete(connection)
        next?.(start())
      } else if (next === undefined) {
        idle.push(connection)
      } else {
        next(connection)
      }
    },

    // A transaction that may write takes the lock at its start: one that reads first and
    // writes later would fail whenever the ledger committed in between.
    async beginTransaction(connection, { accessMode }: TransactionSettings) {
      await connection.executeQuery(
        CompiledQuery.raw(accessMode === 'read only' ? 'begin' : 'begin immediate'),
      )
    },

    async commitTransaction(connection) {
      await connection.executeQuery(CompiledQuery.raw('commit'))
    },

    async rollbackTransaction(connection) {
      await connection.executeQuery(CompiledQuery.raw('rollback'))
    },

    async destroy() {
      await Promise.all([...all.values()].map((connection) => connection.close()))
      all.clear()
    },
  }
}

interface WorkerConnection extends DatabaseConnection {
  dead(): boolean
  close(): Promise<void>
}

function createConnection(file: string): WorkerConnection {
  const worker = startWorker('sqlite-worker', { file })
  // An idle reader keeps no process alive; one that is asked something does.
  worker.unref()
  let death: Error | undefined
  const exited = new Promise<void>((resolve) => {
    worker.once('exit', () => {
      death ??= new Error('A database thread ended')
      resolve()
    })
    worker.once('error', (error: Error) => {
      death ??= error
    })
  })

  return {
    dead: () => death !== undefined,

    async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
      if (death !== undefined) throw death
      const answer = await ask(worker, { sql, parameters: parameters.map(bindable) }, exited)
      if (answer === undefined) throw death
      if ('error' in answer) {
        throw Object.assign(new Error(answer.error), { code: answer.code })
      }
      return {
        rows: answer.rows,
        ...(answer.changes !== undefined && { numAffectedRows: BigInt(answer.changes) }),
        ...(answer.insertId !== undefined && { insertId: BigInt(answer.insertId) }),
      }
    },

    streamQuery() {
      throw new Error('SQLite on a thread does not stream: read page by page')
    },

    async close() {
      if (death !== undefined) return
      worker.ref()
      send(worker, 'close')
      await exited
    },
  }
}

/** @returns undefined when the worker ended instead */
async function ask(
  worker: Worker,
  query: Query,
  exited: Promise<void>,
): Promise<Answer | undefined> {
  worker.ref()
  const answered = new Promise<Answer>((resolve) => worker.once('message', resolve))
  send(worker, query)
  const answer = await Promise.race([answered, exited])
  worker.unref()
  return answer ?? undefined
}

/** SQLite has neither booleans nor `undefined`. */
function bindable(value: unknown): unknown {
  if (typeof value === 'boolean') return value ? 1 : 0
  return value === undefined ? null : value
}
