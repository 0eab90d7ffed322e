import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { requestBody, requestText } from './answers.ts'
import { startGateway } from './gateway.ts'
import type { StartedGateway } from './gateway.ts'
import { CLOSE, OPEN } from './job.ts'
import type { Job, Result } from './job.ts'
import { startNginxProxy, startNginxUpstream } from './nginx.ts'
import { LOAD_CORE, MEASURED_CORE, isInstalled, printed, startNode } from './processes.ts'
import type { Part } from './processes.ts'

export interface BenchOptions {
  /** How long each measurement takes. */
  readonly seconds: number
  /** How often each is repeated; the best counts, since others may use the machine. */
  readonly rounds: number
  /** Requests before anything is measured: code that has not run often yet is slow. */
  readonly warmUp: number
  /** How many streams are held open. */
  readonly streams: number
}

export interface Row {
  readonly what: string
  readonly figure: string
  /** What design asks for; absent for what is there to compare with. */
  readonly aim?: string
}

const CONNECTIONS = 32
const STEADY_PER_SECOND = 500
const STEADY_STREAMS_PER_SECOND = 50
const TRANSLATED_EVENTS = 20
const PASSED_EVENTS = 100

/** Measures the gateway against a stand-in upstream, beside nginx and the barest proxies in Node. */
export async function bench(options: BenchOptions): Promise<readonly Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-bench-'))
  const parts: Part[] = []
  const keep = <P extends { readonly part: Part }>(started: P): P => {
    parts.push(started.part)
    return started
  }
  try {
    const load = startNode(join(import.meta.dirname, 'load.ts'), [], { core: LOAD_CORE, ipc: true })
    parts.push(load)
    const streams = keep(await startScript('upstream.ts', [], LOAD_CORE)).port
    const whole = isInstalled('nginx')
      ? keep(await startNginxUpstream(join(folder, 'upstream'), LOAD_CORE)).port
      : streams
    const nginx = isInstalled('nginx')
      ? keep(await startNginxProxy(join(folder, 'proxy'), MEASURED_CORE, whole))
      : undefined
    const http = keep(await startScript('proxy.ts', ['http', String(whole)], MEASURED_CORE))
    const undici = keep(await startScript('proxy.ts', ['undici', String(whole)], MEASURED_CORE))
    const upstreams = { whole, streams }
    const start = async (durability: 'full' | 'normal'): Promise<StartedGateway> =>
      keep(await startGateway(join(folder, durability), MEASURED_CORE, durability, upstreams))
    const normal = await start('normal')
    const full = await start('full')

    const bare = request('/whole/v1/chat/completions', 'gpt-5-mini', false, '-')
    const asked = (gateway: StartedGateway, model: string, stream = false): Aim => ({
      port: gateway.port,
      part: gateway.part,
      request: request('/v1/chat/completions', model, stream, gateway.key),
    })
    const run = runner(load, options)
    return [
      ...startRows([normal, full]),
      ...(await speedRows(run, {
        ...(nginx !== undefined && { nginx: { ...nginx, request: bare } }),
        http: { ...http, request: bare },
        undici: { ...undici, request: bare },
        normal: asked(normal, 'whole/gpt-5-mini'),
        full: asked(full, 'whole/gpt-5-mini'),
      })),
      ...(await latencyRows(run, {
        direct: { port: whole, request: bare },
        normal: asked(normal, 'whole/gpt-5-mini'),
        full: asked(full, 'whole/gpt-5-mini'),
      })),
      ...(await eventRows(run, {
        translated: asked(normal, 'translated/claude-haiku-4-5', true),
        passed: asked(normal, 'passed/gpt-5-mini', true),
        direct: {
          port: streams,
          request: request('/burst-100/v1/chat/completions', 'gpt-5-mini', true, '-'),
        },
      })),
      ...(await streamRows(run, options.streams, {
        gateway: asked(normal, 'paced/gpt-5-mini', true),
        direct: {
          port: streams,
          request: request('/paced/v1/chat/completions', 'gpt-5-mini', true, '-'),
        },
      })),
    ]
  } finally {
    await Promise.all(parts.map((part) => part.stop()))
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Whom a request goes to. */
interface Aim {
  readonly port: number
  readonly request: string
  /** Whose processor time and memory count. */
  readonly part?: Part
}

interface Measured extends Result {
  /** Processor time for each answer, µs. */
  readonly cpuUs: number | undefined
  /** Memory while all streams were open. */
  readonly rssBytes: number
}

interface Runner {
  closed(aim: Aim): Promise<Measured>
  paced(aim: Aim, perSecond: number): Promise<Measured>
  streams(aim: Aim, count: number): Promise<Measured>
  /** Each measurement in turn, as often as there are rounds. */
  rounds<K extends string>(
    measure: Readonly<Record<K, () => Promise<Measured>>>,
  ): Promise<Readonly<Record<K, readonly Measured[]>>>
}

function runner(load: Part, { seconds, rounds, warmUp }: BenchOptions): Runner {
  const ms = seconds * 1000

  async function run(job: Job, part: Part | undefined): Promise<Measured> {
    const cpuBefore = part?.cpuMs()
    load.child.send(job)
    let [result] = (await once(load.child, 'message')) as [Result | typeof OPEN]
    const rssBytes = part?.rssBytes() ?? 0
    if (result === OPEN) {
      load.child.send(CLOSE)
      ;[result] = (await once(load.child, 'message')) as [Result]
    }
    const measured = result as Result
    if (measured.failed > 0) {
      throw new Error(`${measured.failed} of the requests of a ${job.type} job failed`)
    }
    const used = cpuBefore === undefined ? undefined : part!.cpuMs()! - cpuBefore
    return {
      ...measured,
      rssBytes,
      cpuUs: used === undefined ? undefined : (used * 1000) / measured.answered,
    }
  }

  const closed = ({ part, ...aim }: Aim, time: number, least: number): Promise<Measured> =>
    run({ type: 'closed', ...aim, ms: time, connections: CONNECTIONS, least }, part)
  const warm = new Set<Aim>()

  return {
    async closed(aim) {
      if (!warm.has(aim)) await closed(aim, 0, warmUp)
      warm.add(aim)
      return closed(aim, ms, 1)
    },
    paced: ({ part, ...aim }, perSecond) =>
      run({ type: 'paced', ...aim, ms: ms * 2, perSecond }, part),
    streams: ({ part, ...aim }, count) =>
      run({ type: 'streams', ...aim, ms: ms * 4, streams: count }, part),
    async rounds(measure) {
      const names = Object.keys(measure) as (keyof typeof measure)[]
      const results = Object.fromEntries(names.map((name) => [name, [] as Measured[]]))
      for (let round = 0; round < rounds; round++) {
        for (const name of names) results[name]!.push(await measure[name]())
      }
      return results as Record<keyof typeof measure, Measured[]>
    },
  }
}

function startRows(gateways: readonly StartedGateway[]): readonly Row[] {
  const rss = Math.min(...gateways.map(({ idleRssBytes }) => idleRssBytes))
  return [
    {
      what: 'start of the process to listening',
      figure: `${round(Math.min(...gateways.map(({ startMs }) => startMs)))} ms`,
      aim: '<= 1 s',
    },
    { what: 'memory when idle', figure: `${round(rss / 1e6)} MB`, aim: '<= 120 MB' },
  ]
}

async function speedRows(
  run: Runner,
  aims: Readonly<Record<'http' | 'undici' | 'normal' | 'full', Aim>> & { readonly nginx?: Aim },
): Promise<readonly Row[]> {
  const results = await run.rounds(
    Object.fromEntries(
      Object.entries(aims).map(([name, aim]) => [name, () => run.closed(aim)]),
    ) as Record<keyof typeof aims, () => Promise<Measured>>,
  )
  const speed = (name: keyof typeof aims): number => most(results[name], 'perSecond')
  const cpu = (name: keyof typeof aims): number | undefined => least(results[name], 'cpuUs')
  const label = { nginx: 'nginx proxy_pass', http: 'bare node:http', undici: 'bare undici' }
  const references = (['nginx', 'http', 'undici'] as const).filter((name) => name in aims)
  const perRequest = (name: keyof typeof aims): string => {
    const us = cpu(name)
    return us === undefined ? '' : `, ${round(us)} µs of processor each`
  }
  return [
    ...references.map((name) => ({
      what: `${label[name]}, requests/s`,
      figure: `${round(speed(name))}${perRequest(name)}`,
    })),
    ...(['normal', 'full'] as const).flatMap((durability) => [
      {
        what: `gateway (${durability.toUpperCase()}), requests/s`,
        figure: `${round(speed(durability))}${perRequest(durability)}`,
        aim: '>= 10,000 where nginx does 37,000',
      },
      ...references.map((name) => {
        const used = cpu(durability)
        const share =
          used === undefined ? '' : `, by processor time ${(cpu(name)! / used).toFixed(2)}`
        return {
          what: `  of ${label[name]}`,
          figure: `${(speed(durability) / speed(name)).toFixed(2)}${share}`,
          ...(name === 'nginx' && { aim: '>= 0.35' }),
        }
      }),
    ]),
  ]
}

async function latencyRows(
  run: Runner,
  aims: Readonly<Record<'direct' | 'normal' | 'full', Aim>>,
): Promise<readonly Row[]> {
  const results = await run.rounds({
    direct: () => run.paced(aims.direct, STEADY_PER_SECOND),
    normal: () => run.paced(aims.normal, STEADY_PER_SECOND),
    full: () => run.paced(aims.full, STEADY_PER_SECOND),
  })
  const added = (name: 'normal' | 'full', of: 'p50' | 'p99'): string =>
    `${(least(results[name], of)! - least(results.direct, of)!).toFixed(2)} ms`
  return (['normal', 'full'] as const).map((durability) => ({
    what: `added at ${STEADY_PER_SECOND} requests/s (${durability.toUpperCase()}), p50 and p99`,
    figure: `${added(durability, 'p50')}, ${added(durability, 'p99')}`,
    aim: durability === 'normal' ? '<= 0.3 ms, <= 2 ms' : 'one fsync more',
  }))
}

async function eventRows(
  run: Runner,
  aims: Readonly<Record<'translated' | 'passed' | 'direct', Aim>>,
): Promise<readonly Row[]> {
  const results = await run.rounds({
    translated: () => run.closed(aims.translated),
    passed: () => run.closed(aims.passed),
    first: () => run.paced(aims.passed, STEADY_STREAMS_PER_SECOND),
    direct: () => run.paced(aims.direct, STEADY_STREAMS_PER_SECOND),
  })
  const events = (name: 'translated' | 'passed', each: number): string =>
    String(round(most(results[name], 'perSecond') * each))
  const first = least(results.first, 'firstP50')! - least(results.direct, 'firstP50')!
  return [
    {
      what: `Anthropic to OpenAI, ${TRANSLATED_EVENTS} events each, events/s`,
      figure: events('translated', TRANSLATED_EVENTS),
      aim: '>= 60,000',
    },
    {
      what: `passed through, ${PASSED_EVENTS} events each, events/s`,
      figure: events('passed', PASSED_EVENTS),
      aim: '>= 200,000',
    },
    { what: 'first event added, p50', figure: `${first.toFixed(2)} ms`, aim: '<= 1 ms' },
  ]
}

async function streamRows(
  run: Runner,
  count: number,
  aims: Readonly<Record<'gateway' | 'direct', Aim>>,
): Promise<readonly Row[]> {
  const before = aims.gateway.part?.rssBytes() ?? 0
  const direct = await run.streams(aims.direct, count)
  const held = await run.streams(aims.gateway, count)
  return [
    {
      what: `${count} open streams at 20 events/s, memory each`,
      figure: `${round((held.rssBytes - before) / 1024 / count)} KB`,
      aim: '<= 50 KB',
    },
    {
      what: '  events/s, and directly',
      figure: `${round(held.events)}, ${round(direct.events)}`,
    },
    {
      what: '  gap between events, p99 added',
      figure: `${(held.p99 - direct.p99).toFixed(1)} ms`,
      aim: '<= 10 ms',
    },
  ]
}

function most(results: readonly Measured[], of: 'perSecond'): number {
  return Math.max(...results.map((result) => result[of]))
}

function least<K extends 'cpuUs' | 'p50' | 'p99' | 'firstP50'>(
  results: readonly Measured[],
  of: K,
): Measured[K] {
  return results.map((result) => result[of]).reduce((a, b) => (a! <= b! ? a : b))
}

function round(figure: number): number {
  return Math.round(figure)
}

function request(path: string, model: string, stream: boolean, key: string): string {
  return requestText(path, requestBody(model, stream), key)
}

async function startScript(
  name: string,
  args: readonly string[],
  core: number,
): Promise<{ readonly part: Part; readonly port: number }> {
  const part = startNode(join(import.meta.dirname, name), args, { core })
  const [, port] = await printed(part, 'stdout', /ready (\d+)/)
  return { part, port: Number(port) }
}

function printTable(rows: readonly Row[]): void {
  const wide = (of: 'what' | 'figure'): number => Math.max(...rows.map((row) => row[of].length))
  for (const { what, figure, aim = '' } of rows) {
    process.stdout.write(
      `| ${what.padEnd(wide('what'))} | ${figure.padEnd(wide('figure'))} | ${aim} |\n`,
    )
  }
}

const HELP = `npm run bench -- [options]

  --seconds N   how long each measurement takes (2)
  --rounds N    how often each is repeated; the best counts (3)
  --streams N   how many streams are held open (500)
  --full        8 seconds, 5 rounds, 5000 streams
`

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean', short: 'h', default: false },
      full: { type: 'boolean', default: false },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      streams: { type: 'string' },
    },
  })
  const { full } = values
  if (values.help) process.stdout.write(HELP)
  else {
    printTable(
      await bench({
        seconds: Number(values.seconds ?? (full ? 8 : 2)),
        rounds: Number(values.rounds ?? (full ? 5 : 3)),
        warmUp: 20_000,
        streams: Number(values.streams ?? (full ? 5000 : 500)),
      }),
    )
  }
}
