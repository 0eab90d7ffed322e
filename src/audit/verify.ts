import { ERASE, GENESIS, hashContent, hashRecord, idOf } from './chain.ts'
import type { AuditRecord, Content } from './chain.ts'

/** The first thing that is wrong, and what it is. */
export interface Problem {
  /** Of the first bad record: it is missing, or not what was written. */
  readonly sequence: number
  readonly reason:
    | 'malformed'
    | 'missing'
    | 'out_of_order'
    | 'foreign'
    | 'altered'
    | 'unlinked'
    | 'content_altered'
    | 'content_missing'
    | 'replaced'
    | 'truncated'
    | 'forged_checkpoint'
  readonly message: string
}

/** What a chain had once: so many records, the last of them with this hash. */
export interface Head {
  readonly count: number
  readonly head: string
}

export interface Verdict extends Head {
  readonly ok: boolean
  /** Records whose content was erased, and a later record tells of it. */
  readonly erased: number
  readonly problem: Problem | null
}

export interface Verifier {
  /** Takes the next record. Nothing more is looked at after the first problem. */
  add(record: AuditRecord, hash: string, content: Content | undefined): void
  /** For a line that is no record: it stands where the next one should. */
  refuse(message: string): void
  readonly failed: boolean
  /** @param known heads the chain must have had, such as that of the database */
  end(known?: readonly Head[]): Verdict
}

/**
 * Goes through a tenant's chain from its first record, and finds the first that is not as it was
 * written. Whoever rewrites the chain from some record on, hashes and all, is found by the heads
 * that were signed before.
 *
 * @param tenantId absent: that of the first record
 * @param heads signed ones, in any order
 */
export function createVerifier(heads: readonly Head[], tenantId?: string): Verifier {
  const headsAt = new Map<number, string[]>()
  for (const { count, head } of heads) headsAt.set(count, [...(headsAt.get(count) ?? []), head])
  let tenant = tenantId
  let count = 0
  let previous = GENESIS
  let erased = 0
  let problem: Problem | undefined
  /** First record of a resource without its content, until a record tells why. */
  const withoutContent = new Map<string, { sequence: number; records: number }>()

  function fault(reason: Problem['reason'], sequence: number, message: string): void {
    problem ??= { sequence, reason, message }
  }

  function checkPlace({ sequence, tenant_id: owner }: AuditRecord): void {
    const next = count + 1
    tenant ??= owner
    if (owner !== tenant) {
      fault('foreign', next, `a record of ${owner} stands where ${idOf(next)} of ${tenant} should`)
    } else if (sequence > next) {
      fault('missing', next, `${idOf(next)} is missing: ${idOf(sequence)} stands in its place`)
    } else if (sequence < next) {
      fault('out_of_order', next, `${idOf(sequence)} stands where ${idOf(next)} should`)
    }
  }

  function checkContent(record: AuditRecord, content: Content | undefined): void {
    const { before_hash, after_hash, resource, sequence } = record
    if (content === undefined) {
      if (before_hash === null && after_hash === null) return
      const name = `${resource.type} ${resource.id}`
      const open = withoutContent.get(name)
      if (open === undefined) withoutContent.set(name, { sequence, records: 1 })
      else open.records++
      return
    }
    const isAs = (json: string | undefined, wanted: string | null): boolean =>
      (json === undefined ? null : hashContent(content.salt, json)) === wanted
    if (!isAs(content.before, before_hash) || !isAs(content.after, after_hash)) {
      fault(
        'content_altered',
        sequence,
        `the content of ${idOf(sequence)} is not what was recorded`,
      )
    }
  }

  function checkHeads(at: number, head: string): void {
    if (headsAt.get(at)?.every((signed) => signed === head) === false) {
      fault('replaced', at, `${idOf(at)} is not the record that was signed when there were ${at}`)
    }
  }

  return {
    get failed() {
      return problem !== undefined
    },

    add(record, hash, content) {
      if (problem !== undefined) return
      checkPlace(record)
      if (problem !== undefined) return
      const { sequence, resource } = record
      if (hashRecord(record) !== hash) {
        fault('altered', sequence, `${idOf(sequence)} is not what was recorded: its hash differs`)
      } else if (record.previous_hash !== previous) {
        fault('unlinked', sequence, `${idOf(sequence)} does not follow the record before it`)
      } else checkHeads(sequence, hash)
      if (problem !== undefined) return
      checkContent(record, content)
      const name = `${resource.type} ${resource.id}`
      if (record.action === ERASE && record.outcome === 'ok') {
        erased += withoutContent.get(name)?.records ?? 0
        withoutContent.delete(name)
      }
      count = sequence
      previous = hash
    },

    refuse(message) {
      fault('malformed', count + 1, message)
    },

    end(known = []) {
      for (const head of [...heads, ...known].toSorted((one, other) => one.count - other.count)) {
        if (head.count > count) {
          const lost = idOf(count + 1)
          fault('truncated', count + 1, `there were ${head.count} records once: ${lost} is missing`)
        } else if (head.count === count && head.head !== previous) {
          fault('replaced', count, `${idOf(count)} is not the record that was the last of ${count}`)
        }
      }
      const [open] = [...withoutContent.values()].toSorted((a, b) => a.sequence - b.sequence)
      if (open !== undefined) {
        const message = `the content of ${idOf(open.sequence)} is gone, and no record tells why`
        fault('content_missing', open.sequence, message)
      }
      return {
        ok: problem === undefined,
        count,
        head: previous,
        erased,
        problem: problem ?? null,
      }
    },
  }
}
