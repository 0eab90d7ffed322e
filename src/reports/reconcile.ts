import type { NanoUsd } from '#protocol'

/** What one side, the ledger or the provider, says of one request, or of one model on one day. */
export interface UsageRecord {
  /** The provider's request id where both sides name it; else the model and the day. */
  readonly id: string
  /** `2026-11-23`, UTC, as providers bill. */
  readonly day: string
  readonly model: string
  readonly requests: number
  readonly inputTokens: number
  readonly outputTokens: number
  /** Part of `inputTokens`; absent where the side does not say. */
  readonly cachedTokens?: number
  /** Absent: the side does not say, or has no price. */
  readonly cost?: NanoUsd
  /** Of the ledger: some of it is our estimate. */
  readonly estimated?: boolean
}

/**
 * Why two records differ:
 *
 * - `not_in_ledger`: the provider bills what never passed Tollgate, or passed with another credential
 * - `not_at_provider`: the provider does not bill it: an attempt that failed there, or a late export
 * - `other_day`: the same request stands on another day, by the provider's clock
 * - `duplicate`: one side has it more than once
 * - `requests`: both have the model's day with another number of requests
 * - `estimated`: the answer was cut off, and the ledger holds an estimate
 * - `cached`: the same tokens, more or fewer of them from the cache
 * - `input_tokens`, `output_tokens`: the counts differ
 * - `price`: the same tokens at another cost: the price book is not the provider's
 * - `rounding`: the costs differ by less than a millionth of a dollar for each request
 */
export const CAUSES = [
  'not_in_ledger',
  'not_at_provider',
  'other_day',
  'duplicate',
  'requests',
  'estimated',
  'cached',
  'input_tokens',
  'output_tokens',
  'price',
  'rounding',
] as const

export type Cause = (typeof CAUSES)[number]

export interface Difference {
  readonly id: string
  readonly model: string
  readonly causes: readonly Cause[]
  /** Absent: that side has no such record. */
  readonly ledger?: UsageRecord
  readonly provider?: UsageRecord
  /** What the provider bills beyond the ledger; absent where a side gives no cost. */
  readonly costDifference?: NanoUsd
}

export interface Reconciliation {
  /** Records both sides have alike. */
  readonly matched: number
  /** The dearest first. */
  readonly differences: readonly Difference[]
  readonly byCause: Readonly<Partial<Record<Cause, number>>>
  readonly ledgerCost: NanoUsd
  readonly providerCost: NanoUsd
}

/** Providers round what they export; a difference below this for each request is no finding of its own. */
const ROUNDING_NANOS = 1000n

/**
 * Holds what the provider says beside the ledger, record by record.
 *
 * @param by - what the ids stand for; a day of a model may well be told in several records
 * Costs are compared only where both sides give one. A difference of cost that rounding explains
 * alone is listed as `rounding` and counts as matched.
 */
export function reconcile(
  ledger: readonly UsageRecord[],
  provider: readonly UsageRecord[],
  by: 'request' | 'day',
): Reconciliation {
  const ours = grouped(ledger)
  const theirs = grouped(provider)
  const differences: Difference[] = []
  let matched = 0
  for (const id of new Set([...ours.keys(), ...theirs.keys()])) {
    const difference = compare(id, ours.get(id) ?? [], theirs.get(id) ?? [], by === 'request')
    if (difference === undefined || difference.causes.every((cause) => cause === 'rounding')) {
      matched += 1
    }
    if (difference !== undefined) differences.push(difference)
  }
  const byCause: Partial<Record<Cause, number>> = {}
  for (const { causes } of differences) {
    for (const cause of causes) byCause[cause] = (byCause[cause] ?? 0) + 1
  }
  return {
    matched,
    differences: differences.toSorted(
      (a, b) => order(weight(b), weight(a)) || (a.id < b.id ? -1 : 1),
    ),
    byCause,
    ledgerCost: costOf(ledger),
    providerCost: costOf(provider),
  }
}

function compare(
  id: string,
  ours: readonly UsageRecord[],
  theirs: readonly UsageRecord[],
  once: boolean,
): Difference | undefined {
  const ledger = merge(ours)
  const provider = merge(theirs)
  const model = (ledger ?? provider)!.model
  if (ledger === undefined) {
    return {
      id,
      model,
      causes: causesOfLone('not_in_ledger', once && theirs.length > 1),
      ...only('provider', provider!),
    }
  }
  if (provider === undefined) {
    return {
      id,
      model,
      causes: causesOfLone('not_at_provider', once && ours.length > 1),
      ...only('ledger', ledger),
    }
  }
  const causes: Cause[] = []
  if (once && ours.length !== theirs.length) causes.push('duplicate')
  if (ledger.day !== provider.day) causes.push('other_day')
  if (causes.length === 0 && ledger.requests !== provider.requests) causes.push('requests')
  causes.push(...tokenCauses(ledger, provider))
  const costDifference = difference(ledger, provider)
  if (costDifference !== undefined && costDifference !== 0n) {
    const allowed = ROUNDING_NANOS * BigInt(Math.max(1, provider.requests))
    const small = costDifference < allowed && costDifference > -allowed
    if (small) causes.push('rounding')
    // Other tokens cost otherwise: that is no finding about the price.
    else if (!causes.some((cause) => cause !== 'other_day')) {
      causes.push('price')
    }
  }
  if (causes.length === 0) return undefined
  return {
    id,
    model,
    causes,
    ledger,
    provider,
    ...(costDifference !== undefined && { costDifference }),
  }
}

function tokenCauses(ledger: UsageRecord, provider: UsageRecord): readonly Cause[] {
  const causes: Cause[] = []
  const input = ledger.inputTokens !== provider.inputTokens
  const output = ledger.outputTokens !== provider.outputTokens
  if ((input || output) && ledger.estimated === true) return ['estimated']
  if (input) causes.push('input_tokens')
  if (output) causes.push('output_tokens')
  if (
    !input &&
    ledger.cachedTokens !== undefined &&
    provider.cachedTokens !== undefined &&
    ledger.cachedTokens !== provider.cachedTokens
  ) {
    causes.push('cached')
  }
  return causes
}

function causesOfLone(cause: Cause, twice: boolean): readonly Cause[] {
  return twice ? [cause, 'duplicate'] : [cause]
}

function only(
  side: 'ledger' | 'provider',
  record: UsageRecord,
): Pick<Difference, 'ledger' | 'provider' | 'costDifference'> {
  return {
    [side]: record,
    ...(record.cost !== undefined && {
      costDifference: side === 'provider' ? record.cost : -record.cost,
    }),
  }
}

function grouped(records: readonly UsageRecord[]): ReadonlyMap<string, readonly UsageRecord[]> {
  return Map.groupBy(records, ({ id }) => id)
}

/** What stands twice counts twice. */
function merge(records: readonly UsageRecord[]): UsageRecord | undefined {
  const [first, ...rest] = records
  if (first === undefined) return undefined
  return rest.reduce<UsageRecord>((all, one) => {
    const cachedTokens = plus(all.cachedTokens, one.cachedTokens)
    const { cost: _, cachedTokens: __, ...kept } = all
    return {
      ...kept,
      requests: all.requests + one.requests,
      inputTokens: all.inputTokens + one.inputTokens,
      outputTokens: all.outputTokens + one.outputTokens,
      ...(cachedTokens !== undefined && { cachedTokens }),
      ...(all.cost !== undefined && one.cost !== undefined && { cost: all.cost + one.cost }),
      ...(one.estimated === true && { estimated: true }),
    }
  }, first)
}

function plus(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b
}

function difference(ledger: UsageRecord, provider: UsageRecord): NanoUsd | undefined {
  if (ledger.cost === undefined || provider.cost === undefined) return undefined
  return provider.cost - ledger.cost
}

function costOf(records: readonly UsageRecord[]): NanoUsd {
  return records.reduce((all, { cost = 0n }) => all + cost, 0n)
}

function weight({ costDifference = 0n }: Difference): bigint {
  return costDifference < 0n ? -costDifference : costDifference
}

function order(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}
