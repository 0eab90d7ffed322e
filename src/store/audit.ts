import { randomBytes } from 'node:crypto'
import { canonical } from '../audit/canonical.ts'
import { GENESIS, hashContent, hashRecord } from '../audit/chain.ts'
import type { AuditRecord, Outcome } from '../audit/chain.ts'
import { visible } from '../audit/visible.ts'
import type { Database } from './schema.ts'

/** What is to be recorded; texts from afar are made visible here. */
export interface AuditDraft {
  readonly actor: AuditRecord['actor']
  readonly action: string
  readonly resource: AuditRecord['resource']
  readonly outcome: Outcome
  readonly errorCode?: string
  /** Plain JSON without secrets; absent: it was not there. */
  readonly before?: unknown
  readonly after?: unknown
  readonly address: string
  readonly userAgent: string
  readonly requestId: string
}

const LONGEST = 500
/** Rows of one statement: SQLite takes 32,766 values. */
const ROWS = 500

/** Each to its chain: what is done to a tenant stands in its own, whoever did it from where. */
export async function appendAudits(
  db: Database,
  tenantId: string,
  drafts: readonly AuditDraft[],
  now: number,
): Promise<void> {
  const chains = Map.groupBy(drafts, ({ resource, outcome }) =>
    resource.type === 'tenant' && outcome === 'ok' ? resource.id : tenantId,
  )
  // In one order, lest two wait for each other.
  for (const chainId of [...chains.keys()].toSorted()) {
    await appendAudit(db, chainId, chains.get(chainId)!, now)
  }
}

/**
 * Appends to the tenant's chain within the transaction it is given. The head's row is locked until
 * that ends, so that records of several processes chain in the order of their commits.
 *
 * @param now Unix ms
 */
export async function appendAudit(
  db: Database,
  tenantId: string,
  drafts: readonly AuditDraft[],
  now: number,
): Promise<void> {
  if (drafts.length === 0) return
  const head = await db
    .insertInto('audit_heads')
    .values({ tenant_id: tenantId, count: drafts.length, hash: GENESIS })
    .onConflict((conflict) =>
      conflict.column('tenant_id').doUpdateSet((eb) => ({
        count: eb('audit_heads.count', '+', eb.val(BigInt(drafts.length))),
      })),
    )
    .returning(['count', 'hash'])
    .executeTakeFirstOrThrow()
  const before = Number(head.count) - drafts.length
  let previous = head.hash
  const records = drafts.map((draft, index) => {
    const made = chain(draft, tenantId, before + index + 1, previous, now)
    previous = made.row.hash
    return made
  })
  for (let from = 0; from < records.length; from += ROWS) {
    const some = records.slice(from, from + ROWS)
    await db
      .insertInto('audit_records')
      .values(some.map(({ row }) => row))
      .execute()
    const contents = some.flatMap(({ content }) => content ?? [])
    if (contents.length > 0) await db.insertInto('audit_contents').values(contents).execute()
  }
  await db
    .updateTable('audit_heads')
    .set({ hash: previous })
    .where('tenant_id', '=', tenantId)
    .execute()
}

function chain(
  draft: AuditDraft,
  tenantId: string,
  sequence: number,
  previous: string,
  now: number,
) {
  const salt = randomBytes(16).toString('hex')
  const before = json(draft.before)
  const after = json(draft.after)
  const shown = (text: string): string => visible(text, LONGEST)
  const { actor, resource } = draft
  const record: AuditRecord = {
    version: 1,
    tenant_id: tenantId,
    sequence,
    time: new Date(now).toISOString(),
    actor: { type: actor.type, id: shown(actor.id), name: shown(actor.name) },
    action: shown(draft.action),
    resource: { type: shown(resource.type), id: shown(resource.id) },
    outcome: draft.outcome,
    error_code: draft.errorCode ?? null,
    before_hash: before === null ? null : hashContent(salt, before),
    after_hash: after === null ? null : hashContent(salt, after),
    address: shown(draft.address),
    user_agent: shown(draft.userAgent),
    request_id: draft.requestId,
    previous_hash: previous,
  }
  return {
    row: {
      tenant_id: tenantId,
      sequence,
      time: now,
      actor_type: record.actor.type,
      actor_id: record.actor.id,
      actor_name: record.actor.name,
      action: record.action,
      resource_type: record.resource.type,
      resource_id: record.resource.id,
      outcome: record.outcome,
      error_code: record.error_code,
      before_hash: record.before_hash,
      after_hash: record.after_hash,
      address: record.address,
      user_agent: record.user_agent,
      request_id: record.request_id,
      previous_hash: previous,
      hash: hashRecord(record),
    },
    ...((before !== null || after !== null) && {
      content: { tenant_id: tenantId, sequence, salt, before, after },
    }),
  }
}

function json(value: unknown): string | null {
  if (value === undefined) return null
  const text = JSON.stringify(value, (_, one: unknown) =>
    typeof one === 'bigint' ? String(one) : one,
  )
  return canonical(JSON.parse(text))
}
