import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatUsd, parseRate, parseUsd, rateOf } from '../../src/metering/money.ts'

describe('an amount of money', () => {
  for (const [text, nanos] of [
    ['0', 0n],
    ['0.15', 150_000_000n],
    ['12', 12_000_000_000n],
    ['0.000000001', 1n],
    ['007.50', 7_500_000_000n],
    ['1.0000000000000', 1_000_000_000n],
    ['9223372036.854775807', 2n ** 63n - 1n],
  ] as const) {
    it(`reads ${text} exactly`, () => expect(parseUsd(text)).toBe(nanos))
  }

  for (const text of [
    '',
    '-1',
    '+1',
    '1e-7',
    '1E3',
    '.5',
    '1.',
    '1,000',
    ' 1',
    '1 ',
    '0x10',
    'NaN',
    'Infinity',
    '١',
    '0.0000000001',
    '9223372036.854775808',
    '9'.repeat(1000),
  ]) {
    it(`is not ${JSON.stringify(text.slice(0, 30))}`, () =>
      expect(() => parseUsd(text)).toThrowError(expect.objectContaining({ code: 'invalid_value' })))
  }

  it('comes back from its text', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), (nanos) => {
        expect(parseUsd(formatUsd(nanos))).toBe(nanos)
      }),
    )
  })

  it('prints without noise', () => {
    expect([0n, 1n, 150_000_000n, 10n ** 10n, -1_500_000_000n].map(formatUsd)).toEqual([
      '0',
      '0.000000001',
      '0.15',
      '10',
      '-1.5',
    ])
  })
})

describe('a rate', () => {
  it('keeps every digit of a number in the price data', () => {
    expect(rateOf(0.08333333333333334)).toBe(83_333_333_333_333_340n)
    expect(rateOf(1e-7)).toBe(parseRate('0.0000001'))
    expect(rateOf(1.25e-9)).toBe(parseRate('0.00000000125'))
    expect(rateOf(75)).toBe(75n * 10n ** 18n)
  })

  for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    it(`is never ${value}`, () =>
      expect(() => rateOf(value)).toThrowError(expect.objectContaining({ code: 'invalid_value' })))
  }
})
