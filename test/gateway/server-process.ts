import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** `tollgate serve` in a process of its own. */
export interface ServerProcess {
  readonly dataUrl: string
  readonly adminUrl: string
  readonly adminKey: string
  /** Shown at the first start. */
  readonly firstKey: string | undefined
  readonly pid: number
  /** What it has written so far: the log, and the banner. */
  readonly stdout: string
  readonly stderr: string
  kill(signal: NodeJS.Signals): void
  /** The exit code; -1 where a signal ended it. */
  readonly exited: Promise<number>
  /** Calls the control plane. */
  admin(method: string, path: string, body?: unknown): Promise<AdminReply>
}

export interface AdminReply {
  readonly status: number
  // oxlint-disable-next-line typescript/no-explicit-any -- tests say what they expect of it
  readonly body: any
}

export interface ServerOptions {
  readonly dataDir: string
  /** What `tollgate.yaml` holds. */
  readonly settings?: string | object
  readonly env?: Readonly<Record<string, string>>
  readonly args?: readonly string[]
}

const BIN = join(import.meta.dirname, '..', '..', 'src', 'bin.js')

/** A test that fails leaves its server; it goes with the tests. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** @throws Error with all it wrote, where it ends instead of listening */
export async function startServer(options: ServerOptions): Promise<ServerProcess> {
  const { settings = {} } = options
  const file = `${options.dataDir}.yaml`
  writeFileSync(file, typeof settings === 'string' ? settings : JSON.stringify(settings))
  const child = spawn(
    process.execPath,
    [
      BIN,
      'serve',
      `--config=${file}`,
      `--data-dir=${options.dataDir}`,
      '--port=0',
      '--admin-port=0',
      ...(options.args ?? []),
    ],
    { env: { PATH: process.env.PATH, ...options.env }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  running.add(child)
  let [stdout, stderr] = ['', '']
  const listening = Promise.withResolvers<void>()
  child.stdout.on('data', (text: Buffer) => (stdout += text.toString()))
  child.stderr.on('data', (text: Buffer) => {
    stderr += text.toString()
    // All of the banner: the first key has examples after it.
    if (
      /listens on [^]*\n\n$/.test(stderr) &&
      /first key/.test(stderr) === /console\.log/.test(stderr)
    )
      listening.resolve()
  })
  const exited = once(child, 'close').then(([code]) => {
    running.delete(child)
    listening.reject(new Error(`tollgate ended with ${code}:\n${stdout}${stderr}`))
    return (code as number | null) ?? -1
  })
  await listening.promise
  const [, dataUrl = '', adminUrl = ''] = /listens on (\S+) \(data\) and (\S+) /.exec(stderr) ?? []
  const adminKey =
    options.env?.TOLLGATE_ADMIN_KEY ??
    readFileSync(join(options.dataDir, 'admin.key'), 'utf8').trim()
  return {
    dataUrl,
    adminUrl,
    adminKey,
    get firstKey() {
      return /first key +(\S+)/.exec(stderr)?.[1]
    },
    pid: child.pid!,
    get stdout() {
      return stdout
    },
    get stderr() {
      return stderr
    },
    kill: (signal) => void child.kill(signal),
    exited,
    async admin(method, path, body) {
      const response = await fetch(adminUrl + path, {
        method,
        headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      const isJson = /json/.test(response.headers.get('content-type') ?? '')
      return { status: response.status, body: isJson ? JSON.parse(text) : text }
    },
  }
}
