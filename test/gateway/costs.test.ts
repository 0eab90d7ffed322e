import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { AdminReply, TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'
import { openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

let provider: Provider
let gateway: TestGateway
let web: readonly [string, string]

beforeAll(async () => {
  provider = await openProvider()
  const stand = {
    kind: 'openai',
    api_key: 'sk-upstream',
    base_url: provider.baseUrl,
    allow_private_network: true,
    models: ['listed'],
    prices: { '*': { input: '1', output: '2' } },
  }
  gateway = await openGateway({ providers: { stand, other: stand } })
  const [one, two] = [await create('web'), await create('web')]
  web = [one.id, two.id]
  for (const [key, model] of [
    [one.secret, 'stand/m1'],
    [two.secret, 'stand/m1'],
    [two.secret, 'other/m1'],
    [(await create('ci')).secret, 'stand/org/m2'],
  ] as const) {
    const reply = await call(gateway.dataUrl, { model, messages: HELLO, max_tokens: 5 }, { key })
    expect(reply.status).toBe(200)
  }
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
})

describe('a costs report', () => {
  it('keeps models of two providers apart, whatever they are called', async () => {
    const { body } = await report('group_by=model')
    expect(byGroup(body, 'model')).toEqual({ 'stand/m1': 2, 'other/m1': 1, 'stand/org/m2': 1 })
    const { body: csv } = await report('group_by=model&format=csv')
    expect(csv).toContain('\r\nother/m1,1,')
  })

  it.each([
    ['key=web', 3],
    ['key=ci', 1],
    ['key=web,ci', 4],
    ['application=default', 4],
    ['application=app_default', 4],
    ['provider=stand', 3],
    ['provider=simulator', 0],
    ['model=stand/m1', 2],
    ['model=m1', 3],
    ['model=org/m2', 1],
    ['model=stand/listed', 0],
    ['model=listed', 0],
    ['model=other/m1,stand/m1&key=web', 3],
  ])('of %s counts %d requests', async (filter, requests) => {
    const { status, body } = await report(filter)
    expect([status, body.total?.requests]).toEqual([200, requests])
  })

  it('of a key by its id is of that key alone', async () => {
    expect((await report(`key=${web[0]}`)).body.total.requests).toBe(1)
    expect((await report(`key=${web[1]}`)).body.total.requests).toBe(2)
  })

  it.each([
    ['key=wep', 'did you mean web?'],
    ['key=web,nobody', 'There is no key nobody'],
    ['key=key_0000', 'There is no key key_0000'],
    ['application=defult', 'did you mean default?'],
    ['provider=stnd', 'did you mean stand?'],
    ['model=stand/m11', 'did you mean stand/m1?'],
    ['model=nothing-of-the-kind', 'model_asked what callers wrote'],
    ['model=m2', 'There is no model m2'],
  ])('of %s, which there is not, is refused', async (filter, words) => {
    const { status, body } = await report(filter)
    expect([status, body.error.code, body.error.param]).toEqual([
      404,
      'not_found',
      filter.split('=')[0],
    ])
    expect(body.error.message).toContain(words)
  })

  it('does not repeat a secret that strayed into it', async () => {
    const { body } = await report(`key=${gateway.key}`)
    expect(body.error.message).toContain('There is no key sk-tg-...')
  })

  it('has ids and names in CSV', async () => {
    const { body } = await report('group_by=key&format=csv')
    const [head, ...lines] = body.trimEnd().split('\r\n')
    expect(head).toMatch(/^key_id,key_name,requests,/)
    expect(lines).toContainEqual(expect.stringMatching(`^${web[0]},web,1,`))
    expect(lines).toContainEqual(expect.stringMatching(`^${web[1]},web,2,`))
  })
})

const report = (query: string): Promise<AdminReply> =>
  gateway.admin('GET', `/admin/v1/costs/report?${query}`)

async function create(name: string): Promise<{ readonly id: string; readonly secret: string }> {
  return (await gateway.admin('POST', '/admin/v1/keys', { name })).body
}

function byGroup(body: AdminReply['body'], dimension: string): Record<string, number> {
  return Object.fromEntries(
    body.rows.map((row: { group: Record<string, string>; requests: number }) => [
      row.group[dimension],
      row.requests,
    ]),
  )
}
