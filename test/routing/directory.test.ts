import { describe, expect, it } from 'vitest'
import type { Provider, ProviderInstance } from '#protocol'
import { nearest } from '../../src/nearest.ts'
import { createDirectory } from '../../src/routing/directory.ts'
import { plan } from '../../src/routing/plan.ts'
import { mayCall } from '../../src/routing/rights.ts'

describe('model names', () => {
  for (const [asked, expected] of [
    ['fast', ['one/small', 'two/big']],
    ['one/small', ['one/small']],
    ['one/unheard-of', ['one/unheard-of']],
    ['small', ['one/small']],
    ['one/with/slash', ['one/with/slash']],
    ['closed/only', ['closed/only']],
    ['closed/fault/anything', ['closed/fault/anything']],
  ] as const) {
    it(`"${asked}" leads to ${expected.join(' and ')}`, () => {
      expect(
        directory()
          .resolve(asked)
          .targets.map(({ name }) => name),
      ).toEqual(expected)
    })
  }

  for (const [asked, message] of [
    ['smal', 'did you mean "small"?'],
    ['shared', 'ask for one of one/shared, two/shared'],
    ['three/x', 'does not exist here'],
    ['closed/other', 'does not exist here'],
    ['one/', 'does not exist here'],
    ['', 'does not exist here'],
    ['FAST', 'did you mean "fast"?'],
  ] as const) {
    it(`"${asked}" is refused: ${message}`, () => {
      expect(() => directory().resolve(asked)).toThrow(message)
    })
  }

  it('stop the start where a route names no provider', () => {
    const routes = {
      bad: { strategy: 'ordered', targets: [{ model: 'nope/x', weight: 1 }], fallbacks: [] },
    } as const
    expect(() =>
      createDirectory({ instances: [], routes, facts: () => undefined, nearest }),
    ).toThrow('models.bad: "nope/x" names no configured provider')
  })
})

describe('rights', () => {
  for (const [models, asked, expected] of [
    [['*'], 'fast', true],
    [['fast'], 'fast', true],
    [['fast'], 'one/small', false],
    [['one/*'], 'fast', false],
    [['one/*', 'two/*'], 'fast', true],
    [['one/small'], 'small', true],
    [['two/big'], 'small', false],
    [[], 'small', false],
  ] as const) {
    it(`a key for ${models.join(', ') || 'nothing'} ${expected ? 'may' : 'may not'} call ${asked}`, () => {
      const key = { models } as unknown as Parameters<typeof mayCall>[0]
      expect(mayCall(key, directory().resolve(asked))).toBe(expected)
    })
  }
})

describe('order of targets', () => {
  const { resolve } = directory()
  const ask = { random: () => 0, latencyMs: () => undefined, unitCost: () => undefined }

  it('follows the list, then the fallbacks, each once', () => {
    expect(names(plan(resolve('safe'), ask))).toEqual(['one/small', 'two/big'])
  })

  it('draws by weight', () => {
    const seen = [0, 0.74, 0.76, 0.99].map(
      (random) => plan(resolve('drawn'), { ...ask, random: () => random })[0]!.name,
    )
    expect(seen).toEqual(['one/small', 'one/small', 'two/big', 'two/big'])
  })

  it('prefers the target that answered fastest, and tries those never asked', () => {
    const latencyMs = (name: string) => ({ 'one/small': 300, 'two/big': 100 })[name]
    expect(names(plan(resolve('quick'), { ...ask, latencyMs }))).toEqual(['two/big', 'one/small'])
    expect(
      names(
        plan(resolve('quick'), {
          ...ask,
          latencyMs: (name) => (name === 'two/big' ? 100 : undefined),
        }),
      ),
    ).toEqual(['one/small', 'two/big'])
  })

  it('prefers the cheapest, and unpriced ones last', () => {
    const unitCost = ({ name }: { name: string }) => ({ 'two/big': 5 })[name]
    expect(names(plan(resolve('cheap'), { ...ask, unitCost }))).toEqual(['two/big', 'one/small'])
  })
})

function directory() {
  const targets = [
    { model: 'one/small', weight: 3 },
    { model: 'two/big', weight: 1 },
  ]
  const route = { strategy: 'ordered', targets, fallbacks: [] } as const
  return createDirectory({
    instances: [
      instance('one', ['small', 'shared']),
      instance('two', ['big', 'shared']),
      instance('closed', ['only', 'fault/*'], true),
    ],
    routes: {
      fast: route,
      safe: { ...route, fallbacks: ['two/big'] },
      drawn: { ...route, strategy: 'weighted' },
      quick: { ...route, strategy: 'least-latency' },
      cheap: { ...route, strategy: 'least-cost' },
    },
    facts: () => undefined,
    nearest,
  })
}

function instance(name: string, models: string[], closed = false): ProviderInstance {
  const provider = { id: name } as Provider
  return {
    name,
    provider,
    baseUrl: 'https://example.com',
    headers: {},
    allowPrivateNetwork: false,
    models,
    closed,
  }
}

function names(candidates: readonly { name: string }[]): string[] {
  return candidates.map(({ name }) => name)
}
