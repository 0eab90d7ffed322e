import { describe, expect, it } from 'vitest'
import { directory, tollgate } from './tollgate.ts'

const GOOD = `
port: 9000
providers:
  llama.one:
    kind: llamacpp
    base_url: http://127.0.0.1:9000/v1
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
      expect.stringMatching(/^my.yaml:2:1 port: .*expected number/),
      expect.stringMatching(/^my.yaml:1:1 prot: is not a setting; did you mean "port"\?/),
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
    expect(ran.stderr).toContain('TOLLGATE_PRT prt: is not a setting; did you mean TOLLGATE_PORT?')
    expect(ran.stderr).toContain('tollgate config validate')
  })
})
