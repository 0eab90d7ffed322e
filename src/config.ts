import { isAbsolute, resolve } from 'node:path'
import { LineCounter, parseDocument } from 'yaml'
import type { Document } from 'yaml'
import { z } from 'zod'
import { nearest } from './nearest.ts'

interface Setting {
  readonly schema: z.ZodType
  /** As it would be written; absent: not set. */
  readonly default?: string
  readonly help: string
  /** Never printed; has no flag, since arguments show in process lists. */
  readonly secret?: true
}

const port = z.coerce.number().int().min(0).max(65_535)
const milliseconds = z.coerce.number().int().min(1).max(86_400_000)
const bytes = z.coerce
  .number()
  .int()
  .min(1024)
  .max(1024 ** 3)

/**
 * Every scalar setting. `name` is the key in `tollgate.yaml`, `--name` (with dashes) the
 * flag, `TOLLGATE_NAME` the variable and `TOLLGATE_NAME_FILE` its twin that names a file.
 * The README's table is printed from this one.
 */
export const SETTINGS = {
  config: {
    schema: z.string(),
    help: 'Settings file; `tollgate.yaml` in the working directory is read when it exists',
  },
  host: { schema: z.string(), default: '127.0.0.1', help: 'Address the data plane listens on' },
  port: { schema: port, default: '8080', help: 'Port of the data plane; 0 picks a free one' },
  admin_host: {
    schema: z.string(),
    default: '127.0.0.1',
    help: 'Address the control plane listens on',
  },
  admin_port: {
    schema: port,
    default: '8081',
    help: 'Port of the control plane; 0 picks a free one',
  },
  data_dir: {
    schema: z.string().min(1),
    default: './data',
    help: 'Where the SQLite database, the admin key and the master key are kept',
  },
  database_url: {
    schema: z
      .string()
      .regex(/^postgres(ql)?:\/\//, 'expected postgres://user:password@host/database'),
    help: 'Postgres to use instead of SQLite',
    secret: true,
  },
  admin_key: {
    schema: z.string().min(16, 'expected at least 16 characters'),
    help: 'Key of the control plane; generated into `data_dir` when not set',
    secret: true,
  },
  master_key: {
    schema: z.string().min(32, 'expected at least 32 characters'),
    help: 'Secret that key digests are made with; generated into `data_dir` when not set',
    secret: true,
  },
  durability: {
    schema: z.enum(['full', 'normal']),
    default: 'full',
    help: '`full`: the ledger survives power loss; `normal`: it survives a crash of the process',
  },
  unpriced: {
    schema: z.enum(['refuse', 'allow']),
    default: 'refuse',
    help: 'What happens to a request whose model has no price; allowed ones are on the ledger as unpriced',
  },
  time_zone: {
    schema: z.string().refine(isTimeZone, 'expected an IANA time zone such as Europe/Warsaw'),
    default: 'UTC',
    help: 'Zone of the budget windows and of reports',
  },
  trust_proxy: {
    schema: z.string(),
    help: 'Proxies whose X-Forwarded-For is believed, as comma-separated CIDR ranges',
  },
  max_body_bytes: {
    schema: bytes,
    default: '33554432',
    help: 'Largest request body accepted, bytes',
  },
  max_response_bytes: {
    schema: bytes,
    default: '134217728',
    help: 'Largest answer accepted of a provider, decompressed, bytes',
  },
  max_attempts: {
    schema: z.coerce.number().int().min(1).max(10),
    default: '3',
    help: 'Most upstream attempts for one request, over all its targets',
  },
  connect_timeout_ms: {
    schema: milliseconds,
    default: '10000',
    help: 'Longest wait for a connection to a provider, ms',
  },
  first_event_timeout_ms: {
    schema: milliseconds,
    default: '120000',
    help: 'Longest wait for the first event of a stream, ms',
  },
  idle_timeout_ms: {
    schema: milliseconds,
    default: '60000',
    help: 'Longest silence within a stream, ms',
  },
  total_timeout_ms: {
    schema: milliseconds,
    default: '600000',
    help: 'Longest a request may take upstream, ms',
  },
  drain_timeout_ms: {
    schema: z.coerce.number().int().min(0).max(600_000),
    default: '0',
    help: 'How long a stream whose caller left is still read for its usage, ms; 0 ends it at once and estimates',
  },
  shutdown_grace_ms: {
    schema: z.coerce.number().int().min(0).max(3_600_000),
    default: '30000',
    help: 'How long open answers may finish after SIGTERM, ms',
  },
  log_level: {
    schema: z.enum(['debug', 'info', 'warn', 'error', 'silent']),
    default: 'info',
    help: 'Least severity that is logged; `info` has one line per request',
  },
} as const satisfies Record<string, Setting>

export type SettingName = keyof typeof SETTINGS

type SettingValues = {
  readonly [Name in SettingName]:
    | z.infer<(typeof SETTINGS)[Name]['schema']>
    | ((typeof SETTINGS)[Name] extends { readonly default: string } ? never : undefined)
}

const decimal = z
  .string({ error: 'expected a decimal in quotes, such as "0.15"' })
  .regex(/^\d{1,9}(\.\d{1,12})?$/, 'expected a decimal such as "0.15"')

/** USD per million tokens; `request` and `web_search` are USD each. */
const price = z.strictObject({
  input: decimal,
  output: decimal,
  cache_read: decimal.optional(),
  cache_write: decimal.optional(),
  cache_write_1h: decimal.optional(),
  reasoning: decimal.optional(),
  input_audio: decimal.optional(),
  output_audio: decimal.optional(),
  request: decimal.optional(),
  web_search: decimal.optional(),
})

/** Headers that say where a message ends or goes. */
const FRAMING =
  /^(connection|content-length|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade)$/i

const provider = z.strictObject({
  kind: z.string().min(1).optional(),
  api_key: z.string().min(1).optional(),
  base_url: z
    .string()
    .refine(isBaseUrl, 'expected http(s)://host[:port][/path] without query or user')
    .optional(),
  allow_private_network: z.boolean().optional(),
  headers: z
    .record(
      z
        .string()
        .regex(/^[!#$%&'*+.^_`|~\w-]+$/, 'not a header name')
        .refine((header) => !FRAMING.test(header), 'is set by Tollgate itself'),
      z.string().regex(/^[\t\x20-\x7e]*$/, 'expected printable ASCII on one line'),
    )
    .optional(),
  models: z.array(z.string().min(1)).optional(),
  prices: z.record(z.string(), price).optional(),
})

const targetName = z.string().regex(/^[\w.-]+\/.+$/, 'expected provider/model')

const route = z.strictObject({
  strategy: z.enum(['ordered', 'weighted', 'least-latency', 'least-cost']).default('ordered'),
  targets: z
    .array(
      z.union([
        targetName.transform((model) => ({ model, weight: 1 })),
        z.strictObject({
          model: targetName,
          weight: z.number().int().min(0).max(1_000_000).default(1),
        }),
      ]),
    )
    .min(1),
  fallbacks: z.array(targetName).default([]),
})

const name = z.string().regex(/^[a-zA-Z0-9][\w.-]{0,63}$/, 'expected letters, digits, - _ . only')

const objects = z.strictObject({
  providers: z.record(name, provider).default({}),
  models: z
    .record(
      z.string().regex(/^[a-zA-Z0-9][\w.:-]{0,127}$/, 'expected letters, digits, - _ . : only'),
      route,
    )
    .default({}),
})

export type PriceSetting = z.infer<typeof price>
export type ProviderSetting = z.infer<typeof provider>
export type RouteSetting = z.infer<typeof route>

export type Config = SettingValues & {
  readonly providers: Readonly<Record<string, ProviderSetting>>
  readonly models: Readonly<Record<string, RouteSetting>>
  /** The file that was read; absent when there was none. */
  readonly file?: string
}

export interface ConfigProblem {
  /** The file, variable or flag at fault. */
  readonly where: string
  readonly line?: number
  readonly column?: number
  /** `providers.openai.base_url` */
  readonly path: string
  /** What is wrong and how to mend it. */
  readonly message: string
}

/** Everything that is wrong with the settings, at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super(
      `The settings are not usable:\n${problems.map((problem) => `  ${problemLine(problem)}`).join('\n')}`,
    )
    this.problems = problems
  }
}

export interface ConfigSources {
  /** Values of flags by setting name. */
  readonly flags: Readonly<Record<string, string | undefined>>
  readonly env: Readonly<Record<string, string | undefined>>
  /** @returns undefined when there is no such file */
  readonly readFile: (path: string) => string | undefined
  /** Kinds of provider there are. */
  readonly kinds: Iterable<string>
}

/**
 * Reads flags, then environment, then the file, then defaults, in this order of rank.
 *
 * @throws ConfigError naming every mistake, so that one restart is enough to mend them
 */
export function loadConfig(sources: ConfigSources): Config {
  const problems: ConfigProblem[] = []
  const given = fromEnvironment(sources, problems)
  const path = sources.flags.config ?? given.get('config')?.text
  const file = readSettingsFile(sources, path, problems)
  const scalars = readScalars(sources, given, file, problems)
  const lists = readObjects(file, [...sources.kinds], problems)
  if (problems.length > 0) throw new ConfigError(problems)
  return Object.freeze({
    ...scalars,
    ...lists,
    ...(file === undefined ? {} : { file: file.name }),
  })
}

interface Given {
  readonly text: string
  readonly where: string
}

/** `TOLLGATE_*` and their `_FILE` twins. Both set at once is a mistake, not a choice. */
function fromEnvironment(sources: ConfigSources, problems: ConfigProblem[]): Map<string, Given> {
  const given = new Map<string, Given>()
  const known = new Set(Object.keys(SETTINGS))
  for (const [variable, value] of Object.entries(sources.env)) {
    if (!variable.startsWith('TOLLGATE_') || value === undefined || value === '') continue
    if (CLIENT_VARIABLES.has(variable)) continue
    const key = variable.slice('TOLLGATE_'.length).toLowerCase()
    const plain = key.replace(/_file$/, '')
    if (known.has(key)) {
      if (sources.env[`${variable}_FILE`]) {
        problems.push({
          where: variable,
          path: key,
          message: `both ${variable} and ${variable}_FILE are set: keep one`,
        })
      }
      given.set(key, { text: value, where: variable })
    } else if (key.endsWith('_file') && known.has(plain)) {
      const text = sources.readFile(value)
      if (text === undefined) {
        problems.push({
          where: variable,
          path: plain,
          message: `cannot read ${value}: does the file exist?`,
        })
      } else if (!given.has(plain)) {
        given.set(plain, { text: text.trim(), where: variable })
      }
    } else {
      const near = nearest(key, known)
      const hint = near === undefined ? '' : `; did you mean TOLLGATE_${near.toUpperCase()}?`
      problems.push({ where: variable, path: key, message: `is not a setting${hint}` })
    }
  }
  return given
}

/** Read by the command line when it talks to a running Tollgate; no settings of the server. */
const CLIENT_VARIABLES: ReadonlySet<string> = new Set([
  'TOLLGATE_URL',
  'TOLLGATE_API_KEY',
  'TOLLGATE_PROFILE',
])

interface SettingsFile {
  readonly name: string
  readonly value: Readonly<Record<string, unknown>>
  /** Line and column of the value at a path, or of the nearest thing above it. */
  locate(path: readonly PropertyKey[]): { line?: number; column?: number }
}

function readSettingsFile(
  sources: ConfigSources,
  path: string | undefined,
  problems: ConfigProblem[],
): SettingsFile | undefined {
  const name = path ?? 'tollgate.yaml'
  const text = sources.readFile(name)
  if (text === undefined) {
    if (path !== undefined) {
      problems.push({
        where: path,
        path: 'config',
        message: 'cannot read the settings file: does it exist?',
      })
    }
    return undefined
  }
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    maxAliasCount: 100,
  } as never)
  for (const fault of document.errors) {
    const { line, col } = lines.linePos(fault.pos[0])
    problems.push({
      where: name,
      line,
      column: col,
      path: '',
      message: fault.message.split('\n')[0] ?? '',
    })
  }
  if (document.errors.length > 0) return undefined
  const file = { name, locate: (at: readonly PropertyKey[]) => locate(document, lines, at) }
  const value = expand(document.toJS({ maxAliasCount: 100 }), [], sources.env, file, problems) ?? {}
  if (typeof value !== 'object' || Array.isArray(value)) {
    problems.push({
      where: name,
      line: 1,
      column: 1,
      path: '',
      message: 'expected settings as `name: value` lines',
    })
    return undefined
  }
  return { ...file, value: value as Record<string, unknown> }
}

function locate(
  document: Document,
  lines: LineCounter,
  path: readonly PropertyKey[],
): { line?: number; column?: number } {
  for (let length = path.length; length > 0; length--) {
    const parent = document.getIn(path.slice(0, length - 1), true) as
      | { items?: unknown[] }
      | undefined
    const step = path[length - 1]
    const pair = parent?.items?.find(
      (item) => (item as { key?: { value?: unknown } }).key?.value === step,
    ) as { key: { range?: readonly number[] } } | undefined
    const node =
      pair?.key ??
      (document.getIn(path.slice(0, length), true) as { range?: readonly number[] } | undefined)
    const offset = node?.range?.[0]
    if (offset !== undefined) {
      const { line, col } = lines.linePos(offset)
      return { line, column: col }
    }
  }
  return { line: 1, column: 1 }
}

/** Puts `${VARIABLE}` and `${VARIABLE:-default}` into text values, at any depth. */
function expand(
  value: unknown,
  path: readonly PropertyKey[],
  env: ConfigSources['env'],
  file: { name: string; locate: SettingsFile['locate'] },
  problems: ConfigProblem[],
): unknown {
  if (typeof value === 'string') {
    return value.replace(/\$\{(\w+)(?::-([^}]*))?\}/g, (_, variable: string, fallback?: string) => {
      const found = env[variable] || fallback
      if (found !== undefined) return found
      problems.push({
        where: file.name,
        ...file.locate(path),
        path: path.join('.'),
        message: `the variable ${variable} is not set: set it, or write \${${variable}:-default}`,
      })
      return ''
    })
  }
  if (Array.isArray(value)) {
    return value.map((item, index) => expand(item, [...path, index], env, file, problems))
  }
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        key,
        expand(item, [...path, key], env, file, problems),
      ]),
    )
  }
  return value
}

function readScalars(
  sources: ConfigSources,
  given: ReadonlyMap<string, Given>,
  file: SettingsFile | undefined,
  problems: ConfigProblem[],
): SettingValues {
  const values: Record<string, unknown> = {}
  for (const [key, setting] of Object.entries(SETTINGS) as [string, Setting][]) {
    const flag = sources.flags[key]
    const written = file?.value[key]
    let source: { text: unknown; where: string; line?: number; column?: number }
    if (flag !== undefined) source = { text: flag, where: flagOf(key) }
    else if (given.has(key)) source = given.get(key)!
    else if (written !== undefined && written !== null) {
      const scalar =
        typeof written === 'object' ? written : `${written as string | number | boolean}`
      source = { text: scalar, where: file!.name, ...file!.locate([key]) }
    } else source = { text: setting.default, where: 'default' }
    if (source.text === undefined) {
      values[key] = undefined
      continue
    }
    const result = setting.schema.safeParse(source.text)
    if (result.success) {
      values[key] = result.data
    } else {
      const got = setting.secret || typeof source.text !== 'string' ? '' : `, got "${source.text}"`
      const { text: _, ...where } = source
      problems.push({
        ...where,
        path: key,
        message: `${result.error.issues[0]?.message ?? 'is wrong'}${got}`,
      })
    }
  }
  if (typeof values.data_dir === 'string' && !isAbsolute(values.data_dir)) {
    values.data_dir = resolve(values.data_dir)
  }
  return values as SettingValues
}

function readObjects(
  file: SettingsFile | undefined,
  kinds: readonly string[],
  problems: ConfigProblem[],
): Pick<Config, 'providers' | 'models'> {
  if (file === undefined) return { providers: {}, models: {} }
  const complain = (path: readonly PropertyKey[], message: string): void => {
    problems.push({ where: file.name, ...file.locate(path), path: path.join('.'), message })
  }
  const rest: Record<string, unknown> = {}
  const known = [...Object.keys(SETTINGS), ...Object.keys(objects.shape), '$schema']
  for (const [key, value] of Object.entries(file.value)) {
    if (key in objects.shape) {
      if (value !== null) rest[key] = value
    } else if (!known.includes(key)) complain([key], `is not a setting${didYouMean(key, known)}`)
  }
  const result = objects.safeParse(rest)
  if (!result.success) {
    for (const issue of result.error.issues) reportIssue(issue, complain)
    return { providers: {}, models: {} }
  }
  for (const [instance, setting] of Object.entries(result.data.providers)) {
    const kind = setting.kind ?? instance
    if (!kinds.includes(kind)) {
      const path =
        setting.kind === undefined ? ['providers', instance] : ['providers', instance, 'kind']
      const fix = setting.kind === undefined ? 'add `kind:` with a known one' : 'use a known one'
      complain(path, `"${kind}" is not a kind of provider: ${fix}${didYouMean(kind, kinds)}`)
    }
  }
  for (const [routeName, setting] of Object.entries(result.data.models)) {
    if (setting.targets.every((target) => target.weight === 0)) {
      complain(['models', routeName, 'targets'], 'every weight is 0: give at least one target some')
    }
  }
  return result.data
}

function reportIssue(
  issue: z.core.$ZodIssue,
  complain: (path: readonly PropertyKey[], message: string) => void,
): void {
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) {
      complain([...issue.path, key], `is not a setting${didYouMean(key, namesAt(issue.path))}`)
    }
  } else if (issue.code === 'invalid_union') {
    const deepest = issue.errors.flat().toSorted((a, b) => b.path.length - a.path.length)[0]
    if (deepest === undefined) complain(issue.path, issue.message)
    else
      reportIssue(
        { ...deepest, path: [...issue.path, ...deepest.path] } as z.core.$ZodIssue,
        complain,
      )
  } else if (issue.code === 'invalid_key') {
    complain(issue.path, issue.issues[0]?.message ?? issue.message)
  } else complain(issue.path, issue.message)
}

/** Names that may stand at a place of the file. */
function namesAt(path: readonly PropertyKey[]): readonly string[] {
  if (path[0] === 'providers')
    return Object.keys(path.includes('prices') ? price.shape : provider.shape)
  if (path[0] === 'models')
    return path.includes('targets') ? ['model', 'weight'] : Object.keys(route.shape)
  return Object.keys(objects.shape)
}

function didYouMean(given: string, known: Iterable<string>): string {
  const names = [...known]
  const near = nearest(given, names)
  if (near !== undefined) return `; did you mean "${near}"?`
  return names.length <= 12 ? `; known: ${names.join(', ')}` : ''
}

function isTimeZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone })
    return true
  } catch {
    return false
  }
}

/** Whether a text is an address a provider can have: http or https, nothing that is not origin and path. */
function isBaseUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol)) return false
  return url.username === '' && url.password === '' && !text.includes('?') && !text.includes('#')
}

/** `--admin-port` for `admin_port`. */
export function flagOf(setting: string): string {
  return `--${setting.replaceAll('_', '-')}`
}

/** `TOLLGATE_ADMIN_PORT` for `admin_port`. */
export function variableOf(setting: string): string {
  return `TOLLGATE_${setting.toUpperCase()}`
}

/** `tollgate.yaml:4:3 providers.openai.kind: ...` */
export function problemLine({ where, line, column, path, message }: ConfigProblem): string {
  const place = line === undefined ? where : `${where}:${line}:${column}`
  return `${place}${path === '' ? '' : ` ${path}`}: ${message}`
}
