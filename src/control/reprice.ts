import { z } from 'zod'
import { GatewayError } from '#errors'
import type { NanoUsd } from '#protocol'
import { modelPattern, since } from '../price-settings.ts'
import type { Database } from '../store/schema.ts'
import { money, moment, notFound, resource, usd } from './resource.ts'
import type { Resource } from './resource.ts'

/** A run as it is kept; amounts in `result` are nano-dollars as text. */
export interface RepricingRun {
  readonly id: string
  readonly status: 'running' | 'done' | 'failed' | 'interrupted'
  readonly query: Readonly<Record<string, unknown>>
  readonly result: Readonly<Record<string, unknown>>
  /** Unix ms. */
  readonly createdAt: number
  readonly createdBy: string
  readonly updatedAt: number
}

export interface RepriceDeps {
  /** @returns false where another one is running */
  readonly insert: (db: Database, run: RepricingRun) => Promise<boolean>
  readonly get: (db: Database, id: string) => Promise<RepricingRun | undefined>
  readonly list: (db: Database, limit: number) => Promise<readonly RepricingRun[]>
  /** The run under way, if there is one that is alive. */
  readonly running: (db: Database, aliveSince: number) => Promise<RepricingRun | undefined>
  /** Begins a run that is kept. */
  readonly start: (id: string, query: RepriceQuery) => void
  readonly findTenant: (
    db: Database,
    idOrName: string,
  ) => Promise<{ readonly id: string } | undefined>
  readonly split: (pattern: string) => { readonly provider: string; readonly model: string }
  readonly newId: () => string
  readonly formatUsd: (nanos: NanoUsd) => string
  readonly now: () => number
}

export interface RepriceQuery {
  /** Unix ms. */
  readonly from: number
  readonly to: number
  readonly provider?: string
  readonly model?: string
  readonly tenantId?: string
  readonly reason: string
  readonly dryRun: boolean
}

/** A run that has not said anything for so long is gone, ms. */
const SILENCE_MS = 60_000

const runShape = z
  .strictObject({
    object: z.literal('repricing'),
    id: z.string(),
    status: z.enum(['running', 'done', 'failed', 'interrupted']).meta({
      description: 'Interrupted or failed: to run it again does the rest, and nothing twice',
    }),
    dry_run: z.boolean(),
    from: moment,
    to: moment,
    model: z.string().nullable(),
    provider: z.string().nullable(),
    tenant_id: z.string().nullable(),
    reason: z.string(),
    seen: z.int(),
    adjusted: z.int().meta({ description: 'Entries that get an adjustment' }),
    priced: z.int().meta({ description: 'Of these, entries that had no cost' }),
    unchanged: z.int(),
    without_price: z.int(),
    at_bound: z.int().meta({
      description: 'Charged at what was held when a process died: there is no count to price',
    }),
    before: money.meta({ description: 'What the adjusted entries cost so far' }),
    after: money,
    delta: money,
    groups: z.array(
      z.strictObject({
        tenant_id: z.string(),
        model: z.string(),
        from: z.string().nullable().meta({ description: 'Version of the price; null: unpriced' }),
        to: z.string(),
        entries: z.int(),
        before: money,
        after: money,
        delta: money,
      }),
    ),
    other_groups: z.int().meta({ description: 'Entries of groups beyond those shown' }),
    error: z.string().nullable(),
    created_at: moment,
    created_by: z.string(),
    updated_at: moment,
  })
  .meta({ id: 'Repricing' })

export function repriceResources(deps: RepriceDeps): readonly Resource[] {
  return [
    resource({
      method: 'post',
      path: '/admin/v1/costs/reprice',
      permission: 'prices.write',
      summary: 'Price entries anew by the prices of their admission as they are known now',
      body: z.strictObject({
        from: since.meta({ description: 'Of admission, inclusive' }),
        to: since.optional().meta({ description: 'Exclusive; absent: now' }),
        model: modelPattern.optional(),
        provider: z
          .string()
          .regex(/^[\w.*-]{1,64}$/, 'expected the name of a provider')
          .optional(),
        tenant: z.string().min(1).max(100).optional().meta({ description: 'Absent: all' }),
        reason: z.string().trim().min(1).max(200).optional(),
        dry_run: z.boolean().optional().meta({ description: 'Reckons; writes nothing' }),
      }),
      response: runShape,
      status: 202,
      async handle({ principal, body, db }) {
        const now = deps.now()
        const to = body.to ?? now
        if (to <= body.from) {
          throw new GatewayError('invalid_value', 'to: ends before it begins', { param: 'to' })
        }
        const tenant =
          body.tenant === undefined ? undefined : await deps.findTenant(db, body.tenant)
        if (body.tenant !== undefined && tenant === undefined) {
          throw notFound('tenant', body.tenant)
        }
        const other = await deps.running(db, now - SILENCE_MS)
        const query: RepriceQuery = {
          from: body.from,
          to,
          ...(body.provider !== undefined && { provider: body.provider }),
          ...(body.model !== undefined && deps.split(body.model)),
          ...(tenant !== undefined && { tenantId: tenant.id }),
          reason: body.reason ?? 'repriced',
          dryRun: body.dry_run === true,
        }
        const run: RepricingRun = {
          id: deps.newId(),
          status: 'running',
          query: { ...query },
          result: {},
          createdAt: now,
          createdBy: principal.id,
          updatedAt: now,
        }
        if (!(await deps.insert(db, run))) {
          throw new GatewayError(
            'conflict',
            `${other?.id ?? 'Another'} is under way: two at once could adjust an entry twice; wait for it`,
          )
        }
        const after = writeRun(run, deps)
        return {
          status: 202,
          body: after,
          changes: query.dryRun ? [] : [{ type: 'repricing', id: run.id, after }],
          committed: () => deps.start(run.id, query),
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/costs/reprice',
      permission: 'prices.write',
      summary: 'Runs that priced entries anew, the latest first',
      query: z.strictObject({ limit: z.coerce.number().int().min(1).max(100).default(20) }),
      response: z.strictObject({ object: z.literal('list'), data: z.array(runShape) }),
      async handle({ query, db }) {
        const runs = await deps.list(db, query.limit)
        return { body: { object: 'list', data: runs.map((run) => writeRun(run, deps)) } }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/costs/reprice/{id}',
      permission: 'prices.write',
      summary: 'How far such a run is, or what came of it',
      params: z.strictObject({
        id: z.string().regex(/^reprice_\w{1,64}$/, 'expected reprice_...'),
      }),
      response: runShape,
      async handle({ params, db }) {
        const run = await deps.get(db, params.id)
        if (run === undefined) throw notFound('repricing', params.id)
        return { body: writeRun(run, deps) }
      },
    }),
  ]
}

/** As `gateway/repricing.ts` keeps it. */
interface Kept {
  readonly seen?: number
  readonly adjusted?: number
  readonly priced?: number
  readonly unchanged?: number
  readonly withoutPrice?: number
  readonly atBound?: number
  readonly before?: string
  readonly after?: string
  readonly groups?: readonly {
    readonly tenantId: string
    readonly model: string
    readonly from: string | null
    readonly to: string
    readonly entries: number
    readonly before: string
    readonly after: string
  }[]
  readonly otherGroups?: number
  readonly error?: string
}

function writeRun(
  run: RepricingRun,
  { formatUsd, now }: Pick<RepriceDeps, 'formatUsd' | 'now'>,
): z.input<typeof runShape> {
  const query = run.query as unknown as RepriceQuery
  const result = run.result as Kept
  const isSilent = run.status === 'running' && run.updatedAt < now() - SILENCE_MS
  const iso = (time: number): string => new Date(time).toISOString()
  const amounts = (before = '0', after = '0') => ({
    before: usd(BigInt(before), formatUsd),
    after: usd(BigInt(after), formatUsd),
    delta: usd(BigInt(after) - BigInt(before), formatUsd),
  })
  return {
    object: 'repricing',
    id: run.id,
    status: isSilent ? 'interrupted' : run.status,
    dry_run: query.dryRun,
    from: iso(query.from),
    to: iso(query.to),
    model: query.model ?? null,
    provider: query.provider ?? null,
    tenant_id: query.tenantId ?? null,
    reason: query.reason,
    seen: result.seen ?? 0,
    adjusted: result.adjusted ?? 0,
    priced: result.priced ?? 0,
    unchanged: result.unchanged ?? 0,
    without_price: result.withoutPrice ?? 0,
    at_bound: result.atBound ?? 0,
    ...amounts(result.before, result.after),
    groups: (result.groups ?? []).map(({ tenantId, before, after, ...group }) => ({
      tenant_id: tenantId,
      ...group,
      ...amounts(before, after),
    })),
    other_groups: result.otherGroups ?? 0,
    error: result.error ?? null,
    created_at: iso(run.createdAt),
    created_by: run.createdBy,
    updated_at: iso(run.updatedAt),
  }
}
