import { Option } from 'commander'
import { EXIT, Failure } from './failure.ts'
import type { Session } from './session.ts'

export interface Changing {
  readonly dryRun?: boolean
}

export interface Confirming extends Changing {
  readonly yes?: boolean
}

export function dryRunOption(): Option {
  return new Option('--dry-run', 'show the change, make none')
}

/** Makes a change, or shows it and returns nothing. */
export async function change<T>(
  session: Session,
  { dryRun }: Changing,
  method: 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  path: string,
  body?: object,
): Promise<T | undefined> {
  const api = await session.connect()
  if (dryRun !== true) return api.send<T>(method, path, body)
  session.record({ dry_run: true, method, path, body: body ?? null }, () =>
    ['would', method, path, ...(body === undefined ? [] : [JSON.stringify(body)])].join(' '),
  )
  session.note('Nothing was changed.')
  return undefined
}

/**
 * Wants the name typed before something is stopped.
 *
 * @throws Failure when it is not, or nobody is there to be asked
 */
export async function confirm(
  session: Session,
  { yes, dryRun }: Confirming,
  name: string,
  effect: string,
): Promise<void> {
  if (yes === true || dryRun === true) return
  if (session.terminal.stdin.isTTY !== true) {
    throw new Failure(EXIT.usage, `${effect} Nobody is here to be asked`, { fix: 'add --yes' })
  }
  const typed = await session.ask(`${effect}\nType ${name} to go on: `)
  if (typed?.trim() !== name) {
    throw new Failure(EXIT.failed, 'That is not its name: nothing was changed')
  }
}

/** @throws Failure where an update names nothing */
export function needSome(body: object, command: string): void {
  if (Object.keys(body).length > 0) return
  throw new Failure(EXIT.usage, 'Nothing to change was named', {
    fix: `\`${command} --help\` shows what can be`,
  })
}

/** @throws Failure where an option that is needed is not there */
export function needed(value: string | undefined, what: string, example: string): string {
  if (value !== undefined) return value
  throw new Failure(EXIT.usage, `${what} is needed`, { fix: example })
}

/** Fields under each other. */
export function inLines(fields: Readonly<Record<string, string | number | null>>): string {
  const width = Math.max(...Object.keys(fields).map(({ length }) => length)) + 1
  return Object.entries(fields)
    .map(([name, value]) => `${name.replaceAll('_', ' ').padEnd(width)} ${value ?? '-'}`)
    .join('\n')
}
