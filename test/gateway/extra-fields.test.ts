import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { ask } from './people.ts'

/** What the server owns, or what would reach a prototype, as JSON. */
const FIELDS: Readonly<Record<string, string>> = {
  id: '"key_0"',
  tenant_id: '"tenant_default"',
  tenantId: '"tenant_default"',
  role: '"root"',
  is_platform: 'true',
  permissions: '["system.read"]',
  created_at: '"2020-01-01T00:00:00Z"',
  revision: '1',
  digest: '"00"',
  spend: '0',
  ['__proto__']: '{"isPlatform":true}',
  constructor: '{"prototype":{"isPlatform":true}}',
}

/** Bodies that are good but for what is added to them. */
const GOOD: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  '/admin/v1/tenants': { name: 'extra' },
  '/admin/v1/applications': { name: 'extra' },
  '/admin/v1/users': { name: 'extra', email: 'extra@example.com', role: 'viewer' },
  '/admin/v1/keys': { name: 'extra' },
  '/admin/v1/users/{id}/tokens': { name: 'extra' },
}

let gateway: TestGateway
let user: string
let routes: readonly { readonly method: string; readonly path: string }[]
beforeAll(async () => {
  gateway = await openGateway()
  const made = await gateway.admin('POST', '/admin/v1/users', {
    name: 'somebody',
    email: 'somebody@example.com',
    role: 'viewer',
  })
  user = made.body.id
  const { body } = await gateway.admin('GET', '/admin/v1/openapi.json')
  routes = Object.entries(body.paths as Record<string, Record<string, object>>).flatMap(
    ([path, methods]) =>
      Object.entries(methods)
        .filter(([method, operation]) => method !== 'get' && 'requestBody' in operation)
        .map(([method]) => ({ method: method.toUpperCase(), path })),
  )
})
afterAll(() => gateway.close())

describe('a body', () => {
  it.each(Object.entries(FIELDS))('with %s is taken by no route', async (field, value) => {
    const taken: string[] = []
    for (const { method, path } of routes) {
      const good = JSON.stringify(GOOD[path] ?? {})
      const body = `${good.slice(0, -1)}${good === '{}' ? '' : ','}"${field}":${value}}`
      const { status } = await send(method, path, body)
      // A role is a user's own field; a wrong one is refused all the same.
      if (status < 400 || status >= 500) taken.push(`${method} ${path} ${status}`)
    }
    expect(taken).toEqual([])
    expect(Object.prototype).not.toHaveProperty('isPlatform')
  })

  it('with a field twice, a list for a text, or no object is taken by no route', async () => {
    const taken: string[] = []
    for (const { method, path } of routes) {
      const good = JSON.stringify(GOOD[path] ?? { name: 'extra' })
      const twice = `${good.slice(0, -1)},"name":"other"}`
      const lists = JSON.stringify(
        Object.fromEntries(
          Object.entries(GOOD[path] ?? { name: 'extra' }).map(([name, value]) => [name, [value]]),
        ),
      )
      for (const body of [twice, lists, '[]', 'null', '"text"', '1']) {
        const { status } = await send(method, path, body)
        if (status < 400 || status >= 500) taken.push(`${method} ${path} ${body} ${status}`)
      }
    }
    expect(taken).toEqual([])
  })

  it('is good for its route but for what was added', async () => {
    for (const [path, body] of Object.entries(GOOD)) {
      expect((await send('POST', path, JSON.stringify(body))).status).toBe(201)
    }
  })
})

function send(method: string, path: string, body: string) {
  const to = path.replace('/users/{id}/', `/users/${user}/`).replaceAll(/\{\w+\}/g, 'none')
  return ask(gateway, gateway.adminKey, method, to, body)
}
