import type { GatewayError } from '#errors'

/** Longest wait we ask for, s; some clients sleep as long as they are told. */
const LONGEST_WAIT_S = 60

/**
 * An error as the body and headers of an answer, in OpenAI's shape.
 *
 * `x-should-retry: false` keeps OpenAI's SDKs from repeating what will fail again.
 */
export function writeError(
  error: GatewayError,
  requestId: string,
): { readonly body: string; readonly headers: Readonly<Record<string, string>> } {
  return {
    body: JSON.stringify(envelope(error, requestId), plain),
    headers: {
      'content-type': 'application/json; charset=utf-8',
      ...retryHeaders(error),
    },
  }
}

/** The last event of a stream that broke; no end marker may follow. */
export function writeStreamError(error: GatewayError, requestId: string): string {
  return `data: ${JSON.stringify(envelope(error, requestId), plain)}\n\n`
}

function envelope(error: GatewayError, requestId: string): object {
  return {
    error: {
      message: error.message,
      type: error.type,
      param: error.param ?? null,
      code: error.code,
      request_id: requestId,
      ...(error.details === undefined ? {} : { details: error.details }),
    },
  }
}

/** No wait for a spent budget, whatever it says: it is of hours, and the details have its end. */
function retryHeaders(error: GatewayError): Readonly<Record<string, string>> {
  if (!error.retryable || error.code === 'insufficient_quota') return { 'x-should-retry': 'false' }
  if (error.retryAfterMs === undefined) return {}
  const ms = Math.min(Math.max(Math.ceil(error.retryAfterMs), 0), LONGEST_WAIT_S * 1000)
  return { 'retry-after': String(Math.ceil(ms / 1000)), 'retry-after-ms': String(ms) }
}

/** Amounts in details are bigints, which JSON has not. */
function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}
