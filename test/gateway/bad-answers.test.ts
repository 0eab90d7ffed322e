import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'
import type { Reply } from './caller.ts'
import { answers, beginStream, chunk, completion, delta, frame, openProvider } from './provider.ts'
import type { Provider, Script } from './provider.ts'
import { nanos } from './usd.ts'

const MIB = 1024 * 1024

let provider: Provider
let gateway: TestGateway

beforeAll(async () => {
  provider = await openProvider()
  const stand = {
    api_key: 'sk-upstream',
    base_url: provider.baseUrl,
    allow_private_network: true,
    prices: { '*': { input: '1', output: '2' } },
  }
  gateway = await openGateway({
    max_response_bytes: MIB,
    max_attempts: 1,
    // `openai` passes bytes through; `mistral`, much alike, is translated.
    providers: { openai: { ...stand, kind: 'openai' }, mistral: { ...stand, kind: 'mistral' } },
  })
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
})

interface Asked {
  readonly reply: Reply
  readonly outcome: string
  readonly usageSource: string
  readonly costNanos: bigint
  readonly output: number
}

/** Asks with a key of its own; what it cost, and that nothing stays held. */
async function ask(model: string, script: Script, given: object = {}): Promise<Asked> {
  const { body: key } = await gateway.admin('POST', '/admin/v1/keys', {
    name: 'bad answers',
    limits: { concurrency: 1, budgets: [{ window: 'total', limit: '1' }] },
  })
  const request = (more: object): Promise<Reply> =>
    call(
      gateway.dataUrl,
      { model: `${model}/m1`, messages: HELLO, max_tokens: 50, ...more },
      { key: key.secret },
    )
  provider.script = script
  const reply = await request(given)
  provider.script = answers()
  const [entry, ...others] = await gateway.entries(reply.requestId)
  expect(others).toEqual([])
  const over = await request({ max_tokens: 1_000_000 })
  const { body: report } = await gateway.admin('GET', `/admin/v1/costs/report?key=${key.id}`)
  expect(over.body.error.details).toMatchObject({
    reserved: '0',
    spent: report.total.cost.amount,
  })
  expect(nanos(entry!.cost_usd!)).toBe(nanos(report.total.cost.amount))
  return {
    reply,
    outcome: entry!.outcome,
    usageSource: entry!.usage_source,
    costNanos: nanos(entry!.cost_usd!),
    output: entry!.usage.output!,
  }
}

const raw =
  (status: number, type: string, body: string, headers: object = {}): Script =>
  (_, response) => {
    response.writeHead(status, { 'content-type': type, ...headers })
    response.end(body)
  }

const HTML = '<!doctype html><title>502</title><h1>Bad gateway</h1>'

describe.each(['openai', 'mistral'])('an answer of %s that is none', (model) => {
  it.each<[what: string, status: number, code: string, script: Script]>([
    ['a page', 502, 'upstream_invalid', raw(200, 'text/html', HTML)],
    ['a page of a proxy that failed', 502, 'upstream_error', raw(502, 'text/html', HTML)],
    [
      'half of it',
      502,
      'upstream_invalid',
      raw(200, 'application/json', '{"id":"chatcmpl-1","cho'),
    ],
    ['nothing', 502, 'upstream_invalid', raw(200, 'application/json', '')],
    ['null', 502, 'upstream_invalid', raw(200, 'application/json', 'null')],
    ['a list', 502, 'upstream_invalid', raw(200, 'application/json', '[]')],
    ['an object without choices', 502, 'upstream_invalid', raw(200, 'application/json', '{}')],
    [
      'an error under 200',
      502,
      'upstream_error',
      raw(200, 'application/json', '{"error":{"message":"no"}}'),
    ],
    [
      'a redirect',
      502,
      'upstream_error',
      raw(302, 'text/plain', '', { location: 'http://evil.example/' }),
    ],
    ['204', 502, 'upstream_invalid', raw(204, 'text/plain', '')],
    [
      'noise that claims to be compressed',
      502,
      'upstream_invalid',
      raw(200, 'application/json', '{}', { 'content-encoding': 'gzip' }),
    ],
    ['a refusal without words', 400, 'invalid_value', raw(400, 'text/plain', '')],
    [
      'a refused credential',
      502,
      'upstream_rejected',
      raw(401, 'application/json', '{"error":{"message":"bad sk-upstream"}}'),
    ],
    ['a status nobody knows', 502, 'upstream_error', raw(599, 'text/plain', 'what')],
  ])('is refused: %s', async (_, status, code, script) => {
    const { reply, outcome } = await ask(model, script)
    expect([reply.status, reply.body.error.code], reply.text).toEqual([status, code])
    expect(outcome).toBe('error')
    expect(reply.text).not.toContain('sk-upstream')
    expect(reply.text).not.toContain('<h1>')
  })

  it.each<[what: string, status: number, code: string, script: Script]>([
    ['a page', 502, 'upstream_invalid', raw(200, 'text/html', HTML)],
    ['nothing', 502, 'upstream_invalid', raw(200, 'text/event-stream', '')],
    ['nothing as JSON', 502, 'upstream_invalid', raw(200, 'application/json', '')],
    [
      'a whole answer',
      502,
      'upstream_invalid',
      raw(200, 'application/json', JSON.stringify(completion('one', 1))),
    ],
    ['comments only', 502, 'upstream_error', raw(200, 'text/event-stream', ': hi\n\n'.repeat(100))],
    [
      'the end marker only',
      502,
      'upstream_error',
      raw(200, 'text/event-stream', ': hi\n\ndata: [DONE]\n\n'),
    ],
    ['noise', 502, 'upstream_invalid', raw(200, 'text/event-stream', 'data: {"choices":[{\n\n')],
    [
      'an error',
      502,
      'upstream_error',
      raw(200, 'text/event-stream', 'data: {"error":{"message":"no"}}\n\n'),
    ],
    [
      'an error as JSON',
      502,
      'upstream_error',
      raw(200, 'application/json', '{"error":{"message":"no"}}'),
    ],
  ])('is refused where a stream was asked: %s', async (_, status, code, script) => {
    const { reply, outcome } = await ask(model, script, { stream: true })
    expect([reply.status, reply.body.error.code], reply.text).toEqual([status, code])
    expect(outcome).toBe('error')
  })

  it.each<[what: string, stream: boolean, script: Script]>([
    ['a stream', true, floods(delta('word '.repeat(200)))],
    ['a frame', true, floods('x'.repeat(4096), 'data: {"choices":[{"delta":{"content":"')],
    ['empty frames', true, floods('data: {"choices":[]}\n\n'.repeat(50))],
    ['comments', true, floods(': hi\n\n'.repeat(200))],
    ['a body', false, floods(' '.repeat(4096), '{"id":')],
  ])('is cut where it does not end: %s', async (_, stream, script) => {
    const { reply, outcome } = await ask(model, script, { stream })
    expect(reply.complete && reply.status === 200).toBe(false)
    expect(reply.text.slice(-2000)).toContain('"code":"upstream_invalid"')
    expect(outcome).toBe('error')
    expect(reply.text.length).toBeLessThan(2 * MIB)
    await expect.poll(() => provider.received.at(-1)!.abandoned).toBe(true)
  })
})

describe('usage that cannot be true', () => {
  const claims: readonly (readonly [what: string, usage: unknown])[] = [
    ['negative', { prompt_tokens: -8, completion_tokens: -1_000_000, total_tokens: -1_000_008 }],
    ['absurd', { prompt_tokens: 8, completion_tokens: 1e15, total_tokens: 1e15 }],
    ['beyond all numbers', { prompt_tokens: 1e308, completion_tokens: 1e308, total_tokens: 1 }],
    ['a text', { prompt_tokens: '8', completion_tokens: '5', total_tokens: '13' }],
    ['a fraction', { prompt_tokens: 8.5, completion_tokens: 0.5, total_tokens: 9 }],
    ['null', null],
    ['a list', []],
    ['not there', undefined],
  ]

  for (const model of ['openai', 'mistral']) {
    for (const [what, usage] of claims) {
      for (const stream of [false, true]) {
        it(`is estimated: ${what}, of ${model}, ${stream ? 'streamed' : 'whole'}`, async () => {
          const script: Script = stream
            ? (_, response) => streamed(response, usage)
            : (_, response) => {
                const answer = JSON.stringify({ ...completion('one two three', 0), usage })
                response.writeHead(200, { 'content-type': 'application/json' }).end(answer)
              }
          const asked = await ask(model, script, { stream })
          expect([asked.reply.status, asked.outcome]).toEqual([200, 'ok'])
          expect(asked.usageSource).toBe('estimated')
          // Three words, and a little for the prompt: never nothing, never more than was held.
          expect(asked.output).toBeGreaterThanOrEqual(3)
          expect(asked.output).toBeLessThanOrEqual(60)
          expect(asked.costNanos).toBeGreaterThan(0n)
          expect(asked.costNanos).toBeLessThan(1_000_000n)
        })
      }
    }

    it(`is believed where it is zero, of ${model}`, async () => {
      const usage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }
      const asked = await ask(model, (_, response) => streamed(response, usage), { stream: true })
      expect([asked.usageSource, asked.costNanos]).toEqual(['provider', 0n])
    })
  }

  function streamed(response: ServerResponse, usage: unknown): void {
    beginStream(response)
    response.write(delta('one two three'))
    const last = { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage }
    response.write(frame(chunk(last)))
    response.end('data: [DONE]\n\n')
  }
})

/** Writes the same again and again as long as anyone reads. */
function floods(piece: string, first = ''): Script {
  return ({ body }, response) => {
    if (body.stream === true) beginStream(response)
    else response.writeHead(200, { 'content-type': 'application/json' })
    if (first !== '') response.write(first)
    const more = (): void => {
      while (!response.destroyed && response.write(piece));
    }
    response.on('drain', more)
    more()
  }
}
