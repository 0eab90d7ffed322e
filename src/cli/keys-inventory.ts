import { Option } from 'commander'
import type { Command } from 'commander'
import { EXIT } from './failure.ts'
import { findKey } from './find-key.ts'
import type { KeyView } from './key-options.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

interface Finding {
  readonly id: string
  readonly name: string
  readonly finding: string
  readonly message: string
  readonly fix: string
}

interface Inspected extends KeyView {
  readonly findings: readonly {
    readonly type: string
    readonly message: string
    readonly fix: string
  }[]
}

const FINDINGS: readonly Column<Finding>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'name', value: ({ name }) => name },
  { name: 'finding', value: ({ finding }) => finding },
  { name: 'message', value: ({ message }) => message },
  { name: 'fix', value: ({ fix }) => fix },
]

interface Seen {
  readonly value: string
  readonly first_seen_at: string
  readonly last_seen_at: string
  readonly requests: number
}

interface Usage {
  readonly key_id: string
  readonly requests: number
  readonly last_used_at: string | null
  readonly addresses: readonly Seen[]
  readonly user_agents: readonly Seen[]
  readonly refused: readonly Seen[]
}

interface Use extends Seen {
  readonly kind: string
}

const USES: readonly Column<Use>[] = [
  { name: 'kind', value: ({ kind }) => kind },
  { name: 'value', value: ({ value }) => value },
  { name: 'requests', value: ({ requests }) => requests },
  { name: 'first_seen_at', value: ({ first_seen_at }) => first_seen_at },
  { name: 'last_seen_at', value: ({ last_seen_at }) => last_seen_at },
]

/** What keys are used for, and what is the matter with them. */
export function defineInventory(command: Command, session: Session): void {
  command
    .command('usage')
    .description('who uses a key: addresses and user agents')
    .argument('<key>', 'id or name')
    .action(async (reference: string) => {
      const api = await session.connect()
      const { id, name } = await findKey(api, reference)
      const usage = await api.get<Usage>(`/admin/v1/keys/${encodeURIComponent(id)}/usage`)
      if (session.options.json !== undefined) return session.record(usage, () => '')
      const rows: readonly Use[] = [
        ...usage.addresses.map((seen) => ({ kind: 'address', ...seen })),
        ...usage.user_agents.map((seen) => ({ kind: 'agent', ...seen })),
        ...usage.refused.map((seen) => ({ kind: 'refused', ...seen })),
      ]
      await session.rows(rows, USES, `${name} was never used`)
      session.note(
        `${name}: ${usage.requests} requests, last used ${usage.last_used_at ?? 'never'}`,
      )
    })

  command
    .command('inventory')
    .description('what is the matter with keys, and how to mend it')
    .addOption(
      new Option('--filter <finding>', 'only these').choices([
        'any',
        'unused',
        'expiring',
        'over_broad',
        'unused_rights',
        'rolled_in_use',
        'disabled',
      ]),
    )
    .option('--days <number>', 'unused for so long, or expiring within (30)')
    .action(
      async ({ filter = 'any', days }: { readonly filter?: string; readonly days?: string }) => {
        const api = await session.connect()
        const keys = await api.list<Inspected>('/admin/v1/keys', { filter, days })
        const rows = keys.flatMap(({ id, name, findings }) =>
          findings.map(({ type, message, fix }) => ({ id, name, finding: type, message, fix })),
        )
        await session.rows(rows, FINDINGS, 'Nothing is the matter with the keys.')
        if (rows.length > 0) session.exit = EXIT.findings
      },
    )
}
