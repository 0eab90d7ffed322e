import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digestKey, digestSecret, generateKey, keyPrefix, sameDigest } from '../src/secrets.ts'

describe('keys', () => {
  it('have the announced form and are never the same', () => {
    const keys = Array.from({ length: 1000 }, () => generateKey('live'))
    expect(new Set(keys).size).toBe(1000)
    for (const key of keys) expect(key).toMatch(/^sk-tg-live-[0-9A-Za-z]{22}-[0-9A-Za-z]{6}$/)
  })

  it('are looked up by a prefix that leaves most of the secret out', () => {
    const key = generateKey('test')
    expect(keyPrefix(key)).toBe(key.slice(0, 'sk-tg-test-'.length + 8))
  })

  it('are told from keys with one character changed', () => {
    fc.assert(
      fc.property(
        fc.nat(28),
        fc.constantFrom(...'0123456789ABCxyz'.split('')),
        (offset, letter) => {
          const key = generateKey('live')
          const at = 'sk-tg-live-'.length + offset
          const changed = key.slice(0, at) + letter + key.slice(at + 1)
          expect(changed === key || keyPrefix(changed) === undefined).toBe(true)
        },
      ),
      { numRuns: 2000 },
    )
  })

  for (const text of [
    '',
    'null',
    'sk-123',
    'sk-tg-live-',
    `sk-tg-LIVE-${'a'.repeat(22)}-000000`,
    `${generateKey('live')} `,
    'a'.repeat(100_000),
  ]) {
    it(`are not "${text.slice(0, 30)}"`, () => {
      expect(keyPrefix(text)).toBeUndefined()
    })
  }

  it('have digests that depend on the key and on the master key', () => {
    const [one, other] = [digestSecret('a'.repeat(32)), digestSecret('b'.repeat(32))]
    const key = generateKey('live')
    expect(sameDigest(digestKey(one, key), digestKey(one, key))).toBe(true)
    expect(sameDigest(digestKey(one, key), digestKey(other, key))).toBe(false)
    expect(sameDigest(digestKey(one, key), digestKey(one, `${key}x`))).toBe(false)
    expect(sameDigest(digestKey(one, key), new Uint8Array(3))).toBe(false)
  })
})
