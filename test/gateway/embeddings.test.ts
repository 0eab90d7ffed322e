import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call } from './caller.ts'
import type { Reply } from './caller.ts'
import { openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

const KINDS = ['openai', 'openai-compatible', 'llamacpp', 'vllm'] as const

let provider: Provider
let gateway: TestGateway

beforeAll(async () => {
  provider = await openProvider()
  const shared = { base_url: provider.baseUrl, api_key: 'k', allow_private_network: true }
  const prices = { '*': { input: '1', output: '1' } }
  const kinds = [...KINDS, 'alibaba', 'perplexity']
  gateway = await openGateway({
    max_attempts: 1,
    providers: Object.fromEntries(kinds.map((kind) => [kind, { ...shared, kind, prices }])),
  })
})
afterAll(async () => {
  await gateway.close()
  await provider.close()
})

const FLOAT32 = Buffer.from(Float32Array.of(0.1, -0.2).buffer).toString('base64')

/** Spaces and members that nobody knows show whether bytes went by. */
const answerOf = (embedding: string): string =>
  `{ "object":"list","data":[{"object":"embedding","index":0,"embedding":${embedding},"x":1}],` +
  ` "model":"m-1","usage":{"prompt_tokens":2,"total_tokens":2},"y":1.0 }`

function embed(body: string, answer: string): Promise<Reply> {
  provider.script = (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(answer)
  }
  return call(gateway.dataUrl, body, { key: gateway.key, path: '/v1/embeddings' })
}

const bodyOf = (model: string, encoding: string): string =>
  `{ "model":"${model}", "input":["a"] ,"encoding_format":"${encoding}","task":"query","z":1.0 }`

describe.each(KINDS)('embeddings of %s', (kind) => {
  it.each([
    ['float', '[0.10, -2e-1]'],
    ['base64', `"${FLOAT32}"`],
  ])('go by byte for byte as %s', async (encoding, vector) => {
    const reply = await embed(bodyOf(`${kind}/m1`, encoding), answerOf(vector))
    expect(provider.received.at(-1)!.text).toBe(bodyOf('m1', encoding))
    expect(reply.text).toBe(answerOf(vector))
    const [entry] = await gateway.entries(reply.requestId)
    expect(entry).toMatchObject({ usage: { input: 2 }, usage_source: 'provider' })
  })

  it('are written anew where they came in another encoding', async () => {
    const floats = await embed(bodyOf(`${kind}/m1`, 'float'), answerOf(`"${FLOAT32}"`))
    expect(floats.body.data[0].embedding).toEqual([0.1, -0.2].map(Math.fround))
    const base64 = await embed(bodyOf(`${kind}/m1`, 'base64'), answerOf('[0.1, -0.2]'))
    expect(base64.body.data[0].embedding).toBe(FLOAT32)
  })

  it.each(['{}', '{"data":[]}', '{"data":[{}]}'])('are none in %s', async (answer) => {
    const reply = await embed(bodyOf(`${kind}/m1`, 'float'), answer)
    expect(reply.body.error).toMatchObject({ code: 'upstream_invalid' })
  })
})

it.each([
  ['alibaba', '[0.1, -0.2]', [0.1, -0.2]],
  ['perplexity', `"${Buffer.from([1, 255]).toString('base64')}"`, [1, -1]],
])('base64 is made here of what %s gives', async (kind, vector, expected) => {
  const reply = await embed(bodyOf(`${kind}/m1`, 'base64'), answerOf(vector))
  expect(provider.received.at(-1)!.text).toBe(
    '{ "model":"m1", "input":["a"] ,"task":"query","z":1.0 }',
  )
  const bytes = Buffer.from(reply.body.data[0].embedding, 'base64')
  expect([bytes.readFloatLE(0), bytes.readFloatLE(4)]).toEqual(expected.map(Math.fround))
})
