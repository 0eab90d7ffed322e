import { Option } from 'commander'
import type { Command } from 'commander'
import { change, confirm, dryRunOption, inLines, needSome, needed } from './changes.ts'
import type { Changing, Confirming } from './changes.ts'
import { findOne } from './find-one.ts'
import type { Kind } from './find-one.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

interface ApplicationView {
  readonly id: string
  readonly name: string
  readonly status: string
  readonly description: string
  readonly owner_id: string | null
  readonly environment: string | null
  readonly tags: readonly string[]
  readonly created_at: string
}

interface ApplicationOptions extends Changing {
  readonly name?: string
  readonly description?: string
  readonly owner?: string
  readonly env?: string
  readonly tags?: string
}

const KIND: Kind = {
  what: 'application',
  path: '/admin/v1/applications',
  idStart: 'app_',
  listing: 'tollgate apps list',
}

const COLUMNS: readonly Column<ApplicationView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'name', value: ({ name }) => name },
  { name: 'status', value: ({ status }) => status },
  { name: 'environment', value: ({ environment }) => environment },
  { name: 'owner', value: ({ owner_id }) => owner_id },
  { name: 'tags', value: ({ tags }) => tags.join(',') || null },
  { name: 'created_at', value: ({ created_at }) => created_at },
]

export function define(command: Command, session: Session): void {
  command
    .command('list')
    .description('list applications, newest first')
    .addOption(new Option('--status <status>', 'only these').choices(['active', 'archived']))
    .option('--owner <user>', 'only of this user, by id or e-mail address')
    .option('--env <word>', 'only of this environment')
    .option('--tag <tag>', 'only with this tag')
    .action(
      async (options: {
        readonly status?: string
        readonly owner?: string
        readonly env?: string
        readonly tag?: string
      }) => {
        const api = await session.connect()
        const { status, owner, env: environment, tag } = options
        const query = { status, owner, environment, tag }
        const rows = await api.list<ApplicationView>(KIND.path, query)
        await session.rows(
          rows,
          COLUMNS,
          'No applications: `tollgate apps create --name web` makes one',
        )
      },
    )

  withOptions(command.command('create').description('create an application')).action(
    async (options: ApplicationOptions) => {
      const name = needed(options.name, 'A name', 'tollgate apps create --name web')
      const body = { ...bodyOf(options), name }
      const made = await change<ApplicationView>(session, options, 'POST', KIND.path, body)
      if (made !== undefined) show(session, made)
    },
  )

  command
    .command('get')
    .description('show one application')
    .argument('<application>', 'id or name')
    .action(async (reference: string) => show(session, await find(session, reference)))

  withOptions(
    command
      .command('update')
      .description('change an application; what is not named stays')
      .argument('<application>', 'id or name'),
  ).action(async (reference: string, options: ApplicationOptions) => {
    const body = bodyOf(options)
    needSome(body, 'tollgate apps update')
    const { id } = await find(session, reference)
    const changed = await change<ApplicationView>(session, options, 'PATCH', pathOf(id), body)
    if (changed !== undefined) show(session, changed)
  })

  command
    .command('archive')
    .description('stop an application: its keys are refused, its history stays')
    .argument('<application>', 'id or name')
    .option('-y, --yes', 'do not ask')
    .addOption(dryRunOption())
    .action(async (reference: string, options: Confirming) => {
      const { id, name } = await find(session, reference)
      await confirm(session, options, name, `Every key of ${name} (${id}) is refused at once.`)
      const path = `${pathOf(id)}/archive`
      const changed = await change<ApplicationView>(session, options, 'POST', path)
      if (changed !== undefined) show(session, changed)
    })

  command
    .command('restore')
    .description('let an archived application work again')
    .argument('<application>', 'id or name')
    .addOption(dryRunOption())
    .action(async (reference: string, options: Changing) => {
      const { id } = await find(session, reference)
      const path = `${pathOf(id)}/restore`
      const changed = await change<ApplicationView>(session, options, 'POST', path)
      if (changed !== undefined) show(session, changed)
    })
}

function withOptions(command: Command): Command {
  return command
    .option('--name <name>', 'what to call it')
    .option('--description <text>', 'what it is for')
    .option('--owner <user>', 'who answers for it: id or e-mail address; none: nobody')
    .option('--env <word>', 'such as production; none: no environment')
    .option('--tags <tags>', 'comma-separated; they stand on all its requests; none: no tags')
    .addOption(dryRunOption())
}

function bodyOf({ name, description, owner, env, tags }: ApplicationOptions): object {
  return {
    ...(name !== undefined && { name }),
    ...(description !== undefined && { description }),
    ...(owner !== undefined && { owner_id: owner === 'none' ? null : owner }),
    ...(env !== undefined && { environment: env === 'none' ? null : env }),
    ...(tags !== undefined && {
      tags: tags === 'none' ? [] : tags.split(',').filter((tag) => tag !== ''),
    }),
  }
}

async function find(session: Session, reference: string): Promise<ApplicationView> {
  return findOne<ApplicationView>(await session.connect(), KIND, reference)
}

function pathOf(id: string): string {
  return `${KIND.path}/${encodeURIComponent(id)}`
}

function show(session: Session, application: ApplicationView): void {
  session.record(application, () =>
    session.options.quiet === true
      ? application.id
      : inLines({
          id: application.id,
          name: application.name,
          status: application.status,
          description: application.description || null,
          owner: application.owner_id,
          environment: application.environment,
          tags: application.tags.join(',') || null,
          created: application.created_at,
        }),
  )
}
