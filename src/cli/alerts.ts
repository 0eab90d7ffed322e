import { InvalidArgumentError, Option } from 'commander'
import type { Command } from 'commander'
import { change, dryRunOption } from './changes.ts'
import type { Changing } from './changes.ts'
import { moment } from './durations.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

interface AlertView {
  readonly id: string
  readonly summary: string
  readonly muted: boolean
  readonly muted_until: string | null
  readonly muted_subjects: readonly { readonly subject: string; readonly until: string | null }[]
}

interface EventView {
  readonly id: string
  readonly type: string
  readonly subject: string
  readonly created_at: string
  readonly muted: boolean
  readonly data: Readonly<Record<string, unknown>>
}

interface MuteOptions extends Changing {
  readonly subject?: string
  readonly until?: string
}

const PATH = '/admin/v1/alerts'

const COLUMNS: readonly Column<AlertView>[] = [
  { name: 'type', value: ({ id }) => id },
  { name: 'told', value: toldInWords },
  { name: 'summary', value: ({ summary }) => summary },
]

const EVENT_COLUMNS: readonly Column<EventView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'at', value: ({ created_at }) => created_at },
  { name: 'type', value: ({ type }) => type },
  { name: 'subject', value: ({ subject }) => subject },
  { name: 'muted', value: ({ muted }) => (muted ? 'muted' : null) },
  { name: 'details', value: detailsOf },
]

export function define(command: Command, session: Session): void {
  command
    .command('list')
    .description('what there is to be told of, and what is muted')
    .action(async () => {
      const api = await session.connect()
      await session.rows(await api.list<AlertView>(PATH), COLUMNS)
    })

  command
    .command('history')
    .description('what happened, newest first, muted or not')
    .option('--type <type>', 'only of this type')
    .option('--limit <number>', 'at most so many', count, 50)
    .action(async ({ type = '-', limit }: { readonly type?: string; readonly limit: number }) => {
      const api = await session.connect()
      const { data } = await api.get<{ readonly data: readonly EventView[] }>(
        `${PATH}/${encodeURIComponent(type)}/events`,
        { limit: String(limit) },
      )
      await session.rows(data, EVENT_COLUMNS, 'Nothing happened that is to be told of')
    })

  for (const [verb, summary] of [
    ['mute', 'tell nobody of it; it is still written down'],
    ['unmute', 'tell of it again'],
  ] as const) {
    const defined = command
      .command(verb)
      .description(summary)
      .argument('<type>', 'such as budget.threshold_reached; `tollgate alerts list` shows all')
      .option('--subject <subject>', 'only what is about this, such as key:key_1; see `history`')
    if (verb === 'mute') {
      defined.addOption(
        new Option('--until <when>', 'until a moment, or for 12h from now').argParser((text) =>
          moment(text, session.terminal.now()),
        ),
      )
    }
    defined
      .addOption(dryRunOption())
      .action(async (type: string, { subject, until, ...options }: MuteOptions) => {
        const body = {
          ...(subject !== undefined && { subject }),
          ...(until !== undefined && until !== 'never' && { until }),
        }
        const path = `${PATH}/${encodeURIComponent(type)}/${verb}`
        const changed = await change<AlertView>(session, options, 'POST', path, body)
        if (changed === undefined) return
        session.record(changed, (alert) => `${alert.id}\t${toldInWords(alert)}`)
      })
  }
}

function toldInWords({ muted, muted_until, muted_subjects }: AlertView): string {
  if (muted) return muted_until === null ? 'muted' : `muted until ${muted_until}`
  if (muted_subjects.length === 0) return 'on'
  const subjects = muted_subjects.map(({ subject, until }) =>
    until === null ? subject : `${subject} until ${until}`,
  )
  return `on, but for ${subjects.join(', ')}`
}

/** What tells one event from the next; the rest is in --json. */
function detailsOf({ data }: EventView): string | null {
  const { threshold_percent: percent, spent, limit, reason, expires_at: expires } = data
  const words = [
    ...(typeof percent === 'number' ? [`${percent} %`] : []),
    ...(typeof spent === 'string' && typeof limit === 'string' ? [`${spent} of ${limit} USD`] : []),
    ...(typeof reason === 'string' ? [reason] : []),
    ...(typeof expires === 'string' ? [`expires ${expires}`] : []),
  ]
  return words.join(', ') || null
}

/** A page is no longer. */
const MOST_ROWS = 100

function count(text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && number >= 1 && number <= MOST_ROWS) return number
  throw new InvalidArgumentError(`Expected a number from 1 to ${MOST_ROWS}.`)
}
