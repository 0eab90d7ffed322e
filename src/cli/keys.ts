import { Option } from 'commander'
import type { Command } from 'commander'
import { duration } from './durations.ts'
import { EXIT, Failure } from './failure.ts'
import { findKey } from './find-key.ts'
import { addKeyOptions, bodyOf, limitsInWords } from './key-options.ts'
import type { KeyOptions, KeyView } from './key-options.ts'
import { defineInventory } from './keys-inventory.ts'
import { defineLeaks, isSelected, revokeSelected, selectionOptions } from './keys-revoke.ts'
import type { SelectionOptions } from './keys-revoke.ts'
import { SECRET_FORMS, openSecretFile, showSecret } from './key-secret.ts'
import type { NewKey, SecretForm } from './key-secret.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

const COLUMNS: readonly Column<KeyView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'name', value: ({ name }) => name },
  { name: 'status', value: ({ status }) => status },
  { name: 'key', value: ({ prefix, last4 }) => `${prefix}…${last4}` },
  { name: 'models', value: ({ models }) => models.join(',') },
  { name: 'limits', value: (key) => limitsInWords(key) || null },
  { name: 'last_used_at', value: ({ last_used_at }) => last_used_at ?? null },
  { name: 'expires_at', value: ({ expires_at }) => expires_at },
  { name: 'created_at', value: ({ created_at }) => created_at },
]

type RevokeOptions = Changing & SelectionOptions & { readonly yes?: boolean }

interface CreateOptions {
  readonly env?: string
  readonly app?: string
}

interface ListOptions {
  readonly status?: string
  readonly app?: string
  readonly owner?: string
}

interface Changing {
  readonly dryRun?: boolean
}

interface Showing {
  readonly output: SecretForm
  /** File to put the key into, instead of stdout. */
  readonly to?: string
}

export function define(command: Command, session: Session): void {
  const { now } = session.terminal

  command
    .command('list')
    .description('list all keys, newest first')
    .addOption(
      new Option('--status <status>', 'only these').choices([
        'active',
        'disabled',
        'revoked',
        'expired',
      ]),
    )
    .option('--app <application>', 'only of this application, by id or name')
    .option('--owner <user>', 'only of this user, by id')
    .action(async ({ status, app, owner }: ListOptions) => {
      const api = await session.connect()
      const keys = await api.list<KeyView>('/admin/v1/keys', { status, application: app, owner })
      await session.rows(keys, COLUMNS, 'No keys: `tollgate keys create --name web` makes one')
    })

  const create = command
    .command('create')
    .description('create a key and print it, once')
    .option('--name <name>', 'what to call it (required)')
    .option('--env <word>', 'the word in the key that tells its kind, such as live or test')
    .option('--app <application>', 'the application it is for, by id or name')
  addKeyOptions(create, now)
  create
    .addOption(outputOption())
    .addOption(toOption())
    .addOption(dryRunOption())
    .addHelpText('after', EXAMPLES)
    .action(async (options: KeyOptions & Changing & Showing & CreateOptions) => {
      checkForm(session, options)
      // Here, since commander would complain of it before naming a mistyped `--naem`.
      if (options.name === undefined) {
        throw new Failure(EXIT.usage, 'The key needs a name', {
          fix: 'tollgate keys create --name web',
        })
      }
      const body = {
        ...bodyOf(options),
        ...(options.env && { environment: options.env }),
        ...(options.app && { application_id: options.app }),
      }
      await make(session, options, '/admin/v1/keys', body)
    })

  command
    .command('get')
    .description('show one key')
    .argument('<key>', 'id or name')
    .action(async (reference: string) => show(session, await find(session, reference)))

  const update = command
    .command('update')
    .description('change a key; what is not named stays')
    .argument('<key>', 'id or name')
    .option('--name <name>', 'what to call it')
  addKeyOptions(update, now)
  update
    .option('--no-strict', 'allow translations that lose something')
    .addOption(dryRunOption())
    .action(async (reference: string, options: KeyOptions & Changing) => {
      const key = await find(session, reference)
      const body = bodyOf(options, key.limits)
      if (Object.keys(body).length === 0) {
        throw new Failure(EXIT.usage, 'Nothing to change was named', {
          fix: '`tollgate keys update --help` shows what can be',
        })
      }
      const changed = await change<KeyView>(session, options, 'PATCH', pathOf(key), body)
      if (changed !== undefined) show(session, changed)
    })

  command
    .command('roll')
    .description('make a successor with the same rights; both work until the overlap ends')
    .argument('<key>', 'id or name')
    .addOption(
      new Option('--overlap <time>', 'how long the old one still works, at most 7d')
        .argParser(overlap)
        .default(DAY_SECONDS, '24h'),
    )
    .addOption(outputOption())
    .addOption(toOption())
    .addOption(dryRunOption())
    .action(
      async (reference: string, options: Changing & Showing & { readonly overlap: number }) => {
        checkForm(session, options)
        const key = await find(session, reference)
        const path = `${pathOf(key)}/roll`
        const body = { overlap_seconds: options.overlap }
        const made = await make<Rolled>(session, options, path, body)
        if (made === undefined) return
        const api = await session.connect()
        const old = await api.get<KeyView>(pathOf(key))
        const used = made.replaces?.last_used_at
        const last = used === undefined ? '' : ` It was last used ${used ?? 'never'}.`
        session.note(
          old.status === 'disabled'
            ? `The old key ${old.id} (…${old.last4}) stays disabled.${last}`
            : `The old key ${old.id} (…${old.last4}) works until ${old.expires_at}.${last} Both share limits and spend.`,
        )
      },
    )

  for (const [verb, summary, effect] of [
    ['disable', 'stop a key for now', 'is refused from now on; `tollgate keys enable` undoes it'],
    ['enable', 'let a disabled key work again', 'works again'],
  ] as const) {
    command
      .command(verb)
      .description(summary)
      .argument('<key>', 'id or name')
      .option('--reason <words>', 'why')
      .addOption(dryRunOption())
      .action(async (reference: string, options: Changing & { readonly reason?: string }) => {
        const key = await find(session, reference)
        await turn(session, key, verb, options, effect)
      })
  }

  const revoke = command
    .command('revoke')
    .description('end a key for good; its open streams are cut')
    .argument('[key]', 'id or name; or say which with the options')
    .option('-y, --yes', 'do not ask')
  selectionOptions(revoke)
  revoke
    .addOption(dryRunOption())
    .action(async (reference: string | undefined, options: RevokeOptions) => {
      if (isSelected(options)) {
        if (reference === undefined) return revokeSelected(session, options)
        throw new Failure(EXIT.usage, 'Name a key, or say which keys with options; not both')
      }
      if (reference === undefined) {
        throw new Failure(EXIT.usage, 'Which key?', {
          fix: 'name it, or several by --prefix, --app, --owner, --created-from, --created-to',
        })
      }
      const asks = options.yes !== true && options.dryRun !== true
      if (asks && session.terminal.stdin.isTTY !== true) {
        throw new Failure(EXIT.usage, 'Revoking is for good, and nobody is here to be asked', {
          fix: `tollgate keys revoke ${reference.startsWith('sk-tg-') ? '<key>' : reference} --yes`,
        })
      }
      const key = await find(session, reference)
      if (asks) await confirm(session, key)
      await turn(session, key, 'revoke', options, 'is refused for good; its open streams are cut')
      if (options.dryRun !== true) await warnOfPredecessor(session, key)
    })

  defineInventory(command, session)
  defineLeaks(command, session)
}

interface Rolled extends NewKey {
  /** Left out by an older server. */
  readonly replaces?: { readonly last_used_at: string | null }
}

/** Makes a key and shows it, in its file where one is named. */
async function make<T extends NewKey>(
  session: Session,
  options: Changing & Showing,
  path: string,
  body: object,
): Promise<T | undefined> {
  const file =
    options.to === undefined || options.dryRun === true ? undefined : openSecretFile(options.to)
  let made: T | undefined
  try {
    made = await change<T>(session, options, 'POST', path, body)
  } catch (error) {
    file?.discard()
    throw error
  }
  if (made !== undefined) await showSecret(session, made, options.output, file)
  return made
}

function toOption(): Option {
  return new Option('--to <file>', 'put the key into a new file that only you can read')
}

function dryRunOption(): Option {
  return new Option('--dry-run', 'show the change, make none')
}

function outputOption(): Option {
  return new Option('--output <form>', 'how to print the key').choices(SECRET_FORMS).default('text')
}

const DAY_SECONDS = 86_400

const EXAMPLES = `
Examples:
  $ tollgate keys create --name web --models 'simulator/*' --rpm 60 --budget 10.00/month
  $ tollgate keys create --name nightly --expires 30d --output env > .env
  $ KEY=$(tollgate keys create --name ci --env test)`

/** For commander: seconds of an overlap, which may be none. */
function overlap(text: string): number {
  return text === '0' ? 0 : Math.floor(duration(text) / 1000)
}

async function find(session: Session, reference: string): Promise<KeyView> {
  return findKey(await session.connect(), reference)
}

function pathOf({ id }: KeyView): string {
  return `/admin/v1/keys/${encodeURIComponent(id)}`
}

/** Makes a change, or shows it and returns nothing. */
async function change<T>(
  session: Session,
  { dryRun }: Changing,
  method: 'POST' | 'PATCH',
  path: string,
  body?: object,
): Promise<T | undefined> {
  const api = await session.connect()
  if (dryRun !== true) return api.send<T>(method, path, body)
  session.record({ dry_run: true, method, path, body: body ?? null }, () =>
    ['would', method, path, ...(body === undefined ? [] : [JSON.stringify(body)])].join(' '),
  )
  session.note('Nothing was changed.')
  return undefined
}

async function turn(
  session: Session,
  key: KeyView,
  verb: 'disable' | 'enable' | 'revoke',
  options: Changing & { readonly reason?: string },
  effect: string,
): Promise<void> {
  const { reason } = options
  const body = reason === undefined ? undefined : { reason }
  const changed = await change<KeyView>(session, options, 'POST', `${pathOf(key)}/${verb}`, body)
  if (changed === undefined) return
  session.record(changed, ({ id, name, status }) =>
    session.options.quiet === true ? id : `${id}\t${name}\t${status}`,
  )
  session.note(`${key.name} (…${key.last4}) ${effect}.`)
}

/** Whoever ends a leaked key should know that the one it replaced still opens the door. */
async function warnOfPredecessor(session: Session, key: KeyView): Promise<void> {
  const api = await session.connect()
  const working = await api.list<KeyView>('/admin/v1/keys', { status: 'active' })
  const now = new Date(session.terminal.now()).toISOString()
  const predecessor = working.find(
    ({ successor_id, expires_at }) =>
      successor_id === key.id && (expires_at === null || expires_at > now),
  )
  if (predecessor === undefined) return
  const { id, expires_at } = predecessor
  session.note(
    `The key it replaced, ${id}, still works until ${expires_at ?? 'it is revoked'}: tollgate keys revoke ${id}`,
  )
}

function show(session: Session, key: KeyView): void {
  session.record(key, () =>
    [
      ['id', key.id],
      ['name', key.name],
      ['status', key.status_reason == null ? key.status : `${key.status} (${key.status_reason})`],
      ['key', `${key.prefix}…${key.last4}`],
      ['models', key.models.join(',')],
      ['endpoints', key.endpoints.join(',')],
      ['addresses', key.addresses.join(',') || 'any'],
      ['limits', limitsInWords(key) || 'none'],
      ['application', key.application_id ?? ''],
      ['owner', key.owner_id ?? 'none'],
      ['tags', key.tags?.join(',') || 'none'],
      ['strict', key.strict ? 'yes' : 'no'],
      ['created', key.created_at],
      ['expires', key.expires_at ?? 'never'],
      ...(key.successor_id === null ? [] : [['successor', key.successor_id]]),
    ]
      .map(([label = '', value = '']) => `${label.padEnd(11)} ${value}`)
      .join('\n'),
  )
}

function checkForm({ options }: Session, { output }: Showing): void {
  if (options.json !== undefined && output !== 'text' && output !== 'json') {
    throw new Failure(EXIT.usage, `--json and --output ${output} exclude each other`, {
      fix: 'keep one of them',
    })
  }
}

/** Says what will be hit, and wants the name typed. */
async function confirm(session: Session, key: KeyView): Promise<void> {
  const api = await session.connect()
  const from = new Date(session.terminal.now() - DAY_SECONDS * 1000).toISOString()
  const { total } = await api.get<{ readonly total: { readonly requests: number } }>(
    '/admin/v1/costs/report',
    { from, key: key.id },
  )
  const typed = await session.ask(
    `${key.name} (${key.id}, …${key.last4}) had ${total.requests} requests in the last 24 hours. Revoking it is for good.\nType ${key.name} to revoke it: `,
  )
  if (typed?.trim() !== key.name) {
    throw new Failure(EXIT.failed, 'That is not its name: nothing was revoked')
  }
}
