import { createPrivateKey, createPublicKey, hash, hkdfSync, sign, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { canonical } from './canonical.ts'

/**
 * What a tenant's chain was at a moment, signed and kept outside the database: whoever rewrites the
 * chain there cannot rewrite this too.
 *
 * `signature` is Ed25519 (RFC 8032) in base64 over the other members as JSON of RFC 8785 in UTF-8.
 */
export interface Checkpoint {
  readonly object: 'audit_checkpoint'
  readonly version: 1
  readonly tenant_id: string
  /** Records of the chain. */
  readonly count: number
  /** `hash` of the last of them. */
  readonly head: string
  /** RFC 3339 in UTC with milliseconds. */
  readonly time: string
  /** The first 16 hexadecimal digits of the SHA-256 of the public key. */
  readonly key_id: string
  readonly signature: string
}

export interface CheckpointSigner {
  /** 32 bytes in base64. */
  readonly publicKey: string
  /** @param time Unix ms */
  sign(chain: Pick<Checkpoint, 'tenant_id' | 'count' | 'head'>, time: number): Checkpoint
}

/** DER around the 32 bytes of a private and of a public Ed25519 key (RFC 8410). */
const PRIVATE_DER = Buffer.from('302e020100300506032b657004220420', 'hex')
const PUBLIC_DER = Buffer.from('302a300506032b6570032100', 'hex')

/** @param secret the key follows from it, so that there is no second secret to keep */
export function checkpointSigner(secret: string): CheckpointSigner {
  const seed = Buffer.from(hkdfSync('sha256', secret, 'tollgate', 'audit-checkpoint', 32))
  const key = createPrivateKey({
    key: Buffer.concat([PRIVATE_DER, seed]),
    format: 'der',
    type: 'pkcs8',
  })
  const raw = createPublicKey(key)
    .export({ format: 'der', type: 'spki' })
    .subarray(PUBLIC_DER.length)
  const publicKey = raw.toString('base64')
  const key_id = keyIdOf(publicKey)
  return {
    publicKey,
    sign({ tenant_id, count, head }, time) {
      const unsigned = {
        object: 'audit_checkpoint',
        version: 1,
        tenant_id,
        count,
        head,
        time: new Date(time).toISOString(),
        key_id,
      } as const
      const signature = sign(null, Buffer.from(canonical(unsigned)), key).toString('base64')
      return { ...unsigned, signature }
    },
  }
}

export function keyIdOf(publicKey: string): string {
  return hash('sha256', Buffer.from(publicKey, 'base64')).slice(0, 16)
}

/**
 * @param publicKey 32 bytes in base64
 * @throws Error when it is no such key
 */
export function checkpointReader(publicKey: string): (value: unknown) => Checkpoint | undefined {
  const raw = Buffer.from(publicKey, 'base64')
  if (raw.length !== 32) throw new Error('A public key is 32 bytes in base64')
  const key: KeyObject = createPublicKey({
    key: Buffer.concat([PUBLIC_DER, raw]),
    format: 'der',
    type: 'spki',
  })
  return (value) => {
    if (!isCheckpoint(value)) return undefined
    const { signature, ...unsigned } = value
    const isOurs = verify(
      null,
      Buffer.from(canonical(unsigned)),
      key,
      Buffer.from(signature, 'base64'),
    )
    return isOurs ? value : undefined
  }
}

export interface Checkpoints {
  readonly signed: readonly Checkpoint[]
  /** Lines that a crash cut short: no checkpoint is proven by them, and nothing else. */
  readonly unreadable: number
  /** Number of the first line whose signature is not by this key. */
  readonly forgedLine?: number
}

/** @param tenantId only its checkpoints; absent: all */
export function readCheckpoints(text: string, publicKey: string, tenantId?: string): Checkpoints {
  const read = checkpointReader(publicKey)
  const signed: Checkpoint[] = []
  let unreadable = 0
  let forgedLine: number | undefined
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const value = parse(line)
    if (value === undefined) {
      unreadable++
      continue
    }
    if (tenantId !== undefined && tenantOf(value) !== tenantId) continue
    const checkpoint = read(value)
    if (checkpoint === undefined) forgedLine ??= index + 1
    else signed.push(checkpoint)
  }
  return { signed, unreadable, ...(forgedLine !== undefined && { forgedLine }) }
}

function tenantOf(value: unknown): unknown {
  return (value as Partial<Checkpoint> | null)?.tenant_id
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

function isCheckpoint(value: unknown): value is Checkpoint {
  if (typeof value !== 'object' || value === null) return false
  const { object, version, tenant_id, count, head, signature } = value as Partial<Checkpoint>
  return (
    object === 'audit_checkpoint' &&
    version === 1 &&
    typeof tenant_id === 'string' &&
    Number.isSafeInteger(count) &&
    typeof head === 'string' &&
    typeof signature === 'string'
  )
}
