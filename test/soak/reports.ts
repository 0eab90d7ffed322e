import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openProvider } from '../gateway/provider.ts'
import { startServer, type ServerProcess } from '../gateway/server-process.ts'
import { DAYS, seedLedger } from './seed-ledger.ts'

/** What any report may take, ms. */
const MOST_MS = 1000
const CHAT_PER_SECOND = 40
const CHAT_MS = 15_000
const DAY_MS = 86_400_000

/**
 * Seeds a ledger, times every report over it, and chat with and without reports beside it.
 *
 * @param folder kept, and used again where it is there; absent: one that goes
 * @returns whether every report was fast enough, and chat no slower than twice
 */
export async function reports(count: number, folder?: string): Promise<boolean> {
  const dataDir = folder ?? mkdtempSync(join(tmpdir(), 'tollgate-reports-'))
  const now = Date.now()
  if (!existsSync(join(dataDir, 'tollgate.db'))) {
    const started = performance.now()
    await seedLedger(dataDir, count, now)
    const seconds = (performance.now() - started) / 1000
    const bytes = statSync(join(dataDir, 'tollgate.db')).size
    console.log(
      `${count} entries in ${seconds.toFixed(0)} s, ${(bytes / 1e9).toFixed(2)} GB on disk`,
    )
  }
  const provider = await openProvider()
  const server = await startServer({
    dataDir,
    settings: {
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
  try {
    const slow = await timeReports(server, now)
    const key = await server.admin('POST', '/admin/v1/keys', { name: 'soak' })
    const alone = await chat(server, key.body.secret)
    let asking = true
    const asked = (async () => {
      let rounds = 0
      while (asking) {
        for (const [, path] of paths(now)) {
          if (!asking) break
          await server.admin('GET', path)
          rounds++
        }
      }
      return rounds
    })()
    const beside = await chat(server, key.body.secret)
    asking = false
    console.log(
      `chat at ${CHAT_PER_SECOND}/s: p50 ${alone.p50} ms, p99 ${alone.p99} ms alone; ` +
        `p50 ${beside.p50} ms, p99 ${beside.p99} ms beside ${await asked} reports`,
    )
    return slow.length === 0 && beside.p99 <= 2 * alone.p99
  } finally {
    server.kill('SIGTERM')
    await server.exited
    await provider.close()
    if (folder === undefined) rmSync(dataDir, { recursive: true, force: true })
  }
}

/** Every report, as a caller of the control plane asks for it. */
function paths(now: number): readonly (readonly [name: string, path: string])[] {
  const from = new Date(now - DAYS * DAY_MS).toISOString()
  const to = new Date(now).toISOString()
  const range = `from=${from}&to=${to}`
  const report = (rest: string) => `/admin/v1/costs/report?${range}&${rest}`
  const start = Math.floor((now - DAYS * DAY_MS) / 1000)
  const single = (
    'application key user end_user tag model model_asked model_served provider prompt ' +
    'environment endpoint outcome token_type hour day week month'
  ).split(' ')
  return [
    ['nothing', report('')],
    ...single.map((name) => [name, report(`group_by=${name}`)] as const),
    ...single
      .filter((name) => !['hour', 'day', 'week', 'month'].includes(name))
      .map((name) => [`day, ${name}`, report(`group_by=day,${name}`)] as const),
    ...['day', 'day,model', 'day,tag', 'month,key', 'end_user'].map(
      (by) => [`${by} in Kathmandu`, report(`group_by=${by}&tz=Asia/Kathmandu`)] as const,
    ),
    ['month to date by end_user', '/admin/v1/costs/report?group_by=end_user'],
    ['day of one end user', report('group_by=day&end_user=end-user-0-1&tz=Europe/Warsaw')],
    ['model of one tag', report('group_by=model&tag=team:1')],
    ['key of one application', report('group_by=key&environment=test')],
    ['model with the range before', `/admin/v1/costs/report?group_by=model&compare=previous`],
    ['day, key with the range before', `/admin/v1/costs/report?group_by=day,key&compare=previous`],
    ['with types', report('group_by=model&include=tokens')],
    ['costs for the SDK', `/v1/organization/costs?start_time=${start}&limit=90&group_by=line_item`],
    [
      'usage for the SDK',
      `/v1/organization/usage/completions?start_time=${start}&limit=31&group_by=model`,
    ],
  ]
}

/** @returns the names of those that took too long */
async function timeReports(server: ServerProcess, now: number): Promise<readonly string[]> {
  const rows: Record<string, { ms: number; first: number; rows: number | string }> = {}
  for (const [name, path] of paths(now)) {
    const times: number[] = []
    let count: number | string = 0
    for (let turn = 0; turn < 3; turn++) {
      const started = performance.now()
      const { status, body } = await server.admin('GET', path)
      times.push(performance.now() - started)
      count = status === 200 ? (body.rows ?? body.data).length : JSON.stringify(body)
    }
    rows[name] = {
      first: Math.round(times[0] ?? 0),
      ms: Math.round(times.toSorted((a, b) => a - b)[1] ?? 0),
      rows: count,
    }
  }
  console.table(rows)
  const slow = Object.entries(rows).filter(([, { ms }]) => ms > MOST_MS)
  console.log(`${slow.length} of ${Object.keys(rows).length} take more than ${MOST_MS} ms`)
  return slow.map(([name]) => name)
}

interface Percentiles {
  readonly p50: number
  readonly p99: number
}

/** Requests at a steady pace, each timed from when it was due. */
async function chat(server: ServerProcess, key: string): Promise<Percentiles> {
  const body = JSON.stringify({
    model: 'stand/m1',
    max_tokens: 5,
    user: 'end-user-1',
    messages: [{ role: 'user', content: 'hello' }],
  })
  const times: number[] = []
  const under: Promise<void>[] = []
  const started = performance.now()
  for (let number = 0; ; number++) {
    const due = started + (number * 1000) / CHAT_PER_SECOND
    if (due > started + CHAT_MS) break
    await sleep(Math.max(0, due - performance.now()))
    under.push(
      fetch(`${server.dataUrl}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body,
      }).then(async (response) => {
        if (!response.ok) throw new Error(await response.text())
        await response.arrayBuffer()
        times.push(performance.now() - due)
      }),
    )
  }
  await Promise.all(under)
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => Number((sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(1))
  return { p50: at(0.5), p99: at(0.99) }
}
