import { PostgresAdapter, sql } from 'kysely'
import { GatewayError } from '#errors'
import type { Database } from './schema.ts'

/**
 * Decides on the states of several scopes at once, as one atomic step across all processes.
 *
 * @param ids - of the scopes, each once
 * @param decide - gets the texts stored, in the order of `ids` (`undefined` where there is
 *   none yet), and the database's clock in Unix ms; gives back a text for each. What it throws
 *   is thrown, and then it stores nothing
 * @throws GatewayError `unavailable` when the database fails; whether it has taken effect is
 *   then not known
 */
export type WithScopes = <T>(
  ids: readonly string[],
  decide: (
    stored: readonly (string | undefined)[],
    now: number,
  ) => Decision<T> | Promise<Decision<T>>,
) => Promise<T>

export interface Decision<T> {
  readonly states: readonly string[]
  readonly result: T
}

/** A decision that waits for its turn. */
interface Waiting {
  readonly ids: readonly string[]
  /** Decides, changes the states, and says how to tell the caller once they are stored. */
  readonly decide: (states: Map<string, string>, now: number) => Promise<() => void>
  readonly reject: (error: unknown) => void
}

/**
 * Decisions on states that live in the database. Those that wait while a transaction runs
 * share the next one: a scope's row is locked once for all of them.
 */
export function sharedScopes(db: Database): WithScopes {
  let waiting: Waiting[] = []
  let running = false

  return (ids, decide) =>
    new Promise((resolve, reject) => {
      waiting.push({
        ids,
        reject,
        async decide(states, now) {
          try {
            const stored = ids.map((id) => states.get(id))
            const decision = await decide(stored, now)
            for (const [index, id] of ids.entries()) {
              const state = decision.states[index]
              if (state !== undefined) states.set(id, state)
            }
            return () => resolve(decision.result)
          } catch (error) {
            return () => reject(error)
          }
        },
      })
      if (!running) void run()
    })

  async function run(): Promise<void> {
    running = true
    // The callers of this turn come along.
    await Promise.resolve()
    while (waiting.length > 0) {
      const batch = waiting
      waiting = []
      await decideAll(db, batch)
    }
    running = false
  }
}

async function decideAll(db: Database, batch: readonly Waiting[]): Promise<void> {
  const ids = [...new Set(batch.flatMap((one) => one.ids))].toSorted()
  const tellings: (() => void)[] = []
  try {
    const decideThem = (): Promise<boolean> =>
      db.transaction().execute(async (transaction) => {
        const locked = await lock(transaction, ids)
        if (locked === undefined) return false
        const { stored, now } = locked
        const states = new Map(stored)
        for (const one of batch) tellings.push(await one.decide(states, now))
        await save(transaction, stored, states)
        return true
      })
    while (!(await decideThem())) await insertMissing(db, ids)
  } catch (cause) {
    const error = new GatewayError('unavailable', 'Limits cannot be checked', { cause })
    for (const one of batch) one.reject(error)
    return
  }
  for (const tell of tellings) tell()
}

interface Locked {
  readonly stored: ReadonlyMap<string, string>
  /** Unix ms. */
  readonly now: number
}

/**
 * Locks in the order of the ids, so that two transactions cannot wait for each other.
 *
 * @returns undefined where a row is missing: to insert it while others are locked would be out
 *   of that order
 */
async function lock(db: Database, ids: readonly string[]): Promise<Locked | undefined> {
  const postgres = db.getExecutor().adapter instanceof PostgresAdapter
  const clock = postgres
    ? sql<bigint>`(extract(epoch from clock_timestamp()) * 1000)::bigint`
    : sql<bigint>`cast(unixepoch('subsec') * 1000 as integer)`
  let rowsOf = db.selectFrom('scope_states').selectAll().where('id', 'in', ids).orderBy('id')
  // SQLite's transactions have the whole file to themselves.
  if (postgres) rowsOf = rowsOf.forUpdate()
  // The clock is read row by row as they come out of the lock, the last one after all waiting.
  const query = db
    .with('locked', () => rowsOf)
    .selectFrom('locked')
    .select(['id', 'state', clock.as('now')])

  const rows = await query.execute()
  if (rows.length < ids.length) return undefined
  return {
    stored: new Map(rows.filter((row) => row.state !== '').map((row) => [row.id, row.state])),
    now: rows.reduce((latest, row) => Math.max(latest, Number(row.now)), 0),
  }
}

/** Only a row that is there can be locked; an empty one stands for none. In the order of the ids too. */
async function insertMissing(db: Database, ids: readonly string[]): Promise<void> {
  await db
    .insertInto('scope_states')
    .values(ids.map((id) => ({ id, state: '' })))
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute()
}

async function save(
  db: Database,
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): Promise<void> {
  const changed = [...after]
    .map(([id, state]) => ({ id, state }))
    .filter(({ id, state }) => before.get(id) !== state)
  if (changed.length === 0) return
  await db
    .insertInto('scope_states')
    .values(changed)
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((eb) => ({ state: eb.ref('excluded.state') })),
    )
    .execute()
}
