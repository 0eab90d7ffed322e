import { Agent } from 'node:http'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'
import type { Reply } from './caller.ts'
import { dice } from './dice.ts'
import { answers, bills, fails } from './provider.ts'
import type { Provider, Script } from './provider.ts'
import { nanos } from './usd.ts'

/** Most output tokens of each request, and what they cost at a dollar for a million. */
export const MOST_TOKENS = 100
const BOUND_NANOS = 100_000n
/** Money for exactly ten. */
const BUDGET_USD = '0.001'
const BUDGET_NANOS = 1_000_000n

/** Processes that share a database share it too. */
export const MASTER_KEY = 'of-all-processes-that-share-a-database'

/** How the provider behaves in a race; the seed chooses. */
export const RACES = [
  'at once',
  'late and streamed',
  'failing',
  'cheaper than held',
  'failing at a cost',
] as const

export interface RaceResult {
  readonly seed: number
  readonly race: (typeof RACES)[number]
  readonly answered: number
  readonly refused: number
  readonly failed: number
  /** Requests that followed one by one, until one was refused. */
  readonly afterwards: number
  readonly spentNanos: bigint
  /** What is wrong; empty when nothing is. */
  readonly faults: readonly string[]
}

export function RACE_SETTINGS(provider: Provider): object {
  const instance = {
    kind: 'openai',
    api_key: 'sk-upstream',
    base_url: provider.baseUrl,
    allow_private_network: true,
    prices: { '*': { input: '0', output: '1' } },
  }
  return {
    providers: { stand: instance, spare: instance },
    models: { 'with-spare': { targets: ['stand/m1'], fallbacks: ['spare/m1'] } },
  }
}

/** Many requests at once on a key that can pay for ten of them, over all processes. */
export async function race(
  gateways: readonly TestGateway[],
  provider: Provider,
  seed: number,
  requests: number,
): Promise<RaceResult> {
  const random = dice(seed)
  const name = RACES[seed % RACES.length]!
  const model = name === 'failing at a cost' ? 'with-spare' : 'stand/m1'
  const agent = new Agent({ keepAlive: true })
  const [gateway] = gateways as [TestGateway]
  const { body: key } = await gateway.admin('POST', '/admin/v1/keys', {
    name: `race ${seed}`,
    limits: { budgets: [{ window: 'total', limit: BUDGET_USD }] },
  })
  const ask = (stream: boolean, process = 0): Promise<Reply> =>
    call(
      gateways[process]!.dataUrl,
      { model, messages: HELLO, max_tokens: MOST_TOKENS, stream },
      { key: key.secret, agent },
    )

  provider.script = scriptOf(name, random)
  const streamed = name !== 'at once'
  const replies = await Promise.all(
    Array.from({ length: requests }, (_, index) =>
      ask(streamed && random.chance(0.5), index % gateways.length),
    ),
  )
  provider.script = answers()
  const spentThen = await spent(gateway, key.id)
  let last = await ask(false)
  let afterwards = 0
  for (; last.status === 200 && afterwards < 20; last = await ask(false)) afterwards++
  agent.destroy()
  const spentNanos = await spent(gateway, key.id)

  const answered = replies.filter(({ complete, status }) => complete && status === 200)
  const refused = replies.filter(isRefusal)
  const failed = replies.length - answered.length - refused.length
  const faults: string[] = []
  const expect = <T extends bigint | number | string | boolean>(
    what: string,
    found: T,
    wanted: T,
  ): void => {
    if (found !== wanted) faults.push(`${what}: ${found}, not ${wanted}`)
  }
  if (name === 'at once' || name === 'late and streamed') {
    expect('answered', answered.length, 10)
    expect('refused', refused.length, requests - 10)
    expect('spent', spentThen, BUDGET_NANOS)
  }
  if (!name.startsWith('failing')) expect('failed', failed, 0)
  if (spentNanos > BUDGET_NANOS) faults.push(`spent ${spentNanos} of ${BUDGET_NANOS}`)
  expect('fit afterwards', BigInt(afterwards), (BUDGET_NANOS - spentThen) / BOUND_NANOS)
  expect('refused at last', isRefusal(last), true)
  const { details } = last.body.error
  expect('held at last', details.reserved, '0')
  expect('spent, as refused', nanos(details.spent), spentNanos)
  return {
    seed,
    race: name,
    answered: answered.length,
    refused: refused.length,
    failed,
    afterwards,
    spentNanos,
    faults,
  }
}

/** How a provider behaves in a race. */
export function scriptOf(name: (typeof RACES)[number], random: ReturnType<typeof dice>): Script {
  if (name === 'at once') return answers()
  return (received, response) => {
    const manner = { delayMs: random.below(20), pauseMs: random.below(3) }
    if (name === 'failing' && random.chance(0.5)) return fails(500)(received, response)
    if (name === 'failing at a cost' && random.chance(0.4)) {
      return bills(random.below(MOST_TOKENS))(received, response)
    }
    const outputTokens = name === 'cheaper than held' ? random.below(MOST_TOKENS) : MOST_TOKENS
    return answers({ ...manner, outputTokens })(received, response)
  }
}

function isRefusal({ status, text }: Reply): boolean {
  return status === 429 && text.includes('"insufficient_quota"')
}

/** As the ledger says. */
async function spent(gateway: TestGateway, keyId: string): Promise<bigint> {
  const { body } = await gateway.admin('GET', `/admin/v1/costs/report?key=${keyId}`)
  return nanos(body.total.cost.amount)
}
