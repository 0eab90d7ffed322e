import { setTimeout as sleep } from 'node:timers/promises'
import { InvalidArgumentError, Option } from 'commander'
import type { Command } from 'commander'
import type { DecisionView } from '../control/logs.ts'
import type { AdminApi, Query } from './admin-api.ts'
import { readDuration } from './durations.ts'
import { findKey } from './find-key.ts'
import { findOne } from './find-one.ts'
import type { Kind } from './find-one.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

interface EntryView {
  readonly attempt: number
  readonly kind: string
  readonly provider: string
  readonly model: string
  readonly outcome: string
  readonly usage_source: string
  readonly cost_usd: string | null
  readonly price_version: string | null
  readonly cost_lines:
    | readonly { readonly type: string; readonly quantity: number; readonly cost_usd: string }[]
    | null
  readonly reason: string | null
}

interface Detail {
  readonly id: string
  readonly decision: DecisionView | null
  readonly entries: readonly EntryView[]
  readonly cost_usd: string | null
}

interface Filters {
  readonly key?: string
  readonly app?: string
  readonly model?: string
  readonly status?: string
  readonly code?: string
  readonly from?: string
  readonly to?: string
}

const PATH = '/admin/v1/logs'

const APPLICATION: Kind = {
  what: 'application',
  path: '/admin/v1/applications',
  idStart: 'app_',
  listing: 'tollgate apps list',
}

/** A page is no longer. */
const MOST_ROWS = 100

const POLL_MS = 1000

const COLUMNS: readonly Column<DecisionView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'at', value: ({ received_at }) => received_at },
  { name: 'key', value: ({ key }) => oneLine(key.name) },
  { name: 'model', value: ({ model }) => oneLine(model) },
  { name: 'target', value: ({ target }) => oneLine(target) },
  { name: 'outcome', value: ({ outcome }) => outcome },
  { name: 'status', value: ({ status }) => status },
  { name: 'code', value: ({ error }) => error?.code ?? null },
  { name: 'ms', value: ({ duration_ms }) => Math.round(duration_ms) },
  { name: 'cost_usd', value: ({ cost_usd }) => cost_usd },
]

export function define(command: Command, session: Session): void {
  withFilters(command.command('list'), session)
    .description('requests and what became of them, newest first')
    .option('--limit <number>', 'at most so many', count, 20)
    .action(async ({ limit, ...filters }: Filters & { readonly limit: number }) => {
      const api = await session.connect()
      const query = { ...(await queryOf(api, filters)), limit: String(limit) }
      await session.rows(await newest(api, query), COLUMNS, 'No request is known that is such')
    })

  command
    .command('get')
    .description('why a request was answered as it was, and what it cost')
    .argument('<id>', 'of the request: the `x-request-id` of its answer')
    .action(async (id: string) => {
      const api = await session.connect()
      const detail = await api.get<Detail>(`${PATH}/${encodeURIComponent(id)}`)
      session.record(detail, inWords)
    })

  withFilters(command.command('tail'), session)
    .description('the last requests, oldest first')
    .option('--limit <number>', 'at most so many at the start', count, 20)
    .option('-f, --follow', 'go on with those that come')
    .action(
      async ({
        limit,
        follow,
        ...filters
      }: Filters & { readonly limit: number; readonly follow?: boolean }) => {
        const api = await session.connect()
        const query = await queryOf(api, filters)
        let rows = await newest(api, { ...query, limit: String(limit) })
        const show = (decision: DecisionView): void =>
          session.print(
            session.options.json === undefined ? lineOf(decision) : JSON.stringify(decision),
          )
        rows.toReversed().forEach(show)
        if (follow !== true) return
        // Long ones are written after shorter ones that came later: a while back is read again.
        const seen = new Set(rows.map(({ id }) => id))
        for (;;) {
          await sleep(POLL_MS)
          rows = await newest(api, { ...query, limit: String(MOST_ROWS) })
          const fresh = rows.filter(({ id }) => !seen.has(id))
          fresh.toReversed().forEach(show)
          for (const { id } of rows) seen.add(id)
          if (seen.size > 10 * MOST_ROWS) {
            for (const id of [...seen].slice(0, seen.size - 5 * MOST_ROWS)) seen.delete(id)
          }
        }
      },
    )
}

function withFilters(command: Command, session: Session): Command {
  const when = (text: string): string => past(text, session.terminal.now())
  return command
    .option('--key <key>', 'only of this key: its id, name or beginning')
    .option('--app <application>', 'only of this application')
    .option('--model <model>', 'only of this model, as asked for or as it answered')
    .option('--status <status>', 'only with this HTTP status')
    .option('--code <code>', 'only with this error, such as insufficient_quota')
    .addOption(new Option('--from <when>', 'since then: 2h ago, a day or a moment').argParser(when))
    .addOption(new Option('--to <when>', 'until then').argParser(when))
}

async function queryOf(api: AdminApi, { key, app, ...rest }: Filters): Promise<Query> {
  return {
    ...rest,
    ...(key !== undefined && { key: (await findKey(api, key)).id }),
    ...(app !== undefined && { application: (await findOne(api, APPLICATION, app)).id }),
  }
}

async function newest(api: AdminApi, query: Query): Promise<readonly DecisionView[]> {
  const { data } = await api.get<{ readonly data: readonly DecisionView[] }>(PATH, query)
  return data
}

function past(text: string, now: number): string {
  const ms = readDuration(text)
  const time = ms === undefined ? Date.parse(text) : now - ms
  if (Number.isNaN(time)) {
    throw new InvalidArgumentError('Expected 2h, 2027-01-31 or 2027-01-31T12:00:00Z.')
  }
  return new Date(time).toISOString()
}

function count(text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && number >= 1 && number <= MOST_ROWS) return number
  throw new InvalidArgumentError(`Expected a number from 1 to ${MOST_ROWS}.`)
}

function lineOf(decision: DecisionView): string {
  const { received_at, id, key, model, target, status, error, duration_ms, cost_usd } = decision
  return [
    received_at,
    id,
    oneLine(key.name),
    `${oneLine(model) ?? '-'}${target === null || target === model ? '' : ` -> ${oneLine(target)}`}`,
    error === null ? status : `${status} ${error.code}`,
    `${Math.round(duration_ms)} ms`,
    cost_usd === null ? '-' : `${cost_usd} USD`,
  ].join('  ')
}

/** The story of a request, for people. */
export function inWords({ id, decision, entries, cost_usd }: Detail): string {
  const money = [
    ...moneyOf(entries),
    `Cost: ${cost_usd === null ? 'none on the ledger' : `${cost_usd} USD`}`,
  ]
  if (decision === null) {
    const note = 'What was decided is not kept any more, or was shed; the ledger has what it cost.'
    return [`Request ${id}`, note, ...money].join('\n')
  }
  const { key, error } = decision
  const who = [
    `key ${quoted(key.name)} (${key.id}, ends in ${key.last4}) of ${decision.application_id}`,
    ...(decision.user_id === null ? [] : [`owner ${decision.user_id}`]),
    ...(decision.end_user === null ? [] : [`end user ${quoted(decision.end_user)}`]),
    ...(decision.address === null ? [] : [`from ${oneLine(decision.address)}`]),
    ...(decision.tags.length === 0 ? [] : [`tags ${decision.tags.map(oneLine).join(', ')}`]),
  ]
  const took = `${decision.status} in ${round(decision.duration_ms)} ms`
  return [
    `Request ${id}  ${decision.received_at}`,
    `Outcome: ${decision.outcome} (${took})`,
    `Who: ${who.join(', ')}`,
    `Asked: ${decision.endpoint} for ${quoted(decision.model ?? 'nothing that could be read')}` +
      (decision.stream ? ', streamed' : ''),
    ...(error === null ? [] : whyRefused(error)),
    ...limitsOf(decision),
    ...targetsOf(decision),
    ...section(
      'Attempts',
      decision.attempts.map(
        (attempt, index) =>
          `${index + 1}. ${oneLine(attempt.target)}: ${attempt.outcome}` +
          (attempt.status === null ? '' : `, status ${attempt.status}`) +
          `, ${attempt.duration_ms} ms` +
          (attempt.first_event_ms === null ? '' : ` (first event ${attempt.first_event_ms} ms)`) +
          (attempt.sent ? '' : ', nothing was sent') +
          (attempt.message === null ? '' : `: ${oneLine(attempt.message)}`),
      ),
    ),
    ...section(
      'Changed for the provider',
      decision.changes.map(
        ({ field, kind, note }) => `${oneLine(field)}: ${oneLine(note)} (${kind})`,
      ),
    ),
    ...money,
    ...section(
      'Time',
      decision.stages.map(({ stage, ms }) => `${stage.padEnd(12)} ${round(ms)} ms`),
    ),
  ].join('\n')
}

function whyRefused({
  code,
  message,
  param,
  stopped_by,
}: NonNullable<DecisionView['error']>): readonly string[] {
  const what = message === null ? '' : `: ${oneLine(message)}`
  return [
    `Why: ${code}${param === null ? '' : ` at ${oneLine(param)}`}${what}`,
    ...(stopped_by === null ? [] : [`  no other attempt: ${oneLine(stopped_by)}`]),
  ]
}

function limitsOf({ limits, reserved }: DecisionView): readonly string[] {
  const lines = limits.map((one) => {
    const name = one.name === '' ? one.scope_id : one.name
    const models = one.model === null ? '' : ` for ${oneLine(one.model)}`
    const window = one.window === null ? '' : ` per ${one.window}`
    const reset = one.resets_at === null ? '' : `, resets ${one.resets_at}`
    const what = one.limit.replaceAll('_', ' ')
    const unit = one.unit === 'USD' ? ' USD' : ''
    return `${one.scope} ${quoted(name)}${models}: ${what}${window} ${one.remaining} left of ${one.max}${unit}${reset}`
  })
  return [
    ...section('Limits, right after it was admitted', lines),
    ...(reserved === null
      ? []
      : [
          `Held: ${reserved.tokens} tokens and ${reserved.cost_usd} USD; ${reserved.output_tokens} tokens of output granted`,
        ]),
  ]
}

function targetsOf({ route, candidates }: DecisionView): readonly string[] {
  if (route === null) return []
  return section(
    `Targets of ${oneLine(route.name)}, ${route.strategy}`,
    candidates.map(
      ({ target, result, reason }) =>
        `${oneLine(target)}: ${result.replaceAll('_', ' ')}${reason === null ? '' : ` (${oneLine(reason)})`}`,
    ),
  )
}

function moneyOf(entries: readonly EntryView[]): readonly string[] {
  const lines = entries.flatMap((entry) => {
    const priced = entry.price_version === null ? '' : `, by ${oneLine(entry.price_version)}`
    const counted = entry.usage_source === 'provider' ? '' : `, usage ${entry.usage_source}`
    const what = entry.kind === 'adjustment' ? 'adjustment of ' : ''
    return [
      `${entry.attempt}. ${what}${oneLine(`${entry.provider}/${entry.model}`)} ${entry.cost_usd ?? 'unpriced'}${counted}${priced}`,
      ...(entry.cost_lines ?? []).map(
        ({ type, quantity, cost_usd }) => `     ${type.padEnd(14)} ${quantity} -> ${cost_usd} USD`,
      ),
    ]
  })
  return section('On the ledger', lines)
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `  ${line}`)]
}

function quoted(text: string): string {
  return `"${oneLine(text)}"`
}

function round(ms: number): string {
  return ms < 10 ? ms.toFixed(2) : String(Math.round(ms))
}

/** Of control characters, and of what turns the direction of text around. */
const STEERING =
  // oxlint-disable-next-line no-control-regex -- these are what it is for
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

/** What callers wrote must neither steer the terminal nor pass for lines of ours. */
function oneLine(text: string): string
function oneLine(text: string | null): string | null
function oneLine(text: string | null): string | null {
  if (text === null) return null
  return text.replaceAll(
    STEERING,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
