import { mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { printed, startNode } from './processes.ts'
import type { Part } from './processes.ts'

export interface StartedGateway {
  readonly part: Part
  readonly port: number
  /** A key with every kind of limit. */
  readonly key: string
  /** From the start of the process until it listened on both ports, ms. */
  readonly startMs: number
  /** A second after the start, before any request. */
  readonly idleRssBytes: number
}

export interface GatewayUpstreams {
  /** What answers whole. */
  readonly whole: number
  /** What answers in streams. */
  readonly streams: number
}

const ADMIN_KEY = 'sk-tg-admin-of-the-bench'
const SECOND_MS = 1000

/** The gateway as an operator starts it, with its access log in a file. */
export async function startGateway(
  folder: string,
  core: number,
  durability: 'full' | 'normal',
  upstreams: GatewayUpstreams,
): Promise<StartedGateway> {
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'tollgate.yaml')
  writeFileSync(file, settings(upstreams))
  const main = join(import.meta.dirname, '../../src/bin.js')
  const address = ['--port', '0', '--admin-port', '0']
  const store = ['--data-dir', join(folder, 'data'), '--durability', durability]
  const args = ['serve', '--config', file, ...address, ...store]
  const startedAt = performance.now()
  const part = startNode(main, args, {
    core,
    cwd: folder,
    env: { ...process.env, TOLLGATE_ADMIN_KEY: ADMIN_KEY },
    stdout: openSync(join(folder, 'access.log'), 'w'),
  })
  const [, data, admin] = await printed(
    part,
    'stderr',
    /listens on http:\/\/[\d.]+:(\d+) \(data\) and http:\/\/[\d.]+:(\d+) \(control\)/,
  )
  const startMs = performance.now() - startedAt
  await new Promise((resolve) => setTimeout(resolve, SECOND_MS))
  const idleRssBytes = part.rssBytes()
  return { part, port: Number(data), key: await createKey(Number(admin)), startMs, idleRssBytes }
}

/** One provider for each way in which the stand-in answers. */
function settings({ whole, streams }: GatewayUpstreams): string {
  const provider = (kind: string, port: number, path: string): object => ({
    kind,
    api_key: 'sk-bench',
    base_url: `http://127.0.0.1:${port}${path}`,
    allow_private_network: true,
  })
  // JSON is YAML.
  return JSON.stringify({
    providers: {
      whole: provider('openai', whole, '/whole/v1'),
      passed: provider('openai', streams, '/burst-100/v1'),
      translated: provider('anthropic', streams, '/burst-20'),
      paced: provider('openai', streams, '/paced/v1'),
    },
  })
}

/** No limit is ever reached; all are checked for each request. */
async function createKey(adminPort: number): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/admin/v1/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      name: 'bench',
      limits: {
        requests_per_minute: 1_000_000_000,
        tokens_per_minute: 1_000_000_000,
        concurrency: 100_000,
        budgets: [{ window: 'month', limit: '1000000000.00' }],
      },
    }),
  })
  if (!answer.ok) throw new Error(`No key was made: ${await answer.text()}`)
  const { secret } = (await answer.json()) as { secret: string }
  return secret
}
