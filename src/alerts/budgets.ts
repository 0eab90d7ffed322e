import type { LimitStanding } from '#protocol'
import { formatUsd, parseUsd } from '../metering/money.ts'

/** What is to be told, once. */
export interface AlertEvent {
  readonly type: string
  readonly tenantId: string
  /** Unique within the tenant: what must be told only once. */
  readonly once: string
  /** What it is about: `key:key_1`. */
  readonly subject: string
  /** For the message: never a secret, amounts as decimal strings. */
  readonly data: Readonly<Record<string, unknown>>
}

/** Percent of a budget that is told of, where it names none. */
const DEFAULT_THRESHOLDS = [80, 100] as const

/**
 * The thresholds that a budget's settled spend has reached.
 *
 * Each has its own `once`: of its scope, window, end of the window, amount and percent. A limit
 * that was raised is told of again; one that comes back after a raise is not.
 */
export function reached(
  tenantId: string,
  { scope, window = 'total', max, resetsAt, budget }: LimitStanding,
  thresholds: readonly number[] = DEFAULT_THRESHOLDS,
): readonly AlertEvent[] {
  if (budget === undefined || max <= 0n) return []
  const subject = subjectOf(tenantId, scope)
  const about = `${subject}|${scope.model ?? ''}|${window}|${resetsAt ?? ''}|${max}`
  const data = {
    scope: { kind: scope.kind, id: scope.id, name: scope.name, model: scope.model ?? null },
    window: {
      kind: window,
      ends_at: resetsAt === undefined ? null : new Date(resetsAt).toISOString(),
    },
    limit: formatUsd(max),
    spent: formatUsd(budget.settled),
    currency: 'USD',
    links: { report: '/admin/v1/costs/report' },
  }
  return thresholds
    .filter((percent) => budget.settled * 100n >= max * BigInt(percent))
    .map((percent) => ({
      type: 'budget.threshold_reached',
      tenantId,
      once: `budget.threshold_reached|${about}|${percent}`,
      subject,
      data: { ...data, threshold_percent: percent },
    }))
}

/**
 * That a budget refused a request. Not for one that no budget of its size could ever pay for:
 * that says nothing of what is left.
 *
 * @param details of the refusal `insufficient_quota`
 */
export function exhausted(
  tenantId: string,
  details: Readonly<Record<string, unknown>>,
): AlertEvent | undefined {
  const { scope: kind, scope_id: id, name, model, window, resets_at, limit, spent } = details
  const { reserved, needed } = details
  const amounts = [limit, spent, reserved, needed]
  if (typeof kind !== 'string' || typeof id !== 'string' || typeof window !== 'string') return
  if (!amounts.every((amount) => typeof amount === 'string')) return
  const [max, , , wanted] = amounts as [string, string, string, string]
  if (parseUsd(wanted) > parseUsd(max)) return
  const type = 'budget.exhausted'
  const subject = subjectOf(tenantId, { kind, id })
  return {
    type,
    tenantId,
    once: `${type}|${JSON.stringify([subject, model, window, resets_at, max])}`,
    subject,
    data: {
      scope: { kind, id, name, model: model ?? null },
      window: { kind: window, ends_at: resets_at ?? null },
      limit,
      spent,
      reserved,
      needed,
      currency: 'USD',
      links: { report: '/admin/v1/costs/report' },
    },
  }
}

/** What is muted by: `key:key_1`, `end_user:alice`. */
export function subjectOf(
  tenantId: string,
  { kind, id }: { readonly kind: string; readonly id: string },
): string {
  return `${kind}:${id.startsWith(`${tenantId}/`) ? id.slice(tenantId.length + 1) : id}`
}
