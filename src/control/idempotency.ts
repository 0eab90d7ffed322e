import { createHash, createHmac } from 'node:crypto'
import { GatewayError } from '#errors'
import { seal, sealingKey, unseal } from '../secrets.ts'
import { findCall, keepCall } from '../store/idempotency.ts'
import type { Database } from '../store/schema.ts'
import type { Principal, Reply, Resource } from './resource.ts'

/** An answer as it is sent. */
export interface Answered {
  readonly status: number
  readonly type: string
  /** The text of the body. */
  readonly body: string
  readonly version?: string
}

/**
 * `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a call that is repeated with the
 * same key is answered as the first time, for a day, and has no second effect.
 *
 * The answer is kept in the transaction of its effect: after a crash both are there or neither.
 * It is sealed with the key itself, which is not kept: a secret in it can be had again by its
 * caller, and from the database by nobody. Failures are not kept, since nothing came of them.
 */
export interface Idempotency {
  /**
   * @param execute - makes the answer; calls `keep` within its transaction
   * @throws GatewayError `idempotency_key_reused` for another request with the key,
   *   `request_in_progress` while the first is under way
   */
  answer(
    key: string,
    call: IdempotentRequest,
    execute: (keep: (db: Database, answered: Answered) => Promise<void>) => Promise<Answered>,
  ): Promise<{ readonly answered: Answered; readonly isReplay: boolean }>
}

export interface IdempotentRequest {
  readonly principal: Principal
  readonly route: Pick<Resource, 'method' | 'path'>
  /** Path, query and body: all that decides what is done. */
  readonly asked: unknown
}

/** @param now Unix ms */
export function createIdempotency(db: Database, rootKey: string, now: () => number): Idempotency {
  const underWay = new Set<string>()
  const secret = sealingKey(rootKey, 'idempotency')

  return {
    async answer(key, call, execute) {
      checkKey(key)
      const id = idOf(call.principal, key, secret)
      const fingerprint = fingerprintOf(call)
      if (underWay.has(id)) {
        throw new GatewayError(
          'request_in_progress',
          'The first call with this Idempotency-Key is under way',
          {
            retryAfterMs: 1000,
          },
        )
      }
      underWay.add(id)
      try {
        const sealing = sealingKey(`${rootKey}\n${key}`, 'idempotent-answer')
        const found = await findCall(db, id, now())
        if (found === undefined) {
          const answered = await execute((transaction, made) =>
            keepCall(transaction, {
              id,
              fingerprint,
              sealed: seal(sealing, JSON.stringify(made), id),
              answeredAt: now(),
            }),
          )
          return { answered, isReplay: false }
        }
        if (found.fingerprint !== fingerprint) {
          throw new GatewayError(
            'idempotency_key_reused',
            'This Idempotency-Key came with another request before; use a new one for each',
            { param: 'Idempotency-Key' },
          )
        }
        const answered = unseal(sealing, found.sealed, id)
        if (answered === undefined) throw new Error('an answer cannot be opened')
        return { answered: JSON.parse(answered.toString()) as Answered, isReplay: true }
      } finally {
        underWay.delete(id)
      }
    },
  }
}

/** What an answer is sent as. */
export function answeredOf(reply: Reply): Answered {
  const { body, status = 200, type = 'application/json', version } = reply
  return {
    status,
    type,
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(version !== undefined && { version: String(version) }),
  }
}

function checkKey(key: string): void {
  if (/^[\x20-\x7e]{1,255}$/.test(key)) return
  throw new GatewayError(
    'invalid_value',
    'Idempotency-Key must be 1 to 255 printable characters, such as a UUID',
    { param: 'Idempotency-Key' },
  )
}

function idOf(principal: Principal, key: string, secret: Uint8Array): string {
  const whose = [principal.tenantId, principal.type, principal.id, key]
  return createHmac('sha256', secret).update(JSON.stringify(whose)).digest('base64url')
}

function fingerprintOf({ route, asked }: IdempotentRequest): string {
  const text = JSON.stringify([route.method, route.path, asked])
  return createHash('sha256').update(text).digest('base64url')
}
