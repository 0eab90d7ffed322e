import type { Insertable, Selectable } from 'kysely'
import { GatewayError } from '#errors'
import type { Database, PricesTable } from './schema.ts'
import { latestRevision, underNextRevision } from './revisions.ts'

/** A price or a discount that somebody set, as it is kept. */
export interface StoredPrice {
  /** `price_...` */
  readonly id: string
  /** Absent: the operator's, for every tenant. */
  readonly tenantId?: string
  /** Patterns: names of providers, and their models. */
  readonly provider: string
  readonly model: string
  /** Unix ms, inclusive; absent: always was. */
  readonly from?: number
  /** Unix ms, exclusive; absent: no end. */
  readonly to?: number
  /** As it was written; whoever reads it must check it. Absent: a discount, or no JSON. */
  readonly rates?: unknown
  /** Percent. */
  readonly discount?: string
  readonly note: string
  /** How it came: `api`, or what it was imported from. */
  readonly source: string
  readonly createdAt: number
  readonly createdBy: string
  /** Of the change that last touched it. */
  readonly revision: number
}

export type NewPrice = Omit<StoredPrice, 'revision'>

export interface PricePolicy {
  readonly tenantId: string
  readonly unpriced: 'refuse' | 'allow'
}

/** All that prices are found by, as of one revision. */
export interface PriceTable {
  readonly rows: readonly StoredPrice[]
  readonly policies: readonly PricePolicy[]
  readonly revision: bigint
}

/** Read in one statement each, counter first: what comes later has a higher revision. */
export async function readPriceTable(db: Database): Promise<PriceTable> {
  const revision = await priceRevision(db)
  const rows = await db.selectFrom('prices').selectAll().orderBy('revision').orderBy('id').execute()
  const policies = await db.selectFrom('price_policies').selectAll().execute()
  return {
    revision,
    rows: rows.map(toPrice),
    policies: policies.map(({ tenant_id: tenantId, unpriced }) => ({ tenantId, unpriced })),
  }
}

export function priceRevision(db: Database): Promise<bigint> {
  return latestRevision(db, 'price_revision')
}

export interface PricePage {
  /** Newest first. */
  readonly prices: readonly StoredPrice[]
  readonly hasMore: boolean
}

export interface PriceFilter {
  readonly limit: number
  /** Id of the last price of the page before. */
  readonly after?: string
  /** What it may see: the operator's and its own; `*`: everything. */
  readonly visibleTo: string
  /** Only the operator's, or only this tenant's. */
  readonly of?: string
  readonly provider?: string
  readonly model?: string
  /** Only those that hold then or later, Unix ms. */
  readonly notEndedAt?: number
}

/** @throws GatewayError `invalid_value` when `after` names no price */
export async function listPrices(db: Database, filter: PriceFilter): Promise<PricePage> {
  let query = visible(db, filter.visibleTo)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(filter.limit + 1)
  const { of, provider, model, notEndedAt } = filter
  if (of !== undefined) {
    query =
      of === 'operator' ? query.where('tenant_id', 'is', null) : query.where('tenant_id', '=', of)
  }
  if (provider !== undefined) query = query.where('provider', '=', provider)
  if (model !== undefined) query = query.where('model', '=', model)
  if (notEndedAt !== undefined) {
    query = query
      .where((eb) =>
        eb.or([eb('effective_to', 'is', null), eb('effective_to', '>', BigInt(notEndedAt))]),
      )
      .where((eb) =>
        eb.or([
          eb('effective_to', 'is', null),
          eb('effective_from', 'is', null),
          eb('effective_to', '>', eb.ref('effective_from')),
        ]),
      )
  }
  if (filter.after !== undefined) {
    const last = await getPrice(db, filter.visibleTo, filter.after)
    if (last === undefined) {
      throw new GatewayError('invalid_value', 'The cursor names no price', { param: 'after' })
    }
    query = query.where((eb) =>
      eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(BigInt(last.createdAt), last.id)),
    )
  }
  const rows = await query.execute()
  return { prices: rows.slice(0, filter.limit).map(toPrice), hasMore: rows.length > filter.limit }
}

/** @param visibleTo a tenant, which sees its own and the operator's; `*` sees all */
export async function getPrice(
  db: Database,
  visibleTo: string,
  id: string,
): Promise<StoredPrice | undefined> {
  const row = await visible(db, visibleTo).where('id', '=', id).executeTakeFirst()
  return row && toPrice(row)
}

/** The rows without an end for the very same patterns, of prices or of discounts. */
export async function openPrices(
  db: Database,
  {
    tenantId,
    provider,
    model,
    discount,
  }: Pick<NewPrice, 'tenantId' | 'provider' | 'model' | 'discount'>,
): Promise<readonly StoredPrice[]> {
  const rows = await db
    .selectFrom('prices')
    .selectAll()
    .where('provider', '=', provider)
    .where('model', '=', model)
    .where('tenant_id', tenantId === undefined ? 'is' : '=', tenantId ?? null)
    .where('discount', discount === undefined ? 'is' : 'is not', null)
    .where('effective_to', 'is', null)
    .orderBy('revision')
    .execute()
  return rows.map(toPrice)
}

/** Adds rows, all under one revision. */
export async function insertPrices(
  db: Database,
  prices: readonly NewPrice[],
): Promise<readonly StoredPrice[]> {
  if (prices.length === 0) return []
  return underNextRevision(db, 'price_revision', async (transaction, revision) => {
    // In batches: databases bound the number of parameters.
    for (let start = 0; start < prices.length; start += ROWS_AT_ONCE) {
      const batch = prices.slice(start, start + ROWS_AT_ONCE)
      await transaction
        .insertInto('prices')
        .values(batch.map((price) => ({ ...toColumns(price), revision })))
        .execute()
    }
    return prices.map((price) => ({ ...price, revision: Number(revision) }))
  })
}

/** Sets when a price ends, Unix ms. It may be brought forward, never put off. */
export async function endPrice(
  db: Database,
  id: string,
  to: number,
): Promise<StoredPrice | undefined> {
  return underNextRevision(db, 'price_revision', async (transaction, revision) => {
    const row = await transaction
      .updateTable('prices')
      .set({ effective_to: to, revision })
      .where('id', '=', id)
      .where((eb) => eb.or([eb('effective_to', 'is', null), eb('effective_to', '>', BigInt(to))]))
      .returningAll()
      .executeTakeFirst()
    return row && toPrice(row)
  })
}

/** @param unpriced `undefined`: as the installation has it */
export async function setPricePolicy(
  db: Database,
  tenantId: string,
  unpriced: PricePolicy['unpriced'] | undefined,
): Promise<void> {
  await underNextRevision(db, 'price_revision', async (transaction, revision) => {
    await transaction.deleteFrom('price_policies').where('tenant_id', '=', tenantId).execute()
    if (unpriced === undefined) return
    await transaction
      .insertInto('price_policies')
      .values({ tenant_id: tenantId, unpriced, revision })
      .execute()
  })
}

/** A price that entries name, described for good. */
export interface PriceVersion {
  readonly version: string
  readonly provider: string
  readonly model: string
  readonly description: Readonly<Record<string, unknown>>
  /** Unix ms. */
  readonly firstUsedAt: number
}

/** Keeps what versions mean; those that are known stay as they are. */
export async function keepPriceVersions(
  db: Database,
  versions: readonly PriceVersion[],
): Promise<void> {
  if (versions.length === 0) return
  await db
    .insertInto('price_versions')
    .values(
      versions.map(({ description, firstUsedAt, ...version }) => ({
        ...version,
        description: JSON.stringify(description),
        first_used_at: firstUsedAt,
      })),
    )
    .onConflict((conflict) => conflict.column('version').doNothing())
    .execute()
}

export async function getPriceVersion(
  db: Database,
  version: string,
): Promise<PriceVersion | undefined> {
  const row = await db
    .selectFrom('price_versions')
    .selectAll()
    .where('version', '=', version)
    .executeTakeFirst()
  if (row === undefined) return undefined
  const { description, first_used_at: firstUsedAt, ...rest } = row
  return { ...rest, description: JSON.parse(description), firstUsedAt: Number(firstUsedAt) }
}

const ROWS_AT_ONCE = 200

function visible(db: Database, tenantId: string) {
  const query = db.selectFrom('prices').selectAll()
  if (tenantId === '*') return query
  return query.where((eb) => eb.or([eb('tenant_id', 'is', null), eb('tenant_id', '=', tenantId)]))
}

function toColumns(price: NewPrice): Omit<Insertable<PricesTable>, 'revision'> {
  return {
    id: price.id,
    tenant_id: price.tenantId ?? null,
    provider: price.provider,
    model: price.model,
    effective_from: price.from ?? null,
    effective_to: price.to ?? null,
    rates: price.discount === undefined ? JSON.stringify(price.rates) : null,
    discount: price.discount ?? null,
    note: price.note,
    source: price.source,
    created_at: price.createdAt,
    created_by: price.createdBy,
  }
}

function toPrice(row: Selectable<PricesTable>): StoredPrice {
  const rates = row.rates === null ? undefined : parse(row.rates)
  return {
    id: row.id,
    ...(row.tenant_id !== null && { tenantId: row.tenant_id }),
    provider: row.provider,
    model: row.model,
    ...(row.effective_from !== null && { from: Number(row.effective_from) }),
    ...(row.effective_to !== null && { to: Number(row.effective_to) }),
    ...(rates !== undefined && { rates }),
    ...(row.discount !== null && { discount: row.discount }),
    note: row.note,
    source: row.source,
    createdAt: Number(row.created_at),
    createdBy: row.created_by,
    revision: Number(row.revision),
  }
}

/** A row that was damaged must not keep the others from being read. */
function parse(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
