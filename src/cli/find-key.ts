import { nearest } from '../nearest.ts'
import type { AdminApi } from './admin-api.ts'
import { EXIT, Failure } from './failure.ts'
import type { KeyView } from './key-options.ts'

/**
 * The key that an id, a name, or the key itself (or its beginning) means. Of several with one
 * name, that which is still in use: not revoked, not expired, not rolled.
 *
 * @throws Failure not found, with the nearest name; or a conflict when several are meant
 */
export async function findKey(api: AdminApi, reference: string): Promise<KeyView> {
  if (/^key_\w+$/.test(reference)) {
    const key = await getById(api, reference)
    if (key !== undefined) return key
  }
  const keys = await api.list<KeyView>('/admin/v1/keys')
  const meant = keys.filter(({ name, prefix }) => name === reference || isPart(reference, prefix))
  const working = meant.filter(({ status }) => status !== 'revoked' && status !== 'expired')
  const current = working.filter(({ successor_id }) => successor_id === null)
  const best = [current, working, meant].find((some) => some.length > 0) ?? []
  const [key] = best
  if (key === undefined) throw unknown(reference, keys)
  if (best.length === 1) return key
  throw new Failure(EXIT.conflict, `${best.length} keys are called ${reference}`, {
    fix: `name one by its id: ${best
      .map(({ id }) => id)
      .slice(0, 5)
      .join(', ')}`,
  })
}

async function getById(api: AdminApi, id: string): Promise<KeyView | undefined> {
  try {
    return await api.get<KeyView>(`/admin/v1/keys/${id}`)
  } catch (error) {
    // It may be a name that looks like an id.
    if (error instanceof Failure && error.exit === EXIT.notFound) return undefined
    throw error
  }
}

/** A leaked key is best named by itself. */
function isPart(reference: string, prefix: string): boolean {
  return reference.startsWith(prefix) && prefix.startsWith('sk-tg-')
}

function unknown(reference: string, keys: readonly KeyView[]): Failure {
  if (reference.startsWith('sk-tg-'))
    return new Failure(EXIT.notFound, 'That key is not of this server')
  const near = nearest(
    reference,
    keys.map(({ name }) => name),
  )
  return new Failure(EXIT.notFound, `There is no key ${reference}`, {
    fix: near === undefined ? '`tollgate keys list` shows all' : `did you mean ${near}?`,
  })
}
