import { closeSync, chmodSync, existsSync, openSync } from 'node:fs'
import SqliteDatabase from 'better-sqlite3'
import { Kysely } from 'kysely'
import { GatewayError } from '#errors'
import { createDecisions } from './migrations/2026-11-24-13-decisions.ts'
import type { Database, Tables } from './schema.ts'
import { sqliteDialect } from './sqlite-dialect.ts'

/**
 * A file for decisions alone: whatever is written to it waits for nothing that the ledger does,
 * and holds nothing of it up.
 *
 * @throws GatewayError `unavailable` when it cannot be opened
 */
export async function openDecisionsFile(file: string): Promise<Database> {
  try {
    if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600))
    chmodSync(file, 0o600)
    const database = new SqliteDatabase(file)
    database.pragma('journal_mode = wal')
    database.close()
    const db: Database = new Kysely<Tables>({ dialect: sqliteDialect(file) })
    await createDecisions(db.schema, 'sqlite')
    return db
  } catch (cause) {
    const message = `${file} cannot be opened; it has only logs: move it away for a new one`
    throw new GatewayError('unavailable', message, { cause })
  }
}
