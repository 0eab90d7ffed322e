import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { EXIT, Failure } from './failure.ts'
import type { KeyView } from './key-options.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

/** Which keys are meant, all of it together. */
export interface SelectionOptions {
  readonly prefix?: string
  readonly app?: string
  readonly owner?: string
  readonly createdFrom?: string
  readonly createdTo?: string
  readonly reason?: string
}

interface Revocation {
  readonly count: number
  readonly used_last_hour: number
  readonly data: readonly Hit[]
  readonly has_more: boolean
}

interface Hit extends KeyView {
  readonly requests_last_hour: number
}

const HITS: readonly Column<Hit>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'name', value: ({ name }) => name },
  { name: 'status', value: ({ status }) => status },
  { name: 'key', value: ({ prefix, last4 }) => `${prefix}…${last4}` },
  { name: 'requests_last_hour', value: ({ requests_last_hour }) => requests_last_hour },
]

export function selectionOptions(command: Command): void {
  command
    .option('--prefix <text>', 'every key that begins so, such as sk-tg-test-')
    .option('--app <application>', 'every key of this application, by id or name')
    .option('--owner <user>', 'every key of this user, by id')
    .option('--created-from <moment>', 'every key made since, RFC 3339')
    .option('--created-to <moment>', 'every key made before, RFC 3339')
    .option('--reason <words>', 'why')
}

export function isSelected(options: SelectionOptions): boolean {
  const { prefix, app, owner, createdFrom, createdTo } = options
  return [prefix, app, owner, createdFrom, createdTo].some((one) => one !== undefined)
}

/** Revokes all keys that the options mean, once it was shown which and someone agreed. */
export async function revokeSelected(
  session: Session,
  options: SelectionOptions & { readonly yes?: boolean; readonly dryRun?: boolean },
): Promise<void> {
  const asks = options.yes !== true && options.dryRun !== true
  if (asks && session.terminal.stdin.isTTY !== true) {
    throw new Failure(EXIT.usage, 'Revoking is for good, and nobody is here to be asked', {
      fix: 'look with --dry-run first, then give --yes',
    })
  }
  const api = await session.connect()
  const path = '/admin/v1/keys/revoke'
  const body = bodyOf(options)
  const meant = await api.send<Revocation>('POST', path, { ...body, dry_run: true })
  if (meant.count === 0 || options.dryRun === true) {
    await session.rows(meant.data, HITS, 'No key is meant.')
    session.note(inWords(meant, 'Nothing was changed.'))
    return
  }
  if (asks) {
    await session.rows(meant.data, HITS)
    const typed = await session.ask(
      `${inWords(meant, 'Revoking them is for good.')}\nType ${meant.count} to revoke them: `,
    )
    if (typed?.trim() !== String(meant.count)) {
      throw new Failure(EXIT.failed, 'That is not their number: nothing was revoked')
    }
  }
  const revoked: Hit[] = []
  for (let expected = meant.count; expected > 0;) {
    const { data } = await api.send<Revocation>('POST', path, { ...body, expected })
    revoked.push(...data)
    if (data.length === 0) break
    expected -= data.length
  }
  if (!asks) await session.rows(revoked, HITS)
  session.note(`${revoked.length} keys are refused for good; their open streams are cut.`)
}

function inWords({ count, used_last_hour, has_more }: Revocation, rest: string): string {
  const ofThese = has_more ? ' of the first of them' : ''
  return `${count} keys are meant; ${used_last_hour}${ofThese} were used in the last hour. ${rest}`
}

function bodyOf(options: SelectionOptions): Readonly<Record<string, string>> {
  const { prefix, app, owner, createdFrom, createdTo, reason } = options
  return {
    // A whole key may be pasted here: all but its public part stays on this machine.
    ...(prefix !== undefined && { prefix: prefix.replace(/^(sk-tg-\w+-\w{8}).*$/, '$1') }),
    ...(app !== undefined && { application_id: app }),
    ...(owner !== undefined && { owner_id: owner }),
    ...(createdFrom !== undefined && { created_from: createdFrom }),
    ...(createdTo !== undefined && { created_to: createdTo }),
    ...(reason !== undefined && { reason }),
  }
}

/** `keys leaked`: the secrets come by stdin, never as arguments, which others can see. */
export function defineLeaks(command: Command, session: Session): void {
  command
    .command('report-leak')
    .description('freeze keys that were found somewhere; they are read from stdin, one per line')
    .action(async () => {
      if (session.terminal.stdin.isTTY === true) session.note('Paste the keys, then Ctrl-D:')
      const lines = (await text(session.terminal.stdin)).split(/\s+/).filter((line) => line !== '')
      if (lines.length === 0) {
        throw new Failure(EXIT.usage, 'No key came by stdin', {
          fix: 'tollgate keys report-leak < found.txt',
        })
      }
      const api = await session.connect()
      const rows: { readonly key: string; readonly status: string; readonly id: string | null }[] =
        []
      for (let at = 0; at < lines.length; at += 100) {
        const some = lines.slice(at, at + 100)
        const { data } = await api.send<{
          readonly data: readonly { readonly status: string; readonly key_id: string | null }[]
        }>('POST', '/admin/v1/keys/leaks', { tokens: some.map((token) => ({ token })) })
        rows.push(
          ...data.map(({ status, key_id }, index) => ({
            key: `…${some[index]?.slice(-4) ?? ''}`,
            status,
            id: key_id,
          })),
        )
      }
      await session.rows(rows, [
        { name: 'key', value: ({ key }) => key },
        { name: 'status', value: ({ status }) => status },
        { name: 'id', value: ({ id }) => id },
      ])
      if (rows.some(({ status }) => status === 'frozen')) {
        session.note('`tollgate keys roll <id>` gives a frozen key its successor.')
      }
    })
}
