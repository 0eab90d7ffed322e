import { Argument, InvalidArgumentError, Option } from 'commander'
import type { Command } from 'commander'
import { change, dryRunOption, needSome } from './changes.ts'
import type { Changing } from './changes.ts'
import { limitsOf, SCOPE_HELP, scopeName, withQuotas } from './limit-scopes.ts'
import type { LimitsView, QuotasView, ScopeName } from './limit-scopes.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

interface RowView {
  readonly id: string
  readonly kind: string
  readonly subject: string
  readonly limits: LimitsView
  readonly updated_at: string
}

/** By option: the API's name, how it is shown, and what it means. */
const COUNTS = [
  ['rpm', 'requests_per_minute', 'rpm', 'requests per minute'],
  ['tpm', 'tokens_per_minute', 'tpm', 'tokens per minute, input and output'],
  ['itpm', 'input_tokens_per_minute', 'itpm', 'input tokens per minute'],
  ['otpm', 'output_tokens_per_minute', 'otpm', 'output tokens per minute'],
  ['rpd', 'requests_per_day', 'requests/day', 'requests per day'],
  ['tpd', 'tokens_per_day', 'tokens/day', 'tokens per day, input and output'],
  ['itpd', 'input_tokens_per_day', 'input tokens/day', 'input tokens per day'],
  ['otpd', 'output_tokens_per_day', 'output tokens/day', 'output tokens per day'],
  ['concurrency', 'concurrency', 'at once', 'requests at once'],
] as const

/** `none` takes a limit away. (Not null: commander makes that ''.) */
type CountOptions = { readonly [Name in (typeof COUNTS)[number][0]]?: number | 'none' }

interface SetOptions extends Changing, CountOptions {
  readonly model?: string
}

const COLUMNS: readonly Column<RowView>[] = [
  { name: 'scope', value: ({ id }) => id },
  { name: 'limits', value: ({ limits }) => inWords(limits) || null },
  { name: 'updated_at', value: ({ updated_at }) => updated_at },
]

export function define(command: Command, session: Session): void {
  command
    .command('list')
    .description('limits of all but keys, by scope')
    .addOption(
      new Option('--kind <kind>', 'only these').choices([
        'platform',
        'tenant',
        'application',
        'end_user',
        'service',
        'tag',
      ]),
    )
    .action(async (options: { readonly kind?: string }) => {
      const api = await session.connect()
      const rows = await api.list<RowView>('/admin/v1/limits', { kind: options.kind })
      await session.rows(
        rows,
        COLUMNS,
        'No limits are set; keys have their own: tollgate keys list',
      )
    })

  const set = command
    .command('set')
    .description('limit requests and tokens of a scope; what is not named stays')
    .addArgument(new Argument('<scope>', 'such as app/shop').argParser(scopeName))
    .option('--model <pattern>', 'only of these models, such as openai/*')
  for (const [name, , , words] of COUNTS) {
    set.option(`--${name} <number>`, `${words}, or none`, count)
  }
  set
    .addOption(dryRunOption())
    .addHelpText(
      'after',
      `${SCOPE_HELP}\n\nExamples:\n  $ tollgate limits set app/shop --rpm 600 --tpd 5000000\n  $ tollgate limits set 'end-user/*' --rpd 200 --model 'openai/*'`,
    )
    .action(async (scope: ScopeName, options: SetOptions) => {
      const named = COUNTS.flatMap(([name, field]) =>
        name in options ? [[field, options[name] === 'none' ? null : options[name]] as const] : [],
      )
      needSome(Object.fromEntries(named), 'tollgate limits set')
      await changeLimits(session, scope, options, (quotas) => ({
        ...quotas,
        ...Object.fromEntries(named),
      }))
    })

  command
    .command('unset')
    .description('take all limits of a scope away, budgets too; a default of its kind holds again')
    .addArgument(new Argument('<scope>', 'such as app/shop').argParser(scopeName))
    .addOption(dryRunOption())
    .addHelpText('after', SCOPE_HELP)
    .action(async (scope: ScopeName, options: Changing) => {
      const api = await session.connect()
      const { path, method, body } = await limitsOf(api, scope)
      if (method === 'PATCH')
        await change(session, options, method, path, body({ budgets: [], models: [] }))
      else await change(session, options, 'DELETE', path)
      if (options.dryRun !== true) session.note(`${scope.kind} ${scope.subject} has no limits now.`)
    })
}

/** Changes the limits of a scope and shows what they are then. */
export async function changeLimits(
  session: Session,
  scope: ScopeName,
  options: Changing & { readonly model?: string },
  edit: (quotas: QuotasView) => QuotasView,
): Promise<void> {
  const api = await session.connect()
  const { path, limits, method, body } = await limitsOf(api, scope)
  const wanted = withQuotas(limits, options.model, edit)
  const after = await change<{ readonly limits: LimitsView }>(
    session,
    options,
    method,
    path,
    body(wanted),
  )
  if (after === undefined) return
  session.record(after, () => `${scope.kind} ${scope.subject}: ${inWords(after.limits) || 'none'}`)
}

/** `60 rpm, 5 at once, 10 USD/month; openai/*: 5 rpm`. */
export function inWords({ models, ...own }: LimitsView): string {
  return [
    ...words(own),
    ...models.map((each) => `${each.pattern}: ${words(each).join(' + ')}`),
  ].join(', ')
}

function words(quotas: QuotasView): string[] {
  return [
    ...COUNTS.flatMap(([, field, unit]) =>
      typeof quotas[field] === 'number' ? [`${quotas[field]} ${unit}`] : [],
    ),
    ...quotas.budgets.map(
      ({ window, limit, policy }) =>
        `${limit.amount} ${limit.currency}/${window}${policy === 'soft' ? ' (soft)' : ''}`,
    ),
  ]
}

function count(text: string): number | 'none' {
  if (text === 'none') return text
  if (!/^[1-9]\d{0,9}$/.test(text)) {
    throw new InvalidArgumentError('Expected a whole number above 0, or none.')
  }
  return Number(text)
}
