import { describe, expect, it } from 'vitest'
import { type Config, ConfigError, loadConfig } from '../src/config.ts'
import { configChecks } from '../src/gateway/instances.ts'

const RATES = 'rates: { input: "1", output: "2" }'

describe('prices of the settings', () => {
  it('are read with their times, those of their own file after', () => {
    const { prices } = load(
      `prices:\n  - { model: openai/gpt-*, from: 2026-11-01, to: 2026-12-01T00:00Z, ${RATES} }`,
      'prices:\n  - { model: "*/*", discount: "12.5", note: why }',
    )
    expect(prices).toEqual([
      {
        model: 'openai/gpt-*',
        from: Date.UTC(2026, 10, 1),
        to: Date.UTC(2026, 11, 1),
        rates: { input: '1', output: '2' },
      },
      { model: '*/*', discount: '12.5', note: 'why' },
    ])
  })

  it('may have thresholds and service tiers', () => {
    const tiers = 'flex: { multiplier: "0.5" }, batch: { input: "0.5", output: "1" }'
    const above = '[{ input_tokens: 200000, input: "2" }]'
    const text = `prices:\n  - model: a/b\n    rates: { input: "1", output: "2", above: ${above}, service_tiers: { ${tiers} } }`
    expect(load(text).prices[0]?.rates).toMatchObject({
      above: [{ input_tokens: 200_000, input: '2' }],
      service_tiers: { flex: { multiplier: '0.5' } },
    })
  })

  for (const [what, line, complaint] of [
    ['no model', `- { ${RATES} }`, /^tollgate.yaml:2:\d+ prices.0.model: is missing/],
    ['a model without a provider', `- { model: gpt-5, ${RATES} }`, /prices.0.model: expected prov/],
    ['neither rates nor a discount', '- { model: a/b }', /expected either rates or discount/],
    ['both', `- { model: a/b, discount: "5", ${RATES} }`, /expected either rates or discount/],
    ['a number for a price', '- { model: a/b, rates: { input: 1 } }', /rates.input: .*in quotes/],
    ['a negative price', '- { model: a/b, rates: { input: "-1" } }', /rates.input: expected a dec/],
    ['a price of a million', '- { model: a/b, rates: { input: "1000000" } }', /below a million/],
    [
      'a rate nobody knows',
      '- { model: a/b, rates: { input: "1", inputs: "1" } }',
      /did you mean "input"/,
    ],
    ['a discount beyond all', '- { model: a/b, discount: "101" }', /discount: expected percent/],
    [
      'a day that is none',
      `- { model: a/b, from: 2026-13-01, ${RATES} }`,
      /no day of the calendar/,
    ],
    [
      'an end before its beginning',
      `- { model: a/b, from: 2026-02-01, to: 2026-01-01, ${RATES} }`,
      /prices.0.to: ends before/,
    ],
    [
      'a threshold of what has no price',
      '- { model: a/b, rates: { input: "1", above: [{ input_tokens: 9, output: "1" }] } }',
      /^tollgate.yaml:2:\d+ prices.0: .*add output/,
    ],
  ] as const) {
    it(`are refused for ${what}, with the line`, () => {
      expect(complaints(`prices:\n  ${line}`)).toMatchObject([expect.stringMatching(complaint)])
    })
  }

  it('of a file are refused with the line of that file', () => {
    const both = complaints('prices:\n  - { model: a }', 'prices:\n  - { model: a/b }\nother: 1')
    expect(both.some((line) => /^tollgate.yaml:2/.test(line))).toBe(true)
    expect(both.some((line) => /^prices.yaml:2/.test(line))).toBe(true)
    expect(both.some((line) => /^prices.yaml:3:1 other: is not a setting/.test(line))).toBe(true)
    expect(complaints('', undefined, 'missing.yaml')).toEqual([
      'missing.yaml: cannot read the prices of missing.yaml: does it exist?',
    ])
    expect(complaints('', 'prices: [')[0]).toMatch(/^prices.yaml:1/)
  })
})

function load(settings: string, prices?: string, file = 'prices.yaml'): Config {
  const files = new Map([
    ['tollgate.yaml', settings],
    ...(prices === undefined ? [] : [['prices.yaml', prices] as const]),
  ])
  const isNamed = prices !== undefined || file !== 'prices.yaml'
  return loadConfig({
    flags: { ...(isNamed && { prices_file: file }) },
    env: {},
    readFile: (path) => files.get(path),
    ...configChecks,
  })
}

function complaints(...given: Parameters<typeof load>): readonly string[] {
  try {
    load(...given)
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim())
  }
}
