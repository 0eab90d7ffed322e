import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call } from './caller.ts'
import type { Reply } from './caller.ts'
import { openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

let provider: Provider
let gateway: TestGateway

beforeAll(async () => {
  provider = await openProvider()
  gateway = await openGateway({
    providers: {
      stand: {
        kind: 'openai',
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

const ask = (text: string): Promise<Reply> => call(gateway.dataUrl, text, { key: gateway.key })

/** Fields nobody has heard of, numbers no double holds, and whitespace of the caller's own. */
const ODD = String.raw`"quasar":{"flux":[1e2, 1.0 ,-0,12345678901234567890123,0.1000]},"𝄞":"\u00e9\/é\ud834\udd1e",
	"empty":[ ],"nothing":null`
const MESSAGES = String.raw`"messages": [{"role":"user","content":"H\u0069", "weight_of_soul":21.0}]`

describe('a request on the wire of its provider', () => {
  it.each([
    ['the model first', `{"model":"stand/m1",${MESSAGES},${ODD}}`],
    ['the model last', `{ ${ODD} , ${MESSAGES},"model" : "stand/m1" }\n`],
    ['the model in the middle', `{${MESSAGES} ,"model":"stand\\/m1",\r\n${ODD}}`],
  ])('arrives byte for byte but for the model, with %s', async (_, text) => {
    const reply = await ask(text)
    expect(reply.status, reply.text).toBe(200)
    expect(reply.headers['x-tollgate-translation']).toBe('exact')
    const wanted = text.replace(/"stand(\\)?\/m1"/, '"m1"')
    expect(provider.received.at(-1)!.text).toBe(wanted)
  })

  it('asks for usage in its stream, and is the same otherwise', async () => {
    const text = `{"model":"stand/m1",${MESSAGES},"stream": true,${ODD}}`
    await ask(text)
    const { text: arrived, body } = provider.received.at(-1)!
    expect(body.stream_options).toEqual({ include_usage: true })
    expect(arrived.replace(/,?"stream_options":\{"include_usage":true\}/, '')).toBe(
      text.replace('"stand/m1"', '"m1"'),
    )
  })

  it('keeps what it asks of its stream besides usage', async () => {
    const options = '"stream_options":{"include_obfuscation":false,"warp":9}'
    await ask(`{"model":"stand/m1",${MESSAGES},"stream":true,${options}}`)
    expect(provider.received.at(-1)!.body.stream_options).toEqual({
      include_obfuscation: false,
      warp: 9,
      include_usage: true,
    })
  })

  it('sends the credential of the provider, and none of the caller', async () => {
    await call(gateway.dataUrl, `{"model":"stand/m1",${MESSAGES}}`, {
      key: gateway.key,
      headers: { 'openai-organization': 'org-mine', cookie: 'a=b', 'x-secret': 'c' },
    })
    const { headers } = provider.received.at(-1)!
    expect(headers.authorization).toBe('Bearer sk-upstream')
    expect(JSON.stringify(headers)).not.toContain(gateway.key)
    for (const name of ['cookie', 'x-secret', 'openai-organization', 'x-forwarded-for']) {
      expect(headers).not.toHaveProperty(name)
    }
  })
})

const USAGE = '"usage":{"prompt_tokens":8,"completion_tokens":5,"total_tokens":13,"gluons":1.0}'
const WHOLE = String.raw`{"id":"chatcmpl-1", "object":"chat.completion","created":1,"model":"m1-2026",
 "choices":[{"index":0,"message":{"role":"assistant","content":"\u0048i","aura":"blue"},"finish_reason":"stop"}],
 ${USAGE},${ODD}}`

const piece = (rest: string): string =>
  `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m1-2026",${rest}}\n\n`
const FIRST = piece(
  String.raw`"choices":[{"index":0,"delta":{"content":"\u0048i","aura":"blue"}}],${ODD.replaceAll('\n', ' ')}`,
)
const OTHER = ': a comment\n\nevent: from_the_future\ndata: {"choices":[],"glyph":"\\u2603"}\n\n'
const LAST = piece('"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"zeta":[1.0]')
const COUNT = piece(`"choices":[],${USAGE}`)
const DONE = 'data: [DONE]\n\n'

describe('an answer on the wire of its caller', () => {
  it('comes back byte for byte when it is whole', async () => {
    provider.script = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(WHOLE)
    }
    const reply = await ask(`{"model":"stand/m1",${MESSAGES}}`)
    expect(reply.text).toBe(WHOLE)
    expect(await gateway.entries(reply.requestId)).toMatchObject([
      { outcome: 'ok', usage: { input: 8, output: 5 }, cost_usd: '0.000018' },
    ])
  })

  /** However the network cuts it. */
  it.each([1, 7, 64, 100_000])(
    'comes back byte for byte in a stream cut every %i bytes',
    async (size) => {
      const all = Buffer.from(FIRST + OTHER + LAST + COUNT + DONE)
      provider.script = async (_, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        for (let from = 0; from < all.length; from += size) {
          response.write(all.subarray(from, from + size))
          if (size > 1 || from % 50 === 0) await new Promise(setImmediate)
        }
        response.end()
      }
      const asked = `{"model":"stand/m1",${MESSAGES},"stream":true`
      const with_ = await ask(`${asked},"stream_options":{"include_usage":true}}`)
      expect(with_.text).toBe(all.toString())
      const without = await ask(`${asked}}`)
      expect(without.text).toBe(FIRST + OTHER + LAST + DONE)
      for (const { requestId } of [with_, without]) {
        expect(await gateway.entries(requestId)).toMatchObject([
          { outcome: 'ok', usage: { input: 8, output: 5 }, usage_source: 'provider' },
        ])
      }
    },
  )
})
