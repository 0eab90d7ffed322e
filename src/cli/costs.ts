import type { Command } from 'commander'
import type { AdminApi, Query } from './admin-api.ts'
import { defineReprice } from './costs-reprice.ts'
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

interface Row extends Costs {
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
  readonly total: Costs
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

export function define(command: Command, session: Session): void {
  defineReprice(command, session)
  const ranged = (name: string, summary: string): Command =>
    command
      .command(name)
      .description(summary)
      .option('--from <moment>', 'a day or RFC 3339, inclusive (default: start of the month)')
      .option('--to <moment>', 'a day, inclusive, or RFC 3339, exclusive (default: now)')
      .option('--tz <zone>', 'IANA zone in which days begin (default: that of the server)')

  ranged('summary', 'what was spent, in words, and the five dearest models').action(
    async (range: Range) => {
      const api = await session.connect()
      await showSummary(
        session,
        await api.get<Report>(PATH, { ...query(range), group_by: 'model' }),
      )
    },
  )

  ranged('report', 'requests, tokens and cost in any grouping')
    .option(
      '--by <dimensions>',
      'such as model,key,day; also provider, application, month',
      collect,
    )
    .option('--where <dimension=values>', 'only these, such as key=web; repeatable', filters)
    .addHelpText('after', EXAMPLES)
    .action(
      async (
        options: Range & {
          readonly by?: readonly string[]
          readonly where?: Readonly<Record<string, string>>
        },
      ) => {
        const api = await session.connect()
        const by = options.by?.join(',')
        const where = await withoutSecrets(api, options.where ?? {})
        const asked = { ...where, ...query(options), group_by: by }
        if (session.options.csv) {
          session.terminal.stdout.write(await api.text(PATH, { ...asked, format: 'csv' }))
        } else {
          await showReport(session, await api.get<Report>(PATH, asked))
        }
      },
    )
}

const EXAMPLES = `
Examples:
  $ tollgate costs report --by model,key --from 2026-11-01
  $ tollgate costs report --where key=web --where model=openai/gpt-5-mini,openai/gpt-5
  $ tollgate costs report --by day --tz Europe/Warsaw --csv > november.csv`

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
  await session.rows(report.rows, [...groups, ...FIGURES], 'No requests in this range')
  session.note(`${rangeOf(report)}: ${totalOf(report.total)}`)
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
    `${rangeOf(report)}: ${totalOf(total)}.`,
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

function figure(count: number): string {
  return count.toLocaleString('en-US')
}

function rangeOf({ from, to, time_zone }: Report): string {
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
