import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Entry, NanoUsd } from '#protocol'
import { matcher, type Price, type PriceBook, type PriceTarget } from '../metering/prices.ts'
import { reprice, tierOf } from '../metering/reprice.ts'
import type { AttemptFilter, Corrected, Repricing } from '../store/repricings.ts'

/** Which entries are priced anew. */
export interface RepricingQuery {
  /** Unix ms, of admission; `to` exclusive. */
  readonly from: number
  readonly to: number
  /** Patterns; absent: all. */
  readonly provider?: string
  readonly model?: string
  /** Absent: every tenant. */
  readonly tenantId?: string
  readonly reason: string
  readonly dryRun: boolean
}

/** What came of it; amounts are nano-dollars. */
export interface RepricingResult {
  seen: number
  adjusted: number
  /** Of these, entries that had no cost. */
  priced: number
  unchanged: number
  /** Nobody knows a price: they stay as they are. */
  withoutPrice: number
  /** Charged at what was held when a process died: there is no count to price. */
  atBound: number
  before: NanoUsd
  after: NanoUsd
  groups: RepricedGroup[]
  /** Groups beyond the most that are kept apart. */
  otherGroups: number
  error?: string
}

/** Entries of one model that went from one price to another. */
export interface RepricedGroup {
  readonly tenantId: string
  readonly model: string
  /** Null: unpriced. */
  readonly from: string | null
  readonly to: string
  entries: number
  before: NanoUsd
  after: NanoUsd
}

export interface RepricingDeps {
  readonly page: (
    filter: AttemptFilter,
  ) => Promise<{ readonly attempts: readonly Corrected[]; readonly next?: AttemptFilter['after'] }>
  readonly tenants: () => Promise<readonly string[]>
  /** What an entry's price is looked up by; `undefined` where its provider is not configured. */
  readonly target: (entry: Entry) => PriceTarget | undefined
  readonly book: () => PriceBook
  /** Told of each price that an adjustment names. */
  readonly priced: (price: Price, target: PriceTarget) => void
  readonly record: (entry: Entry) => Promise<void>
  /** Counts adjustments against the budgets of the windows their entries were admitted in. */
  readonly charge: (entries: readonly Entry[]) => Promise<void>
  readonly update: (
    run: Pick<Repricing, 'id' | 'status'> & { readonly result: RepricingResult },
  ) => Promise<void>
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
}

/** Entries read at once: a few milliseconds of the loop. */
const PAGE = 200
/** Rest between pages, ms: requests come first. */
const REST_MS = 5
/** How often it says how far it is, ms; that is its sign of life too. */
const TELL_MS = 2000
const MOST_GROUPS = 500

/**
 * Prices entries anew, beside the requests, page by page, all by the book that is in force when
 * it begins. It never edits: what changes becomes an adjustment. Stopped at any point, a second
 * run does the rest and nothing twice.
 */
export async function runRepricing(
  id: string,
  query: RepricingQuery,
  deps: RepricingDeps,
  signal: AbortSignal,
): Promise<void> {
  const book = deps.book()
  const result = noResult()
  const groups = new Map<string, RepricedGroup>()
  const isFor = {
    provider: matcher(query.provider ?? '*'),
    model: matcher(query.model ?? '*'),
  }
  const exact = query.provider?.includes('*') === false ? { provider: query.provider } : {}
  let told = deps.now()
  try {
    const tenants = query.tenantId === undefined ? await deps.tenants() : [query.tenantId]
    for (const tenantId of tenants) {
      let after: AttemptFilter['after']
      do {
        signal.throwIfAborted()
        const { from, to } = query
        const page = await deps.page({ tenantId, from, to, ...exact, limit: PAGE, after })
        const wanted = page.attempts.filter(
          ({ entry }) => isFor.provider(entry.provider) && isFor.model(entry.model),
        )
        await correct(wanted)
        after = page.next
        if (deps.now() - told > TELL_MS) {
          told = deps.now()
          await deps.update({ id, status: 'running', result: withGroups() })
        }
        await sleep(REST_MS)
      } while (after !== undefined)
    }
    await deps.update({ id, status: 'done', result: withGroups() })
  } catch (error) {
    const status = signal.aborted ? 'interrupted' : 'failed'
    deps.log.error({ err: error, id, status }, 'repricing did not come to its end')
    const message = error instanceof Error ? error.message : String(error)
    await deps
      .update({ id, status, result: { ...withGroups(), error: message } })
      .catch((failure: unknown) => deps.log.error({ err: failure, id }, 'nor could that be noted'))
  }

  async function correct(corrected: readonly Corrected[]): Promise<void> {
    const made: Entry[] = []
    for (const { entry, adjustments } of corrected) {
      result.seen++
      const target = deps.target(entry)
      const price = target && book.find(target, entry.admittedAt, { serviceTier: tierOf(entry) })
      const done = reprice(entry, adjustments, price, deps.now(), query.reason)
      if ('adjustment' in done) {
        const { adjustment, before = 0n, after } = done
        result.adjusted++
        if (done.outcome === 'priced') result.priced++
        result.before += before
        result.after += after
        count(entry, adjustments, adjustment, before, after)
        made.push(adjustment)
        if (!query.dryRun) deps.priced(price!, target!)
      } else if (done.outcome === 'no_price') result.withoutPrice++
      else if (done.outcome === 'bound') result.atBound++
      else result.unchanged++
    }
    if (query.dryRun || made.length === 0) return
    await Promise.all(made.map(deps.record))
    await deps.charge(joined(made))
  }

  function count(
    entry: Entry,
    adjustments: readonly Entry[],
    { priceVersion: to = '' }: Entry,
    before: NanoUsd,
    after: NanoUsd,
  ): void {
    const from = adjustments.at(-1)?.priceVersion ?? entry.priceVersion ?? null
    const { tenantId } = entry
    const model = `${entry.provider}/${entry.model}`
    const name = JSON.stringify([tenantId, model, from, to])
    let group = groups.get(name)
    if (group === undefined) {
      if (groups.size >= MOST_GROUPS) {
        result.otherGroups++
        return
      }
      group = { tenantId, model, from, to, entries: 0, before: 0n, after: 0n }
      groups.set(name, group)
    }
    group.entries++
    group.before += before
    group.after += after
  }

  function withGroups(): RepricingResult {
    return { ...result, groups: [...groups.values()] }
  }
}

/** In every zone, days begin on a multiple of this, ms. */
const SLOT_MS = 900_000

/**
 * One charge for adjustments that every budget counts alike: those of one key, caller and model,
 * admitted so near that no window ends between them.
 */
export function joined(adjustments: readonly Entry[]): readonly Entry[] {
  const charges = new Map<string, Entry>()
  for (const entry of adjustments) {
    const { tenantId, applicationId, keyId, userId, endUser, tags, endpoint, promptId } = entry
    const { environment, provider, model, modelAsked, admittedAt, cost = 0n } = entry
    const slot = Math.floor(admittedAt / SLOT_MS)
    const who = [tenantId, applicationId, keyId, userId, endUser, tags, promptId]
    const name = JSON.stringify([who, environment, endpoint, provider, model, modelAsked, slot])
    const known = charges.get(name)
    charges.set(name, known === undefined ? entry : { ...known, cost: (known.cost ?? 0n) + cost })
  }
  return [...charges.values()]
}

export function noResult(): RepricingResult {
  return {
    seen: 0,
    adjusted: 0,
    priced: 0,
    unchanged: 0,
    withoutPrice: 0,
    atBound: 0,
    before: 0n,
    after: 0n,
    groups: [],
    otherGroups: 0,
  }
}
