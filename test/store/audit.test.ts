import { sql } from 'kysely'
import { expect, it } from 'vitest'
import { createVerifier } from '../../src/audit/verify.ts'
import { appendAudit, appendAudits } from '../../src/store/audit.ts'
import type { AuditDraft } from '../../src/store/audit.ts'
import { auditHead, auditPiece, eraseContents } from '../../src/store/audit-reads.ts'
import type { Database } from '../../src/store/schema.ts'
import { onEachDatabase, open } from './databases.ts'

const WRITERS = 8
const EACH = 25

function draft(id: string, more: Partial<AuditDraft> = {}): AuditDraft {
  return {
    actor: { type: 'user', id: 'user_1', name: 'Ada' },
    action: 'keys.update',
    resource: { type: 'key', id },
    outcome: 'ok',
    before: { name: 'old' },
    after: { name: `new ${id}` },
    address: '192.0.2.1',
    userAgent: 'test/1',
    requestId: 'req_1',
    ...more,
  }
}

async function verify(db: Database, tenantId: string) {
  const head = await auditHead(db, tenantId)
  const verifier = createVerifier([], tenantId)
  for (let last = 0; ;) {
    const piece = await auditPiece(db, tenantId, last, 50)
    for (const { record, hash, content } of piece) verifier.add(record, hash, content)
    if (piece.length === 0) break
    last = piece.at(-1)!.record.sequence
  }
  return verifier.end(head === undefined ? [] : [head])
}

onEachDatabase((database) => {
  it('chains records of several stores at once, in one order and without a gap', async () => {
    const location = await database.fresh()
    const stores = [await open(location)]
    // One process has a file of SQLite; Postgres is shared by many.
    if (database.kind === 'postgres') stores.push(await open(location), await open(location))
    const write = async (writer: number): Promise<void> => {
      const { db } = stores[writer % stores.length]!
      for (let round = 0; round < EACH; round += 1) {
        const failed = new Error('taken back')
        const done = db.transaction().execute(async (transaction) => {
          const drafts = [
            draft(`key_${writer}`),
            draft(`tenant_b`, { resource: { type: 'tenant', id: 'tenant_b' } }),
          ]
          await appendAudits(transaction, 'tenant_a', drafts, 1000 + round)
          if (round % 5 === 0) throw failed
        })
        if (round % 5 === 0) await expect(done).rejects.toBe(failed)
        else await done
      }
    }
    await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)))
    const count = WRITERS * EACH * 0.8
    for (const tenantId of ['tenant_a', 'tenant_b']) {
      expect(await verify(stores[0]!.db, tenantId)).toMatchObject({
        ok: true,
        count,
        problem: null,
      })
    }
    await Promise.all(stores.map((store) => store.close()))
  })

  it('is append-only, and holds where contents are erased', async () => {
    const store = await open(await database.fresh())
    const { db } = store
    const write = (drafts: readonly AuditDraft[]) =>
      db.transaction().execute((transaction) => appendAudit(transaction, 'tenant_a', drafts, 1))
    await write([draft('one'), draft('two'), draft('one')])
    for (const change of [
      sql`update audit_records set action = 'x'`,
      sql`delete from audit_records`,
      sql`update audit_contents set after = 'x'`,
    ]) {
      await expect(change.execute(db)).rejects.toThrow('append-only')
    }
    await db.transaction().execute(async (transaction) => {
      const resource = { type: 'key', id: 'one' }
      expect(await eraseContents(transaction, 'tenant_a', resource)).toBe(2)
      const { before: _, after: __, ...erasure } = draft('one', { action: 'audit.erase' })
      await appendAudit(transaction, 'tenant_a', [erasure], 2)
    })
    expect(await verify(db, 'tenant_a')).toMatchObject({ ok: true, count: 4, erased: 2 })
    const left = await db.selectFrom('audit_contents').select('after').execute()
    expect(JSON.stringify(left)).not.toContain('new one')
    await sql`delete from audit_contents`.execute(db)
    expect(await verify(db, 'tenant_a')).toMatchObject({
      ok: false,
      problem: { sequence: 2, reason: 'content_missing' },
    })
    await store.close()
  })

  it('takes the change back that cannot be recorded', async () => {
    const store = await open(await database.fresh())
    const { db } = store
    const broken = draft('x', { outcome: 'ok', requestId: undefined as unknown as string })
    const change = db.transaction().execute(async (transaction) => {
      await sql`create table changed (id int)`.execute(transaction)
      await appendAudit(transaction, 'tenant_a', [broken], 1)
    })
    await expect(change).rejects.toThrow()
    await expect(sql`select * from changed`.execute(db)).rejects.toThrow()
    expect(await auditHead(db, 'tenant_a')).toBeUndefined()
    await store.close()
  })
})
