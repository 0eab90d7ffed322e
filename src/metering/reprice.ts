import type { CostLine, Entry, NanoUsd } from '#protocol'
import { NO_USAGE } from '#protocol'
import { billOf, type Price } from './prices.ts'

/** What pricing an entry anew comes to. */
export type Repriced =
  /** It costs what is on the ledger; or nothing was billed at all; or nobody knows a price. */
  | { readonly outcome: 'unchanged' | 'free' | 'no_price' | 'bound' }
  | {
      /** `priced`: it had no cost before. */
      readonly outcome: 'adjusted' | 'priced'
      readonly adjustment: Entry
      /** Absent: it had none. */
      readonly before?: NanoUsd
      readonly after: NanoUsd
    }

/** A version that stands for what was held, where a crash left no count. */
const BOUND = 'bound'

/** The service tier that an entry was billed at, as its version has it. */
export function tierOf({ priceVersion }: Pick<Entry, 'priceVersion'>): string | undefined {
  return /;([^%!]+)/.exec(priceVersion ?? '')?.[1]
}

/**
 * The adjustment that makes an entry and those before it cost what a price says; written, a
 * second run finds nothing more to do.
 *
 * What a crash left is charged at what was held: there is no count to price. A price that is gone
 * takes none away.
 *
 * @param adjustments all there are of the entry, in order
 * @param price absent: nobody knows one
 * @param now Unix ms
 */
export function reprice(
  entry: Entry,
  adjustments: readonly Entry[],
  price: Price | undefined,
  now: number,
  reason: string,
): Repriced {
  if (entry.usageSource === 'none') return { outcome: 'free' }
  if (entry.priceVersion === BOUND) return { outcome: 'bound' }
  if (price === undefined) return { outcome: 'no_price' }

  const all = [entry, ...adjustments]
  const priced = all.filter(({ cost }) => cost !== undefined)
  const before = sum(priced.map(({ cost = 0n }) => cost))
  const listBefore = sum(priced.map(({ cost = 0n, listCost = cost }) => listCost))
  const { cost: after, listCost, lines, uncovered } = billOf(price, entry.usage)
  const delta = after - before
  const listDelta = listCost - listBefore
  // Lines go together: where an entry has none, a part of them would be no part of its cost.
  const hasLines = priced.every(({ costLines }) => costLines !== undefined)
  const changes = hasLines ? difference(lines, priced) : undefined
  const isNew = priced.length === 0
  const differs = delta !== 0n || listDelta !== 0n || (changes !== undefined && changes.length > 0)
  if (!isNew && !differs) return { outcome: 'unchanged' }

  const { firstEventMs: _, listCost: __, costLines: ___, ...kept } = entry
  const adjustment: Entry = {
    ...kept,
    id: `${entry.id}.a${adjustments.length + 1}`,
    kind: 'adjustment',
    startedAt: now,
    durationMs: 0,
    usage: NO_USAGE,
    usageSource: 'none',
    cost: delta,
    ...(listDelta !== delta && { listCost: listDelta }),
    ...(changes !== undefined && { costLines: changes }),
    priceVersion: `${price.version}${uncovered.length === 0 ? '' : `!${uncovered.join('+')}`}`,
    adjusts: entry.id,
    reason,
  }
  return {
    outcome: isNew ? 'priced' : 'adjusted',
    adjustment,
    ...(!isNew && { before }),
    after,
  }
}

function sum(amounts: readonly NanoUsd[]): NanoUsd {
  return amounts.reduce((total, amount) => total + amount, 0n)
}

/** What brings the lines of entries to what they should be; without those that stay. */
function difference(wanted: readonly CostLine[], entries: readonly Entry[]): readonly CostLine[] {
  const costs = new Map<CostLine['type'], NanoUsd>()
  for (const { type, cost } of wanted) costs.set(type, (costs.get(type) ?? 0n) + cost)
  for (const { costLines = [] } of entries) {
    for (const { type, cost } of costLines) costs.set(type, (costs.get(type) ?? 0n) - cost)
  }
  return [...costs].flatMap(([type, cost]) => (cost === 0n ? [] : [{ type, quantity: 0, cost }]))
}
