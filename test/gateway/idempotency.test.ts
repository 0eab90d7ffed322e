import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'

const dataDir = mkdtempSync(join(tmpdir(), 'tollgate-'))
let gateway: TestGateway

beforeAll(async () => {
  gateway = await openGateway({}, { dataDir })
})
afterAll(async () => {
  await gateway.close()
  rmSync(dataDir, { recursive: true, force: true })
})

interface Answer {
  readonly status: number
  readonly headers: Headers
  // oxlint-disable-next-line typescript/no-explicit-any -- tests say what they expect of it
  readonly body: any
}

async function post(key: string, body: object, path = '/admin/v1/keys'): Promise<Answer> {
  const response = await fetch(gateway.adminUrl + path, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${gateway.adminKey}`,
      'content-type': 'application/json',
      ...(key !== '' && { 'idempotency-key': key }),
    },
    body: JSON.stringify(body),
  })
  return { status: response.status, headers: response.headers, body: await response.json() }
}

const keysCalled = async (name: string): Promise<number> => {
  const { body } = await gateway.admin('GET', '/admin/v1/keys?limit=100')
  return body.data.filter((key: { name: string }) => key.name === name).length
}

describe('a call that is repeated with its Idempotency-Key', () => {
  it('is answered as the first time, with the secret, and has no second effect', async () => {
    const first = await post('one', { name: 'once' })
    const second = await post('one', { name: 'once' })
    expect(first.status).toBe(201)
    expect(first.headers.get('idempotent-replayed')).toBeNull()
    expect(second).toMatchObject({ status: 201, body: first.body })
    expect(second.headers.get('idempotent-replayed')).toBe('true')
    expect(await keysCalled('once')).toBe(1)
  })

  it('has one effect, however many come at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 64 }, () => post('race', { name: 'race' })),
    )
    const counts = Map.groupBy(answers, ({ status }) => status)
    expect([...counts.keys()].every((status) => status === 201 || status === 409)).toBe(true)
    expect(counts.get(201)!.length).toBeGreaterThan(0)
    for (const { headers } of counts.get(409) ?? []) {
      expect(Number(headers.get('retry-after-ms'))).toBeGreaterThan(0)
    }
    expect(await keysCalled('race')).toBe(1)
  })

  it('is refused where it asks for something else', async () => {
    await post('other', { name: 'this' })
    const other = await post('other', { name: 'that' })
    expect(other).toMatchObject({
      status: 422,
      body: { error: { code: 'idempotency_key_reused' } },
    })
    const elsewhere = await post('other', { name: 'this' }, '/admin/v1/tenants')
    expect(elsewhere.status).toBe(422)
    expect(await keysCalled('that')).toBe(0)
  })

  it('may come again after a failure, of which nothing came', async () => {
    expect((await post('failing', { name: '' })).status).toBe(400)
    expect((await post('failing', { name: 'mended' })).status).toBe(201)
  })

  it('has a key of 1 to 255 printable characters', async () => {
    expect((await post('x'.repeat(255), { name: 'long' })).status).toBe(201)
    expect(await post('x'.repeat(256), { name: 'longer' })).toMatchObject({
      status: 400,
      body: { error: { param: 'Idempotency-Key' } },
    })
  })

  it('is remembered over a restart, and its secret is nowhere on the disk', async () => {
    const first = await post('kept', { name: 'kept' })
    await gateway.close()
    for (const name of readdirSync(dataDir)) {
      expect(readFileSync(join(dataDir, name)).includes(first.body.secret), name).toBe(false)
    }
    gateway = await openGateway({}, { dataDir })
    expect(await post('kept', { name: 'kept' })).toMatchObject({ status: 201, body: first.body })
    expect(await keysCalled('kept')).toBe(1)
  })
})

describe('a dry run', () => {
  it('is checked and answered like the change, which is not made', async () => {
    const tried = await post('', { name: 'tried' }, '/admin/v1/keys?dry_run=true')
    expect(tried).toMatchObject({ status: 201, body: { name: 'tried', secret: '' } })
    expect(tried.headers.get('x-tollgate-dry-run')).toBe('true')
    expect(await keysCalled('tried')).toBe(0)
    expect((await post('', { name: '' }, '/admin/v1/keys?dry_run=true')).status).toBe(400)
  })

  it('cuts nothing off', async () => {
    const made = await post('', { name: 'safe' })
    const revoke = `/admin/v1/keys/${made.body.id}/revoke?dry_run=true`
    expect(await gateway.admin('POST', revoke)).toMatchObject({ body: { status: 'revoked' } })
    const models = await fetch(`${gateway.dataUrl}/v1/models`, {
      headers: { authorization: `Bearer ${made.body.secret}` },
    })
    expect(models.status).toBe(200)
    const { body } = await gateway.admin('GET', `/admin/v1/keys/${made.body.id}`)
    expect(body.status).toBe('active')
  })

  it('is asked for by true or false', async () => {
    expect((await post('', { name: 'x' }, '/admin/v1/keys?dry_run=maybe')).status).toBe(400)
    expect((await gateway.admin('GET', '/admin/v1/keys?dry_run=true')).status).toBe(400)
  })
})
