import { z } from 'zod'
import { checkWebhookUrl } from '../alerts/deliver.ts'
import { checkMailUrl, isMail } from '../alerts/mail.ts'
import { GatewayError } from '#errors'
import { newWebhookId } from '../gateway/webhooks.ts'
import type { WebhookSecrets } from '../gateway/webhooks.ts'
import { EVERY_SUBJECT, listEvents, listMutes, recordEventFor, setMute } from '../store/alerts.ts'
import type { Mute, StoredEvent } from '../store/alerts.ts'
import * as store from '../store/webhooks.ts'
import type { Database } from '../store/schema.ts'
import type { Delivery, Webhook } from '../store/webhooks.ts'
import { moment, notFound, page, pageOf, pageQuery, resource } from './resource.ts'
import type { Resource } from './resource.ts'

export interface AlertResourcesDeps {
  readonly secrets: WebhookSecrets
  /** The operator lets webhooks reach private networks. */
  readonly privateNetworks: boolean
  /** Present where a mail server is set. */
  readonly mailer?: object | undefined
  readonly now: () => number
}

/** What there is to be told of. */
const TYPES = {
  'budget.threshold_reached': 'Spend reached a percent of a budget: once per percent and window',
  'budget.exhausted': 'A budget refused a request: once per budget and window',
  'budget.forecast_exceeds': 'A budget will likely not last its window: once per window',
  'key.expiring': 'A key ends within seven days, and within one: once each',
  'traffic.unpriced': 'A model without a price was used: once per model and day',
  'prices.reload_failed': 'Prices could not be read again, the last good ones stay: once a day',
  'ledger.unhealthy': 'The ledger takes no entries, so requests are refused: once an hour',
  'audit.broken': 'The audit is not as it was written, as found by verifying it: once per place',
  'webhook.disabled': 'An endpoint is gone, or took nothing for five days',
  'webhook.test': 'Sent on demand',
} as const

const MOST_WEBHOOKS = 20
const MAX_OVERLAP_SECONDS = 7 * 24 * 3600

const type = z.enum(Object.keys(TYPES) as (keyof typeof TYPES)[])
const byId = z.strictObject({ id: z.string().min(1).max(100) })

const subject = z
  .string()
  .min(1)
  .max(300)
  .default(EVERY_SUBJECT)
  .meta({ description: 'Of the events, such as `key:key_1`; `*` for all' })

const until = moment.nullable().default(null)

const alertShape = z
  .strictObject({
    id: z.string(),
    object: z.literal('alert'),
    summary: z.string(),
    muted: z.boolean(),
    muted_until: moment.nullable(),
    muted_subjects: z.array(z.strictObject({ subject: z.string(), until: moment.nullable() })),
  })
  .meta({ id: 'Alert' })

const eventShape = z
  .strictObject({
    id: z.string(),
    object: z.literal('alert_event'),
    type: z.string(),
    subject: z.string(),
    created_at: moment,
    muted: z.boolean(),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AlertEvent' })

const webhookShape = z
  .strictObject({
    id: z.string(),
    object: z.literal('webhook'),
    name: z.string(),
    url: z.string(),
    types: z.array(z.string()),
    allow_private_network: z.boolean(),
    status: z.enum(['active', 'disabled']),
    status_reason: z.string().nullable(),
    failing_since: moment.nullable(),
    created_at: moment,
  })
  .meta({ id: 'Webhook' })

const newWebhookShape = webhookShape.extend({
  secret: z.string().nullable().meta({
    description: 'What messages are signed with, shown this once; mails are not signed',
  }),
})

const deliveryShape = z
  .strictObject({
    id: z.string(),
    object: z.literal('delivery'),
    event_id: z.string(),
    event_type: z.string(),
    status: z.enum(['pending', 'delivered', 'failed']),
    attempts: z.int(),
    next_attempt_at: moment.nullable(),
    response_status: z.int().nullable(),
    response_start: z.string().nullable(),
    error: z.string().nullable(),
    duration_ms: z.int().nullable(),
    created_at: moment,
  })
  .meta({ id: 'Delivery' })

const settable = {
  name: z.string().trim().min(1).max(100),
  url: z.string().min(1).max(2000),
  types: z.array(z.union([type, z.literal('*')])).min(1),
  allow_private_network: z.boolean(),
}

export function alertResources(deps: AlertResourcesDeps): readonly Resource[] {
  const { now, secrets } = deps

  function checkTarget(url: string, isPrivate: boolean): void {
    if (isMail(url)) {
      checkMailUrl(url)
      if (deps.mailer !== undefined) return
      throw new GatewayError(
        'invalid_value',
        'No mail server is set: the operator sets smtp_url and mail_from',
        { param: 'url' },
      )
    }
    if (isPrivate && !deps.privateNetworks) {
      throw new GatewayError(
        'invalid_value',
        'Private networks are closed to webhooks: the operator opens them with webhook_private_networks',
        { param: 'allow_private_network' },
      )
    }
    checkWebhookUrl(url, isPrivate)
  }

  const mute = (verb: 'mute' | 'unmute', summary: string): Resource =>
    resource({
      method: 'post',
      path: `/admin/v1/alerts/{id}/${verb}`,
      permission: 'alerts.write',
      summary,
      params: z.strictObject({ id: type }),
      body: z.strictObject({ subject, ...(verb === 'mute' && { until }) }),
      response: alertShape,
      async handle({ principal: { tenantId }, params: { id }, body, db }) {
        const before = showAlert(id, await listMutes(db, tenantId, now()))
        const end =
          'until' in body && typeof body.until === 'string' ? Date.parse(body.until) : null
        if (end !== null && end <= now()) {
          throw new GatewayError('invalid_value', 'It would be over already', { param: 'until' })
        }
        await setMute(db, tenantId, id, body.subject, verb === 'mute' ? end : undefined)
        const after = showAlert(id, await listMutes(db, tenantId, now()))
        return { body: after, changes: [{ type: 'alert', id, before, after }] }
      },
    })

  return [
    resource({
      method: 'get',
      path: '/admin/v1/alerts',
      permission: 'alerts.read',
      summary: 'What there is to be told of; all of it is on unless muted',
      response: pageOf(alertShape),
      async handle({ principal, db }) {
        const mutes = await listMutes(db, principal.tenantId, now())
        const all = Object.keys(TYPES) as (keyof typeof TYPES)[]
        return {
          body: page(
            all.map((id) => showAlert(id, mutes)),
            false,
          ),
        }
      },
    }),
    mute('mute', 'Tell no webhook of it, until a moment or for good; it is still written down'),
    mute('unmute', 'Tell of it again'),
    resource({
      method: 'get',
      path: '/admin/v1/alerts/{id}/events',
      permission: 'alerts.read',
      summary: 'What was told, newest first; `-` for all kinds',
      params: z.strictObject({ id: z.union([type, z.literal('-')]) }),
      query: z.strictObject(pageQuery),
      response: pageOf(eventShape),
      async handle({ principal, params: { id }, query: { limit, after }, db }) {
        const { events, hasMore } = await listEvents(db, principal.tenantId, {
          limit,
          ...(after === undefined ? {} : { after }),
          ...(id === '-' ? {} : { type: id }),
        })
        return { body: page(events.map(showEvent), hasMore) }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/webhooks',
      permission: 'webhooks.read',
      summary: 'Webhooks, newest first',
      response: pageOf(webhookShape),
      handle: async ({ principal, db }) => ({
        body: page((await store.listWebhooks(db, principal.tenantId)).map(show), false),
      }),
    }),
    resource({
      method: 'post',
      path: '/admin/v1/webhooks',
      permission: 'webhooks.write',
      summary:
        'Send events to a URL, signed (the secret is in this answer alone), or by mail to mailto:',
      body: z.strictObject({
        ...settable,
        types: settable.types.default(['*']),
        allow_private_network: settable.allow_private_network.default(false),
      }),
      status: 201,
      response: newWebhookShape,
      async handle({ principal: { tenantId }, body, db }) {
        checkTarget(body.url, body.allow_private_network)
        if ((await store.listWebhooks(db, tenantId)).length >= MOST_WEBHOOKS) {
          throw new GatewayError('conflict', `There are ${MOST_WEBHOOKS} webhooks: delete one`)
        }
        const id = newWebhookId()
        const made = secrets.first()
        const webhook: Webhook = {
          id,
          tenantId,
          name: body.name,
          url: body.url,
          types: body.types,
          secrets: secrets.seal(id, made),
          allowPrivateNetwork: body.allow_private_network,
          status: 'active',
          createdAt: now(),
          revision: 1,
        }
        await store.insertWebhook(db, webhook)
        const after = show(webhook)
        return {
          status: 201,
          version: 1,
          body: { ...after, secret: isMail(webhook.url) ? null : made.current },
          changes: [{ type: 'webhook', id, after }],
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/webhooks/{id}',
      permission: 'webhooks.read',
      summary: 'One webhook',
      params: byId,
      response: webhookShape,
      async handle({ principal, params: { id }, db }) {
        const webhook = await store.findWebhook(db, principal.tenantId, id)
        if (webhook === undefined) throw notFound('webhook', id)
        return { body: show(webhook), version: webhook.revision }
      },
    }),
    resource({
      method: 'patch',
      path: '/admin/v1/webhooks/{id}',
      permission: 'webhooks.write',
      summary: 'Change a webhook; what is not named stays',
      params: byId,
      body: z.strictObject({ ...settable, status: z.enum(['active', 'disabled']) }).partial(),
      response: webhookShape,
      async handle({ principal: { tenantId }, params: { id }, body, db, expectVersion }) {
        const before = await store.findWebhook(db, tenantId, id)
        if (before === undefined) throw notFound('webhook', id)
        expectVersion(before.revision)
        const isPrivate = body.allow_private_network ?? before.allowPrivateNetwork
        if (body.url !== undefined || body.allow_private_network !== undefined) {
          checkTarget(body.url ?? before.url, isPrivate)
        }
        const after = await store.updateWebhook(db, tenantId, id, {
          ...(body.name !== undefined && { name: body.name }),
          ...(body.url !== undefined && { url: body.url }),
          ...(body.types !== undefined && { types: body.types }),
          ...(body.status !== undefined && { status: body.status }),
          allowPrivateNetwork: isPrivate,
        })
        if (after === undefined) throw notFound('webhook', id)
        return {
          body: show(after),
          version: after.revision,
          changes: [{ type: 'webhook', id, before: show(before), after: show(after) }],
        }
      },
    }),
    resource({
      method: 'delete',
      path: '/admin/v1/webhooks/{id}',
      permission: 'webhooks.write',
      summary: 'Delete a webhook and its deliveries',
      params: byId,
      response: z.strictObject({ id: z.string(), deleted: z.literal(true) }),
      async handle({ principal: { tenantId }, params: { id }, db, expectVersion }) {
        const before = await store.findWebhook(db, tenantId, id)
        if (before === undefined) throw notFound('webhook', id)
        expectVersion(before.revision)
        await store.deleteWebhook(db, tenantId, id)
        return {
          body: { id, deleted: true },
          changes: [{ type: 'webhook', id, before: show(before) }],
        }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/webhooks/{id}/test',
      permission: 'webhooks.write',
      summary:
        'Send a test event to this webhook, whatever its types; its delivery tells how it went',
      params: byId,
      status: 202,
      response: deliveryShape,
      async handle({ principal: { tenantId }, params: { id }, db }) {
        const { name } = await needActive(db, tenantId, id)
        const event = {
          type: 'webhook.test',
          tenantId,
          once: `webhook.test|${newWebhookId()}`,
          subject: `webhook:${id}`,
          data: { webhook: { id, name } },
        }
        const made = await recordEventFor(db, id, event, now())
        const delivery = await store.findDelivery(db, tenantId, id, made ?? '')
        if (delivery === undefined) throw notFound('delivery', made ?? '')
        return queued(delivery)
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/webhooks/{id}/deliveries',
      permission: 'webhooks.read',
      summary: 'Deliveries of the last 30 days, newest first',
      params: byId,
      query: z.strictObject(pageQuery),
      response: pageOf(deliveryShape),
      async handle({ principal: { tenantId }, params: { id }, query, db }) {
        if ((await store.findWebhook(db, tenantId, id)) === undefined) throw notFound('webhook', id)
        const { limit, after } = query
        const { deliveries, hasMore } = await store.listDeliveries(db, tenantId, id, {
          limit,
          ...(after !== undefined && { after }),
        })
        return { body: page(deliveries.map(showDelivery), hasMore) }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/webhooks/{id}/deliveries/{delivery}/resend',
      permission: 'webhooks.write',
      summary: 'Send an event again, under the same message id',
      params: byId.extend({ delivery: z.string().min(1).max(100) }),
      status: 202,
      response: deliveryShape,
      async handle({ principal: { tenantId }, params: { id, delivery }, db }) {
        await needActive(db, tenantId, id)
        const made = await store.resend(db, tenantId, id, delivery, now())
        if (made === undefined) throw notFound('delivery', delivery)
        return queued(made)
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/webhooks/{id}/secret/roll',
      permission: 'webhooks.write',
      summary: 'Make a new secret; messages are signed with both until the overlap ends',
      params: byId,
      body: z.strictObject({
        overlap_seconds: z.int().min(0).max(MAX_OVERLAP_SECONDS).default(86_400),
      }),
      status: 201,
      response: newWebhookShape,
      async handle({ principal: { tenantId }, params: { id }, body, db }) {
        const before = await store.findWebhook(db, tenantId, id)
        if (before === undefined) throw notFound('webhook', id)
        if (isMail(before.url)) throw new GatewayError('conflict', 'Mails are not signed')
        const old = secrets.open(id, before.secrets)
        const rolled = secrets.roll(old, now() + body.overlap_seconds * 1000)
        const after = await store.updateWebhook(db, tenantId, id, {
          secrets: secrets.seal(id, rolled),
        })
        if (after === undefined) throw notFound('webhook', id)
        return {
          status: 201,
          version: after.revision,
          body: { ...show(after), secret: rolled.current },
          changes: [{ type: 'webhook', id, before: show(before), after: show(after) }],
        }
      },
    }),
  ]
}

/** @throws GatewayError `not_found`; `conflict` for one that nothing is sent to */
async function needActive(db: Database, tenantId: string, id: string): Promise<Webhook> {
  const webhook = await store.findWebhook(db, tenantId, id)
  if (webhook === undefined) throw notFound('webhook', id)
  if (webhook.status === 'active') return webhook
  const why = webhook.statusReason === undefined ? '' : ` (${webhook.statusReason})`
  throw new GatewayError(
    'conflict',
    `The webhook is disabled${why}: PATCH it with {"status": "active"} first`,
  )
}

function queued(delivery: Delivery) {
  const body = showDelivery(delivery)
  return { status: 202, body, changes: [{ type: 'delivery', id: body.id, after: body }] }
}

function showAlert(id: keyof typeof TYPES, mutes: readonly Mute[]): z.input<typeof alertShape> {
  const own = mutes.filter(({ type }) => type === id)
  const whole = own.find(({ subject }) => subject === EVERY_SUBJECT)
  return {
    id,
    object: 'alert',
    summary: TYPES[id],
    muted: whole !== undefined,
    muted_until: when(whole?.until ?? undefined),
    muted_subjects: own
      .filter((mute) => mute !== whole)
      .map(({ subject, until }) => ({ subject, until: when(until ?? undefined) })),
  }
}

function showEvent(event: StoredEvent): z.input<typeof eventShape> {
  const { id, type, subject, createdAt, muted, data } = event
  return { id, object: 'alert_event', type, subject, created_at: iso(createdAt), muted, data }
}

function show(webhook: Webhook): z.input<typeof webhookShape> {
  return {
    id: webhook.id,
    object: 'webhook',
    name: webhook.name,
    url: webhook.url,
    types: [...webhook.types],
    allow_private_network: webhook.allowPrivateNetwork,
    status: webhook.status,
    status_reason: webhook.statusReason ?? null,
    failing_since: when(webhook.failingSince),
    created_at: iso(webhook.createdAt),
  }
}

function showDelivery(delivery: Delivery): z.input<typeof deliveryShape> {
  return {
    id: delivery.id,
    object: 'delivery',
    event_id: delivery.eventId,
    event_type: delivery.eventType,
    status: delivery.status,
    attempts: delivery.attempts,
    next_attempt_at: when(delivery.nextAt),
    response_status: delivery.responseStatus ?? null,
    response_start: delivery.responseStart ?? null,
    error: delivery.error ?? null,
    duration_ms: delivery.durationMs ?? null,
    created_at: iso(delivery.createdAt),
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}

function when(ms: number | undefined): string | null {
  return ms === undefined ? null : iso(ms)
}
