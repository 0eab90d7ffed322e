import { chmodSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { packageVersion } from '../../src/cli/version.ts'
import { ADMIN_KEY, controlPlane, listOf, refusal } from './control-plane.ts'
import type { Reply } from './control-plane.ts'
import { atTerminal, directory } from './tollgate.ts'

interface Line {
  readonly check: string
  readonly result: string
  readonly detail: string
  readonly fix: string | null
}

const VERSION = packageVersion()
const HEALTHY: Readonly<Record<string, Reply>> = {
  'GET /livez': { body: { status: 'ok', version: VERSION } },
  'GET /admin/v1/health': {
    body: { status: 'ok', version: VERSION, database: 'sqlite', problems: [] },
  },
  'GET /admin/v1/providers': listOf([{ name: 'simulator' }]),
  'POST /admin/v1/providers/simulator/test': { body: { ok: true, duration_ms: 3, models: ['a'] } },
  'GET /admin/v1/models': listOf([{ id: 'simulator/a', price: { input: '0', output: '0' } }]),
}
const PRICED = { input: '1', output: '2' }

describe('doctor', () => {
  it('finds nothing to mend where all is well', async () => {
    const { code, lines } = await examine(HEALTHY)
    expect(lines.map(({ check, result }) => `${check}: ${result}`)).toEqual([
      'node: ok',
      'settings: ok',
      'data directory: ok',
      'port: ok',
      'admin port: ok',
      'admin key: ok',
      'server: ok',
      'database: ok',
      'provider simulator: ok',
      'prices: ok',
    ])
    expect(code).toBe(0)
  })

  it('finds nothing to mend before the first start', async () => {
    const dir = `${directory()}/none`
    const env = { TOLLGATE_DATA_DIR: dir, TOLLGATE_PORT: '0', TOLLGATE_ADMIN_PORT: '0' }
    const ran = await atTerminal(['doctor', '--url', 'http://127.0.0.1:9'], { env })
    expect(ran.code).toBe(0)
    expect(ran.stdout).toContain('start it with `tollgate serve`')
  })

  for (const [what, changes, env, expected] of [
    [
      'a provider that fails',
      {
        'POST /admin/v1/providers/simulator/test': {
          body: { ok: false, duration_ms: 1, error: { code: 'upstream_rejected', message: 'No' } },
        },
      },
      {},
      { check: 'provider simulator', result: 'failed', detail: 'No' },
    ],
    [
      'models without a price',
      {
        'GET /admin/v1/models': listOf([
          { id: 'x/y', price: null },
          { id: 'a/b', price: PRICED },
        ]),
      },
      {},
      { check: 'prices', result: 'warning', detail: expect.stringContaining('1 of 2 models') },
    ],
    [
      'a database that fails',
      {
        'GET /admin/v1/health': {
          body: { status: 'unavailable', version: VERSION, database: 'sqlite', problems: ['full'] },
        },
      },
      {},
      { check: 'database', result: 'failed', detail: 'sqlite: full' },
    ],
    [
      'a server of another version',
      {
        'GET /admin/v1/health': {
          body: { status: 'ok', version: '9.9.9', database: 'sqlite', problems: [] },
        },
      },
      {},
      { check: 'server', result: 'warning', detail: expect.stringContaining('runs 9.9.9') },
    ],
    [
      'a wrong admin key',
      { 'GET /admin/v1/health': refusal(401, 'invalid_api_key', 'That is not the admin key') },
      {},
      { check: 'server', result: 'failed', detail: 'That is not the admin key' },
    ],
    [
      'a port that another program holds',
      { 'GET /livez': { body: '<html>' } },
      {},
      { check: 'port', result: 'failed', fix: expect.stringContaining('--port') },
    ],
    [
      'a public control plane',
      {},
      { TOLLGATE_ADMIN_HOST: '0.0.0.0' },
      { check: 'exposure', result: 'warning', detail: expect.stringContaining('without TLS') },
    ],
    [
      'a wrong setting',
      {},
      { TOLLGATE_PRT: '1' },
      { check: 'settings', result: 'failed', detail: expect.stringContaining('TOLLGATE_PORT') },
    ],
  ] as const) {
    it(`finds ${what}`, async () => {
      const { code, lines } = await examine({ ...HEALTHY, ...changes }, env)
      expect(lines).toContainEqual(expect.objectContaining(expected))
      expect(code).toBe(7)
    })
  }

  it('finds secrets that others can read', async () => {
    const dir = directory({ 'admin.key': ADMIN_KEY })
    chmodSync(`${dir}/admin.key`, 0o644)
    const { lines } = await examine(HEALTHY, { TOLLGATE_DATA_DIR: dir })
    expect(lines).toContainEqual({
      check: 'data directory',
      result: 'warning',
      detail: `${dir}/admin.key can be read by other users`,
      fix: `chmod go= ${dir}/admin.key`,
    })
  })

  it('shows people a line for each check, with its mending', async () => {
    const plane = await controlPlane({
      ...HEALTHY,
      'GET /admin/v1/models': listOf([{ id: 'x/y', price: null }]),
    })
    const env = { ...plane.env, TOLLGATE_DATA_DIR: directory(), TOLLGATE_PORT: '0' }
    const ran = await atTerminal(['doctor', '--no-color'], { env })
    expect(ran.stdout).toMatch(/^✓ node +v/m)
    expect(ran.stdout).toMatch(/^! prices +1 of 1 models.*\n +fix: set one: tollgate prices set/m)
    expect(ran.stderr).toBe('1 to mend.\n')
  })
})

async function examine(
  answers: Readonly<Record<string, Reply>>,
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number | null; readonly lines: readonly Line[] }> {
  const plane = await controlPlane(answers)
  const data = await controlPlane(answers)
  const ran = await atTerminal(['doctor', '--json'], {
    env: {
      ...plane.env,
      TOLLGATE_DATA_DIR: directory(),
      TOLLGATE_PORT: String(data.port),
      TOLLGATE_ADMIN_PORT: String(plane.port),
      ...env,
    },
  })
  return { code: ran.code, lines: JSON.parse(ran.stdout) }
}
