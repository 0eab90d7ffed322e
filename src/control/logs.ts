import { z } from 'zod'
import type { Entry } from '#protocol'
import type { DecisionFilter, Decisions } from '../store/decisions.ts'
import { moment, notFound, page, pageOf, pageQuery, resource } from './resource.ts'
import type { Resource } from './resource.ts'
import { ledgerEntry, writeEntry } from './system.ts'

export interface LogsDeps extends Pick<Decisions, 'list' | 'get'> {
  readonly entries: (tenantId: string, requestId: string) => Promise<readonly Entry[]>
  readonly formatUsd: (nanos: bigint) => string
}

const ms = z.number()
const decimal = z.string().meta({ description: 'A decimal as text' })

const decision = z
  .strictObject({
    object: z.literal('log'),
    id: z.string().meta({ description: 'Of the request, as in `x-request-id`' }),
    received_at: moment,
    application_id: z.string(),
    key: z.strictObject({ id: z.string(), name: z.string(), last4: z.string() }),
    user_id: z.string().nullable().meta({ description: 'Owner of the key' }),
    address: z.string().nullable(),
    end_user: z.string().nullable(),
    tags: z.array(z.string()),
    endpoint: z.string(),
    model: z.string().nullable().meta({ description: 'As the caller wrote it' }),
    stream: z.boolean(),
    outcome: z.enum(['ok', 'refused', 'failed', 'aborted']).meta({
      description: '`refused`: nothing was sent to a provider; `aborted`: the caller left',
    }),
    status: z.int(),
    duration_ms: ms,
    error: z
      .strictObject({
        code: z.string(),
        message: z
          .string()
          .nullable()
          .meta({ description: 'Null where it could repeat what was said' }),
        param: z.string().nullable(),
        retry_after_ms: ms.nullable(),
        limit: z
          .record(z.string(), z.unknown())
          .nullable()
          .meta({ description: 'The limit that refused, as the caller was told' }),
        stopped_by: z
          .string()
          .nullable()
          .meta({ description: 'The limit that had no room for another attempt' }),
      })
      .nullable(),
    limits: z
      .array(
        z.strictObject({
          scope: z.string(),
          scope_id: z.string(),
          name: z.string(),
          model: z.string().nullable(),
          limit: z.string(),
          window: z.string().nullable(),
          max: decimal,
          remaining: decimal.meta({ description: 'Right after this request was admitted' }),
          unit: z.string(),
          resets_at: moment.nullable(),
          policy: z.string().nullable(),
          status: z.string().nullable(),
        }),
      )
      .meta({ description: 'Every limit that counted the request; empty where one refused it' }),
    reserved: z
      .strictObject({ tokens: z.int(), output_tokens: z.int(), cost_usd: decimal })
      .nullable(),
    route: z
      .strictObject({
        name: z.string(),
        strategy: z.string(),
        targets: z.int(),
        fallbacks: z.int(),
      })
      .nullable(),
    target: z.string().nullable().meta({ description: 'The last that was asked' }),
    candidates: z.array(
      z.strictObject({
        target: z.string(),
        result: z.enum(['answered', 'failed', 'unable', 'not_asked']),
        reason: z.string().nullable(),
      }),
    ),
    attempts: z.array(
      z.strictObject({
        target: z.string(),
        outcome: z.string(),
        code: z.string().nullable(),
        message: z.string().nullable(),
        sent: z.boolean(),
        status: z.int().nullable(),
        upstream_id: z.string().nullable(),
        started_ms: ms,
        duration_ms: ms,
        first_event_ms: ms.nullable(),
      }),
    ),
    changes: z.array(z.strictObject({ field: z.string(), kind: z.string(), note: z.string() })),
    usage: z.record(z.string(), z.int()).nullable(),
    cost_usd: decimal.nullable(),
    stages: z.array(z.strictObject({ stage: z.string(), ms })),
  })
  .meta({ id: 'Log' })

export type DecisionView = z.output<typeof decision>

const whole = z
  .strictObject({
    object: z.literal('log_detail'),
    id: z.string(),
    decision: decision
      .nullable()
      .meta({ description: 'Null where it was shed under load, or is past its retention' }),
    entries: z.array(ledgerEntry),
    cost_usd: decimal.nullable().meta({ description: 'By the ledger; null: unpriced, or nothing' }),
  })
  .meta({ id: 'LogDetail' })

const requestId = z.string().regex(/^req_[0-9a-f]{1,64}$/, 'expected req_...')

export function logResources(deps: LogsDeps): readonly Resource[] {
  return [
    resource({
      method: 'get',
      path: '/admin/v1/logs',
      permission: 'requests.read',
      ownable: true,
      summary: 'What was decided about requests, newest first',
      query: z.strictObject({
        ...pageQuery,
        after: requestId.optional().meta({ description: 'Id of the last row of the page before' }),
        key: z.string().optional().meta({ description: 'Id' }),
        application: z.string().optional().meta({ description: 'Id' }),
        model: z.string().optional().meta({ description: 'As asked for, or `provider/model`' }),
        status: z.coerce.number().int().min(100).max(599).optional(),
        code: z.string().optional().meta({ description: 'Of the error' }),
        from: moment.optional(),
        to: moment.optional().meta({ description: 'Exclusive' }),
      }),
      response: pageOf(decision),
      async handle({ principal, query }) {
        const { limit, after, from, to } = query
        const filter: DecisionFilter = {
          keyId: query.key,
          applicationId: query.application,
          userId: principal.own ? (principal.userId ?? '') : undefined,
          model: query.model,
          status: query.status,
          code: query.code,
          from: from === undefined ? undefined : Date.parse(from),
          to: to === undefined ? undefined : Date.parse(to),
        }
        const range = { before: after, limit: limit + 1 }
        const found = await deps.list(principal.tenantId, filter, range)
        return { body: page(found.slice(0, limit).map(read), found.length > limit) }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/logs/{id}',
      permission: 'requests.read',
      ownable: true,
      summary: 'Why a request was answered as it was, and what it cost line by line',
      params: z.strictObject({ id: requestId }),
      response: whole,
      async handle({ principal, params: { id } }) {
        const { tenantId, userId, own } = principal
        const [record, entries] = await Promise.all([
          deps.get(tenantId, id),
          deps.entries(tenantId, id),
        ])
        const found = record === undefined ? null : read(record)
        const owners = [...(found === null ? [] : [found.user_id]), ...entries.map(ownerOf)]
        const isHidden = own && owners.some((owner) => owner === null || owner !== userId)
        if (owners.length === 0 || isHidden) throw notFound('request', id)
        const inOrder = entries.toSorted((one, other) => one.attempt - other.attempt)
        const costs = entries.flatMap(({ cost }) => cost ?? [])
        return {
          body: {
            object: 'log_detail',
            id,
            decision: found,
            entries: inOrder.map((entry) => writeEntry(entry, deps.formatUsd)),
            cost_usd:
              costs.length === 0 ? null : deps.formatUsd(costs.reduce((sum, cost) => sum + cost)),
          } satisfies z.input<typeof whole>,
        }
      },
    }),
  ]
}

function ownerOf({ userId }: Entry): string | null {
  return userId ?? null
}

function read(record: string): DecisionView {
  const view: DecisionView = JSON.parse(record)
  return view
}
