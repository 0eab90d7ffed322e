import { type Kysely, sql } from 'kysely'
import type { DialectName } from './index.ts'

/**
 * Why: a key has an owner, tags and a reason for its state, and who uses it from where is kept.
 * Keys that follow each other by rolling are one line, named by its first: limits and spend are
 * the line's. Until now each key of a line had its own, so that rolling gave fresh money.
 */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  const int = sqlite ? sql`integer` : sql`bigint`
  const id = sqlite ? sql`text` : sql`text collate "C"`

  await db.schema.alterTable('keys').addColumn('owner_id', id).execute()
  await db.schema
    .alterTable('keys')
    .addColumn('tags', 'text', (column) => column.notNull().defaultTo('[]'))
    .execute()
  await db.schema.alterTable('keys').addColumn('status_reason', 'text').execute()
  await db.schema
    .alterTable('keys')
    .addColumn('root_id', id, (column) => column.notNull().defaultTo(''))
    .execute()
  await sql`
    with recursive line (id, root_id) as (
      select id, id from keys
      where id not in (select successor_id from keys where successor_id is not null)
      union all
      select keys.successor_id, line.root_id
      from line join keys on keys.id = line.id
      where keys.successor_id is not null
    )
    update keys set root_id = (select line.root_id from line where line.id = keys.id)`.execute(db)
  // Read anew from the ledger, for the whole line.
  await sql`
    delete from scope_states where id in (
      select 'key:' || root_id from keys group by root_id having count(*) > 1
    )`.execute(db)
  await db.schema.createIndex('keys_root_id').on('keys').columns(['root_id']).execute()

  await db.schema
    .createTable('key_uses')
    .addColumn('key_id', id, (column) => column.notNull())
    .addColumn('kind', id, (column) => column.notNull())
    .addColumn('value', id, (column) => column.notNull())
    .addColumn('first_seen', int, (column) => column.notNull())
    .addColumn('last_seen', int, (column) => column.notNull())
    .addColumn('count', int, (column) => column.notNull())
    .addPrimaryKeyConstraint('key_uses_primary_key', ['key_id', 'kind', 'value'])
    .modifyEnd(sqlite ? sql`strict, without rowid` : sql``)
    .execute()
}
