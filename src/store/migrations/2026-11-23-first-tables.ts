import { type Kysely, sql } from 'kysely'
import type { DialectName } from './index.ts'

/**
 * Why: the first tables. Tenants, applications and keys; the ledger with its hourly sums;
 * what is under way; admission state shared between processes.
 *
 * SQLite's tables are STRICT: a wrong type is refused there as Postgres refuses it.
 */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  const int = sqlite ? sql`integer` : sql`bigint`
  const bytes = sqlite ? sql`blob` : sql`bytea`
  // Ids are compared byte by byte, so that a range of ids is the same on both databases.
  const id = sqlite ? sql`text` : sql`text collate "C"`
  const strict = sqlite ? sql`strict` : sql``
  const clustered = sqlite ? sql`strict, without rowid` : sql``

  await db.schema
    .createTable('tenants')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull().unique())
    .addColumn('time_zone', 'text', (column) => column.notNull())
    .addColumn('created_at', int, (column) => column.notNull())
    .modifyEnd(strict)
    .execute()

  await db.schema
    .createTable('applications')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('tenant_id', id, (column) => column.notNull().references('tenants.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('created_at', int, (column) => column.notNull())
    .addUniqueConstraint('applications_name', ['tenant_id', 'name'])
    .modifyEnd(strict)
    .execute()

  await db.schema
    .createTable('keys')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('tenant_id', id, (column) => column.notNull().references('tenants.id'))
    .addColumn('application_id', id, (column) => column.notNull().references('applications.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('prefix', id, (column) => column.notNull().unique())
    .addColumn('digest', bytes, (column) => column.notNull())
    .addColumn('last4', 'text', (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('created_at', int, (column) => column.notNull())
    .addColumn('expires_at', int)
    .addColumn('models', 'text', (column) => column.notNull())
    .addColumn('endpoints', 'text', (column) => column.notNull())
    .addColumn('addresses', 'text', (column) => column.notNull())
    .addColumn('limits', 'text', (column) => column.notNull())
    .addColumn('strict', int, (column) => column.notNull())
    .addColumn('successor_id', id)
    .addColumn('revision', int, (column) => column.notNull())
    .addCheckConstraint('keys_status', sql`status in ('active', 'disabled', 'revoked')`)
    .modifyEnd(strict)
    .execute()
  await index(db, 'keys', ['tenant_id', 'created_at', 'id'])
  await index(db, 'keys', ['revision'])

  const seq = sqlite
    ? sql`integer primary key`
    : sql`bigint generated always as identity primary key`
  let entries = db.schema
    .createTable('entries')
    .addColumn('seq', seq)
    .addColumn('id', id, (column) => column.notNull().unique())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('request_id', id, (column) => column.notNull())
    .addColumn('attempt', int, (column) => column.notNull())
    .addColumn('tenant_id', id, (column) => column.notNull())
    .addColumn('application_id', id, (column) => column.notNull())
    .addColumn('key_id', id, (column) => column.notNull())
    .addColumn('endpoint', 'text', (column) => column.notNull())
    .addColumn('model_asked', 'text', (column) => column.notNull())
    .addColumn('provider', 'text', (column) => column.notNull())
    .addColumn('model', 'text', (column) => column.notNull())
    .addColumn('model_served', 'text')
    .addColumn('admitted_at', int, (column) => column.notNull())
    .addColumn('started_at', int, (column) => column.notNull())
    .addColumn('duration_ms', int, (column) => column.notNull())
    .addColumn('first_event_ms', int)
    .addColumn('stream', int, (column) => column.notNull())
    .addColumn('outcome', 'text', (column) => column.notNull())
    .addColumn('error_code', 'text')
    .addColumn('finish_reason', 'text')
    .addColumn('end_user', 'text')
  for (const name of USAGE) entries = entries.addColumn(name, int, (column) => column.notNull())
  await entries
    .addColumn('reported_total_tokens', int)
    .addColumn('usage_source', 'text', (column) => column.notNull())
    .addColumn('cost_nanos', int)
    .addColumn('price_version', 'text')
    // Absurd usage must never credit a caller; only an adjustment may take away.
    .addCheckConstraint(
      'entries_not_negative',
      sql`kind = 'adjustment' or (coalesce(cost_nanos, 0) >= 0 and ${sql.join(
        USAGE.map((name) => sql`${sql.ref(name)} >= 0`),
        sql` and `,
      )})`,
    )
    .modifyEnd(strict)
    .execute()
  await index(db, 'entries', ['tenant_id', 'admitted_at'])
  await index(db, 'entries', ['key_id', 'admitted_at'])
  await appendOnly(db, dialect)

  let hours = db.schema
    .createTable('usage_hours')
    .addColumn('tenant_id', id, (column) => column.notNull())
    .addColumn('hour', int, (column) => column.notNull())
    .addColumn('application_id', id, (column) => column.notNull())
    .addColumn('key_id', id, (column) => column.notNull())
    .addColumn('provider', id, (column) => column.notNull())
    .addColumn('model', id, (column) => column.notNull())
    .addColumn('model_asked', id, (column) => column.notNull())
    .addColumn('endpoint', id, (column) => column.notNull())
    .addColumn('outcome', id, (column) => column.notNull())
  for (const name of [...USAGE, 'requests', 'attempts', 'cost_nanos', 'unpriced', 'estimated']) {
    hours = hours.addColumn(name, int, (column) => column.notNull())
  }
  await hours
    .addPrimaryKeyConstraint('usage_hours_pk', [
      'tenant_id',
      'hour',
      'application_id',
      'key_id',
      'provider',
      'model',
      'model_asked',
      'endpoint',
      'outcome',
    ])
    .modifyEnd(clustered)
    .execute()
  await index(db, 'usage_hours', ['key_id', 'hour'])

  await db.schema
    .createTable('reservations')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('instance_id', id, (column) => column.notNull())
    .addColumn('entry', 'text', (column) => column.notNull())
    .modifyEnd(clustered)
    .execute()
  await index(db, 'reservations', ['instance_id'])

  await db.schema
    .createTable('instances')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('lease_until', int, (column) => column.notNull())
    .modifyEnd(strict)
    .execute()

  await db.schema
    .createTable('scope_states')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('state', 'text', (column) => column.notNull())
    .modifyEnd(strict)
    .execute()

  await db.schema
    .createTable('counters')
    .addColumn('name', id, (column) => column.primaryKey())
    .addColumn('value', int, (column) => column.notNull())
    .modifyEnd(strict)
    .execute()
  await sql`insert into counters (name, value) values ('key_revision', 0)`.execute(db)

  await db.schema
    .createTable('meta')
    .addColumn('name', id, (column) => column.primaryKey())
    .addColumn('value', 'text', (column) => column.notNull())
    .modifyEnd(strict)
    .execute()
}

const USAGE = [
  'input_tokens',
  'cache_read_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'input_audio_tokens',
  'input_image_tokens',
  'output_tokens',
  'reasoning_tokens',
  'output_audio_tokens',
  'output_image_tokens',
  'web_searches',
]

async function index(db: Kysely<unknown>, table: string, columns: string[]): Promise<void> {
  await db.schema
    .createIndex(`${table}_by_${columns.join('_')}`)
    .on(table)
    .columns(columns)
    .execute()
}

async function appendOnly(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  if (dialect === 'sqlite') {
    for (const verb of ['update', 'delete']) {
      await sql`create trigger ${sql.ref(`entries_no_${verb}`)} before ${sql.raw(verb)} on entries
        begin select raise(abort, 'the ledger is append-only'); end`.execute(db)
    }
    return
  }
  await sql`create function refuse_change() returns trigger language plpgsql as
    $$ begin raise exception 'the ledger is append-only'; end $$`.execute(db)
  await sql`create trigger entries_append_only before update or delete or truncate on entries
    for each statement execute function refuse_change()`.execute(db)
}
