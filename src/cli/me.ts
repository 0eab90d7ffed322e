import { InvalidArgumentError, Option } from 'commander'
import type { Command } from 'commander'
import { createAdminApi, DATA_PLANE } from './admin-api.ts'
import type { AdminApi } from './admin-api.ts'
import { inLines } from './changes.ts'
import { duration } from './durations.ts'
import { EXIT, Failure } from './failure.ts'
import { reachable, readUrl } from './session.ts'
import type { Session } from './session.ts'
import { plain } from './terminal.ts'

interface Money {
  readonly amount: string
}

type Amount = string | Money | null

interface LimitView {
  readonly scope: string
  readonly name: string
  readonly each: boolean
  readonly model: string | null
  readonly limit: string
  readonly window: string | null
  readonly max: Amount
  readonly used: Amount
  readonly remaining: Amount
  readonly resets_at: string | null
  readonly policy: string
  readonly status: string
  readonly binding: boolean
}

interface SpendView {
  readonly window: string
  readonly ends_at: string
  readonly requests: number
  readonly spent: Money
  readonly limit: Money | null
  readonly forecast: {
    readonly expected: Money
    readonly low: Money
    readonly high: Money
    readonly chance_to_exceed: number | null
    readonly exceeded_at: string | null
    readonly based_on_days: number
  }
}

interface Me {
  readonly key: {
    readonly id: string
    readonly name: string
    readonly prefix: string
    readonly last4: string
    readonly status: string
    readonly expires_at: string | null
    readonly tags: readonly string[]
    readonly successor_id: string | null
  }
  readonly application: { readonly id: string; readonly name: string }
  readonly tenant: { readonly id: string; readonly name: string; readonly time_zone: string }
  readonly owner: { readonly id: string; readonly name: string } | null
  readonly may: {
    readonly models: readonly string[]
    readonly endpoints: readonly string[]
    readonly addresses: readonly string[]
  }
  readonly limits: readonly LimitView[]
  readonly spend: readonly SpendView[]
  readonly refused: readonly {
    readonly time: string
    readonly model: string | null
    readonly status: number
    readonly code: string
    readonly message: string
  }[]
}

interface Rolled {
  readonly id: string
  readonly name: string
  readonly secret: string
  readonly replaces: { readonly id: string; readonly expires_at: string | null }
}

/** Models named in words; --json has all. */
const MOST_MODELS = 12
const BAR = 20
const LONGEST_OVERLAP_MS = 7 * 86_400_000

export function define(command: Command, session: Session): void {
  command
    .description('what a key that calls models is, may, has left, spent and was refused')
    .option('--data-url <url>', 'data plane to talk to (default: the one set up here, port 8080)')
    .action(async () => {
      const api = await connect(command, session)
      session.record(await api.get<Me>('/v1/me'), (me) => inWords(me, session))
    })

  command
    .command('roll')
    .description('make a successor of the key itself; both work until the overlap ends')
    .addOption(
      new Option('--overlap <time>', 'how long the old one still works, at most 7d')
        .argParser(overlap)
        .default(86_400, '24h'),
    )
    .action(async ({ overlap: seconds }: { readonly overlap: number }) => {
      const api = await connect(command, session)
      const made = await api.send<Rolled>('POST', '/v1/me/roll', { overlap_seconds: seconds })
      try {
        session.record(made, ({ secret }) => secret)
      } catch (error) {
        // A field that is not there must not cost the key.
        session.print(JSON.stringify(made, null, 2))
        throw error
      }
      const { id, expires_at } = made.replaces
      session.note(`${made.name} is ${made.id} now. The key is shown this once: keep it now.`)
      session.note(`The old key ${id} works until ${expires_at}. Both share limits and spend.`)
    })
}

async function connect(command: Command, session: Session): Promise<AdminApi> {
  const { env, stderr, now } = session.terminal
  const { timeout, debug } = session.options
  const { dataUrl } = command.opts<{ readonly dataUrl?: string }>()
  const given = dataUrl ?? (env.TOLLGATE_DATA_URL || (await localUrl(session)))
  const key = env.TOLLGATE_API_KEY?.trim() || undefined
  if (key !== undefined && !/^[\x21-\x7e]{1,512}$/.test(key)) {
    throw new Failure(EXIT.auth, 'The key of TOLLGATE_API_KEY has characters no key has', {
      fix: 'look for blanks, line breaks and quotes in it',
    })
  }
  return createAdminApi({
    // An SDK's base URL is the same with /v1 behind it.
    url: readUrl(given, DATA_PLANE.name, DATA_PLANE.setBy, 8080).replace(/\/v1$/, ''),
    plane: DATA_PLANE,
    key,
    keySource: key === undefined ? 'TOLLGATE_API_KEY is not set' : 'TOLLGATE_API_KEY',
    timeoutMs: timeout,
    now,
    trace: debug ? (line) => stderr.write(`${plain(line)}\n`) : undefined,
  })
}

async function localUrl(session: Session): Promise<string> {
  const settings = await session.local()
  return `http://${reachable(settings.get('host') ?? '')}:${settings.get('port')}`
}

function overlap(text: string): number {
  const ms = text === '0' ? 0 : duration(text)
  if (ms > LONGEST_OVERLAP_MS) throw new InvalidArgumentError('At most 7d.')
  return Math.round(ms / 1000)
}

function inWords(me: Me, session: Session): string {
  const { key, application, tenant, owner, may, limits, spend, refused } = me
  const head = inLines({
    key: `${key.name} (${key.id}, ${key.prefix}…${key.last4}), ${key.status}`,
    expires: key.expires_at ?? 'never',
    ...(key.successor_id !== null && { 'rolled to': key.successor_id }),
    application: `${application.name} (${application.id})`,
    tenant: `${tenant.name} (${tenant.id}, ${tenant.time_zone})`,
    owner: owner === null ? '-' : `${owner.name} (${owner.id})`,
    tags: key.tags.join(', ') || '-',
    models: named(may.models),
    endpoints: may.endpoints.join(', '),
    from: may.addresses.join(', ') || 'any address',
  })
  const sections = [
    ['Limits (> is met first)', limits.map((one) => limitInWords(one, session))],
    ['Spend', spend.map(spendInWords)],
    [
      'Refused lately',
      refused.map(
        ({ time, model, status, code, message }) =>
          `  ${time}  ${model ?? '-'}  ${status} ${code}: ${message}`,
      ),
    ],
  ] as const
  return [
    head,
    ...sections.map(([title, lines]) =>
      [session.paint('bold', title), ...(lines.length === 0 ? ['  none'] : lines)].join('\n'),
    ),
  ].join('\n\n')
}

function named(models: readonly string[]): string {
  const more = models.length - MOST_MODELS
  const names = models.slice(0, MOST_MODELS).join(', ') || 'none'
  return more > 0 ? `${names} and ${more} more (--json has all)` : names
}

function limitInWords(one: LimitView, session: Session): string {
  const { scope, name, each, model, limit, window, max, used, remaining, resets_at } = one
  const whose = scope === 'platform' ? 'platform' : `${scope.replace('_', ' ')} ${name}`
  const what = [
    each ? `each ${scope.replace('_', ' ')}` : whose,
    ...(model === null ? [] : [`of ${model}`]),
    limit.replace('_', ' '),
    ...(window === null ? [] : [window === 'total' ? 'in total' : `per ${window}`]),
    ...(one.policy === 'soft' ? ['(soft)'] : []),
  ].join(' ')
  const figures =
    max === null
      ? one.status
      : used === null || remaining === null
        ? `at most ${amount(max)}`
        : `${bar(number(used), number(max))} ${amount(used)} of ${amount(max)}, ${amount(remaining)} left`
  const resets = resets_at === null || used === null ? '' : `, full again at ${resets_at}`
  const line = `${one.binding ? '>' : ' '} ${what}: ${figures}${resets}`
  return one.binding ? session.paint('bold', line) : line
}

function spendInWords({ window, ends_at, requests, spent, limit, forecast }: SpendView): string {
  const { expected, low, high, exceeded_at, based_on_days } = forecast
  const of = limit === null ? '' : ` of ${amount(limit)}`
  const coming =
    based_on_days === 0
      ? 'nothing to forecast from yet'
      : `${amount(expected)} expected by ${ends_at} (${low.amount} to ${high.amount}, from ${based_on_days} days)`
  const over = exceeded_at === null ? '' : `; over its budget at ${exceeded_at}`
  return `  ${window}: ${amount(spent)}${of} for ${requests} requests; ${coming}${over}`
}

function amount(value: string | Money): string {
  return typeof value === 'string' ? value : `${value.amount} USD`
}

function number(value: string | Money): number {
  return Number(typeof value === 'string' ? value : value.amount)
}

function bar(used: number, max: number): string {
  const share = max === 0 ? 1 : Math.min(1, used / max)
  const full = share === 1 ? BAR : Math.min(BAR - 1, Math.round(share * BAR))
  return `[${'#'.repeat(full)}${'.'.repeat(BAR - full)}] ${Math.floor(share * 100)}%`
}
