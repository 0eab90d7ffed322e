import type { Selectable } from 'kysely'
import type { Limits, ScopeKind } from '#protocol'
import { packLimits, unpackLimits } from './limit-json.ts'
import type { Database, ScopeLimitsTable } from './schema.ts'
import { latestRevision, underNextRevision } from './revisions.ts'

/** The kinds whose limits are set here; a key has its own. */
export type LimitedKind = Exclude<ScopeKind, 'key'>

/** For each of a kind that has no limits of its own. */
export const EACH = '*'

/** In place of a tenant's id: the platform's. */
export const PLATFORM = ''

export interface ScopeLimits {
  /** {@link PLATFORM} for the platform, and for what it sets for each tenant. */
  readonly tenantId: string
  readonly kind: LimitedKind
  /** What is limited, by id or name; {@link EACH} for a default. */
  readonly subject: string
  readonly limits: Limits
  /** Unix ms. */
  readonly updatedAt: number
  readonly revision: number
}

export type LimitsName = Pick<ScopeLimits, 'tenantId' | 'kind' | 'subject'>

export async function getLimits(db: Database, name: LimitsName): Promise<ScopeLimits | undefined> {
  const row = await named(db, name).where('limits', 'is not', null).executeTakeFirst()
  return row && toLimits(row)
}

/** In the order of kind and subject. */
export async function listLimits(
  db: Database,
  filter: {
    readonly tenantIds: readonly string[]
    readonly kind?: LimitedKind
    readonly limit: number
    readonly after?: Pick<LimitsName, 'kind' | 'subject'>
  },
): Promise<{ readonly rows: readonly ScopeLimits[]; readonly hasMore: boolean }> {
  const { kind, after } = filter
  let query = db
    .selectFrom('scope_limits')
    .selectAll()
    .where('tenant_id', 'in', filter.tenantIds)
    .where('limits', 'is not', null)
    .orderBy('kind')
    .orderBy('subject')
    .limit(filter.limit + 1)
  if (kind !== undefined) query = query.where('kind', '=', kind)
  if (after !== undefined) {
    query = query.where((eb) =>
      eb(eb.refTuple('kind', 'subject'), '>', eb.tuple(after.kind, after.subject)),
    )
  }
  const rows = await query.execute()
  return { rows: rows.slice(0, filter.limit).map(toLimits), hasMore: rows.length > filter.limit }
}

/**
 * Sets the limits of a scope, or takes them away.
 *
 * The row of limits that are gone stays, so that other processes learn of it.
 *
 * @param limits `undefined` takes them away
 */
export function setLimits(
  db: Database,
  { tenantId, kind, subject }: LimitsName,
  limits: Limits | undefined,
  at: number,
): Promise<ScopeLimits | undefined> {
  return underNextRevision(db, 'limit_revision', async (transaction, revision) => {
    const values = {
      limits: limits === undefined ? null : packLimits(limits),
      updated_at: at,
      revision,
    }
    const row = await transaction
      .insertInto('scope_limits')
      .values({ tenant_id: tenantId, kind, subject, ...values })
      .onConflict((conflict) =>
        conflict.columns(['tenant_id', 'kind', 'subject']).doUpdateSet(values),
      )
      .returningAll()
      .executeTakeFirstOrThrow()
    return row.limits === null ? undefined : toLimits(row)
  })
}

export interface LimitChanges {
  /** Without `limits` where they were taken away. */
  readonly changed: readonly (LimitsName & { readonly limits?: Limits })[]
  readonly revision: bigint
}

/**
 * What changed since a reader last looked. The counter is read first: whatever is committed
 * later has a higher revision, and is found by the next look.
 *
 * @param revision what the last call returned; -1n for all
 */
export async function changedLimitsSince(db: Database, revision: bigint): Promise<LimitChanges> {
  const value = await latestRevision(db, 'limit_revision')
  if (value === revision) return { changed: [], revision }
  const rows = await db
    .selectFrom('scope_limits')
    .selectAll()
    .where('revision', '>', revision)
    .execute()
  const changed = rows.map(({ tenant_id: tenantId, kind, subject, limits }) => ({
    tenantId,
    kind,
    subject,
    ...(limits !== null && { limits: unpackLimits(limits) }),
  }))
  return { changed, revision: value }
}

function named(db: Database, { tenantId, kind, subject }: LimitsName) {
  return db
    .selectFrom('scope_limits')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('kind', '=', kind)
    .where('subject', '=', subject)
}

function toLimits(row: Selectable<ScopeLimitsTable>): ScopeLimits {
  return {
    tenantId: row.tenant_id,
    kind: row.kind,
    subject: row.subject,
    limits: unpackLimits(row.limits ?? '{}'),
    updatedAt: Number(row.updated_at),
    revision: Number(row.revision),
  }
}
