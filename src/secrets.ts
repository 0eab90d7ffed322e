import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  hkdfSync,
  randomBytes,
  randomInt,
  timingSafeEqual,
} from 'node:crypto'
import { crc32 } from 'node:zlib'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const SECRET_LENGTH = 22
const CHECKSUM_LENGTH = 6
/** How much of the secret part is public, for look-up; 14 characters (83 bits) stay secret. */
const PUBLIC_LENGTH = 8
const GRAMMAR = /^sk-tg-([a-z][a-z0-9]{0,11})-([0-9A-Za-z]{22})-([0-9A-Za-z]{6})$/

/**
 * A new key: `sk-tg-<environment>-<22 base62>-<6 checksum>`.
 *
 * The fixed start and the checksum let scanners and this gateway tell a key from other text
 * without asking a database.
 *
 * @param environment a lower-case word of at most 12 letters and digits: `live`, `test`, `admin`
 */
export function generateKey(environment: string): string {
  let secret = ''
  for (let i = 0; i < SECRET_LENGTH; i++) secret += ALPHABET[randomInt(ALPHABET.length)]
  const body = `sk-tg-${environment}-${secret}`
  return `${body}-${checksum(body)}`
}

/**
 * The public part a key is looked up by.
 *
 * @returns undefined when the text is no key of ours: wrong form or checksum
 */
export function keyPrefix(text: string): string | undefined {
  const match = GRAMMAR.exec(text)
  if (match === null) return undefined
  const body = text.slice(0, -CHECKSUM_LENGTH - 1)
  if (match[3] !== checksum(body)) return undefined
  return body.slice(0, body.length - SECRET_LENGTH + PUBLIC_LENGTH)
}

/** CRC-32 in base62, padded: 62^6 is above 2^32. */
function checksum(text: string): string {
  let rest = crc32(text)
  let out = ''
  for (let i = 0; i < CHECKSUM_LENGTH; i++) {
    out = ALPHABET[rest % ALPHABET.length]! + out
    rest = Math.floor(rest / ALPHABET.length)
  }
  return out
}

/** The server secret that key digests are made with; another master key makes every key unknown. */
export function digestSecret(masterKey: string): Buffer {
  return Buffer.from(hkdfSync('sha256', masterKey, 'tollgate', 'key-digest', 32))
}

/** What is stored of a key: HMAC-SHA-256, 32 bytes. */
export function digestKey(secret: Uint8Array, key: string): Buffer {
  return createHmac('sha256', secret).update(key).digest()
}

/** Compares digests in constant time. */
export function sameDigest(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

/** The key that other keys are sealed with: of the master key, or of the root key for `purpose`. */
export function sealingKey(secret: string, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, 'tollgate', purpose, 32))
}

const SEAL_VERSION = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16

/**
 * Encrypts with AES-256-GCM: a byte of version, 12 of nonce, 16 of tag, and the ciphertext.
 *
 * @param key 32 bytes
 * @param context what the secret is and whose; it must be the same to open it, so that a secret
 *   moved to another row opens nothing
 */
export function seal(key: Uint8Array, secret: Uint8Array | string, context: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(Buffer.from(context))
  const text = Buffer.concat([cipher.update(Buffer.from(secret)), cipher.final()])
  return Buffer.concat([Buffer.of(SEAL_VERSION), nonce, cipher.getAuthTag(), text])
}

/**
 * Opens what {@link seal} made.
 *
 * @returns undefined when the key or the context is another, or the bytes were changed
 */
export function unseal(key: Uint8Array, sealed: Uint8Array, context: string): Buffer | undefined {
  const start = 1 + NONCE_BYTES + TAG_BYTES
  if (sealed.length < start || sealed[0] !== SEAL_VERSION) return undefined
  try {
    const cipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(1, 1 + NONCE_BYTES))
    cipher.setAAD(Buffer.from(context))
    cipher.setAuthTag(sealed.subarray(1 + NONCE_BYTES, start))
    return Buffer.concat([cipher.update(sealed.subarray(start)), cipher.final()])
  } catch {
    return undefined
  }
}
