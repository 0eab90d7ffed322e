import type { IncomingMessage } from 'node:http'
import type { Middleware } from 'koa'
import { GatewayError } from '#errors'
import type { Body } from '../endpoints/body.ts'
import type { GatewayState } from '../state.ts'
import { collect } from './read-request.ts'

export interface ReportLeakDeps {
  readonly addressOf: (request: IncomingMessage) => string
  readonly readBody: (bytes: Uint8Array) => Body
  /** Freezes the key that a whole secret opens; does nothing for any other text. */
  readonly reportLeak: (
    token: string,
    from: { readonly address: string; readonly requestId: string },
  ) => Promise<void>
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
}

const MAX_BODY_BYTES = 16 * 1024
const LONGEST = 256

/** Reports in a minute: of one address, and of all together. */
const MOST_OF_ONE = 10
const MOST_OF_ALL = 300
const MINUTE_MS = 60_000

/**
 * Takes a key that was found where it should not be, from anyone: who holds the secret may end
 * its use. Every text gets the same answer, so that the answer tells nothing of keys.
 */
export function reportLeak(deps: ReportLeakDeps): Middleware<GatewayState> {
  let counts = new Map<string, number>()
  let all = 0
  let since = deps.tick()

  function checkPace(address: string): void {
    const now = deps.tick()
    if (now - since >= MINUTE_MS) {
      counts = new Map()
      all = 0
      since = now
    }
    const source = sourceOf(address)
    const count = (counts.get(source) ?? 0) + 1
    if (count > MOST_OF_ONE || all >= MOST_OF_ALL) {
      throw new GatewayError('rate_limit_exceeded', 'Too many reports; try again shortly', {
        retryAfterMs: Math.max(1, Math.ceil(since + MINUTE_MS - now)),
      })
    }
    counts.set(source, count)
    all++
  }

  return async function reportLeak(ctx) {
    const address = deps.addressOf(ctx.req)
    checkPace(address)
    if (!ctx.is('application/json')) {
      throw new GatewayError('unsupported_media_type', 'Send content-type: application/json')
    }
    const { value } = deps.readBody(await collect(ctx.req, MAX_BODY_BYTES))
    const token = isRecord(value) ? value.token : undefined
    if (typeof token !== 'string' || token === '' || token.length > LONGEST) {
      throw new GatewayError('invalid_value', 'token: expected the whole key as text', {
        param: 'token',
      })
    }
    await deps.reportLeak(token, { address, requestId: ctx.state.requestId })
    ctx.set('cache-control', 'no-store')
    ctx.status = 202
    ctx.body = { object: 'leak_report', status: 'received' }
  }
}

/** Whoever has one IPv6 address has its network of 64 bits. */
function sourceOf(address: string): string {
  return address.includes(':') ? address.split(':').slice(0, 4).join(':') : address
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
