import { setTimeout as sleep } from 'node:timers/promises'
import { Option } from 'commander'
import type { Command } from 'commander'
import { EXIT, Failure } from './failure.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

interface Money {
  readonly amount: string
  readonly currency: string
}

interface Group {
  readonly tenant_id: string
  readonly model: string
  readonly from: string | null
  readonly to: string
  readonly entries: number
  readonly before: Money
  readonly after: Money
  readonly delta: Money
}

interface Run {
  readonly id: string
  readonly status: 'running' | 'done' | 'failed' | 'interrupted'
  readonly seen: number
  readonly adjusted: number
  readonly priced: number
  readonly unchanged: number
  readonly without_price: number
  readonly at_bound: number
  readonly before: Money
  readonly after: Money
  readonly delta: Money
  readonly groups: readonly Group[]
  readonly other_groups: number
  readonly error: string | null
}

interface Options {
  readonly from?: string
  readonly to?: string
  readonly model?: string
  readonly provider?: string
  readonly tenant?: string
  readonly reason?: string
  readonly dryRun?: boolean
}

const PATH = '/admin/v1/costs/reprice'
const LOOK_MS = 200

const COLUMNS: readonly Column<Group>[] = [
  { name: 'model', value: ({ model }) => model },
  { name: 'tenant', value: ({ tenant_id }) => tenant_id },
  { name: 'entries', value: ({ entries }) => entries },
  { name: 'before_usd', value: ({ before }) => before.amount },
  { name: 'after_usd', value: ({ after }) => after.amount },
  { name: 'delta_usd', value: ({ delta }) => delta.amount },
  { name: 'from_price', value: ({ from }) => from ?? 'unpriced' },
  { name: 'to_price', value: ({ to }) => to },
]

export function defineReprice(command: Command, session: Session): void {
  command
    .command('reprice')
    .description(
      'price entries anew by the prices of their time as known now, of all tenants unless --tenant names one; adjusts, never edits',
    )
    .option('--from <moment>', 'a day (UTC) or RFC 3339, inclusive (required)')
    .option('--to <moment>', 'a day (UTC) or RFC 3339, exclusive (default: now)')
    .option('--model <provider/model>', 'only these, * standing for any characters')
    .option('--provider <name>', 'only this provider')
    .option('--reason <text>', 'stands on every adjustment (default: repriced)')
    .addOption(new Option('--dry-run', 'show the difference, write nothing'))
    .addHelpText('after', EXAMPLES)
    .action(async ({ dryRun, ...options }: Options) => {
      if (options.from === undefined) {
        throw new Failure(EXIT.usage, 'From when on is not said', {
          fix: 'tollgate costs reprice --from 2026-11-01 --dry-run',
        })
      }
      const api = await session.connect()
      let run = await api.send<Run>('POST', PATH, {
        ...options,
        ...(session.tenant !== undefined && { tenant: session.tenant }),
        ...(dryRun === true && { dry_run: true }),
      })
      while (run.status === 'running') {
        await sleep(LOOK_MS)
        run = await api.get<Run>(`${PATH}/${run.id}`)
      }
      if (session.options.json === undefined) await session.rows(run.groups, COLUMNS)
      else session.record(run, () => '')
      for (const line of words(run, dryRun === true)) session.note(line)
      if (run.status !== 'done') {
        throw new Failure(EXIT.failed, `Repricing was ${run.status}: ${run.error ?? run.id}`, {
          fix: 'run it again: it does the rest, and nothing twice',
        })
      }
    })
}

const EXAMPLES = `
Examples:
  $ tollgate costs reprice --from 2026-11-01 --dry-run
  $ tollgate costs reprice --from 2026-11-01 --to 2026-12-01 --model 'openai/gpt-5*' --reason 'price list of 3 November'`

function words(run: Run, dryRun: boolean): readonly string[] {
  const would = dryRun ? 'would be ' : ''
  return [
    `${run.seen} entries: ${run.adjusted} ${would}adjusted by ${run.delta.amount} ${run.delta.currency} in all, from ${run.before.amount} to ${run.after.amount}; ${run.unchanged} stay.`,
    ...(run.priced === 0 ? [] : [`${run.priced} of them had no price before.`]),
    ...(run.without_price === 0 ? [] : [`${run.without_price} have no price: none is known.`]),
    ...(run.at_bound === 0
      ? []
      : [`${run.at_bound} stay at what was held when a process died: nobody counted them.`]),
    ...(run.other_groups === 0 ? [] : [`${run.other_groups} more are not shown.`]),
    ...(dryRun ? ['Nothing was written.'] : []),
  ]
}
