import { open, readFile } from 'node:fs/promises'
import type { Logger } from 'pino'
import { checkpointSigner, readCheckpoints } from '../audit/checkpoints.ts'
import { createVerifier } from '../audit/verify.ts'
import type { AuditDeps } from '../control/audit.ts'
import { auditHead, auditHeads, auditPiece } from '../store/audit-reads.ts'
import type { Database } from '../store/schema.ts'

export interface AuditOptions {
  readonly db: Database
  /** What the key of the checkpoints follows from. */
  readonly rootKey: string
  /** Where checkpoints are appended to. */
  readonly file: string
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
}

export interface Audit extends AuditDeps {
  /** Signs the heads of the chains that grew, and appends them to the file. */
  readonly checkpoint: () => Promise<void>
  /** Checkpoints now and then, and once more at the end. @returns what ends it */
  readonly watch: () => () => Promise<void>
}

const CHECKPOINT_MS = 300_000

/** Records read at once when a chain is verified. */
const PIECE = 1000

/** The audit's chains, and what is signed of them outside the database. */
export function openAudit({ db, rootKey, file, log, now }: AuditOptions): Audit {
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

  async function checkpoint(): Promise<void> {
    const next = writing.then(write)
    writing = next.catch(() => undefined)
    return next
  }

  return {
    publicKey: signer.publicKey,
    async verify(from, tenantId) {
      // Before the records: those that are written meanwhile are no surprise then.
      const head = await auditHead(from, tenantId)
      const text = await readText(file)
      const { signed: found, forgedLine } = readCheckpoints(text, signer.publicKey, tenantId)
      const verifier = createVerifier(found, tenantId)
      for (let last = 0; ;) {
        const piece = await auditPiece(from, tenantId, last, PIECE)
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
    checkpoint,
    watch() {
      const note = (): Promise<void> =>
        checkpoint().catch((error: unknown) =>
          log.error({ err: error, file }, 'checkpoints of the audit could not be written'),
        )
      const timer = setInterval(note, CHECKPOINT_MS)
      return () => {
        clearInterval(timer)
        return note()
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
