import { type Kysely, sql } from 'kysely'
import type { DialectName } from './index.ts'

/** Why: a caller that lost an answer asks again, and must not create a second one. */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  await db.schema
    .createTable('idempotent_calls')
    .addColumn('id', sqlite ? sql`text` : sql`text collate "C"`, (column) => column.primaryKey())
    .addColumn('fingerprint', 'text', (column) => column.notNull())
    .addColumn('sealed', sqlite ? sql`blob` : sql`bytea`, (column) => column.notNull())
    .addColumn('answered_at', sqlite ? sql`integer` : sql`bigint`, (column) => column.notNull())
    .modifyEnd(sqlite ? sql`strict` : sql``)
    .execute()
  await db.schema
    .createIndex('idempotent_calls_answered_at')
    .on('idempotent_calls')
    .column('answered_at')
    .execute()
}
