import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tollgate } from './tollgate.ts'
import type { Ran } from './tollgate.ts'

const LAUNCHER = join(import.meta.dirname, '../../src/bin.js')

interface Server {
  readonly process: ChildProcess
  readonly dataUrl: string
  readonly adminUrl: string
}

describe('the command line and a gateway', () => {
  const cwd = mkdtempSync(join(tmpdir(), 'tollgate-e2e-'))
  let server: Server
  let first = ''

  beforeAll(async () => {
    server = await start(cwd)
  })

  afterAll(async () => {
    if (server?.process.exitCode === null) server.process.kill('SIGKILL')
    rmSync(cwd, { recursive: true, force: true })
  })

  /** Finds the admin key by itself, in `data` of the directory. */
  const cli = (...args: string[]): Promise<Ran> =>
    tollgate(args, { cwd, env: { TOLLGATE_URL: server.adminUrl } })

  const chat = (key: string): Promise<number> =>
    fetch(`${server.dataUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'simulator/chat',
        messages: [{ role: 'user', content: 'Hello' }],
      }),
    }).then(async (response) => {
      await response.text()
      return response.status
    })

  it('make a key that works', async () => {
    const options = ['--models', 'simulator/*', '--budget', '1.50/month', '--expires', '30d']
    const made = await cli('keys', 'create', '--name', 'web', ...options)
    expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^sk-tg-live-\S+\n$/) })
    first = made.stdout.trim()
    expect(await chat(first)).toBe(200)
  })

  it('tell the address of the data plane with a key', async () => {
    const made = await cli('keys', 'create', '--name', 'env', '--output', 'env')
    expect(made.stdout).toContain(`\nOPENAI_BASE_URL=${server.dataUrl}/v1\n`)
    expect((await cli('keys', 'revoke', 'env', '--yes')).code).toBe(0)
  })

  it('list it', async () => {
    const { stdout } = await cli('keys', 'list', '--json=name,status,models,limits')
    expect(JSON.parse(stdout)).toContainEqual({
      name: 'web',
      status: 'active',
      models: ['simulator/*'],
      limits: expect.objectContaining({
        requests_per_minute: null,
        budgets: [
          expect.objectContaining({ window: 'month', limit: { amount: '1.5', currency: 'USD' } }),
        ],
      }),
    })
  })

  it('update it, the budget kept', async () => {
    const { stdout } = await cli('keys', 'update', 'web', '--rpm', '600', '--json=limits')
    expect(JSON.parse(stdout).limits).toMatchObject({
      requests_per_minute: 600,
      budgets: [{ window: 'month' }],
    })
  })

  it('refuse what the control plane refuses, in its words', async () => {
    const ran = await cli('keys', 'update', 'web', '--addresses', 'everywhere')
    expect(ran.code).toBe(2)
    expect(ran.stderr).toContain('everywhere')
  })

  it('roll it, both working for the overlap, and none without', async () => {
    const second = (await cli('keys', 'roll', 'web', '--overlap', '1h')).stdout.trim()
    expect(await Promise.all([chat(first), chat(second)])).toEqual([200, 200])
    const third = (await cli('keys', 'roll', 'web', '--overlap', '0')).stdout.trim()
    expect(await Promise.all([chat(second), chat(third)])).toEqual([401, 200])
    first = third
  })

  it('disable and enable it', async () => {
    expect((await cli('keys', 'disable', 'web')).code).toBe(0)
    expect(await chat(first)).toBe(401)
    expect((await cli('keys', 'enable', first)).code).toBe(0)
    expect(await chat(first)).toBe(200)
  })

  it('revoke it for good', async () => {
    expect((await cli('keys', 'revoke', 'web', '--yes')).code).toBe(0)
    expect(await chat(first)).toBe(401)
    expect((await cli('keys', 'enable', first)).code).toBe(5)
  })

  it('tell what it cost, the same number everywhere', async () => {
    const summary = await cli('costs', 'summary', '--json=total')
    const { total } = JSON.parse(summary.stdout)
    expect(total).toMatchObject({
      requests: 5,
      cost: { amount: expect.stringMatching(/^0\.0\d+$/) },
    })
    const report = await cli('costs', 'report', '--by', 'model,key,day', '--json=total')
    expect(JSON.parse(report.stdout)).toEqual({ total })
    const csv = await cli('costs', 'report', '--by', 'provider', '--csv')
    expect(csv.stdout).toContain(total.cost.amount)
    expect((await cli('costs', 'summary')).stdout).toContain(
      `${total.cost.amount} USD for 5 requests`,
    )
  })

  it('list models and providers, and test them', async () => {
    expect((await cli('models', 'list', '--quiet')).stdout).toContain('simulator/chat\n')
    expect((await cli('models', 'list', '--prices')).stdout).toContain('simulator/chat\t')
    expect((await cli('providers', 'list', '--quiet')).stdout).toBe('simulator\n')
    expect((await cli('providers', 'test', 'simulator')).code).toBe(0)
  })

  it('find nothing to mend', async () => {
    const { dataUrl, adminUrl } = server
    const ran = await tollgate(['doctor', '--json=check,result'], {
      cwd,
      env: { TOLLGATE_PORT: portOf(dataUrl), TOLLGATE_ADMIN_PORT: portOf(adminUrl) },
    })
    const found = JSON.parse(ran.stdout)
    expect(found).toEqual(found.map(({ check }: { check: string }) => ({ check, result: 'ok' })))
    expect(ran.code).toBe(0)
  })

  it('end with 0 at SIGTERM', async () => {
    server.process.kill('SIGTERM')
    const [code] = await once(server.process, 'exit')
    expect(code).toBe(0)
  })
})

/** Starts `tollgate serve` and reads from its banner where it listens. */
async function start(cwd: string): Promise<Server> {
  const child = spawn(process.execPath, [LAUNCHER, 'serve', '--port', '0', '--admin-port', '0'], {
    cwd,
    env: { PATH: process.env.PATH },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let banner = ''
  for await (const text of child.stderr.setEncoding('utf8')) {
    banner += text
    const [, dataUrl, adminUrl] = /on (\S+) \(data\) and (\S+) \(control\)/.exec(banner) ?? []
    if (dataUrl !== undefined && adminUrl !== undefined) {
      return { process: child, dataUrl, adminUrl }
    }
  }
  throw new Error(`The gateway did not start: ${banner}`)
}

function portOf(url: string): string {
  return new URL(url).port
}
