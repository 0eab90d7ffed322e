import { randomBytes } from 'node:crypto'
import type { Middleware } from 'koa'
import { GatewayError } from '#errors'
import type { GatewayState } from '../state.ts'

export interface RequestIdDeps {
  /** Unix ms. */
  readonly now: () => number
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
}

/**
 * Gives the request its id, its place for facts, and a signal that fires when the caller leaves.
 *
 * A caller's own `x-client-request-id` is echoed, never believed.
 */
export function requestId({ now, tick }: RequestIdDeps): Middleware<GatewayState> {
  return async function requestId(ctx, next) {
    const abort = new AbortController()
    const receivedAt = now()
    const id = newRequestId(receivedAt)
    ctx.state = {
      requestId: id,
      receivedAt,
      receivedTick: tick(),
      abort,
      headers: ctx.req.headers,
      record: { endpoint: ctx.path, attempts: [], changes: [] },
    } as unknown as GatewayState
    ctx.res.setHeader('x-request-id', id)
    const theirs = ctx.req.headers['x-client-request-id']
    if (typeof theirs === 'string' && /^[\w.:-]{1,128}$/.test(theirs)) {
      ctx.res.setHeader('x-client-request-id', theirs)
    }
    ctx.res.once('close', () => {
      if (!ctx.res.writableFinished && !abort.signal.aborted) {
        abort.abort(new GatewayError('client_closed_request', 'The client closed the connection'))
      }
    })
    await next()
  }
}

/** Random bytes are drawn for many ids at once: a call for each costs more than the rest of an id. */
const POOL_IDS = 256
const RANDOM_BYTES = 8
let pool = Buffer.alloc(0)
let used = 0

/**
 * The time first, then 64 random bits: rows of the ledger, which carry it, then come in the order
 * of its index. With random ids every row touches a page of its own, and writing costs twice as much.
 *
 * @param now Unix ms
 */
function newRequestId(now: number): string {
  if (used >= pool.length) {
    pool = randomBytes(POOL_IDS * RANDOM_BYTES)
    used = 0
  }
  const random = pool.toString('hex', used, used + RANDOM_BYTES)
  used += RANDOM_BYTES
  return `req_${now.toString(16).padStart(12, '0')}${random}`
}
