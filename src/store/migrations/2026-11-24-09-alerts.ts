import { type Kysely, sql } from 'kysely'
import type { DialectName } from './index.ts'

/**
 * Why: what operators are told of, whom it is sent to, and how that went. An event's `once` is
 * unique, so that of all processes that see a threshold crossed, one tells of it.
 */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  const int = sqlite ? sql`integer` : sql`bigint`
  const bytes = sqlite ? sql`blob` : sql`bytea`
  const id = sqlite ? sql`text` : sql`text collate "C"`
  const strict = sqlite ? sql`strict` : sql``

  await db.schema
    .createTable('alert_events')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('tenant_id', id, (column) => column.notNull())
    .addColumn('type', id, (column) => column.notNull())
    .addColumn('once', id, (column) => column.notNull())
    .addColumn('subject', id, (column) => column.notNull())
    .addColumn('created_at', int, (column) => column.notNull())
    .addColumn('muted', int, (column) => column.notNull())
    .addColumn('data', 'text', (column) => column.notNull())
    .addUniqueConstraint('alert_events_once', ['tenant_id', 'once'])
    .modifyEnd(strict)
    .execute()
  await index(db, 'alert_events', ['tenant_id', 'created_at', 'id'])

  await db.schema
    .createTable('alert_mutes')
    .addColumn('tenant_id', id, (column) => column.notNull())
    .addColumn('type', id, (column) => column.notNull())
    .addColumn('subject', id, (column) => column.notNull())
    .addColumn('until', int)
    .addPrimaryKeyConstraint('alert_mutes_primary_key', ['tenant_id', 'type', 'subject'])
    .modifyEnd(strict)
    .execute()

  await db.schema
    .createTable('webhooks')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('tenant_id', id, (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('url', 'text', (column) => column.notNull())
    .addColumn('types', 'text', (column) => column.notNull())
    .addColumn('secrets', bytes, (column) => column.notNull())
    .addColumn('allow_private_network', int, (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('status_reason', 'text')
    .addColumn('failing_since', int)
    .addColumn('created_at', int, (column) => column.notNull())
    .addColumn('revision', int, (column) => column.notNull())
    .addCheckConstraint('webhooks_status', sql`status in ('active', 'disabled')`)
    .modifyEnd(strict)
    .execute()
  await index(db, 'webhooks', ['tenant_id', 'created_at', 'id'])

  await db.schema
    .createTable('deliveries')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('tenant_id', id, (column) => column.notNull())
    .addColumn('webhook_id', id, (column) => column.notNull())
    .addColumn('event_id', id, (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('attempts', int, (column) => column.notNull())
    .addColumn('next_at', int)
    .addColumn('response_status', int)
    .addColumn('response_start', 'text')
    .addColumn('error', 'text')
    .addColumn('duration_ms', int)
    .addColumn('created_at', int, (column) => column.notNull())
    .addCheckConstraint('deliveries_status', sql`status in ('pending', 'delivered', 'failed')`)
    .modifyEnd(strict)
    .execute()
  await index(db, 'deliveries', ['status', 'next_at'])
  await index(db, 'deliveries', ['webhook_id', 'created_at', 'id'])
  await index(db, 'deliveries', ['created_at'])
}

async function index(db: Kysely<unknown>, table: string, columns: string[]): Promise<void> {
  await db.schema
    .createIndex(`${table}_by_${columns.join('_')}`)
    .on(table)
    .columns(columns)
    .execute()
}
