import type { Middleware } from 'koa'
import { GatewayError } from '#errors'
import type { GatewayState } from '../state.ts'

/** Ends a request that takes too long, whatever it is doing. */
export function deadline(totalTimeoutMs: number): Middleware<GatewayState> {
  return async function deadline(ctx, next) {
    const { abort } = ctx.state
    const timer = setTimeout(() => {
      const message = `The request took more than ${totalTimeoutMs} ms`
      abort.abort(new GatewayError('upstream_timeout', message))
    }, totalTimeoutMs)
    try {
      await next()
    } finally {
      clearTimeout(timer)
    }
  }
}
