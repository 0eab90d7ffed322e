import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { Entry } from '#protocol'
import { providers } from '../../providers/index.ts'
import type { RepriceDeps } from '../control/reprice.ts'
import { formatUsd } from '../metering/money.ts'
import type { Price, PriceTarget } from '../metering/prices.ts'
import type { Directory } from '../routing/directory.ts'
import {
  getRepricing,
  insertRepricing,
  listRepricings,
  pageAttempts,
  runningRepricing,
  tenantIds,
  updateRepricing,
} from '../store/repricings.ts'
import type { Database } from '../store/schema.ts'
import { findTenant } from '../store/tenants.ts'
import { splitPattern } from './price-books.ts'
import type { PriceBooks } from './price-books.ts'
import { runRepricing } from './repricing.ts'

export interface RepricingSources {
  readonly db: Database
  readonly record: (entry: Entry) => Promise<void>
  readonly chargeAdjusted: (entries: readonly Entry[]) => Promise<void>
  readonly priceBooks: PriceBooks
  readonly noteVersion: (price: Price, target: PriceTarget) => void
  readonly directory: Directory
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
}

export interface Repricings extends RepriceDeps {
  /** Ends what is under way, at the end of its page. */
  close(): Promise<void>
}

/** Runs that price entries anew, one at a time. */
export function openRepricings(sources: RepricingSources): Repricings {
  const { db, directory, now } = sources
  const stopping = new AbortController()
  let current: Promise<void> = Promise.resolve()

  /** A provider that is configured no more is priced as its kind, where it was called so. */
  function target({ provider, model, tenantId }: Entry): PriceTarget | undefined {
    const kind = directory.instances.get(provider)?.provider ?? providers.get(provider)
    return kind && { provider, kind: kind.id, priceId: kind.priceId, model, tenantId }
  }

  return {
    insert: insertRepricing,
    get: getRepricing,
    list: listRepricings,
    running: runningRepricing,
    start(id, query) {
      current = runRepricing(
        id,
        query,
        {
          page: (filter) => pageAttempts(db, filter),
          tenants: () => tenantIds(db),
          target,
          book: sources.priceBooks.current,
          priced: sources.noteVersion,
          record: sources.record,
          charge: sources.chargeAdjusted,
          update: ({ result, ...run }) =>
            updateRepricing(db, { ...run, result: { ...result }, updatedAt: now() }),
          log: sources.log,
          now,
        },
        stopping.signal,
      )
    },
    findTenant,
    split: splitPattern,
    newId: () => `reprice_${randomBytes(9).toString('hex')}`,
    formatUsd,
    now,
    async close() {
      stopping.abort(new Error('Tollgate is shutting down'))
      await current
    },
  }
}
