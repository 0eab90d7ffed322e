import { type Kysely, type SchemaModule, sql } from 'kysely'
import type { DialectName } from './index.ts'

/** Why: a request can be explained later. On SQLite they have a file of their own. */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  if (dialect === 'postgres') await createDecisions(db.schema, dialect)
}

/** Ids begin with the time, so that no column of it is needed. */
export async function createDecisions(schema: SchemaModule, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  const id = sqlite ? sql`text` : sql`text collate "C"`
  await schema
    .createTable('decisions')
    .ifNotExists()
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('tenant_id', 'text', (column) => column.notNull())
    .addColumn('application_id', 'text', (column) => column.notNull())
    .addColumn('key_id', 'text', (column) => column.notNull())
    .addColumn('user_id', 'text')
    .addColumn('model', 'text')
    .addColumn('target', 'text')
    .addColumn('status', sqlite ? sql`integer` : sql`bigint`, (column) => column.notNull())
    .addColumn('error_code', 'text')
    .addColumn('outcome', 'text', (column) => column.notNull())
    .addColumn('record', 'text', (column) => column.notNull())
    .modifyEnd(sqlite ? sql`strict` : sql``)
    .execute()
  for (const [name, columns] of [
    ['decisions_tenant', ['tenant_id', 'id']],
    ['decisions_key', ['tenant_id', 'key_id', 'id']],
    ['decisions_code', ['tenant_id', 'error_code', 'id']],
  ] as const) {
    await schema
      .createIndex(name)
      .ifNotExists()
      .on('decisions')
      .columns([...columns])
      .execute()
  }
}
