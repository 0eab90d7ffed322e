import { GatewayError } from '#errors'
import type { ProviderError, UpstreamHeaders } from '#protocol'
import type { WireError } from './wire.ts'
import { isObject } from './wire.ts'

type Kind = ProviderError['kind']

/** @see https://platform.claude.com/docs/en/api/errors */
const KINDS: Readonly<Record<string, Kind>> = {
  invalid_request_error: 'invalid_request',
  request_too_large: 'invalid_request',
  authentication_error: 'authentication',
  billing_error: 'quota',
  permission_error: 'permission',
  not_found_error: 'not_found',
  rate_limit_error: 'rate_limit',
  timeout_error: 'timeout',
  api_error: 'server',
  overloaded_error: 'overloaded',
}

const STATUSES: Readonly<Record<number, Kind>> = {
  401: 'authentication',
  402: 'quota',
  403: 'permission',
  404: 'not_found',
  408: 'timeout',
  429: 'rate_limit',
  503: 'overloaded',
  504: 'timeout',
  529: 'overloaded',
}

/** What the type does not tell stands in the words only. */
const WORDS: readonly (readonly [RegExp, Kind])[] = [
  [/^prompt is too long|exceed(s)? (the )?context (limit|window)/i, 'context_length'],
  [/content filtering policy/i, 'content_filter'],
  [/credit balance is too low|specified API usage limits/i, 'quota'],
]

const RETRYABLE: ReadonlySet<Kind> = new Set(['rate_limit', 'overloaded', 'server', 'timeout'])

/** Reads an answer with an error status. */
export function readError(status: number, headers: UpstreamHeaders, body: string): ProviderError {
  const error = errorIn(body)
  const message = text(error?.message) ?? `Anthropic answered ${status}`
  const kind =
    kindOf(error, message) ?? STATUSES[status] ?? (status < 500 ? 'invalid_request' : 'server')
  const code = text(error?.details?.error_code) ?? text(error?.type)
  const param = /^([a-z_]+): /.exec(message)?.[1]
  const retryAfterMs = retryAfter(headers)
  const retryable = shouldRetry(headers, kind)
  return {
    kind,
    message,
    ...(code !== undefined && { code }),
    ...(param !== undefined && { param }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(retryable !== undefined && { retryable }),
  }
}

/** The failure an `error` event in a stream stands for, after a status of 200. */
export function streamError(error: WireError | undefined): GatewayError {
  const message = text(error?.message) ?? 'no reason given'
  const kind = kindOf(error, message) ?? 'server'
  return new GatewayError('upstream_error', `The provider broke off its answer: ${message}`, {
    retryable: RETRYABLE.has(kind),
    details: { kind, type: text(error?.type), message },
  })
}

function kindOf(error: WireError | undefined, message: string): Kind | undefined {
  const code = text(error?.details?.error_code)
  if (code !== undefined && /spend_limit|billing/.test(code)) return 'quota'
  const worded = WORDS.find(([words]) => words.test(message))
  return worded?.[1] ?? KINDS[text(error?.type) ?? '']
}

function errorIn(body: string): WireError | undefined {
  try {
    const value: unknown = JSON.parse(body)
    if (!isObject(value)) return undefined
    const { error, message, detail } = value
    if (isObject(error)) return error
    // A proxy before the API, or a host that imitates it.
    const words = [error, message, detail].find((each) => typeof each === 'string')
    return typeof words === 'string' ? { message: words } : undefined
  } catch {
    // A proxy's page, or half an answer: the status has to tell.
    return undefined
  }
}

function shouldRetry(headers: UpstreamHeaders, kind: Kind): boolean | undefined {
  // The header says `true` for every 429; an empty purse does not fill by asking again.
  if (kind === 'quota') return false
  const said = header(headers, 'x-should-retry')
  return said === 'true' ? true : said === 'false' ? false : undefined
}

/** Seconds; a date can not be read without a clock. Said on successes too, so read here only. */
function retryAfter(headers: UpstreamHeaders): number | undefined {
  const ms = Number(header(headers, 'retry-after-ms') ?? Number.NaN)
  if (ms >= 0) return ms
  const seconds = Number(header(headers, 'retry-after') ?? Number.NaN)
  return seconds >= 0 ? Math.ceil(seconds * 1000) : undefined
}

function header(headers: UpstreamHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? value : value?.[0]
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
