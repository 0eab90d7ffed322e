import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'
import type { Ask, Reply } from './caller.ts'
import { answers, beginStream, fails, frame, openProvider } from './provider.ts'
import { streamsThen } from './provider.ts'
import type { Provider, Script } from './provider.ts'
import { nanos } from './usd.ts'

const FIRST_EVENT_MS = 250
const IDLE_MS = 250
const TOTAL_MS = 900

/** One way a request can end. */
interface Way {
  readonly way: string
  readonly stream: boolean
  readonly script: Script
  /** Done by the caller, or to its key, while the answer comes. */
  readonly meanwhile?: (gateway: TestGateway, keyId: string) => Ask
  /** What the caller sees: a status; `whole` a complete answer; a code within a stream; `left`. */
  readonly sees: number | 'whole' | 'left' | { readonly error: string }
  /** Outcome of each attempt, as the ledger has it. */
  readonly outcomes: readonly string[]
  readonly usage: 'provider' | 'estimated' | 'none'
}

const stays = (): void => undefined

const leavesAtPiece = (piece: number) => (): Ask => ({
  onPiece: (pieces, leave) => void (pieces === piece && leave()),
})

const WAYS: readonly Way[] = [
  {
    way: 'a whole answer',
    stream: false,
    script: answers({ outputTokens: 7 }),
    sees: 'whole',
    outcomes: ['ok'],
    usage: 'provider',
  },
  {
    way: 'a whole stream',
    stream: true,
    script: answers({ outputTokens: 7 }),
    sees: 'whole',
    outcomes: ['ok'],
    usage: 'provider',
  },
  {
    way: 'a caller who leaves before anything came',
    stream: true,
    script: stays,
    meanwhile: () => ({ headers: { connection: 'close' } }),
    sees: 'left',
    outcomes: ['aborted'],
    usage: 'estimated',
  },
  {
    way: 'a caller who leaves at the first piece',
    stream: true,
    script: answers({ pauseMs: 20, pieces: 50 }),
    meanwhile: leavesAtPiece(1),
    sees: 'left',
    outcomes: ['aborted'],
    usage: 'estimated',
  },
  {
    way: 'a caller who leaves at the fifth piece',
    stream: true,
    script: answers({ pauseMs: 20, pieces: 50 }),
    meanwhile: leavesAtPiece(5),
    sees: 'left',
    outcomes: ['aborted'],
    usage: 'estimated',
  },
  {
    way: 'a provider that refuses',
    stream: false,
    script: fails(400, 'nope'),
    sees: 400,
    outcomes: ['error'],
    usage: 'none',
  },
  {
    way: 'a provider that fails',
    stream: true,
    script: fails(500),
    sees: 502,
    outcomes: ['error'],
    usage: 'none',
  },
  {
    way: 'a provider that is overloaded, asked again',
    stream: false,
    script: fails(503),
    sees: 502,
    outcomes: ['error', 'error', 'error'],
    usage: 'none',
  },
  {
    way: 'a provider that hangs up on the request',
    stream: false,
    script: (_, response) => void response.destroy(),
    sees: 502,
    outcomes: ['error'],
    usage: 'estimated',
  },
  {
    way: 'a provider that hangs up within its answer',
    stream: false,
    script: (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '999' })
      response.write('{"id":"chatcmpl-1","choices":[')
      setTimeout(() => response.destroy(), 20)
    },
    sees: 502,
    outcomes: ['error'],
    usage: 'estimated',
  },
  {
    way: 'a provider that says nothing',
    stream: true,
    script: stays,
    sees: 504,
    outcomes: ['timeout'],
    usage: 'estimated',
  },
  {
    way: 'a provider that begins a stream and says nothing',
    stream: true,
    script: (_, response) => beginStream(response),
    sees: 504,
    outcomes: ['timeout'],
    usage: 'estimated',
  },
  {
    way: 'a stream that falls silent',
    stream: true,
    script: streamsThen(3, stays),
    sees: { error: 'upstream_timeout' },
    outcomes: ['timeout'],
    usage: 'estimated',
  },
  {
    way: 'a stream that takes too long in all',
    stream: true,
    script: answers({ pauseMs: 100, pieces: 50 }),
    sees: { error: 'upstream_timeout' },
    outcomes: ['timeout'],
    usage: 'estimated',
  },
  {
    way: 'a stream whose provider hangs up',
    stream: true,
    script: streamsThen(3, (response) => response.destroy()),
    sees: { error: 'upstream_error' },
    outcomes: ['error'],
    usage: 'estimated',
  },
  {
    way: 'a stream that ends without its end',
    stream: true,
    script: streamsThen(3, (response) => response.end()),
    sees: { error: 'upstream_error' },
    outcomes: ['error'],
    usage: 'estimated',
  },
  {
    way: 'a stream that says it failed',
    stream: true,
    script: streamsThen(3, (response) =>
      response.end(frame({ error: { message: 'overloaded', type: 'server_error' } })),
    ),
    sees: { error: 'upstream_error' },
    outcomes: ['error'],
    usage: 'estimated',
  },
  {
    way: 'a stream that turns into noise',
    stream: true,
    script: streamsThen(3, (response) => response.end('data: {"choices":[{\n\n')),
    sees: { error: 'upstream_invalid' },
    outcomes: ['error'],
    usage: 'estimated',
  },
  {
    way: 'a key disabled within a stream',
    stream: true,
    script: answers({ pauseMs: 20, pieces: 40 }),
    meanwhile: (gateway, keyId) => ({
      onHead: () => void gateway.admin('POST', `/admin/v1/keys/${keyId}/disable`),
    }),
    sees: { error: 'revoked_api_key' },
    outcomes: ['aborted'],
    usage: 'estimated',
  },
]

/** `openai` passes bytes through; `mistral`, much alike, is translated. */
describe.each(['openai', 'mistral'])('a request to a provider of kind %s', (kind) => {
  let provider: Provider
  let gateway: TestGateway

  beforeAll(async () => {
    provider = await openProvider()
    gateway = await openGateway({
      first_event_timeout_ms: FIRST_EVENT_MS,
      idle_timeout_ms: IDLE_MS,
      total_timeout_ms: TOTAL_MS,
      providers: {
        stand: {
          kind,
          api_key: 'sk-upstream',
          base_url: provider.baseUrl,
          allow_private_network: true,
          prices: { '*': { input: '1', output: '2' } },
        },
      },
    })
  })
  afterAll(async () => {
    await gateway.close()
    await provider.close()
  })

  it.each(WAYS)('is settled once after $way', async (way) => {
    const { body: key } = await gateway.admin('POST', '/admin/v1/keys', {
      name: way.way,
      limits: { concurrency: 1, budgets: [{ window: 'total', limit: '1' }] },
    })
    const ask = (given: object, asks: Ask = {}): Promise<Reply> =>
      call(
        gateway.dataUrl,
        { model: 'stand/m1', messages: HELLO, ...given },
        { key: key.secret, ...asks },
      )

    provider.script = way.script
    const asks = way.meanwhile?.(gateway, key.id) ?? {}
    const request = { stream: way.stream, max_tokens: 50 }
    const reply = await (way.script === stays && way.sees === 'left'
      ? leavesBeforeTheHead(gateway, key.secret, request)
      : ask(request, asks))
    expect(sight(reply, way)).toEqual(way.sees)

    provider.script = answers({ outputTokens: 3 })
    await gateway.admin('POST', `/admin/v1/keys/${key.id}/enable`)
    const again = await soon(() => ask({ max_tokens: 50 }))
    expect(again.status, again.text).toBe(200)

    // What a caller who left had is counted, at first by a cold counter; money is held meanwhile.
    const refused = async (): Promise<Details> =>
      (await ask({ max_tokens: 1_000_000 })).body.error.details
    await expect.poll(async () => (await refused()).reserved, { timeout: 5000 }).toBe('0')
    const { body: report } = await gateway.admin(
      'GET',
      `/admin/v1/costs/report?key=${key.id}&group_by=outcome`,
    )
    expect(report.total).toMatchObject({ requests: 2, attempts: way.outcomes.length + 1 })
    const attempts = new Map(
      report.rows.map((row: Row) => [row.group.outcome, row.attempts] as const),
    )
    expect(attempts).toEqual(count([...way.outcomes, 'ok']))
    if (reply !== undefined) {
      const entries = await gateway.entries(reply.requestId, way.outcomes.length)
      expect(entries.map(({ outcome }) => outcome)).toEqual(way.outcomes)
      expect(entries.at(-1)!.usage_source).toBe(way.usage)
      if (way.usage !== 'none') expect(nanos(entries.at(-1)!.cost_usd!)).toBeGreaterThan(0n)
    }

    expect(await refused()).toMatchObject({ reserved: '0', spent: report.total.cost.amount })
  })

  async function leavesBeforeTheHead(
    { dataUrl }: TestGateway,
    secret: string,
    request: object,
  ): Promise<undefined> {
    const leaving = new AbortController()
    const before = provider.received.length
    const asked = fetch(`${dataUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'stand/m1', messages: HELLO, ...request }),
      signal: leaving.signal,
    }).catch(() => undefined)
    await expect.poll(() => provider.received.length).toBe(before + 1)
    leaving.abort()
    await asked
    await expect.poll(() => provider.received.at(-1)!.abandoned).toBe(true)
  }
})

interface Details {
  readonly reserved: string
  readonly spent: string
}

interface Row {
  readonly group: { readonly outcome: string }
  readonly attempts: number
}

function count(names: readonly string[]): Map<string, number> {
  return names.reduce((sum, one) => sum.set(one, (sum.get(one) ?? 0) + 1), new Map())
}

function sight(reply: Reply | undefined, { stream, sees }: Way): Way['sees'] {
  if (reply === undefined) return 'left'
  if (reply.status !== 200) return reply.status
  if (reply.complete) return 'whole'
  if (sees === 'left') return reply.text.includes('"error"') ? 'whole' : 'left'
  const last = reply.text.trimEnd().split('\n').at(-1) ?? ''
  expect(stream && last.startsWith('data: {"error":'), reply.text).toBe(true)
  const { error } = JSON.parse(last.slice('data: '.length))
  expect(error.request_id).toBe(reply.requestId)
  return { error: error.code }
}

/** A caller's leaving is noticed a moment later. */
async function soon(ask: () => Promise<Reply>): Promise<Reply> {
  for (let turn = 0; ; turn++) {
    const reply = await ask()
    if (reply.status !== 429 || turn === 200) return reply
    await sleep(10)
  }
}
