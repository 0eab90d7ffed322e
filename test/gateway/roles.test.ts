import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PERMISSIONS } from '../../src/control/resource.ts'
import { ROLES } from '../../src/control/roles.ts'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { ask, newPerson, newTenant } from './people.ts'
import type { Person } from './people.ts'

const EVERYONE = 'owner admin lead author developer viewer auditor'
const READERS = 'owner admin lead viewer auditor'
const LEADS = 'owner admin lead'
const ADMINS = 'owner admin'
const PLATFORM = ''

/** Every route, and the roles that may use it, if only for what is their own. */
const ROUTES: Readonly<Record<string, string>> = {
  'GET /admin/v1/whoami': EVERYONE,
  'GET /admin/v1/roles': EVERYONE,
  'GET /admin/v1/openapi.json': EVERYONE,
  'GET /admin/v1/tenants': EVERYONE,
  'POST /admin/v1/tenants': PLATFORM,
  'GET /admin/v1/tenants/{id}': EVERYONE,
  'PATCH /admin/v1/tenants/{id}': ADMINS,
  'POST /admin/v1/tenants/{id}/archive': PLATFORM,
  'POST /admin/v1/tenants/{id}/restore': PLATFORM,
  'GET /admin/v1/applications': EVERYONE,
  'POST /admin/v1/applications': LEADS,
  'GET /admin/v1/applications/{id}': EVERYONE,
  'PATCH /admin/v1/applications/{id}': LEADS,
  'POST /admin/v1/applications/{id}/archive': LEADS,
  'POST /admin/v1/applications/{id}/restore': LEADS,
  'GET /admin/v1/users': 'owner admin lead auditor',
  'POST /admin/v1/users': ADMINS,
  'GET /admin/v1/users/{id}': 'owner admin lead auditor',
  'PATCH /admin/v1/users/{id}': ADMINS,
  'GET /admin/v1/users/{id}/tokens': EVERYONE,
  'POST /admin/v1/users/{id}/tokens': EVERYONE,
  'GET /admin/v1/users/{id}/tokens/{token}': EVERYONE,
  'POST /admin/v1/users/{id}/tokens/{token}/revoke': EVERYONE,
  'GET /admin/v1/keys': 'owner admin lead developer viewer auditor',
  'POST /admin/v1/keys': 'owner admin lead developer',
  'POST /admin/v1/keys/revoke': LEADS,
  'POST /admin/v1/keys/leaks': LEADS,
  'GET /admin/v1/keys/{id}': 'owner admin lead developer viewer auditor',
  'PATCH /admin/v1/keys/{id}': 'owner admin lead developer',
  'GET /admin/v1/keys/{id}/usage': 'owner admin lead developer viewer auditor',
  'POST /admin/v1/keys/{id}/disable': 'owner admin lead developer',
  'POST /admin/v1/keys/{id}/enable': 'owner admin lead developer',
  'POST /admin/v1/keys/{id}/revoke': 'owner admin lead developer',
  'POST /admin/v1/keys/{id}/roll': 'owner admin lead developer',
  'GET /admin/v1/providers': PLATFORM,
  'POST /admin/v1/providers/{name}/test': PLATFORM,
  'GET /admin/v1/models': EVERYONE,
  'GET /admin/v1/limits': READERS,
  'GET /admin/v1/limits/standing': READERS,
  'GET /admin/v1/limits/{kind}/{subject}': READERS,
  'PUT /admin/v1/limits/{kind}/{subject}': LEADS,
  'DELETE /admin/v1/limits/{kind}/{subject}': LEADS,
  'GET /admin/v1/prices': EVERYONE,
  'POST /admin/v1/prices': PLATFORM,
  'GET /admin/v1/prices/effective': EVERYONE,
  'GET /admin/v1/prices/history': EVERYONE,
  'GET /admin/v1/prices/version': EVERYONE,
  'GET /admin/v1/prices/policy': EVERYONE,
  'PUT /admin/v1/prices/policy': PLATFORM,
  'POST /admin/v1/prices/import': PLATFORM,
  'GET /admin/v1/prices/{id}': EVERYONE,
  'POST /admin/v1/prices/{id}/end': PLATFORM,
  'POST /admin/v1/costs/reprice': PLATFORM,
  'GET /admin/v1/costs/reprice': PLATFORM,
  'GET /admin/v1/costs/reprice/{id}': PLATFORM,
  'GET /admin/v1/credentials': 'owner admin auditor',
  'PUT /admin/v1/providers/{name}/credential': ADMINS,
  'DELETE /admin/v1/providers/{name}/credential': ADMINS,
  'POST /admin/v1/credentials/rekey': ADMINS,
  'GET /admin/v1/costs/report': EVERYONE,
  'GET /admin/v1/costs/explain': READERS,
  'GET /admin/v1/costs/forecast': READERS,
  'GET /admin/v1/costs/statements/{month}': READERS,
  'POST /admin/v1/costs/reconcile': READERS,
  'GET /v1/organization/costs': EVERYONE,
  'GET /v1/organization/usage/completions': EVERYONE,
  'GET /v1/organization/usage/embeddings': EVERYONE,
  'GET /v1/organization/usage/moderations': EVERYONE,
  'GET /v1/organization/usage/images': EVERYONE,
  'GET /v1/organization/usage/web_search_calls': EVERYONE,
  'GET /v1/organization/usage/audio_speeches': EVERYONE,
  'GET /v1/organization/usage/audio_transcriptions': EVERYONE,
  'GET /v1/organization/usage/vector_stores': EVERYONE,
  'GET /v1/organization/usage/code_interpreter_sessions': EVERYONE,
  'GET /v1/organization/usage/file_search_calls': EVERYONE,
  'GET /admin/v1/alerts': READERS,
  'GET /admin/v1/alerts/{id}/events': READERS,
  'POST /admin/v1/alerts/{id}/mute': LEADS,
  'POST /admin/v1/alerts/{id}/unmute': LEADS,
  'GET /admin/v1/webhooks': ADMINS,
  'POST /admin/v1/webhooks': ADMINS,
  'GET /admin/v1/webhooks/{id}': ADMINS,
  'PATCH /admin/v1/webhooks/{id}': ADMINS,
  'DELETE /admin/v1/webhooks/{id}': ADMINS,
  'POST /admin/v1/webhooks/{id}/test': ADMINS,
  'GET /admin/v1/webhooks/{id}/deliveries': ADMINS,
  'POST /admin/v1/webhooks/{id}/deliveries/{delivery}/resend': ADMINS,
  'POST /admin/v1/webhooks/{id}/secret/roll': ADMINS,
  'GET /admin/v1/audit': 'owner admin auditor',
  'GET /admin/v1/audit/verify': 'owner admin auditor',
  'GET /admin/v1/audit/key': 'owner admin auditor',
  'GET /admin/v1/audit/export': 'owner admin auditor',
  'POST /admin/v1/audit/erase': PLATFORM,
  'GET /admin/v1/audit/{id}': 'owner admin auditor',
  'GET /admin/v1/health': PLATFORM,
  'GET /metrics': PLATFORM,
  'GET /admin/v1/requests/{id}': 'owner admin lead author developer auditor',
  'GET /admin/v1/logs': 'owner admin lead author developer auditor',
  'GET /admin/v1/logs/{id}': 'owner admin lead author developer auditor',
}

const PUBLIC = ['GET /livez', 'GET /readyz', 'GET /healthz']

/** What no role has. */
const OF_PLATFORM = [
  'tenants.write',
  'prices.write',
  'providers.read',
  'providers.test',
  'system.read',
  'audit.erase',
]

/** Of nothing that is there, but of the right form. */
const VALUES: Readonly<Record<string, string>> = {
  kind: 'application',
  month: '2026-11',
  requests: 'req_ff',
  logs: 'req_ff',
}

const roles = Object.keys(ROLES)
let gateway: TestGateway
let routes: readonly string[]
let there: string
const people = { own: {}, disabled: {}, expired: {} } as Record<string, Record<string, Person>>

beforeAll(async () => {
  gateway = await openGateway()
  const tenant = await newTenant(gateway, 'here')
  there = await newTenant(gateway, 'there')
  const expiresAt = new Date(Date.now() + 1500).toISOString()
  for (const role of roles) {
    people.own![role] = await newPerson(gateway, tenant, role)
    people.disabled![role] = await newPerson(gateway, tenant, role, { name: `${role}-off` })
    const fields = { name: `${role}-late`, expiresAt }
    people.expired![role] = await newPerson(gateway, tenant, role, fields)
    const path = `/admin/v1/users/${people.disabled![role].id}?tenant=${tenant}`
    await gateway.admin('PATCH', path, { status: 'disabled' })
  }
  const { body } = await gateway.admin('GET', '/admin/v1/openapi.json')
  routes = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  await sleep(Math.max(0, Date.parse(expiresAt) - Date.now() + 1))
}, 30_000)
afterAll(() => gateway.close())

describe('every route', () => {
  it('stands in the table', () => {
    expect(routes.toSorted()).toEqual([...Object.keys(ROUTES), ...PUBLIC].toSorted())
  })

  it.each(roles)('is open to the role %s where the table says so, else refused', async (role) => {
    const decisions = await decide((route) => call(route, people.own![role]!))
    expect(decisions).toEqual(expected(role, 'open'))
  })

  it.each(roles)('knows no other tenant for the role %s', async (role) => {
    const headers = { 'x-tollgate-tenant': there }
    const decisions = await decide((route) => call(route, people.own![role]!, headers))
    expect(decisions).toEqual(expected(role, 'not_found'))
  })

  it.each(['disabled', 'expired'] as const)('is closed to who is %s', async (which) => {
    const code = which === 'expired' ? 'expired_api_key' : 'revoked_api_key'
    for (const role of roles) {
      const decisions = await decide((route) => call(route, people[which]![role]!))
      expect(new Set(Object.values(decisions))).toEqual(new Set([code]))
    }
  })
})

describe('every permission', () => {
  it('is given to a role, or is the platform’s alone', () => {
    const given = new Set(Object.values(ROLES).flatMap(({ grants }) => Object.keys(grants)))
    expect(PERMISSIONS.filter((name) => !given.has(name)).toSorted()).toEqual(
      OF_PLATFORM.toSorted(),
    )
  })
})

async function decide(
  call: (route: string) => Promise<string>,
): Promise<Readonly<Record<string, string>>> {
  const decisions: Record<string, string> = {}
  for (const route of Object.keys(ROUTES)) decisions[route] = await call(route)
  return decisions
}

function expected(role: string, open: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(ROUTES).map(([route, allowed]) => [
      route,
      allowed.split(' ').includes(role) ? open : 'permission_denied',
    ]),
  )
}

/** @returns `open`, or the code that says that it is not */
async function call(
  route: string,
  person: Person,
  headers?: Readonly<Record<string, string>>,
): Promise<string> {
  const [method = '', template = ''] = route.split(' ')
  const path = template.replaceAll(
    /\{(\w+)\}/g,
    (_, name: string) => VALUES[template.split('/')[3] ?? ''] ?? VALUES[name] ?? 'none',
  )
  const body = method === 'GET' ? undefined : {}
  const { status, body: answer } = await ask(gateway, person.token, method, path, body, headers)
  const code: string = answer?.error?.code ?? ''
  const isAboutTenant =
    code === 'not_found' && answer.error.message === `There is no tenant ${there}`
  return status === 401 || status === 403 || isAboutTenant ? code : 'open'
}
