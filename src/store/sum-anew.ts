import { PostgresAdapter, sql } from 'kysely'
import { CELL_COLUMNS, type CellColumn } from './cells.ts'
import { addCells } from './cell-numbers.ts'
import { fold, rollUpHours } from './roll-up.ts'
import type { Database } from './schema.ts'

/** Makes the sums from the entries, where a migration left them without. */
export async function sumAnew(db: Database): Promise<void> {
  const stale = db.selectFrom('meta').select('value').where('name', '=', 'sums')
  if ((await stale.executeTakeFirst()) === undefined) return
  await db.transaction().execute(async (transaction) => {
    // Whoever takes the flag does the work; others wait for it here.
    const { numDeletedRows } = await transaction
      .deleteFrom('meta')
      .where('name', '=', 'sums')
      .executeTakeFirstOrThrow()
    if (numDeletedRows === 0n) return
    await setTriggers(transaction, false)
    await giveCells(transaction)
    await setTriggers(transaction, true)
    const entries = sql`entries`
    for (const statement of [rollUpHours(entries), ...fold(entries)]) {
      await sql`${statement}`.execute(transaction)
    }
    await sql`update counters set value = (select coalesce(max(seq), 0) from entries)
      where name = 'folded_seq'`.execute(transaction)
  })
}

async function giveCells(db: Database): Promise<void> {
  const columns = CELL_COLUMNS.map((name) => sql.ref(name))
  const named = sql`case when end_user <> '' then 1 else 0 end`
  const same = isPostgres(db) ? sql`is not distinct from` : sql`is`
  const { rows } = await sql<Record<CellColumn, string | null> & { named: bigint }>`
    select distinct ${sql.join(columns)}, ${named} as named from entries`.execute(db)
  const names = rows.map((row) =>
    JSON.stringify([...CELL_COLUMNS.map((name) => row[name] ?? ''), Number(row.named)]),
  )
  const numbers = await addCells(db, names)
  for (const [index, row] of rows.entries()) {
    const endUsers = Number(row.named)
    const cell = numbers.get(names[index] ?? '')
    const conditions = CELL_COLUMNS.map((name) => sql`${sql.ref(name)} ${same} ${row[name]}`)
    await sql`update entries set cell = ${cell}
      where ${sql.join(conditions, sql` and `)} and ${named} = ${sql.lit(endUsers)}`.execute(db)
  }
}

async function setTriggers(db: Database, on: boolean): Promise<void> {
  if (isPostgres(db)) {
    await sql`alter table entries ${sql.raw(on ? 'enable' : 'disable')} trigger
      entries_append_only`.execute(db)
  } else if (on) {
    await sql`create trigger entries_no_update before update on entries
      begin select raise(abort, 'the ledger is append-only'); end`.execute(db)
  } else {
    await sql`drop trigger entries_no_update`.execute(db)
  }
}

function isPostgres(db: Database): boolean {
  return db.getExecutor().adapter instanceof PostgresAdapter
}
