import { describe, expect, it } from 'vitest'
import { grants, inRanges, mayComeFrom, parseRanges } from '../../src/routing/rights.ts'

describe('model patterns', () => {
  for (const [pattern, name, expected] of [
    ['*', 'openai/gpt-5', true],
    ['openai/gpt-5', 'openai/gpt-5', true],
    ['openai/gpt-5', 'openai/gpt-5-mini', false],
    ['openai/*', 'openai/gpt-5', true],
    ['openai/*', 'openai-evil/gpt-5', false],
    ['openai/*', 'openai/a/b', false],
    ['openrouter/**', 'openrouter/a/b', true],
    ['openrouter/**', 'openrouter/a', true],
    ['openrouter/**', 'openrouter-evil/a', false],
    ['openai/gpt-5*', 'openai/gpt-5-mini', true],
    ['openai/*-mini', 'openai/gpt-5-mini', true],
    ['openai/*-mini', 'openai/-mini-x', false],
    ['openai/a*a', 'openai/a', false],
    ['openai/g*-*i', 'openai/gpt-5-mini', true],
    ['*/gpt-5', 'openai/gpt-5', true],
    ['openai/GPT-5', 'openai/gpt-5', false],
    ['openai/gpt.5', 'openai/gptx5', false],
    ['', 'openai/gpt-5', false],
  ] as const) {
    it(`"${pattern}" ${expected ? 'covers' : 'does not cover'} ${name}`, () => {
      expect(grants([pattern], name)).toBe(expected)
    })
  }
})

describe('address ranges', () => {
  for (const [range, address, expected] of [
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.8', false],
    ['2001:db8::/32', '2001:db8::1', true],
    ['10.0.0.0/8', '::ffff:10.0.0.1', true],
    ['10.0.0.0/8', 'not an address', false],
  ] as const) {
    it(`${range} ${expected ? 'holds' : 'does not hold'} ${address}`, () => {
      expect(inRanges(parseRanges([range]), address)).toBe(expected)
    })
  }

  it('that are empty hold every address', () => {
    expect(mayComeFrom([], '203.0.113.9')).toBe(true)
  })

  for (const range of ['10.0.0.0/33', 'host', '10.0.0.0/8/8', '', '10.0.0.0/', '::/129']) {
    it(`refuse "${range}"`, () => {
      expect(() => parseRanges([range])).toThrow(/is not an address or CIDR range/)
    })
  }
})
