import { hash, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Key } from '#protocol'
import { digestKey, keyPrefix, sameDigest } from '../secrets.ts'

export interface StoredKey {
  readonly key: Key
  /** HMAC-SHA-256 of the whole key. */
  readonly digest: Uint8Array
}

export interface KeyIndex {
  /** The key a credential opens, whatever its status; undefined when it opens none. */
  readonly find: (credential: string) => Key | undefined | Promise<Key | undefined>
  /** Takes over a change, or a new key, at once, for every request that starts from here on. */
  readonly changed: (key: Key) => void
}

export interface KeyIndexOptions {
  readonly secret: Uint8Array
  readonly load: (prefix: string) => Promise<StoredKey | undefined>
  /** Most keys kept in memory; the rest are read when they are used. */
  readonly capacity: number
}

const MOST_PROVEN = 10_000
const MOST_ABSENT = 10_000

/** Keys by their public prefix, read from the store when first used. */
export function createKeyIndex({ secret, load, capacity }: KeyIndexOptions): KeyIndex {
  const known = new LRUCache<string, StoredKey>({ max: capacity })
  /**
   * Prefixes of credentials that were found good, by a digest of this process: to look one up
   * takes 2 µs, to prove it again 10. Whether the key may still be used is not remembered here.
   */
  const proven = new LRUCache<string, string>({ max: Math.min(capacity, MOST_PROVEN) })
  /**
   * Prefixes that no key has. Asked again they are answered from memory, as those of known keys
   * are: neither the time tells which exist, nor does a caller with a stray key ask the database
   * each time.
   */
  const absent = new LRUCache<string, true>({ max: MOST_ABSENT })
  const salt = randomBytes(32).toString('base64')
  let changes = 0

  /** An unknown prefix costs as much as a wrong secret, so that time does not tell them apart. */
  const nobody: StoredKey['digest'] = digestKey(secret, '')

  function open(credential: string, stored: StoredKey | undefined): Key | undefined {
    const same = sameDigest(digestKey(secret, credential), stored?.digest ?? nobody)
    if (!same || stored === undefined) return undefined
    proven.set(digestOf(credential), stored.key.prefix)
    return stored.key
  }

  function digestOf(credential: string): string {
    return hash('sha256', salt + credential, 'base64')
  }

  async function read(credential: string, prefix: string): Promise<Key | undefined> {
    const before = changes
    const stored = await load(prefix)
    // What was read before a change must not outlive it.
    if (before === changes) {
      if (stored === undefined) absent.set(prefix, true)
      else known.set(prefix, stored)
    }
    return open(credential, stored)
  }

  return {
    find(credential) {
      const shown = proven.get(digestOf(credential))
      const good = shown === undefined ? undefined : known.get(shown)
      if (good !== undefined) return good.key
      const prefix = keyPrefix(credential)
      if (prefix === undefined) return undefined
      // Both are always asked, for the time's sake.
      const isAbsent = absent.get(prefix) === true
      const stored = known.get(prefix)
      if (stored !== undefined || isAbsent) return open(credential, stored)
      return read(credential, prefix)
    },
    changed(key) {
      changes++
      absent.delete(key.prefix)
      const stored = known.get(key.prefix)
      if (stored !== undefined) known.set(key.prefix, { ...stored, key })
    },
  }
}
