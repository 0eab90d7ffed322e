import { InvalidArgumentError, Option } from 'commander'
import type { Command } from 'commander'
import { moment } from './durations.ts'

/** A key as the control plane shows it. */
export interface KeyView {
  readonly id: string
  readonly name: string
  readonly prefix: string
  readonly last4: string
  readonly status: 'active' | 'disabled' | 'revoked' | 'expired'
  readonly created_at: string
  readonly expires_at: string | null
  readonly models: readonly string[]
  readonly endpoints: readonly string[]
  readonly addresses: readonly string[]
  readonly limits: LimitsView
  readonly strict: boolean
  readonly successor_id: string | null
  /** These are left out by an older server. */
  readonly application_id?: string
  readonly owner_id?: string | null
  readonly tags?: readonly string[]
  readonly status_reason?: string | null
  readonly last_used_at?: string | null
}

export interface LimitsView {
  readonly requests_per_minute: number | null
  readonly tokens_per_minute: number | null
  readonly concurrency: number | null
  readonly budgets: readonly {
    readonly window: string
    readonly limit: { readonly amount: string; readonly currency: string }
  }[]
}

/** What the options below read as; `none` takes a limit away, or all budgets. (Not null: commander makes that ''.) */
export interface KeyOptions {
  readonly name?: string
  readonly models?: readonly string[]
  readonly endpoints?: readonly string[]
  readonly addresses?: readonly string[]
  /** RFC 3339, or `never`. */
  readonly expires?: string
  readonly rpm?: number | 'none'
  readonly tpm?: number | 'none'
  readonly concurrency?: number | 'none'
  readonly budget?: readonly (BudgetOption | 'none')[]
  readonly strict?: boolean
  /** Id or e-mail address, or `none`. */
  readonly owner?: string
  readonly tags?: readonly string[]
}

interface BudgetOption {
  readonly window: string
  readonly limit: string
}

/** Adds what can be said of a key. */
export function addKeyOptions(command: Command, now: () => number): void {
  command
    .option('--models <patterns>', "models it may call, such as openai/*,fast ('*': all)", words)
    .option(
      '--endpoints <paths>',
      "paths it may call, such as /v1/embeddings ('*': all); /v1/models and /v1/me always",
      words,
    )
    .option(
      '--addresses <ranges>',
      'where it may be used from, as CIDR ranges (any: anywhere)',
      words,
    )
    .addOption(
      new Option('--expires <when>', '30d, 2027-01-31, 2027-01-31T12:00:00Z or never').argParser(
        (text) => moment(text, now()),
      ),
    )
    .option('--rpm <number>', 'requests per minute, or none', count)
    .option('--tpm <number>', 'tokens per minute, or none', count)
    .option('--concurrency <number>', 'requests at once, or none', count)
    .option(
      '--budget <amount>',
      'USD per day, week, month or total, such as 10.00/month, or none; repeatable',
      budget,
    )
    .option('--owner <user>', 'who answers for it, as id or e-mail address, or none')
    .option('--tags <words>', 'tags of its requests in reports, such as team:web,beta', words)
    .option('--strict', 'refuse requests whose translation would lose something')
}

function words(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...text.split(',').map((word) => word.trim())].filter((word) => word !== '')
}

function count(text: string): number | 'none' {
  if (text === 'none') return text
  if (!/^[1-9]\d{0,9}$/.test(text))
    throw new InvalidArgumentError('Expected a whole number above 0, or none.')
  return Number(text)
}

function budget(
  text: string,
  before: readonly (BudgetOption | 'none')[] = [],
): readonly (BudgetOption | 'none')[] {
  if (text === 'none') return [...before, 'none']
  const match = /^(\d{1,12}(?:\.\d{1,9})?)\/(day|week|month|total)$/.exec(text)
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new InvalidArgumentError(
      'Expected USD and a window, such as 10.00/month (day, week, month, total), or none.',
    )
  }
  return [...before, { limit: match[1], window: match[2] }]
}

/**
 * The options as a request body.
 *
 * The control plane takes limits as a whole: those of `current` that no option names are kept.
 */
export function bodyOf(options: KeyOptions, current?: LimitsView): Record<string, unknown> {
  const { name, models, endpoints, strict, expires } = options
  // The one list that may be empty, which no word of a list says.
  const addresses = options.addresses?.filter((range) => range !== 'any')
  const hasLimits = ['rpm', 'tpm', 'concurrency', 'budget'].some((limit) => limit in options)
  return {
    ...(name !== undefined && { name }),
    ...(models !== undefined && { models }),
    ...(endpoints !== undefined && { endpoints }),
    ...(addresses !== undefined && { addresses }),
    ...(expires !== undefined && { expires_at: expires === 'never' ? null : expires }),
    ...(strict !== undefined && { strict }),
    ...(options.owner !== undefined && {
      owner_id: options.owner === 'none' ? null : options.owner,
    }),
    ...(options.tags !== undefined && { tags: options.tags.filter((word) => word !== 'none') }),
    ...(hasLimits && { limits: limitsOf(options, current) }),
  }
}

function limitsOf(options: KeyOptions, current: LimitsView | undefined): Record<string, unknown> {
  const { rpm, tpm, concurrency } = options
  const all = {
    requests_per_minute: rpm === undefined ? current?.requests_per_minute : rpm,
    tokens_per_minute: tpm === undefined ? current?.tokens_per_minute : tpm,
    concurrency: concurrency === undefined ? current?.concurrency : concurrency,
  }
  const budgets = budgetsOf(options.budget ?? [], current)
  // What has no option here, such as tokens per day, stays.
  const rest = Object.entries(current ?? {}).filter(
    ([name]) => name !== 'budgets' && !(name in all),
  )
  return {
    ...Object.fromEntries(rest.filter(([, value]) => value !== null)),
    ...Object.fromEntries(
      Object.entries(all).filter(([, value]) => value != null && value !== 'none'),
    ),
    ...(budgets.length > 0 && { budgets }),
  }
}

function budgetsOf(
  given: readonly (BudgetOption | 'none')[],
  current: LimitsView | undefined,
): readonly object[] {
  const kept = given.includes('none') ? [] : (current?.budgets ?? [])
  const budgets = new Map<string, object>(
    kept.map(({ limit, ...one }) => [one.window, { ...one, limit: limit.amount }]),
  )
  for (const one of given) {
    if (one !== 'none') budgets.set(one.window, { ...budgets.get(one.window), ...one })
  }
  return [...budgets.values()]
}

/** `60 rpm, 5 at once, 10 USD/month`; nothing when there are none. */
export function limitsInWords({ limits }: KeyView): string {
  return [
    limits.requests_per_minute === null ? [] : `${limits.requests_per_minute} rpm`,
    limits.tokens_per_minute === null ? [] : `${limits.tokens_per_minute} tpm`,
    limits.concurrency === null ? [] : `${limits.concurrency} at once`,
    limits.budgets.map(({ window, limit }) => `${limit.amount} ${limit.currency}/${window}`),
  ]
    .flat()
    .join(', ')
}
