import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { DEFAULTS } from '../../src/cli/local-settings.ts'
import { createSession } from '../../src/cli/session.ts'
import { SETTINGS } from '../../src/config.ts'
import { ADMIN_KEY, controlPlane, key, listOf } from './control-plane.ts'
import { atTerminal, directory, tollgate } from './tollgate.ts'

const FILE_KEY = 'sk-tg-admin-ofTheFile'

describe('the control plane', () => {
  it('is that of the settings file beside', async () => {
    const plane = await controlPlane({ '*': listOf([]) })
    const cwd = directory({
      'tollgate.yaml': `admin_host: 0.0.0.0\nadmin_port: \${PORT:-${plane.port}}\nadmin_key: \${KEY}\n`,
    })
    const env = { TOLLGATE_CONFIG: 'tollgate.yaml', KEY: 'a-key-of-the-file' }
    expect((await tollgate(['keys', 'list'], { cwd, env })).code).toBe(0)
    expect(plane.asked[0]?.authorization).toBe('Bearer a-key-of-the-file')
  })

  it('is found though the settings file is broken', async () => {
    const plane = await controlPlane({ '*': listOf([]) })
    const cwd = directory({ 'tollgate.yaml': 'a: [\n' })
    const env = { ...plane.env, TOLLGATE_CONFIG: 'tollgate.yaml' }
    expect((await tollgate(['keys', 'list'], { cwd, env })).code).toBe(0)
  })

  it('may lie under a path', async () => {
    const plane = await controlPlane({ 'GET /gate/admin/v1/keys': listOf([]) })
    const args = ['keys', 'list', '--url', `${plane.url}/gate/`]
    expect((await atTerminal(args, {})).code).toBe(0)
  })

  it('is not named in a complaint that could show a password', async () => {
    const ran = await atTerminal(['keys', 'list', '--url', 'http://me:hunter2@127.0.0.1'], {})
    expect(ran.code).toBe(2)
    expect(ran.stderr).not.toContain('hunter2')
  })

  it('has the defaults of the settings', () => {
    for (const [name, value] of Object.entries(DEFAULTS)) {
      expect(SETTINGS[name as keyof typeof DEFAULTS].default).toBe(value)
    }
  })
})

describe('the admin key', () => {
  for (const [what, env, expected] of [
    ['is that of the environment', { TOLLGATE_ADMIN_KEY: ADMIN_KEY }, ADMIN_KEY],
    ['is that of the file a variable names', { TOLLGATE_ADMIN_KEY_FILE: 'other.key' }, 'of-other'],
    ['is that of the data directory', {}, FILE_KEY],
    ['is that of the data directory named', { TOLLGATE_DATA_DIR: 'elsewhere' }, 'of-elsewhere'],
  ] as const) {
    it(what, async () => {
      const plane = await controlPlane({ '*': listOf([]) })
      const cwd = directory({ 'other.key': 'of-other\n' })
      for (const [name, text] of [
        ['data', FILE_KEY],
        ['elsewhere', 'of-elsewhere'],
      ] as const) {
        mkdirSync(join(cwd, name))
        writeFileSync(join(cwd, name, 'admin.key'), `${text}\n`)
      }
      await tollgate(['keys', 'list'], { cwd, env: { TOLLGATE_URL: plane.url, ...env } })
      expect(plane.asked[0]?.authorization).toBe(`Bearer ${expected}`)
    })
  }

  it('of this machine is not sent to another', async () => {
    const data = directory({ 'admin.key': FILE_KEY })
    const connect = (url: string): ReturnType<ReturnType<typeof createSession>['connect']> =>
      createSession(new Command().option('--no-color'), {
        env: { TOLLGATE_URL: url, TOLLGATE_DATA_DIR: data, TOLLGATE_CONFIG: '/nowhere' },
        stdin: process.stdin,
        stdout: { write: () => true },
        stderr: { write: () => true },
        now: Date.now,
        exitOnInterrupt: () => {},
      }).connect()
    expect((await connect('https://gate.example:8081')).hasKey).toBe(false)
    expect((await connect('http://127.0.0.1.example.com:8081')).hasKey).toBe(false)
    expect((await connect('http://localhost:8081')).hasKey).toBe(true)
    expect((await connect('http://[::1]:8081')).hasKey).toBe(true)
  })

  it('with a line break is refused before it is sent, and not shown', async () => {
    const ran = await atTerminal(['keys', 'list'], { env: { TOLLGATE_ADMIN_KEY: 'one\ntwo' } })
    expect(ran).toMatchObject({ code: 4, stdout: '' })
    expect(ran.stderr).not.toContain('two')
  })
})

describe('--debug', () => {
  it('prints the calls with every secret blotted out', async () => {
    const secret = 'sk-tg-live-AbCdEfGhIjKlMnOpQrStUv-0a1B2c'
    const plane = await controlPlane({ '*': { status: 201, body: { ...key(), secret } } })
    const ran = await atTerminal(['keys', 'create', '--name', ADMIN_KEY, '--debug'], plane)
    const trace = ran.stderr.split('\n').filter((line) => /^[<>]/.test(line))
    expect(trace[0]).toBe(`> POST ${plane.url}/admin/v1/keys {"name":"***"}`)
    expect(trace[1]).toMatch(/^< 201 in \d+ ms /)
    expect(trace.join()).not.toContain('IjKlMnOp')
  })

  it('adds the stack trace of a failure', async () => {
    const args = ['keys', 'list', '--debug', '--url', 'http://127.0.0.1:9']
    expect((await atTerminal(args, {})).stderr).toMatch(/^ +at /m)
  })
})
