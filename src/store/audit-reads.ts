import type { Selectable } from 'kysely'
import type { AuditRecord, Content, Outcome } from '../audit/chain.ts'
import type { Head } from '../audit/verify.ts'
import type { AuditContentsTable, AuditRecordsTable, Database } from './schema.ts'

/** A record as it is kept, with what is left of its content. */
export interface StoredRecord {
  readonly record: AuditRecord
  readonly hash: string
  /** Absent: there is none, or it was erased. */
  readonly content?: Content
}

/** What all named here are; times in Unix ms, `to` exclusive. */
export interface AuditFilter {
  /** Id or name. */
  readonly actor?: string | undefined
  /** Such as `keys.create`; `keys.*` is everything of keys. */
  readonly action?: string | undefined
  readonly resourceType?: string | undefined
  readonly resourceId?: string | undefined
  readonly outcome?: Outcome | undefined
  readonly from?: number | undefined
  readonly to?: number | undefined
}

/**
 * The newest first.
 *
 * @param before only records with a smaller sequence
 */
export async function listAudit(
  db: Database,
  tenantId: string,
  filter: AuditFilter,
  { before, limit }: { readonly before?: number | undefined; readonly limit: number },
): Promise<readonly StoredRecord[]> {
  const { actor, action, resourceType, resourceId, outcome, from, to } = filter
  let query = records(db, tenantId)
  if (actor !== undefined) {
    query = query.where((eb) => eb.or([eb('actor_id', '=', actor), eb('actor_name', '=', actor)]))
  }
  if (action?.endsWith('.*')) {
    // Up to the sign after the dot, as an index has it; `like` would read `_` as any sign.
    const noun = action.slice(0, -2)
    query = query.where('action', '>=', `${noun}.`).where('action', '<', `${noun}/`)
  } else if (action !== undefined) query = query.where('action', '=', action)
  if (resourceType !== undefined) query = query.where('resource_type', '=', resourceType)
  if (resourceId !== undefined) query = query.where('resource_id', '=', resourceId)
  if (outcome !== undefined) query = query.where('outcome', '=', outcome)
  if (from !== undefined) query = query.where('time', '>=', BigInt(from))
  if (to !== undefined) query = query.where('time', '<', BigInt(to))
  if (before !== undefined) query = query.where('audit_records.sequence', '<', BigInt(before))
  const rows = await query.orderBy('audit_records.sequence', 'desc').limit(limit).execute()
  return rows.map(read)
}

export async function getAudit(
  db: Database,
  tenantId: string,
  sequence: number,
): Promise<StoredRecord | undefined> {
  const row = await records(db, tenantId)
    .where('audit_records.sequence', '=', BigInt(sequence))
    .executeTakeFirst()
  return row && read(row)
}

/**
 * A piece of the chain, in order.
 *
 * @param after sequence of the last record of the piece before; 0: none
 */
export async function auditPiece(
  db: Database,
  tenantId: string,
  after: number,
  limit: number,
): Promise<readonly StoredRecord[]> {
  const rows = await records(db, tenantId)
    .where('audit_records.sequence', '>', BigInt(after))
    .orderBy('audit_records.sequence')
    .limit(limit)
    .execute()
  return rows.map(read)
}

/** What the chain's end should be; nothing was recorded yet where it is undefined. */
export async function auditHead(db: Database, tenantId: string): Promise<Head | undefined> {
  const row = await db
    .selectFrom('audit_heads')
    .select(['count', 'hash'])
    .where('tenant_id', '=', tenantId)
    .executeTakeFirst()
  return row && { count: Number(row.count), head: row.hash }
}

export async function auditHeads(
  db: Database,
): Promise<readonly (Head & { readonly tenant_id: string })[]> {
  const rows = await db.selectFrom('audit_heads').selectAll().orderBy('tenant_id').execute()
  return rows.map(({ tenant_id, count, hash }) => ({ tenant_id, count: Number(count), head: hash }))
}

/** What was changed in a range, the newest first; neither what was refused nor what failed. */
export async function changesOf(
  db: Database,
  tenantId: string,
  range: { readonly from: number; readonly to: number },
  limit: number,
) {
  const found = await listAudit(db, tenantId, { ...range, outcome: 'ok' }, { limit })
  return found.map(({ record: { time, actor, action, resource } }) => ({
    at: Date.parse(time),
    actor: actor.name,
    action,
    id: resource.id,
  }))
}

/**
 * Takes the contents away of all records there are of an object; the records stay. Whoever calls it
 * records that with the action `audit.erase`, in the same transaction.
 *
 * @returns how many there were
 */
export async function eraseContents(
  db: Database,
  tenantId: string,
  resource: AuditRecord['resource'],
): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom('audit_contents')
    .where('tenant_id', '=', tenantId)
    .where('sequence', 'in', (eb) =>
      eb
        .selectFrom('audit_records')
        .select('sequence')
        .where('tenant_id', '=', tenantId)
        .where('resource_type', '=', resource.type)
        .where('resource_id', '=', resource.id),
    )
    .executeTakeFirstOrThrow()
  return Number(numDeletedRows)
}

function records(db: Database, tenantId: string) {
  return db
    .selectFrom('audit_records')
    .leftJoin('audit_contents', (join) =>
      join
        .onRef('audit_contents.tenant_id', '=', 'audit_records.tenant_id')
        .onRef('audit_contents.sequence', '=', 'audit_records.sequence'),
    )
    .selectAll('audit_records')
    .select(['audit_contents.salt', 'audit_contents.before', 'audit_contents.after'])
    .where('audit_records.tenant_id', '=', tenantId)
}

type Row = Selectable<AuditRecordsTable> & {
  readonly [Name in 'salt' | 'before' | 'after']: Selectable<AuditContentsTable>[Name] | null
}

function read(row: Row): StoredRecord {
  const record: AuditRecord = {
    version: 1,
    tenant_id: row.tenant_id,
    sequence: Number(row.sequence),
    time: new Date(Number(row.time)).toISOString(),
    actor: { type: row.actor_type, id: row.actor_id, name: row.actor_name },
    action: row.action,
    resource: { type: row.resource_type, id: row.resource_id },
    outcome: row.outcome,
    error_code: row.error_code,
    before_hash: row.before_hash,
    after_hash: row.after_hash,
    address: row.address,
    user_agent: row.user_agent,
    request_id: row.request_id,
    previous_hash: row.previous_hash,
  }
  if (row.salt === null) return { record, hash: row.hash }
  const content = {
    salt: row.salt,
    before: row.before ?? undefined,
    after: row.after ?? undefined,
  }
  return { record, hash: row.hash, content }
}
