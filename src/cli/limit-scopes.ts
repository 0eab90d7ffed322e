import { InvalidArgumentError } from 'commander'
import { EXIT, Failure } from './failure.ts'
import type { AdminApi } from './admin-api.ts'
import { findKey } from './find-key.ts'

export interface MoneyView {
  readonly amount: string
  readonly currency: string
}

export interface BudgetView {
  readonly window: string
  readonly limit: MoneyView
  readonly warn_percent: number | null
  readonly block_percent: number
  readonly policy: string
  readonly raises: readonly {
    readonly amount: MoneyView
    readonly until: string
    readonly reason: string
  }[]
}

export interface QuotasView {
  readonly budgets: readonly BudgetView[]
  readonly [count: string]: unknown
}

export interface LimitsView extends QuotasView {
  readonly models: readonly (QuotasView & { readonly pattern: string })[]
}

/** What limits are set for. */
export interface ScopeName {
  readonly kind: string
  readonly subject: string
}

const KINDS: Readonly<Record<string, string>> = {
  platform: 'platform',
  tenant: 'tenant',
  app: 'application',
  application: 'application',
  key: 'key',
  user: 'end_user',
  'end-user': 'end_user',
  end_user: 'end_user',
  service: 'service',
  tag: 'tag',
}

export const SCOPE_HELP = `
A scope is platform, tenant/<name>, app/<name>, key/<name>, end-user/<id>, service/<route> or
tag/<tag>, by name or id; with * for each that has no limits of its own: end-user/*.`

/** Reads `app/shop`. */
export function scopeName(text: string): ScopeName {
  const at = text.indexOf('/')
  const kind = KINDS[at < 0 ? text : text.slice(0, at)]
  const subject = at < 0 ? '' : text.slice(at + 1)
  if (kind === 'platform' && at < 0) return { kind, subject: 'platform' }
  if (kind === undefined || subject === '') {
    throw new InvalidArgumentError(
      'Expected platform, tenant/<name>, app/<name>, key/<name>, end-user/<id>, service/<route> or tag/<tag>.',
    )
  }
  return { kind, subject }
}

const EMPTY: LimitsView = { budgets: [], models: [] }

export interface ScopeLimits {
  readonly path: string
  readonly limits: LimitsView
  /** How they are set, and as what body. */
  readonly method: 'PUT' | 'PATCH'
  readonly body: (limits: LimitsView) => object
}

/** The limits a scope has of its own, none where it has none. */
export async function limitsOf(api: AdminApi, { kind, subject }: ScopeName): Promise<ScopeLimits> {
  if (kind === 'key') {
    const key = await findKey(api, subject)
    const limits = key.limits as unknown as LimitsView
    const path = `/admin/v1/keys/${key.id}`
    return { path, limits, method: 'PATCH', body: (wanted) => ({ limits: wanted }) }
  }
  const path = `/admin/v1/limits/${kind}/${encodeURIComponent(subject)}`
  const limits = await api
    .get<{ readonly limits: LimitsView }>(path)
    .then((row) => row.limits)
    .catch((error: unknown) => {
      // That the subject itself is unknown is said by the change.
      if (error instanceof Failure && error.exit === EXIT.notFound) return EMPTY
      throw error
    })
  return { path, limits, method: 'PUT', body: (wanted) => wanted }
}

/** Changes the limits for all models, or for those of a pattern. */
export function withQuotas(
  limits: LimitsView,
  pattern: string | undefined,
  change: (quotas: QuotasView) => QuotasView,
): LimitsView {
  if (pattern === undefined) return { ...change(limits), models: limits.models }
  const own = limits.models.find((one) => one.pattern === pattern) ?? { pattern, budgets: [] }
  const changed = { ...change(own), pattern }
  const isEmpty = Object.entries(changed).every(
    ([name, value]) =>
      name === 'pattern' || value === null || (Array.isArray(value) && value.length === 0),
  )
  return {
    ...limits,
    models: [
      ...limits.models.filter((one) => one.pattern !== pattern),
      ...(isEmpty ? [] : [changed]),
    ],
  }
}
