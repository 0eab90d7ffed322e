import { describe, expect, it } from 'vitest'
import { ConfigError, loadConfig } from '../src/config.ts'
import { configChecks } from '../src/gateway/instances.ts'

const ROUTE = 'models:\n  fast:\n'
const CLAUDE = 'providers:\n  claude:\n    kind: anthropic\n    api_key: k\n'

describe('settings', () => {
  it('rank flags over variables over the file over defaults', () => {
    const file = 'port: 1000\nadmin_port: 1001\nhost: 0.0.0.0\n'
    const config = load({
      file,
      env: { TOLLGATE_PORT: '2000', TOLLGATE_ADMIN_PORT: '2001' },
      flags: { port: '3000' },
    })
    expect(config).toMatchObject({
      port: 3000,
      admin_port: 2001,
      host: '0.0.0.0',
      log_level: 'info',
    })
  })

  it('come from the file a _FILE variable names', () => {
    const files = { '/run/secrets/key': 'a-very-long-admin-key\n' }
    expect(load({ env: { TOLLGATE_ADMIN_KEY_FILE: '/run/secrets/key' }, files }).admin_key).toBe(
      'a-very-long-admin-key',
    )
  })

  it('take variables into texts of the file', () => {
    const file =
      'providers:\n  openai:\n    api_key: ${KEY}\n    base_url: ${URL:-https://example.com/v1}\n'
    expect(load({ file, env: { KEY: 'sk-1' } }).providers.openai).toEqual({
      api_key: 'sk-1',
      base_url: 'https://example.com/v1',
    })
  })

  it('read routes in short and long form', () => {
    const file =
      'models:\n  fast:\n    strategy: weighted\n    targets:\n      - openai/gpt-5-mini\n      - { model: openai/gpt-5, weight: 3 }\n'
    expect(load({ file, env: { OPENAI_API_KEY: 'k' } }).models.fast).toEqual({
      strategy: 'weighted',
      targets: [
        { model: 'openai/gpt-5-mini', weight: 1 },
        { model: 'openai/gpt-5', weight: 3 },
      ],
      fallbacks: [],
    })
  })

  for (const [what, given, message] of [
    [
      'an unknown name',
      { file: 'prot: 1\n' },
      'tollgate.yaml:1:1 prot: is not a setting; did you mean "port"?',
    ],
    [
      'a wrong value',
      { file: 'host: a\nport: many\n' },
      'tollgate.yaml:2:1 port: expected a whole number from 0 to 65535, got "many"',
    ],
    [
      'a number out of its range',
      { flags: { port: '99999' } },
      '--port: expected a whole number from 0 to 65535, got "99999"',
    ],
    [
      'a number that is none',
      { file: 'max_attempts: ""\n' },
      'tollgate.yaml:1:1 max_attempts: expected a whole number from 1 to 10, got ""',
    ],
    [
      'an empty address, which would be every address',
      { file: 'host: ""\n' },
      'tollgate.yaml:1:1 host: expected an address such as 127.0.0.1, got ""',
    ],
    [
      'one port for two',
      { file: 'port: 8081\n' },
      'tollgate.yaml:1:1 port: port and admin_port are both 8081: expected two ports',
    ],
    [
      'a word that is none of the words',
      { env: { TOLLGATE_LOG_LEVEL: 'inf' } },
      'TOLLGATE_LOG_LEVEL: expected debug, info, warn, error, or silent, got "inf"; did you mean "info"?',
    ],
    ['a list for a text', { file: 'host: [a]\n' }, 'tollgate.yaml:1:1 host: expected text'],
    [
      'proxies that are no ranges',
      { file: 'trust_proxy: 10.0.0.0/8, loopback\n' },
      'tollgate.yaml:1:1 trust_proxy: "loopback" is not an address or CIDR range such as 10.0.0.0/8',
    ],
    [
      'an alias of nothing',
      { file: 'port: 1\nhost: *nowhere\n' },
      'tollgate.yaml:2:7: Unresolved alias',
    ],
    [
      'an unknown variable',
      { env: { TOLLGATE_PROT: '1' } },
      'TOLLGATE_PROT: is not a setting; did you mean TOLLGATE_PORT?',
    ],
    [
      'a missing secret file',
      { env: { TOLLGATE_ADMIN_KEY_FILE: '/none' } },
      'TOLLGATE_ADMIN_KEY_FILE: cannot read /none: does the file exist?',
    ],
    [
      'a variable and its twin',
      { env: { TOLLGATE_PORT: '1', TOLLGATE_PORT_FILE: '/x' }, files: { '/x': '2' } },
      'TOLLGATE_PORT: both TOLLGATE_PORT and TOLLGATE_PORT_FILE are set: keep one',
    ],
    [
      'an unset variable in the file',
      { file: 'providers:\n  openai:\n    api_key: ${NOPE}\n' },
      'tollgate.yaml:3:5 providers.openai.api_key: the variable NOPE is not set: set it, or write ${NOPE:-default}',
    ],
    [
      'an unknown kind',
      { file: 'providers:\n  mine:\n    kind: lamacpp\n' },
      'tollgate.yaml:3:5 providers.mine.kind: "lamacpp" is not a kind of provider: use a known one; did you mean "llamacpp"?',
    ],
    [
      'an unknown field of a provider',
      { file: 'providers:\n  openai:\n    apikey: x\n' },
      'tollgate.yaml:3:5 providers.openai.apikey: is not a setting; did you mean "api_key"?',
    ],
    [
      'a price that is not text',
      { file: 'providers:\n  openai:\n    prices: { "*": { input: 0.15, output: "1" } }\n' },
      'tollgate.yaml:3:22 providers.openai.prices.*.input: expected a decimal in quotes, such as "0.15"',
    ],
    [
      'a route without targets',
      { file: 'models:\n  fast: { targets: [] }\n' },
      'tollgate.yaml:2:11 models.fast.targets: expected at least one',
    ],
    [
      'a target whose provider is not there',
      { file: `${ROUTE}    targets: [{ model: nosuch/gpt }]\n` },
      'tollgate.yaml:3:17 models.fast.targets.0.model: "nosuch" is no configured provider; known: simulator',
    ],
    [
      'a fallback whose provider is mistyped',
      { file: `${ROUTE}    targets: [claude/a]\n    fallbacks: [cluade/b]\n${CLAUDE}` },
      'tollgate.yaml:4:17 models.fast.fallbacks.0: "cluade" is no configured provider; did you mean "claude"?',
    ],
    [
      'a target whose provider has no credential',
      { file: `${ROUTE}    targets: [openai/gpt-5]\n` },
      'tollgate.yaml:3:15 models.fast.targets.0: "openai" is not configured: add it under providers, or set OPENAI_API_KEY',
    ],
    [
      'a kind that a provider of another name uses up',
      { file: `${ROUTE}    targets: [anthropic/a]\n${CLAUDE}`, env: { ANTHROPIC_API_KEY: 'k' } },
      'models.fast.targets.0: "anthropic" is not configured',
    ],
    [
      'a model the simulator does not have',
      { file: `${ROUTE}    targets: [simulator/chatt]\n` },
      'tollgate.yaml:3:15 models.fast.targets.0: "simulator" has no model "chatt"; did you mean "chat"?',
    ],
    [
      'a strategy that is mistyped',
      { file: `${ROUTE}    strategy: wieghted\n    targets: [simulator/chat]\n` },
      'tollgate.yaml:3:5 models.fast.strategy: expected ordered, weighted, least-latency, or least-cost, got "wieghted"; did you mean "weighted"?',
    ],
    [
      'a weight that is none',
      { file: `${ROUTE}    targets: [{ model: simulator/chat, weight: 0.5 }]\n` },
      'tollgate.yaml:3:40 models.fast.targets.0.weight: expected a whole number from 0 to 1000000',
    ],
    [
      'a misspelled field of a target',
      { file: `${ROUTE}    targets: [{ model: simulator/chat, wieght: 1 }]\n` },
      'tollgate.yaml:3:40 models.fast.targets.0.wieght: is not a setting; did you mean "weight"?',
    ],
    [
      'a target that is a number',
      { file: `${ROUTE}    targets: [5]\n` },
      'tollgate.yaml:3:15 models.fast.targets.0: expected provider/model, or { model, weight }',
    ],
    [
      'a private address that is not allowed',
      { file: 'providers:\n  llamacpp:\n    base_url: http://10.0.0.7/v1\n' },
      'tollgate.yaml:3:5 providers.llamacpp.base_url: 10.0.0.7 leads to 10.0.0.7 (private); set `allow_private_network: true`',
    ],
    [
      'a usual address that is private and not allowed',
      { file: 'providers:\n  llamacpp: {}\n' },
      'tollgate.yaml:2:3 providers.llamacpp: 127.0.0.1:8080 leads to 127.0.0.1 (loopback)',
    ],
    [
      'a kind that has no usual address',
      { file: 'providers:\n  mine:\n    kind: openai-compatible\n' },
      'tollgate.yaml:2:3 providers.mine: "openai-compatible" has no usual address: add base_url, such as https://host/v1',
    ],
    [
      'the name of what is built in',
      { file: 'providers:\n  simulator:\n    base_url: https://example.com\n' },
      'tollgate.yaml:2:3 providers.simulator: "simulator" is built in: choose another name',
    ],
    [
      'a provider without a value',
      { file: 'providers:\n  openai:\n' },
      'tollgate.yaml:2:3 providers.openai: expected `name: value` lines, or {}',
    ],
    [
      'a credential that is a number',
      { file: 'providers:\n  openai:\n    api_key: 123\n' },
      'tollgate.yaml:3:5 providers.openai.api_key: expected text: put quotes around it',
    ],
    [
      'a price without its other half',
      { file: 'providers:\n  openai:\n    prices: { "*": { input: "1" } }\n' },
      'tollgate.yaml:3:15 providers.openai.prices.*.output: is missing: expected a decimal in quotes',
    ],
    [
      'a target without a provider',
      { file: 'models:\n  fast:\n    targets: [gpt-5]\n' },
      'tollgate.yaml:3:15 models.fast.targets.0.model: expected provider/model',
    ],
    [
      'a name given twice',
      { file: 'port: 1\nport: 2\n' },
      'tollgate.yaml:2:1: Map keys must be unique',
    ],
    [
      'a base URL with a query',
      { file: 'providers:\n  openai:\n    base_url: https://h/v1?x=1\n' },
      'tollgate.yaml:3:5 providers.openai.base_url: expected http(s)://host[:port][/path] without query or user',
    ],
    [
      'an unknown zone',
      { flags: { time_zone: 'Mars/Base' } },
      '--time-zone: expected an IANA time zone such as Europe/Warsaw, got "Mars/Base"',
    ],
  ] as const) {
    it(`stop on ${what}, saying where and what to do`, () => {
      expect(problemsOf(given)).toContain(message)
    })
  }

  it('name every mistake at once, and no secret', () => {
    const problems = problemsOf({
      env: { TOLLGATE_ADMIN_KEY: 'short-secret', TOLLGATE_PORT: '99999' },
    })
    expect(problems).toContain('TOLLGATE_ADMIN_KEY: expected at least 16 characters')
    expect(problems).toContain('TOLLGATE_PORT: expected')
    expect(problems).not.toContain('short-secret')
  })

  it('name what is wrong further down although something above is malformed', () => {
    const file = `${ROUTE}    targets: [nosuch/a]\nproviders:\n  openai:\n    apikey: x\n  mine:\n    kind: opena\n`
    expect(problemsOf({ file }).split('\n').slice(1)).toEqual([
      expect.stringContaining('tollgate.yaml:3:15 models.fast.targets.0: "nosuch"'),
      expect.stringContaining('tollgate.yaml:6:5 providers.openai.apikey:'),
      expect.stringContaining('tollgate.yaml:8:5 providers.mine.kind: "opena"'),
    ])
  })

  it('say once where YAML is broken', () => {
    expect(problemsOf({ file: 'a: [1\n' }).split('\n').slice(1)).toEqual([
      '  tollgate.yaml:2:1: Flow sequence in block collection must be sufficiently indented and end with a ]',
    ])
  })

  for (const [where, file] of [
    ['a provider', 'providers:\n  openai:\n    api_key: ${NOPE}\n'],
    ['an address', 'providers:\n  llamacpp:\n    base_url: http://${NOPE}:${NOPE}/v1\n'],
    ['a target', 'models:\n  fast:\n    targets: ["${NOPE}/gpt"]\n'],
    ['a scalar', 'durability: ${NOPE}\n'],
    ['a list of ranges', 'trust_proxy: ${NOPE}/8\n'],
  ] as const) {
    it(`name an unset variable of ${where} once`, () => {
      const [, ...problems] = problemsOf({ file }).split('\n')
      expect(problems).toEqual([expect.stringContaining('the variable NOPE is not set')])
    })
  }

  for (const [what, given] of [
    ['the simulator', { file: `${ROUTE}    targets: [simulator/chat, simulator/fault/429]\n` }],
    [
      'a provider of the environment',
      { file: `${ROUTE}    targets: [openai/gpt-5]\n`, env: { OPENAI_API_KEY: 'k' } },
    ],
    ['a provider of the file', { file: `${ROUTE}    targets: [claude/a]\n${CLAUDE}` }],
  ] as const) {
    it(`let a route lead to ${what}`, () => {
      expect(problemsOf(given)).toBe('no problem')
    })
  }
})

interface Given {
  readonly file?: string
  readonly files?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  readonly flags?: Readonly<Record<string, string>>
}

function load({ file, files = {}, env = {}, flags = {} }: Given) {
  const readFile = (path: string) => (path === 'tollgate.yaml' ? file : files[path])
  return loadConfig({ flags, env, readFile, ...configChecks })
}

function problemsOf(given: Given): string {
  try {
    load(given)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return 'no problem'
}
