import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ROLES, mayGrant } from '../../src/control/roles.ts'
import type { Role } from '../../src/control/roles.ts'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { dice } from './dice.ts'
import { ask, newPerson, newTenant } from './people.ts'
import type { Person } from './people.ts'

const roles = Object.keys(ROLES) as Role[]

let gateway: TestGateway
let tenant: string
let people: Record<Role, Person>
beforeAll(async () => {
  gateway = await openGateway()
  tenant = await newTenant(gateway, 'acme')
  const made = await Promise.all(
    roles.map(async (role) => [role, await newPerson(gateway, tenant, role)] as const),
  )
  people = Object.fromEntries(made) as Record<Role, Person>
}, 30_000)
afterAll(() => gateway.close())

describe('nobody', () => {
  it.each(roles)('gives more than they have: %s', async (role) => {
    const { token } = people[role]
    const mayWrite = ROLES[role].grants['users.write'] !== undefined
    for (const wanted of roles) {
      const isLess = mayWrite && mayGrant(ROLES[role].grants, wanted)
      const email = `${role}-${wanted}@example.com`
      const made = await ask(gateway, token, 'POST', '/admin/v1/users', {
        name: 'new',
        email,
        role: wanted,
      })
      expect([role, wanted, made.status]).toEqual([role, wanted, isLess ? 201 : 403])
      if (role === wanted) continue
      const of = `/admin/v1/users/${people[wanted].id}/tokens`
      const stolen = await ask(gateway, token, 'POST', of, { name: 'stolen' })
      expect([role, wanted, stolen.status === 201]).toEqual([role, wanted, isLess])
    }
  })

  it.each(roles)('changes their own role or status: %s', async (role) => {
    const { id, token } = people[role]
    const patch = (body: object) => ask(gateway, token, 'PATCH', `/admin/v1/users/${id}`, body)
    for (const wanted of roles) {
      if (wanted !== role) expect((await patch({ role: wanted })).status).toBe(403)
    }
    expect((await patch({ status: 'disabled' })).status).toBe(403)
  })

  it('makes themselves a token that outlives the one they came with', async () => {
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString()
    const { token } = await newPerson(gateway, tenant, 'admin', { name: 'guest', expiresAt })
    const make = (expires_at: string | null) =>
      ask(gateway, token, 'POST', '/admin/v1/users/me/tokens', { name: 'long', expires_at })
    expect((await make(null)).body.expires_at).toBe(expiresAt)
    expect((await make(new Date(Date.now() + 7_200_000).toISOString())).status).toBe(403)
  })

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('comes to more by any way, seed %i', async (seed) => {
    const random = dice(seed)
    const pick = <T>(all: readonly T[]): T => random.pick(all)
    const start = pick(['admin', 'lead', 'developer'] as const)
    const hill = await newTenant(gateway, `hill-${seed}`)
    for (const role of roles) await newPerson(gateway, hill, role)
    const person = await newPerson(gateway, hill, start, { name: 'climber' })
    const tokens = [person.token]
    const { body: users } = await gateway.admin('GET', `/admin/v1/users?limit=100&tenant=${hill}`)
    const ids: string[] = users.data.map(({ id }: { id: string }) => id)
    const owners = (all: { id: string; role: string }[]): string =>
      JSON.stringify(all.filter(({ role }) => role === 'owner').map(({ id }) => id))
    for (let step = 0; step < 60; step++) {
      const id = pick([...ids, 'me'])
      const [path, method, body] = pick([
        ['users', 'POST', { name: 'x', email: `${seed}-${step}@x.example`, role: pick(roles) }],
        [`users/${id}`, 'PATCH', { role: pick(roles) }],
        [`users/${id}`, 'PATCH', { email: `${seed}-${step}@y.example` }],
        [`users/${id}/tokens`, 'POST', { name: 'x' }],
      ] as const)
      const reply = await ask(gateway, pick(tokens), method, `/admin/v1/${path}`, body)
      if (reply.body.secret !== undefined) tokens.push(reply.body.secret)
      if (reply.status === 201 && path === 'users') ids.push(reply.body.id)
    }
    for (const token of tokens) {
      const { status, body } = await ask(gateway, token, 'GET', '/admin/v1/whoami')
      if (status === 200) expect(mayGrant(ROLES[start].grants, body.role)).toBe(true)
    }
    const { body: after } = await gateway.admin('GET', `/admin/v1/users?limit=100&tenant=${hill}`)
    expect(owners(after.data)).toBe(owners(users.data))
  })
})

describe('a developer', () => {
  it('has keys of their own and no others', async () => {
    const { id, token } = people.developer
    const theirs = await ask(gateway, people.lead.token, 'POST', '/admin/v1/keys', { name: 'lead' })
    const own = await ask(gateway, token, 'POST', '/admin/v1/keys', { name: 'mine' })
    expect(own.body.owner_id).toBe(id)
    const { body } = await ask(gateway, token, 'GET', '/admin/v1/keys')
    expect(body.data.map((key: { id: string }) => key.id)).toEqual([own.body.id])
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/usage'],
      ['PATCH', ''],
      ['POST', '/disable'],
      ['POST', '/revoke'],
      ['POST', '/roll'],
    ] as const) {
      const to = `/admin/v1/keys/${theirs.body.id}${path}`
      const reply = await ask(gateway, token, method, to, method === 'GET' ? undefined : {})
      expect([path, reply.status]).toEqual([path, 404])
    }
    const given = { owner_id: people.lead.id }
    const away = await ask(gateway, token, 'PATCH', `/admin/v1/keys/${own.body.id}`, given)
    expect(away.status).toBe(403)
    const forged = await ask(gateway, token, 'POST', '/admin/v1/keys', { name: 'x', ...given })
    expect(forged.status).toBe(403)
  })

  it.each([
    ['a higher budget', { limits: { budgets: [{ window: 'day', limit: '20.00' }] } }],
    ['no budget', { limits: {} }],
    ['more models', { models: ['*'] }],
    ['more paths', { endpoints: ['*'] }],
    ['more addresses', { addresses: [] }],
    ['a later end', { expires_at: '2099-01-01T00:00:00Z' }],
    ['no end', { expires_at: null }],
  ])('gives a key that was made for them not %s', async (_, body) => {
    const { body: key } = await ask(gateway, people.lead.token, 'POST', '/admin/v1/keys', {
      name: 'bounded',
      owner_id: people.developer.id,
      models: ['simulator/*'],
      endpoints: ['/v1/embeddings'],
      addresses: ['10.0.0.0/8'],
      expires_at: '2098-01-01T00:00:00Z',
      limits: { budgets: [{ window: 'day', limit: '10.00' }] },
    })
    const path = `/admin/v1/keys/${key.id}`
    const reply = await ask(gateway, people.developer.token, 'PATCH', path, body)
    expect([reply.status, reply.body.error?.code]).toEqual([403, 'permission_denied'])
  })

  it('may tighten a key of theirs', async () => {
    const { token } = people.developer
    const { body: key } = await ask(gateway, token, 'POST', '/admin/v1/keys', { name: 'wide' })
    const { status } = await ask(gateway, token, 'PATCH', `/admin/v1/keys/${key.id}`, {
      name: 'narrow',
      models: ['simulator/echo'],
      limits: { budgets: [{ window: 'day', limit: '1.00' }] },
      expires_at: '2098-01-01T00:00:00Z',
    })
    expect(status).toBe(200)
  })
})

describe('the last owner', () => {
  it('stays, whoever asks and however many at once', async () => {
    const alone = await newTenant(gateway, 'alone')
    const owners = [
      await newPerson(gateway, alone, 'owner', { name: 'one' }),
      await newPerson(gateway, alone, 'owner', { name: 'two' }),
    ] as const
    const [first, second] = await Promise.all(
      owners.map(({ token }, index) =>
        ask(gateway, token, 'PATCH', `/admin/v1/users/${owners[1 - index]!.id}`, {
          role: 'viewer',
        }),
      ),
    )
    expect([first!.status, second!.status].filter((status) => status === 200)).toHaveLength(1)
    const { body } = await gateway.admin('GET', `/admin/v1/users?role=owner&tenant=${alone}`)
    expect(body.data).toHaveLength(1)
    const path = `/admin/v1/users/${body.data[0].id}?tenant=${alone}`
    for (const change of [{ role: 'admin' }, { status: 'disabled' }]) {
      expect((await gateway.admin('PATCH', path, change)).body.error.code).toBe('conflict')
    }
  })
})
