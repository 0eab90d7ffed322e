import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { once } from 'node:events'

/** A part of the bench, in a process of its own. */
export interface Part {
  readonly child: ChildProcess
  /** Processor time used so far, ms; undefined where the system does not say. */
  cpuMs(): number | undefined
  rssBytes(): number
  stop(): Promise<void>
}

/** What is measured has the first core, all else the second. */
export const MEASURED_CORE = 0
export const LOAD_CORE = 1

export interface StartOptions {
  readonly core: number
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** File descriptor for its standard output; it is piped to us otherwise. */
  readonly stdout?: number
  readonly ipc?: boolean
}

export function start(command: string, args: readonly string[], options: StartOptions): Part {
  const pinned = canPin() ? ['taskset', '-c', String(options.core), command] : [command]
  const [first = command, ...rest] = [...pinned, ...args]
  const child = spawn(first, rest, {
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdio: ['ignore', options.stdout ?? 'pipe', 'pipe', ...(options.ipc ? ['ipc' as const] : [])],
  })
  const { pid } = child
  if (pid === undefined) throw new Error(`${command} cannot be started`)
  return {
    child,
    cpuMs: () => cpuMs(pid),
    rssBytes: () => 1024 * Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)])),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 10_000)
      await once(child, 'exit')
      clearTimeout(late)
    },
  }
}

export function startNode(file: string, args: readonly string[], options: StartOptions): Part {
  return start(process.execPath, [file, ...args], options)
}

/**
 * Waits until a process prints what the pattern matches.
 *
 * @throws Error with what it printed when it ends instead
 */
export function printed(
  { child }: Part,
  stream: 'stdout' | 'stderr',
  pattern: RegExp,
): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let text = ''
    child[stream]?.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
      const found = pattern.exec(text)
      if (found !== null) resolve(found)
    })
    child.once('exit', (code) => reject(new Error(`A part ended with ${code}: ${text}`)))
  })
}

let pins: boolean | undefined

function canPin(): boolean {
  pins ??= availableParallelism() > 1 && isInstalled('taskset')
  return pins
}

export function isInstalled(command: string): boolean {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`
  return path.split(':').some((folder) => existsSync(`${folder}/${command}`))
}

/** Linux counts in hundredths of a second. */
function cpuMs(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * 10
  } catch {
    return undefined
  }
}
