import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { chunk, delta, frame, openProvider } from './provider.ts'
import type { Provider, Script } from './provider.ts'

let provider: Provider
let gateway: TestGateway

beforeAll(async () => {
  provider = await openProvider()
  const shared = { base_url: provider.baseUrl, api_key: 'k', allow_private_network: true }
  const prices = { '*': { input: '1', output: '1' } }
  gateway = await openGateway({
    max_attempts: 1,
    providers: {
      engine: { ...shared, kind: 'openai-compatible', prices },
      // The same frames, read and written anew.
      translated: { ...shared, kind: 'mistral', prices },
    },
  })
})

afterAll(async () => {
  await gateway.close()
  await provider.close()
})

async function streamed(
  kind: string,
  script: Script,
  given: object = {},
): Promise<{ status: number; body: string }> {
  provider.script = script
  const answer = await fetch(`${gateway.dataUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: `${kind}/m1`,
      stream: true,
      messages: [{ role: 'user', content: 'Hello' }],
      ...given,
    }),
  })
  return { status: answer.status, body: await answer.text() }
}

const END = frame(chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }))
const FAILURE = frame({ error: { message: 'the model fell over', code: 'oops' } })

it.each([false, true])('what stands beside usage is told (usage asked for: %s)', async (asked) => {
  const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
  const last = chunk({ choices: [], timings: { predicted_n: 2 } })
  const { body } = await streamed(
    'engine',
    (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(`${delta('one')}${END}${frame({ ...last, usage })}data: [DONE]\n\n`)
    },
    asked ? { stream_options: { include_usage: true } } : {},
  )
  expect(body).toContain(frame(asked ? { ...last, usage } : last))
})

describe.each(['engine', 'translated'])('a stream of a provider (%s)', (kind) => {
  it.each(['application/json', 'text/plain; charset=utf-8', 'application/octet-stream'])(
    'is known by its first line where it is called %s',
    async (type) => {
      const { status, body } = await streamed(kind, async (_, response) => {
        response.writeHead(200, { 'content-type': type })
        response.write('da')
        await sleep(5)
        response.end(`${(delta('Hello') + END).slice(2)}data: [DONE]\n\n`)
      })
      expect(status).toBe(200)
      expect(body).toContain('"content":"Hello"')
      expect(body.endsWith('data: [DONE]\n\n')).toBe(true)
    },
  )

  it.each([
    ['application/json', '{"error":{"message":"no","code":"x"}}', 502],
    ['text/html', '<html>data: none</html>', 502],
    ['text/plain', 'd', 502],
  ])('is not taken for one where %s holds %s', async (type, text, expected) => {
    const { status } = await streamed(kind, (_, response) => {
      response.writeHead(200, { 'content-type': type }).end(text)
    })
    expect(status).toBe(expected)
  })

  it.each([
    ['', 'answered nothing', [200, 201]],
    ['{"id":"x","choices":[]}', 'instead of a stream', [200]],
    ['{"error":{"message":"no"}}', 'answered an error', [200]],
  ])('is refused with its real status where %j came', async (text, words, statuses) => {
    for (const status of statuses) {
      for (const stream of [true, false]) {
        if (!stream && words === 'instead of a stream') continue
        const script: Script = (_, response) => {
          response.writeHead(status, { 'content-type': 'application/json' }).end(text)
        }
        const { body } = await streamed(kind, script, { stream })
        const { error } = JSON.parse(body)
        expect(error.message).toContain(words)
        expect(error.details.upstream.status).toBe(status)
      }
    }
  })

  it('gives what came in one piece with a failure, then the failure', async () => {
    const { status, body } = await streamed(kind, async (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(delta('one'))
      await sleep(20)
      response.end(delta('two') + FAILURE)
    })
    expect(status).toBe(200)
    expect(body).toContain('"content":"two"')
    expect(body).toContain('"code":"upstream_error"')
    expect(body).not.toContain('[DONE]')
  })

  it.each([
    ['before its head', ''],
    ['within it', delta('one')],
  ])('that breaks %s is told of by its name, not its address', async (_, said) => {
    const { body } = await streamed(kind, async (_received, response) => {
      if (said !== '') {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write(said)
        await sleep(20)
      }
      response.destroy()
    })
    expect(body).toMatch(new RegExp(`"${kind} closed the connection`))
    expect(body).not.toContain('127.0.0.1')
  })

  it('fails by its status where the failure came before anything was given', async () => {
    const { status } = await streamed(kind, (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(delta('one') + FAILURE)
    })
    expect(status).toBe(502)
  })
})
