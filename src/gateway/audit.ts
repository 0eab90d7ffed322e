import { open, readFile } from 'node:fs/promises'
import type { Logger } from 'pino'
import { checkpointSigner, readCheckpoints } from '../audit/checkpoints.ts'
import { createVerifier } from '../audit/verify.ts'
import type { AuditDeps } from '../control/audit.ts'
import { appendAudit } from '../store/audit.ts'
import type { AuditDraft } from '../store/audit.ts'
import { auditHead, auditHeads, auditPiece } from '../store/audit-reads.ts'
import type { Database } from '../store/schema.ts'
import type { ReportLeaksDeps } from './report-leaks.ts'

export interface AuditOptions {
  readonly db: Database
  /** What the key of the checkpoints follows from. */
  readonly rootKey: string
  /** Where checkpoints are appended to. */
  readonly file: string
  /** Whose chain has what is of no tenant. */
  readonly tenantId: string
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
}

export interface Audit extends AuditDeps {
  /** Records that a key was frozen since it was reported, by whoever did. */
  readonly leaked: NonNullable<ReportLeaksDeps['audited']>
  /** Writes down how many unknown callers came since the last time. */
  readonly flush: () => Promise<void>
  /** Signs the heads of the chains that grew, and appends them to the file. */
  readonly checkpoint: () => Promise<void>
  /** Flushes and checkpoints now and then, and once more at the end. @returns what ends it */
  readonly watch: () => () => Promise<void>
}

const CHECKPOINT_MS = 300_000
const FLUSH_MS = 60_000

/** Addresses of unknown callers that a record names. */
const MOST_ADDRESSES = 20

/** Who needs no key, or has none that is known. */
const NOBODY = { type: 'anonymous', id: 'anonymous', name: 'public' }

/** Records read at once when a chain is verified. */
const PIECE = 1000

/** The audit's chains, and what is signed of them outside the database. */
export function openAudit({ db, rootKey, file, tenantId, log, now }: AuditOptions): Audit {
  const signer = checkpointSigner(rootKey)
  /** Of each tenant, records when its chain was last signed. */
  const signed = new Map<string, number>()
  let writing = Promise.resolve()

  async function write(): Promise<void> {
    const grown = (await auditHeads(db)).filter(
      ({ tenant_id, count }) => signed.get(tenant_id) !== count,
    )
    if (grown.length === 0) return
    const lines = grown.map((head) => `${JSON.stringify(signer.sign(head, now()))}\n`)
    const handle = await open(file, 'a', 0o600)
    try {
      await handle.appendFile(lines.join(''))
      await handle.sync()
    } finally {
      await handle.close()
    }
    for (const { tenant_id, count } of grown) signed.set(tenant_id, count)
  }

  let unknown = { attempts: 0, addresses: new Set<string>() }

  async function flush(): Promise<void> {
    const { attempts, addresses } = unknown
    if (attempts === 0) return
    unknown = { attempts: 0, addresses: new Set() }
    const [address = ''] = addresses
    const draft: AuditDraft = {
      actor: NOBODY,
      action: 'callers.unknown',
      resource: { type: 'control_plane', id: '' },
      outcome: 'denied',
      errorCode: 'invalid_api_key',
      after: { attempts, addresses: [...addresses] },
      address,
      userAgent: '',
      requestId: '',
    }
    try {
      await db
        .transaction()
        .execute((transaction) => appendAudit(transaction, tenantId, [draft], now()))
    } catch (error) {
      unknown.attempts += attempts
      throw error
    }
  }

  async function checkpoint(): Promise<void> {
    const next = writing.then(write)
    writing = next.catch(() => undefined)
    return next
  }

  return {
    publicKey: signer.publicKey,
    async verify(from, of) {
      // Before the records: those that are written meanwhile are no surprise then.
      const head = await auditHead(from, of)
      const text = await readText(file)
      const { signed: found, forgedLine } = readCheckpoints(text, signer.publicKey, of)
      const verifier = createVerifier(found, of)
      for (let last = 0; ;) {
        const piece = await auditPiece(from, of, last, PIECE)
        for (const { record, hash, content } of piece) verifier.add(record, hash, content)
        if (piece.length === 0 || verifier.failed) break
        last = piece.at(-1)!.record.sequence
      }
      const verdict = verifier.end(head === undefined ? [] : [head])
      if (forgedLine === undefined || !verdict.ok) return { verdict, checkpoints: found.length }
      const message = `line ${forgedLine} of the checkpoints was not signed by this key`
      const sequence = verdict.count
      return {
        verdict: {
          ...verdict,
          ok: false,
          problem: { sequence, reason: 'forged_checkpoint', message },
        },
        checkpoints: found.length,
      }
    },
    unknownCaller(address) {
      unknown.attempts += 1
      if (unknown.addresses.size < MOST_ADDRESSES) unknown.addresses.add(address)
    },
    async leaked(transaction, changes, { tenantId: owner, address, requestId }) {
      const drafts = changes.map(({ type, id, before, after }): AuditDraft => ({
        actor: NOBODY,
        action: 'keys.leaked',
        resource: { type, id },
        outcome: 'ok',
        before,
        after,
        address,
        userAgent: '',
        requestId,
      }))
      await appendAudit(transaction, owner, drafts, now())
    },
    flush,
    checkpoint,
    watch() {
      const note = (): Promise<void> =>
        checkpoint().catch((error: unknown) =>
          log.error({ err: error, file }, 'checkpoints of the audit could not be written'),
        )
      const count = (): Promise<void> =>
        flush().catch((error: unknown) =>
          log.error({ err: error }, 'unknown callers could not be recorded'),
        )
      const timers = [setInterval(note, CHECKPOINT_MS), setInterval(count, FLUSH_MS)]
      return async () => {
        for (const timer of timers) clearInterval(timer)
        await count()
        await note()
      }
    },
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ''
    throw error
  }
}
