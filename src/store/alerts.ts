import { randomBytes } from 'node:crypto'
import type { Selectable } from 'kysely'
import type { AlertEventsTable, Database } from './schema.ts'

export interface NewEvent {
  readonly type: string
  readonly tenantId: string
  readonly once: string
  readonly subject: string
  readonly data: Readonly<Record<string, unknown>>
}

export type StoredEvent = NewEvent & {
  /** `evt_...` */
  readonly id: string
  /** Unix ms. */
  readonly createdAt: number
  readonly muted: boolean
}

/** Of a mute: whatever events of its type are about. */
export const EVERY_SUBJECT = '*'

export interface Mute {
  readonly type: string
  readonly subject: string
  /** Unix ms; `null`: until it is taken away. */
  readonly until: number | null
}

/**
 * Writes an event down, with a delivery for each webhook that wants it. Of those who try at
 * once, in this process or another, one does.
 *
 * @param now Unix ms
 * @returns whether it was this call
 */
export async function recordEvent(db: Database, event: NewEvent, now: number): Promise<boolean> {
  if (!db.isTransaction) {
    return db.transaction().execute((transaction) => recordEvent(transaction, event, now))
  }
  const { tenantId, type } = event
  const mute = await db
    .selectFrom('alert_mutes')
    .select('type')
    .where('tenant_id', '=', tenantId)
    .where('type', '=', type)
    .where('subject', 'in', [EVERY_SUBJECT, event.subject])
    .where((eb) => eb.or([eb('until', 'is', null), eb('until', '>', BigInt(now))]))
    .limit(1)
    .executeTakeFirst()
  const muted = mute !== undefined
  const id = await insertEvent(db, event, muted, now)
  if (id === undefined) return false
  if (muted) return true
  const webhooks = await db
    .selectFrom('webhooks')
    .select(['id', 'types'])
    .where('tenant_id', '=', tenantId)
    .where('status', '=', 'active')
    .execute()
  const wanting = webhooks.filter(({ types }) => {
    const wanted: readonly string[] = JSON.parse(types)
    return wanted.includes('*') || wanted.includes(type)
  })
  for (const webhook of wanting) await addDelivery(db, tenantId, webhook.id, id, now)
  return true
}

/**
 * Writes an event down for one webhook alone, whatever it wants and whatever is muted.
 *
 * @param now Unix ms
 * @returns the id of its delivery; undefined where it was written down before
 */
export async function recordEventFor(
  db: Database,
  webhookId: string,
  event: NewEvent,
  now: number,
): Promise<string | undefined> {
  const id = await insertEvent(db, event, false, now)
  return id === undefined ? undefined : addDelivery(db, event.tenantId, webhookId, id, now)
}

/** @returns its id; undefined where it was written down before */
async function insertEvent(
  db: Database,
  event: NewEvent,
  muted: boolean,
  now: number,
): Promise<string | undefined> {
  const written = await db
    .insertInto('alert_events')
    .values({
      id: `evt_${randomBytes(9).toString('hex')}`,
      tenant_id: event.tenantId,
      type: event.type,
      once: event.once,
      subject: event.subject,
      created_at: now,
      muted: muted ? 1 : 0,
      data: JSON.stringify(event.data),
    })
    .onConflict((conflict) => conflict.columns(['tenant_id', 'once']).doNothing())
    .returning('id')
    .executeTakeFirst()
  return written?.id
}

/** @returns its id */
export async function addDelivery(
  db: Database,
  tenantId: string,
  webhookId: string,
  eventId: string,
  now: number,
): Promise<string> {
  const id = `dlv_${randomBytes(9).toString('hex')}`
  await db
    .insertInto('deliveries')
    .values({
      id,
      tenant_id: tenantId,
      webhook_id: webhookId,
      event_id: eventId,
      status: 'pending',
      attempts: 0,
      next_at: now,
      created_at: now,
    })
    .execute()
  return id
}

/** Newest first. */
export async function listEvents(
  db: Database,
  tenantId: string,
  page: { readonly limit: number; readonly after?: string; readonly type?: string },
): Promise<{ readonly events: readonly StoredEvent[]; readonly hasMore: boolean }> {
  let query = db
    .selectFrom('alert_events')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  if (page.type !== undefined) query = query.where('type', '=', page.type)
  if (page.after !== undefined) {
    const last = await db
      .selectFrom('alert_events')
      .select(['id', 'created_at'])
      .where('tenant_id', '=', tenantId)
      .where('id', '=', page.after)
      .executeTakeFirst()
    if (last === undefined) return { events: [], hasMore: false }
    query = query.where((eb) =>
      eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(last.created_at, last.id)),
    )
  }
  const rows = await query.execute()
  return { events: rows.slice(0, page.limit).map(toEvent), hasMore: rows.length > page.limit }
}

/** @param until Unix ms; `null`: until it is taken away; undefined: takes it away */
export async function setMute(
  db: Database,
  tenantId: string,
  type: string,
  subject: string,
  until: number | null | undefined,
): Promise<void> {
  await db
    .deleteFrom('alert_mutes')
    .where('tenant_id', '=', tenantId)
    .where('type', '=', type)
    .where('subject', '=', subject)
    .execute()
  if (until === undefined) return
  await db.insertInto('alert_mutes').values({ tenant_id: tenantId, type, subject, until }).execute()
}

/** @param now Unix ms */
export async function listMutes(
  db: Database,
  tenantId: string,
  now: number,
): Promise<readonly Mute[]> {
  const rows = await db
    .selectFrom('alert_mutes')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where((eb) => eb.or([eb('until', 'is', null), eb('until', '>', BigInt(now))]))
    .orderBy('subject')
    .execute()
  return rows.map(({ type, subject, until }) => ({
    type,
    subject,
    until: until === null ? null : Number(until),
  }))
}

export interface ExpiringKey {
  readonly id: string
  readonly tenantId: string
  readonly name: string
  readonly last4: string
  /** Unix ms. */
  readonly createdAt: number
  readonly expiresAt: number
}

/**
 * Active keys that end within a span, by id; not those that were replaced, which are meant to.
 *
 * @param from Unix ms, exclusive
 * @param to Unix ms, inclusive
 * @param after id of the last one of the page before
 */
export async function expiringKeys(
  db: Database,
  from: number,
  to: number,
  after: string,
  limit: number,
): Promise<readonly ExpiringKey[]> {
  const rows = await db
    .selectFrom('keys')
    .select(['id', 'tenant_id', 'name', 'last4', 'created_at', 'expires_at'])
    .where('status', '=', 'active')
    .where('successor_id', 'is', null)
    .where('expires_at', '>', BigInt(from))
    .where('expires_at', '<=', BigInt(to))
    .where('id', '>', after)
    .orderBy('id')
    .limit(limit)
    .execute()
  return rows.map(({ id, tenant_id, name, last4, created_at, expires_at }) => ({
    id,
    tenantId: tenant_id,
    name,
    last4,
    createdAt: Number(created_at),
    expiresAt: Number(expires_at),
  }))
}

function toEvent(row: Selectable<AlertEventsTable>): StoredEvent {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    type: row.type,
    once: row.once,
    subject: row.subject,
    createdAt: Number(row.created_at),
    muted: row.muted === 1n,
    data: JSON.parse(row.data),
  }
}
