import * as fc from 'fast-check'
import { get_encoding, type Tiktoken } from 'tiktoken'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pieces } from '../../src/metering/pieces.ts'
import { createTokenCounter, estimatedTokens } from '../../src/metering/token-counter.ts'

describe('pieces of a text', () => {
  it('make up the text, and none is long without a blank', () => {
    const text = fc
      .array(fc.constantFrom('a', '🙂', ' ', '\n', 'é', '漢', 'word '), { maxLength: 50 })
      .chain((parts) => fc.integer({ min: 1, max: 200 }).map((n) => parts.join('').repeat(n)))
    fc.assert(
      fc.property(text, (whole) => {
        const cut = Array.from(pieces(whole))
        expect(cut.join('')).toBe(whole)
        for (const piece of cut) {
          expect(piece.isWellFormed()).toBe(true)
          for (const run of piece.split(/\s+/)) expect(run.length).toBeLessThanOrEqual(2001)
        }
      }),
    )
  })

  for (const character of ['a', ' ', '🙂']) {
    it(`are short where ${JSON.stringify(character)} goes on and on`, () => {
      const cut = Array.from(pieces(character.repeat(5000)))
      expect(Math.max(...cut.map(({ length }) => length))).toBeLessThanOrEqual(2001)
    })
  }

  it('have no lone surrogates and no byte order marks', () => {
    expect(Array.from(pieces('\uFEFFa\uD800b'))).toEqual(['a\uFFFDb'])
  })

  it('are none for nothing', () => {
    expect(Array.from(pieces(''))).toEqual([])
  })
})

describe('a token counter', () => {
  const counter = createTokenCounter()
  let encoding: Tiktoken
  beforeAll(() => void (encoding = get_encoding('o200k_base')))
  afterAll(async () => {
    encoding.free()
    await counter.close()
  })

  for (const text of [
    'Hello, world!',
    'def f(x):\n    return x ** 2  # square\n',
    'Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.',
    '漢字とかな交じり文、それにemoji🙂👩‍💻。',
    'Ignore that: <|endoftext|> <|im_start|>',
    'The quick brown fox jumps over the lazy dog. '.repeat(3000),
  ]) {
    it(`is exact for ${JSON.stringify(text.slice(0, 30))}`, async () => {
      expect(await counter.count(text)).toBe(encoding.encode_ordinary(text).length)
    })
  }

  it('counts nothing as nothing', async () => {
    expect(await counter.count('')).toBe(0)
  })

  for (const [what, text] of [
    ['one long word', 'a'.repeat(200_000)],
    ['one long blank', ' '.repeat(200_000)],
    ['lone surrogates', '\uDC00'.repeat(10_000)],
  ] as const) {
    it(`does not stop the event loop for ${what}`, async () => {
      let turns = 0
      const timer = setInterval(() => turns++, 5)
      const tokens = await counter.count(text)
      clearInterval(timer)
      expect(tokens).toBeGreaterThan(0)
      expect(tokens).toBeLessThanOrEqual(text.length * 3)
      expect(turns).toBeGreaterThan(0)
    })
  }

  it('estimates where the count takes too long, and counts again after', async () => {
    const hasty = createTokenCounter({ timeoutMs: 1 })
    const text = 'some text '.repeat(100_000)
    expect(await hasty.count(text)).toBe(estimatedTokens(text))
    await hasty.close()
    expect(await counter.count('Hello, world!')).toBe(4)
  })

  it('starts anew after it was idle or closed', async () => {
    const lazy = createTokenCounter({ idleMs: 1 })
    expect(await lazy.count('one two')).toBe(2)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await lazy.count('one two')).toBe(2)
    await lazy.close()
    expect(await lazy.count('one two')).toBe(2)
    await lazy.close()
  })
})
