import { describe, expect, it } from 'vitest'
import { ConfigError, loadConfig } from '../src/config.ts'

const KINDS = ['openai', 'anthropic', 'llamacpp', 'openai-compatible']

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
    expect(load({ file }).models.fast).toEqual({
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
      'tollgate.yaml:2:1 port: Invalid input: expected number, received NaN, got "many"',
    ],
    [
      'an unknown variable',
      { env: { TOLLGATE_PROT: '1' } },
      'TOLLGATE_PROT prot: is not a setting; did you mean TOLLGATE_PORT?',
    ],
    [
      'a missing secret file',
      { env: { TOLLGATE_ADMIN_KEY_FILE: '/none' } },
      'TOLLGATE_ADMIN_KEY_FILE admin_key: cannot read /none: does the file exist?',
    ],
    [
      'a variable and its twin',
      { env: { TOLLGATE_PORT: '1', TOLLGATE_PORT_FILE: '/x' }, files: { '/x': '2' } },
      'TOLLGATE_PORT port: both TOLLGATE_PORT and TOLLGATE_PORT_FILE are set: keep one',
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
      'tollgate.yaml:2:11 models.fast.targets: Too small: expected array to have >=1 items',
    ],
    [
      'a target without a provider',
      { file: 'models:\n  fast:\n    targets: [gpt-5]\n' },
      'tollgate.yaml:3:15 models.fast.targets.0: expected provider/model',
    ],
    ['broken YAML', { file: 'a: [1\n' }, 'tollgate.yaml:2:1'],
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
      '--time-zone time_zone: expected an IANA time zone such as Europe/Warsaw, got "Mars/Base"',
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
    expect(problems).toContain('TOLLGATE_ADMIN_KEY admin_key: expected at least 16 characters')
    expect(problems).toContain('TOLLGATE_PORT port:')
    expect(problems).not.toContain('short-secret')
  })
})

interface Given {
  readonly file?: string
  readonly files?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  readonly flags?: Readonly<Record<string, string>>
}

function load({ file, files = {}, env = {}, flags = {} }: Given) {
  const readFile = (path: string) => (path === 'tollgate.yaml' ? file : files[path])
  return loadConfig({ flags, env, readFile, kinds: KINDS })
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
