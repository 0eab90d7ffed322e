import { type Kysely, sql } from 'kysely'
import type { DialectName } from './index.ts'

/**
 * Why: an audit that shows when it was tampered with. Records are chained by their hashes, one
 * chain for each tenant; contents stand beside them, so that they can be erased.
 */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  const int = sqlite ? sql`integer` : sql`bigint`
  const id = sqlite ? sql`text` : sql`text collate "C"`
  const strict = sqlite ? sql`strict` : sql``

  let records = db.schema
    .createTable('audit_records')
    .addColumn('tenant_id', id, (column) => column.notNull())
    .addColumn('sequence', int, (column) => column.notNull())
    .addColumn('time', int, (column) => column.notNull())
  for (const name of TEXTS) records = records.addColumn(name, id, (column) => column.notNull())
  await records
    .addColumn('error_code', 'text')
    .addColumn('before_hash', 'text')
    .addColumn('after_hash', 'text')
    .addPrimaryKeyConstraint('audit_records_pk', ['tenant_id', 'sequence'])
    .modifyEnd(strict)
    .execute()
  for (const column of ['time', 'action', 'resource_id', 'actor_id']) {
    await db.schema
      .createIndex(`audit_records_by_${column}`)
      .on('audit_records')
      .columns(['tenant_id', column, 'sequence'])
      .execute()
  }

  await db.schema
    .createTable('audit_contents')
    .addColumn('tenant_id', id, (column) => column.notNull())
    .addColumn('sequence', int, (column) => column.notNull())
    .addColumn('salt', 'text', (column) => column.notNull())
    .addColumn('before', 'text')
    .addColumn('after', 'text')
    .addPrimaryKeyConstraint('audit_contents_pk', ['tenant_id', 'sequence'])
    .modifyEnd(strict)
    .execute()

  await db.schema
    .createTable('audit_heads')
    .addColumn('tenant_id', id, (column) => column.primaryKey())
    .addColumn('count', int, (column) => column.notNull())
    .addColumn('hash', 'text', (column) => column.notNull())
    .modifyEnd(strict)
    .execute()
  await appendOnly(db, dialect)
}

const TEXTS = [
  'actor_type',
  'actor_id',
  'actor_name',
  'action',
  'resource_type',
  'resource_id',
  'outcome',
  'address',
  'user_agent',
  'request_id',
  'previous_hash',
  'hash',
]

async function appendOnly(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  if (dialect === 'postgres') {
    await sql`create function refuse_audit_change() returns trigger language plpgsql as
      $$ begin raise exception 'the audit is append-only'; end $$`.execute(db)
    await sql`create trigger audit_append_only before update or delete or truncate
      on audit_records for each statement execute function refuse_audit_change()`.execute(db)
    await sql`create trigger audit_contents_kept before update on audit_contents
      for each statement execute function refuse_audit_change()`.execute(db)
    return
  }
  for (const [table, verb] of [
    ['audit_records', 'update'],
    ['audit_records', 'delete'],
    ['audit_contents', 'update'],
  ] as const) {
    await sql`create trigger ${sql.ref(`${table}_no_${verb}`)} before ${sql.raw(verb)}
      on ${sql.ref(table)} begin select raise(abort, 'the audit is append-only'); end`.execute(db)
  }
  // `insert or replace` would go past the trigger on deletes.
  await sql`create trigger audit_records_no_replace before insert on audit_records
    when exists (select 1 from audit_records
      where tenant_id = new.tenant_id and sequence = new.sequence)
    begin select raise(abort, 'the audit is append-only'); end`.execute(db)
}
