import { Option } from 'commander'
import type { Command } from 'commander'
import { change, confirm, dryRunOption, inLines, needSome, needed } from './changes.ts'
import type { Changing, Confirming } from './changes.ts'
import { findOne } from './find-one.ts'
import type { Kind } from './find-one.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

interface TenantView {
  readonly id: string
  readonly name: string
  readonly status: string
  readonly time_zone: string | null
  readonly effective_time_zone: string
  readonly currency: string
  readonly week_starts_on: string
  readonly month_starts_on: number
  readonly created_at: string
}

interface TenantOptions extends Changing {
  readonly name?: string
  readonly timeZone?: string
  readonly currency?: string
  readonly weekStartsOn?: string
  readonly monthStartsOn?: string
}

const KIND: Kind = {
  what: 'tenant',
  path: '/admin/v1/tenants',
  idStart: 'tenant_',
  listing: 'tollgate tenants list',
}

const COLUMNS: readonly Column<TenantView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'name', value: ({ name }) => name },
  { name: 'status', value: ({ status }) => status },
  { name: 'time_zone', value: (tenant) => tenant.effective_time_zone },
  { name: 'currency', value: ({ currency }) => currency },
  { name: 'created_at', value: ({ created_at }) => created_at },
]

const WEEKDAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']

export function define(command: Command, session: Session): void {
  command
    .command('list')
    .description('list tenants, newest first')
    .addOption(new Option('--status <status>', 'only these').choices(['active', 'archived']))
    .action(async ({ status }: { readonly status?: string }) => {
      const api = await session.connect()
      await session.rows(await api.list<TenantView>(KIND.path, { status }), COLUMNS)
    })

  withOptions(command.command('create').description('create a tenant'))
    .addHelpText('after', EXAMPLES)
    .action(async (options: TenantOptions) => {
      const name = needed(options.name, 'A name', 'tollgate tenants create --name acme')
      const made = await change<TenantView>(session, options, 'POST', KIND.path, {
        ...bodyOf(options),
        name,
      })
      if (made === undefined) return
      show(session, made)
      session.note(`tollgate --tenant ${JSON.stringify(name)} users create adds its first user`)
    })

  withOptions(
    command
      .command('update')
      .description('change a tenant; what is not named stays')
      .argument('<tenant>', 'id or name'),
  ).action(async (reference: string, options: TenantOptions) => {
    const body = bodyOf(options)
    needSome(body, 'tollgate tenants update')
    const { id } = await find(session, reference)
    const changed = await change<TenantView>(session, options, 'PATCH', pathOf(id), body)
    if (changed !== undefined) show(session, changed)
  })

  command
    .command('get')
    .description('show one tenant')
    .argument('<tenant>', 'id or name')
    .action(async (reference: string) => show(session, await find(session, reference)))

  command
    .command('archive')
    .description('stop a tenant: its keys and tokens are refused, its history stays')
    .argument('<tenant>', 'id or name')
    .option('-y, --yes', 'do not ask')
    .addOption(dryRunOption())
    .action(async (reference: string, options: Confirming) => {
      const { id, name } = await find(session, reference)
      const effect = `Every key and token of ${name} (${id}) is refused at once.`
      await confirm(session, options, name, effect)
      const changed = await change<TenantView>(session, options, 'POST', `${pathOf(id)}/archive`)
      if (changed !== undefined) show(session, changed)
    })

  command
    .command('restore')
    .description('let an archived tenant work again')
    .argument('<tenant>', 'id or name')
    .addOption(dryRunOption())
    .action(async (reference: string, options: Changing) => {
      const { id } = await find(session, reference)
      const changed = await change<TenantView>(session, options, 'POST', `${pathOf(id)}/restore`)
      if (changed !== undefined) show(session, changed)
    })
}

const EXAMPLES = `
Examples:
  $ tollgate tenants create --name acme --time-zone Europe/Warsaw --month-starts-on 15
  $ tollgate --tenant acme keys create --name web`

function withOptions(command: Command): Command {
  return command
    .option('--name <name>', 'what to call it')
    .option('--time-zone <zone>', 'IANA zone of its budgets and reports; none: the setting')
    .option('--currency <label>', 'what amounts are called in its statements')
    .addOption(new Option('--week-starts-on <day>', 'first day of its weeks').choices(WEEKDAYS))
    .option('--month-starts-on <day>', 'day on which its months begin, 1 to 28')
    .addOption(dryRunOption())
}

function bodyOf(options: TenantOptions): object {
  const { name, timeZone, currency, weekStartsOn, monthStartsOn } = options
  return {
    ...(name !== undefined && { name }),
    ...(timeZone !== undefined && { time_zone: timeZone === 'none' ? null : timeZone }),
    ...(currency !== undefined && { currency }),
    ...(weekStartsOn !== undefined && { week_starts_on: weekStartsOn }),
    ...(monthStartsOn !== undefined && { month_starts_on: Number(monthStartsOn) }),
  }
}

async function find(session: Session, reference: string): Promise<TenantView> {
  return findOne<TenantView>(await session.connect(), KIND, reference)
}

function pathOf(id: string): string {
  return `${KIND.path}/${encodeURIComponent(id)}`
}

function show(session: Session, tenant: TenantView): void {
  session.record(tenant, () => {
    if (session.options.quiet === true) return tenant.id
    const { time_zone, effective_time_zone, ...rest } = tenant
    return inLines({
      id: rest.id,
      name: rest.name,
      status: rest.status,
      time_zone: time_zone ?? `${effective_time_zone} (the installation's)`,
      currency: rest.currency,
      week_starts_on: rest.week_starts_on,
      month_starts_on: rest.month_starts_on,
      created: rest.created_at,
    })
  })
}
