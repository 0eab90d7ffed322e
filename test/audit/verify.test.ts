import { randomInt } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { describe, expect, it } from 'vitest'
import { canonical } from '../../src/audit/canonical.ts'
import { GENESIS, hashContent, hashRecord, readShown, showRecord } from '../../src/audit/chain.ts'
import type { AuditRecord, ShownRecord } from '../../src/audit/chain.ts'
import { checkpointSigner, readCheckpoints } from '../../src/audit/checkpoints.ts'
import { createVerifier } from '../../src/audit/verify.ts'
import type { Head, Verdict } from '../../src/audit/verify.ts'

const LENGTH = 60
const MUTATIONS = 1000

type Line = { -readonly [Name in keyof ShownRecord]: ShownRecord[Name] }

/** An export whose record n changed a key; from `from` on with another text in it. */
function chainOf(length: number, fork = { from: Infinity, text: '' }): Line[] {
  let previous = GENESIS
  return Array.from({ length }, (_, index) => {
    const salt = String(index).padStart(32, '0')
    const after = canonical({ name: `key ${index}${index + 1 >= fork.from ? fork.text : ''}` })
    const record: AuditRecord = {
      version: 1,
      tenant_id: 'tenant_a',
      sequence: index + 1,
      time: new Date(index * 1000).toISOString(),
      actor: { type: 'user', id: `user_${index % 7}`, name: 'Ada' },
      action: 'keys.create',
      resource: { type: 'key', id: `key_${index}` },
      outcome: 'ok',
      error_code: null,
      before_hash: null,
      after_hash: hashContent(salt, after),
      address: '192.0.2.1',
      user_agent: 'tollgate-cli/1',
      request_id: `req_${index}`,
      previous_hash: previous,
    }
    previous = hashRecord(record)
    return showRecord(record, previous, { salt, after })
  })
}

function verify(lines: readonly unknown[], heads: readonly Head[] = []): Verdict {
  const verifier = createVerifier(heads, 'tenant_a')
  for (const line of lines) {
    const read = readShown(line)
    if (read === undefined) verifier.refuse('no record')
    else verifier.add(read.record, read.hash, read.content)
  }
  return verifier.end()
}

const whole = chainOf(LENGTH)
const head = { count: LENGTH, head: whole.at(-1)!.hash }

/** What may be edited of a record: every leaf, to something else of its type. */
function edited(line: Line): Line {
  const copy = structuredClone(line) as unknown as Record<string, unknown>
  const names = Object.keys(copy).filter((name) => name !== 'before')
  const name = names[randomInt(names.length)]!
  const change = (value: unknown): unknown => {
    if (typeof value === 'number') return value + 1
    if (typeof value === 'string') {
      const at = randomInt(value.length + 1)
      const hex = /^[0-9a-f]{32,64}$/.test(value)
      if (!hex) return `${value.slice(0, at)}x${value.slice(at)}`
      const digit = value[at % value.length] === '0' ? '1' : '0'
      return value.slice(0, at % value.length) + digit + value.slice((at % value.length) + 1)
    }
    if (value === null) return 'x'
    const members = Object.entries(value as object)
    const [member, old] = members[randomInt(members.length)]!
    return { ...(value as object), [member]: change(old) }
  }
  copy[name] = change(copy[name])
  return copy as unknown as Line
}

/** Each gives a chain that was tampered with, and the number of its first bad record. */
const TAMPERINGS: Readonly<Record<string, (at: number) => readonly [Line[], number]>> = {
  edit: (at) => [whole.with(at, edited(whole[at]!)), at + 1],
  delete: (at) => [whole.toSpliced(at, 1), at + 1],
  insert: (at) => [whole.toSpliced(at, 0, whole[randomInt(LENGTH)]!), at + 1],
  reorder(at) {
    const other = at === LENGTH - 1 ? 0 : at + 1
    const swapped = whole.with(at, whole[other]!).with(other, whole[at]!)
    return [swapped, Math.min(at, other) + 1]
  },
  truncate: (at) => [whole.slice(0, at), at + 1],
  // All hashes made anew from there on: only what was signed before tells.
  rewrite: (at) => [chainOf(LENGTH, { from: at + 1, text: '!' }), LENGTH],
  'roll back and go on': (at) => [
    [...whole.slice(0, at), ...chainOf(LENGTH + 3, { from: at + 1, text: '?' }).slice(at)],
    LENGTH,
  ],
  erase: (at) => [whole.with(at, { ...whole[at]!, content_salt: null, after: null }), at + 1],
}

describe('a chain', () => {
  it('holds as it was written', () => {
    expect(verify(whole, [head])).toMatchObject({ ok: true, count: LENGTH, problem: null })
  })

  it.each(Object.keys(TAMPERINGS))(
    `that is tampered with by %s is found each time, at the first bad record`,
    (name) => {
      const rounds = Math.ceil(MUTATIONS / Object.keys(TAMPERINGS).length)
      for (let round = 0; round < rounds; round += 1) {
        const [lines, first] = TAMPERINGS[name]!(randomInt(LENGTH))
        // Inserting a record where it stands already changes nothing before the next.
        const { ok, problem } = verify(lines, [head])
        expect(ok).toBe(false)
        const isTwin = name === 'insert' && lines[first - 1]!.sequence === first
        expect(problem?.sequence).toBe(isTwin ? first + 1 : first)
      }
    },
  )

  it('that was cut is found by a signed state of it, and a forged state by its signature', () => {
    const signer = checkpointSigner('a secret')
    const line = JSON.stringify(signer.sign({ tenant_id: 'tenant_a', ...head }, 0))
    const { signed } = readCheckpoints(`${line}\n`, signer.publicKey, 'tenant_a')
    const cut = whole.slice(0, -1)
    expect(verify(cut, signed).problem).toMatchObject({ reason: 'truncated', sequence: LENGTH })
    const forged = line.replace(`"count":${LENGTH}`, `"count":${LENGTH - 1}`)
    expect(readCheckpoints(`${forged}\n`, signer.publicKey)).toMatchObject({
      signed: [],
      forgedLine: 1,
    })
    const stranger = checkpointSigner('another').sign({ tenant_id: 'tenant_a', ...head }, 0)
    const strange = readCheckpoints(JSON.stringify(stranger), signer.publicKey)
    expect(strange.forgedLine).toBe(1)
  })

  it('is verified at a rate that does for millions', () => {
    const read = chainOf(20_000).map((line) => readShown(line)!)
    const verifier = createVerifier([], 'tenant_a')
    const start = performance.now()
    for (const { record, hash, content } of read) verifier.add(record, hash, content)
    const rate = read.length / ((performance.now() - start) / 1000)
    expect(verifier.end().ok).toBe(true)
    console.info(`verified ${Math.round(rate)} records/s`)
    // Wide enough for a machine that does much else.
    expect(rate).toBeGreaterThan(5000)
  })
})
