import { describe, expect, it } from 'vitest'
import { GatewayError } from '#errors'
import type { Asked, Candidate, Demand, Entry, Grant, Key, Limits, SentAttempt } from '#protocol'
import { NO_USAGE } from '#protocol'
import { type Account, type Measured, openAccount } from '../../src/metering/account.ts'
import { createEmbeddedAdmission } from '../../src/metering/embedded-admission.ts'
import { NO_HISTORY } from '../../src/metering/scope-state.ts'

const NOON = Date.parse('2026-11-23T12:00Z')

/** Ten tokens of prompt and up to ten of an answer, at one nano each. */
const DEMAND: Demand = {
  inputTokens: 10,
  outputTokens: 10,
  clampable: false,
  cost: (output) => 10n + BigInt(output),
}

describe('the account of a request', () => {
  it('holds what a failed attempt cost beside the next, and settles both', async () => {
    const { open, left, entries } = await start({ budget: 30n })
    const account = await open([cost(7n), cost(20n)])
    fail(account)
    await account.cover()
    expect(left()).toMatchObject({ budget: 3n })
    await account.cover()
    expect(left()).toMatchObject({ budget: 3n })
    account.attempt(candidate).end('ok')
    await account.settle()
    expect(left()).toMatchObject({ budget: 3n })
    expect(entries.map(({ id, outcome }) => [id, outcome])).toEqual([
      ['req_1.1', 'error'],
      ['req_1.2', 'ok'],
    ])
  })

  it('says so where there is no money for another attempt, and settles the first', async () => {
    const { open, left } = await start({ budget: 26n })
    const account = await open([cost(7n)])
    fail(account)
    expect(() => account.cover()).toThrow(/another attempt takes 0.000000007/)
    await account.settle()
    expect(left()).toMatchObject({ budget: 19n })
  })

  it('holds the bound of an attempt that is still being counted', async () => {
    const { open, left } = await start({ budget: 100n })
    const counting = Promise.withResolvers<Measured>()
    const account = await open([counting.promise, cost(5n)])
    fail(account)
    await account.cover()
    // Twice the prompt, and the second answer.
    expect(left()).toMatchObject({ budget: 70n })
    account.attempt(candidate).end('ok')
    counting.resolve(cost(3n))
    await account.settle()
    expect(left()).toMatchObject({ budget: 92n })
  })

  it('asks no more where nothing was spent', async () => {
    const { open, left } = await start({ budget: 20n })
    const account = await open([{ ...cost(0n), usage: NO_USAGE, usageSource: 'none' }])
    fail(account)
    expect(account.cover()).toBeUndefined()
    expect(left()).toMatchObject({ budget: 0n })
  })

  it('frees the place of a request that is over while its money is held', async () => {
    const { open, left, admit } = await start({ budget: 50n, concurrency: 1 })
    const counting = Promise.withResolvers<Measured>()
    const account = await open([counting.promise])
    expect(left()).toEqual({ budget: 30n, places: 0n })
    account.attempt(candidate).end('aborted')
    const settled = account.settle()
    expect(left()).toEqual({ budget: 30n, places: 1n })
    await admit()
    expect(left()).toEqual({ budget: 10n, places: 0n })
    counting.resolve(cost(4n))
    await settled
    expect(left()).toEqual({ budget: 26n, places: 0n })
  })

  it('settles what is known where another attempt has no price', async () => {
    const { open, left } = await start({ budget: 50n })
    const { cost: _, ...unpriced } = cost(0n)
    const account = await open([cost(7n), unpriced])
    fail(account)
    account.attempt(candidate).end('ok')
    await account.settle()
    expect(left()).toMatchObject({ budget: 43n })
    expect(account.total.cost).toBeUndefined()
  })

  it('tells of a ledger that failed when it settles, not before, and settles all the same', async () => {
    const { open, left } = await start({ budget: 50n, record: refuse })
    const account = await open([cost(7n), cost(8n)])
    fail(account)
    // Long enough for a rejection that nobody handles to be noticed.
    await new Promise((resolve) => setTimeout(resolve, 5))
    account.attempt(candidate).end('ok')
    await expect(account.settle()).rejects.toMatchObject({ code: 'unavailable' })
    await expect(account.settle()).rejects.toMatchObject({ code: 'unavailable' })
    expect(left()).toMatchObject({ budget: 35n })
  })

  it('makes the entry of a crash only when it is asked for', async () => {
    const { open, sent } = await start({ budget: 50n })
    const account = await open([cost(7n)])
    const attempt = account.attempt(candidate)
    attempt.sent()
    attempt.sent()
    expect(sent).toHaveLength(1)
    expect(sent[0]!.asIfCrashed()).toMatchObject({
      id: 'req_1.1',
      outcome: 'crashed',
      usage: { input: 10, output: 10 },
      usageSource: 'estimated',
      cost: 20n,
      priceVersion: 'bound',
    })
  })

  it('charges a crash for the attempt alone, not for those held beside it', async () => {
    const { open, sent } = await start({ budget: 50n })
    const account = await open([cost(7n), cost(1n)])
    fail(account)
    await account.cover()
    account.attempt(candidate).sent()
    expect(sent[1]!.asIfCrashed()).toMatchObject({ id: 'req_1.2', cost: 20n })
  })
})

interface Setting {
  readonly budget: bigint
  readonly concurrency?: number
  readonly record?: (entry: Entry) => Promise<void>
}

/** A key over a real admission, and accounts of requests on it. */
async function start({ budget, concurrency = 9, record }: Setting) {
  const admission = createEmbeddedAdmission({ load: async () => NO_HISTORY, elapsed: () => NOON })
  const limits: Limits = { concurrency, budgets: [{ window: 'total', limit: budget }] }
  const scopes = [{ kind: 'key', id: 'key_1', name: '', limits, timeZone: 'UTC' }] as const
  const entries: Entry[] = []
  const sent: SentAttempt[] = []
  await admission.peek(scopes, NOON)
  return { entries, sent, admit, left, open }

  async function admit(): Promise<Grant> {
    return admission.admit(scopes, DEMAND, NOON)
  }

  function left() {
    const standing = admission.peek(scopes, NOON)
    if (standing instanceof Promise) throw new Error('not loaded')
    const of = (limit: string) => standing.find((one) => one.limit === limit)?.remaining
    return { places: of('concurrency'), budget: of('budget') }
  }

  /** @param measured of its attempts, in the order they end */
  async function open(measured: readonly (Measured | Promise<Measured>)[]): Promise<Account> {
    const coming = [...measured]
    const grant = await admit()
    return openAccount(
      {
        requestId: 'req_1',
        key,
        endpoint: '/v1/chat/completions',
        asked,
        grant,
        demand: DEMAND,
      },
      {
        measure: () => coming.shift()!,
        record: record ?? (async (entry) => void entries.push(entry)),
        opened: (attempt) => void sent.push(attempt),
        extendGrant: (held, demand, spent) => admission.extend(held, demand, spent, NOON),
        freeSlot: (held) => admission.freeSlot(held),
        settleGrant: (held, settlement) => admission.settle(held, settlement, NOON),
        now: () => NOON,
        tick: () => 0,
      },
    )
  }
}

function fail(account: Account): void {
  const attempt = account.attempt(candidate)
  attempt.sent()
  attempt.end('error', new GatewayError('upstream_error', 'It hung up'))
}

function cost(nanos: bigint): Measured {
  return { usage: { ...NO_USAGE, input: 1 }, usageSource: 'provider', cost: nanos }
}

async function refuse(): Promise<void> {
  throw new GatewayError('unavailable', 'The ledger cannot be written')
}

const key: Key = {
  id: 'key_1',
  tenantId: 'tenant_1',
  applicationId: 'app_1',
  rootId: 'key_1',
  tags: [],
  name: 'robot',
  prefix: 'sk-tg-live-abc',
  last4: 'wxyz',
  status: 'active',
  createdAt: NOON,
  models: ['*'],
  endpoints: ['*'],
  addresses: [],
  limits: {},
  strict: false,
}

const asked: Asked = {
  operation: 'embeddings',
  request: { model: 'stand/m1', input: ['hello'], encoding: 'float', providerOptions: {} },
}

const candidate: Candidate = {
  name: 'stand/m1',
  instance: {
    name: 'stand',
    provider: {
      id: 'stand',
      name: 'Stand',
      credentialVariables: [],
      capabilities: {
        tools: false,
        jsonSchema: false,
        images: 'none',
        files: false,
        audio: false,
        reasoning: false,
      },
      readError: () => ({ kind: 'server', message: '' }),
    },
    baseUrl: '',
    headers: {},
    allowPrivateNetwork: false,
    models: [],
    closed: false,
  },
  target: { provider: 'stand', model: 'm1', baseUrl: '', headers: {} },
}
