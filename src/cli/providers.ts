import type { Command } from 'commander'
import type { ProviderTest, ProviderView } from '../control/catalogue.ts'
import { nearest } from '../nearest.ts'
import { EXIT, Failure } from './failure.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

const COLUMNS: readonly Column<ProviderView>[] = [
  { name: 'name', value: ({ name }) => name },
  { name: 'kind', value: ({ kind }) => kind },
  { name: 'base_url', value: ({ base_url }) => base_url },
  { name: 'source', value: ({ source }) => source },
  { name: 'credential', value: ({ has_credential }) => (has_credential ? 'yes' : 'no') },
  {
    name: 'private_network',
    value: ({ allow_private_network }) => (allow_private_network ? 'allowed' : 'refused'),
  },
  { name: 'models', value: ({ models }) => models },
]

/** A test and whom it was of. */
export interface TestedProvider extends ProviderTest {
  readonly name: string
}

const TEST_COLUMNS: readonly Column<TestedProvider>[] = [
  { name: 'name', value: ({ name }) => name },
  { name: 'result', value: ({ ok }) => (ok ? 'ok' : 'failed') },
  { name: 'duration_ms', value: ({ duration_ms }) => duration_ms },
  { name: 'models', value: ({ models }) => models?.length ?? null },
  { name: 'error', value: ({ error }) => (error ? `${error.code}: ${error.message}` : null) },
]

export async function listProviders(session: Session): Promise<readonly ProviderView[]> {
  const api = await session.connect()
  return (await api.get<{ readonly data: readonly ProviderView[] }>('/admin/v1/providers')).data
}

/** Asks providers for their models, all at once; nothing is billed. */
export async function testProviders(
  session: Session,
  names: readonly string[],
): Promise<readonly TestedProvider[]> {
  const api = await session.connect()
  return Promise.all(
    names.map(async (name) => ({
      name,
      ...(await api.send<ProviderTest>(
        'POST',
        `/admin/v1/providers/${encodeURIComponent(name)}/test`,
      )),
    })),
  )
}

export function define(command: Command, session: Session): void {
  command
    .command('list')
    .description('configured providers')
    .action(async () => session.rows(await listProviders(session), COLUMNS, 'No providers'))

  command
    .command('test')
    .description('ask providers for their models: address, TLS and credential are tried')
    .argument('[name]', 'only this one (default: all)')
    .action(async (name?: string) => {
      const names = (await listProviders(session)).map((provider) => provider.name)
      if (name !== undefined && !names.includes(name)) {
        const near = nearest(name, names)
        throw new Failure(EXIT.notFound, `There is no provider ${name}`, {
          fix: near === undefined ? `there are ${names.join(', ')}` : `did you mean ${near}?`,
        })
      }
      const tested = await testProviders(session, name === undefined ? names : [name])
      await session.rows(tested, TEST_COLUMNS)
      if (tested.some(({ ok }) => !ok)) session.exit = EXIT.findings
    })

  defineCredentials(command.command('credentials').description("the tenant's own"), session)
}

interface CredentialView {
  readonly id: string
  readonly provider: string
  readonly last4: string
  readonly created_at: string
}

const CREDENTIAL_COLUMNS: readonly Column<CredentialView>[] = [
  { name: 'provider', value: ({ provider }) => provider },
  { name: 'last4', value: ({ last4 }) => last4 },
  { name: 'created_at', value: ({ created_at }) => created_at },
  { name: 'id', value: ({ id }) => id },
]

function defineCredentials(command: Command, session: Session): void {
  const path = (provider: string): string =>
    `/admin/v1/providers/${encodeURIComponent(provider)}/credential`

  command
    .command('list')
    .description("whose bill the tenant's requests go on")
    .action(async () => {
      const api = await session.connect()
      const { data } = await api.get<{ readonly data: readonly CredentialView[] }>(
        '/admin/v1/credentials',
      )
      await session.rows(data, CREDENTIAL_COLUMNS, "None: requests go with the operator's")
    })

  command
    .command('set <provider>')
    .description("bring the tenant's own credential; it is read from standard input")
    .addHelpText('after', '\nExample:\n  $ tollgate providers credentials set openai < openai.key')
    .action(async (provider: string) => {
      const secret = (await session.ask(`Credential for ${provider}: `))?.trim()
      if (secret === undefined || secret === '') {
        throw new Failure(EXIT.usage, 'No credential came on standard input', {
          fix: `tollgate providers credentials set ${provider} < file`,
        })
      }
      const api = await session.connect()
      const set = await api.send<CredentialView>('PUT', path(provider), { secret })
      session.record(
        set,
        ({ last4 }) => `${provider} is asked with the credential ending in ${last4}`,
      )
    })

  command
    .command('remove <provider>')
    .description("go back to the operator's credential")
    .action(async (provider: string) => {
      const api = await session.connect()
      const removed = await api.send<CredentialView>('DELETE', path(provider))
      session.record(removed, () => `${provider} is asked with the operator's credential again`)
    })

  command
    .command('rekey')
    .description("seal all of the tenant's credentials with a new key; requests go on meanwhile")
    .action(async () => {
      const api = await session.connect()
      const done = await api.send<{ readonly credentials: number }>(
        'POST',
        '/admin/v1/credentials/rekey',
      )
      session.record(done, ({ credentials }) => `${credentials} sealed anew`)
    })
}
