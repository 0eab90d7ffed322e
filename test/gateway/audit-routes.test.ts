import Database from 'better-sqlite3'
import { expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import { ask, newPerson } from './people.ts'

const UPSTREAM = 'sk-own-upstream-canary-5d2e'

/** What steps leave to later ones. */
type Made = Record<string, string>

interface Step {
  /** Method and path, as the OpenAPI page has it. */
  readonly route: string
  readonly path?: (made: Made) => string
  readonly body?: (made: Made) => object
  /** What is recorded: action and type of each object that changed. */
  readonly records: readonly string[]
  /** Kept of the answer: its id under this name. */
  readonly as?: string
}

const price = { model: 'simulator/chat', rates: { input: '3', output: '4' } }

/** Every route that changes something, in an order in which each can. */
const STEPS: readonly Step[] = [
  {
    route: 'POST /tenants',
    body: () => ({ name: 'walked' }),
    records: ['tenants.create tenant'],
    as: 'tenant',
  },
  {
    route: 'PATCH /tenants/{id}',
    path: ({ tenant }) => `/tenants/${tenant}`,
    body: () => ({ time_zone: 'Europe/Warsaw' }),
    records: ['settings.update tenant'],
  },
  {
    route: 'POST /tenants/{id}/archive',
    path: ({ tenant }) => `/tenants/${tenant}/archive`,
    records: ['tenants.archive tenant'],
  },
  {
    route: 'POST /tenants/{id}/restore',
    path: ({ tenant }) => `/tenants/${tenant}/restore`,
    records: ['tenants.restore tenant'],
  },
  {
    route: 'POST /applications',
    body: () => ({ name: 'shop' }),
    records: ['applications.create application'],
    as: 'app',
  },
  {
    route: 'PATCH /applications/{id}',
    path: ({ app }) => `/applications/${app}`,
    body: () => ({ description: 'x' }),
    records: ['applications.update application'],
  },
  {
    route: 'POST /users',
    body: () => ({ name: 'Ada', email: 'ada@a.example', role: 'viewer' }),
    records: ['users.create user'],
    as: 'user',
  },
  {
    route: 'PATCH /users/{id}',
    path: ({ user }) => `/users/${user}`,
    body: () => ({ role: 'lead' }),
    records: ['users.update user'],
  },
  {
    route: 'POST /users/{id}/tokens',
    path: ({ user }) => `/users/${user}/tokens`,
    body: () => ({ name: 'cli' }),
    records: ['tokens.create token'],
    as: 'token',
  },
  {
    route: 'POST /users/{id}/tokens/{token}/revoke',
    path: ({ user, token }) => `/users/${user}/tokens/${token}/revoke`,
    records: ['tokens.revoke token'],
  },
  {
    route: 'POST /keys',
    body: ({ app }) => ({ name: 'web', application_id: app }),
    records: ['keys.create key'],
    as: 'key',
  },
  {
    route: 'PATCH /keys/{id}',
    path: ({ key }) => `/keys/${key}`,
    body: () => ({ name: 'web2' }),
    records: ['keys.update key'],
  },
  {
    route: 'POST /keys/{id}/disable',
    path: ({ key }) => `/keys/${key}/disable`,
    records: ['keys.disable key'],
  },
  {
    route: 'POST /keys/{id}/enable',
    path: ({ key }) => `/keys/${key}/enable`,
    records: ['keys.enable key'],
  },
  {
    route: 'POST /keys/{id}/roll',
    path: ({ key }) => `/keys/${key}/roll`,
    body: () => ({}),
    records: ['keys.roll key', 'keys.roll key'],
    as: 'next',
  },
  {
    route: 'POST /keys/{id}/revoke',
    path: ({ key }) => `/keys/${key}/revoke`,
    records: ['keys.revoke key'],
  },
  {
    route: 'POST /keys/leaks',
    body: ({ next_secret }) => ({ tokens: [{ token: next_secret }] }),
    records: ['keys.leaks key'],
  },
  {
    route: 'POST /keys/revoke',
    body: ({ app }) => ({ application_id: app, expected: 1 }),
    records: ['keys.revoke key'],
  },
  {
    route: 'PUT /limits/{kind}/{subject}',
    path: ({ app }) => `/limits/application/${app}`,
    body: () => ({ requests_per_minute: 5 }),
    records: ['limits.set limits'],
  },
  {
    route: 'DELETE /limits/{kind}/{subject}',
    path: ({ app }) => `/limits/application/${app}`,
    records: ['limits.delete limits'],
  },
  {
    route: 'PUT /prices/policy',
    body: () => ({ unpriced: 'allow' }),
    records: ['prices.set price.policy'],
  },
  { route: 'POST /prices', body: () => price, records: ['prices.create price'], as: 'price' },
  {
    route: 'POST /prices/{id}/end',
    path: (made) => `/prices/${made['price']}/end`,
    body: () => ({}),
    records: ['prices.end price'],
  },
  {
    route: 'POST /prices/import',
    body: () => ({ prices: [{ ...price, model: 'simulator/x' }] }),
    records: ['prices.import price'],
  },
  {
    route: 'POST /costs/reprice',
    body: () => ({ from: '2026-01-01T00:00:00Z' }),
    records: ['prices.reprice repricing'],
  },
  {
    route: 'PUT /providers/{name}/credential',
    path: () => '/providers/stand/credential',
    body: () => ({ secret: UPSTREAM }),
    records: ['credentials.set provider_credential'],
  },
  { route: 'POST /credentials/rekey', records: ['credentials.rekey data_key'] },
  {
    route: 'DELETE /providers/{name}/credential',
    path: () => '/providers/stand/credential',
    records: ['credentials.delete provider_credential'],
  },
  {
    route: 'POST /webhooks',
    body: () => ({
      name: 'ops',
      url: 'http://127.0.0.1:9/hook',
      types: ['*'],
      allow_private_network: true,
    }),
    records: ['webhooks.create webhook'],
    as: 'hook',
  },
  {
    route: 'PATCH /webhooks/{id}',
    path: ({ hook }) => `/webhooks/${hook}`,
    body: () => ({ name: 'ops2' }),
    records: ['webhooks.update webhook'],
  },
  {
    route: 'POST /webhooks/{id}/secret/roll',
    path: ({ hook }) => `/webhooks/${hook}/secret/roll`,
    body: () => ({}),
    records: ['webhooks.roll webhook'],
    as: 'rolled',
  },
  {
    route: 'POST /webhooks/{id}/test',
    path: ({ hook }) => `/webhooks/${hook}/test`,
    records: ['webhooks.test delivery'],
  },
  {
    route: 'POST /webhooks/{id}/deliveries/{delivery}/resend',
    path: ({ hook, delivery }) => `/webhooks/${hook}/deliveries/${delivery}/resend`,
    records: ['webhooks.resend delivery'],
  },
  {
    route: 'DELETE /webhooks/{id}',
    path: ({ hook }) => `/webhooks/${hook}`,
    records: ['webhooks.delete webhook'],
  },
  {
    route: 'POST /alerts/{id}/mute',
    path: () => '/alerts/traffic.unpriced/mute',
    body: () => ({}),
    records: ['alerts.mute alert'],
  },
  {
    route: 'POST /alerts/{id}/unmute',
    path: () => '/alerts/traffic.unpriced/unmute',
    body: () => ({}),
    records: ['alerts.unmute alert'],
  },
  {
    route: 'POST /applications/{id}/archive',
    path: ({ app }) => `/applications/${app}/archive`,
    records: ['applications.archive application'],
  },
  {
    route: 'POST /applications/{id}/restore',
    path: ({ app }) => `/applications/${app}/restore`,
    records: ['applications.restore application'],
  },
  {
    route: 'POST /audit/erase',
    body: ({ user }) => ({ resource_type: 'user', resource_id: user }),
    records: ['audit.erase user'],
  },
]

/** They change nothing of ours. */
const READING = ['POST /providers/{name}/test', 'POST /costs/reconcile']

it('every route that changes something writes one record for each object, without a secret', async () => {
  const gateway = await openGateway({
    webhook_private_networks: 'true',
    providers: {
      stand: {
        kind: 'openai',
        api_key: 'sk-operator',
        prices: { '*': { input: '1', output: '1' } },
      },
    },
  })
  const database = new Database(`${gateway.dataDir}/tollgate.db`, { readonly: true })
  const { body: api } = await gateway.admin('GET', '/admin/v1/openapi.json')
  const routes = Object.entries(api.paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods)
      .filter((method) => method !== 'get')
      .map((method) => `${method.toUpperCase()} ${path.replace('/admin/v1', '')}`),
  )
  expect(
    STEPS.map(({ route }) => route)
      .concat(READING)
      .toSorted(),
  ).toEqual(routes.toSorted())

  const made: Made = {}
  const secrets = [UPSTREAM, gateway.adminKey]
  const viewer = await newPerson(gateway, 'default', 'viewer', { name: 'nobody' })
  secrets.push(viewer.token)
  const recorded = (headers: Headers): readonly Record<string, string>[] =>
    database
      .prepare('select * from audit_records where request_id = ? order by sequence')
      .all(headers.get('x-request-id')) as Record<string, string>[]

  for (const { route, path, body, records, as } of STEPS) {
    const [method = '', template = ''] = route.split(' ')
    const target = `/admin/v1${path?.(made) ?? template}`
    const sent = body?.(made)
    const denied = await ask(gateway, viewer.token, method, target, sent)
    // Everyone may have tokens, of their own: those of others are not there.
    const [status, outcome] = route.includes('/tokens') ? [404, 'failed'] : [403, 'denied']
    expect(denied.status, route).toBe(status)
    expect(recorded(denied.headers)).toMatchObject([{ outcome, actor_id: viewer.id }])
    const agent = { 'user-agent': 'walker/1' }
    const reply = await ask(gateway, gateway.adminKey, method, target, sent, agent)
    expect(reply.status, `${route} ${reply.text}`).toBeLessThan(300)
    const found = recorded(reply.headers)
    expect(
      found.map(({ action, resource_type }) => `${action} ${resource_type}`),
      route,
    ).toEqual(records)
    for (const record of found) {
      expect(record).toMatchObject({
        actor_id: 'admin_key',
        outcome: 'ok',
        address: '127.0.0.1',
        user_agent: 'walker/1',
      })
      const isHashed = record['before_hash'] !== null || record['after_hash'] !== null
      expect(isHashed, route).toBe(record['action'] !== 'audit.erase')
    }
    if (as !== undefined) made[as] = reply.body.id
    if (typeof reply.body?.secret === 'string') {
      made[`${as}_secret`] = reply.body.secret
      secrets.push(reply.body.secret)
    }
    if (template === '/webhooks/{id}/test') {
      await expect
        .poll(async () => {
          const { body: sentOff } = await gateway.admin(
            'GET',
            `/admin/v1/webhooks/${made['hook']}/deliveries`,
          )
          made['delivery'] = sentOff.data[0]?.id
          return made['delivery']
        })
        .toBeTruthy()
    }
  }
  expect(secrets.length).toBeGreaterThanOrEqual(7)
  const tables = ['audit_records', 'audit_contents'].map((table) =>
    JSON.stringify(database.prepare(`select * from ${table}`).all()),
  )
  for (const secret of secrets) {
    for (const part of [secret, secret.slice(-20)]) expect(tables.join().includes(part)).toBe(false)
  }
  expect((await gateway.admin('GET', '/admin/v1/audit/verify')).body).toMatchObject({ ok: true })
  database.close()
  await gateway.close()
}, 30_000)
