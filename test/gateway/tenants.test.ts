import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { ask, newPerson, newTenant } from './people.ts'
import type { Person, Reply } from './people.ts'

let gateway: TestGateway
beforeAll(async () => {
  gateway = await openGateway()
})
afterAll(() => gateway.close())

describe('a tenant', () => {
  it('has a calendar, a label and an application of its own', async () => {
    const { status, body } = await gateway.admin('POST', '/admin/v1/tenants', {
      name: 'Zürich',
      time_zone: 'Europe/Zurich',
      currency: 'CHF',
      week_starts_on: 'sunday',
      month_starts_on: 15,
    })
    expect(status).toBe(201)
    expect(body).toMatchObject({ effective_time_zone: 'Europe/Zurich', month_starts_on: 15 })
    const path = `/admin/v1/applications?tenant=${encodeURIComponent('Zürich')}`
    const { body: list } = await gateway.admin('GET', path)
    expect(list.data.map(({ name }: { name: string }) => name)).toEqual(['default'])
    const changed = await gateway.admin('PATCH', `/admin/v1/tenants/${body.id}`, {
      ...body,
      time_zone: null,
    })
    expect(changed.body).toMatchObject({ time_zone: null, effective_time_zone: 'UTC' })
  })

  it.each([
    ['a zone that is none', { time_zone: 'Mars/Olympus' }, 'time_zone'],
    ['an offset', { time_zone: '+01:00' }, 'time_zone'],
    ['a month that starts on the 29th', { month_starts_on: 29 }, 'month_starts_on'],
    ['a day of no week', { week_starts_on: 'someday' }, 'week_starts_on'],
    ['a name like an id', { name: 'tenant_x' }, 'name'],
    ['a name of two lines', { name: 'a\nb' }, 'name'],
  ])('is refused with %s', async (_, wrong, param) => {
    const { status, body } = await gateway.admin('POST', '/admin/v1/tenants', {
      name: 'wrong',
      ...wrong,
    })
    expect([status, body.error.param]).toEqual([400, param])
  })

  it('keeps its name, archived or not', async () => {
    const id = await newTenant(gateway, 'kept')
    await gateway.admin('POST', `/admin/v1/tenants/${id}/archive`)
    const { status } = await gateway.admin('POST', '/admin/v1/tenants', { name: 'kept' })
    expect(status).toBe(409)
    const { body } = await gateway.admin('GET', '/admin/v1/whoami?tenant=kept')
    expect(body.tenant).toMatchObject({ name: 'kept', status: 'archived' })
  })

  it('is changed by whoever has seen it as it is', async () => {
    const id = await newTenant(gateway, 'seen')
    const path = `/admin/v1/tenants/${id}`
    const { headers } = await ask(gateway, gateway.adminKey, 'GET', path)
    const etag = headers.get('etag') ?? ''
    const patch = (currency: string): Promise<Reply> =>
      ask(gateway, gateway.adminKey, 'PATCH', path, { currency }, { 'if-match': etag })
    expect((await patch('EUR')).status).toBe(200)
    expect((await patch('PLN')).body.error.code).toBe('stale_version')
  })

  it('that is the default one is not archived', async () => {
    const path = '/admin/v1/tenants/tenant_default/archive'
    expect((await gateway.admin('POST', path)).status).toBe(409)
  })
})

describe('what is archived', () => {
  it.each(['tenant', 'application'] as const)(
    'is refused at once, a %s with its streams, until it is restored',
    async (kind) => {
      const tenant = await newTenant(gateway, `stopped-${kind}`)
      const owner = await newPerson(gateway, tenant, 'owner')
      const key = await gateway.admin('POST', `/admin/v1/keys?tenant=${tenant}`, { name: 'k' })
      expect((await chat(key.body.secret)).status).toBe(200)
      const path =
        kind === 'tenant'
          ? `/admin/v1/tenants/${tenant}`
          : `/admin/v1/applications/${key.body.application_id}`
      const turn = (verb: string) => gateway.admin('POST', `${path}/${verb}?tenant=${tenant}`)

      const open = chat(key.body.secret, 'simulator/fault/latency-3000')
      await sleep(100)
      expect((await turn('archive')).status).toBe(200)
      expect((await open).text).toContain('revoked_api_key')
      expect((await chat(key.body.secret)).body.error.code).toBe('revoked_api_key')
      const { status } = await ask(gateway, owner.token, 'GET', '/admin/v1/whoami')
      expect(status).toBe(kind === 'tenant' ? 401 : 200)

      expect((await turn('restore')).status).toBe(200)
      expect((await chat(key.body.secret)).status).toBe(200)
    },
  )
})

describe('twin tenants', () => {
  const twins: { id: string; owner: Person; key: string; application: string; user: string }[] = []
  beforeAll(async () => {
    for (const name of ['left', 'right']) {
      const id = await newTenant(gateway, name)
      const owner = await newPerson(gateway, id, 'owner')
      const developer = await newPerson(gateway, id, 'developer')
      const key = await ask(gateway, owner.token, 'POST', '/admin/v1/keys', { name: 'canary' })
      await chat(key.body.secret)
      twins.push({
        id,
        owner,
        key: key.body.id,
        application: key.body.application_id,
        user: developer.id,
      })
    }
  })

  it.each([
    ['GET', '/admin/v1/tenants/', 'id', 'tenant'],
    ['PATCH', '/admin/v1/tenants/', 'id', 'tenant'],
    ['GET', '/admin/v1/keys/', 'key', 'key'],
    ['PATCH', '/admin/v1/keys/', 'key', 'key'],
    ['GET', '/admin/v1/applications/', 'application', 'app'],
    ['PATCH', '/admin/v1/applications/', 'application', 'app'],
    ['GET', '/admin/v1/users/', 'user', 'user'],
    ['PATCH', '/admin/v1/users/', 'user', 'user'],
  ] as const)('know nothing of each other: %s %s', async (method, path, which, kind) => {
    const { token } = twins[0]!.owner
    const foreign = twins[1]![which]
    const none = `${kind}_${'0'.repeat(18)}`
    const body = method === 'PATCH' ? { name: 'mine' } : undefined
    for (const suffix of SUFFIXES[method]?.[kind] ?? []) {
      const verb = suffix === '' ? method : suffix.endsWith('tokens') ? 'GET' : 'POST'
      const sent = verb === 'POST' ? {} : verb === method ? body : undefined
      const asked = (id: string) => ask(gateway, token, verb, path + id + suffix, sent)
      const [of, to] = [await asked(foreign), await asked(none)]
      expect(shownOf(of, foreign)).toEqual(shownOf(to, none))
      expect(of.status).toBe(404)
    }
  })

  it('see only their own in lists', async () => {
    const other = twins[1]!
    for (const path of ['keys', 'applications', 'users', 'tenants', 'limits', 'credentials']) {
      const { status, text } = await ask(gateway, twins[0]!.owner.token, 'GET', `/admin/v1/${path}`)
      expect(status).toBe(200)
      for (const id of [other.id, other.key, other.application, other.user]) {
        expect(text).not.toContain(id)
      }
    }
  })

  it('cannot be named in a body', async () => {
    const { token } = twins[0]!.owner
    const { application, user } = twins[1]!
    for (const [path, body] of [
      ['keys', { name: 'x', application_id: application }],
      ['keys', { name: 'x', owner_id: user }],
      ['applications', { name: 'x', owner_id: user }],
    ] as const) {
      const { status } = await ask(gateway, token, 'POST', `/admin/v1/${path}`, body)
      expect(status).toBe(400)
    }
  })

  it('have no costs in common', async () => {
    const report = (token: string) =>
      ask(gateway, token, 'GET', '/admin/v1/costs/report?group_by=key')
    const { body } = await report(twins[0]!.owner.token)
    expect(body.total.requests).toBe(1)
    expect(JSON.stringify(body)).not.toContain(twins[1]!.key)
    const { body: all } = await ask(
      gateway,
      gateway.adminKey,
      'GET',
      '/admin/v1/costs/report?group_by=tenant',
      undefined,
      { 'x-tollgate-tenant': '*' },
    )
    expect(all.rows.length).toBeGreaterThan(1)
  })

  it('do not stop being managed when their money is spent', async () => {
    const { id, owner } = twins[0]!
    const path = `/admin/v1/limits/tenant/${id}?tenant=${id}`
    const { status } = await gateway.admin('PUT', path, {
      budgets: [{ window: 'day', limit: '0.000000001' }],
    })
    expect(status).toBeLessThan(300)
    const key = await ask(gateway, owner.token, 'POST', '/admin/v1/keys', { name: 'late' })
    expect(key.status).toBe(201)
    expect((await chat(key.body.secret, 'simulator/chat')).status).not.toBe(200)
    expect((await ask(gateway, owner.token, 'GET', '/admin/v1/costs/report')).status).toBe(200)
    await gateway.admin('DELETE', path)
  })
})

const SUFFIXES: Record<string, Record<string, readonly string[]>> = {
  GET: {
    tenant: [''],
    key: ['', '/disable', '/enable', '/revoke', '/roll'],
    app: ['', '/archive', '/restore'],
    user: ['', '/tokens'],
  },
  PATCH: { tenant: [''], key: [''], app: [''], user: [''] },
}

/** All that is the same for one id as for another, but the request's own. */
function shownOf(reply: Reply, id: string): unknown {
  const headers = [...reply.headers].filter(([name]) => !['x-request-id', 'date'].includes(name))
  const text = reply.text
    .replaceAll(reply.headers.get('x-request-id') ?? '-', 'request')
    .replaceAll(id, '*'.repeat(id.length))
  return { status: reply.status, headers, text }
}

async function chat(secret: string, model = 'simulator/echo'): Promise<Reply> {
  const response = await fetch(`${gateway.dataUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      messages: [{ role: 'user', content: 'hello' }],
      ...(model.includes('fault') ? { stream: true } : {}),
    }),
  })
  const text = await response.text()
  const isJson = /json/.test(response.headers.get('content-type') ?? '')
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: isJson ? JSON.parse(text) : text,
  }
}
