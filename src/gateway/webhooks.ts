import { randomBytes } from 'node:crypto'
import { deliver } from '../alerts/deliver.ts'
import { isMail } from '../alerts/mail.ts'
import type { Mailer } from '../alerts/mail.ts'
import { DEAD_AFTER_MS, retryAfter } from '../alerts/schedule.ts'
import { newSecret } from '../alerts/signature.ts'
import { seal, sealingKey, unseal } from '../secrets.ts'
import { recordEvent } from '../store/alerts.ts'
import type { Database } from '../store/schema.ts'
import { claimDue, disableWebhook, endAttempt } from '../store/webhooks.ts'
import type { DueDelivery } from '../store/webhooks.ts'
import type { Outcome } from '../alerts/deliver.ts'
import type { Upstream } from '../upstream/send.ts'

/** Longer than an attempt can take. */
const LEASE_MS = 120_000
/** Deliveries under way at once to one webhook; webhooks, and those of one tenant, at once. */
const MOST_PER_WEBHOOK = 4
const MOST_WEBHOOKS = 64
const MOST_PER_TENANT = 8

export interface Secrets {
  readonly current: string
  /** The one before, while both are valid. */
  readonly previous?: { readonly secret: string; readonly until: number }
}

export interface WebhookSecrets {
  first(): Secrets
  roll(secrets: Secrets, until: number): Secrets
  seal(id: string, secrets: Secrets): Uint8Array
  /** @throws Error where they were sealed with another master key, or for another webhook */
  open(id: string, sealed: Uint8Array): Secrets
}

/** @param rootKey what the database's secrets are sealed under */
export function webhookSecrets(rootKey: string): WebhookSecrets {
  const key = sealingKey(rootKey, 'webhook-secrets')
  return {
    first: () => ({ current: newSecret() }),
    roll: ({ current }, until) => ({
      current: newSecret(),
      previous: { secret: current, until },
    }),
    seal: (id, secrets) => seal(key, JSON.stringify(secrets), `webhook ${id}`),
    open(id, sealed) {
      const text = unseal(key, sealed, `webhook ${id}`)
      if (text === undefined) throw new Error(`The secrets of ${id} cannot be opened`)
      const secrets: Secrets = JSON.parse(text.toString('utf8'))
      return secrets
    },
  }
}

export interface DispatchDeps {
  readonly db: Database
  readonly upstream: Pick<Upstream, 'send'>
  readonly secrets: WebhookSecrets
  /** The operator lets webhooks reach private networks, where they ask for it. */
  readonly privateNetworks: boolean
  /** Absent: no mail server is set. */
  readonly mailer?: Pick<Mailer, 'send'> | undefined
  /** Unix ms. */
  readonly now: () => number
  readonly tick: () => number
  readonly random: () => number
}

export interface Dispatcher {
  /** Begins to send what is due. @returns how many deliveries, which may still be under way */
  readonly round: () => Promise<number>
  /** Settles once nothing is under way. */
  readonly idle: () => Promise<void>
}

/**
 * Sends what is due, each delivery by one process: at least once, with the same id each time. An
 * endpoint that is slow holds up its own deliveries, and a tenant's many its own.
 */
export function createDispatcher(deps: DispatchDeps): Dispatcher {
  const busy = new Map<string, { readonly tenantId: string; readonly done: Promise<unknown> }>()

  async function round(): Promise<number> {
    const now = deps.now()
    const tenants = Map.groupBy(busy.values(), ({ tenantId }) => tenantId)
    const due = await claimDue(deps.db, now, now + LEASE_MS, {
      perWebhook: MOST_PER_WEBHOOK,
      perTenant: MOST_PER_TENANT,
      webhooks: MOST_WEBHOOKS - busy.size,
      busyWebhooks: [...busy.keys()],
      busyTenants: [...tenants].flatMap(([id, { length }]) => (length < MOST_PER_TENANT ? [] : id)),
    })
    for (const [id, deliveries] of Map.groupBy(due, ({ webhook }) => webhook.id)) {
      const done = Promise.allSettled(deliveries.map((delivery) => attempt(delivery, deps)))
      busy.set(id, { tenantId: deliveries[0]!.webhook.tenantId, done })
      void done.then(() => busy.delete(id))
    }
    return due.length
  }

  return {
    round,
    async idle() {
      while (busy.size > 0) await Promise.all([...busy.values()].map(({ done }) => done))
    },
  }
}

/** Sends what is due, and waits for it. @returns how many were tried */
export async function dispatchDue(deps: DispatchDeps): Promise<number> {
  const dispatcher = createDispatcher(deps)
  const count = await dispatcher.round()
  await dispatcher.idle()
  return count
}

async function attempt(delivery: DueDelivery, deps: DispatchDeps): Promise<void> {
  const { db, now } = deps
  const { webhook, attempts } = delivery
  const outcome = await (isMail(webhook.url) ? mail(delivery, deps) : post(delivery, deps))
  const wait = outcome.ok ? undefined : retryAfter(attempts, deps.random(), outcome.retryAfterMs)
  const at = now()
  const failingSince = await endAttempt(
    db,
    delivery,
    {
      status: outcome.ok ? 'delivered' : wait === undefined ? 'failed' : 'pending',
      nextAt: wait === undefined ? undefined : at + wait,
      responseStatus: outcome.status,
      responseStart: outcome.start,
      error: outcome.error,
      durationMs: outcome.durationMs,
    },
    at,
  )
  const isGone = outcome.status === 410
  const isDead = failingSince !== undefined && at - failingSince >= DEAD_AFTER_MS
  if (!isGone && !isDead) return
  const reason = isGone ? 'It answered 410: gone' : 'Nothing was delivered for five days'
  const { id, tenantId, name } = webhook
  if (!(await disableWebhook(db, webhook, reason))) return
  await recordEvent(
    db,
    {
      type: 'webhook.disabled',
      tenantId,
      once: `webhook.disabled|${id}|${at}`,
      subject: `webhook:${id}`,
      data: { webhook: { id, name }, reason },
    },
    at,
  )
}

function post({ webhook, event }: DueDelivery, deps: DispatchDeps): Promise<Outcome> {
  const { current, previous } = deps.secrets.open(webhook.id, webhook.secrets)
  const body = `{"type":${JSON.stringify(event.type)},"timestamp":"${new Date(event.createdAt).toISOString()}","data":${event.data}}`
  return deliver(
    deps.upstream,
    {
      id: event.id,
      url: webhook.url,
      body,
      allowPrivateNetwork: webhook.allowPrivateNetwork && deps.privateNetworks,
      secrets: [
        current,
        ...(previous !== undefined && previous.until > deps.now() ? [previous.secret] : []),
      ],
    },
    deps.now,
    deps.tick,
  )
}

async function mail({ webhook, event }: DueDelivery, { mailer }: DispatchDeps): Promise<Outcome> {
  if (mailer === undefined) return { ok: false, error: 'No mail server is set', durationMs: 0 }
  return mailer.send({
    url: webhook.url,
    id: event.id,
    subject: `Tollgate: ${event.type}`,
    text: `${event.type} at ${new Date(event.createdAt).toISOString()}\n\n${JSON.stringify(JSON.parse(event.data), null, 2)}\n`,
  })
}

export function newWebhookId(): string {
  return `whk_${randomBytes(9).toString('hex')}`
}
