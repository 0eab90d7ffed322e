import type { Selectable } from 'kysely'
import { addDelivery } from './alerts.ts'
import type { Database, DeliveriesTable, WebhooksTable } from './schema.ts'

export interface Webhook {
  /** `whk_...` */
  readonly id: string
  readonly tenantId: string
  readonly name: string
  readonly url: string
  /** Types of events; `*` for all. */
  readonly types: readonly string[]
  /** Sealed. */
  readonly secrets: Uint8Array
  readonly allowPrivateNetwork: boolean
  readonly status: 'active' | 'disabled'
  readonly statusReason?: string
  /** Unix ms of the first failure since something was delivered. */
  readonly failingSince?: number
  /** Unix ms. */
  readonly createdAt: number
  readonly revision: number
}

export interface Delivery {
  /** `dlv_...` */
  readonly id: string
  readonly webhookId: string
  readonly eventId: string
  readonly eventType: string
  readonly status: 'pending' | 'delivered' | 'failed'
  readonly attempts: number
  /** Unix ms; absent once it is over. */
  readonly nextAt?: number
  readonly responseStatus?: number
  readonly responseStart?: string
  readonly error?: string
  readonly durationMs?: number
  readonly createdAt: number
}

/** A delivery whose turn it is, with all that is sent. */
export interface DueDelivery {
  readonly id: string
  /** This one included. */
  readonly attempts: number
  readonly webhook: Webhook
  readonly event: {
    readonly id: string
    readonly type: string
    readonly createdAt: number
    /** JSON. */
    readonly data: string
  }
}

export async function insertWebhook(db: Database, webhook: Webhook): Promise<void> {
  await db
    .insertInto('webhooks')
    .values({
      id: webhook.id,
      tenant_id: webhook.tenantId,
      name: webhook.name,
      url: webhook.url,
      types: JSON.stringify(webhook.types),
      secrets: webhook.secrets,
      allow_private_network: webhook.allowPrivateNetwork ? 1 : 0,
      status: webhook.status,
      created_at: webhook.createdAt,
      revision: webhook.revision,
    })
    .execute()
}

export async function findWebhook(
  db: Database,
  tenantId: string,
  id: string,
): Promise<Webhook | undefined> {
  const row = await db
    .selectFrom('webhooks')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .executeTakeFirst()
  return row && toWebhook(row)
}

/** Newest first; they are few. */
export async function listWebhooks(db: Database, tenantId: string): Promise<readonly Webhook[]> {
  const rows = await db
    .selectFrom('webhooks')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .execute()
  return rows.map(toWebhook)
}

export type WebhookChanges = Partial<
  Pick<Webhook, 'name' | 'url' | 'types' | 'secrets' | 'allowPrivateNetwork' | 'status'>
>

/** One that is made active again starts anew: its failures are forgotten. */
export async function updateWebhook(
  db: Database,
  tenantId: string,
  id: string,
  changes: WebhookChanges,
): Promise<Webhook | undefined> {
  const { name, url, types, secrets, allowPrivateNetwork, status } = changes
  const row = await db
    .updateTable('webhooks')
    .set((eb) => ({
      revision: eb('revision', '+', 1n),
      ...(name !== undefined && { name }),
      ...(url !== undefined && { url }),
      ...(types !== undefined && { types: JSON.stringify(types) }),
      ...(secrets !== undefined && { secrets }),
      ...(allowPrivateNetwork !== undefined && {
        allow_private_network: allowPrivateNetwork ? 1 : 0,
      }),
      ...(status !== undefined && { status, status_reason: null, failing_since: null }),
    }))
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst()
  return row && toWebhook(row)
}

/** With its deliveries. */
export async function deleteWebhook(db: Database, tenantId: string, id: string): Promise<void> {
  for (const [table, column] of [
    ['deliveries', 'webhook_id'],
    ['webhooks', 'id'],
  ] as const) {
    await db.deleteFrom(table).where('tenant_id', '=', tenantId).where(column, '=', id).execute()
  }
}

export interface ClaimBounds {
  /** Most deliveries of one webhook. */
  readonly perWebhook: number
  /** Most webhooks, of one tenant and of all. */
  readonly perTenant: number
  readonly webhooks: number
  /** Nothing for these. */
  readonly busyWebhooks: readonly string[]
  readonly busyTenants: readonly string[]
}

const MOST_LOOKED_AT = 500

/**
 * Takes deliveries whose time has come. Nobody else gets them before `leaseUntil`, when they are
 * due again unless they were ended: a process that dies leaves them to the others.
 *
 * @param now Unix ms
 */
export async function claimDue(
  db: Database,
  now: number,
  leaseUntil: number,
  { perWebhook, perTenant, webhooks, busyWebhooks, busyTenants }: ClaimBounds,
): Promise<readonly DueDelivery[]> {
  // Looked at first: an update would take SQLite's one lock for nothing.
  let query = db
    .selectFrom('deliveries')
    .select(['id', 'tenant_id', 'webhook_id'])
    .where('status', '=', 'pending')
    .where('next_at', '<=', BigInt(now))
    .orderBy('next_at')
    .limit(MOST_LOOKED_AT)
  if (busyWebhooks.length > 0) query = query.where('webhook_id', 'not in', busyWebhooks)
  if (busyTenants.length > 0) query = query.where('tenant_id', 'not in', busyTenants)
  const found = await query.execute()
  const due = [...Map.groupBy(found, ({ tenant_id }) => tenant_id).values()]
    .flatMap((own) =>
      [...Map.groupBy(own, ({ webhook_id }) => webhook_id).values()].slice(0, perTenant),
    )
    .slice(0, Math.max(0, webhooks))
    .flatMap((deliveries) => deliveries.slice(0, perWebhook))
  if (due.length === 0) return []
  const claimed = await db
    .updateTable('deliveries')
    .set((eb) => ({ next_at: leaseUntil, attempts: eb('attempts', '+', 1n) }))
    .where(
      'id',
      'in',
      due.map(({ id }) => id),
    )
    // Again, since another process may have come between.
    .where('status', '=', 'pending')
    .where('next_at', '<=', BigInt(now))
    .returningAll()
    .execute()
  const taken: DueDelivery[] = []
  for (const row of claimed) {
    const webhook = await findWebhook(db, row.tenant_id, row.webhook_id)
    const event = await db
      .selectFrom('alert_events')
      .selectAll()
      .where('tenant_id', '=', row.tenant_id)
      .where('id', '=', row.event_id)
      .executeTakeFirst()
    if (webhook === undefined || event === undefined) continue
    const { id, type, data, created_at } = event
    taken.push({
      id: row.id,
      attempts: Number(row.attempts),
      webhook,
      event: { id, type, data, createdAt: Number(created_at) },
    })
  }
  return taken
}

export interface Ended {
  readonly status: Delivery['status']
  /** Unix ms of the next attempt, where there is one. */
  readonly nextAt?: number | undefined
  readonly responseStatus?: number | undefined
  readonly responseStart?: string | undefined
  readonly error?: string | undefined
  readonly durationMs: number
}

/**
 * Notes how an attempt went, at its delivery and its webhook.
 *
 * @param now Unix ms
 * @returns since when the webhook has been failing, Unix ms; undefined where it is not
 */
export async function endAttempt(
  db: Database,
  { id, webhook }: Pick<DueDelivery, 'id' | 'webhook'>,
  ended: Ended,
  now: number,
): Promise<number | undefined> {
  await db
    .updateTable('deliveries')
    .set({
      status: ended.status,
      next_at: ended.nextAt ?? null,
      response_status: ended.responseStatus ?? null,
      response_start: ended.responseStart ?? null,
      error: ended.error ?? null,
      duration_ms: ended.durationMs,
    })
    .where('id', '=', id)
    .execute()
  const isDelivered = ended.status === 'delivered'
  const row = await db
    .updateTable('webhooks')
    .set((eb) => ({
      failing_since: isDelivered ? null : eb.fn.coalesce('failing_since', eb.val(BigInt(now))),
    }))
    .where('id', '=', webhook.id)
    .returning('failing_since')
    .executeTakeFirst()
  return row?.failing_since == null ? undefined : Number(row.failing_since)
}

/** Nothing more is sent to it. @returns whether it was active */
export async function disableWebhook(
  db: Database,
  { id, tenantId }: Pick<Webhook, 'id' | 'tenantId'>,
  reason: string,
): Promise<boolean> {
  const row = await db
    .updateTable('webhooks')
    .set((eb) => ({
      status: 'disabled',
      status_reason: reason,
      revision: eb('revision', '+', 1n),
    }))
    .where('tenant_id', '=', tenantId)
    .where('id', '=', id)
    .where('status', '=', 'active')
    .returning('id')
    .executeTakeFirst()
  if (row === undefined) return false
  await db
    .updateTable('deliveries')
    .set({ status: 'failed', next_at: null, error: 'The webhook was disabled' })
    .where('webhook_id', '=', id)
    .where('status', '=', 'pending')
    .execute()
  return true
}

/** Newest first. */
export async function listDeliveries(
  db: Database,
  tenantId: string,
  webhookId: string,
  page: { readonly limit: number; readonly after?: string },
): Promise<{ readonly deliveries: readonly Delivery[]; readonly hasMore: boolean }> {
  let query = deliveriesOf(db, tenantId, webhookId)
    .orderBy('deliveries.created_at', 'desc')
    .orderBy('deliveries.id', 'desc')
    .limit(page.limit + 1)
  if (page.after !== undefined) {
    const last = await findDelivery(db, tenantId, webhookId, page.after)
    if (last === undefined) return { deliveries: [], hasMore: false }
    query = query.where((eb) =>
      eb(
        eb.refTuple('deliveries.created_at', 'deliveries.id'),
        '<',
        eb.tuple(BigInt(last.createdAt), last.id),
      ),
    )
  }
  const rows = await query.execute()
  return {
    deliveries: rows.slice(0, page.limit).map((row) => toDelivery(row, row.type)),
    hasMore: rows.length > page.limit,
  }
}

export async function findDelivery(
  db: Database,
  tenantId: string,
  webhookId: string,
  id: string,
): Promise<Delivery | undefined> {
  const row = await deliveriesOf(db, tenantId, webhookId)
    .where('deliveries.id', '=', id)
    .executeTakeFirst()
  return row && toDelivery(row, row.type)
}

function deliveriesOf(db: Database, tenantId: string, webhookId: string) {
  return db
    .selectFrom('deliveries')
    .innerJoin('alert_events', 'alert_events.id', 'deliveries.event_id')
    .selectAll('deliveries')
    .select('alert_events.type')
    .where('deliveries.tenant_id', '=', tenantId)
    .where('webhook_id', '=', webhookId)
}

/**
 * Forgets some of the deliveries that were over before a moment. Their events stay: they are why
 * nothing is told twice.
 *
 * @param before Unix ms
 * @returns how many: as many as `limit` where there may be more
 */
export async function forgetDeliveries(
  db: Database,
  before: number,
  limit: number,
): Promise<number> {
  const old = await db
    .selectFrom('deliveries')
    .select('id')
    .where('created_at', '<', BigInt(before))
    .where('status', '!=', 'pending')
    .orderBy('created_at')
    .limit(limit)
    .execute()
  if (old.length === 0) return 0
  const ids = old.map(({ id }) => id)
  await db.deleteFrom('deliveries').where('id', 'in', ids).execute()
  return old.length
}

/** Sends an event again, beside what was sent before. @returns undefined for no such delivery */
export async function resend(
  db: Database,
  tenantId: string,
  webhookId: string,
  deliveryId: string,
  now: number,
): Promise<Delivery | undefined> {
  const sent = await findDelivery(db, tenantId, webhookId, deliveryId)
  if (sent === undefined) return undefined
  const id = await addDelivery(db, tenantId, webhookId, sent.eventId, now)
  return findDelivery(db, tenantId, webhookId, id)
}

function toWebhook(row: Selectable<WebhooksTable>): Webhook {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    name: row.name,
    url: row.url,
    types: JSON.parse(row.types),
    secrets: new Uint8Array(row.secrets),
    allowPrivateNetwork: row.allow_private_network === 1n,
    status: row.status,
    ...(row.status_reason !== null && { statusReason: row.status_reason }),
    ...(row.failing_since !== null && { failingSince: Number(row.failing_since) }),
    createdAt: Number(row.created_at),
    revision: Number(row.revision),
  }
}

function toDelivery(row: Selectable<DeliveriesTable>, eventType: string): Delivery {
  return {
    id: row.id,
    webhookId: row.webhook_id,
    eventId: row.event_id,
    eventType,
    status: row.status,
    attempts: Number(row.attempts),
    ...(row.next_at !== null && { nextAt: Number(row.next_at) }),
    ...(row.response_status !== null && { responseStatus: Number(row.response_status) }),
    ...(row.response_start !== null && { responseStart: row.response_start }),
    ...(row.error !== null && { error: row.error }),
    ...(row.duration_ms !== null && { durationMs: Number(row.duration_ms) }),
    createdAt: Number(row.created_at),
  }
}
