import { setTimeout } from 'node:timers/promises'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { DatabaseError, Pool, types } from 'pg'
import { GatewayError } from '#errors'
import type { Entry } from '#protocol'
import { type CellNumbers, cellNumbers } from './cell-numbers.ts'
import { cellName } from './cells.ts'
import { ENTRY_COLUMNS, packEntry, toValues, unpackEntry, withoutBigints } from './entries.ts'
import type { Backend, Batch, Ledger } from './group-commit.ts'
import { migrate } from './migrate.ts'
import { fold, rollUpHours } from './roll-up.ts'
import type { Database, Tables } from './schema.ts'
import { sumAnew } from './sum-anew.ts'

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database` */
  readonly url: string
  readonly instanceId: string
  /** How long after its last sign of life an instance counts as dead. Default {@link LEASE_MS}. */
  readonly leaseMs?: number
  readonly onRecovered?: (entries: readonly Entry[]) => void
}

/** Three heartbeats may be lost before others settle what we have under way. */
export const LEASE_MS = 30_000

/** How long a batch is tried while the server is away, before its callers are told. */
const RETRY_MS = 5_000

/**
 * Connects, and settles what dead instances left open, now and from time to time.
 *
 * @throws GatewayError `unavailable` when the server cannot be reached, or is too new
 */
export async function openPostgres(options: PostgresOptions): Promise<Backend> {
  const { leaseMs = LEASE_MS } = options
  // The ledger has a connection of its own: it never queues behind a report.
  const db = connect(options.url, 10, 60_000)
  const ledger = openLedger(() => connect(options.url, 1, 5_000), options.instanceId)
  let beating: Promise<void> | undefined
  let heart: NodeJS.Timeout | undefined

  async function reapAndTell(): Promise<void> {
    const entries = await reap(db, leaseMs)
    if (entries.length > 0) options.onRecovered?.(entries)
  }

  async function close(): Promise<void> {
    clearInterval(heart)
    await beating
    // Whatever is still open may be settled by the others at once.
    await beat(db, options.instanceId, 0).catch(() => undefined)
    await db.destroy()
    await ledger.close()
  }

  try {
    await migrate(db, 'postgres')
    await sumAnew(db)
    await beat(db, options.instanceId, leaseMs)
    await reapAndTell()
  } catch (error) {
    await close()
    if (error instanceof GatewayError) throw error
    throw new GatewayError('unavailable', 'The database cannot be reached', { cause: error })
  }
  heart = setInterval(() => {
    beating ??= beat(db, options.instanceId, leaseMs)
      .then(reapAndTell)
      .then(ledger.recovered, () => undefined)
      .finally(() => {
        beating = undefined
      })
  }, leaseMs / 3).unref()

  return { db, ledger, close }
}

function connect(connectionString: string, max: number, timeoutMs: number): Database {
  const pool = new Pool({
    connectionString,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    application_name: 'tollgate',
    types: { getTypeParser },
    max,
    statement_timeout: timeoutMs,
    // The server's own deadline does not reach us when the network is gone.
    query_timeout: timeoutMs + 1_000,
  })
  // The next query takes a new connection; without a listener a lost idle one ends the process.
  pool.on('error', () => undefined)
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
}

/** The oid of `int8`, https://www.postgresql.org/docs/current/catalog-pg-type.html */
const INT8 = 20

/** `bigint`s as such; pg's own default is a string. */
const getTypeParser: typeof types.getTypeParser = (oid: number, format?: 'text' | 'binary') =>
  oid === INT8 && format !== 'binary' ? BigInt : types.getTypeParser(oid, format)

interface PostgresLedger extends Ledger {
  /** Something else has found the server alive. */
  readonly recovered: () => void
  close(): Promise<void>
}

function openLedger(connectAnew: () => Database, instanceId: string): PostgresLedger {
  let db = connectAnew()
  const known: CellNumbers = new Map()
  let failure: string | undefined

  return {
    failure: () => failure,

    recovered: () => {
      failure = undefined
    },

    async commit(batch) {
      const deadline = performance.now() + (failure === undefined ? RETRY_MS : 0)
      // Trying again is safe: ids are unique, so that a batch whose commit went through
      // unheard is not written twice.
      for (let delayMs = 20; ; delayMs *= 2) {
        try {
          const refused = await write(db, batch, instanceId, known)
          failure = undefined
          return refused
        } catch (error) {
          if (!(error instanceof DatabaseError)) reconnect()
          if (!isTransient(error) || performance.now() + delayMs > deadline) {
            failure = String(error)
            throw error
          }
          await setTimeout(delayMs)
        }
      }
    },

    close: () => db.destroy(),
  }

  /** A connection that fell silent would be handed out again, and be waited for again. */
  function reconnect(): void {
    db.destroy().catch(() => undefined)
    db = connectAnew()
  }
}

/**
 * Whether the statement itself is not at fault, by class of SQLSTATE.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
function isTransient(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return true
  return ['08', '40', '53', '55', '57'].includes(error.code?.slice(0, 2) ?? '')
}

async function write(
  db: Database,
  batch: Batch,
  instanceId: string,
  known: CellNumbers,
): Promise<ReadonlyMap<number, string>> {
  await open(db, batch, instanceId)
  if (batch.entries.length === 0) return new Map()
  try {
    await append(db, batch, known)
    return new Map()
  } catch (error) {
    if (!isRefusal(error)) throw error
    return appendOneByOne(db, batch, known)
  }
}

/** A constraint or a value out of range: the data is at fault. */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return false
  return ['22', '23'].includes(error.code?.slice(0, 2) ?? '')
}

async function open(db: Database, { opened }: Batch, instanceId: string): Promise<void> {
  if (opened.length === 0) return
  await db
    .insertInto('reservations')
    .columns(['id', 'instance_id', 'entry'])
    .expression(
      sql`select id, ${instanceId}::text, entry from unnest(
        ${opened.map((attempt) => attempt.id)}::text[],
        ${opened.map((attempt) => packEntry(attempt))}::text[]) as opened (id, entry)`,
    )
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute()
}

/** Entries, their sums and the rows that go: one statement, so one transaction and one way there. */
async function append(
  db: Database,
  { entries, closed }: Batch,
  known: CellNumbers = new Map(),
): Promise<void> {
  const rows = entries.map(toValues)
  const names = rows.map((values) => cellName(Object.values(values)))
  const cells = await cellNumbers(db, names, known)
  const columns = sql.join([...ENTRY_COLUMNS, 'cell'].map((name) => sql.ref(name)))
  const json = JSON.stringify(
    rows.map((values, index) => ({ ...values, cell: cells[index] })),
    withoutBigints,
  )
  const inserted = sql`inserted`
  const others = fold(inserted)
  await sql`
    with inserted as (
      insert into entries (${columns})
      select ${columns} from json_populate_recordset(null::entries, ${json}::json)
      on conflict (id) do nothing
      returning *
    ), closed as (
      delete from reservations where id = any(${closed}::text[])
    ), ${sql.join(others.map((rollUp, index) => sql`${sql.ref(`sums_${index}`)} as (${rollUp})`))}
    ${rollUpHours(inserted)}`.execute(db)
}

async function appendOneByOne(
  db: Database,
  { entries, closed }: Batch,
  known: CellNumbers,
): Promise<ReadonlyMap<number, string>> {
  const refused = new Map<number, string>()
  for (const [index, entry] of entries.entries()) {
    const own = closed.filter((id) => id === entry.id)
    try {
      await append(db, { entries: [entry], opened: [], closed: own }, known)
    } catch (error) {
      if (!isRefusal(error)) throw error
      refused.set(index, String(error))
    }
  }
  return refused
}

/** The database's clock, in Unix ms: those of the machines may differ. */
const NOW = sql<bigint>`(extract(epoch from clock_timestamp()) * 1000)::bigint`

async function beat(db: Database, id: string, leaseMs: number): Promise<void> {
  const lease_until = sql<bigint>`${NOW} + ${sql.lit(leaseMs)}`
  await db
    .insertInto('instances')
    .values({ id, lease_until })
    .onConflict((conflict) => conflict.column('id').doUpdateSet({ lease_until }))
    .execute()
}

/**
 * Settles what dead instances left: the entry comes and the row goes in one transaction.
 *
 * @returns the entries written
 */
async function reap(db: Database, leaseMs: number): Promise<readonly Entry[]> {
  // One that was taken for dead may have opened attempts after that, and died then.
  await sql`
    insert into instances (id, lease_until)
    select distinct instance_id, ${NOW} + ${sql.lit(leaseMs)} from reservations
    where instance_id not in (select id from instances)
    on conflict (id) do nothing`.execute(db)
  return db.transaction().execute(async (transaction) => {
    // Another reaper's instances are passed over, and those that beat meanwhile.
    const dead = await transaction
      .selectFrom('instances')
      .select('id')
      .where('lease_until', '<', NOW)
      .forUpdate()
      .skipLocked()
      .execute()
    if (dead.length === 0) return []
    const ids = dead.map(({ id }) => id)
    const left = await transaction
      .selectFrom('reservations')
      .select(['id', 'entry'])
      .where('instance_id', 'in', ids)
      .execute()
    const entries = left.map((row) => unpackEntry(row.entry))
    if (left.length > 0) {
      await append(transaction, {
        entries,
        opened: [],
        closed: left.map((row) => row.id),
      })
    }
    await transaction.deleteFrom('instances').where('id', 'in', ids).execute()
    return entries
  })
}
