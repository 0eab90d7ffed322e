import { type Kysely, sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { GatewayError } from '#errors'
import { type DialectName, type Step, STEPS } from './migrations/index.ts'
import type { Database } from './schema.ts'

/**
 * Brings the database up to date: all missing steps or none, one process at a time
 * (on Postgres under an advisory lock).
 *
 * @throws GatewayError `unavailable` when a newer Tollgate wrote the database, or a step fails
 */
export async function migrate(
  db: Database,
  dialect: DialectName,
  steps: Readonly<Record<string, Step>> = STEPS,
): Promise<void> {
  await refuseNewer(db, steps)
  const migrations = Object.entries(steps).map(
    ([name, step]) => [name, { up: (at: Kysely<unknown>) => step.up(at, dialect) }] as const,
  )
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => Object.fromEntries(migrations) },
  })
  const { error } = await migrator.migrateToLatest()
  if (error !== undefined) {
    throw new GatewayError('unavailable', 'The database could not be brought up to date', {
      cause: error,
    })
  }
}

async function refuseNewer(db: Database, steps: Readonly<Record<string, Step>>): Promise<void> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true })
  if (!tables.some((table) => table.name === 'kysely_migration')) return
  const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(db)
  const unknown = rows.find((row) => !Object.hasOwn(steps, row.name))
  if (unknown === undefined) return
  throw new GatewayError(
    'unavailable',
    `The database was written by a newer Tollgate (step ${unknown.name}): start that one, or restore a backup from before`,
  )
}
