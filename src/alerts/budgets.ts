import type { LimitStanding } from '#protocol'
import { formatUsd } from '../metering/money.ts'

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
  const subject = `${scope.kind}:${scope.id}`
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
