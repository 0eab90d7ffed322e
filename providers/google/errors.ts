import type { ProviderError, UpstreamHeaders } from '#protocol'
import { GatewayError } from '#errors'
import { count } from './usage.ts'
import { type ErrorDetail, isObject, list, type WireError } from './wire.ts'

/** https://ai.google.dev/gemini-api/docs/troubleshooting */
export function readError(status: number, headers: UpstreamHeaders, body: string): ProviderError {
  const error = parseError(body)
  const message = typeof error.message === 'string' ? error.message : ''
  const details = list(error.details).filter(isDetail)
  const kind = errorKind(status, error, message, details)
  const param = details.flatMap((detail) => list(detail.fieldViolations))[0]?.field
  // A spent day comes with a delay of seconds too; waiting for that is useless.
  const retryAfterMs = kind === 'quota' ? undefined : retryDelay(details, headers, message)
  return {
    kind,
    message: message === '' ? `google answered ${status}` : message,
    ...(typeof error.status === 'string' && { code: error.status }),
    ...(param !== undefined && { param }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(kind === 'quota' && { retryable: false }),
  }
}

const RETRYABLE = new Set(['rate_limit', 'overloaded', 'server', 'timeout'])

/** An error in the midst of a stream, or in place of an answer, after a status of 200. */
export function streamError(error: WireError): GatewayError {
  const status = count(error.code) || 500
  const { kind, message, code, retryAfterMs } = readError(status, {}, JSON.stringify({ error }))
  return new GatewayError(
    kind === 'rate_limit' ? 'upstream_rate_limited' : 'upstream_error',
    `The provider broke off its answer: ${message}`,
    { retryable: RETRYABLE.has(kind), details: { kind, status: code }, retryAfterMs },
  )
}

/** Without `alt=sse`, an error comes within an array. */
function parseError(body: string): WireError {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    return {} // a proxy's page: the status has to do
  }
  const first: unknown = Array.isArray(value) ? value[0] : value
  if (!isObject(first)) return {}
  if (typeof first['error'] === 'string') return { message: first['error'] }
  return isObject(first['error']) ? first['error'] : {}
}

function isDetail(detail: unknown): detail is ErrorDetail {
  return isObject(detail)
}

function errorKind(
  httpStatus: number,
  error: WireError,
  message: string,
  details: readonly ErrorDetail[],
): ProviderError['kind'] {
  const reasons = details.map((detail) => detail.reason)
  // A bad key is a 400.
  if (reasons.includes('API_KEY_INVALID') || /API key (not valid|expired)/i.test(message))
    return 'authentication'
  if (/token count.*exceeds the maximum/is.test(message)) return 'context_length'

  switch (error.status ?? statusName(httpStatus)) {
    case 'UNAUTHENTICATED':
      return 'authentication'
    case 'PERMISSION_DENIED':
      return 'permission'
    case 'FAILED_PRECONDITION':
      return /billing/i.test(message) ? 'quota' : 'permission'
    case 'NOT_FOUND':
      return 'not_found'
    case 'RESOURCE_EXHAUSTED':
      return isSpent(message, details) ? 'quota' : 'rate_limit'
    case 'UNAVAILABLE':
      return 'overloaded'
    case 'DEADLINE_EXCEEDED':
      return 'timeout'
    case 'INVALID_ARGUMENT':
    case 'OUT_OF_RANGE':
      return 'invalid_request'
    default:
      return httpStatus >= 400 && httpStatus < 500 ? 'invalid_request' : 'server'
  }
}

function statusName(httpStatus: number): string {
  switch (httpStatus) {
    case 401:
      return 'UNAUTHENTICATED'
    case 403:
      return 'PERMISSION_DENIED'
    case 404:
      return 'NOT_FOUND'
    case 429:
      return 'RESOURCE_EXHAUSTED'
    case 503:
      return 'UNAVAILABLE'
    case 408:
    case 504:
      return 'DEADLINE_EXCEEDED'
    default:
      return ''
  }
}

/** A quota that does not come back soon: the day's, or money. */
function isSpent(message: string, details: readonly ErrorDetail[]): boolean {
  const quotas = details.flatMap((detail) => list(detail.violations))
  return (
    quotas.some(({ quotaId }) => quotaId?.includes('PerDay') === true) ||
    /credits? (are|is) depleted|limit: 0\b/i.test(message)
  )
}

/** Google says when in the body, as `34.4s`; a proxy before it in `retry-after`, in seconds. */
function retryDelay(
  details: readonly ErrorDetail[],
  headers: UpstreamHeaders,
  message: string,
): number | undefined {
  const delay = details.find((detail) => detail.retryDelay !== undefined)?.retryDelay
  const header = headers['retry-after']
  const seconds =
    /^(\d+(?:\.\d+)?)s$/.exec(delay ?? '')?.[1] ??
    (typeof header === 'string' && /^\d+(\.\d+)?$/.test(header) ? header : undefined) ??
    /retry in (\d+(?:\.\d+)?)s/i.exec(message)?.[1]
  return seconds === undefined ? undefined : Math.ceil(Number(seconds) * 1000)
}
