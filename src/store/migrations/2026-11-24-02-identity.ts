import { type Kysely, sql } from 'kysely'
import type { DialectName } from './index.ts'

/**
 * Why: more than one tenant. Tenants and applications get a life of their own, people get
 * roles and tokens of the control plane.
 *
 * A tenant's empty time zone stands for the installation's, which is what the only tenant
 * followed so far, whatever its row said.
 */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  const int = sqlite ? sql`integer` : sql`bigint`
  const bytes = sqlite ? sql`blob` : sql`bytea`
  const id = sqlite ? sql`text` : sql`text collate "C"`
  const strict = sqlite ? sql`strict` : sql``

  for (const [name, type, byDefault] of [
    ['status', 'text', 'active'],
    ['currency', 'text', 'USD'],
    ['week_starts_on', int, 1],
    ['month_starts_on', int, 1],
    ['settings', 'text', '{}'],
    ['revision', int, 0],
  ] as const) {
    await db.schema
      .alterTable('tenants')
      .addColumn(name, type, (column) => column.notNull().defaultTo(byDefault))
      .execute()
  }
  await sql`update tenants set time_zone = '' where id = 'tenant_default'`.execute(db)

  await db.schema
    .createTable('users')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('tenant_id', id, (column) => column.notNull().references('tenants.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('email', 'text', (column) => column.notNull())
    .addColumn('role', 'text', (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('created_at', int, (column) => column.notNull())
    .addColumn('revision', int, (column) => column.notNull())
    .addUniqueConstraint('users_email', ['tenant_id', 'email'])
    .addCheckConstraint('users_status', sql`status in ('active', 'disabled')`)
    .modifyEnd(strict)
    .execute()

  await db.schema
    .createTable('user_tokens')
    .addColumn('id', id, (column) => column.primaryKey())
    .addColumn('tenant_id', id, (column) => column.notNull().references('tenants.id'))
    .addColumn('user_id', id, (column) => column.notNull().references('users.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('prefix', id, (column) => column.notNull().unique())
    .addColumn('digest', bytes, (column) => column.notNull())
    .addColumn('last4', 'text', (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('created_at', int, (column) => column.notNull())
    .addColumn('expires_at', int)
    .addColumn('last_used_at', int)
    .addColumn('revision', int, (column) => column.notNull())
    .addCheckConstraint('user_tokens_status', sql`status in ('active', 'revoked')`)
    .modifyEnd(strict)
    .execute()
  await db.schema
    .createIndex('user_tokens_by_user')
    .on('user_tokens')
    .columns(['user_id', 'created_at', 'id'])
    .execute()

  for (const [name, type, byDefault] of [
    ['status', 'text', 'active'],
    ['description', 'text', ''],
    ['environment', 'text', ''],
    ['tags', 'text', '[]'],
    ['revision', int, 0],
  ] as const) {
    await db.schema
      .alterTable('applications')
      .addColumn(name, type, (column) => column.notNull().defaultTo(byDefault))
      .execute()
  }
  await db.schema
    .alterTable('applications')
    .addColumn('owner_id', id, (column) => column.references('users.id'))
    .execute()

  await db.schema
    .createIndex('keys_by_application')
    .on('keys')
    .columns(['application_id', 'created_at', 'id'])
    .execute()

  await sql`insert into counters (name, value) values ('tenancy_revision', 0)`.execute(db)
}
