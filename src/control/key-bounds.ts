import { GatewayError } from '#errors'
import type { Budget, Key, Limits, Quotas } from '#protocol'
import type { KeyChanges } from './key-view.ts'

/**
 * Keeps whoever may have only their own keys from loosening what others bounded: they may
 * tighten a key, and name it.
 *
 * @throws GatewayError `permission_denied`, naming the field
 */
export function checkNotLooser(key: Key, changes: KeyChanges): void {
  const field = Object.entries(LOOSER).find(([, isLooser]) => isLooser(key, changes))?.[0]
  if (field === undefined) return
  throw new GatewayError(
    'permission_denied',
    `Your role may tighten a key, not loosen it: ask a lead to change ${field}`,
    { param: field },
  )
}

const LOOSER: Readonly<Record<string, (key: Key, changes: KeyChanges) => boolean>> = {
  models: (key, { models }) => !(models ?? []).every((one) => isWithin(key.models, one)),
  endpoints: (key, { endpoints }) =>
    !(endpoints ?? []).every((one) => isWithin(key.endpoints, one)),
  addresses: (key, { addresses }) =>
    addresses !== undefined &&
    key.addresses.length > 0 &&
    (addresses.length === 0 || addresses.some((range) => !key.addresses.includes(range))),
  expires_at: (key, { expiresAt }) =>
    expiresAt !== undefined &&
    key.expiresAt !== undefined &&
    (expiresAt === null || expiresAt > key.expiresAt),
  strict: (key, { strict }) => key.strict && strict === false,
  // Budgets of tags hold through them.
  tags: (key, { tags }) => tags !== undefined && key.tags.some((tag) => !tags.includes(tag)),
  limits: (key, { limits }) => limits !== undefined && areLooser(key.limits, limits),
}

function isWithin(allowed: readonly string[], wanted: string): boolean {
  return allowed.some((pattern) => {
    if (pattern === '*' || pattern === wanted) return true
    if (!pattern.endsWith('/*') || wanted.includes('*')) return false
    const rest = wanted.slice(pattern.length - 1)
    return wanted.startsWith(pattern.slice(0, -1)) && rest !== '' && !rest.includes('/')
  })
}

function areLooser(before: Limits, after: Limits): boolean {
  return (
    quotasAreLooser(before, after) ||
    (before.models ?? []).some((of) => {
      const then = after.models?.find(({ pattern }) => pattern === of.pattern)
      return then === undefined || quotasAreLooser(of, then)
    })
  )
}

const COUNTS = [
  'requestsPerMinute',
  'tokensPerMinute',
  'inputTokensPerMinute',
  'outputTokensPerMinute',
  'requestsPerDay',
  'tokensPerDay',
  'inputTokensPerDay',
  'outputTokensPerDay',
  'concurrency',
] as const satisfies readonly (keyof Quotas)[]

function quotasAreLooser(before: Quotas, after: Quotas): boolean {
  return (
    COUNTS.some((name) => (before[name] ?? Infinity) < (after[name] ?? Infinity)) ||
    (before.budgets ?? []).some((budget) => {
      const then = after.budgets?.find(({ window }) => window === budget.window)
      return then === undefined || isLooser(budget, then)
    })
  )
}

function isLooser(before: Budget, after: Budget): boolean {
  const known = new Set((before.raises ?? []).map(nameOf))
  return (
    after.limit > before.limit ||
    (after.block ?? 100) > (before.block ?? 100) ||
    (after.policy === 'soft' && before.policy !== 'soft') ||
    (after.raises ?? []).some((raise) => !known.has(nameOf(raise)))
  )
}

function nameOf({ amount, until }: NonNullable<Budget['raises']>[number]): string {
  return `${amount} until ${until}`
}
