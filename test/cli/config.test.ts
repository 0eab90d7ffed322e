import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { directory, tollgate } from './tollgate.ts'

const GOOD = `
port: 9000
providers:
  llama.one:
    kind: llamacpp
    base_url: http://127.0.0.1:9000/v1
    allow_private_network: true
    api_key: \${LLAMA_KEY}
    headers: { x-team: blue-secret }
    prices: { '*': { input: '0', output: '0' } }
`

describe('config validate', () => {
  it('names every mistake with its place and mending', async () => {
    const cwd = directory({ 'my.yaml': 'prot: 1\nport: many\nproviders:\n  x:\n    kind: opena\n' })
    const ran = await tollgate(['config', 'validate', 'my.yaml'], { cwd })
    expect(ran.code).toBe(7)
    expect(ran.stdout.trim().split('\n')).toEqual([
      expect.stringMatching(/^my.yaml:1:1 prot: is not a setting; did you mean "port"\?/),
      'my.yaml:2:1 port: expected a whole number from 0 to 65535, got "many"',
      expect.stringMatching(/^my.yaml:5:5 providers.x.kind: .*did you mean/),
    ])
    expect(ran.stderr).toBe('3 mistakes\n')
  })

  it('gives them as JSON', async () => {
    const cwd = directory({ 'my.yaml': 'prot: 1\n' })
    const ran = await tollgate(['config', 'validate', 'my.yaml', '--json=line,path'], { cwd })
    expect(JSON.parse(ran.stdout)).toEqual([{ line: 1, path: 'prot' }])
    expect(ran.code).toBe(7)
  })

  it('takes the file by --config too, and one file only', async () => {
    const cwd = directory({ 'my.yaml': 'prot: 1\n' })
    const ran = await tollgate(['config', 'validate', '--config', 'my.yaml'], { cwd })
    expect(ran.stdout).toContain('my.yaml:1:1 prot:')
    const twice = await tollgate(['config', 'validate', 'my.yaml', '--config', 'x.yaml'], { cwd })
    expect(twice.code).toBe(2)
    expect(twice.stderr).toContain('Which file: my.yaml or x.yaml?')
  })

  it('says so when all is well', async () => {
    const cwd = directory({ 'tollgate.yaml': GOOD })
    const env = { TOLLGATE_CONFIG: 'tollgate.yaml', LLAMA_KEY: 'x' }
    const ran = await tollgate(['config', 'validate'], { cwd, env })
    expect(ran).toEqual({ code: 0, stdout: '', stderr: 'tollgate.yaml: valid\n' })
  })
})

describe('config show', () => {
  it('tells where each setting comes from, and no secret', async () => {
    const cwd = directory({ 'tollgate.yaml': GOOD, master: `${'m'.repeat(40)}-secret` })
    const env = {
      TOLLGATE_CONFIG: 'tollgate.yaml',
      TOLLGATE_HOST: '0.0.0.0',
      TOLLGATE_ADMIN_KEY: 'the-admin-key-secret',
      TOLLGATE_MASTER_KEY_FILE: 'master',
      TOLLGATE_DATABASE_URL: 'postgres://me:secret@db/x',
      LLAMA_KEY: 'llama-secret',
    }
    const ran = await tollgate(['config', 'show', '--redacted'], { cwd, env })
    expect(ran.code).toBe(0)
    expect(ran.stdout.split('\n')).toEqual(
      expect.arrayContaining([
        'host\t0.0.0.0\tTOLLGATE_HOST',
        'port\t9000\ttollgate.yaml',
        'admin_port\t8081\tdefault',
        'trust_proxy\t\tnot set',
        'admin_key\t[redacted]\tTOLLGATE_ADMIN_KEY',
        'master_key\t[redacted]\tTOLLGATE_MASTER_KEY_FILE',
        'providers.llama.one.api_key\t[redacted]\ttollgate.yaml',
        'providers.llama.one.headers.x-team\t[redacted]\ttollgate.yaml',
        'providers.llama.one.prices.*.input\t0\ttollgate.yaml',
      ]),
    )
    expect(ran.stdout + ran.stderr).not.toContain('secret')
  })

  it('points to validate when the settings are not usable', async () => {
    const ran = await tollgate(['config', 'show'], { env: { TOLLGATE_PRT: '1' } })
    expect(ran.code).toBe(7)
    expect(ran.stderr).toContain('TOLLGATE_PRT: is not a setting; did you mean TOLLGATE_PORT?')
    expect(ran.stderr).toContain('tollgate config validate')
  })
})

describe('serve', () => {
  for (const [what, file, words] of [
    ['settings it cannot use', 'models: { fast: { targets: [nosuch/gpt] } }', /:1:29 models\.fast/],
    ['a port that is taken', '', /is taken by another process/],
  ] as const) {
    it(`refuses ${what} and leaves nothing behind`, async () => {
      const port = await takenPort()
      const cwd = directory({ 'tollgate.yaml': `${file}\n` })
      const args = ['serve', '--config', 'tollgate.yaml', '--port', '0', '--admin-port', port]
      const ran = await tollgate(args, { cwd })
      expect(ran.stderr).toMatch(words)
      expect(ran.code).not.toBe(0)
      expect(readdirSync(cwd)).toEqual(['tollgate.yaml'])
    })
  }
})

/** A port something listens on for the length of one test. */
async function takenPort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  return String((server.address() as AddressInfo).port)
}
