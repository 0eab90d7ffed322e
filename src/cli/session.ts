import { createInterface } from 'node:readline/promises'
import { styleText } from 'node:util'
import type { Command } from 'commander'
import { createAdminApi } from './admin-api.ts'
import type { AdminApi } from './admin-api.ts'
import { readAdminKey } from './data-dir.ts'
import { EXIT, Failure } from './failure.ts'
import { readLocalSettings, readText } from './local-settings.ts'
import type { LocalSettings } from './local-settings.ts'
import { columnsOf, showCsv, showJson, showRows } from './show.ts'
import type { Column, ShowOptions } from './show.ts'
import { plain } from './terminal.ts'
import type { Terminal } from './terminal.ts'

interface GlobalOptions {
  readonly url?: string
  readonly tenant?: string
  readonly json?: string
  readonly csv?: boolean
  readonly quiet?: boolean
  readonly color: boolean
  /** ms */
  readonly timeout: number
  readonly debug?: boolean
}

/** What one run of the command line shares between its commands. */
export interface Session {
  readonly terminal: Terminal
  readonly options: GlobalOptions
  /** The tenant named to act in: by --tenant, else by the environment. */
  readonly tenant: string | undefined
  /** What the run ends with unless it fails; a command may set it. */
  exit: number
  connect(): Promise<Connection>
  /** The settings of this directory and environment, leniently read. */
  local(): Promise<LocalSettings>
  /** Shows a list; `none` tells people that there is nothing. */
  rows<Row extends object>(
    rows: readonly Row[],
    columns: readonly Column<Row>[],
    none?: string,
  ): Promise<void>
  /** Shows one thing: as JSON, or as the text `words` makes of it. */
  record<T extends object>(value: T, words: (value: T) => string): void
  /** For people, never data: kept quiet by --quiet. */
  note(line: string): void
  /** Data. */
  print(text: string): void
  paint(style: Parameters<typeof styleText>[0], words: string): string
  /** @returns what was typed; undefined when the input ended */
  ask(question: string): Promise<string | undefined>
}

export interface Connection extends AdminApi {
  /** Whether the server is on this machine. */
  readonly isLocal: boolean
  readonly hasKey: boolean
  /** Where the key came from, or was looked for. */
  readonly keySource: string
}

export function createSession(program: Command, terminal: Terminal): Session {
  const { env, stdin, stdout, stderr } = terminal
  const options = (): GlobalOptions => program.opts()
  let connection: Promise<Connection> | undefined
  let settings: Promise<LocalSettings> | undefined

  const local = (): Promise<LocalSettings> => (settings ??= readLocalSettings(env))

  function colours(isTTY: boolean | undefined): boolean {
    return isTTY === true && options().color && !env.NO_COLOR && env.TERM !== 'dumb'
  }

  async function connect(): Promise<Connection> {
    const { url: given, timeout, debug } = options()
    const url = readUrl(given ?? (env.TOLLGATE_URL || localUrl(await local())))
    const isLocal = isLoopback(new URL(url).hostname)
    const { key, keySource } = await findKey(env, local, isLocal)
    const api = createAdminApi({
      url,
      key,
      keySource,
      tenant: tenant(),
      timeoutMs: timeout,
      now: terminal.now,
      trace: debug ? (line) => stderr.write(`${plain(line)}\n`) : undefined,
    })
    return { ...api, isLocal, keySource, hasKey: key !== undefined }
  }

  function tenant(): string | undefined {
    return options().tenant ?? (env.TOLLGATE_TENANT || undefined)
  }

  function shown(): ShowOptions {
    return { ...options(), colour: colours(stdout.isTTY) }
  }

  return {
    terminal,
    exit: EXIT.ok,
    get options() {
      return options()
    },
    get tenant() {
      return tenant()
    },
    connect: () => (connection ??= connect()),
    local,
    async rows(rows, columns, none) {
      await showRows(stdout, rows, columns, shown())
      const { json, csv } = options()
      if (rows.length === 0 && none !== undefined && json === undefined && !csv) this.note(none)
    },
    record(value, words) {
      const { json, csv } = options()
      if (csv) showCsv(stdout, [value], columnsOf(value))
      else if (json === undefined) this.print(words(value))
      else showJson(stdout, value, json)
    },
    note(line) {
      if (!options().quiet) stderr.write(`${plain(line)}\n`)
    },
    print: (text) => void stdout.write(`${plain(text)}\n`),
    paint: (style, words) =>
      colours(stdout.isTTY) ? styleText(style, words, { validateStream: false }) : words,
    async ask(question) {
      const lines = createInterface({ input: stdin, terminal: false })
      stderr.write(plain(question))
      try {
        const { value } = await lines[Symbol.asyncIterator]().next()
        return value
      } finally {
        lines.close()
      }
    },
  }
}

function localUrl(settings: LocalSettings): string {
  const host = reachable(settings.get('admin_host') ?? '')
  return `http://${host}:${settings.get('admin_port')}`
}

/** An address to call for one to listen on: every address means this machine too. */
export function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
}

export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host)
}

/** @param setBy what it was given with, for messages */
export function readUrl(
  text: string,
  name = 'control plane',
  setBy = '--url or TOLLGATE_URL',
  port = 8081,
): string {
  const url = URL.parse(text)
  const isOrigin = url !== null && /^https?:$/.test(url.protocol) && url.hostname !== ''
  // Not quoted: a password may stand in it.
  if (!isOrigin || url.username !== '' || url.password !== '' || url.search || url.hash) {
    throw new Failure(EXIT.usage, `The address of the ${name} is no http(s)://host:port`, {
      fix: `correct ${setBy}, such as http://127.0.0.1:${port}`,
    })
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

async function findKey(
  env: Terminal['env'],
  local: () => Promise<LocalSettings>,
  isLocal: boolean,
): Promise<{ readonly key?: string; readonly keySource: string }> {
  const { key, keySource } = await lookForKey(env, local, isLocal)
  if (key !== undefined && !/^[\x21-\x7e]{1,512}$/.test(key)) {
    throw new Failure(EXIT.auth, `The admin key of ${keySource} has characters no key has`, {
      fix: 'look for blanks, line breaks and quotes in it',
    })
  }
  return { ...(key !== undefined && { key }), keySource }
}

async function lookForKey(
  env: Terminal['env'],
  local: () => Promise<LocalSettings>,
  isLocal: boolean,
): Promise<{ readonly key?: string | undefined; readonly keySource: string }> {
  const given = env.TOLLGATE_ADMIN_KEY?.trim()
  if (given) return { key: given, keySource: 'TOLLGATE_ADMIN_KEY' }
  const named = env.TOLLGATE_ADMIN_KEY_FILE
  if (named) {
    const key = readText(named)?.trim()
    if (!key) {
      throw new Failure(EXIT.auth, `TOLLGATE_ADMIN_KEY_FILE names ${named}, which has no key`, {
        fix: 'name a file that can be read and holds the admin key alone',
      })
    }
    return { key, keySource: named }
  }
  // A key of this machine is not for another.
  if (!isLocal) {
    return { keySource: 'only TOLLGATE_ADMIN_KEY is sent to another machine, and it is not set' }
  }
  const settings = await local()
  const written = settings.get('admin_key')
  if (written) return { key: written, keySource: settings.file ?? 'the settings' }
  const file = `${settings.get('data_dir')}/admin.key`
  const key = readAdminKey(settings.get('data_dir') ?? '')
  if (key !== undefined) return { key, keySource: file }
  return { keySource: `TOLLGATE_ADMIN_KEY is not set, and ${file} cannot be read` }
}
