import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, HELLO } from './caller.ts'
import { dice } from './dice.ts'
import type { Dice } from './dice.ts'
import { answers } from './provider.ts'
import type { Provider } from './provider.ts'
import { startServer } from './server-process.ts'
import type { ServerProcess } from './server-process.ts'
import type { Tables } from './tables.ts'
import { nanos } from './usd.ts'

export interface CrashRound {
  readonly round: number
  /** When it was killed, ms after the load began. */
  readonly killedAfterMs: number
  /** Answers that a caller had in full. */
  readonly answered: number
  /** Requests that had a head or nothing when the process died. */
  readonly cutOff: number
  /** What is wrong after the restart; empty when nothing is. */
  readonly faults: readonly string[]
}

const LANES = 32

export interface CrashOptions {
  readonly dataDir: string
  readonly provider: Provider
  readonly rounds: number
  readonly seed: number
  readonly env?: Readonly<Record<string, string>>
  readonly tables: Tables
  /** How long reservations of a dead process may stay: its lease. */
  readonly patienceMs: number
  readonly onRound?: (round: CrashRound) => void
}

/** Kills the gateway under load again and again, and looks at the ledger after each restart. */
export async function crashRounds(options: CrashOptions): Promise<readonly CrashRound[]> {
  const { dataDir, provider, tables } = options
  const random = dice(options.seed)
  provider.script = (received, response) =>
    answers({ delayMs: random.below(90), pauseMs: random.below(12) })(received, response)
  const settings = {
    providers: {
      stand: {
        kind: 'openai',
        api_key: 'sk-upstream',
        base_url: provider.baseUrl,
        allow_private_network: true,
        prices: { '*': { input: '1', output: '2' } },
      },
    },
  }
  const start = (): Promise<ServerProcess> =>
    startServer({ dataDir, settings, ...(options.env === undefined ? {} : { env: options.env }) })

  const rounds: CrashRound[] = []
  let server = await start()
  const { body: key } = await server.admin('POST', '/admin/v1/keys', {
    name: 'load',
    limits: { requests_per_minute: 1e9, budgets: [{ window: 'total', limit: '1000' }] },
  })
  for (let round = 0; round < options.rounds; round++) {
    const killedAfterMs = 60 + random.below(900)
    const loads = Array.from({ length: LANES }, () => lane(server, key.secret, random))
    await sleep(killedAfterMs)
    server.kill('SIGKILL')
    await server.exited
    const lanes = await Promise.all(loads)
    const answered = lanes.flatMap((one) => one.answered)
    const cutOff = lanes.flatMap((one) => one.cutOff)

    server = await start()
    const faults = await faultsAfter(server, answered, cutOff, options)
    const result = {
      round,
      killedAfterMs,
      answered: answered.length,
      cutOff: cutOff.length,
      faults,
    }
    rounds.push(result)
    options.onRound?.(result)
  }
  const left = await tables.reservations()
  server.kill('SIGTERM')
  const code = await server.exited
  if (code !== 0 || left > 0) throw new Error(`exit code ${code}, ${left} reservations`)
  return rounds
}

/** One application that asks again and again until its gateway is gone. */
async function lane(
  { dataUrl }: ServerProcess,
  key: string,
  random: Dice,
): Promise<{ readonly answered: readonly string[]; readonly cutOff: readonly string[] }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const answered: string[] = []
  const cutOff: string[] = []
  for (;;) {
    const body = { model: 'stand/m1', messages: HELLO, max_tokens: 50, stream: random.chance(0.5) }
    const reply = await call(dataUrl, body, { key, agent }).catch(() => undefined)
    if (reply?.complete === true && reply.status === 200) answered.push(reply.requestId)
    else {
      cutOff.push(reply?.requestId ?? '')
      agent.destroy()
      return { answered, cutOff }
    }
  }
}

async function faultsAfter(
  server: ServerProcess,
  answered: readonly string[],
  cutOff: readonly string[],
  { tables, patienceMs }: CrashOptions,
): Promise<readonly string[]> {
  const faults: string[] = []
  const until = Date.now() + patienceMs
  let left = await tables.reservations()
  while (left > 0 && Date.now() < until) {
    await sleep(100)
    left = await tables.reservations()
  }
  if (left > 0) faults.push(`${left} reservations stay`)
  const outcomes = async (id: string): Promise<string> => {
    const { body } = await server.admin('GET', `/admin/v1/requests/${id}`)
    return (body.data ?? []).map((entry: { readonly outcome: string }) => entry.outcome).join()
  }
  await inBatches(answered, async (id) => {
    const found = await outcomes(id)
    if (found !== 'ok') faults.push(`${id}, answered, is on the ledger as [${found}]`)
  })
  await inBatches(cutOff, async (id) => {
    const found = id === '' ? '' : await outcomes(id)
    if (found.includes(',')) faults.push(`${id}, cut off, is on the ledger as [${found}]`)
  })
  const entries = await tables.entries()
  const { body } = await server.admin('GET', '/admin/v1/costs/report?from=2020-01-01')
  const { attempts, cost } = body.total
  if (attempts !== entries.count || nanos(cost.amount) !== entries.cost) {
    faults.push(`the report has ${attempts} for ${cost.amount}, the ledger ${entries.count}`)
  }
  return faults
}

async function inBatches<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  for (let from = 0; from < all.length; from += 20) {
    await Promise.all(all.slice(from, from + 20).map(work))
  }
}
