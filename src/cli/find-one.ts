import { nearest } from '../nearest.ts'
import type { AdminApi } from './admin-api.ts'
import { EXIT, Failure } from './failure.ts'

export interface Findable {
  readonly id: string
  readonly name: string
  readonly email?: string
}

/** Things of one kind, as the control plane lists them. */
export interface Kind {
  /** For messages. */
  readonly what: string
  /** Such as `/admin/v1/tenants`. */
  readonly path: string
  /** How its ids begin, with the underscore. */
  readonly idStart: string
  /** The command that lists them. */
  readonly listing: string
}

/**
 * What an id, a name, or an e-mail address means.
 *
 * @throws Failure not found, with the nearest name; or a conflict when several have the name
 */
export async function findOne<T extends Findable>(
  api: AdminApi,
  kind: Kind,
  reference: string,
): Promise<T> {
  if (reference.startsWith(kind.idStart) && /^\w+$/.test(reference)) {
    return api.get<T>(`${kind.path}/${reference}`)
  }
  const all = await api.list<T>(kind.path)
  const byAddress = all.filter(({ email }) => email === reference.toLowerCase())
  const meant = byAddress.length > 0 ? byAddress : all.filter(({ name }) => name === reference)
  const [one] = meant
  if (one === undefined) {
    const near = nearest(
      reference,
      all.flatMap(({ name, email }) => (email === undefined ? [name] : [name, email])),
    )
    throw new Failure(EXIT.notFound, `There is no ${kind.what} ${reference}`, {
      fix: near === undefined ? `\`${kind.listing}\` shows all` : `did you mean ${near}?`,
    })
  }
  if (meant.length === 1) return one
  throw new Failure(EXIT.conflict, `${meant.length} ${kind.what}s are called ${reference}`, {
    fix: `name one by its id: ${meant
      .slice(0, 5)
      .map(({ id }) => id)
      .join(', ')}`,
  })
}
