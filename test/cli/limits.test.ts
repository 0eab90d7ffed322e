import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { atTerminal } from './tollgate.ts'

let gateway: TestGateway

beforeAll(async () => {
  gateway = await openGateway({})
})
afterAll(() => gateway.close())

const tollgate = (words: string) =>
  atTerminal([...words.split(' '), '--no-color'], {
    env: { TOLLGATE_URL: gateway.adminUrl, TOLLGATE_ADMIN_KEY: gateway.adminKey },
  })

describe('limits and budgets of the command line', () => {
  it('are set by name, merged, shown and taken away', async () => {
    expect((await tollgate('limits set app/default --rpm 60 --tpd 5000')).stdout).toContain(
      '60 rpm, 5000 tokens/day',
    )
    await tollgate('limits set app/default --rpm none --otpm 9 --model simulator/*')
    await tollgate('budgets set app/default 10.00/month --warn 80')
    const raised = await tollgate(
      'budgets set app/default 10.00/month --raise 5 --until 2d --reason launch',
    )
    expect(raised.code, raised.stderr).toBe(0)
    expect((await tollgate('limits list')).stdout).toMatch(
      /application\/app_default +60 rpm, 5000 tokens\/day, 10 USD\/month, simulator\/\*: 9 otpm/,
    )
    expect((await tollgate('budgets list')).stdout).toMatch(
      /application default +month +15 +0 +0 +15 .*hard +ok/,
    )
    const { stdout } = await tollgate('budgets status app/default')
    expect(stdout).toMatch(
      /^application default, month: 0 of 15 USD \(0 %\)\n {2}\[\.{30}\] 0 held, 15 left, resets 20/,
    )
    await tollgate('budgets set app/default none/month')
    expect((await tollgate('budgets status app/default')).stdout).toBe('')
    expect((await tollgate('limits unset app/default')).code).toBe(0)
    expect((await tollgate('limits list')).stdout).toBe('')
  })

  it('are those of a key as well', async () => {
    await tollgate('keys create --name robot --budget 1.00/day')
    await tollgate('limits set key/robot --itpd 700')
    await tollgate('budgets set key/robot 2.00/total --policy soft')
    await tollgate('keys update robot --rpm 5')
    const { body } = await gateway.admin('GET', '/admin/v1/keys')
    const robot = body.data.find(({ name }: { name: string }) => name === 'robot')
    expect(robot.limits).toMatchObject({
      requests_per_minute: 5,
      input_tokens_per_day: 700,
      budgets: [
        { window: 'day', policy: 'hard' },
        { window: 'total', policy: 'soft', limit: { amount: '2' } },
      ],
    })
    expect((await tollgate('budgets status key/robot')).stdout).toContain('key robot, day: 0 of 1')
  })

  for (const words of [
    'limits set shop --rpm 5',
    'limits set app/default',
    'limits set app/default --rpm many',
    'budgets set app/default 10',
    'budgets set app/default 10/month --raise 5',
  ]) {
    it(`refuses ${words}`, async () => {
      const ran = await tollgate(words)
      expect([ran.code, ran.stdout]).toEqual([2, ''])
    })
  }

  it('say what is not there', async () => {
    expect((await tollgate('limits set app/nobody --rpm 5')).code).toBe(3)
  })
})
