import { type Kysely, sql } from 'kysely'
import type { DialectName } from './index.ts'

/** Why: limits of more than keys; and the counts of a scope know input, output and days. */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  const int = sqlite ? sql`integer` : sql`bigint`
  const id = sqlite ? sql`text` : sql`text collate "C"`
  const strict = sqlite ? sql`strict` : sql``

  await db.schema
    .createTable('scope_limits')
    .addColumn('tenant_id', id, (column) => column.notNull())
    .addColumn('kind', id, (column) => column.notNull())
    .addColumn('subject', id, (column) => column.notNull())
    .addColumn('limits', 'text')
    .addColumn('updated_at', int, (column) => column.notNull())
    .addColumn('revision', int, (column) => column.notNull())
    .addPrimaryKeyConstraint('scope_limits_pk', ['tenant_id', 'kind', 'subject'])
    .addCheckConstraint(
      'scope_limits_kind',
      sql`kind in ('platform', 'tenant', 'application', 'end_user', 'service', 'tag')`,
    )
    .modifyEnd(strict)
    .execute()
  await sql`insert into counters (name, value) values ('limit_revision', 0)`.execute(db)
  // They have another form now, and are made anew from the ledger.
  await sql`delete from scope_states`.execute(db)
}
