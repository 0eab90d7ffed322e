import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { run } from '../../src/cli/program.ts'
import type { Terminal } from '../../src/cli/terminal.ts'

const LAUNCHER = join(import.meta.dirname, '../../src/bin.js')

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Called with what stderr has so far. */
  readonly onStderr?: (text: string, signal: (name: NodeJS.Signals) => void) => void
}

/** Runs the launcher as a shell would, with nothing of our own environment. */
export function tollgate(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const child = spawn(process.execPath, [LAUNCHER, ...args], {
    cwd: options.cwd ?? tmpdir(),
    env: { PATH: process.env.PATH, TOLLGATE_CONFIG: '/dev/null', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    options.onStderr?.(stderr, (name) => void child.kill(name))
  })
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}

/** Runs a command in this process, as if a person sat before it. */
export async function atTerminal(
  args: readonly string[],
  { stdin, env = {}, now = Date.now }: Partial<Pick<Terminal, 'stdin' | 'env' | 'now'>>,
): Promise<Ran> {
  let stdout = ''
  let stderr = ''
  const code = await run(args, {
    env: { TOLLGATE_CONFIG: '/dev/null', ...env },
    stdin: stdin ?? process.stdin,
    stdout: { isTTY: true, write: (text) => (stdout += text) },
    stderr: { isTTY: true, write: (text) => (stderr += text) },
    now,
    exitOnInterrupt: () => {},
  })
  return { code, stdout, stderr }
}

/** An empty directory for the length of one test, with these files in it. */
export function directory(files: Readonly<Record<string, string>> = {}): string {
  const path = mkdtempSync(join(tmpdir(), 'tollgate-cli-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text)
  return path
}
