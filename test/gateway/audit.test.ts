import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readShown } from '../../src/audit/chain.ts'
import { createVerifier } from '../../src/audit/verify.ts'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { ask, newPerson, newTenant } from './people.ts'

it('a change of the control plane writes its record, chained, append-only', async () => {
  const gateway = await openGateway({})
  const made = await gateway.admin('POST', '/admin/v1/keys', { name: 'web' })
  await gateway.admin('POST', `/admin/v1/keys/${made.body.id}/disable`)
  const database = new Database(`${gateway.dataDir}/tollgate.db`)
  const rows = database
    .prepare('select * from audit_records order by sequence')
    .all() as readonly Record<string, string>[]
  const contents = database.prepare('select * from audit_contents').all()
  expect(rows.map(({ resource_id, outcome }) => [resource_id, outcome])).toEqual([
    [made.body.id, 'ok'],
    [made.body.id, 'ok'],
  ])
  expect(rows[1]!.previous_hash).toBe(rows[0]!.hash)
  expect(JSON.stringify([rows, contents])).not.toContain(made.body.secret)
  for (const change of ['update audit_records set action = 1', 'delete from audit_records']) {
    expect(() => database.exec(change)).toThrow('append-only')
  }
  database.close()
  await gateway.close()
})

describe('the records', () => {
  let gateway: TestGateway
  const keys: string[] = []
  beforeAll(async () => {
    gateway = await openGateway({})
    for (const name of ['one', 'two', 'three']) {
      keys.push((await gateway.admin('POST', '/admin/v1/keys', { name })).body.id)
    }
    await gateway.admin('POST', `/admin/v1/keys/${keys[0]}/disable`)
    await gateway.admin('POST', `/admin/v1/keys/${keys[0]}/revoke`)
  })
  afterAll(() => gateway.close())

  const actionsOf = async (query = ''): Promise<readonly string[]> => {
    const { body } = await gateway.admin('GET', `/admin/v1/audit${query}`)
    return body.data.map(({ action }: { action: string }) => action)
  }

  it('come newest first, by page', async () => {
    expect(await actionsOf()).toEqual([
      'keys.revoke',
      'keys.disable',
      'keys.create',
      'keys.create',
      'keys.create',
    ])
    const first = await gateway.admin('GET', '/admin/v1/audit?limit=2')
    expect(first.body).toMatchObject({ has_more: true, last_id: 'audit_4' })
    expect(await actionsOf('?limit=2&after=audit_4')).toEqual(['keys.create', 'keys.create'])
    expect((await gateway.admin('GET', '/admin/v1/audit?after=x')).status).toBe(404)
  })

  it.each([
    ['action=keys.revoke', 1],
    ['action=keys.*', 5],
    ['action=key.*', 0],
    ['actor=admin', 5],
    ['actor=admin_key', 5],
    ['actor=nobody', 0],
    ['resource_type=key', 5],
    ['outcome=denied', 0],
    ['from=2020-01-01T00:00:00Z', 5],
    ['to=2020-01-01T00:00:00Z', 0],
  ])('are found by %s', async (query, count) => {
    expect(await actionsOf(`?${query}`)).toHaveLength(count)
  })

  it('are found by their object, each with before and after', async () => {
    const { body } = await gateway.admin('GET', `/admin/v1/audit?resource_id=${keys[0]}`)
    const [revoked, disabled, made] = body.data
    expect(made).toMatchObject({ before: null, after: { status: 'active', name: 'one' } })
    expect(disabled.before).toEqual(made.after)
    expect(revoked).toMatchObject({ before: disabled.after, after: { status: 'revoked' } })
    const one = await gateway.admin('GET', `/admin/v1/audit/${revoked.id}`)
    expect(one.body).toEqual(revoked)
    expect((await gateway.admin('GET', '/admin/v1/audit/audit_99')).status).toBe(404)
  })

  it('are exported as the chain, which anybody can verify', async () => {
    const { body } = await gateway.admin('GET', '/admin/v1/audit/export?limit=3')
    const more = await gateway.admin('GET', '/admin/v1/audit/export?after=audit_3')
    const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '')
    expect([lines(body).length, lines(more.body).length]).toEqual([3, 2])
    const verifier = createVerifier([])
    for (const line of [...lines(body), ...lines(more.body)]) {
      const { record, hash, content } = readShown(JSON.parse(line))!
      verifier.add(record, hash, content)
    }
    expect(verifier.end()).toMatchObject({ ok: true, count: 5 })
    const verified = await gateway.admin('GET', '/admin/v1/audit/verify')
    expect(verified.body).toMatchObject({ ok: true, count: 5, problem: null })
  })

  it('are seen by the tenant they are of alone', async () => {
    const tenant = await newTenant(gateway, 'elsewhere')
    const auditor = await newPerson(gateway, tenant, 'auditor')
    const { body } = await ask(gateway, auditor.token, 'GET', '/admin/v1/audit')
    expect(body.data.map(({ action }: { action: string }) => action)).toEqual([
      'tokens.create',
      'users.create',
      'tenants.create',
    ])
    const seen = await gateway.admin('GET', `/admin/v1/audit?tenant=${tenant}`)
    expect(seen.body.data).toEqual(body.data)
  })

  it('keep their chain when content is erased', async () => {
    const erased = await gateway.admin('POST', '/admin/v1/audit/erase', {
      resource_type: 'key',
      resource_id: keys[1],
    })
    expect(erased.body).toEqual({ object: 'audit_erasure', erased: 1 })
    const { body } = await gateway.admin('GET', `/admin/v1/audit?resource_id=${keys[1]}`)
    expect(body.data).toMatchObject([{ action: 'audit.erase' }, { after: null, before: null }])
    const verified = await gateway.admin('GET', '/admin/v1/audit/verify')
    expect(verified.body).toMatchObject({ ok: true, erased: 1, problem: null })
    const database = new Database(`${gateway.dataDir}/tollgate.db`)
    database.exec('delete from audit_contents where sequence = 3')
    database.close()
    const { body: broken } = await gateway.admin('GET', '/admin/v1/audit/verify')
    expect(broken).toMatchObject({ ok: false, problem: { id: 'audit_3' } })
    const told = async () =>
      (await gateway.admin('GET', '/admin/v1/alerts/audit.broken/events')).body.data.length
    await expect.poll(told, { timeout: 3000 }).toBe(1)
  })
})

describe('who is refused', () => {
  let gateway: TestGateway
  let tenant: string
  beforeAll(async () => {
    gateway = await openGateway({})
    tenant = await newTenant(gateway, 'here')
  })
  afterAll(() => gateway.close())

  const newest = async () =>
    (await gateway.admin('GET', `/admin/v1/audit?tenant=${tenant}`)).body.data[0]

  it('stands in the audit, by a role, a token that ended or another tenant', async () => {
    const viewer = await newPerson(gateway, tenant, 'viewer')
    const other = await newTenant(gateway, 'other')
    expect((await ask(gateway, viewer.token, 'GET', '/admin/v1/webhooks')).status).toBe(403)
    expect(await newest()).toMatchObject({
      actor: { type: 'user', id: viewer.id, name: 'viewer' },
      action: 'webhooks.read',
      resource: { type: 'webhook', id: '' },
      outcome: 'denied',
      error_code: 'permission_denied',
      address: '127.0.0.1',
    })
    await ask(gateway, viewer.token, 'POST', '/admin/v1/keys/key_1/revoke')
    expect(await newest()).toMatchObject({
      action: 'keys.revoke',
      resource: { type: 'key', id: 'key_1' },
      outcome: 'denied',
    })
    await ask(gateway, viewer.token, 'GET', `/admin/v1/keys?tenant=${other}`)
    expect(await newest()).toMatchObject({ outcome: 'denied', error_code: 'not_found' })
    const path = `/admin/v1/users/${viewer.id}/tokens/${viewer.tokenId}/revoke?tenant=${tenant}`
    expect((await gateway.admin('POST', path)).status).toBe(200)
    expect((await ask(gateway, viewer.token, 'GET', '/admin/v1/keys')).status).toBe(401)
    expect(await newest()).toMatchObject({ outcome: 'denied', error_code: 'revoked_api_key' })
  })

  it('stands in it for a change that failed, once, and for reading nothing', async () => {
    const path = `/admin/v1/keys/key_none/revoke?tenant=${tenant}`
    expect((await gateway.admin('POST', path)).status).toBe(404)
    const failed = await newest()
    expect(failed).toMatchObject({
      actor: { type: 'admin_key' },
      action: 'keys.revoke',
      resource: { type: 'key', id: 'key_none' },
      outcome: 'failed',
      error_code: 'not_found',
    })
    await gateway.admin('POST', `/admin/v1/keys/key_none/revoke?tenant=${tenant}&dry_run=true`)
    await gateway.admin('GET', `/admin/v1/keys/key_none?tenant=${tenant}`)
    expect(await newest()).toEqual(failed)
    const verified = await gateway.admin('GET', `/admin/v1/audit/verify?tenant=${tenant}`)
    expect(verified.body).toMatchObject({ ok: true })
  })

  it('is only counted where nobody knows them', async () => {
    const dataDir = `${gateway.dataDir}/unknown`
    const first = await openGateway({}, { dataDir })
    for (let round = 0; round < 30; round += 1) {
      expect((await ask(first, `wrong-${round}`, 'POST', '/admin/v1/keys', {})).status).toBe(401)
    }
    await first.close()
    const second = await openGateway({}, { dataDir })
    const { body } = await second.admin('GET', '/admin/v1/audit')
    expect(body.data).toMatchObject([
      { action: 'callers.unknown', outcome: 'denied', after: { attempts: 30 } },
    ])
    expect(JSON.stringify(body)).not.toContain('wrong-')
    await second.close()
  })
})

describe('what comes from afar', () => {
  it('forges no line, however it is written', async () => {
    const gateway = await openGateway({})
    const evil = 'a\r\n{"x":1}\u001b[2K\u202e\u2028\u0000"\\ \u{e0041}'
    await ask(
      gateway,
      gateway.adminKey,
      'POST',
      '/admin/v1/keys',
      { name: 'web', tags: [] },
      {
        'user-agent': 'evil\u009b31m"}\\n{"object":"audit_record"',
      },
    )
    // As a name it may be refused or taken: in neither case does it steer anything.
    for (const [path, name] of [
      ['/admin/v1/keys', 'name'],
      ['/admin/v1/tenants', 'name'],
      ['/admin/v1/applications', 'description'],
    ] as const) {
      await gateway.admin('POST', path, { name: 'thing', [name]: evil })
    }
    await gateway.admin('POST', `/admin/v1/keys/${encodeURIComponent(evil)}/revoke`)
    const { body: text } = await gateway.admin('GET', '/admin/v1/audit/export')
    const lines = (text as string).split('\n').slice(0, -1)
    expect(text).not.toMatch(/[^\n\P{Cc}]|[\p{Cf}\p{Zl}\p{Zp}]/u)
    const { body } = await gateway.admin('GET', '/admin/v1/audit/verify')
    expect(body).toMatchObject({ ok: true, count: lines.length })
    expect(lines.every((line) => readShown(JSON.parse(line)) !== undefined)).toBe(true)
    await gateway.close()
  })
})

describe('a change that cannot be recorded', () => {
  it('is refused, and nothing of it is there', async () => {
    const gateway = await openGateway({})
    const made = await gateway.admin('POST', '/admin/v1/keys', { name: 'before' })
    const database = new Database(`${gateway.dataDir}/tollgate.db`)
    database.exec(
      `create trigger full before insert on audit_records begin select raise(abort, 'disk full'); end`,
    )
    const before = database.prepare('select * from audit_heads').all()
    expect((await gateway.admin('POST', '/admin/v1/keys', { name: 'after' })).status).toBe(500)
    const path = `/admin/v1/keys/${made.body.id}`
    expect((await gateway.admin('POST', `${path}/revoke`)).status).toBe(500)
    expect((await gateway.admin('GET', path)).body.status).toBe('active')
    const { body } = await gateway.admin('GET', '/admin/v1/keys')
    expect(body.data.some(({ name }: { name: string }) => name === 'after')).toBe(false)
    expect(database.prepare('select * from audit_heads').all()).toEqual(before)
    database.exec('drop trigger full')
    database.close()
    expect((await gateway.admin('POST', `${path}/revoke`)).status).toBe(200)
    expect((await gateway.admin('GET', '/admin/v1/audit/verify')).body.ok).toBe(true)
    await gateway.close()
  })
})

describe('signed states of the chains', () => {
  it('tell of a tail that was cut with its head, and of a state that was forged', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'tollgate-audit-'))
    const file = join(dataDir, 'audit.checkpoints')
    const read = (): readonly string[] => readFileSync(file, 'utf8').trim().split('\n')
    const first = await openGateway({}, { dataDir })
    for (const name of ['a', 'b']) await first.admin('POST', '/admin/v1/keys', { name })
    await first.close()
    expect(read()).toHaveLength(1)
    expect(statSync(file).mode & 0o777).toBe(0o600)

    const database = new Database(join(dataDir, 'tollgate.db'))
    database.exec(`drop trigger audit_records_no_delete;
      delete from audit_contents where sequence = 2; delete from audit_records where sequence = 2;
      update audit_heads set count = 1, hash = (select hash from audit_records)`)
    database.close()
    const second = await openGateway({}, { dataDir })
    const cut = await second.admin('GET', '/admin/v1/audit/verify')
    expect(cut.body).toMatchObject({
      ok: false,
      count: 1,
      checkpoints: 1,
      problem: { id: 'audit_2', reason: 'truncated' },
    })
    writeFileSync(file, read().join('\n').replace('"count":2', '"count":1'))
    const forged = await second.admin('GET', '/admin/v1/audit/verify')
    expect(forged.body).toMatchObject({ ok: false, problem: { reason: 'forged_checkpoint' } })
    await second.close()
    rmSync(dataDir, { recursive: true, force: true })
  })
})
