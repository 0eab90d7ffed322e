import { isAbsolute, resolve } from 'node:path'
import { z } from 'zod'
import { nearest } from './nearest.ts'
import { priceRow, providerPrice } from './price-settings.ts'
import type { PriceRowSetting } from './price-settings.ts'
import { isRecord, readSettingsFile } from './settings-file.ts'
import type { ConfigProblem, Path, SettingsFile } from './settings-file.ts'

interface Setting {
  readonly schema: z.ZodType
  /** As it would be written; absent: not set. */
  readonly default?: string
  readonly help: string
  /** Never printed; has no flag, since arguments show in process lists. */
  readonly secret?: true
}

/** A number as flags and variables have it: text. */
function whole(least: number, most: number) {
  const error = `expected a whole number from ${least} to ${most}`
  return z
    .string({ error })
    .refine((text) => /^\d{1,15}$/.test(text) && within(Number(text), least, most), { error })
    .transform(Number)
}

function within(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most
}

const port = whole(0, 65_535)
const milliseconds = whole(1, 86_400_000)
const bytes = whole(1024, 1024 ** 3)
function isSmtpUrl(text: string): boolean {
  const url = URL.parse(text)
  return (
    url !== null &&
    /^smtps?:$/.test(url.protocol) &&
    url.hostname !== '' &&
    /^\/?$/.test(url.pathname) &&
    url.search === '' &&
    url.hash === ''
  )
}

const address = z.string().min(1, 'expected an address such as 127.0.0.1')

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
  host: { schema: address, default: '127.0.0.1', help: 'Address the data plane listens on' },
  port: { schema: port, default: '8080', help: 'Port of the data plane; 0 picks a free one' },
  admin_host: {
    schema: address,
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
  audit_checkpoints: {
    schema: z.string().min(1),
    help: 'File that signed states of the audit are appended to, best on other storage; `audit.checkpoints` in `data_dir` unless set',
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
    help: 'Secret that all other secrets are sealed with; generated into `data_dir` when not set',
    secret: true,
  },
  previous_master_key: {
    schema: z.string().min(32, 'expected at least 32 characters'),
    help: 'To replace the master key: the one before, for one start of every process',
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
  prices_file: {
    schema: z.string().min(1),
    help: 'File with more `prices`; it, and prices in the settings file, are read again when they change',
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
  webhook_private_networks: {
    schema: z.enum(['true', 'false']),
    default: 'false',
    help: '`true`: webhooks may reach private addresses, where they say so',
  },
  smtp_url: {
    schema: z
      .string()
      .refine(isSmtpUrl, 'expected smtp(s)://user:password@host:port, without a path'),
    help: 'Mail server for alerts to `mailto:` addresses; `smtps://` is TLS from the start',
    secret: true,
  },
  mail_from: {
    schema: z.string().regex(/^[^\s@<>,;:"]+@[\w.-]+$/, 'expected an address'),
    default: 'tollgate@localhost',
    help: 'Address that mails are from',
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
    schema: whole(1, 10),
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
  shutdown_grace_ms: {
    schema: whole(0, 3_600_000),
    default: '30000',
    help: 'How long open answers may finish after SIGTERM, ms',
  },
  decisions_days: {
    schema: whole(0, 3650),
    default: '30',
    help: 'How long `tollgate logs` keeps what was decided about each request, days; 0 keeps nothing',
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
  prices: z.record(z.string(), providerPrice).optional(),
})

const targetName = z
  .string({ error: 'expected provider/model' })
  .regex(/^[\w.-]+\/.+$/, 'expected provider/model')

const WEIGHT = 'expected a whole number from 0 to 1000000'

const target = z.preprocess(
  (given) => (typeof given === 'string' ? { model: given } : given),
  z.strictObject(
    {
      model: targetName,
      weight: z
        .number({ error: WEIGHT })
        .refine((weight) => within(weight, 0, 1_000_000), WEIGHT)
        .default(1),
    },
    { error: 'expected provider/model, or { model, weight }' },
  ),
)

const route = z.strictObject({
  strategy: z.enum(['ordered', 'weighted', 'least-latency', 'least-cost']).default('ordered'),
  targets: z.array(target).min(1),
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
  prices: z.array(priceRow).default([]),
})

const priceFile = z.strictObject({ prices: z.array(priceRow).default([]) })

export type PriceSetting = z.infer<typeof providerPrice>
export type ProviderSetting = z.infer<typeof provider>
export type RouteSetting = z.infer<typeof route>

export type Config = SettingValues & {
  readonly providers: Readonly<Record<string, ProviderSetting>>
  readonly models: Readonly<Record<string, RouteSetting>>
  /** Of the settings file, then of `prices_file`; of those that hold at once the last counts. */
  readonly prices: readonly PriceRowSetting[]
  /** The file that was read; absent when there was none. */
  readonly file?: string
}

export type { ConfigProblem } from './settings-file.ts'

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

/** What the settings need to know of a kind of provider. */
export interface KindFacts {
  /** Absent: no usual address, so the settings must give one. */
  readonly baseUrl?: string
  /** Variables that hold its credential, first found wins. */
  readonly credentialVariables: readonly string[]
}

/** What is checked of the settings by the parts that use it, so that a start is not refused later. */
export interface ConfigChecks {
  /** Kinds of provider there are. */
  readonly kinds: ReadonlyMap<string, KindFacts>
  /** Models of the providers that are there unasked; a `*` at the end stands for any text. */
  readonly builtIn: ReadonlyMap<string, readonly string[]>
  /** @throws Error saying why a provider may not have this address */
  readonly checkAddress: (baseUrl: string, allowPrivateNetwork: boolean) => void
  /** @throws Error naming what is neither an address nor a CIDR range */
  readonly checkRanges: (ranges: readonly string[]) => void
  /** @throws Error saying why a price cannot be reckoned with */
  readonly checkPrice: (price: NonNullable<PriceRowSetting['rates']>) => void
}

export interface ConfigSources extends ConfigChecks {
  /** Values of flags by setting name. */
  readonly flags: Readonly<Record<string, string | undefined>>
  readonly env: Env
  /** @returns undefined when there is no such file */
  readonly readFile: (path: string) => string | undefined
}

type Env = Readonly<Record<string, string | undefined>>

/**
 * Reads flags, then environment, then the file, then defaults, in this order of rank.
 *
 * @throws ConfigError naming every mistake, so that one restart is enough to mend them
 */
export function loadConfig(sources: ConfigSources): Config {
  const problems: ConfigProblem[] = []
  const given = fromEnvironment(sources, problems)
  const path = sources.flags.config ?? given.get('config')?.text
  const file = readSettingsFile(path, sources, problems)
  const scalars = readScalars(sources, given, file, problems)
  const lists = readObjects(sources, file)
  const prices = [...lists.prices, ...readPriceFile(scalars.prices_file, sources, problems)]
  if (problems.length > 0) throw new ConfigError(problems.toSorted(byPlace))
  return Object.freeze({
    ...scalars,
    ...lists,
    prices,
    ...(file === undefined ? {} : { file: file.name }),
  })
}

function byPlace(a: ConfigProblem, b: ConfigProblem): number {
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)
}

/** The ids of the kinds that are configured by a variable alone, under their own name. */
export function kindsOfEnvironment(
  kinds: ReadonlyMap<string, KindFacts>,
  settings: Readonly<Record<string, unknown>>,
  env: Env,
): readonly string[] {
  const taken = new Set<unknown>(
    Object.entries(settings).flatMap(([name, setting]) => [
      name,
      (isRecord(setting) ? setting.kind : undefined) ?? name,
    ]),
  )
  return [...kinds]
    .filter(
      ([id, facts]) =>
        !taken.has(id) && facts.baseUrl !== undefined && credentialOf(facts, env) !== undefined,
    )
    .map(([id]) => id)
}

/** @returns undefined when none of the kind's variables is set */
export function credentialOf({ credentialVariables }: KindFacts, env: Env): string | undefined {
  return credentialVariables.map((variable) => env[variable]?.trim()).find(Boolean)
}

/** The items of a comma-separated setting. */
export function listOf(text: string): readonly string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
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

function readScalars(
  sources: ConfigSources,
  given: ReadonlyMap<string, Given>,
  file: SettingsFile | undefined,
  problems: ConfigProblem[],
): SettingValues {
  const values: Record<string, unknown> = {}
  const isWritten = (key: string): boolean => file?.value[key] != null
  const complain = (key: string, message: string): void => {
    if (sources.flags[key] !== undefined) {
      problems.push({ where: flagOf(key), path: key, message })
    } else if (given.has(key)) {
      problems.push({ where: given.get(key)!.where, path: key, message })
    } else file?.complain([key], message)
  }
  for (const [key, setting] of Object.entries(SETTINGS) as [string, Setting][]) {
    const written = sources.flags[key] ?? given.get(key)?.text ?? file?.value[key]
    const value = written ?? setting.default
    if (value === undefined) {
      values[key] = undefined
      continue
    }
    const text = typeof value === 'object' ? value : `${value as string | number | boolean}`
    const result = parse(setting.schema, text)
    if (result.success) {
      values[key] = result.data
    } else {
      const [issue] = result.error.issues
      const isSaid = setting.secret || typeof text !== 'string' || issue?.code === 'invalid_value'
      complain(key, `${issue?.message ?? 'is wrong'}${isSaid ? '' : `, got "${text}"`}`)
    }
  }
  if (typeof values.data_dir === 'string' && !isAbsolute(values.data_dir)) {
    values.data_dir = resolve(values.data_dir)
  }
  const settings = values as SettingValues
  const refused = whyRefused(() => sources.checkRanges(listOf(settings.trust_proxy ?? '')))
  if (refused !== undefined) complain('trust_proxy', refused)
  if (settings.port !== 0 && settings.port === settings.admin_port && sharesHost(settings)) {
    const isPortAlone =
      !isWritten('admin_port') && !given.has('admin_port') && sources.flags.admin_port === undefined
    complain(
      isPortAlone ? 'port' : 'admin_port',
      `port and admin_port are both ${settings.port}: expected two ports`,
    )
  }
  return settings
}

function sharesHost({ host, admin_host }: SettingValues): boolean {
  return host === admin_host || [host, admin_host].some((each) => /^(0\.0\.0\.0|::)$/.test(each))
}

/** The message of what a check throws; undefined when it passes. */
function whyRefused(check: () => void): string | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function readObjects(
  sources: ConfigSources,
  file: SettingsFile | undefined,
): Pick<Config, 'providers' | 'models' | 'prices'> {
  if (file === undefined) return { providers: {}, models: {}, prices: [] }
  const complain = (path: Path, message: string): void => file.complain(path, message)
  const rest: Record<string, unknown> = {}
  const known = [...Object.keys(SETTINGS), ...Object.keys(objects.shape), '$schema']
  for (const [key, value] of Object.entries(file.value)) {
    if (Object.hasOwn(objects.shape, key)) {
      if (value !== null) rest[key] = value
    } else if (!known.includes(key)) complain([key], `is not a setting${didYouMean(key, known)}`)
  }
  const result = parse(objects, rest)
  if (!result.success) for (const issue of result.error.issues) reportIssue(issue, rest, complain)
  // What is well formed is checked further although its neighbour is not: every mistake at once.
  for (const [name, setting] of wellFormed(provider, rest.providers)) {
    checkProvider(name, setting, sources, complain)
  }
  for (const [name, setting] of wellFormed(route, rest.models)) {
    checkRoute(name, setting, rest, sources, complain)
  }
  checkRows(rest.prices, sources, complain)
  return result.success ? result.data : { providers: {}, models: {}, prices: [] }
}

/** A file of its own for prices, so that whoever keeps them need not touch the settings. */
function readPriceFile(
  path: string | undefined,
  sources: ConfigSources,
  problems: ConfigProblem[],
): Config['prices'] {
  if (path === undefined) return []
  if (sources.readFile(path) === undefined) {
    const message = `cannot read the prices of ${path}: does it exist?`
    problems.push({ where: path, path: 'prices_file', message })
    return []
  }
  const file = readSettingsFile(path, sources, problems)
  if (file === undefined) return []
  const complain = (at: Path, message: string): void => file.complain(at, message)
  const result = parse(priceFile, file.value)
  if (!result.success) {
    for (const issue of result.error.issues) reportIssue(issue, file.value, complain)
  }
  checkRows(file.value.prices, sources, complain)
  return result.success ? result.data.prices : []
}

function checkRows(
  rows: unknown,
  { checkPrice }: ConfigChecks,
  complain: SettingsFile['complain'],
): void {
  for (const [index, row] of (Array.isArray(rows) ? rows : []).entries()) {
    const { success, data } = priceRow.safeParse(row)
    const { rates } = success ? data : {}
    const refused = rates && whyRefused(() => checkPrice(rates))
    if (refused !== undefined) complain(['prices', index], refused)
  }
}

function checkProvider(
  name: string,
  setting: ProviderSetting,
  { kinds, builtIn, checkAddress, checkPrice }: ConfigChecks,
  complain: SettingsFile['complain'],
): void {
  const at = ['providers', name]
  if (builtIn.has(name)) complain(at, `"${name}" is built in: choose another name`)
  const id = setting.kind ?? name
  const kind = kinds.get(id)
  if (kind === undefined) {
    const fix = setting.kind === undefined ? 'add `kind:` with a known one' : 'use a known one'
    complain(
      setting.kind === undefined ? at : [...at, 'kind'],
      `"${id}" is not a kind of provider: ${fix}${didYouMean(id, kinds.keys())}`,
    )
    return
  }
  const baseUrl = setting.base_url ?? kind.baseUrl
  if (baseUrl === undefined) {
    complain(at, `"${id}" has no usual address: add base_url, such as https://host/v1`)
    return
  }
  const refused = whyRefused(() => checkAddress(baseUrl, setting.allow_private_network ?? false))
  if (refused !== undefined) {
    complain(setting.base_url === undefined ? at : [...at, 'base_url'], refused)
  }
  for (const [model, price] of Object.entries(setting.prices ?? {})) {
    const wrong = whyRefused(() => checkPrice(price))
    if (wrong !== undefined) complain([...at, 'prices', model], wrong)
  }
}

function checkRoute(
  name: string,
  { targets, fallbacks }: RouteSetting,
  rest: Readonly<Record<string, unknown>>,
  sources: ConfigSources,
  complain: SettingsFile['complain'],
): void {
  const at = ['models', name]
  if (targets.every(({ weight }) => weight === 0)) {
    complain([...at, 'targets'], 'every weight is 0: give at least one target some')
  }
  const settings = isRecord(rest.providers) ? rest.providers : {}
  for (const [list, models] of [
    ['targets', targets.map(({ model }) => model)],
    ['fallbacks', fallbacks],
  ] as const) {
    for (const [index, model] of models.entries()) {
      const refused = whyUnknown(model, settings, sources)
      if (refused === undefined) continue
      const path = [...at, list, index]
      complain(isRecord(valueAt(rest, path)) ? [...path, 'model'] : path, refused)
    }
  }
}

/** Why a `provider/model` leads nowhere; undefined when it leads somewhere. */
function whyUnknown(
  target: string,
  settings: Readonly<Record<string, unknown>>,
  { kinds, builtIn, env }: ConfigSources,
): string | undefined {
  const slash = target.indexOf('/')
  const name = target.slice(0, slash)
  const model = target.slice(slash + 1)
  if (Object.hasOwn(settings, name)) return undefined
  const served = builtIn.get(name)
  if (served !== undefined) {
    const isServed = served.some((each) =>
      each.endsWith('*') ? model.startsWith(each.slice(0, -1)) : model === each,
    )
    return isServed ? undefined : `"${name}" has no model "${model}"${didYouMean(model, served)}`
  }
  const fromEnvironment = kindsOfEnvironment(kinds, settings, env)
  if (fromEnvironment.includes(name)) return undefined
  const kind = kinds.get(name)
  if (kind !== undefined) {
    const [variable] = kind.baseUrl === undefined ? [] : kind.credentialVariables
    const or = variable === undefined ? '' : `, or set ${variable}`
    return `"${name}" is not configured: add it under providers${or}`
  }
  const configured = [...Object.keys(settings), ...fromEnvironment, ...builtIn.keys()]
  const near = nearest(name, configured) ?? nearest(name, kinds.keys())
  const hint = near === undefined ? `known: ${configured.join(', ')}` : `did you mean "${near}"?`
  return `"${name}" is no configured provider; ${hint}`
}

function wellFormed<T>(schema: z.ZodType<T>, value: unknown): readonly (readonly [string, T])[] {
  if (!isRecord(value)) return []
  return Object.entries(value).flatMap(([name, item]) => {
    const result = schema.safeParse(item)
    return result.success ? [[name, result.data] as const] : []
  })
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (at, step) => (typeof at === 'object' && at !== null ? Reflect.get(at, step) : undefined),
    value,
  )
}

function parse<T>(schema: z.ZodType<T>, value: unknown) {
  return schema.safeParse(value, { error: wordsOf })
}

const WORDS_OF_TYPE: Readonly<Record<string, string>> = {
  string: 'text',
  boolean: 'true or false',
  array: 'a list',
  object: '`name: value` lines, or {}',
  record: '`name: value` lines, or {}',
}

/** Words for what a schema has none of its own for. */
function wordsOf(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') {
    const isBare = typeof issue.input === 'number' || typeof issue.input === 'boolean'
    const quotes = issue.expected === 'string' && isBare ? ': put quotes around it' : ''
    return `expected ${WORDS_OF_TYPE[issue.expected] ?? issue.expected}${quotes}`
  }
  if (issue.code === 'invalid_value') {
    const values = issue.values.map(String)
    const list = new Intl.ListFormat('en', { type: 'disjunction' }).format(values)
    const near = typeof issue.input === 'string' ? nearest(issue.input, values) : undefined
    const got = typeof issue.input === 'string' ? `, got "${issue.input}"` : ''
    return `expected ${list}${got}${near === undefined ? '' : `; did you mean "${near}"?`}`
  }
  if (issue.code === 'too_small') {
    return issue.origin === 'array' ? 'expected at least one' : 'expected some text'
  }
  return undefined
}

function reportIssue(
  issue: z.core.$ZodIssue,
  rest: unknown,
  complain: SettingsFile['complain'],
): void {
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) {
      complain([...issue.path, key], `is not a setting${didYouMean(key, namesAt(issue.path))}`)
    }
  } else if (issue.code === 'invalid_key') {
    complain(issue.path, issue.issues[0]?.message ?? issue.message)
  } else if (
    valueAt(rest, issue.path) === undefined &&
    isRecord(valueAt(rest, issue.path.slice(0, -1)))
  ) {
    complain(issue.path, `is missing: ${issue.message}`)
  } else complain(issue.path, issue.message)
}

/** Names that may stand at a place of the file. */
function namesAt(path: readonly PropertyKey[]): readonly string[] {
  if (path[0] === 'providers')
    return Object.keys(path.includes('prices') ? providerPrice.shape : provider.shape)
  if (path[0] === 'prices')
    return Object.keys(path.includes('rates') ? providerPrice.shape : priceRow.shape)
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

/** `tollgate.yaml:4:3 providers.openai.kind: ...`, or `--port: ...`, which names the setting itself. */
export function problemLine({ where, line, column, path, message }: ConfigProblem): string {
  if (line === undefined) return `${where}: ${message}`
  return `${where}:${line}:${column}${path === '' ? '' : ` ${path}`}: ${message}`
}
