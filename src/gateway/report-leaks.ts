import type { Logger } from 'pino'
import { freeze } from '../control/key-revocation.ts'
import type { ReportLeakDeps } from '../middleware/report-leak.ts'
import type { Database } from '../store/schema.ts'
import type { IssueKeys } from './issue-keys.ts'

export interface ReportLeaksDeps {
  readonly db: Database
  readonly issued: Pick<IssueKeys, 'findReported' | 'update' | 'changed'>
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
}

/** Freezes what is reported to the data plane, whichever tenant it is of. */
export function reportLeaks({
  db,
  issued,
  log,
  now,
}: ReportLeaksDeps): ReportLeakDeps['reportLeak'] {
  return async (token, { address, requestId }) => {
    const key = await issued.findReported(db, token)
    if (key === undefined) return
    const frozen = await db
      .transaction()
      .execute((transaction) => freeze(transaction, key, { ...issued, now }))
    if (frozen === undefined) return
    issued.changed(frozen.after)
    log.warn({ key: key.id, last4: key.last4, address, requestId }, 'a key was reported as leaked')
  }
}
