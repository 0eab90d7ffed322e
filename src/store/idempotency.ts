import { GatewayError } from '#errors'
import type { Database } from './schema.ts'

/** A call that was answered, kept so that it is answered alike when it comes again. */
export interface IdempotentCall {
  /** Digest of who called, for which tenant, and of the key. */
  readonly id: string
  /** Digest of what was asked. */
  readonly fingerprint: string
  /** The answer. */
  readonly sealed: Uint8Array
  /** Unix ms. */
  readonly answeredAt: number
}

/** How long an answer is kept. */
export const KEPT_MS = 24 * 3_600_000

/** @param now Unix ms */
export async function findCall(
  db: Database,
  id: string,
  now: number,
): Promise<IdempotentCall | undefined> {
  const row = await db
    .selectFrom('idempotent_calls')
    .selectAll()
    .where('id', '=', id)
    .where('answered_at', '>', BigInt(now - KEPT_MS))
    .executeTakeFirst()
  return (
    row && {
      id: row.id,
      fingerprint: row.fingerprint,
      sealed: new Uint8Array(row.sealed),
      answeredAt: Number(row.answered_at),
    }
  )
}

/**
 * Keeps an answer, in the transaction of what it answers, and forgets those that are too old.
 *
 * @throws GatewayError `request_in_progress` when another process answers the same call at this moment:
 *   the transaction must end without effect
 */
export async function keepCall(
  db: Database,
  { id, fingerprint, sealed, answeredAt }: IdempotentCall,
): Promise<void> {
  await db
    .deleteFrom('idempotent_calls')
    .where('answered_at', '<=', BigInt(answeredAt - KEPT_MS))
    .execute()
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('idempotent_calls')
    .values({ id, fingerprint, sealed, answered_at: answeredAt })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .executeTakeFirstOrThrow()
  if (numInsertedOrUpdatedRows === 1n) return
  throw new GatewayError(
    'request_in_progress',
    'The same Idempotency-Key was just answered; ask again',
    {
      retryAfterMs: 1000,
    },
  )
}
