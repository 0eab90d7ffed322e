import { z } from 'zod'
import { OUTCOMES, idOf, sequenceOf, showRecord } from '../audit/chain.ts'
import type { ShownRecord } from '../audit/chain.ts'
import { safeJson } from '../audit/visible.ts'
import type { Verdict } from '../audit/verify.ts'
import { auditPiece, eraseContents, getAudit, listAudit } from '../store/audit-reads.ts'
import type { StoredRecord } from '../store/audit-reads.ts'
import type { Database } from '../store/schema.ts'
import { moment, notFound, page, pageOf, pageQuery, resource } from './resource.ts'
import type { Resource } from './resource.ts'

export interface AuditDeps {
  /** Holds a chain against its head, and against the checkpoints that were signed of it. */
  readonly verify: (
    db: Database,
    tenantId: string,
  ) => Promise<{ readonly verdict: Verdict; readonly checkpoints: number }>
  /** Counts who is not known: a caller's to name, so that each is not worth a record. */
  readonly unknownCaller: (address: string) => void
  /** What checkpoints are signed with: the public half, 32 bytes in base64. */
  readonly publicKey: string
}

const hash = z.string().meta({ description: 'SHA-256, hexadecimal' })
const content = z.unknown().meta({ description: 'As shown by the API; secrets never stand in it' })

const recordShape = z
  .strictObject({
    object: z.literal('audit_record'),
    id: z.string(),
    version: z.literal(1),
    tenant_id: z.string(),
    sequence: z.int().meta({ description: 'From 1, without a gap within the tenant' }),
    time: moment,
    actor: z.strictObject({ type: z.string(), id: z.string(), name: z.string() }),
    action: z.string().meta({ description: 'Such as `keys.create`' }),
    resource: z.strictObject({ type: z.string(), id: z.string() }),
    outcome: z.enum(OUTCOMES),
    error_code: z.string().nullable(),
    before_hash: hash.nullable(),
    after_hash: hash.nullable(),
    address: z.string(),
    user_agent: z.string(),
    request_id: z.string(),
    previous_hash: hash,
    hash,
    content_salt: z
      .string()
      .nullable()
      .meta({ description: 'Hashed before `before` and `after`; null: no content, or erased' }),
    before: content,
    after: content,
  })
  .meta({ id: 'AuditRecord' })

const verification = z
  .strictObject({
    object: z.literal('audit_verification'),
    ok: z.boolean(),
    count: z.int().meta({ description: 'Records that are as they were written' }),
    head: hash.meta({ description: '`hash` of the last of them' }),
    erased: z.int().meta({ description: 'Records whose content was erased' }),
    checkpoints: z.int().meta({ description: 'Signed ones that the chain was held against' }),
    public_key: z.string().meta({ description: 'Ed25519, 32 bytes in base64' }),
    problem: z
      .strictObject({
        id: z.string().meta({ description: 'The first bad record' }),
        reason: z.string(),
        message: z.string(),
      })
      .nullable(),
  })
  .meta({ id: 'AuditVerification' })

export function auditResources(deps: AuditDeps): readonly Resource[] {
  return [
    resource({
      method: 'get',
      path: '/admin/v1/audit',
      permission: 'audit.read',
      summary: 'Who changed what, and who was refused; the newest first',
      query: z.strictObject({
        ...pageQuery,
        actor: z.string().optional().meta({ description: 'Id or name' }),
        action: z.string().optional().meta({ description: '`keys.create`; `keys.*` for all' }),
        resource_type: z.string().optional(),
        resource_id: z.string().optional(),
        outcome: z.enum(OUTCOMES).optional(),
        from: moment.optional(),
        to: moment.optional().meta({ description: 'Exclusive' }),
      }),
      response: pageOf(recordShape),
      async handle({ principal, query, db }) {
        const { limit, after, actor, action, outcome, from, to } = query
        const before = placeOf(after)
        const filter = {
          actor,
          action,
          outcome,
          resourceType: query.resource_type,
          resourceId: query.resource_id,
          from: from === undefined ? undefined : Date.parse(from),
          to: to === undefined ? undefined : Date.parse(to),
        }
        const found = await listAudit(db, principal.tenantId, filter, { before, limit: limit + 1 })
        return { body: page(found.slice(0, limit).map(show), found.length > limit) }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/audit/verify',
      permission: 'audit.read',
      summary: 'Whether every record is as it was written, and none is missing',
      response: verification,
      async handle({ principal, db }) {
        const { verdict, checkpoints } = await deps.verify(db, principal.tenantId)
        const { problem, ...rest } = verdict
        return {
          body: {
            object: 'audit_verification',
            ...rest,
            checkpoints,
            public_key: deps.publicKey,
            problem: problem && {
              id: idOf(problem.sequence),
              reason: problem.reason,
              message: problem.message,
            },
          } satisfies z.input<typeof verification>,
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/audit/key',
      permission: 'audit.read',
      summary: 'The public key that checkpoints are signed with',
      response: z.strictObject({
        object: z.literal('audit_key'),
        public_key: z.string().meta({ description: 'Ed25519, 32 bytes in base64' }),
      }),
      handle: () => ({ body: { object: 'audit_key', public_key: deps.publicKey } }),
    }),
    resource({
      method: 'get',
      path: '/admin/v1/audit/export',
      permission: 'audit.read',
      summary: 'The chain, the oldest first, a JSON object on each line; empty after the last',
      query: z.strictObject({
        limit: z.coerce.number().int().min(1).max(1000).default(1000),
        after: pageQuery.after,
      }),
      async handle({ principal, query: { limit, after }, db }) {
        const piece = await auditPiece(db, principal.tenantId, placeOf(after) ?? 0, limit)
        return {
          body: piece.map((record) => `${safeJson(show(record))}\n`).join(''),
          type: 'application/x-ndjson; charset=utf-8',
        }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/audit/erase',
      permission: 'audit.erase',
      summary: 'Erase what the records of an object have before and after; the chain still holds',
      body: z.strictObject({
        resource_type: z.string().min(1).max(500),
        resource_id: z.string().min(1).max(500),
      }),
      response: z.strictObject({ object: z.literal('audit_erasure'), erased: z.int() }),
      async handle({ principal, body: { resource_type: type, resource_id: id }, db }) {
        const erased = await eraseContents(db, principal.tenantId, { type, id })
        return { body: { object: 'audit_erasure', erased }, changes: [{ type, id }] }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/audit/{id}',
      permission: 'audit.read',
      summary: 'One record',
      params: z.strictObject({ id: z.string() }),
      response: recordShape,
      async handle({ principal, params: { id }, db }) {
        const sequence = sequenceOf(id)
        const found = sequence && (await getAudit(db, principal.tenantId, sequence))
        if (!found) throw notFound('audit record', id)
        return { body: show(found) }
      },
    }),
  ]
}

/** @throws GatewayError `not_found` for what is no id of a record */
function placeOf(id: string | undefined): number | undefined {
  if (id === undefined) return undefined
  const sequence = sequenceOf(id)
  if (sequence === undefined) throw notFound('audit record', id)
  return sequence
}

function show({ record, hash: recordHash, content: kept }: StoredRecord): ShownRecord {
  return showRecord(record, recordHash, kept)
}
