import type { Command } from 'commander'
import type { Config } from '../config.ts'
import { ConfigError, problemLine } from '../config.ts'
import { effectiveConfig } from './config.ts'
import { checkDataDir, checkExposure, checkNode, checkPort } from './doctor-machine.ts'
import { checkModels, checkProviders, checkServer } from './doctor-server.ts'
import { EXIT } from './failure.ts'
import { isLoopback, reachable } from './session.ts'
import type { Session } from './session.ts'
import { plain } from './terminal.ts'
import type { Terminal } from './terminal.ts'

/** One line of the doctor. */
export interface Check {
  readonly check: string
  readonly result: 'ok' | 'warning' | 'failed' | 'skipped'
  readonly detail: string
  /** What to do; null where there is nothing to. */
  readonly fix: string | null
}

const MARKS = {
  ok: ['green', '✓'],
  warning: ['yellow', '!'],
  failed: ['red', '✗'],
  skipped: ['dim', '-'],
} as const

export function define(command: Command, session: Session): void {
  command.addHelpText('after', '\nExits with 7 when a check failed or warned.').action(async () => {
    const checks = await examine(session)
    const { json, csv, quiet } = session.options
    if (session.terminal.stdout.isTTY !== true || json !== undefined || csv || quiet) {
      await session.rows(checks, [
        { name: 'check', value: ({ check }) => check },
        { name: 'result', value: ({ result }) => result },
        { name: 'detail', value: ({ detail }) => detail },
        { name: 'fix', value: ({ fix }) => fix },
      ])
    } else {
      for (const check of checks) session.terminal.stdout.write(`${lineOf(session, check)}\n`)
    }
    const found = checks.filter(({ result }) => result === 'failed' || result === 'warning')
    if (found.length > 0) session.exit = EXIT.findings
    session.note(found.length === 0 ? 'Nothing to mend.' : `${found.length} to mend.`)
  })
}

async function examine(session: Session): Promise<readonly Check[]> {
  const { env } = session.terminal
  const connection = await session.connect()
  const { checks, config } = checkSettings(env)
  const { isLocal, hasKey, keySource } = connection
  const adminKey: Check = {
    check: 'admin key',
    result: hasKey ? 'ok' : 'skipped',
    detail: hasKey ? `from ${keySource}` : keySource,
    fix: hasKey ? null : 'the first `tollgate serve` makes one; or set TOLLGATE_ADMIN_KEY',
  }
  const server = await checkServer(session)
  const machine =
    config === undefined || !isLocal
      ? []
      : [
          ...checkDataDir(config),
          await checkPort('port', config.host, config.port),
          await checkPort('admin_port', config.admin_host, config.admin_port),
          ...checkExposure(config),
        ]
  const answers = server.some(({ check, result }) => check === 'server' && result !== 'skipped')
  return [
    checkNode(process.version),
    ...checks,
    ...machine,
    hasKey || !answers ? adminKey : { ...adminKey, result: 'failed' },
    ...checkTransport(connection.url),
    ...server,
    ...(server.every(({ result }) => result === 'ok')
      ? [...(await checkProviders(session)), ...(await checkModels(session, config?.unpriced))]
      : []),
  ]
}

function checkSettings(env: Terminal['env']): {
  readonly checks: readonly Check[]
  readonly config?: Config
} {
  try {
    const config = effectiveConfig(env)
    const detail = config.file ?? 'no file; variables and defaults'
    return { config, checks: [{ check: 'settings', result: 'ok', detail, fix: null }] }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return {
      checks: error.problems.map((problem) => ({
        check: 'settings',
        result: 'failed',
        detail: problemLine(problem),
        fix: 'correct it; `tollgate config validate` checks again',
      })),
    }
  }
}

/** The admin key must not cross a network in the clear. */
function checkTransport(address: string): readonly Check[] {
  const url = new URL(address)
  if (url.protocol === 'https:' || isLoopback(reachable(url.hostname))) return []
  return [
    {
      check: 'transport',
      result: 'warning',
      detail: `the admin key goes to ${url.host} unencrypted`,
      fix: 'put TLS before the control plane and name it as https://',
    },
  ]
}

function lineOf(session: Session, { check, result, detail, fix }: Check): string {
  const [colour, mark] = MARKS[result]
  const line = `${session.paint(colour, mark)} ${plain(`${check.padEnd(22)} ${detail}`)}`
  return fix === null ? line : `${line}\n${' '.repeat(25)}fix: ${plain(fix)}`
}
