import { Option } from 'commander'
import type { Command } from 'commander'
import type { AdminApi } from './admin-api.ts'
import { change, confirm, dryRunOption, inLines, needSome } from './changes.ts'
import type { Changing, Confirming } from './changes.ts'
import { duration } from './durations.ts'
import { findOne } from './find-one.ts'
import type { Kind } from './find-one.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

interface WebhookView {
  readonly id: string
  readonly name: string
  readonly url: string
  readonly types: readonly string[]
  readonly allow_private_network: boolean
  readonly status: string
  readonly status_reason: string | null
  readonly failing_since: string | null
  readonly created_at: string
}

interface NewWebhook extends WebhookView {
  /** What goes by mail is not signed. */
  readonly secret: string | null
}

interface DeliveryView {
  readonly id: string
  readonly event_id: string
  readonly event_type: string
  readonly status: string
  readonly attempts: number
  readonly next_attempt_at: string | null
  readonly response_status: number | null
  readonly error: string | null
  readonly duration_ms: number | null
  readonly created_at: string
}

interface WebhookOptions extends Changing {
  readonly name?: string
  readonly url?: string
  readonly types?: readonly string[]
  readonly allowPrivateNetwork?: 'true' | 'false'
  readonly status?: string
}

const KIND: Kind = {
  what: 'webhook',
  path: '/admin/v1/webhooks',
  idStart: 'whk_',
  listing: 'tollgate webhooks list',
}

const COLUMNS: readonly Column<WebhookView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'name', value: ({ name }) => name },
  { name: 'url', value: ({ url }) => url },
  { name: 'types', value: ({ types }) => types.join(',') },
  { name: 'status', value: statusInWords },
  { name: 'failing_since', value: ({ failing_since }) => failing_since },
]

const DELIVERY_COLUMNS: readonly Column<DeliveryView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'at', value: ({ created_at }) => created_at },
  { name: 'event', value: ({ event_type }) => event_type },
  { name: 'status', value: ({ status }) => status },
  { name: 'attempts', value: ({ attempts }) => attempts },
  { name: 'answer', value: ({ response_status, error }) => response_status ?? error },
  { name: 'ms', value: ({ duration_ms }) => duration_ms },
  { name: 'next_attempt_at', value: ({ next_attempt_at }) => next_attempt_at },
]

/** How a command takes a webhook. */
const REFERENCE = ['<webhook>', 'id, name or URL'] as const

export function define(command: Command, session: Session): void {
  command
    .command('list')
    .description('list webhooks, newest first')
    .action(async () => {
      const api = await session.connect()
      const none = 'No webhooks: `tollgate webhooks create` makes one'
      await session.rows(await api.list<WebhookView>(KIND.path), COLUMNS, none)
    })

  withOptions(
    command
      .command('create')
      .description('send events to a URL, signed; prints the secret they are signed with, once')
      .argument('<url>', 'where to: https://...'),
  )
    .addHelpText('after', EXAMPLES)
    .action(async (url: string, { name, ...options }: WebhookOptions) => {
      const body = { name: name ?? hostOf(url), url, ...bodyOf(options) }
      await makeSecret(session, options, KIND.path, body, 'keep it now')
    })

  withOptions(
    command
      .command('update')
      .description('change a webhook; what is not named stays')
      .argument(...REFERENCE),
  )
    .option('--url <url>', 'where to send')
    .addOption(
      new Option('--status <status>', 'active starts anew').choices(['active', 'disabled']),
    )
    .action(async (reference: string, options: WebhookOptions) => {
      const body = bodyOf(options)
      needSome(body, 'tollgate webhooks update')
      const { id } = await find(session, reference)
      const changed = await change<WebhookView>(session, options, 'PATCH', pathOf(id), body)
      if (changed !== undefined) show(session, changed)
    })

  command
    .command('delete')
    .description('delete a webhook with the log of what was sent')
    .argument(...REFERENCE)
    .option('-y, --yes', 'do not ask')
    .addOption(dryRunOption())
    .action(async (reference: string, options: Confirming) => {
      const { id, name } = await find(session, reference)
      await confirm(session, options, name, `Nothing more is sent to ${name}, and its log is gone.`)
      const gone = await change<{ readonly id: string }>(session, options, 'DELETE', pathOf(id))
      if (gone !== undefined) session.record(gone, () => id)
    })

  command
    .command('test')
    .description('send a test event')
    .argument(...REFERENCE)
    .addOption(dryRunOption())
    .action(async (reference: string, options: Changing) => {
      const { id } = await find(session, reference)
      const path = `${pathOf(id)}/test`
      const made = await change<DeliveryView>(session, options, 'POST', path)
      if (made === undefined) return
      session.record(made, inWords)
      session.note(`tollgate webhooks deliveries list ${id} tells how it went`)
    })

  defineDeliveries(
    command.command('deliveries').description('what was sent, and how it went'),
    session,
  )

  command
    .command('secret')
    .description('what messages are signed with')
    .command('roll')
    .description('make a new secret and print it, once; for a while both sign')
    .argument(...REFERENCE)
    .addOption(
      new Option('--overlap <time>', 'how long the old one signs too (default: 1d)').argParser(
        (text) => (text === '0' ? 0 : duration(text) / 1000),
      ),
    )
    .addOption(dryRunOption())
    .action(
      async (
        reference: string,
        { overlap, ...options }: Changing & { readonly overlap?: number },
      ) => {
        const { id } = await find(session, reference)
        const body = overlap === undefined ? {} : { overlap_seconds: Math.ceil(overlap) }
        const words = 'the old one signs too until the overlap ends'
        await makeSecret(session, options, `${pathOf(id)}/secret/roll`, body, words)
      },
    )
}

function defineDeliveries(command: Command, session: Session): void {
  command
    .command('list')
    .description('list deliveries of the last 30 days, newest first')
    .argument(...REFERENCE)
    .action(async (reference: string) => {
      const { id } = await find(session, reference)
      const api = await session.connect()
      const found = await api.list<DeliveryView>(`${pathOf(id)}/deliveries`)
      await session.rows(found, DELIVERY_COLUMNS, 'Nothing was sent')
    })

  command
    .command('resend')
    .description('send an event again, under the same message id')
    .argument(...REFERENCE)
    .argument('<delivery>', 'id')
    .addOption(dryRunOption())
    .action(async (reference: string, delivery: string, options: Changing) => {
      const { id } = await find(session, reference)
      const path = `${pathOf(id)}/deliveries/${encodeURIComponent(delivery)}/resend`
      const made = await change<DeliveryView>(session, options, 'POST', path)
      if (made !== undefined) session.record(made, inWords)
    })
}

const EXAMPLES = `
Examples:
  $ tollgate webhooks create https://ops.example.com/tollgate --name ops
  $ tollgate webhooks create https://ops.example.com/b --types budget.threshold_reached,budget.exhausted`

function withOptions(command: Command): Command {
  return command
    .option('--name <name>', 'what to call it')
    .option(
      '--types <types>',
      'only these, comma-separated; `tollgate alerts list` shows all',
      list,
    )
    .addOption(
      new Option('--allow-private-network [yes]', 'it may lead to a private address')
        .choices(['true', 'false'])
        .preset('true'),
    )
    .addOption(dryRunOption())
}

function list(text: string): readonly string[] {
  return text.split(',').flatMap((word) => word.trim() || [])
}

function bodyOf({ name, url, types, allowPrivateNetwork, status }: WebhookOptions): object {
  return {
    ...(name !== undefined && { name }),
    ...(url !== undefined && { url }),
    ...(types !== undefined && { types }),
    ...(allowPrivateNetwork !== undefined && {
      allow_private_network: allowPrivateNetwork === 'true',
    }),
    ...(status !== undefined && { status }),
  }
}

/** The secret alone goes to stdout, so that it can be piped. */
async function makeSecret(
  session: Session,
  options: Changing,
  path: string,
  body: object,
  words: string,
): Promise<void> {
  const made = await change<NewWebhook>(session, options, 'POST', path, body)
  if (made === undefined) return
  session.record(made, ({ id, secret }) => secret ?? id)
  const shown =
    made.secret === null ? 'it is not signed' : `its secret is shown this once: ${words}`
  session.note(`${made.name} (${made.id}); ${shown}.`)
  session.note(`tollgate webhooks test ${made.id} tries it`)
}

async function find(session: Session, reference: string): Promise<WebhookView> {
  const api: AdminApi = await session.connect()
  const all = reference.includes(':') ? await api.list<WebhookView>(KIND.path) : []
  const [byUrl, ...others] = all.filter(({ url }) => url === reference)
  if (byUrl !== undefined && others.length === 0) return byUrl
  return findOne<WebhookView>(api, KIND, reference)
}

function hostOf(url: string): string {
  const parsed = URL.parse(url)
  return (parsed?.host || parsed?.pathname || url).slice(0, 100)
}

function pathOf(id: string): string {
  return `${KIND.path}/${encodeURIComponent(id)}`
}

function statusInWords({ status, status_reason }: WebhookView): string {
  return status_reason === null ? status : `${status} (${status_reason})`
}

function inWords({ id, event_type, status }: DeliveryView): string {
  return `${id}\t${event_type}\t${status}`
}

function show(session: Session, webhook: WebhookView): void {
  session.record(webhook, () =>
    session.options.quiet === true
      ? webhook.id
      : inLines({
          id: webhook.id,
          name: webhook.name,
          url: webhook.url,
          types: webhook.types.join(','),
          private: webhook.allow_private_network ? 'allowed' : 'no',
          status: statusInWords(webhook),
          failing_since: webhook.failing_since,
          created: webhook.created_at,
        }),
  )
}
