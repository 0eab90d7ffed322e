import { z } from 'zod'
import type { Entry } from '#protocol'
import { moment, notFound, resource } from './resource.ts'
import type { Resource } from './resource.ts'

export interface SystemDeps {
  readonly version: string
  readonly startedAt: number
  /** Whatever keeps the data plane from serving; nothing when it can serve. */
  readonly ailments: () => readonly string[]
  /** What is wrong but keeps nobody from being served. */
  readonly warnings: () => readonly string[]
  readonly inFlight: () => number
  /** Where the data plane listens, `http://host:port`; absent while it does not. */
  readonly dataUrl: () => string | undefined
  readonly database: 'sqlite' | 'postgres'
  readonly metrics: { readonly contentType: string; text(): Promise<string> }
  readonly entries: (tenantId: string, requestId: string) => Promise<readonly Entry[]>
  readonly formatUsd: (nanos: bigint) => string
  /** The OpenAPI page of all routes. */
  readonly openapi: () => object
}

const health = z
  .strictObject({
    status: z.enum(['ok', 'unavailable']),
    version: z.string(),
    started_at: moment,
    database: z.enum(['sqlite', 'postgres']),
    requests_in_flight: z.int(),
    data_url: z.string().nullable().meta({
      description:
        'Where the data plane listens, as the server sees it: 0.0.0.0 and [::] are every address; behind a proxy callers may need another',
    }),
    problems: z.array(z.string()).readonly(),
    warnings: z
      .array(z.string())
      .readonly()
      .meta({ description: 'What is wrong but keeps nobody from being served' }),
  })
  .meta({ id: 'Health' })

const alive = z.strictObject({ status: z.enum(['ok', 'unavailable']), version: z.string() })

export const ledgerEntry = z
  .looseObject({
    id: z.string(),
    attempt: z.int(),
    provider: z.string(),
    model: z.string(),
    outcome: z.string(),
    usage: z.record(z.string(), z.int()),
    cost_usd: z.string().nullable(),
  })
  .meta({ id: 'LedgerEntry' })

export function systemResources(deps: SystemDeps): readonly Resource[] {
  const state = () => {
    const problems = deps.ailments()
    return { status: problems.length === 0 ? ('ok' as const) : ('unavailable' as const), problems }
  }
  const ready = (path: '/readyz' | '/healthz'): Resource =>
    resource({
      method: 'get',
      path,
      permission: 'public',
      summary: 'Whether requests can be served; 503 when not',
      response: alive,
      handle() {
        const { status } = state()
        return { status: status === 'ok' ? 200 : 503, body: { status, version: deps.version } }
      },
    })
  return [
    resource({
      method: 'get',
      path: '/livez',
      permission: 'public',
      summary: 'Whether the process answers',
      response: alive,
      handle: () => ({ body: { status: 'ok', version: deps.version } }),
    }),
    ready('/readyz'),
    ready('/healthz'),
    resource({
      method: 'get',
      path: '/admin/v1/health',
      permission: 'system.read',
      summary: 'How the gateway is, in detail',
      response: health,
      handle: () => ({
        body: {
          ...state(),
          warnings: deps.warnings(),
          version: deps.version,
          started_at: new Date(deps.startedAt).toISOString(),
          database: deps.database,
          requests_in_flight: deps.inFlight(),
          data_url: deps.dataUrl() ?? null,
        } satisfies z.input<typeof health>,
      }),
    }),
    resource({
      method: 'get',
      path: '/metrics',
      permission: 'system.read',
      summary: 'Metrics in the text form of Prometheus',
      handle: async () => ({ body: await deps.metrics.text(), type: deps.metrics.contentType }),
    }),
    resource({
      method: 'get',
      path: '/admin/v1/openapi.json',
      permission: 'self.read',
      ownable: true,
      summary: 'This API as OpenAPI 3.1, from the schemas that validate it',
      handle: () => ({ body: deps.openapi() }),
    }),
    resource({
      method: 'get',
      path: '/admin/v1/requests/{id}',
      permission: 'requests.read',
      ownable: true,
      summary: 'The ledger entries of one request, an attempt each',
      params: z.strictObject({ id: z.string().regex(/^req_[0-9a-f]{1,64}$/, 'expected req_...') }),
      response: z.strictObject({ object: z.literal('list'), data: z.array(ledgerEntry) }),
      async handle({ principal, params }) {
        const entries = await deps.entries(principal.tenantId, params.id)
        const isHidden = principal.own && entries.some(({ userId }) => userId !== principal.userId)
        if (entries.length === 0 || isHidden) throw notFound('request', params.id)
        // One whose tokens had to be counted is written after those that followed it.
        const inOrder = entries.toSorted((one, other) => one.attempt - other.attempt)
        return {
          body: { object: 'list', data: inOrder.map((entry) => writeEntry(entry, deps.formatUsd)) },
        }
      },
    }),
  ]
}

export function writeEntry(
  entry: Entry,
  formatUsd: (nanos: bigint) => string,
): z.input<typeof ledgerEntry> {
  return {
    id: entry.id,
    kind: entry.kind,
    request_id: entry.requestId,
    attempt: entry.attempt,
    application_id: entry.applicationId,
    key_id: entry.keyId,
    endpoint: entry.endpoint,
    model_asked: entry.modelAsked,
    provider: entry.provider,
    model: entry.model,
    model_served: entry.modelServed ?? null,
    admitted_at: new Date(entry.admittedAt).toISOString(),
    started_at: new Date(entry.startedAt).toISOString(),
    duration_ms: entry.durationMs,
    first_event_ms: entry.firstEventMs ?? null,
    stream: entry.stream,
    outcome: entry.outcome,
    error_code: entry.errorCode ?? null,
    finish_reason: entry.finishReason ?? null,
    end_user: entry.endUser ?? null,
    usage: { ...entry.usage },
    usage_source: entry.usageSource,
    cost_usd: entry.cost === undefined ? null : formatUsd(entry.cost),
    list_cost_usd: entry.listCost === undefined ? null : formatUsd(entry.listCost),
    price_version: entry.priceVersion ?? null,
    cost_lines:
      entry.costLines?.map(({ type, quantity, cost }) => ({
        type,
        quantity,
        cost_usd: formatUsd(cost),
      })) ?? null,
    adjusts: entry.adjusts ?? null,
    reason: entry.reason ?? null,
  }
}
