import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, statSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../store/databases.ts'
import { call, HELLO } from './caller.ts'
import type { Ask, Reply } from './caller.ts'
import { answers, openProvider } from './provider.ts'
import type { Provider } from './provider.ts'
import { startServer } from './server-process.ts'
import type { ServerOptions, ServerProcess } from './server-process.ts'
import { sqliteTables } from './tables.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const folder = temporaryFolder()

async function stop(server: ServerProcess): Promise<void> {
  server.kill('SIGTERM')
  expect(await server.exited, server.stderr).toBe(0)
}

/** What it says instead of listening. */
async function refusal(options: ServerOptions): Promise<string> {
  const failed = await startServer(options).then(
    (server) => server.kill('SIGKILL'),
    (error: Error) => error.message,
  )
  expect(failed).toBeTypeOf('string')
  return String(failed)
}

describe('the first start', () => {
  const dataDir = `${folder}/first`
  let server: ServerProcess

  beforeAll(async () => {
    server = await startServer({ dataDir })
  })
  afterAll(() => stop(server))

  it('keeps its files for their owner alone', () => {
    expect(statSync(dataDir).mode & 0o777).toBe(0o700)
    const modes = readdirSync(dataDir).map(
      (name) => [name, statSync(join(dataDir, name)).mode & 0o777] as const,
    )
    expect(modes.map(([name]) => name)).toEqual(
      expect.arrayContaining(['admin.key', 'master.key', 'tollgate.db']),
    )
    expect(modes.filter(([, mode]) => mode !== 0o600)).toEqual([])
  })

  it('listens on this machine alone', () => {
    expect(server.dataUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect(server.adminUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  })

  it('prints a curl line that works as pasted', async () => {
    const line = server.stderr.split('\n').find((one) => one.startsWith('curl '))!
    const { stdout } = await run('sh', ['-c', `${line} -s`])
    expect(JSON.parse(stdout).choices[0].message.content).toBeTruthy()
  })

  it('prints a snippet for the SDK that works as pasted', async () => {
    const lines = server.stderr.split('\n')
    const from = lines.findIndex((one) => one.startsWith('import OpenAI'))
    const snippet = lines.slice(from, lines.indexOf('', from)).join('\n')
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', snippet])
    expect(stdout.trim()).not.toBe('')
  })

  it('says nothing of callers who misbehave beside its log', async () => {
    const before = server.stderr
    const unread = { path: '/v1/nothing', method: 'GET' }
    await Promise.all(
      Array.from({ length: 20 }, () =>
        call(server.dataUrl, 'a body', unread).catch(() => undefined),
      ),
    )
    const socket = connect(Number(new URL(server.dataUrl).port), '127.0.0.1')
    await once(socket, 'connect')
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n` +
        `authorization: Bearer ${server.firstKey}\r\ncontent-length: 100\r\n\r\n{`,
    )
    await sleep(50)
    socket.resetAndDestroy()
    await sleep(50)
    expect(server.stderr).toBe(before)
  })

  it('prints nothing but the log on stdout', async () => {
    await call(
      server.dataUrl,
      { model: 'simulator/chat', messages: HELLO },
      { key: server.firstKey! },
    )
    await expect.poll(() => server.stdout).toContain('\n')
    for (const line of server.stdout.trim().split('\n'))
      expect(() => JSON.parse(line)).not.toThrow()
    expect(server.stdout).not.toContain(server.firstKey!)
  })
})

describe('a later start', () => {
  it('keeps the state and prints no secret again', async () => {
    const dataDir = `${folder}/later`
    const first = await startServer({ dataDir })
    const key = first.firstKey!
    const reply = await call(first.dataUrl, { model: 'simulator/chat', messages: HELLO }, { key })
    await stop(first)
    const second = await startServer({ dataDir })
    expect(second.stdout + second.stderr).not.toMatch(/sk-tg-/)
    expect(second.adminKey).toBe(first.adminKey)
    const again = await call(second.dataUrl, { model: 'simulator/chat', messages: HELLO }, { key })
    expect(again.status).toBe(200)
    const { body } = await second.admin('GET', `/admin/v1/requests/${reply.requestId}`)
    expect(body.data).toHaveLength(1)
    const { body: keys } = await second.admin('GET', '/admin/v1/keys')
    expect(keys.data).toHaveLength(1)

    const beside = await refusal({ dataDir })
    expect(beside).toMatch(/ended with 1:\n.*is in use by another Tollgate: stop that one/)
    // The one that runs is not disturbed.
    expect((await fetch(`${second.dataUrl}/readyz`)).status).toBe(200)
    await stop(second)

    const env = { TOLLGATE_MASTER_KEY: 'another-master-key-of-32-characters' }
    const wrong = await refusal({ dataDir, env })
    expect(wrong).toMatch(/ended with 1:\n.*master key is not the one this database was made with/)
    await stop(await startServer({ dataDir }))
  })
})

describe('a start that cannot be', () => {
  it('names every mistake of the settings with file and line', async () => {
    const dataDir = `${folder}/mistakes`
    const settings = 'prot: 1\nproviders:\n  openai:\n    base_url: nonsense\n'
    const said = await refusal({ dataDir, settings })
    expect(said).toContain(`${dataDir}.yaml:1:1 prot: is not a setting; did you mean "port"?`)
    expect(said).toContain(`${dataDir}.yaml:4:5 providers.openai.base_url: expected http`)
    expect(said).not.toContain('    at ')
    expect(readdirSync(folder)).not.toContain('mistakes')
  })

  it('names the port that is taken, and the setting that changes it', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const args = [`--port=${port}`]
    const said = await refusal({ dataDir: `${folder}/taken`, args })
    expect(said).toContain(`127.0.0.1:${port} is taken by another process`)
    expect(said).toContain('--port or TOLLGATE_PORT')
    taken.close()
    await stop(await startServer({ dataDir: `${folder}/taken` }))
  })
})

describe('SIGTERM', () => {
  let provider: Provider

  beforeAll(async () => {
    provider = await openProvider()
  })
  afterAll(() => provider.close())

  async function streaming(
    name: string,
    graceMs: number,
    manner: Parameters<typeof answers>[0],
  ): Promise<{ readonly server: ServerProcess; readonly reply: Promise<Reply> }> {
    const server = await startServer({
      dataDir: `${folder}/${name}`,
      settings: {
        shutdown_grace_ms: graceMs,
        providers: {
          stand: {
            kind: 'openai',
            api_key: 'sk-upstream',
            base_url: provider.baseUrl,
            allow_private_network: true,
            prices: { '*': { input: '1', output: '2' } },
          },
        },
      },
    })
    provider.script = answers(manner)
    const open = Promise.withResolvers<void>()
    const asks: Ask = { key: server.firstKey!, onHead: () => open.resolve() }
    const body = { model: 'stand/m1', messages: HELLO, max_tokens: 50, stream: true }
    const reply = call(server.dataUrl, body, asks)
    await open.promise
    return { server, reply }
  }

  it('lets open answers finish, takes no more, and ends with 0', async () => {
    const { server, reply } = await streaming('grace', 10_000, { pauseMs: 50, pieces: 20 })
    server.kill('SIGTERM')
    await expect.poll(() => server.stderr).toContain('SIGTERM: finishing what is open')
    const late = call(
      server.dataUrl,
      { model: 'stand/m1', messages: HELLO },
      { key: server.firstKey! },
    )
    const refused = await late.then(({ status }) => status).catch(() => 'no connection')
    expect([503, 'no connection']).toContain(refused)
    expect((await reply).complete).toBe(true)
    expect(await server.exited).toBe(0)
    expect(await sqliteTables(`${folder}/grace`).reservations()).toBe(0)
  })

  it('cuts what outlasts the grace with an error event, settled', async () => {
    const { server, reply } = await streaming('cut', 300, { pauseMs: 50, pieces: 1000 })
    server.kill('SIGTERM')
    const cut = await reply
    expect(await server.exited).toBe(0)
    expect(cut.complete).toBe(false)
    const last = cut.text.trimEnd().split('\n').at(-1)!
    expect(JSON.parse(last.slice('data: '.length)).error).toMatchObject({
      code: 'unavailable',
      request_id: cut.requestId,
    })
    const tables = sqliteTables(`${folder}/cut`)
    expect(await tables.reservations()).toBe(0)
    expect(await tables.entries()).toMatchObject({ count: 1, crashed: 0 })
  })
})

describe('npm start', () => {
  it('starts it with the Node of the checkout, and passes SIGTERM on', async () => {
    const child = spawn('npm', ['start', '--silent'], {
      cwd: ROOT,
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        TOLLGATE_DATA_DIR: `${folder}/npm`,
        TOLLGATE_PORT: '0',
        TOLLGATE_ADMIN_PORT: '0',
      },
    })
    let said = ''
    child.stderr.on('data', (text: Buffer) => (said += text.toString()))
    await expect.poll(() => said, { timeout: 20_000 }).toMatch(/listens on [^]*\nconsole\.log\(/)
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit')
    expect(code, said).toBe(0)
    await expect.poll(() => said).toContain('SIGTERM: finishing what is open')
  })
})

async function run(command: string, args: readonly string[]): Promise<{ stdout: string }> {
  const child = spawn(command, args, { cwd: ROOT })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (text: Buffer) => (stdout += text.toString()))
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()))
  const [code] = await once(child, 'close')
  expect(code, stderr).toBe(0)
  return { stdout }
}
