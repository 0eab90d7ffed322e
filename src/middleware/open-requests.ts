import type { Middleware } from 'koa'
import { GatewayError } from '#errors'
import type { GatewayState } from '../state.ts'

/** The requests under way, so that a revoked key or a shutdown can end them. */
export interface OpenRequests {
  readonly middleware: Middleware<GatewayState>
  readonly size: number
  /** Ends every request of a key. */
  cut(keyId: string, error: GatewayError): void
  cutAll(error: GatewayError): void
  /** Resolves once nothing is under way. */
  idle(): Promise<void>
}

/** Refuses new requests once `stopping` says so; what is under way goes on. */
export function createOpenRequests(stopping: () => boolean): OpenRequests {
  const open = new Set<GatewayState>()
  let waiting: (() => void)[] = []

  return {
    get size() {
      return open.size
    },
    async middleware(ctx, next) {
      if (stopping()) {
        throw new GatewayError('unavailable', 'Tollgate is shutting down; try again', {
          retryAfterMs: 1000,
        })
      }
      const { state } = ctx
      open.add(state)
      try {
        await next()
      } finally {
        open.delete(state)
        if (open.size === 0) {
          for (const done of waiting) done()
          waiting = []
        }
      }
    },
    cut(keyId, error) {
      for (const state of open) if (state.record.keyId === keyId) state.abort.abort(error)
    },
    cutAll(error) {
      for (const state of open) state.abort.abort(error)
    },
    idle: () =>
      open.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve)),
  }
}
