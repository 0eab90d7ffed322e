import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from '../gateway/caller.ts'
import { tollgate } from './tollgate.ts'
import type { Ran } from './tollgate.ts'

let gateway: TestGateway
beforeAll(async () => {
  gateway = await openGateway()
})
afterAll(() => gateway.close())

const me = (key: string, ...args: string[]): Promise<Ran> =>
  tollgate(['me', ...args], {
    env: { TOLLGATE_DATA_URL: `${gateway.dataUrl}/v1`, TOLLGATE_API_KEY: key },
  })

async function newKey(fields: object = {}) {
  const { body } = await gateway.admin('POST', '/admin/v1/keys', { name: 'web', ...fields })
  return body
}

describe('tollgate me', () => {
  it('shows a key to whoever has it, the limit that binds marked', async () => {
    const limits = { requests_per_minute: 4, concurrency: 9 }
    const key = await newKey({ models: ['simulator/*'], limits })
    for (const model of ['simulator/chat', 'simulator/nothing']) {
      await call(gateway.dataUrl, { model, messages: HELLO }, { key: key.secret })
    }
    const { code, stdout, stderr } = await me(key.secret)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`web (${key.id}, ${key.prefix}…${key.last4}), active`)
    expect(stdout).toContain(
      '> key web requests per minute: [#####...............] 25% 1 of 4, 3 left',
    )
    expect(stdout).toContain('  key web concurrency: [....................] 0% 0 of 9, 9 left')
    expect(stdout).toMatch(/^ {2}month: 0\S* USD for 1 requests/m)
    expect(stdout).toContain('simulator/nothing  404 model_not_found')
    expect(stdout).not.toContain(key.secret)

    const json = await me(key.secret, '--json=key,binding')
    expect(JSON.parse(json.stdout)).toMatchObject({
      key: { id: key.id },
      binding: { limit: 'requests', remaining: '3' },
    })
  })

  it('rolls it, and prints the new key alone', async () => {
    const key = await newKey()
    const { code, stdout, stderr } = await me(key.secret, 'roll', '--overlap', '1h')
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^sk-tg-live-\w+-\w+\n$/)])
    expect(stderr).toContain(`The old key ${key.id} works until`)
    const shown = await me(stdout.trim(), '--json')
    expect(JSON.parse(shown.stdout).key.root_id).toBe(key.id)
    expect((await me(key.secret, 'roll')).code).toBe(5)
    expect((await me(key.secret, 'roll', '--overlap', '8d')).code).toBe(2)
  })

  it('says what is missing', async () => {
    const none = await me('')
    expect([none.code, none.stderr]).toEqual([4, expect.stringContaining('TOLLGATE_API_KEY')])
    const wrong = await me('sk-tg-live-unknown')
    expect([wrong.code, wrong.stderr]).toEqual([4, expect.stringContaining('TOLLGATE_API_KEY')])
    const elsewhere = await me('sk-tg-live-any', '--data-url', 'http://127.0.0.1:9')
    expect(elsewhere.stderr).toContain('--data-url or TOLLGATE_DATA_URL')
    const control = await me('sk-tg-live-any', '--data-url', gateway.adminUrl)
    expect(control.code).not.toBe(0)
  })
})
