import type { LimitStanding, Scope, ScopeKind } from '#protocol'
import type { LimitsDeps } from '../control/limits.ts'
import type { Admission } from '../metering/embedded-admission.ts'
import { formatUsd, parseUsd } from '../metering/money.ts'
import { getKey, listKeys } from '../store/keys.ts'
import { getLimits, listLimits, setLimits } from '../store/limits.ts'
import type { Database } from '../store/schema.ts'
import { findApplication, findTenant } from '../store/tenants.ts'
import type { LimitTree } from './limit-tree.ts'
import { unknownPattern } from './unknown-model.ts'
import type { Directory } from '../routing/directory.ts'

export interface LimitsSources {
  readonly db: Database
  readonly limitTree: LimitTree
  readonly directory: Directory
  readonly peek: Admission['peek']
  /** Unix ms. */
  readonly now: () => number
}

/** Most keys whose budgets are looked at together. */
const MOST_KEYS = 1000

/** What the control plane's limits work with. */
export function limitsDeps({ db, limitTree, directory, peek, now }: LimitsSources): LimitsDeps {
  async function scopesOf(
    tenantId: string,
    kind: string | undefined,
    subject: string | undefined,
  ): Promise<readonly Scope[]> {
    if (kind === 'key' && subject !== undefined) {
      const key = await getKey(db, tenantId, subject)
      return key === undefined ? [] : limitTree.scopesOfKey(key)
    }
    if (kind !== undefined && subject !== undefined) {
      const owner = kind === 'tenant' ? subject : tenantId
      return limitTree.scopesNamed(owner, kind as ScopeKind, subject)
    }
    const own = limitTree.all(tenantId).filter((scope) => kind === undefined || scope.kind === kind)
    if (kind !== undefined) return own
    const { keys } = await listKeys(db, tenantId, {
      limit: MOST_KEYS,
      status: 'active',
      now: now(),
    })
    const lines = new Map(keys.map((key) => [key.rootId, key]))
    return [...own, ...[...lines.values()].flatMap((key) => limitTree.scopesOfKey(key))]
  }

  return {
    get: getLimits,
    list: listLimits,
    set: setLimits,
    changed: limitTree.changed,
    findTenant,
    findApplication,
    async standing(tenantId, { kind, subject }): Promise<readonly LimitStanding[]> {
      return peek(await scopesOf(tenantId, kind, subject), now())
    },
    unknownPattern: (pattern) => unknownPattern(directory, pattern),
    parseUsd,
    formatUsd,
    now,
  }
}
