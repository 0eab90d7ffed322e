import { join } from 'node:path'
import { GatewayError } from '#errors'
import type { Entry } from '#protocol'
import { type Backend, groupCommit, type LedgerWriter } from './group-commit.ts'
import type { Database } from './schema.ts'
import { sharedScopes, type WithScopes } from './scopes.ts'

export interface StoreOptions {
  /** `postgres://...`; absent: SQLite in `dataDir`. */
  readonly url?: string
  /** Made where it is not there, for the owner alone. */
  readonly dataDir: string
  /**
   * SQLite: `full` survives the loss of power; `normal` may then lose the last moments, but
   * nothing when only the process dies.
   */
  readonly synchronous: 'full' | 'normal'
  /** Of this process, never used by another: `inst_...`. */
  readonly instanceId: string
  /** Postgres: how long after its last sign of life another instance counts as dead. */
  readonly leaseMs?: number
  /** Postgres: told of attempts that a dead instance left and that are now on the ledger. */
  readonly onRecovered?: (entries: readonly Entry[]) => void
}

export interface Store extends Pick<LedgerWriter, 'record' | 'openAttempt'> {
  readonly db: Database
  readonly withScopes: WithScopes
  /** Whether entries can be written. SQLite does not recover from a failure; Postgres does. */
  health(): Health
  /** Writes all that waits, then lets go of the database. Nothing is taken after the call. */
  close(): Promise<void>
}

export type Health = { readonly ok: true } | { readonly ok: false; readonly reason: string }

/**
 * Opens the database, brings it up to date, and settles attempts that a crash left open.
 *
 * @throws GatewayError `unavailable` with a message for the operator when it cannot
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const backend = await openBackend(options)
  const writer = groupCommit(backend.ledger)
  let closing: Promise<void> | undefined
  return {
    db: backend.db,
    record: writer.record,
    openAttempt: writer.openAttempt,
    withScopes: sharedScopes(backend.db),
    health() {
      const reason = backend.ledger.failure()
      return reason === undefined ? { ok: true } : { ok: false, reason }
    },
    close() {
      closing ??= writer.close().finally(() => backend.close())
      return closing
    },
  }
}

/** Loads the driver that is used and not the other, for the start's sake. */
async function openBackend({ url, dataDir, ...options }: StoreOptions): Promise<Backend> {
  if (url === undefined) {
    const { openSqlite } = await import('./sqlite.ts')
    return openSqlite({ ...options, file: join(dataDir, 'tollgate.db') })
  }
  if (/^postgres(ql)?:\/\//.test(url)) {
    const { openPostgres } = await import('./postgres.ts')
    return openPostgres({ ...options, url })
  }
  throw new GatewayError(
    'unavailable',
    'The database URL must begin with postgres://; without one, SQLite is used',
  )
}
