import type { IncomingHttpHeaders } from 'node:http'
import type { Middleware } from 'koa'
import type { DecisionRecord, GatewayState } from '../state.ts'

export interface Served {
  readonly requestId: string
  /** Unix ms. */
  readonly receivedAt: number
  readonly method: string
  readonly path: string
  /** As the caller sent them. */
  readonly headers: IncomingHttpHeaders
  readonly status: number
  readonly durationMs: number
  readonly record: DecisionRecord
}

export interface AccessLogDeps {
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
  /** Told once per request, when its answer is complete or given up. */
  readonly served: (served: Served) => void
}

export function accessLog({ tick, served }: AccessLogDeps): Middleware<GatewayState> {
  return async function accessLog(ctx, next) {
    const { requestId, receivedAt, receivedTick, record } = ctx.state
    try {
      await next()
    } finally {
      const gone = record.errorCode === 'client_closed_request'
      served({
        requestId,
        receivedAt,
        headers: ctx.req.headers,
        method: ctx.method,
        path: ctx.path,
        status: gone ? 499 : ctx.res.statusCode,
        durationMs: tick() - receivedTick,
        record,
      })
    }
  }
}
