import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'

let gateway: TestGateway

beforeAll(async () => {
  gateway = await openGateway({})
})
afterAll(() => gateway.close())

const PUBLIC = ['/livez', '/readyz', '/healthz']

interface Operation {
  readonly security?: readonly object[]
  readonly description?: string
  readonly operationId?: string
  readonly responses: Readonly<Record<string, { readonly description?: string }>>
  readonly parameters?: readonly {
    readonly name: string
    readonly in: string
    readonly required?: boolean
  }[]
}

interface Page {
  readonly openapi: string
  readonly info: { readonly title: string; readonly version: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

async function operations(): Promise<
  readonly (readonly [method: string, path: string, Operation])[]
> {
  const { paths }: Page = (await gateway.admin('GET', '/admin/v1/openapi.json')).body
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(
      ([method, operation]) => [method.toUpperCase(), path, operation] as const,
    ),
  )
}

describe('every route of the control plane', () => {
  it('is refused without its key, but for those that say they are public', async () => {
    const all = await operations()
    expect(all.length).toBeGreaterThanOrEqual(18)
    const open: string[] = []
    for (const [method, path, { security, description }] of all) {
      const url = gateway.adminUrl + path.replaceAll(/\{\w+\}/g, 'x')
      for (const authorization of [
        undefined,
        '',
        'Bearer',
        'Bearer x',
        `Bearer ${gateway.key}`,
        `Basic ${gateway.adminKey}`,
        gateway.adminKey,
      ]) {
        const headers = authorization === undefined ? {} : { authorization }
        const { status } = await fetch(url, { method, headers })
        if (status !== 401) open.push(path)
        else expect(description).toMatch(/Needs the permission `[a-z]+\.[a-z]+`/)
      }
      if (open.includes(path)) expect(security).toEqual([])
    }
    expect([...new Set(open)].toSorted()).toEqual(PUBLIC.toSorted())
  })

  it('is not to be had by a key in another place', async () => {
    const url = `${gateway.adminUrl}/admin/v1/keys`
    for (const [query, headers] of [
      [`?key=${gateway.adminKey}`, {}],
      ['', { 'x-api-key': gateway.adminKey }],
      ['', { cookie: `key=${gateway.adminKey}` }],
    ] as const) {
      expect((await fetch(url + query, { headers })).status).toBe(401)
    }
  })

  it('is not on the data plane, nor the data plane on it', async () => {
    const headers = { authorization: `Bearer ${gateway.adminKey}` }
    for (const [method, path] of await operations()) {
      if (PUBLIC.includes(path)) continue
      const url = gateway.dataUrl + path.replaceAll(/\{\w+\}/g, 'x')
      expect((await fetch(url, { method, headers })).status, path).toBe(404)
    }
    const key = { authorization: `Bearer ${gateway.key}` }
    for (const path of ['/v1/models', '/v1/chat/completions']) {
      expect((await fetch(gateway.adminUrl + path, { headers: key })).status, path).toBe(404)
    }
    const asAdmin = await call(
      gateway.dataUrl,
      { model: 'simulator/chat', messages: HELLO },
      { key: gateway.adminKey },
    )
    expect(asAdmin.status).toBe(401)
  })

  it.each([
    '//admin/v1/keys',
    '/ADMIN/V1/KEYS',
    '/admin/v1/keys/',
    '/admin/v1/./keys',
    '/livez/../admin/v1/keys',
    '/admin/v1/keys;/livez',
    '/admin/v1/keys%2f..%2flivez',
    '/livez%2f..%2fadmin/v1/keys',
  ])('is not reached without its key as %s', async (path) => {
    // Not `fetch`: it would tidy the path up.
    const reply = await call(gateway.adminUrl, '', { path, method: 'GET' })
    expect([401, 404]).toContain(reply.status)
  })

  it('refuses what it does not know, in a body or a query', async () => {
    const unknown = await gateway.admin('GET', '/admin/v1/keys?limt=1')
    expect([unknown.status, unknown.body.error.param]).toEqual([400, 'limt'])
    const huge = await gateway.admin('POST', '/admin/v1/keys', { name: 'a'.repeat(2_000_000) })
    expect([huge.status, huge.body.error.code]).toEqual([413, 'body_too_large'])
    const wrong = await gateway.admin('DELETE', '/admin/v1/keys')
    expect([wrong.status, wrong.body.error.code]).toEqual([405, 'method_not_allowed'])
    const near = await gateway.admin('GET', '/admin/v1/key')
    expect(near.body.error.message).toContain('/admin/v1/keys')
  })
})

describe('the OpenAPI page', () => {
  it('is one: references lead somewhere, parameters are declared, ids are unique', async () => {
    const { body: page }: { body: Page } = await gateway.admin('GET', '/admin/v1/openapi.json')
    expect(page.openapi).toMatch(/^3\.1\.\d+$/)
    expect(page.info).toMatchObject({ title: expect.any(String), version: expect.any(String) })

    const references = [...JSON.stringify(page).matchAll(/"\$ref":"([^"]+)"/g)].map(
      ([, at = '']) => at,
    )
    expect(references.length).toBeGreaterThan(5)
    expect(references.filter((at) => resolve(page, at) === undefined)).toEqual([])

    const ids = new Set<string>()
    for (const [method, path, operation] of await operations()) {
      const { operationId = '', responses, parameters = [] } = operation
      expect(operationId, `${method} ${path}`).not.toBe('')
      expect(ids.has(operationId), operationId).toBe(false)
      ids.add(operationId)
      expect(Object.keys(responses).length).toBeGreaterThanOrEqual(2)
      for (const [status, { description }] of Object.entries(responses)) {
        expect(status).toMatch(/^([1-5]\d\d|default)$/)
        expect(description).toBeTruthy()
      }
      const wanted = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      const declared = parameters.filter((one) => one.in === 'path')
      expect(declared.map(({ name }) => name)).toEqual(wanted)
      expect(declared.every(({ required }) => required === true)).toBe(true)
    }
  })

  it('has every path that is served', async () => {
    const served = (await operations()).map(([method, path]) => `${method} ${path}`)
    for (const path of [
      'GET /admin/v1/keys',
      'POST /admin/v1/keys',
      'GET /admin/v1/keys/{id}',
      'PATCH /admin/v1/keys/{id}',
      'POST /admin/v1/keys/{id}/disable',
      'POST /admin/v1/keys/{id}/enable',
      'POST /admin/v1/keys/{id}/revoke',
      'POST /admin/v1/keys/{id}/roll',
      'GET /admin/v1/providers',
      'POST /admin/v1/providers/{name}/test',
      'GET /admin/v1/models',
      'GET /admin/v1/costs/report',
      'GET /admin/v1/requests/{id}',
      'GET /admin/v1/health',
      'GET /admin/v1/openapi.json',
      'GET /metrics',
      'GET /livez',
      'GET /readyz',
    ]) {
      expect(served).toContain(path)
    }
  })
})

describe('metrics', () => {
  it('keep their number of series, whatever callers ask for', async () => {
    const series = async (): Promise<number> => {
      const { body } = await gateway.admin('GET', '/metrics')
      return body.split('\n').filter((line: string) => line.startsWith('tollgate_')).length
    }
    const ask = (model: string, path = '/v1/chat/completions', method = 'POST') =>
      call(gateway.dataUrl, { model, messages: HELLO }, { key: gateway.key, path, method })
    await Promise.all([
      ask('simulator/chat'),
      ask('nothing'),
      ask('simulator/nothing'),
      ask('a', '/nothing'),
      ask('a', '/v1/chat/completions', 'PUT'),
      ask('a', '/v1/models/nothing', 'GET'),
    ])
    const before = await series()
    expect(before).toBeGreaterThan(5)
    const junk = Array.from({ length: 1000 }, (_, index) => `junk-${index}"}\n{`)
    for (let from = 0; from < junk.length; from += 50) {
      await Promise.all(
        junk.slice(from, from + 50).flatMap((name, index) => {
          const path = encodeURIComponent(name)
          if (index % 4 === 0) return ask(name)
          if (index % 4 === 1) return ask(`simulator/${name}`)
          return index % 4 === 2 ? ask('a', `/${path}`) : ask('a', `/v1/models/${path}`, 'GET')
        }),
      )
    }
    expect(await series()).toBe(before)
    const { body } = await gateway.admin('GET', '/metrics')
    expect(body).not.toContain('junk')
  })
})

function resolve(page: object, reference: string): unknown {
  if (!reference.startsWith('#/')) return undefined
  let node: unknown = page
  for (const step of reference.slice(2).split('/')) {
    node = (node as Readonly<Record<string, unknown>> | undefined)?.[
      step.replaceAll('~1', '/').replaceAll('~0', '~')
    ]
  }
  return node
}
