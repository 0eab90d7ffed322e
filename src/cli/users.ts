import { Option } from 'commander'
import type { Command } from 'commander'
import { change, confirm, dryRunOption, inLines, needSome, needed } from './changes.ts'
import type { Changing, Confirming } from './changes.ts'
import { duration } from './durations.ts'
import { findOne } from './find-one.ts'
import type { Kind } from './find-one.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

interface UserView {
  readonly id: string
  readonly name: string
  readonly email: string
  readonly role: string
  readonly status: string
  readonly created_at: string
}

interface TokenView {
  readonly id: string
  readonly name: string
  readonly prefix: string
  readonly last4: string
  readonly status: string
  readonly created_at: string
  readonly expires_at: string | null
  readonly last_used_at: string | null
}

interface UserOptions extends Changing {
  readonly name?: string
  readonly email?: string
  readonly role?: string
}

const KIND: Kind = {
  what: 'user',
  path: '/admin/v1/users',
  idStart: 'user_',
  listing: 'tollgate users list',
}

const COLUMNS: readonly Column<UserView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'name', value: ({ name }) => name },
  { name: 'email', value: ({ email }) => email },
  { name: 'role', value: ({ role }) => role },
  { name: 'status', value: ({ status }) => status },
  { name: 'created_at', value: ({ created_at }) => created_at },
]

const TOKEN_COLUMNS: readonly Column<TokenView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'name', value: ({ name }) => name },
  { name: 'status', value: ({ status }) => status },
  { name: 'token', value: ({ prefix, last4 }) => `${prefix}…${last4}` },
  { name: 'expires_at', value: ({ expires_at }) => expires_at },
  { name: 'last_used_at', value: ({ last_used_at }) => last_used_at },
  { name: 'created_at', value: ({ created_at }) => created_at },
]

export function define(command: Command, session: Session): void {
  command
    .command('list')
    .description('list users, newest first')
    .option('--role <role>', 'only of this role')
    .addOption(new Option('--status <status>', 'only these').choices(['active', 'disabled']))
    .action(async ({ role, status }: { readonly role?: string; readonly status?: string }) => {
      const api = await session.connect()
      const users = await api.list<UserView>(KIND.path, { role, status })
      await session.rows(users, COLUMNS, 'No users: `tollgate users create` makes one')
    })

  withOptions(command.command('create').description('create a user'))
    .addHelpText('after', EXAMPLES)
    .action(async (options: UserOptions) => {
      const example = 'tollgate users create --name Ada --email ada@example.com --role developer'
      const body = {
        name: needed(options.name, 'A name', example),
        email: needed(options.email, 'An e-mail address', example),
        role: needed(options.role, 'A role', example),
      }
      const made = await change<UserView>(session, options, 'POST', KIND.path, body)
      if (made === undefined) return
      show(session, made)
      session.note(`tollgate users tokens create ${made.email} --name laptop makes a token`)
    })

  command
    .command('get')
    .description('show one user')
    .argument('<user>', 'id, e-mail address or name')
    .action(async (reference: string) => show(session, await find(session, reference)))

  withOptions(
    command
      .command('update')
      .description('change a user; what is not named stays')
      .argument('<user>', 'id, e-mail address or name'),
  ).action(async (reference: string, options: UserOptions) => {
    const { name, email, role } = options
    const body = {
      ...(name !== undefined && { name }),
      ...(email !== undefined && { email }),
      ...(role !== undefined && { role }),
    }
    needSome(body, 'tollgate users update')
    const { id } = await find(session, reference)
    const changed = await change<UserView>(session, options, 'PATCH', pathOf(id), body)
    if (changed !== undefined) show(session, changed)
  })

  for (const [verb, status, summary] of [
    ['disable', 'disabled', 'refuse all tokens of a user; keys they own go on'],
    ['enable', 'active', 'let a disabled user work again'],
  ] as const) {
    command
      .command(verb)
      .description(summary)
      .argument('<user>', 'id, e-mail address or name')
      .addOption(dryRunOption())
      .action(async (reference: string, options: Changing) => {
        const { id } = await find(session, reference)
        const changed = await change<UserView>(session, options, 'PATCH', pathOf(id), { status })
        if (changed !== undefined) show(session, changed)
      })
  }

  defineTokens(command.command('tokens').description('what users prove themselves with'), session)
}

function defineTokens(command: Command, session: Session): void {
  command
    .command('list')
    .description('list tokens of a user, newest first')
    .argument('<user>', 'id, e-mail address or name; me: your own')
    .action(async (reference: string) => {
      const api = await session.connect()
      const path = await tokensPath(session, reference)
      await session.rows(await api.list<TokenView>(path), TOKEN_COLUMNS, 'No tokens')
    })

  command
    .command('create')
    .description('create a token and print it, once')
    .argument('<user>', 'id, e-mail address or name; me: yourself')
    .option('--name <name>', 'what to call it')
    .option('--expires <time>', 'when it ends: a moment, or 90d from now', (text) =>
      expiry(text, session.terminal.now()),
    )
    .addOption(dryRunOption())
    .action(
      async (
        reference: string,
        options: Changing & { readonly name?: string; readonly expires?: string },
      ) => {
        const example = 'tollgate users tokens create me --name laptop'
        const name = needed(options.name, 'A name', example)
        const path = await tokensPath(session, reference)
        const made = await change<TokenView & { readonly secret: string }>(
          session,
          options,
          'POST',
          path,
          { name, ...(options.expires !== undefined && { expires_at: options.expires }) },
        )
        if (made === undefined) return
        session.record(made, ({ secret }) => secret)
        const end = made.expires_at === null ? 'never expires' : `expires ${made.expires_at}`
        session.note(`${made.name} (${made.id}) ${end}; it is shown this once.`)
        session.note('TOLLGATE_ADMIN_KEY=<the token> tollgate whoami tries it')
      },
    )

  command
    .command('revoke')
    .description('end a token for good')
    .argument('<user>', 'id, e-mail address or name; me: your own')
    .argument('<token>', 'id or name')
    .option('-y, --yes', 'do not ask')
    .addOption(dryRunOption())
    .action(async (reference: string, called: string, options: Confirming) => {
      const path = await tokensPath(session, reference)
      const token = await findOne<TokenView>(
        await session.connect(),
        { what: 'token', path, idStart: 'utok_', listing: 'tollgate users tokens list' },
        called,
      )
      await confirm(session, options, token.name, `The token ${token.name} ends for good.`)
      const revoked = await change<TokenView>(
        session,
        options,
        'POST',
        `${path}/${encodeURIComponent(token.id)}/revoke`,
      )
      if (revoked === undefined) return
      session.record(revoked, ({ id, name, status }) =>
        session.options.quiet === true ? id : `${id}\t${name}\t${status}`,
      )
    })
}

const EXAMPLES = `
Examples:
  $ tollgate users create --name Ada --email ada@example.com --role developer
  $ TOLLGATE_ADMIN_KEY=$(tollgate users tokens create ada@example.com --name laptop)`

function withOptions(command: Command): Command {
  return command
    .option('--name <name>', 'what they are called')
    .option('--email <address>', 'their e-mail address')
    .option('--role <role>', 'owner, admin, lead, author, developer, viewer or auditor')
    .addOption(dryRunOption())
}

/** A moment as it is, a duration from now. */
function expiry(text: string, now: number): string {
  return /^\d{4}-/.test(text) && !Number.isNaN(Date.parse(text))
    ? new Date(text).toISOString()
    : new Date(now + duration(text)).toISOString()
}

async function find(session: Session, reference: string): Promise<UserView> {
  return findOne<UserView>(await session.connect(), KIND, reference)
}

async function tokensPath(session: Session, reference: string): Promise<string> {
  const id = reference === 'me' ? 'me' : (await find(session, reference)).id
  return `${pathOf(id)}/tokens`
}

function pathOf(id: string): string {
  return `${KIND.path}/${encodeURIComponent(id)}`
}

function show(session: Session, user: UserView): void {
  session.record(user, () =>
    session.options.quiet === true
      ? user.id
      : inLines({
          id: user.id,
          name: user.name,
          email: user.email,
          role: user.role,
          status: user.status,
          created: user.created_at,
        }),
  )
}
