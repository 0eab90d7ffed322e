import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { performance } from 'node:perf_hooks'
import { pino } from 'pino'
import { loadConfig } from '../config.ts'
import type { Config } from '../config.ts'
import { startGateway } from '../gateway.ts'
import type { Gateway } from '../gateway.ts'
import { configChecks } from '../gateway/instances.ts'
import { listen } from '../gateway/listen.ts'
import { openDataDir } from './data-dir.ts'
import type { DataDir } from './data-dir.ts'

export interface ServeOptions {
  /** By setting name. */
  readonly flags: Readonly<Record<string, string | undefined>>
  readonly env: Readonly<Record<string, string | undefined>>
  readonly version: string
  /** For people: the banner. The log goes to stdout. */
  readonly print: (line: string) => void
}

/** Longest a line of the log waits for others, ms. */
const LOG_DELAY_MS = 100

/**
 * Starts the gateway and resolves once it has stopped.
 *
 * @returns the exit code: 0 after SIGTERM or SIGINT
 * @throws ConfigError, or an Error that says what keeps it from starting
 */
export async function serve({ flags, env, version, print }: ServeOptions): Promise<number> {
  const config = loadConfig({ flags, env, readFile, ...configChecks })
  // Before anything is made: a refused start leaves nothing behind.
  await checkPorts(config)
  const log = pino(
    { level: config.log_level, base: null },
    // Lines are written together: a write for each costs 20 µs of a request's 200.
    pino.destination({ dest: 1, sync: false, minLength: 8192, periodicFlush: LOG_DELAY_MS }),
  )
  const data = openDataDir(config.data_dir, {
    ...(config.admin_key !== undefined && { adminKey: config.admin_key }),
    ...(config.master_key !== undefined && { masterKey: config.master_key }),
  })
  // From before the start: a signal within it stops what has begun.
  const stopped = stopSignal()
  const gateway = await startGateway({
    config,
    version,
    adminKey: data.adminKey,
    masterKey: data.masterKey,
    ...(config.previous_master_key !== undefined && {
      previousMasterKey: config.previous_master_key,
    }),
    env,
    log,
    // By its name: a file that is gone for a moment must not look like no settings at all.
    reload: () =>
      loadConfig({
        flags: { ...flags, ...(config.file !== undefined && { config: config.file }) },
        env,
        readFile,
        ...configChecks,
      }),
    now: Date.now,
    tick: () => performance.now(),
    random: Math.random,
  })
  for (const line of banner(gateway, data, config)) print(line)
  const signal = await stopped
  print(`${signal}: finishing what is open, for at most ${config.shutdown_grace_ms / 1000} s`)
  await gateway.close()
  log.flush()
  return 0
}

/** @throws Error naming the port that cannot be listened on */
async function checkPorts(config: Config): Promise<void> {
  for (const [host, port, setting] of [
    [config.host, config.port, 'port'],
    [config.admin_host, config.admin_port, 'admin_port'],
  ] as const) {
    const server = createServer()
    await listen(server, host, port, setting)
    await server[Symbol.asyncDispose]()
  }
}

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        // A second one means now.
        process.once(signal, () => process.exit(130))
        resolve(signal)
      })
    }
  })
}

function banner(gateway: Gateway, data: DataDir, config: Config): readonly string[] {
  const { dataUrl, adminUrl, firstKey } = gateway
  const named = gateway.providers.map(({ instance, source }) =>
    source === 'environment' ? `${instance.name} (from the environment)` : instance.name,
  )
  const lines = [
    '',
    `  Tollgate listens on ${dataUrl} (data) and ${adminUrl} (control)`,
    `  providers   ${named.join(', ')}`,
    `  database    ${config.database_url === undefined ? `${config.data_dir}/tollgate.db` : 'Postgres'}`,
    ...(data.isNew
      ? [`  admin key   ${data.adminKey}   (kept in ${config.data_dir}/admin.key)`]
      : []),
  ]
  if (firstKey === undefined) return [...lines, '']
  return [
    ...lines,
    `  first key   ${firstKey}   (shown this once)`,
    '',
    '  Try it:',
    '',
    `curl ${dataUrl}/v1/chat/completions -H "authorization: Bearer ${firstKey}" -H "content-type: application/json" -d '{"model":"simulator/chat","messages":[{"role":"user","content":"Hello"}]}'`,
    '',
    '  or with the OpenAI SDK (npm install openai):',
    '',
    'import OpenAI from "openai"',
    `const client = new OpenAI({ baseURL: '${dataUrl}/v1', apiKey: '${firstKey}' })`,
    "const answer = await client.chat.completions.create({ model: 'simulator/chat', messages: [{ role: 'user', content: 'Hello' }] })",
    'console.log(answer.choices[0].message.content)',
    '',
  ]
}

function readFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
