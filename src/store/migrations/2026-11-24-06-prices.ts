import { type Kysely, sql } from 'kysely'
import type { DialectName } from './index.ts'

/**
 * Why: prices that people set, for a time, for all tenants or for one; every price an entry was
 * ever billed by, so that it can be explained when its source is long gone; what an entry would
 * have cost without a discount; and runs over the ledger that price it anew.
 */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  const int = sqlite ? sql`integer` : sql`bigint`
  const id = sqlite ? sql`text` : sql`text collate "C"`
  const strict = sqlite ? sql`strict` : sql``

  await db.schema
    .createTable('prices')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('tenant_id', id, (column) => column.references('tenants.id'))
    .addColumn('provider', id, (column) => column.notNull())
    .addColumn('model', id, (column) => column.notNull())
    .addColumn('effective_from', int)
    .addColumn('effective_to', int)
    .addColumn('rates', 'text')
    .addColumn('discount', 'text')
    .addColumn('note', 'text', (column) => column.notNull())
    .addColumn('source', 'text', (column) => column.notNull())
    .addColumn('created_at', int, (column) => column.notNull())
    .addColumn('created_by', 'text', (column) => column.notNull())
    .addColumn('revision', int, (column) => column.notNull())
    .addCheckConstraint('prices_kind', sql`(rates is null) <> (discount is null)`)
    .modifyEnd(strict)
    .execute()
  await index(db, 'prices', ['provider', 'model'])
  await onlyEnds(db, dialect)

  await db.schema
    .createTable('price_policies')
    .addColumn('tenant_id', id, (column) => column.primaryKey().references('tenants.id'))
    .addColumn('unpriced', 'text', (column) => column.notNull())
    .addColumn('revision', int, (column) => column.notNull())
    .addCheckConstraint('price_policies_unpriced', sql`unpriced in ('refuse', 'allow')`)
    .modifyEnd(strict)
    .execute()

  await db.schema
    .createTable('price_versions')
    .addColumn('version', id, (column) => column.primaryKey())
    .addColumn('provider', id, (column) => column.notNull())
    .addColumn('model', id, (column) => column.notNull())
    .addColumn('description', 'text', (column) => column.notNull())
    .addColumn('first_used_at', int, (column) => column.notNull())
    .modifyEnd(strict)
    .execute()

  await db.schema
    .createTable('repricings')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('query', 'text', (column) => column.notNull())
    .addColumn('result', 'text', (column) => column.notNull())
    .addColumn('created_at', int, (column) => column.notNull())
    .addColumn('created_by', 'text', (column) => column.notNull())
    .addColumn('updated_at', int, (column) => column.notNull())
    .modifyEnd(strict)
    .execute()
  await index(db, 'repricings', ['created_at', 'id'])
  // Two at once could adjust an entry twice.
  await sql`create unique index repricings_running on repricings (status)
    where status = 'running'`.execute(db)

  await sql`alter table entries add column list_cost_nanos ${int}`.execute(db)
  await sql`insert into counters (name, value) values ('price_revision', 0)`.execute(db)
}

async function index(
  db: Kysely<unknown>,
  table: string,
  columns: readonly string[],
): Promise<void> {
  await db.schema
    .createIndex(`${table}_${columns.join('_')}`)
    .on(table)
    .columns([...columns])
    .execute()
}

const FIXED = [
  'id',
  'tenant_id',
  'provider',
  'model',
  'effective_from',
  'rates',
  'discount',
  'note',
  'source',
  'created_at',
  'created_by',
]

/** History is not edited: of a price that was set, only its end may still be. */
async function onlyEnds(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  if (dialect === 'sqlite') {
    await sql`create trigger prices_no_update before update of ${sql.join(FIXED.map((name) => sql.ref(name)))}
      on prices begin select raise(abort, 'a price is not edited: set another'); end`.execute(db)
    await sql`create trigger prices_no_delete before delete on prices
      begin select raise(abort, 'a price is not deleted: end it'); end`.execute(db)
    return
  }
  await sql`create function refuse_price_change() returns trigger language plpgsql as
    $$ begin raise exception 'a price is not edited: set another'; end $$`.execute(db)
  await sql`create trigger prices_no_update before update of ${sql.join(FIXED.map((name) => sql.ref(name)))}
    on prices for each statement execute function refuse_price_change()`.execute(db)
  await sql`create trigger prices_no_delete before delete or truncate on prices
    for each statement execute function refuse_price_change()`.execute(db)
}
