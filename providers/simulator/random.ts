import { createHash } from 'node:crypto'

/** Numbers from 0 up to 1; the same text gives the same ones. */
export type Random = () => number

export function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** sfc32, seeded by a digest of the text. Source: https://pracrand.sourceforge.net */
export function randomFrom(text: string): Random {
  const seed = digest(text)
  let a = seed.readInt32LE(0)
  let b = seed.readInt32LE(4)
  let c = seed.readInt32LE(8)
  let counter = 1
  return () => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return (sum >>> 0) / 2 ** 32
  }
}

/** One of a list that has at least one entry. */
export function pick<Entry>(random: Random, list: readonly [Entry, ...Entry[]]): Entry {
  return list[Math.floor(random() * list.length)] ?? list[0]
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

export function randomId(random: Random, length: number): string {
  return Array.from({ length }, () => ALPHABET[Math.floor(random() * ALPHABET.length)]).join('')
}
