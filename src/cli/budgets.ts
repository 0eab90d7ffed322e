import { Argument, InvalidArgumentError, Option } from 'commander'
import type { Command } from 'commander'
import { dryRunOption } from './changes.ts'
import type { Changing } from './changes.ts'
import { moment } from './durations.ts'
import { EXIT, Failure } from './failure.ts'
import { findKey } from './find-key.ts'
import { SCOPE_HELP, scopeName } from './limit-scopes.ts'
import type { BudgetView, MoneyView, QuotasView, ScopeName } from './limit-scopes.ts'
import { changeLimits } from './limits.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

interface StandingView {
  readonly id: string
  readonly scope: string
  readonly scope_id: string
  readonly name: string
  readonly model: string | null
  readonly window: string
  readonly max: MoneyView
  readonly used: MoneyView
  readonly remaining: MoneyView
  readonly reserved: MoneyView
  readonly resets_at: string | null
  readonly policy: string
  readonly status: string
}

interface SetOptions extends Changing {
  readonly model?: string
  readonly warn?: number
  readonly block?: number
  readonly policy?: string
  readonly raise?: string
  readonly until?: string
  readonly reason?: string
}

const COLUMNS: readonly Column<StandingView>[] = [
  { name: 'scope', value: titleOf },
  { name: 'window', value: ({ window }) => window },
  { name: 'limit', value: ({ max }) => max.amount },
  { name: 'used', value: ({ used }) => used.amount },
  { name: 'reserved', value: ({ reserved }) => reserved.amount },
  { name: 'remaining', value: ({ remaining }) => remaining.amount },
  { name: 'resets_at', value: ({ resets_at }) => resets_at },
  { name: 'policy', value: ({ policy }) => policy },
  { name: 'status', value: ({ status }) => status },
]

/** Such as `10.00/month`; `none` takes the budget of a window away. */
interface Amount {
  readonly limit: string | undefined
  readonly window: string
}

export function define(command: Command, session: Session): void {
  command
    .command('list')
    .description('every budget in USD: used (with what is held), left, and when it resets')
    .action(async () => {
      await session.rows(
        await standing(session),
        COLUMNS,
        'No budgets are set: tollgate budgets set',
      )
    })

  command
    .command('set')
    .description('set a budget of a scope; its other budgets and limits stay')
    .addArgument(new Argument('<scope>', 'such as app/shop').argParser(scopeName))
    .addArgument(
      new Argument('<amount>', 'USD and window, such as 10.00/month, or none/month').argParser(
        amount,
      ),
    )
    .option('--model <pattern>', 'only for these models, such as openai/*')
    .option('--warn <percent>', 'from where on it warns', percent)
    .option('--block <percent>', 'from where on nothing passes (else 100)', percent)
    .addOption(
      new Option('--policy <policy>', 'soft lets pass what is over it').choices(['hard', 'soft']),
    )
    .option('--raise <usd>', 'so much more for a while, to --until', usd)
    .addOption(
      new Option('--until <when>', '7d, 2027-01-31 or 2027-01-31T12:00:00Z').argParser((text) =>
        moment(text, session.terminal.now()),
      ),
    )
    .option('--reason <words>', 'why it is raised')
    .addOption(dryRunOption())
    .addHelpText(
      'after',
      `${SCOPE_HELP}\n\nExamples:\n  $ tollgate budgets set app/shop 100.00/month --warn 80\n  $ tollgate budgets set app/shop 100.00/month --raise 50 --until 7d --reason launch`,
    )
    .action(async (scope: ScopeName, { limit, window }: Amount, options: SetOptions) => {
      const raise = raiseOf(options)
      await changeLimits(session, scope, options, (quotas) => ({
        ...quotas,
        budgets: withBudget(quotas, window, limit, options, raise) as readonly BudgetView[],
      }))
    })

  command
    .command('status')
    .description('how far budgets are used, as bars; of one scope, its defaults too')
    .addArgument(new Argument('[scope]', 'such as app/shop').argParser(scopeName))
    .addHelpText('after', SCOPE_HELP)
    .action(async (scope: ScopeName | undefined) => {
      const rows = await standing(session, scope)
      if (session.options.json !== undefined || session.options.csv === true) {
        await session.rows(rows, COLUMNS)
      } else if (rows.length === 0) session.note('No budget applies.')
      else for (const row of rows) session.print(bar(row, session))
      if (rows.some(({ status }) => status === 'blocked')) session.exit = EXIT.limit
    })
}

async function standing(session: Session, scope?: ScopeName): Promise<readonly StandingView[]> {
  const api = await session.connect()
  const subject = scope?.kind === 'key' ? (await findKey(api, scope.subject)).id : scope?.subject
  const { data } = await api.get<{ readonly data: readonly StandingView[] }>(
    '/admin/v1/limits/standing',
    { budgets: 'true', kind: scope?.kind, subject },
  )
  return data
}

function titleOf({ scope, name, scope_id, model }: StandingView): string {
  const who = scope === 'platform' ? scope : `${scope} ${name || scope_id}`
  return model === null ? who : `${who} (${model})`
}

const WIDTH = 30

/** One budget in two lines; `#` is spent, `+` held by requests under way. */
function bar(row: StandingView, session: Session): string {
  const { max, used, reserved, remaining, status } = row
  // For the eye alone: amounts are shown as the server gave them.
  const share = (part: string): number =>
    Number(max.amount) === 0 ? 1 : Math.min(1, Number(part) / Number(max.amount))
  const all = Math.round(share(used.amount) * WIDTH)
  const held = Math.min(all, Math.round(share(reserved.amount) * WIDTH))
  const filled = '#'.repeat(all - held) + '+'.repeat(held)
  const colour = status === 'ok' ? 'green' : status === 'warn' ? 'yellow' : 'red'
  const resets = row.resets_at === null ? 'never resets' : `resets ${row.resets_at}`
  return [
    `${titleOf(row)}, ${row.window}: ${used.amount} of ${max.amount} ${max.currency} (${Math.floor(share(used.amount) * 100)} %)${status === 'ok' ? '' : `, ${status}`}`,
    `  [${session.paint(colour, filled)}${'.'.repeat(WIDTH - all)}] ${reserved.amount} held, ${remaining.amount} left, ${resets}`,
  ].join('\n')
}

function withBudget(
  { budgets }: QuotasView,
  window: string,
  limit: string | undefined,
  { warn, block, policy }: SetOptions,
  raise: object | undefined,
): readonly object[] {
  const others = budgets.filter((one) => one.window !== window)
  if (limit === undefined) return others
  const before = budgets.find((one) => one.window === window)
  return [
    ...others,
    {
      ...before,
      window,
      limit,
      ...(warn !== undefined && { warn_percent: warn }),
      ...(block !== undefined && { block_percent: block }),
      ...(policy !== undefined && { policy }),
      ...(raise !== undefined && { raises: [...(before?.raises ?? []), raise] }),
    },
  ]
}

function raiseOf({ raise, until, reason }: SetOptions): object | undefined {
  if (raise === undefined && until === undefined && reason === undefined) return undefined
  if (raise === undefined || until === undefined || reason === undefined || until === 'never') {
    throw new Failure(EXIT.usage, 'A raise needs an amount, an end and a reason', {
      fix: '--raise 50 --until 7d --reason launch',
    })
  }
  return { amount: raise, until, reason }
}

function amount(text: string): Amount {
  const match = /^(none|\d{1,12}(?:\.\d{1,9})?)\/(day|week|month|total|ever)$/.exec(text)
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new InvalidArgumentError(
      'Expected USD and a window, such as 10.00/month (day, week, month, total), or none/month.',
    )
  }
  const window = match[2] === 'ever' ? 'total' : match[2]
  return { limit: match[1] === 'none' ? undefined : match[1], window }
}

function usd(text: string): string {
  if (/^\d{1,12}(?:\.\d{1,9})?$/.test(text)) return text
  throw new InvalidArgumentError('Expected USD, such as 50.00.')
}

function percent(text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('Expected a whole number of percent, such as 80.')
}
