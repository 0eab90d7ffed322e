import type { Logger } from 'pino'
import { freeze } from '../control/key-revocation.ts'
import { writeKey } from '../control/key-view.ts'
import type { Change } from '../control/resource.ts'
import type { ReportLeakDeps } from '../middleware/report-leak.ts'
import type { Database } from '../store/schema.ts'
import type { IssueKeys } from './issue-keys.ts'

export interface ReportLeaksDeps {
  readonly db: Database
  readonly issued: Pick<IssueKeys, 'findReported' | 'update' | 'changed'>
  /** Writes what changed to the audit, within its transaction. */
  readonly audited?: (
    db: Database,
    changes: readonly Change[],
    from: { readonly tenantId: string; readonly address: string; readonly requestId: string },
  ) => Promise<void>
  readonly formatUsd: (nanos: bigint) => string
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
}

/** Freezes what is reported to the data plane, whichever tenant it is of. */
export function reportLeaks(deps: ReportLeaksDeps): ReportLeakDeps['reportLeak'] {
  const { db, issued, log } = deps
  return async (token, { address, requestId }) => {
    const key = await issued.findReported(db, token)
    if (key === undefined) return
    const frozen = await db.transaction().execute(async (transaction) => {
      const froze = await freeze(transaction, key, { ...issued, now: deps.now })
      if (froze === undefined) return undefined
      const change = {
        type: 'key',
        id: key.id,
        before: writeKey(froze.before, deps),
        after: writeKey(froze.after, deps),
      }
      await deps.audited?.(transaction, [change], { tenantId: key.tenantId, address, requestId })
      return froze
    })
    if (frozen === undefined) return
    issued.changed(frozen.after)
    log.warn({ key: key.id, last4: key.last4, address, requestId }, 'a key was reported as leaked')
  }
}
