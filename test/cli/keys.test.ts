import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import type { KeyView } from '../../src/cli/key-options.ts'
import { controlPlane, key, listOf, refusal } from './control-plane.ts'
import type { ControlPlane, Reply } from './control-plane.ts'
import { atTerminal, directory, tollgate } from './tollgate.ts'

const SECRET = 'sk-tg-live-AbCdEfGhIjKlMnOpQrStUv-0a1B2c'
const LIMITED = key({
  limits: {
    requests_per_minute: 60,
    tokens_per_minute: null,
    concurrency: 5,
    budgets: [
      { window: 'month', limit: { amount: '10', currency: 'USD' } },
      { window: 'day', limit: { amount: '0.5', currency: 'USD' } },
    ],
  },
})

describe('keys create', () => {
  it('prints the key alone, and the rest as a note', async () => {
    const plane = await making()
    const ran = await tollgate(['keys', 'create', '--name', 'web'], { env: plane.env })
    expect(ran.stdout).toBe(`${SECRET}\n`)
    expect(ran.stderr).toContain('shown this once')
    expect(ran.stderr).not.toContain(SECRET)
  })

  it('sends what was asked for', async () => {
    const plane = await making()
    await atTerminal(
      `keys create --name web --env test --models simulator/*,fast --models x/y --endpoints /v1/embeddings
       --addresses 10.0.0.0/8 --expires 30d --rpm 60 --tpm 1000 --concurrency 5 --strict
       --budget 10.00/month --budget 0.000000001/day`.split(/\s+/),
      { env: plane.env, now: () => Date.parse('2026-11-01T00:00:00Z') },
    )
    expect(plane.asked.slice(0, 1)).toMatchObject([
      {
        method: 'POST',
        path: '/admin/v1/keys',
        body: {
          name: 'web',
          environment: 'test',
          models: ['simulator/*', 'fast', 'x/y'],
          endpoints: ['/v1/embeddings'],
          addresses: ['10.0.0.0/8'],
          expires_at: '2026-12-01T00:00:00.000Z',
          strict: true,
          limits: {
            requests_per_minute: 60,
            tokens_per_minute: 1000,
            concurrency: 5,
            budgets: [
              { window: 'month', limit: '10.00' },
              { window: 'day', limit: '0.000000001' },
            ],
          },
        },
      },
    ])
  })

  for (const [form, expected] of [
    ['env', `OPENAI_API_KEY=${SECRET}\nOPENAI_BASE_URL=http://127.0.0.1:18080/v1\n`],
    [
      'k8s-secret',
      `type: Opaque\nstringData:\n  OPENAI_API_KEY: ${SECRET}\n  OPENAI_BASE_URL: http://127.0.0.1:18080/v1\n`,
    ],
    ['json', `"secret": "${SECRET}"`],
  ] as const) {
    it(`prints it as ${form}`, async () => {
      const plane = await making({ name: 'My web!' })
      const args = ['keys', 'create', '--name', 'My web!', '--output', form]
      expect((await atTerminal(args, { env: plane.env })).stdout).toContain(expected)
    })
  }

  it.each([
    ['http://0.0.0.0:18080', 'http://127.0.0.1:18080/v1'],
    ['http://[::]:18080', 'http://[::1]:18080/v1'],
    ['http://10.0.0.5:80', 'http://10.0.0.5/v1'],
  ])('takes a server that listens at %s to be at %s', async (told, shown) => {
    const plane = await making({}, { body: { data_url: told } })
    const args = ['keys', 'create', '--name', 'web', '--output', 'env']
    expect((await atTerminal(args, plane)).stdout).toContain(`\nOPENAI_BASE_URL=${shown}\n`)
  })

  it.each([
    ['does not say', { body: { data_url: null } }],
    ['is of another version', { body: {} }],
    ['fails', refusal(500, 'internal_error', 'Tollgate failed')],
  ])('names no base URL where the server %s', async (_, health) => {
    const plane = await making({}, health)
    const args = ['keys', 'create', '--name', 'web', '--output', 'env']
    const ran = await atTerminal(args, plane)
    expect([ran.code, ran.stdout]).toEqual([0, `OPENAI_API_KEY=${SECRET}\n`])
    expect(ran.stderr).toContain('the address of the data plane followed by /v1')
  })

  it('does not lose the key to a field that is not there', async () => {
    const plane = await making()
    const ran = await atTerminal(['keys', 'create', '--name', 'web', '--json=scret'], plane)
    expect(ran.code).toBe(2)
    expect(ran.stdout).toContain(SECRET)
  })

  it('puts it into a file for its owner alone, and not on the screen', async () => {
    const plane = await making()
    const path = join(directory(), 'secret.yaml')
    const args = ['keys', 'create', '--name', 'My web!', '--output', 'k8s-secret', '--to', path]
    const ran = await atTerminal(args, plane)
    expect([ran.code, ran.stdout]).toEqual([0, 'key_1\n'])
    expect(ran.stderr).not.toContain(SECRET)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(parse(readFileSync(path, 'utf8'))).toMatchObject({
      kind: 'Secret',
      metadata: { name: expect.stringMatching(/^tollgate-[a-z0-9-]+$/) },
      stringData: { OPENAI_API_KEY: SECRET },
    })
  })

  it('makes no key for a file that is there already, and no file for a key that is refused', async () => {
    const plane = await making()
    const path = join(directory({ 'old.env': 'KEEP=1' }), 'old.env')
    const args = ['keys', 'create', '--name', 'web', '--output', 'env', '--to']
    expect((await atTerminal([...args, path], plane)).code).toBe(1)
    expect([readFileSync(path, 'utf8'), plane.asked]).toEqual(['KEEP=1', []])

    const refusing = await controlPlane({ '*': refusal(400, 'invalid_value', 'No') })
    const fresh = join(directory(), 'new.env')
    expect((await atTerminal([...args, fresh], refusing)).code).toBe(2)
    expect(existsSync(fresh)).toBe(false)
  })

  it('sends nothing in a dry run', async () => {
    const plane = await making()
    const args = ['keys', 'create', '--name', 'web', '--rpm', '5', '--dry-run']
    const ran = await atTerminal(args, plane)
    expect(ran.stdout).toBe(
      'would POST /admin/v1/keys {"name":"web","limits":{"requests_per_minute":5}}\n',
    )
    expect(plane.asked).toEqual([])
  })
})

describe('a key', () => {
  const old = key({ id: 'key_old', successor_id: 'key_new', prefix: 'sk-tg-live-OldOldOl' })
  const current = key({ id: 'key_new' })
  const expired = key({ id: 'key_past', status: 'expired', prefix: 'sk-tg-live-PastPast' })
  const dead = key({ id: 'key_dead', status: 'revoked', prefix: 'sk-tg-live-DeadDead' })

  for (const [what, reference, keys, found] of [
    ['its name', 'web', [current], 'key_new'],
    ['its name, though one before was rolled', 'web', [current, old], 'key_new'],
    ['its name, though another is revoked', 'web', [dead, current], 'key_new'],
    ['its name, though another expired', 'web', [expired, current], 'key_new'],
    ['its name, though it is revoked', 'web', [dead], 'key_dead'],
    ['its name, though its successor is revoked', 'web', [dead, old], 'key_old'],
    ['its public part', 'sk-tg-live-OldOldOl', [current, old], 'key_old'],
    ['itself', 'sk-tg-live-OldOldOlZZZZZZZZZZZZZZ-012345', [current, old], 'key_old'],
    ['a name that looks like an id', 'key_web', [key({ id: 'key_9', name: 'key_web' })], 'key_9'],
  ] as const) {
    it(`is found by ${what}`, async () => {
      const plane = await controlPlane({ 'GET /admin/v1/keys': listOf(keys) })
      const ran = await atTerminal(['keys', 'get', reference, '--json=id'], plane)
      expect(JSON.parse(ran.stdout)).toEqual({ id: found })
    })
  }

  it('is asked for by its id alone', async () => {
    const plane = await controlPlane({ 'GET /admin/v1/keys/key_1': { body: key() } })
    const ran = await atTerminal(['keys', 'get', 'key_1'], plane)
    expect(ran.stdout).toContain('web')
    expect(plane.asked).toHaveLength(1)
  })

  it('is found on a later page', async () => {
    const plane = await controlPlane({
      'GET /admin/v1/keys?limit=100': listOf([key({ id: 'key_a', name: 'a' })], true),
      'GET /admin/v1/keys?limit=100&after=key_a': listOf([key({ id: 'key_b', name: 'b' })]),
    })
    const ran = await atTerminal(['keys', 'get', 'b', '--json=id'], plane)
    expect(JSON.parse(ran.stdout)).toEqual({ id: 'key_b' })
  })

  it('must be named by its id when two have the name', async () => {
    const keys = listOf([key({ id: 'key_a' }), key({ id: 'key_b' })])
    const plane = await controlPlane({ 'GET /admin/v1/keys': keys })
    const ran = await atTerminal(['keys', 'disable', 'web'], plane)
    expect(ran.code).toBe(5)
    expect(ran.stderr).toContain('key_a, key_b')
  })

  it('that is mistyped is answered with the nearest name', async () => {
    const plane = await controlPlane({ 'GET /admin/v1/keys': listOf([key()]) })
    const ran = await atTerminal(['keys', 'get', 'wbe'], plane)
    expect(ran).toMatchObject({ code: 3, stderr: expect.stringContaining('did you mean web?') })
  })
})

describe('keys update', () => {
  for (const [what, options, limits] of [
    [
      'keeps the limits it does not name',
      ['--tpm', '9'],
      {
        requests_per_minute: 60,
        tokens_per_minute: 9,
        concurrency: 5,
        budgets: [
          { window: 'month', limit: '10' },
          { window: 'day', limit: '0.5' },
        ],
      },
    ],
    [
      'takes away a limit, and replaces the budget of one window',
      ['--rpm', 'none', '--budget', '20/month'],
      {
        concurrency: 5,
        budgets: [
          { window: 'month', limit: '20' },
          { window: 'day', limit: '0.5' },
        ],
      },
    ],
    ['takes away every budget', ['--budget', 'none', '--rpm', 'none', '--concurrency', 'none'], {}],
  ] as const) {
    it(what, async () => {
      const plane = await with1(LIMITED)
      await atTerminal(['keys', 'update', 'web', ...options], plane)
      expect(plane.asked.at(-1)).toMatchObject({ method: 'PATCH', path: '/admin/v1/keys/key_1' })
      expect(plane.asked.at(-1)?.body).toEqual({ limits })
    })
  }

  it('leaves limits alone when none is named', async () => {
    const plane = await with1(LIMITED)
    const args = [
      'keys',
      'update',
      'web',
      '--expires',
      'never',
      '--no-strict',
      '--addresses',
      'any',
    ]
    await atTerminal(args, plane)
    expect(plane.asked.at(-1)?.body).toEqual({ expires_at: null, strict: false, addresses: [] })
  })

  it('wants something to change', async () => {
    const plane = await with1(key())
    const ran = await atTerminal(['keys', 'update', 'web'], plane)
    expect(ran).toMatchObject({ code: 2, stderr: expect.stringContaining('Nothing to change') })
  })
})

describe('keys roll', () => {
  it('prints the successor and says how long the old key works', async () => {
    const expires_at = '2026-11-02T10:00:00.000Z'
    const plane = await controlPlane({
      'GET /admin/v1/keys': listOf([key()]),
      'POST /admin/v1/keys/key_1/roll': { status: 201, body: { ...key(), secret: SECRET } },
      'GET /admin/v1/keys/key_1': { body: key({ expires_at }) },
    })
    const ran = await atTerminal(['keys', 'roll', 'web', '--overlap', '2h'], plane)
    expect(ran.stdout).toBe(`${SECRET}\n`)
    expect(ran.stderr).toContain(`works until ${expires_at}`)
    expect(plane.asked[1]?.body).toEqual({ overlap_seconds: 7200 })
  })
})

describe('keys revoke', () => {
  it('is refused without --yes where nobody can be asked, before anything is sent', async () => {
    const plane = await with1(key())
    const ran = await tollgate(['keys', 'revoke', 'web'], { env: plane.env })
    expect(ran.code).toBe(2)
    expect(ran.stderr).toContain('tollgate keys revoke web --yes')
    expect(plane.asked).toEqual([])
  })

  for (const [what, typed, code, revoked] of [
    ['revokes once the name was typed', 'web\n', 0, true],
    ['stops at another name', 'yes\n', 1, false],
    ['stops at the end of the input', '', 1, false],
  ] as const) {
    it(what, async () => {
      const plane = await with1(key())
      const stdin = Object.assign(Readable.from([typed]), { isTTY: true })
      const ran = await atTerminal(['keys', 'revoke', 'web'], { ...plane, stdin })
      expect(ran.stderr).toContain('had 12 requests in the last 24 hours')
      expect(ran.code).toBe(code)
      expect(plane.asked.some(({ path }) => path.endsWith('/revoke'))).toBe(revoked)
    })
  }

  it('tells of the key it replaced, when that still works', async () => {
    const old = key({ id: 'key_0', successor_id: 'key_1', expires_at: '2999-01-01T00:00:00.000Z' })
    const plane = await with1(key(), old)
    const ran = await atTerminal(['keys', 'revoke', 'web', '--yes'], plane)
    expect(ran.stderr).toContain('key_0, still works until 2999-01-01')
  })

  it('says why a revoked key cannot come back', async () => {
    const plane = await controlPlane({
      'GET /admin/v1/keys': listOf([key({ status: 'revoked' })]),
      'POST /admin/v1/keys/key_1/enable': refusal(409, 'conflict', 'The key is revoked, for good'),
    })
    const ran = await atTerminal(['keys', 'enable', 'web'], plane)
    expect(ran).toMatchObject({ code: 5, stderr: 'error: The key is revoked, for good\n' })
  })
})

function making(
  changes: Partial<KeyView> = {},
  health: Reply = { body: { data_url: 'http://127.0.0.1:18080' } },
): Promise<ControlPlane> {
  const made = { status: 201, body: { ...key(changes), secret: SECRET } }
  return controlPlane({ 'POST /admin/v1/keys': made, 'GET /admin/v1/health': health })
}

/** A control plane whose first key can be changed. */
function with1(first: KeyView, ...others: readonly KeyView[]): Promise<ControlPlane> {
  return controlPlane({
    'GET /admin/v1/keys': listOf([first, ...others]),
    'PATCH /admin/v1/keys/key_1': { body: first },
    'POST /admin/v1/keys/key_1/revoke': { body: { ...first, status: 'revoked' } },
    'GET /admin/v1/costs/report': { body: { total: { requests: 12 } } },
  })
}

describe('keys revoke of many', () => {
  const hit = (id: string) => ({ ...key({ id }), requests_last_hour: 3 })
  const revocation = (count: number, ids: readonly string[]): Reply => ({
    body: { count, used_last_hour: ids.length, data: ids.map(hit), has_more: false },
  })
  const plane = () =>
    controlPlane({
      'POST /admin/v1/keys/revoke': revocation(2, ['key_1', 'key_2']),
    })
  const typing = (words: string) => Object.assign(Readable.from([words]), { isTTY: true as const })

  it('shows what is hit, and revokes once the number is typed', async () => {
    const { env, asked } = await plane()
    const ran = await atTerminal(['keys', 'revoke', '--prefix', `${SECRET}`], {
      env,
      stdin: typing('2\n') as never,
    })
    expect([ran.code, ran.stderr]).toEqual([0, expect.stringContaining('2 were used in the last')])
    expect(ran.stdout).toContain('key_2')
    expect(asked.map(({ body }) => body)).toEqual([
      { prefix: 'sk-tg-live-AbCdEfGh', dry_run: true },
      { prefix: 'sk-tg-live-AbCdEfGh', expected: 2 },
    ])
  })

  it('revokes nothing where another number is typed, or nobody can be asked', async () => {
    const { env, asked } = await plane()
    const wrong = { env, stdin: typing('yes\n') as never }
    expect((await atTerminal(['keys', 'revoke', '--app', 'web'], wrong)).code).toBe(1)
    expect((await tollgate(['keys', 'revoke', '--app', 'web'], { env })).code).toBe(2)
    const dry = ['keys', 'revoke', '--app', 'web', '--dry-run']
    expect((await tollgate(dry, { env })).stdout).toContain('key_1')
    expect(asked.filter(({ body }) => !Object.hasOwn(body as object, 'dry_run'))).toEqual([])
    expect((await tollgate(['keys', 'revoke', '--app', 'web', '--yes'], { env })).code).toBe(0)
    expect((await tollgate(['keys', 'revoke'], { env })).code).toBe(2)
  })
})

describe('keys in use', () => {
  const SEEN = { first_seen_at: '2026-11-01T10:00:00Z', last_seen_at: '2026-11-02T10:00:00Z' }

  it('are told by address and agent', async () => {
    const { env } = await controlPlane({
      'GET /admin/v1/keys/key_1': { body: key() },
      'GET /admin/v1/keys/key_1/usage': {
        body: {
          key_id: 'key_1',
          requests: 7,
          last_used_at: SEEN.last_seen_at,
          addresses: [{ value: '10.0.0.7', requests: 7, ...SEEN }],
          user_agents: [{ value: 'app/1', requests: 7, ...SEEN }],
          refused: [],
        },
      },
    })
    const ran = await tollgate(['keys', 'usage', 'key_1'], { env })
    expect(ran.stdout.split('\n').slice(1, 3)).toEqual([
      `address\t10.0.0.7\t7\t${SEEN.first_seen_at}\t${SEEN.last_seen_at}`,
      `agent\tapp/1\t7\t${SEEN.first_seen_at}\t${SEEN.last_seen_at}`,
    ])
  })

  it('are listed by what is the matter with them, with the fix', async () => {
    const findings = [{ type: 'unused', message: 'was never used', fix: 'disable it' }]
    const { env, asked } = await controlPlane({
      'GET /admin/v1/keys': listOf([{ ...key(), findings }]),
    })
    const ran = await tollgate(['keys', 'inventory', '--filter', 'unused', '--days', '9'], { env })
    expect([ran.code, ran.stdout.split('\n')[1]]).toEqual([
      7,
      'key_1\tweb\tunused\twas never used\tdisable it',
    ])
    expect(asked[0]?.path).toContain('filter=unused&days=9')
  })

  it('are reported as leaked by stdin, not by arguments', async () => {
    const { env, asked } = await controlPlane({
      'POST /admin/v1/keys/leaks': { body: { data: [{ status: 'frozen', key_id: 'key_1' }] } },
    })
    const stdin = Readable.from([`${SECRET}\n`]) as never
    const ran = await atTerminal(['keys', 'report-leak'], { env, stdin })
    expect(asked[0]?.body).toEqual({ tokens: [{ token: SECRET }] })
    expect([ran.code, ran.stdout.includes(SECRET), ran.stdout.includes('frozen')]).toEqual([
      0,
      false,
      true,
    ])
  })
})
