import { type Kysely, sql } from 'kysely'
import type { DialectName } from './index.ts'

/**
 * Why: tenants bring credentials of their own for providers. They are sealed with a key of the
 * tenant, which is sealed with the root key: another tenant's row, or a stolen table, opens nothing.
 */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  const int = sqlite ? sql`integer` : sql`bigint`
  const bytes = sqlite ? sql`blob` : sql`bytea`
  const id = sqlite ? sql`text` : sql`text collate "C"`
  const strict = sqlite ? sql`strict` : sql``

  await db.schema
    .createTable('data_keys')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('tenant_id', id, (column) => column.notNull().unique().references('tenants.id'))
    .addColumn('sealed', bytes, (column) => column.notNull())
    .addColumn('created_at', int, (column) => column.notNull())
    .modifyEnd(strict)
    .execute()

  await db.schema
    .createTable('provider_credentials')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('tenant_id', id, (column) => column.notNull().references('tenants.id'))
    .addColumn('provider', 'text', (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('sealed', bytes, (column) => column.notNull())
    .addColumn('data_key_id', id, (column) => column.notNull())
    .addColumn('last4', 'text', (column) => column.notNull())
    .addColumn('created_at', int, (column) => column.notNull())
    .addColumn('revision', int, (column) => column.notNull())
    .addCheckConstraint('provider_credentials_status', sql`status in ('active', 'removed')`)
    .modifyEnd(strict)
    .execute()
  await db.schema
    .createIndex('provider_credentials_active')
    .unique()
    .on('provider_credentials')
    .columns(['tenant_id', 'provider'])
    .where(sql.ref('status'), '=', sql.lit('active'))
    .execute()
  await db.schema
    .createIndex('provider_credentials_revision')
    .on('provider_credentials')
    .column('revision')
    .execute()
  await sql`insert into counters (name, value) values ('credential_revision', 0)`.execute(db)
}
