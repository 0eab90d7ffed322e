import { Agent } from 'node:http'
import type { TestGateway } from '../gateway.ts'
import { MOST_TOKENS, scriptOf } from './budget-race.ts'
import type { RACES } from './budget-race.ts'
import { call, HELLO } from './caller.ts'
import type { Reply } from './caller.ts'
import { dice } from './dice.ts'
import { answers } from './provider.ts'
import type { Provider } from './provider.ts'
import { nanos } from './usd.ts'

const BOUND_NANOS = 100_000n

export interface NestedResult {
  readonly seed: number
  readonly answered: number
  readonly refused: number
  readonly failed: number
  readonly spentNanos: bigint
  /** What is wrong; empty when nothing is. */
  readonly faults: readonly string[]
}

/**
 * Many requests at once on several keys of several end users under one tag, each with a budget
 * of its own and in an order of its own, over all processes.
 */
export async function nestedRace(
  gateways: readonly TestGateway[],
  provider: Provider,
  name: (typeof RACES)[number],
  seed: number,
  requests: number,
): Promise<NestedResult> {
  const random = dice(seed)
  const [gateway] = gateways as [TestGateway]
  const agent = new Agent({ keepAlive: true })
  const usd = (count: number): string => `0.${String(count * 100).padStart(6, '0')}`
  const tag = `race-${seed}`
  const most = 4 + random.below(10)
  const users = Array.from({ length: 3 }, (_, index) => ({
    id: `${tag}-user-${index}`,
    most: 1 + random.below(8),
  }))
  const set = async (path: string, count: number, window: string): Promise<void> => {
    const { status, body } = await gateway.admin('PUT', `/admin/v1/limits/${path}`, {
      budgets: [{ window, limit: usd(count) }],
    })
    if (status !== 200) throw new Error(JSON.stringify(body))
  }
  await set(`tag/${tag}`, most, 'month')
  for (const user of users) await set(`end_user/${user.id}`, user.most, 'day')
  const keys = await Promise.all(
    Array.from({ length: 4 }, async (_, index) => {
      const count = 1 + random.below(6)
      const { body } = await gateway.admin('POST', '/admin/v1/keys', {
        name: `${tag} ${index}`,
        tags: [tag],
        limits: { budgets: [{ window: 'total', limit: usd(count) }] },
      })
      return { id: body.id, secret: body.secret, most: count }
    }),
  )
  // Other processes learn of limits within a poll.
  if (gateways.length > 1) await new Promise((resolve) => setTimeout(resolve, 1200))

  const model = name === 'failing at a cost' ? 'with-spare' : 'stand/m1'
  const ask = (index: number, stream: boolean): Promise<Reply> =>
    call(
      gateways[index % gateways.length]!.dataUrl,
      {
        model,
        messages: HELLO,
        max_tokens: MOST_TOKENS,
        stream,
        user: users[random.below(users.length)]!.id,
      },
      { key: keys[random.below(keys.length)]!.secret, agent },
    )
  provider.script = scriptOf(name, random)
  const replies = await Promise.all(
    Array.from({ length: requests }, (_, index) => ask(index, random.chance(0.3))),
  )
  provider.script = answers()

  const faults: string[] = []
  const spent = async (query: string): Promise<bigint> => {
    const { body } = await gateway.admin('GET', `/admin/v1/costs/report?${query}`)
    return nanos(body.total.cost.amount)
  }
  const within = async (what: string, query: string, count: number): Promise<bigint> => {
    const sum = await spent(query)
    const limit = BigInt(count) * BOUND_NANOS
    if (sum > limit) faults.push(`${what}: spent ${sum} of ${limit}`)
    return sum
  }
  const spentNanos = await within('tag', `tag=${tag}`, most)
  for (const key of keys) await within(key.id, `key=${key.id}`, key.most)
  for (const user of users) await within(user.id, `end_user=${user.id}`, user.most)

  const { body } = await gateway.admin('GET', `/admin/v1/limits/standing?kind=tag&subject=${tag}`)
  const [standing] = body.data
  if (standing.reserved.amount !== '0') faults.push(`held at last: ${standing.reserved.amount}`)
  if (nanos(standing.used.amount) !== spentNanos) {
    faults.push(`used ${standing.used.amount}, and the ledger has ${spentNanos}`)
  }
  agent.destroy()
  const answered = replies.filter(({ status, complete }) => status === 200 && complete).length
  const refused = replies.filter(
    ({ status, text }) => status === 429 && text.includes('"insufficient_quota"'),
  ).length
  const failed = replies.length - answered - refused
  if (failed > 0 && !name.startsWith('failing')) faults.push(`failed: ${failed}`)
  if (answered === 0 && !name.startsWith('failing')) faults.push('nothing passed')
  return { seed, answered, refused, failed, spentNanos, faults }
}
