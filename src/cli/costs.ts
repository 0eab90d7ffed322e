import type { Command } from 'commander'
import type { AdminApi, Query } from './admin-api.ts'
import { defineReprice } from './costs-reprice.ts'
import { defineAnalysis } from './costs-analysis.ts'
import { EXIT, Failure } from './failure.ts'
import { findKey } from './find-key.ts'
import type { Session } from './session.ts'
import { showJson } from './show.ts'
import type { Column } from './show.ts'

/** As the control plane reports them; amounts are decimal text. */
interface Costs {
  readonly requests: number
  readonly attempts: number
  readonly input_tokens: number
  readonly output_tokens: number
  readonly cost: { readonly amount: string; readonly currency: string }
  readonly unpriced: number
  readonly estimated: number
}

interface Compared extends Costs {
  /** With `--compare`. */
  readonly previous?: Costs
  readonly change?: Costs['cost']
}

interface Row extends Compared {
  readonly group: Readonly<Record<string, string | null>>
  readonly names: Readonly<Record<string, string>>
}

interface Report {
  readonly from: string
  readonly to: string
  readonly time_zone: string
  readonly as_of: string
  readonly group_by: readonly string[]
  readonly rows: readonly Row[]
  readonly total: Compared
  readonly previous?: { readonly from: string; readonly to: string }
  readonly has_more?: boolean
  readonly next_page?: string | null
}

interface Range {
  readonly from?: string
  readonly to?: string
  readonly tz?: string
}

const PATH = '/admin/v1/costs/report'
const TOP = 5

const FIGURES: readonly Column<Costs>[] = [
  { name: 'requests', value: ({ requests }) => requests },
  { name: 'attempts', value: ({ attempts }) => attempts },
  { name: 'input_tokens', value: ({ input_tokens }) => input_tokens },
  { name: 'output_tokens', value: ({ output_tokens }) => output_tokens },
  { name: 'cost_usd', value: ({ cost }) => cost.amount },
  { name: 'unpriced', value: ({ unpriced }) => unpriced },
  { name: 'estimated', value: ({ estimated }) => estimated },
]

const CHANGES: readonly Column<Compared>[] = [
  { name: 'previous_cost_usd', value: ({ previous }) => previous?.cost.amount ?? null },
  { name: 'change_usd', value: ({ change }) => change?.amount ?? null },
]

/** Rows of a page of an export. */
const EXPORT_PAGE = 5000

export function define(command: Command, session: Session): void {
  defineAnalysis(command, session)
  defineReprice(command, session)
  const ranged = (name: string, summary: string): Command =>
    command
      .command(name)
      .description(summary)
      .option('--from <moment>', 'a day or RFC 3339, inclusive (default: start of the month)')
      .option('--to <moment>', 'a day, inclusive, or RFC 3339, exclusive (default: now)')
      .option('--tz <zone>', 'IANA zone in which days begin (default: that of the server)')

  ranged('summary', 'what was spent, in words, and the five dearest models')
    .option('--compare', 'with the month, or as much time, before')
    .action(async (options: Range & { readonly compare?: true }) => {
      const api = await session.connect()
      await showSummary(
        session,
        await api.get<Report>(PATH, {
          ...query(options),
          ...comparing(options),
          group_by: 'model',
        }),
      )
    })

  const grouped = (name: string, summary: string): Command =>
    ranged(name, summary)
      .option(
        '--by <dimensions>',
        'such as model,key,day; also application, user, end_user, tag, token_type, month',
        collect,
      )
      .option('--where <dimension=values>', 'only these, such as key=web; repeatable', filters)

  grouped('report', 'requests, tokens and cost in any grouping')
    .option('--compare', 'with the month, or as much time, before')
    .option('--order <order>', 'the dearest first, or by group: cost, group (default: cost)')
    .option('--limit <rows>', 'rows to show (default: 1000)')
    .addHelpText('after', EXAMPLES)
    .action(async (options: Asked & { readonly order?: string; readonly limit?: string }) => {
      const api = await session.connect()
      const { order, limit } = options
      const asked = { ...(await questionOf(api, options)), order, limit }
      if (session.options.csv) {
        session.terminal.stdout.write(await api.text(PATH, { ...asked, format: 'csv' }))
      } else {
        await showReport(session, await api.get<Report>(PATH, asked))
      }
    })

  grouped('export', 'every row of a report, as CSV or with --json')
    .addHelpText('after', EXPORT_EXAMPLES)
    .action(async (options: Asked) => {
      const api = await session.connect()
      const asked = await questionOf(api, options)
      if (session.options.json === undefined) {
        session.terminal.stdout.write(await api.text(PATH, { ...asked, format: 'csv' }))
      } else {
        showJson(session.terminal.stdout, await wholeReport(api, asked), session.options.json)
      }
    })
}

const EXAMPLES = `
Examples:
  $ tollgate costs report --by model,key --from 2026-11-01
  $ tollgate costs report --where key=web --where model=openai/gpt-5-mini,openai/gpt-5
  $ tollgate costs report --by day --tz Europe/Warsaw --csv > november.csv`

const EXPORT_EXAMPLES = `
Examples:
  $ tollgate costs export --by day,application,tag --from 2026-10-01 --to 2026-10-31 > october.csv
  $ tollgate costs export --by end_user --where application=shop --json=rows,total`

interface Asked extends Range {
  readonly by?: readonly string[]
  readonly where?: Readonly<Record<string, string>>
  readonly compare?: true
}

async function questionOf(api: AdminApi, options: Asked): Promise<Query> {
  const where = await withoutSecrets(api, options.where ?? {})
  return {
    ...where,
    ...query(options),
    group_by: options.by?.join(','),
    ...comparing(options),
  }
}

function comparing({ compare }: { readonly compare?: true }): Query {
  return compare === true ? { compare: 'previous' } : {}
}

/** All pages as one. By group, so that what is spent meanwhile moves no row to another page. */
async function wholeReport(api: AdminApi, asked: Query): Promise<Report> {
  const rows: Row[] = []
  let page: string | undefined
  for (;;) {
    const report = await api.get<Report>(PATH, {
      ...asked,
      order: 'group',
      limit: String(EXPORT_PAGE),
      page,
    })
    rows.push(...report.rows)
    if (report.has_more !== true) return { ...report, rows }
    page = report.next_page ?? undefined
  }
}

function query({ from, to, tz }: Range): Query {
  return { from, to, tz }
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...text.split(',').map((word) => word.trim())].filter((word) => word !== '')
}

function filters(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  const [, dimension, values] = /^(\w+)=(.+)$/.exec(text) ?? []
  if (dimension === undefined || values === undefined) {
    throw new Failure(EXIT.usage, `--where ${text} has no dimension and value`, {
      fix: 'write it as key=web or provider=a,b',
    })
  }
  return { ...before, [dimension]: values }
}

/** A key named by itself is looked up here: in an address it would end in logs. */
async function withoutSecrets(
  api: AdminApi,
  where: Readonly<Record<string, string>>,
): Promise<Query> {
  if (where.key === undefined) return where
  const ids = where.key
    .split(',')
    .map(async (text) => (text.startsWith('sk-tg-') ? (await findKey(api, text)).id : text))
  return { ...where, key: (await Promise.all(ids)).join(',') }
}

async function showReport(session: Session, report: Report): Promise<void> {
  const { json } = session.options
  if (json !== undefined) return showJson(session.terminal.stdout, report, json)
  const groups = report.group_by.map((dimension) => columnOf(dimension, report.rows))
  const columns = [...FIGURES, ...(report.previous === undefined ? [] : CHANGES)]
  await session.rows(report.rows, [...groups, ...columns], 'No requests in this range')
  session.note(`${rangeOf(report)}: ${totalOf(report.total)}${changeOf(report)}`)
  if (report.has_more === true) {
    session.note('There are more rows: --limit shows up to 5000, `tollgate costs export` all')
  }
}

/** By name; with the id where it takes that to tell two of one name apart. */
function columnOf(dimension: string, rows: readonly Row[]): Column<Row> {
  const ids = new Map<string, Set<string | null | undefined>>()
  for (const { group, names } of rows) {
    const name = names[dimension]
    if (name === undefined) continue
    ids.set(name, (ids.get(name) ?? new Set()).add(group[dimension]))
  }
  return {
    name: dimension,
    value({ group, names }) {
      const name = names[dimension]
      if (name === undefined) return group[dimension] ?? null
      return ids.get(name)?.size === 1 ? name : `${name} (${group[dimension]})`
    },
  }
}

async function showSummary(session: Session, report: Report): Promise<void> {
  const { from, to, time_zone, as_of, total, rows } = report
  const dearest = rows.toSorted(
    (a, b) => compareAmounts(b.cost.amount, a.cost.amount) || b.requests - a.requests,
  )
  const top = dearest.slice(0, TOP)
  const { json, csv } = session.options
  if (json !== undefined) {
    const summary = { from, to, time_zone, as_of, total, by_model: top }
    return showJson(session.terminal.stdout, summary, json)
  }
  if (!csv) session.print(words(report).join('\n'))
  const model: Column<Row> = { name: 'model', value: ({ group }) => group.model ?? null }
  await session.rows(top, [model, ...FIGURES])
  const more = rows.length - top.length
  if (more > 0) session.note(`${more} more: \`tollgate costs report --by model\` shows all`)
}

function words(report: Report): readonly string[] {
  const { total } = report
  return [
    `${rangeOf(report)}: ${totalOf(total)}${changeOf(report)}.`,
    `${figure(total.input_tokens)} tokens in, ${figure(total.output_tokens)} out.`,
    ...(total.unpriced === 0
      ? []
      : [`${figure(total.unpriced)} unpriced: what they cost is not known and not in the sum.`]),
    ...(total.estimated === 0
      ? []
      : [`${figure(total.estimated)} estimated: the provider did not tell their usage.`]),
  ]
}

function totalOf({ cost, requests, attempts }: Costs): string {
  const tries = attempts === requests ? '' : `, ${figure(attempts)} attempts`
  return `${cost.amount} ${cost.currency} for ${figure(requests)} requests${tries}`
}

function changeOf({ total, previous, time_zone }: Report): string {
  const { change } = total
  if (previous === undefined || change === undefined) return ''
  const before = `${total.previous?.cost.amount} ${change.currency} in ${rangeOf({ ...previous, time_zone })}`
  if (change.amount.startsWith('-')) return `, ${change.amount.slice(1)} less than ${before}`
  return change.amount === '0' ? `, as much as ${before}` : `, ${change.amount} more than ${before}`
}

function figure(count: number): string {
  return count.toLocaleString('en-US')
}

function rangeOf({ from, to, time_zone }: Pick<Report, 'from' | 'to' | 'time_zone'>): string {
  const local = (moment: string): string => {
    const parts = new Intl.DateTimeFormat('sv-SE', {
      timeZone: time_zone,
      dateStyle: 'short',
      timeStyle: 'short',
    })
    return parts.format(Date.parse(moment))
  }
  return `${local(from)} to ${local(to)} (${time_zone})`
}

/** Orders decimal texts of any length, which no float could. */
function compareAmounts(a: string, b: string): number {
  const difference = nanos(a) - nanos(b)
  return difference === 0n ? 0 : difference > 0n ? 1 : -1
}

function nanos(amount: string): bigint {
  const [whole = '0', fraction = ''] = amount.split('.')
  return BigInt(`${whole}${fraction.padEnd(9, '0').slice(0, 9)}`)
}
