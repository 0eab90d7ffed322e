import type { Middleware } from 'koa'
import { asGatewayError } from '#errors'
import type { GatewayError } from '#errors'
import type { GatewayState } from '../state.ts'

export interface ErrorsDeps {
  readonly writeError: (
    error: GatewayError,
    requestId: string,
  ) => { readonly body: string; readonly headers: Readonly<Record<string, string>> }
  /** Told of faults of our own. */
  readonly onFault: (error: GatewayError, requestId: string) => void
}

/** How long a caller may still be reading our refusal while its body was not read to the end, ms. */
const LINGER_MS = 500

/** Answers every throw below in the endpoint's own error shape. */
export function errors({ writeError, onFault }: ErrorsDeps): Middleware<GatewayState> {
  return async function errors(ctx, next) {
    try {
      await next()
    } catch (thrown) {
      const error = asGatewayError(thrown)
      const { requestId, record } = ctx.state
      record.errorCode = error.code
      record.error = error
      if (error.code === 'internal_error') onFault(error, requestId)
      ctx.respond = false
      const { req, res } = ctx
      if (res.headersSent) {
        res.destroy()
        return
      }
      if (error.code === 'client_closed_request') {
        res.statusCode = error.status
        res.destroy()
        return
      }
      const { body, headers } = writeError(error, requestId)
      for (const [name, value] of Object.entries(headers)) res.setHeader(name, value)
      res.statusCode = error.status
      // Node would read an unread body to its end, however long, to keep the connection.
      if (!req.complete) {
        res.setHeader('connection', 'close')
        res.once('finish', () => setTimeout(() => req.destroy(), LINGER_MS).unref())
      }
      res.end(body)
    }
  }
}

/**
 * For Koa's own `error` event: connections that broke, which the log has as requests that
 * ended early, and faults of ours outside {@link errors}.
 */
export function strayErrors({
  onFault,
}: Pick<ErrorsDeps, 'onFault'>): (error: unknown, ctx?: { readonly state: unknown }) => void {
  return (error, ctx) => {
    const { code, syscall } = (error ?? {}) as {
      readonly code?: unknown
      readonly syscall?: unknown
    }
    if (syscall !== undefined || String(code).startsWith('HPE_')) return
    const state = ctx?.state as Partial<GatewayState> | undefined
    onFault(asGatewayError(error), state?.requestId ?? '')
  }
}
