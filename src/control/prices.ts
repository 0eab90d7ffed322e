import { z } from 'zod'
import { GatewayError } from '#errors'
import type { Price, PriceBook, PriceRow, PriceTarget } from '../metering/prices.ts'
import { modelPattern, percent, priceRates, since } from '../price-settings.ts'
import type { Database } from '../store/schema.ts'
import type {
  NewPrice,
  PriceFilter,
  PricePage,
  PriceVersion,
  StoredPrice,
} from '../store/prices.ts'
import { moment, notFound, page, pageOf, pageQuery, resource } from './resource.ts'
import type { Change, Principal, Resource } from './resource.ts'

export interface PricesDeps {
  readonly book: () => PriceBook
  readonly state: () => {
    readonly loadedAt: number
    readonly problems: readonly string[]
  }
  /** Whose price can be asked for: every model of the configured providers. */
  readonly targets: () => readonly (Omit<PriceTarget, 'tenantId'> & { readonly name: string })[]
  /** The same for any `provider/model`; `undefined` where no provider is called so. */
  readonly target: (name: string) => Omit<PriceTarget, 'tenantId'> | undefined
  readonly list: (db: Database, filter: PriceFilter) => Promise<PricePage>
  readonly get: (db: Database, visibleTo: string, id: string) => Promise<StoredPrice | undefined>
  readonly open: (
    db: Database,
    like: Pick<NewPrice, 'tenantId' | 'provider' | 'model' | 'discount'>,
  ) => Promise<readonly StoredPrice[]>
  readonly insert: (db: Database, prices: readonly NewPrice[]) => Promise<readonly StoredPrice[]>
  readonly end: (db: Database, id: string, to: number) => Promise<StoredPrice | undefined>
  readonly setPolicy: (
    db: Database,
    tenantId: string,
    unpriced: 'refuse' | 'allow' | undefined,
  ) => Promise<void>
  /** What holds for a tenant, and whether that is its own. */
  readonly policy: (tenantId: string) => {
    readonly unpriced: 'refuse' | 'allow'
    readonly inherited: boolean
  }
  readonly version: (db: Database, version: string) => Promise<PriceVersion | undefined>
  readonly findTenant: (
    db: Database,
    idOrName: string,
  ) => Promise<{ readonly id: string; readonly name: string } | undefined>
  /** The table was changed, and the change holds. */
  readonly changed: () => Promise<void>
  /** @throws GatewayError `invalid_value` for rates that cannot be reckoned with */
  readonly check: (row: Pick<PriceRow, 'rates' | 'discount'>) => void
  readonly describe: (price: Price) => {
    readonly source: string
    readonly match: string
    readonly matched: string
    readonly rates: Readonly<Record<string, unknown>>
  }
  readonly split: (pattern: string) => { readonly provider: string; readonly model: string }
  readonly newId: () => string
  readonly now: () => number
}

const STATUSES = ['in_force', 'scheduled', 'ended', 'superseded'] as const

const rates = z.record(z.string(), z.unknown()).meta({
  description: 'USD per million tokens, as decimals; `request`, `web_search` and `image` each',
})

const priceShape = z
  .strictObject({
    object: z.literal('price'),
    id: z.string(),
    model: z.string(),
    tenant_id: z.string().nullable().meta({ description: 'Null: for every tenant' }),
    source: z.enum(['tenant', 'operator', 'settings']),
    status: z.enum(STATUSES),
    effective_from: moment.nullable().meta({ description: 'Null: always was' }),
    effective_to: moment.nullable().meta({ description: 'Exclusive; null: no end' }),
    rates: priceRates.nullable(),
    discount_percent: z.string().nullable(),
    note: z.string(),
    set_by: z.string().meta({ description: 'Who set it, and through what' }),
    created_at: moment.nullable(),
    revision: z.int(),
  })
  .meta({ id: 'Price' })

const effectiveShape = z
  .strictObject({
    object: z.literal('price.effective'),
    id: z.string().meta({ description: 'provider/model' }),
    version: z.string().nullable().meta({ description: 'Null: unpriced' }),
    source: z.string().nullable(),
    match: z.string().nullable(),
    rates: rates.nullable(),
  })
  .meta({ id: 'EffectivePrice' })

const historyShape = z
  .strictObject({
    object: z.literal('price.history'),
    version: z.string(),
    source: z.string(),
    status: z.enum(STATUSES),
    effective_from: moment.nullable(),
    effective_to: moment.nullable(),
    daily: z.string().nullable().meta({ description: 'Times of day, UTC' }),
    rates: rates.nullable(),
    discount_percent: z.string().nullable(),
    note: z.string(),
    set_by: z.string().nullable(),
  })
  .meta({ id: 'PriceHistory' })

const versionShape = z
  .strictObject({
    object: z.literal('price.version'),
    version: z.string(),
    provider: z.string().nullable(),
    model: z.string().nullable(),
    source: z.string(),
    match: z.string(),
    matched: z.string(),
    rates,
    service_tier: z.string().nullable(),
    uncovered: z
      .array(z.string())
      .meta({ description: 'Parts of the usage that had no price of their own' }),
    first_used_at: moment.nullable(),
    price: priceShape.nullable().meta({ description: 'The row that was set, where it was one' }),
    discount: priceShape.nullable(),
  })
  .meta({ id: 'PriceVersion' })

const setting = {
  model: modelPattern,
  tenant: z
    .string()
    .min(1)
    .max(100)
    .nullish()
    .meta({ description: 'Id or name; absent: for every tenant' }),
  rates: priceRates.optional(),
  discount_percent: percent.optional(),
  effective_from: since
    .nullish()
    .meta({ description: 'A day (UTC) or RFC 3339; absent: now; null: always was' }),
  effective_to: since.nullish(),
  note: z.string().max(500).optional(),
}

const dryRun = z.boolean().optional().meta({ description: 'Checks and answers; changes nothing' })

const setBody = z.strictObject({ ...setting, dry_run: dryRun })

type Setting = Omit<z.output<typeof setBody>, 'dry_run'>

const problems = z.array(z.string()).meta({
  description: 'Why the prices in force are not the latest; empty when they are',
})

const policyShape = z
  .strictObject({
    object: z.literal('price.policy'),
    tenant_id: z.string(),
    unpriced: z.enum(['refuse', 'allow']),
    inherited: z.boolean().meta({ description: 'As the installation has it' }),
  })
  .meta({ id: 'PricePolicy' })

const named = z.strictObject({
  model: z.string().min(1).max(300).meta({ description: 'provider/model' }),
})

const MOST_IMPORTED = 3000

export function priceResources(deps: PricesDeps): readonly Resource[] {
  return [
    resource({
      method: 'get',
      path: '/admin/v1/prices',
      permission: 'prices.read',
      acrossTenants: true,
      summary: 'Prices and discounts that were set, newest first: your own and those for all',
      query: z.strictObject({
        ...pageQuery,
        model: modelPattern.optional().meta({ description: 'These very patterns' }),
        of: z
          .string()
          .max(100)
          .optional()
          .meta({ description: '`operator`: those for all; else a tenant’s id' }),
        all: z.enum(['true', 'false']).optional().meta({ description: 'Ended ones too' }),
      }),
      response: pageOf(priceShape).extend({ problems }),
      async handle({ principal, query, db }) {
        const { limit, after, of, model, all } = query
        const found = await deps.list(db, {
          limit,
          visibleTo: reachOf(principal),
          ...(model !== undefined && deps.split(model)),
          ...(after !== undefined && { after }),
          ...(of !== undefined && { of }),
          ...(all !== 'true' && { notEndedAt: deps.now() }),
        })
        const rows = found.prices.map((price) => writePrice(price, deps.now()))
        return { body: { ...page(rows, found.hasMore), problems: problemsFor(principal, deps) } }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/prices/effective',
      permission: 'prices.read',
      summary: 'What each model costs you at a moment, and which price says so',
      query: z.strictObject({
        limit: z.coerce.number().int().min(1).max(100).default(100),
        after: pageQuery.after,
        model: z.string().max(300).optional().meta({ description: 'This provider/model alone' }),
        at: since.optional(),
        service_tier: z.string().max(40).optional(),
      }),
      response: pageOf(effectiveShape).extend({ problems, loaded_at: moment }),
      handle({ principal, query }) {
        const at = query.at ?? deps.now()
        const { loadedAt } = deps.state()
        const rows = targetsOf(query.model, deps)
          .toSorted((a, b) => (a.name < b.name ? -1 : 1))
          .filter(({ name }) => query.after === undefined || name > query.after)
        const shown = rows.slice(0, query.limit).map(({ name, ...target }) =>
          writeEffective(
            name,
            deps.book().find({ ...target, tenantId: principal.tenantId }, at, {
              serviceTier: query.service_tier,
            }),
            deps,
          ),
        )
        return {
          body: {
            ...page(shown, rows.length > shown.length),
            problems: problemsFor(principal, deps),
            loaded_at: new Date(loadedAt).toISOString(),
          },
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/prices/history',
      permission: 'prices.read',
      summary: 'Every price and discount of a model, of all sources; the first that holds counts',
      query: named,
      response: z.strictObject({ object: z.literal('list'), data: z.array(historyShape) }),
      async handle({ principal, query, db }) {
        const [target] = targetsOf(query.model, deps)
        if (target === undefined) throw notFound('provider of', query.model)
        const data = await historyOf({ ...target, tenantId: principal.tenantId }, db, deps)
        return { body: { object: 'list', data } }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/prices/version',
      permission: 'prices.read',
      summary: 'What the version of a price means that a ledger entry names',
      query: z.strictObject({ version: z.string().min(1).max(600) }),
      response: versionShape,
      async handle({ principal, query, db }) {
        return { body: await explain(query.version, reachOf(principal), db, deps) }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/prices/policy',
      permission: 'prices.read',
      summary: 'What happens to requests of the tenant whose model has no price',
      response: policyShape,
      handle: ({ principal }) => ({ body: writePolicy(principal.tenantId, deps) }),
    }),
    resource({
      method: 'put',
      path: '/admin/v1/prices/policy',
      permission: 'prices.write',
      summary: 'Refuse such requests, or let them pass as unpriced; null: as the installation does',
      body: z.strictObject({
        unpriced: z.enum(['refuse', 'allow']).nullable(),
        dry_run: dryRun,
      }),
      response: policyShape,
      async handle({ principal, body, db }) {
        const { tenantId } = principal
        const before = writePolicy(tenantId, deps)
        const inherited = body.unpriced === null
        const after = { ...before, inherited, unpriced: body.unpriced ?? before.unpriced }
        if (body.dry_run === true) return { body: after, changes: [] }
        await deps.setPolicy(db, tenantId, body.unpriced ?? undefined)
        return {
          body: after,
          changes: [{ type: 'price.policy', id: tenantId, before, after }],
          committed: deps.changed,
        }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/prices',
      permission: 'prices.write',
      summary: 'Set a price or a discount: it ends the one before; nothing is ever edited',
      body: setBody,
      response: priceShape,
      status: 201,
      async handle({ principal, body, db, expectVersion }) {
        const { dry_run: isDry, ...wanted } = body
        const made = await plan(db, [wanted], principal, 'api', deps)
        const [row] = made.rows
        const [same] = made.unchanged
        expectVersion(made.revision)
        if (row === undefined) {
          return { body: same, version: same?.revision ?? 0, changes: [] }
        }
        if (isDry === true) {
          return { body: writePrice({ ...row, revision: 0 }, deps.now()), changes: [] }
        }
        const { inserted, changes } = await store(db, made, deps)
        const [price] = inserted
        return {
          status: 201,
          version: price!.revision,
          body: writePrice(price!, deps.now()),
          changes,
          committed: deps.changed,
        }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/prices/import',
      permission: 'prices.write',
      summary: 'Set many prices at once: all of them, or none where one is wrong',
      body: z.strictObject({
        prices: z.array(z.strictObject(setting)).min(1).max(MOST_IMPORTED),
        source: z.string().max(60).optional().meta({ description: 'Where they are from' }),
        dry_run: dryRun,
      }),
      response: z.strictObject({
        object: z.literal('price.import'),
        set: z.int(),
        ended: z.int(),
        unchanged: z.int(),
        data: z.array(priceShape),
      }),
      async handle({ principal, body, db }) {
        const source = `import:${body.source ?? 'api'}`
        const made = await plan(db, body.prices, principal, source, deps)
        const isDry = body.dry_run === true
        const done = isDry
          ? { inserted: made.rows.map((row) => ({ ...row, revision: 0 })), changes: [] }
          : await store(db, made, deps)
        return {
          body: {
            object: 'price.import',
            set: made.rows.length,
            ended: made.ends.length,
            unchanged: made.unchanged.length,
            data: done.inserted.map((price) => writePrice(price, deps.now())),
          },
          changes: done.changes,
          ...(!isDry && { committed: deps.changed }),
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/prices/{id}',
      permission: 'prices.read',
      acrossTenants: true,
      summary: 'One price or discount that was set',
      params: byId,
      response: priceShape,
      async handle({ principal, params, db }) {
        const price = await deps.get(db, reachOf(principal), params.id)
        if (price === undefined) throw notFound('price', params.id)
        return { body: writePrice(price, deps.now()), version: price.revision }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/prices/{id}/end',
      permission: 'prices.write',
      acrossTenants: true,
      summary: 'End a price: what was before it, or the next source, counts again',
      params: byId,
      body: z.strictObject({
        effective_to: since.optional().meta({ description: 'Absent: now' }),
        dry_run: dryRun,
      }),
      response: priceShape,
      async handle({ principal, params, body, db, expectVersion }) {
        const price = await deps.get(db, reachOf(principal), params.id)
        if (price === undefined) throw notFound('price', params.id)
        expectVersion(price.revision)
        const to = Math.max(body.effective_to ?? deps.now(), price.from ?? 0)
        if (price.to !== undefined && price.to <= to) {
          throw new GatewayError('conflict', `It ends at ${iso(price.to)} already`)
        }
        const before = writePrice(price, deps.now())
        if (body.dry_run === true) {
          return { body: writePrice({ ...price, to }, deps.now()), changes: [] }
        }
        const ended = await deps.end(db, price.id, to)
        if (ended === undefined) throw notFound('price', params.id)
        const after = writePrice(ended, deps.now())
        return {
          body: after,
          version: ended.revision,
          changes: [{ type: 'price', id: price.id, before, after }],
          committed: deps.changed,
        }
      },
    }),
  ]
}

const byId = z.strictObject({ id: z.string().regex(/^price_\w{1,64}$/, 'expected price_...') })

/** What is wrong with files and rows is the operator's to read. */
function problemsFor({ isPlatform }: Principal, deps: PricesDeps): string[] {
  const { problems: all } = deps.state()
  if (isPlatform || all.length === 0) return [...all]
  return ['The prices in force are not the latest: whoever runs Tollgate is told why']
}

/** A tenant sees its own prices and those for all; the platform may see everybody's. */
function reachOf({ isPlatform, tenantId }: Principal): string {
  return isPlatform ? '*' : tenantId
}

function targetsOf(model: string | undefined, deps: PricesDeps): ReturnType<PricesDeps['targets']> {
  if (model === undefined) return deps.targets()
  const target = deps.target(model)
  return target === undefined ? [] : [{ ...target, name: model }]
}

interface Planned {
  readonly rows: readonly NewPrice[]
  readonly ends: readonly { readonly price: StoredPrice; readonly to: number }[]
  /** What is set so already. */
  readonly unchanged: readonly z.input<typeof priceShape>[]
  /** Of the price that the only one wanted follows; 0 for none. */
  readonly revision: number
}

/** What setting prices comes to. */
async function plan(
  db: Database,
  wanted: readonly Setting[],
  principal: Principal,
  source: string,
  deps: PricesDeps,
): Promise<Planned> {
  const now = deps.now()
  const rows: NewPrice[] = []
  const ends: { price: StoredPrice; to: number }[] = []
  const unchanged: z.input<typeof priceShape>[] = []
  let revision = 0
  const seen = new Set<string>()
  for (const [index, one] of wanted.entries()) {
    const row = await readSetting(db, one, principal, source, now, deps).catch((error: unknown) => {
      throw wanted.length > 1 ? atRow(error, index, one.model) : error
    })
    const place = `${placeOf(row)} ${row.from}`
    if (seen.has(place)) {
      throw new GatewayError('invalid_value', `prices.${index}: ${one.model} stands twice`)
    }
    seen.add(place)
    const open = await deps.open(db, row)
    const from = row.from ?? 0
    const [next] = open
      .filter((price) => (price.from ?? 0) > from)
      .toSorted((a, b) => (a.from ?? 0) - (b.from ?? 0))
    const before = open.filter((price) => (price.from ?? 0) <= from)
    const current = before.at(-1)
    revision = current?.revision ?? 0
    const isAsNow = one.effective_from === undefined && row.to === undefined && next === undefined
    if (current !== undefined && isAsNow && saysTheSame(current, row)) {
      unchanged.push(writePrice(current, now))
      continue
    }
    // One that is to begin later still does.
    const to = row.to ?? next?.from
    rows.push({ ...row, ...(to !== undefined && { to }) })
    if (row.to !== undefined) continue
    for (const price of before) ends.push({ price, to: from })
  }
  return { rows: chained(rows), ends, unchanged, revision }
}

/** Of rows for the same patterns set at once, each holds until the next begins. */
function chained(rows: readonly NewPrice[]): readonly NewPrice[] {
  const latest = new Map<string, NewPrice>()
  return rows
    .toSorted((a, b) => (b.from ?? 0) - (a.from ?? 0))
    .map((row) => {
      const place = placeOf(row)
      const next = latest.get(place)
      latest.set(place, row)
      return row.to === undefined && next?.from !== undefined ? { ...row, to: next.from } : row
    })
    .toReversed()
}

function placeOf({ tenantId, provider, model, discount }: NewPrice): string {
  return `${tenantId} ${provider}/${model} ${discount === undefined}`
}

function saysTheSame(price: StoredPrice, wanted: NewPrice): boolean {
  return (
    price.discount === wanted.discount &&
    JSON.stringify(entriesOf(price.rates)) === JSON.stringify(entriesOf(wanted.rates))
  )
}

function entriesOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(entriesOf)
  if (typeof value !== 'object' || value === null) return value
  return Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => [name, entriesOf(member)])
}

function atRow(error: unknown, index: number, model: string): unknown {
  if (!(error instanceof GatewayError)) return error
  return new GatewayError(error.code, `prices.${index} (${model}): ${error.message}`, {
    param: `prices.${index}`,
  })
}

async function readSetting(
  db: Database,
  one: Setting,
  principal: Principal,
  source: string,
  now: number,
  deps: PricesDeps,
): Promise<NewPrice> {
  const { rates: given, discount_percent: discount } = one
  if ((given === undefined) === (discount === undefined)) {
    throw new GatewayError('invalid_value', 'expected either rates or discount_percent', {
      param: 'rates',
    })
  }
  deps.check({
    ...(given !== undefined && { rates: given }),
    ...(discount !== undefined && { discount }),
  })
  const from = one.effective_from === undefined ? now : (one.effective_from ?? undefined)
  const to = one.effective_to ?? undefined
  if (to !== undefined && to <= (from ?? 0)) {
    throw new GatewayError('invalid_value', 'effective_to: ends before it begins', {
      param: 'effective_to',
    })
  }
  const tenant = one.tenant == null ? undefined : await deps.findTenant(db, one.tenant)
  if (one.tenant != null && tenant === undefined) throw notFound('tenant', one.tenant)
  return {
    id: deps.newId(),
    ...(tenant !== undefined && { tenantId: tenant.id }),
    ...deps.split(one.model),
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    ...(given !== undefined && { rates: given }),
    ...(discount !== undefined && { discount }),
    note: one.note ?? '',
    source,
    createdAt: now,
    createdBy: principal.id,
  }
}

async function store(
  db: Database,
  { rows, ends }: Planned,
  deps: PricesDeps,
): Promise<{ readonly inserted: readonly StoredPrice[]; readonly changes: readonly Change[] }> {
  const changes: Change[] = []
  for (const { price, to } of ends) {
    const ended = await deps.end(db, price.id, to)
    if (ended === undefined) continue
    const before = writePrice(price, deps.now())
    changes.push({ type: 'price', id: price.id, before, after: writePrice(ended, deps.now()) })
  }
  const inserted = await deps.insert(db, rows)
  for (const price of inserted) {
    changes.push({ type: 'price', id: price.id, after: writePrice(price, deps.now()) })
  }
  return { inserted, changes }
}

function writePrice(price: StoredPrice, now: number): z.input<typeof priceShape> {
  return {
    object: 'price',
    id: price.id,
    model: `${price.provider}/${price.model}`,
    tenant_id: price.tenantId ?? null,
    source: price.tenantId === undefined ? 'operator' : 'tenant',
    status: statusOf(price, now),
    effective_from: price.from === undefined ? null : iso(price.from),
    effective_to: price.to === undefined ? null : iso(price.to),
    rates: (price.rates as z.input<typeof priceRates> | undefined) ?? null,
    discount_percent: price.discount ?? null,
    note: price.note,
    set_by: `${price.createdBy} (${price.source})`,
    created_at: iso(price.createdAt),
    revision: price.revision,
  }
}

function statusOf(
  { from = 0, to = Infinity }: Pick<StoredPrice, 'from' | 'to'>,
  now: number,
): (typeof STATUSES)[number] {
  if (to <= from) return 'superseded'
  if (now < from) return 'scheduled'
  return now < to ? 'in_force' : 'ended'
}

function iso(time: number): string {
  return new Date(time).toISOString()
}

function writeEffective(
  id: string,
  price: Price | undefined,
  deps: PricesDeps,
): z.input<typeof effectiveShape> {
  const { source, match, rates: shown } = price === undefined ? NO_PRICE : deps.describe(price)
  return {
    object: 'price.effective',
    id,
    version: price?.version ?? null,
    source,
    match,
    rates: shown,
  }
}

const NO_PRICE = { source: null, match: null, rates: null }

async function historyOf(
  target: PriceTarget,
  db: Database,
  deps: PricesDeps,
): Promise<z.input<typeof historyShape>[]> {
  const now = deps.now()
  const { prices, discounts } = deps.book().history(target)
  const stored = async (row: PriceRow | undefined): Promise<StoredPrice | undefined> =>
    row?.origin === 'table' ? deps.get(db, '*', row.id) : undefined
  const priced = prices.map(async ({ price, row, from, to, daily }) => ({
    object: 'price.history' as const,
    version: price?.version ?? row?.id ?? '',
    source: price?.source ?? 'unreadable',
    ...whenOf({ from, to }, now),
    daily: daily === undefined ? null : `${timeOfDay(daily.start)}-${timeOfDay(daily.end)}`,
    rates: price === undefined ? null : { ...deps.describe(price).rates, ...tiersOf(row) },
    discount_percent: null,
    ...whoSet(await stored(row)),
  }))
  const cheaper = discounts.map(async ({ row, from, to }) => ({
    object: 'price.history' as const,
    version: row.id,
    source: row.tenantId === undefined ? 'operator' : 'tenant',
    ...whenOf({ from, to }, now),
    daily: null,
    rates: null,
    discount_percent: row.discount ?? null,
    ...whoSet(await stored(row)),
  }))
  return Promise.all([...priced, ...cheaper])
}

function tiersOf(row: PriceRow | undefined): object {
  const tiers = row?.rates?.service_tiers
  return tiers === undefined ? {} : { service_tiers: tiers }
}

function whenOf(
  { from, to }: { readonly from: number | undefined; readonly to: number | undefined },
  now: number,
) {
  return {
    status: statusOf({ ...(from !== undefined && { from }), ...(to !== undefined && { to }) }, now),
    effective_from: from === undefined ? null : iso(from),
    effective_to: to === undefined ? null : iso(to),
  }
}

function whoSet(stored: StoredPrice | undefined) {
  return {
    note: stored?.note ?? '',
    set_by: stored === undefined ? null : `${stored.createdBy} (${stored.source})`,
  }
}

function timeOfDay(ms: number): string {
  return new Date(ms).toISOString().slice(11, 16)
}

/** `<price>[;tier][%discount][!uncovered]`, each said. */
async function explain(
  version: string,
  visibleTo: string,
  db: Database,
  deps: PricesDeps,
): Promise<z.input<typeof versionShape>> {
  const [priced = '', gap = ''] = version.split('!')
  const [tiered = '', discountId] = priced.split('%')
  const [base = '', tier] = tiered.split(';')
  const rowId = /:(price_\w+)$/.exec(base)?.[1]
  const row = rowId === undefined ? undefined : await deps.get(db, visibleTo, rowId)
  const discount = discountId === undefined ? undefined : await deps.get(db, visibleTo, discountId)
  // A tenant's own price is no business of another.
  if (rowId !== undefined && row === undefined) throw notFound('version of a price', version)
  if (discountId?.startsWith('price_') && discount === undefined) {
    throw notFound('version of a price', version)
  }
  const known =
    (await deps.version(db, priced)) ??
    (await deps.version(db, tiered)) ??
    (await deps.version(db, base))
  const described = known?.description ?? describeInForce(base, row, deps)
  if (described === undefined) throw notFound('version of a price', version)
  return {
    object: 'price.version',
    version,
    provider: known?.provider ?? null,
    model: known?.model ?? null,
    ...(described as Pick<z.input<typeof versionShape>, 'source' | 'match' | 'matched' | 'rates'>),
    service_tier: tier ?? null,
    uncovered: gap === '' ? [] : gap.split('+'),
    first_used_at: known === undefined ? null : iso(known.firstUsedAt),
    price: row === undefined ? null : writePrice(row, deps.now()),
    discount: discount === undefined ? null : writePrice(discount, deps.now()),
  }
}

/** A version that no entry named yet. */
function describeInForce(
  version: string,
  row: StoredPrice | undefined,
  deps: PricesDeps,
): object | undefined {
  if (row !== undefined) {
    const source = row.tenantId === undefined ? 'operator' : 'tenant'
    const matched = `${row.provider}/${row.model}`
    return { source, match: 'exact', matched, rates: row.rates ?? {} }
  }
  for (const { name: _, ...target } of deps.targets()) {
    for (const { price } of deps.book().history(target).prices) {
      if (price?.version === version) return deps.describe(price)
    }
  }
  return undefined
}

function writePolicy(tenantId: string, deps: PricesDeps): z.input<typeof policyShape> {
  return { object: 'price.policy', tenant_id: tenantId, ...deps.policy(tenantId) }
}
