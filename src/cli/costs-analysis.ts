import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import type { Query } from './admin-api.ts'
import { EXIT, Failure } from './failure.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

interface Money {
  readonly amount: string
  readonly currency: string
}

type Effects = Readonly<Record<'volume' | 'mix' | 'size' | 'composition' | 'price', Money>>

interface Changed {
  readonly before: Money
  readonly after: Money
  readonly change: Money
  readonly effects: Effects
}

interface Explanation extends Changed {
  readonly period: { readonly from: string; readonly to: string }
  readonly compared_with: { readonly from: string; readonly to: string }
  readonly group_by: readonly string[]
  readonly groups: readonly (Changed & { readonly group: readonly string[] })[]
  readonly configuration_changes: readonly {
    readonly at: string
    readonly actor: string
    readonly action: string
    readonly id: string
  }[]
}

interface Forecasts {
  readonly budgets: readonly {
    readonly scope: { readonly kind: string; readonly name: string }
    readonly window: string
    readonly ends_at: string | null
    readonly spent: Money
    readonly limit: Money | null
    readonly expected: Money
    readonly low: Money
    readonly high: Money
    readonly chance_to_exceed: number | null
    readonly exceeded_at: string | null
    readonly based_on_days: number
  }[]
}

interface Statement {
  readonly tenant: { readonly name: string }
  readonly month: string
  readonly lines: readonly {
    readonly application: { readonly name: string }
    readonly provider: string
    readonly model: string
    readonly type: string
    readonly quantity: number
    readonly cost: Money
  }[]
  readonly requests: number
  readonly unpriced: number
  readonly estimated: number
  readonly total: Money
}

interface Sums {
  readonly requests: number
  readonly input_tokens: number
  readonly output_tokens: number
  readonly cost: Money | null
}

interface Reconciliation {
  readonly provider: string
  readonly by: string
  readonly matched: number
  readonly by_cause: Readonly<Record<string, number>>
  readonly ledger_cost: Money
  readonly provider_cost: Money
  readonly differences: readonly {
    readonly id: string
    readonly model: string
    readonly causes: readonly string[]
    readonly cost_difference: Money | null
    readonly ledger: Sums | null
    readonly provider: Sums | null
  }[]
}

const PATH = '/admin/v1/costs'

/** `costs explain | forecast | statement | reconcile`. */
export function defineAnalysis(command: Command, session: Session): void {
  command
    .command('explain')
    .description('why spend went up or down, in effects that add up exactly')
    .option('--from <moment>', 'a day or RFC 3339, inclusive (default: start of the month)')
    .option('--to <moment>', 'a day, inclusive, or RFC 3339, exclusive (default: now)')
    .option('--before-from <moment>', 'start of what it is compared with (default: as long before)')
    .option('--before-to <moment>', 'end of what it is compared with (default: --from)')
    .option('--tz <zone>', 'IANA zone in which days begin (default: that of the server)')
    .option('--by <dimensions>', 'such as application,model (the default), key, provider')
    .action(async (options: Readonly<Record<string, string>>) => {
      const api = await session.connect()
      await showExplanation(
        session,
        await api.get<Explanation>(`${PATH}/explain`, {
          from: options['from'],
          to: options['to'],
          before_from: options['beforeFrom'],
          before_to: options['beforeTo'],
          tz: options['tz'],
          group_by: options['by'],
        } satisfies Query),
      )
    })

  command
    .command('forecast')
    .description('where the month and every budget will end')
    .action(async () => {
      const api = await session.connect()
      const { budgets } = await api.get<Forecasts>(`${PATH}/forecast`)
      await session.rows(budgets, FORECAST, 'There is nothing to forecast')
    })

  command
    .command('statement <month>')
    .description('what the tenant owes for a month, such as 2026-11')
    .option('--format <format>', 'csv or focus (FOCUS 1.2, a CSV); else a table')
    .action(async (month: string, { format }: { readonly format?: string }) => {
      const api = await session.connect()
      const path = `${PATH}/statements/${encodeURIComponent(month)}`
      if (format !== undefined) {
        session.terminal.stdout.write(await api.text(path, { format }))
        return
      }
      const statement = await api.get<Statement>(path)
      if (session.options.json !== undefined) return session.record(statement, () => '')
      await session.rows(statement.lines, LINES, 'Nothing was used in this month')
      session.note(`${statement.tenant.name}, ${statement.month}: ${owed(statement)}`)
    })

  command
    .command('reconcile <provider> <file>')
    .description("hold a provider's usage export (CSV or JSON) beside the ledger; 7: they differ")
    .action(async (provider: string, file: string) => {
      const api = await session.connect()
      const found = await api.send<Reconciliation>('POST', `${PATH}/reconcile`, {
        provider,
        export: await read(file),
      })
      await session.rows(found.differences, DIFFERENCES, 'Nothing differs')
      session.note(agreement(found))
      if (found.differences.length > 0) session.exit = EXIT.findings
    })
}

const FORECAST: readonly Column<Forecasts['budgets'][number]>[] = [
  { name: 'scope', value: ({ scope }) => `${scope.kind} ${scope.name}` },
  { name: 'window', value: ({ window }) => window },
  { name: 'spent', value: ({ spent }) => spent.amount },
  { name: 'limit', value: ({ limit }) => limit?.amount ?? null },
  { name: 'expected', value: ({ expected }) => expected.amount },
  { name: 'low', value: ({ low }) => low.amount },
  { name: 'high', value: ({ high }) => high.amount },
  {
    name: 'chance',
    value: ({ chance_to_exceed: chance }) =>
      chance === null ? null : `${Math.round(chance * 100)} %`,
  },
  { name: 'exceeded', value: ({ exceeded_at }) => exceeded_at },
  { name: 'ends', value: ({ ends_at }) => ends_at },
  { name: 'days', value: ({ based_on_days }) => based_on_days },
]

const LINES: readonly Column<Statement['lines'][number]>[] = [
  { name: 'application', value: ({ application }) => application.name },
  { name: 'model', value: ({ provider, model }) => `${provider}/${model}` },
  { name: 'type', value: ({ type }) => type },
  { name: 'quantity', value: ({ quantity }) => quantity },
  { name: 'cost_usd', value: ({ cost }) => cost.amount },
]

const DIFFERENCES: readonly Column<Reconciliation['differences'][number]>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'model', value: ({ model }) => model },
  { name: 'causes', value: ({ causes }) => causes.join(', ') },
  { name: 'ledger', value: ({ ledger }) => sums(ledger) },
  { name: 'provider', value: ({ provider }) => sums(provider) },
  { name: 'difference', value: ({ cost_difference }) => cost_difference?.amount ?? null },
]

function sums(side: Sums | null): string | null {
  if (side === null) return null
  const cost = side.cost === null ? '' : ` ${side.cost.amount}`
  return `${side.requests} req, ${side.input_tokens} in, ${side.output_tokens} out${cost}`
}

async function showExplanation(session: Session, explained: Explanation): Promise<void> {
  const { json, csv } = session.options
  if (json !== undefined) return session.record(explained, () => '')
  const groups: readonly Column<Explanation['groups'][number]>[] = [
    ...explained.group_by.map((name, index) => ({
      name,
      value: ({ group }: Explanation['groups'][number]) => group[index] ?? null,
    })),
    { name: 'before', value: ({ before }) => before.amount },
    { name: 'after', value: ({ after }) => after.amount },
    { name: 'change', value: ({ change }) => change.amount },
    ...(['volume', 'mix', 'size', 'composition', 'price'] as const).map((effect) => ({
      name: effect,
      value: ({ effects }: Explanation['groups'][number]) => effects[effect].amount,
    })),
  ]
  if (!csv) session.print(words(explained).join('\n'))
  await session.rows(explained.groups, groups, 'Nothing was spent in either period')
  if (explained.configuration_changes.length === 0 || csv) return
  session.print('\nChanged meanwhile:')
  for (const { at, actor, action, id } of explained.configuration_changes) {
    session.print(`  ${at}  ${actor}  ${action}  ${id}`)
  }
}

const MEANINGS: Readonly<Record<keyof Effects, string>> = {
  volume: 'more or fewer requests',
  mix: 'other applications and models',
  size: 'tokens in a request',
  composition: 'kinds of tokens, such as from the cache',
  price: 'prices',
}

function words({ before, after, change, effects }: Explanation): readonly string[] {
  return [
    `${before.amount} before, ${after.amount} now: ${change.amount} ${change.currency}, of which`,
    ...Object.entries(MEANINGS)
      .filter(([effect]) => !/^-?0*$/.test(effects[effect as keyof Effects].amount))
      .map(
        ([effect, meaning]) =>
          `  ${effects[effect as keyof Effects].amount}  ${effect} (${meaning})`,
      ),
  ]
}

function owed({ requests, unpriced, estimated, total }: Statement): string {
  return [
    `${total.amount} ${total.currency} for ${requests} requests`,
    ...(unpriced === 0 ? [] : [`${unpriced} unpriced, not in the sum`]),
    ...(estimated === 0 ? [] : [`${estimated} estimated`]),
  ].join('; ')
}

function agreement(found: Reconciliation): string {
  const causes = Object.entries(found.by_cause).map(([cause, count]) => `${count} ${cause}`)
  return (
    `${found.matched} agree by ${found.by}; ledger ${found.ledger_cost.amount}, ` +
    `${found.provider} ${found.provider_cost.amount} USD` +
    (causes.length === 0 ? '' : `; ${causes.join(', ')}`)
  )
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new Failure(EXIT.failed, `${file} cannot be read: ${(cause as Error).message}`)
  }
}
