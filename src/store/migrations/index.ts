import type { Kysely } from 'kysely'
import * as firstTables from './2026-11-23-first-tables.ts'
import * as ledgerColumns from './2026-11-24-01-ledger-columns.ts'
import * as identity from './2026-11-24-02-identity.ts'
import * as credentials from './2026-11-24-04-credentials.ts'
import * as limits from './2026-11-24-05-limits.ts'
import * as prices from './2026-11-24-06-prices.ts'
import * as keyUses from './2026-11-24-08-key-uses.ts'
import * as alerts from './2026-11-24-09-alerts.ts'
import * as rollUps from './2026-11-24-10-roll-ups.ts'
import * as audit from './2026-11-24-11-audit.ts'
import * as idempotency from './2026-11-24-12-idempotency.ts'
import * as decisions from './2026-11-24-13-decisions.ts'

export type DialectName = 'sqlite' | 'postgres'

/** A step forward; there is none back. Never edited once released. */
export interface Step {
  up(db: Kysely<unknown>, dialect: DialectName): Promise<void>
}

/** In order. Their names are in every database: never renamed. */
export const STEPS: Readonly<Record<string, Step>> = {
  '2026-11-23-first-tables': firstTables,
  '2026-11-24-01-ledger-columns': ledgerColumns,
  '2026-11-24-02-identity': identity,
  '2026-11-24-04-credentials': credentials,
  '2026-11-24-05-limits': limits,
  '2026-11-24-06-prices': prices,
  '2026-11-24-08-key-uses': keyUses,
  '2026-11-24-09-alerts': alerts,
  '2026-11-24-10-roll-ups': rollUps,
  '2026-11-24-11-audit': audit,
  '2026-11-24-12-idempotency': idempotency,
  '2026-11-24-13-decisions': decisions,
}
