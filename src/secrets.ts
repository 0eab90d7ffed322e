import { createHmac, hkdfSync, randomInt, timingSafeEqual } from 'node:crypto'
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
