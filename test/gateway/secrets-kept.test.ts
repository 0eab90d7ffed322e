import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../store/databases.ts'
import { call } from './caller.ts'
import type { Ask, Reply } from './caller.ts'
import { answers, fails, openProvider, streamsThen } from './provider.ts'
import { startServer } from './server-process.ts'

const UPSTREAM = 'sk-upstream-canary-4f1d'
const HEADER = 'header-canary-77aa'
const PROMPT = 'prompt-canary-91c2'
const ANSWER = 'answer-canary-0be7'
const MASTER = 'master-canary-of-more-than-32-characters'

describe('what must stay secret', () => {
  const folder = temporaryFolder()

  it('is in no file and no line of the log, whatever happens', async () => {
    const provider = await openProvider(answers({ text: ANSWER }))
    const dataDir = `${folder}/data`
    const stand = {
      kind: 'openai',
      api_key: '${CANARY}',
      base_url: provider.baseUrl,
      allow_private_network: true,
      headers: { 'x-team': HEADER },
      prices: { '*': { input: '1', output: '2' } },
    }
    const server = await startServer({
      dataDir,
      settings: {
        log_level: 'debug',
        first_event_timeout_ms: 300,
        providers: {
          stand,
          translated: { ...stand, kind: 'mistral' },
          gone: { ...stand, base_url: 'http://127.0.0.1:9/v1' },
        },
      },
      env: { CANARY: UPSTREAM, TOLLGATE_MASTER_KEY: MASTER },
    })
    const { body: made } = await server.admin('POST', '/admin/v1/keys', { name: 'secret' })
    const key: string = made.secret
    const body = (more: object = {}): object => ({
      model: 'stand/m1',
      messages: [{ role: 'user', content: PROMPT }],
      max_tokens: 20,
      ...more,
    })
    const replies: Reply[] = []
    const ask = async (given: object | string, asks: Ask = { key }): Promise<void> => {
      replies.push(await call(server.dataUrl, given, asks))
    }

    await ask(body())
    await ask(body({ stream: true }))
    await ask(body({ model: 'translated/m1', stream: true }))
    await ask(body({ model: 'gone/m1' }))
    await ask(body({ model: 'nowhere/m1' }))
    await ask(body({ temperature: 99 }))
    await ask(JSON.stringify(body()).slice(0, -1))
    await ask(body(), { path: `/v1/chat/completions?key=${key}` })
    await ask(body(), { key: `${key.slice(0, -1)}x` })
    await ask(body(), { key, headers: { 'x-api-key': `${key}x` } })
    await ask(body(), { key, path: `/v1/unknown/${key}` })
    await ask(body(), { key, path: `/v1/unknown?key=${key}` })
    // Providers repeat what they were sent.
    provider.script = (received, response) => {
      response.writeHead(401, { 'content-type': 'application/json' })
      response.end(
        JSON.stringify({ error: { message: `wrong ${received.headers.authorization}` } }),
      )
    }
    await ask(body())
    provider.script = fails(500, UPSTREAM)
    await ask(body())
    provider.script = () => undefined
    await ask(body())
    provider.script = streamsThen(2, (response) =>
      response.end(`data: {"error":{"message":"not ${UPSTREAM}"}}\n\n`),
    )
    await ask(body({ stream: true }))
    await ask(body({ model: 'translated/m1', stream: true }))
    provider.script = streamsThen(2, (response) => response.destroy())
    await ask(body({ stream: true }))
    for (const path of ['providers', 'models', 'keys', 'health', 'openapi.json', 'costs/report']) {
      const { body: shown } = await server.admin('GET', `/admin/v1/${path}`)
      expectNone(JSON.stringify(shown), [key, UPSTREAM, MASTER, HEADER, server.adminKey, PROMPT])
    }
    const { body: tested } = await server.admin('POST', '/admin/v1/providers/stand/test')
    expectNone(JSON.stringify(tested), [UPSTREAM])
    const { body: metrics } = await server.admin('GET', '/metrics')
    expectNone(metrics, [key, UPSTREAM, MASTER, PROMPT, ANSWER])
    for (const { text } of replies) expectNone(text, [UPSTREAM, MASTER, server.adminKey])
    for (const { text, status } of replies) if (status !== 200) expectNone(text, [PROMPT])

    server.kill('SIGKILL')
    await server.exited
    await provider.close()
    const log = server.stdout
    expect(log.split('\n').length).toBeGreaterThan(replies.length / 2)
    // The banner has the admin key, that once.
    const kept = [key, UPSTREAM, MASTER, PROMPT, ANSWER, HEADER]
    expectNone(log, [...kept, server.adminKey])
    expectNone(server.stderr, kept)
    const files = readdirSync(dataDir)
    expect(files).toEqual(expect.arrayContaining(['tollgate.db', 'tollgate.db-wal']))
    for (const name of files) {
      const found = readFileSync(join(dataDir, name)).toString('latin1')
      expectNone(found, [key, key.slice(-29), UPSTREAM, MASTER, PROMPT, ANSWER, HEADER], name)
      if (name !== 'admin.key') expectNone(found, [server.adminKey], name)
    }
  })
})

function expectNone(text: string, secrets: readonly string[], where = text.slice(0, 200)): void {
  for (const secret of secrets) {
    expect(text.includes(secret), `${secret.slice(0, 16)}... in ${where}`).toBe(false)
  }
}
