import { randomBytes } from 'node:crypto'
import { deliver } from '../alerts/deliver.ts'
import { DEAD_AFTER_MS, retryAfter } from '../alerts/schedule.ts'
import { newSecret } from '../alerts/signature.ts'
import { seal, sealingKey, unseal } from '../secrets.ts'
import { recordEvent } from '../store/alerts.ts'
import type { Database } from '../store/schema.ts'
import { claimDue, disableWebhook, endAttempt } from '../store/webhooks.ts'
import type { DueDelivery } from '../store/webhooks.ts'
import type { Upstream } from '../upstream/send.ts'

/** Longer than an attempt can take. */
const LEASE_MS = 120_000
/** Deliveries under way at once. */
const MOST = 16

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
  /** Unix ms. */
  readonly now: () => number
  readonly tick: () => number
  readonly random: () => number
}

/**
 * Sends what is due, each delivery by one process: at least once, with the same id each time.
 *
 * @returns how many were tried
 */
export async function dispatchDue(deps: DispatchDeps): Promise<number> {
  const now = deps.now()
  const due = await claimDue(deps.db, now, now + LEASE_MS, MOST)
  await Promise.all(due.map((delivery) => attempt(delivery, deps)))
  return due.length
}

async function attempt(delivery: DueDelivery, deps: DispatchDeps): Promise<void> {
  const { db, now } = deps
  const { webhook, event, attempts } = delivery
  const { current, previous } = deps.secrets.open(webhook.id, webhook.secrets)
  const body = `{"type":${JSON.stringify(event.type)},"timestamp":"${new Date(event.createdAt).toISOString()}","data":${event.data}}`
  const outcome = await deliver(
    deps.upstream,
    {
      id: event.id,
      url: webhook.url,
      body,
      allowPrivateNetwork: webhook.allowPrivateNetwork && deps.privateNetworks,
      secrets: [
        current,
        ...(previous !== undefined && previous.until > now() ? [previous.secret] : []),
      ],
    },
    now,
    deps.tick,
  )
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

export function newWebhookId(): string {
  return `whk_${randomBytes(9).toString('hex')}`
}
