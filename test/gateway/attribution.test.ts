import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway, type TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'

let gateway: TestGateway
let secret: string
beforeAll(async () => {
  gateway = await openGateway({})
  const application = await gateway.admin('POST', '/admin/v1/applications', {
    name: 'search',
    tags: ['team:search', 'shared'],
    environment: 'production',
  })
  expect(application.status, JSON.stringify(application.body)).toBe(201)
  const key = await gateway.admin('POST', '/admin/v1/keys', {
    name: 'web',
    application_id: application.body.id,
    tags: ['shared', 'web'],
  })
  expect(key.status, JSON.stringify(key.body)).toBe(201)
  secret = key.body.secret
})
afterAll(() => gateway.close())

describe('an entry', () => {
  it('has the tags of application, key and request, and reports find it by each', async () => {
    expect((await ask({ 'x-tollgate-tags': 'feature/x, shared,' })).status).toBe(200)
    const { body } = await report('group_by=tag,environment')
    expect(body.rows.map((row: Row) => [row.group.tag, row.group.environment])).toEqual(
      ['feature/x', 'shared', 'team:search', 'web'].map((tag) => [tag, 'production']),
    )
    // In two rows, and once in the total.
    expect(body.total.requests).toBe(1)
    expect((await report('tag=web,shared')).body.total.requests).toBe(1)
    expect((await report('tag=none')).body.total.requests).toBe(0)
  })

  it.each([
    ['too many', Array.from({ length: 11 }, (_, number) => `t${number}`).join(',')],
    ['one too long', 'x'.repeat(65)],
    ['a blank', 'a b'],
    ['a quote', '"a"'],
  ])('is none where a request brings %s', async (_, tags) => {
    const { status, body } = await ask({ 'x-tollgate-tags': tags })
    expect([status, body.error.param]).toEqual([400, 'x-tollgate-tags'])
  })
})

describe('a report', () => {
  it('keeps the names of what was revoked and archived', async () => {
    const application = (await gateway.admin('POST', '/admin/v1/applications', { name: 'gone' }))
      .body
    const key = (
      await gateway.admin('POST', '/admin/v1/keys', {
        name: 'leaver',
        application_id: application.id,
      })
    ).body
    secret = key.secret
    expect((await ask({})).status).toBe(200)
    const ended = [
      await gateway.admin('POST', `/admin/v1/keys/${key.id}/revoke`, {}),
      await gateway.admin('POST', `/admin/v1/applications/${application.id}/archive`, {}),
    ]
    expect(ended.map(({ status }) => status)).toEqual([200, 200])
    const { body } = await report(`group_by=key,application&key=leaver&application=gone`)
    expect(body.rows.map((row: Row) => row.names)).toEqual([{ key: 'leaver', application: 'gone' }])
  })
})

interface Row {
  readonly names: Readonly<Record<string, string>>
  readonly group: Readonly<Record<string, string | null>>
}

const ask = (headers: Record<string, string>) =>
  call(gateway.dataUrl, { model: 'simulator/chat', messages: HELLO }, { key: secret, headers })

const report = (query: string) =>
  gateway.admin('GET', `/admin/v1/costs/report?order=group&${query}`)
