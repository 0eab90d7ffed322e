import { readFile } from 'node:fs/promises'
import { Option } from 'commander'
import type { Command } from 'commander'
import type { AdminApi } from './admin-api.ts'
import { EXIT, Failure } from './failure.ts'
import type { ImportFormat } from './import-prices.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

type Rates = Readonly<Record<string, unknown>>

interface PriceView {
  readonly id: string
  readonly model: string
  readonly tenant_id: string | null
  readonly source: string
  readonly status: string
  readonly effective_from: string | null
  readonly effective_to: string | null
  readonly rates: Rates | null
  readonly discount_percent: string | null
  readonly note: string
  readonly set_by: string
}

interface EffectiveView {
  readonly id: string
  readonly version: string | null
  readonly source: string | null
  readonly rates: Rates | null
}

interface HistoryView {
  readonly version: string
  readonly source: string
  readonly status: string
  readonly effective_from: string | null
  readonly effective_to: string | null
  readonly daily: string | null
  readonly rates: Rates | null
  readonly discount_percent: string | null
  readonly note: string
  readonly set_by: string | null
}

interface VersionView {
  readonly version: string
  readonly provider: string | null
  readonly model: string | null
  readonly source: string
  readonly match: string
  readonly matched: string
  readonly rates: Rates
  readonly service_tier: string | null
  readonly uncovered: readonly string[]
  readonly first_used_at: string | null
  readonly price: PriceView | null
  readonly discount: PriceView | null
}

interface PolicyView {
  readonly tenant_id: string
  readonly unpriced: string
  readonly inherited: boolean
}

const PATH = '/admin/v1/prices'

const rate =
  (name: string) =>
  ({ rates }: { readonly rates: Rates | null }): string | null => {
    const value = rates?.[name]
    return typeof value === 'string' ? value : null
  }

const EFFECTIVE: readonly Column<EffectiveView>[] = [
  { name: 'model', value: ({ id }) => id },
  { name: 'input', value: rate('input') },
  { name: 'output', value: rate('output') },
  { name: 'cache_read', value: rate('cache_read') },
  { name: 'cache_write', value: rate('cache_write') },
  { name: 'source', value: ({ source }) => source ?? 'unpriced' },
  { name: 'version', value: ({ version }) => version },
]

const SET: readonly Column<PriceView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'model', value: ({ model }) => model },
  { name: 'tenant', value: ({ tenant_id }) => tenant_id ?? 'all' },
  { name: 'status', value: ({ status }) => status },
  { name: 'from', value: ({ effective_from }) => effective_from },
  { name: 'to', value: ({ effective_to }) => effective_to },
  { name: 'price', value: inWords },
  { name: 'note', value: ({ note }) => note || null },
]

const HISTORY: readonly Column<HistoryView>[] = [
  { name: 'version', value: ({ version }) => version },
  { name: 'source', value: ({ source }) => source },
  { name: 'status', value: ({ status }) => status },
  { name: 'from', value: ({ effective_from }) => effective_from },
  { name: 'to', value: ({ effective_to }) => effective_to },
  { name: 'daily', value: ({ daily }) => daily },
  { name: 'price', value: inWords },
  { name: 'set_by', value: ({ set_by }) => set_by },
  { name: 'note', value: ({ note }) => note || null },
]

/** What `set` has an option for, by the API's name. */
const RATES = [
  ['input', 'for a million input tokens'],
  ['output', 'for a million output tokens'],
  ['cache_read', 'for a million tokens read from the cache (absent: as input)'],
  ['cache_write', 'for a million tokens written to the cache (absent: as input)'],
  ['cache_write_1h', 'the same, kept for an hour (absent: as cache-write)'],
  ['reasoning', 'for a million reasoning tokens (absent: as output)'],
  ['input_audio', 'for a million tokens of sound (absent: as input)'],
  ['input_image', 'for a million tokens of images (absent: as input)'],
  ['output_audio', 'for a million tokens of sound (absent: as output)'],
  ['output_image', 'for a million tokens of images (absent: as output)'],
  ['request', 'for each request'],
  ['web_search', 'for each web search'],
  ['image', 'for each image made, where an answer is billed by them'],
] as const

interface SetOptions {
  readonly above?: readonly object[]
  readonly tier?: Readonly<Record<string, object>>
  readonly discount?: string
  readonly from?: string
  readonly to?: string
  readonly note?: string
  readonly dryRun?: boolean
}

interface ImportOptions {
  readonly format?: ImportFormat
  readonly provider?: readonly string[]
  readonly map?: readonly (readonly [string, string])[]
  readonly from?: string
  readonly dryRun?: boolean
}

export function define(command: Command, session: Session): void {
  command
    .command('list')
    .description('what each model costs now, in USD per million tokens, and who says so')
    .option('--model <provider/model>', 'this one alone')
    .option('--at <moment>', 'at another time: a day or RFC 3339')
    .option('--tier <tier>', 'at a service tier such as flex')
    .option('--set', 'prices and discounts that were set, with their ids')
    .option('--all', 'those that have ended too (with --set)')
    .action(
      async (options: {
        readonly model?: string
        readonly at?: string
        readonly tier?: string
        readonly set?: boolean
        readonly all?: boolean
      }) => {
        const api = await session.connect()
        if (options.set === true || options.all === true) {
          const { model } = options
          const query = { model, tenant: session.tenant, ...(options.all && { all: 'true' }) }
          const rows = await api.list<PriceView>(PATH, query)
          await session.rows(rows, SET, 'None were set: `tollgate prices set` sets one')
        } else {
          const { model, at, tier } = options
          const query = { model, at, tenant: session.tenant, service_tier: tier }
          const rows = await api.list<EffectiveView>(`${PATH}/effective`, query)
          await session.rows(rows, EFFECTIVE, 'No provider of that name is configured')
        }
        await warn(session, api)
      },
    )

  command
    .command('get')
    .description('a price: that of a model now, of a version on the ledger, or one that was set')
    .argument('<what>', 'provider/model, the price_version of an entry, or price_...')
    .action(async (what: string) => {
      const api = await session.connect()
      if (/^price_\w+$/.test(what)) {
        const price = await api.get<PriceView>(`${PATH}/${what}`)
        return session.record(price, (found) => lines(found))
      }
      const version = what.includes(':') || what.includes('@') ? what : await versionOf(api, what)
      const found = await api.get<VersionView>(`${PATH}/version`, { version })
      return session.record(found, () => lines(flat(found)))
    })

  defineSet(command, session)

  command
    .command('end')
    .description('end a price: the one before it, or the next source, counts again')
    .argument('<price>', 'price_...')
    .option('--at <moment>', 'a day or RFC 3339 (default: now)')
    .addOption(dryRunOption())
    .action(
      async (id: string, { at, dryRun }: { readonly at?: string; readonly dryRun?: boolean }) => {
        const api = await session.connect()
        const path = `${PATH}/${encodeURIComponent(id)}/end`
        const body = { ...(at !== undefined && { effective_to: at }), dry_run: dryRun === true }
        showSet(session, await api.send<PriceView>('POST', path, body), dryRun)
      },
    )

  command
    .command('history')
    .description('every price and discount of a model; the first that holds counts')
    .argument('<model>', 'provider/model')
    .action(async (model: string) => {
      const api = await session.connect()
      const { data } = await api.get<{ readonly data: readonly HistoryView[] }>(`${PATH}/history`, {
        model,
        tenant: session.tenant,
      })
      await session.rows(data, HISTORY, 'Nobody knows a price for it')
    })

  defineImport(command, session)

  command
    .command('policy')
    .description('what happens to requests whose model has no price')
    .argument('[policy]', 'refuse, allow (counted as unpriced), or inherit')
    .action(async (policy: string | undefined) => {
      const api = await session.connect()
      if (policy !== undefined && !['refuse', 'allow', 'inherit'].includes(policy)) {
        throw new Failure(EXIT.usage, `"${policy}" is no policy`, {
          fix: 'choose of refuse, allow, inherit',
        })
      }
      const path = `${PATH}/policy`
      const unpriced = policy === 'inherit' ? null : policy
      const found =
        unpriced === undefined
          ? await api.get<PolicyView>(path)
          : await api.send<PolicyView>('PUT', path, { unpriced })
      session.record(found, ({ tenant_id, unpriced: holds, inherited }) =>
        [tenant_id, holds, ...(inherited ? ['as the installation'] : [])].join('\t'),
      )
    })
}

function defineSet(command: Command, session: Session): void {
  const set = command
    .command('set')
    .description('set a price or a discount; the one before it ends, nothing is edited')
    .argument('<model>', 'provider/model, * standing for any characters')
  for (const [name, words] of RATES) {
    set.option(`--${name.replaceAll('_', '-')} <usd>`, `USD ${words}`)
  }
  set
    .option('--above <tokens:rates>', 'of longer prompts: 200000:input=2.5,output=15', above)
    .option('--tier <tier:rates>', 'of a service tier: flex:multiplier=0.5', tier)
    .option('--discount <percent>', 'a discount instead of a price: 12.5')
    .option('--from <moment>', 'a day or RFC 3339; `always` for no beginning (default: now)')
    .option('--to <moment>', 'a day or RFC 3339, exclusive (default: no end)')
    .option('--note <text>', 'why, for whoever reads the history')
    .addOption(dryRunOption())
    .addHelpText('after', SET_EXAMPLES)
    .action(async (model: string, options: SetOptions & Readonly<Record<string, unknown>>) => {
      const given = RATES.flatMap(([name]) => {
        const value = options[camel(name)]
        return typeof value === 'string' ? [[name, value] as const] : []
      })
      const { above: steps, tier: tiers, discount, from, to, note, dryRun } = options
      const { tenant } = session
      const hasRates = given.length > 0 || steps !== undefined || tiers !== undefined
      if (hasRates === (discount !== undefined)) {
        throw new Failure(EXIT.usage, 'A price needs rates, or a discount, and not both', {
          fix: 'tollgate prices set openai/gpt-5 --input 1.25 --output 10',
        })
      }
      const api = await session.connect()
      const price = await api.send<PriceView>('POST', PATH, {
        model,
        ...(hasRates && {
          rates: {
            ...Object.fromEntries(given),
            ...(steps !== undefined && { above: steps }),
            ...(tiers !== undefined && { service_tiers: tiers }),
          },
        }),
        ...(discount !== undefined && { discount_percent: discount }),
        ...(from !== undefined && { effective_from: from === 'always' ? null : from }),
        ...(to !== undefined && { effective_to: to }),
        ...(tenant !== undefined && { tenant }),
        ...(note !== undefined && { note }),
        ...(dryRun === true && { dry_run: true }),
      })
      showSet(session, price, dryRun)
    })
}

function defineImport(command: Command, session: Session): void {
  command
    .command('import')
    .description('set many prices from a file: all of them, or none')
    .argument('<file>', '- for stdin')
    .addOption(
      new Option('--format <format>', 'what it is (default: told by its looks)').choices([
        'litellm',
        'json',
        'csv',
      ]),
    )
    .option('--provider <name>', 'only this configured provider; repeatable', collect)
    .option('--map <theirs=ours>', 'what the file calls a provider; repeatable', pairs)
    .option('--from <moment>', 'a day or RFC 3339 (default: now)')
    .addOption(dryRunOption())
    .addHelpText('after', IMPORT_NOTES)
    .action(async (file: string, options: ImportOptions) => {
      const { importPrices } = await import('./import-prices.ts')
      const text = await textOf(file, session)
      const api = await session.connect()
      const imported = importPrices(text, {
        format: options.format,
        only: options.provider ?? [],
        providers: await providersOf(api, options.map ?? []),
      })
      const { from, dryRun } = options
      const { tenant } = session
      const prices = imported.prices.map((price) => ({
        ...price,
        ...(from !== undefined && { effective_from: from }),
        ...(tenant !== undefined && { tenant }),
      }))
      const skipped = Object.fromEntries(imported.skipped)
      for (const [why, count] of imported.skipped) session.note(`left out: ${count} models, ${why}`)
      for (const { model, field, why } of imported.left) {
        session.note(`not carried over: ${model} ${field}: ${why}`)
      }
      if (prices.length === 0) {
        throw new Failure(EXIT.failed, 'Nothing in the file is a price for a configured provider', {
          fix: 'name what it calls the provider: --map theirs=ours',
        })
      }
      checkSize(prices)
      const done = await api.send<{
        readonly set: number
        readonly ended: number
        readonly unchanged: number
        readonly data: readonly PriceView[]
      }>('POST', `${PATH}/import`, {
        prices,
        source: options.format ?? 'file',
        ...(dryRun === true && { dry_run: true }),
      })
      const { set, ended, unchanged } = done
      const report = { set, ended, unchanged, skipped, not_carried_over: imported.left }
      if (session.options.json !== undefined) {
        session.record({ dry_run: dryRun === true, ...report, data: done.data }, () => '')
      } else await session.rows(done.data, SET)
      const would = dryRun === true ? 'would be ' : ''
      session.note(
        `${set} ${would}set, ${ended} ${would}ended, ${unchanged} as they are, ${imported.left.length} parts not carried over.${dryRun === true ? ' Nothing was changed.' : ''}`,
      )
    })
}

const SET_EXAMPLES = `
Examples:
  $ tollgate prices set openai/gpt-5 --input 1.25 --output 10 --cache-read 0.125
  $ tollgate prices set 'google/gemini-3*' --input 2 --output 12 --above 200000:input=4,output=18
  $ tollgate prices set 'openai/*' --discount 12.5 --tenant acme --from 2027-01-01`

const IMPORT_NOTES = `
Files:
  litellm   model_prices_and_context_window.json
  json      what \`tollgate prices list --set --json\` prints, or { "prices": [...] }
  csv       model,from,to,input,output,cache_read,...,discount,note; rows with service_tier or
            above_input_tokens add to the row of their model`

/** The server takes a request of a mebibyte. */
const MOST_BYTES = 1_000_000
const MOST_PRICES = 3000

function checkSize(prices: readonly object[]): void {
  const bytes = Buffer.byteLength(JSON.stringify(prices))
  if (prices.length <= MOST_PRICES && bytes <= MOST_BYTES) return
  throw new Failure(EXIT.usage, `${prices.length} prices are more than are set at once`, {
    why: 'they are set all or none, in one step',
    fix: 'import them provider by provider: --provider openai',
  })
}

async function textOf(file: string, session: Session): Promise<string> {
  if (file === '-') {
    const chunks: Buffer[] = []
    for await (const chunk of session.terminal.stdin) chunks.push(Buffer.from(chunk as Uint8Array))
    return Buffer.concat(chunks).toString('utf8')
  }
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new Failure(EXIT.usage, `${file} cannot be read`, { fix: 'does it exist?', cause })
  }
}

/** Configured providers by what a file may call them: their name, their kind, and theirs for it. */
async function providersOf(
  api: AdminApi,
  map: readonly (readonly [string, string])[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const { LITELLM_NAMES } = await import('./import-prices.ts')
  const { data } = await api.get<{
    readonly data: readonly { readonly name: string; readonly kind: string }[]
  }>('/admin/v1/providers')
  const names = new Map<string, Set<string>>()
  const add = (theirs: string, ours: string): void => {
    names.set(theirs, (names.get(theirs) ?? new Set()).add(ours))
  }
  for (const { name, kind } of data) {
    for (const theirs of [name, kind, ...(LITELLM_NAMES[kind] ?? [])]) add(theirs, name)
  }
  for (const [theirs, ours] of map) {
    if (!data.some(({ name }) => name === ours)) {
      throw new Failure(EXIT.usage, `No provider is called "${ours}"`, {
        fix: `choose of ${data.map(({ name }) => name).join(', ')}`,
      })
    }
    add(theirs, ours)
  }
  return new Map([...names].map(([theirs, ours]) => [theirs, [...ours]]))
}

/** Tells of prices that are not the latest: people look at lists, not at health. */
async function warn(session: Session, api: AdminApi): Promise<void> {
  const { problems } = await api.get<{ readonly problems?: readonly string[] }>(PATH, {
    limit: '1',
  })
  for (const problem of problems ?? []) session.note(`warning: ${problem}`)
}

async function versionOf(api: AdminApi, model: string): Promise<string> {
  const { data } = await api.get<{ readonly data: readonly EffectiveView[] }>(`${PATH}/effective`, {
    model,
  })
  const [found] = data
  if (found?.version == null) {
    throw new Failure(EXIT.notFound, `Nobody knows a price for ${model}`, {
      fix: `set one: tollgate prices set ${model} --input 1 --output 2`,
    })
  }
  return found.version
}

function showSet(session: Session, price: PriceView, dryRun: boolean | undefined): void {
  session.record(price, () =>
    session.options.quiet === true ? price.id : lines(price as unknown as Rates),
  )
  if (dryRun === true) session.note('Nothing was changed.')
}

function flat(found: VersionView): Rates {
  const { price, discount, ...rest } = found
  return { ...rest, price: price?.id ?? null, discount: discount?.id ?? null }
}

function lines(thing: object): string {
  return Object.entries(thing)
    .filter(([, value]) => value !== null && value !== '')
    .map(([name, value]: [string, unknown]) => {
      const text = typeof value === 'object' ? JSON.stringify(value) : String(value as string)
      return `${name.padEnd(17)} ${text}`
    })
    .join('\n')
}

function inWords({
  rates,
  discount_percent,
}: Pick<PriceView, 'rates' | 'discount_percent'>): string {
  if (discount_percent !== null) return `${discount_percent} % off`
  if (rates === null) return 'unreadable'
  const known = Object.entries(rates).map(([name, value]) =>
    typeof value === 'string' ? `${name}=${value}` : `${name}=…`,
  )
  return known.join(' ')
}

function dryRunOption(): Option {
  return new Option('--dry-run', 'show the change, make none')
}

function camel(name: string): string {
  return name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}

function pairs(
  text: string,
  before: readonly (readonly [string, string])[] = [],
): readonly (readonly [string, string])[] {
  const [, theirs, ours] = /^([^=]+)=(.+)$/.exec(text) ?? []
  if (theirs === undefined || ours === undefined) {
    throw new Failure(EXIT.usage, `--map ${text} has no two names`, {
      fix: 'write it as gemini=google',
    })
  }
  return [...before, [theirs, ours]]
}

/** `200000:input=2.5,output=15` */
function above(text: string, before: readonly object[] = []): readonly object[] {
  const [, tokens, rates] = /^(\d+):(.+)$/.exec(text) ?? []
  if (tokens === undefined || rates === undefined) {
    throw new Failure(EXIT.usage, `--above ${text} is not understood`, {
      fix: 'write it as 200000:input=2.5,output=15',
    })
  }
  return [...before, { input_tokens: Number(tokens), ...assignments(rates) }]
}

/** `flex:multiplier=0.5` */
function tier(
  text: string,
  before: Readonly<Record<string, object>> = {},
): Readonly<Record<string, object>> {
  const [, name, rates] = /^([\w-]+):(.+)$/.exec(text) ?? []
  if (name === undefined || rates === undefined) {
    throw new Failure(EXIT.usage, `--tier ${text} is not understood`, {
      fix: 'write it as flex:multiplier=0.5, or batch:input=0.6,output=5',
    })
  }
  return { ...before, [name]: assignments(rates) }
}

function assignments(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    text.split(',').map((part) => {
      const [name = '', value = ''] = part.split('=')
      return [name.trim().replaceAll('-', '_'), value.trim()]
    }),
  )
}
