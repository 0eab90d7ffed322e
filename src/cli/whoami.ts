import type { Command } from 'commander'
import { inLines } from './changes.ts'
import type { Session } from './session.ts'

interface Whoami {
  readonly type: string
  readonly id: string
  readonly name: string
  readonly role: string | null
  readonly token_expires_at: string | null
  readonly tenant: { readonly id: string; readonly name: string; readonly time_zone: string }
  readonly permissions: Readonly<Record<string, 'all' | 'own'>>
}

export function define(command: Command, session: Session): void {
  command.action(async () => {
    const api = await session.connect()
    const who = await api.get<Whoami>('/admin/v1/whoami')
    session.record(who, () => {
      const may = Object.entries(who.permissions).map(([name, reach]) =>
        reach === 'own' ? `${name} (own)` : name,
      )
      return inLines({
        name: who.name,
        id: who.id,
        role: who.role ?? 'the platform',
        tenant: `${who.tenant.name} (${who.tenant.id}, ${who.tenant.time_zone})`,
        expires: who.token_expires_at ?? 'never',
        may: who.role === null ? 'everything, in every tenant' : may.join(', '),
      })
    })
  })
}
