import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { tollgate } from './tollgate.ts'
import type { Ran } from './tollgate.ts'

let gateway: TestGateway
beforeAll(async () => {
  gateway = await openGateway()
})
afterAll(() => gateway.close())

const as = (key: string, ...args: string[]): Promise<Ran> =>
  tollgate(args, { env: { TOLLGATE_URL: gateway.adminUrl, TOLLGATE_ADMIN_KEY: key } })
const cli = (...args: string[]): Promise<Ran> => as(gateway.adminKey, ...args)

describe('the command line', () => {
  it('makes a tenant with people and applications, and acts in it', async () => {
    const zone = ['--time-zone', 'Europe/Warsaw', '--month-starts-on', '15']
    const made = await cli('tenants', 'create', '--name', 'Żółw', ...zone, '--json')
    expect(JSON.parse(made.stdout)).toMatchObject({ name: 'Żółw', month_starts_on: 15 })

    const ada = ['--name', 'Ada', '--email', 'Ada@example.com', '--role', 'developer']
    expect((await cli('--tenant', 'Żółw', 'users', 'create', ...ada)).code).toBe(0)
    const app = ['--name', 'web', '--owner', 'ada@example.com', '--tags', 'b,a', '--env', 'live']
    const created = await cli('--tenant', 'Żółw', 'apps', 'create', ...app, '--json')
    expect(JSON.parse(created.stdout)).toMatchObject({ tags: ['a', 'b'], environment: 'live' })

    const token = await cli('--tenant', 'Żółw', 'users', 'tokens', 'create', 'Ada', '--name', 'x')
    expect(token.stdout).toMatch(/^sk-tg-user-\w{22}-\w{6}\n$/)
    const secret = token.stdout.trim()
    const who = await as(secret, 'whoami', '--json')
    expect(JSON.parse(who.stdout)).toMatchObject({ role: 'developer', tenant: { name: 'Żółw' } })
    expect((await as(secret, 'users', 'list')).code).toBe(4)
    expect((await as(secret, '--tenant', 'default', 'whoami')).code).toBe(3)

    const list = await as(secret, 'apps', 'list', '--tag', 'a', '--quiet')
    expect(list.stdout.trim()).toBe(JSON.parse(created.stdout).id)
    await cli('--tenant', 'Żółw', 'users', 'disable', 'ada@example.com')
    expect((await as(secret, 'whoami')).code).toBe(4)
  })

  it('archives an application by name, once it is meant', async () => {
    await cli('apps', 'create', '--name', 'old')
    expect((await cli('apps', 'archive', 'old')).code).toBe(2)
    expect((await cli('apps', 'archive', 'old', '--yes')).code).toBe(0)
    const shown = await cli('apps', 'get', 'old', '--json')
    expect(JSON.parse(shown.stdout).status).toBe('archived')
    const unknown = await cli('apps', 'get', 'olt')
    expect([unknown.code, unknown.stderr]).toEqual([3, expect.stringContaining('old')])
  })
})
