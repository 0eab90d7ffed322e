import type { Config } from '../config.ts'
import { Unreachable } from './admin-api.ts'
import type { Check } from './doctor.ts'
import { EXIT, Failure } from './failure.ts'
import { listModels } from './models.ts'
import { listProviders, testProviders } from './providers.ts'
import type { Session } from './session.ts'
import { packageVersion } from './version.ts'

interface Health {
  readonly status: 'ok' | 'unavailable'
  readonly version: string
  readonly database: string
  readonly problems: readonly string[]
}

/** The server and, through it, the database, which it brings to its own schema before it listens. */
export async function checkServer(session: Session): Promise<readonly Check[]> {
  const api = await session.connect()
  const { url, hasKey } = api
  try {
    const { status, version, database, problems } = await api.get<Health>('/admin/v1/health')
    const isSame = version === packageVersion()
    return [
      {
        check: 'server',
        result: isSame ? 'ok' : 'warning',
        detail: `${url} runs ${version}${isSame ? '' : `, and this is ${packageVersion()}`}`,
        fix: isSame ? null : 'restart the server, or use the command line of its version',
      },
      {
        check: 'database',
        result: status === 'ok' ? 'ok' : 'failed',
        detail:
          status === 'ok'
            ? `${database}, its schema that of ${version}`
            : `${database}: ${problems.join('; ')}`,
        fix: status === 'ok' ? null : 'look at the log of the server and the disk of its data',
      },
    ]
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    const isAbsent = error instanceof Unreachable
    return [
      {
        check: 'server',
        // Before the first start there is nothing wrong yet.
        result: isAbsent ? 'skipped' : 'failed',
        detail: error.exit === EXIT.auth && !hasKey ? `${url} wants the admin key` : error.message,
        fix: error.fix ?? null,
      },
    ]
  }
}

export async function checkProviders(session: Session): Promise<readonly Check[]> {
  const providers = await listProviders(session)
  const tested = await testProviders(
    session,
    providers.map(({ name }) => name),
  )
  return tested.map(({ name, ok, duration_ms, models, error }) => ({
    check: `provider ${name}`,
    result: ok ? 'ok' : 'failed',
    detail: ok
      ? `${models?.length ?? 0} models in ${duration_ms} ms`
      : (error?.message ?? 'failed'),
    fix: ok
      ? null
      : `correct providers.${name} or its credential, then tollgate providers test ${name}`,
  }))
}

/** Names shown of those without a price. */
const NAMED = 5

export async function checkModels(
  session: Session,
  unpriced: Config['unpriced'] = 'refuse',
): Promise<readonly Check[]> {
  const models = await listModels(session)
  const bare = models.filter(({ price }) => price === null).map(({ id }) => id)
  if (bare.length === 0) {
    return [{ check: 'prices', result: 'ok', detail: `${models.length} models priced`, fix: null }]
  }
  const named = bare.slice(0, NAMED).join(', ')
  const rest = bare.length > NAMED ? ` and ${bare.length - NAMED} more` : ''
  const effect = unpriced === 'refuse' ? 'are refused' : 'will read as unpriced'
  return [
    {
      check: 'prices',
      result: 'warning',
      detail: `${bare.length} of ${models.length} models have no price, so requests for them ${effect}: ${named}${rest}`,
      fix: 'set one: tollgate prices set <provider/model> --input <usd> --output <usd>',
    },
  ]
}
