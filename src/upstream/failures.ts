import { errors } from 'undici'
import { GatewayError } from '#errors'
import type { ErrorCode } from '#errors'

/** What an error's code says of the provider's host, and what it makes of the request. */
const REASONS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ECONNREFUSED: ['upstream_error', 'refused the connection'],
  ECONNRESET: ['upstream_error', 'reset the connection'],
  ECONNABORTED: ['upstream_error', 'reset the connection'],
  EPIPE: ['upstream_error', 'closed the connection'],
  UND_ERR_SOCKET: ['upstream_error', 'closed the connection'],
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: ['upstream_error', 'closed the connection'],
  ENOTFOUND: ['upstream_error', 'is not known to DNS'],
  EAI_AGAIN: ['upstream_error', 'could not be looked up: DNS does not answer'],
  EHOSTUNREACH: ['upstream_error', 'cannot be reached'],
  ENETUNREACH: ['upstream_error', 'cannot be reached'],
  EADDRNOTAVAIL: ['upstream_error', 'cannot be reached: no local port or address is free'],
  EMFILE: ['unavailable', 'cannot be reached: Tollgate is out of file descriptors'],
  ETIMEDOUT: ['upstream_timeout', 'did not take the connection in time'],
  UND_ERR_CONNECT_TIMEOUT: ['upstream_timeout', 'did not take the connection in time'],
  UND_ERR_HEADERS_OVERFLOW: ['upstream_invalid', 'sent too many headers'],
  UND_ERR_DESTROYED: ['unavailable', 'is no longer called: Tollgate is shutting down'],
  UND_ERR_CLOSED: ['unavailable', 'is no longer called: Tollgate is shutting down'],
  // What we asked undici to send is at fault; its message may quote a header's name, never its value.
  UND_ERR_INVALID_ARG: ['internal_error', 'cannot be sent the request'],
  UND_ERR_NOT_SUPPORTED: ['internal_error', 'cannot be sent the request'],
}

const TLS =
  /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|EPROTO$|DEPTH_ZERO|SELF_SIGNED|HOSTNAME_|CRL_|ERR_OSSL)/

/** How far a request got: no byte of it sent, no answer yet, some of the answer here. */
export type Phase = 'connecting' | 'waiting' | 'answering'

const WHEN = { connecting: '', waiting: ' before it answered', answering: ' within its answer' }

/**
 * What a failure between us and a provider is called.
 *
 * `details.request_sent` is false where the provider can not have seen the request, so that
 * sending it again cannot charge twice. The message names the other side and the reason, never
 * what was sent; and no address where the other side has a name.
 */
export function readFailure(
  error: unknown,
  { host, who }: { readonly host: string; readonly who?: string },
  phase: Phase,
): GatewayError {
  if (error instanceof GatewayError) return who === undefined ? error : withoutAddress(error, who)
  const { kind, words, note, cause } = read(error, phase)
  return new GatewayError(
    kind,
    `${who ?? host} ${words}${WHEN[phase]}${note === '' ? '' : ` (${note})`}`,
    {
      details: { request_sent: phase !== 'connecting' },
      ...(cause === undefined ? {} : { cause }),
    },
  )
}

/** The guard's own words, which tell where a name leads, stay in the cause. */
function withoutAddress(error: GatewayError, who: string): GatewayError {
  if (error.code !== 'egress_refused') return error
  const problem = error.retryable
    ? 'has a private address; set `allow_private_network: true` on it if that is meant'
    : 'has an address that is never called'
  const { retryable, details } = error
  return new GatewayError(error.code, `${who} ${problem}`, { retryable, details, cause: error })
}

interface Reading {
  readonly kind: ErrorCode
  readonly words: string
  readonly note: string
  readonly cause?: unknown
}

const CLOSED = { kind: 'upstream_error', words: 'closed the connection' } as const
const NOT_HTTP = { kind: 'upstream_invalid', words: 'does not answer in HTTP' } as const

function read(error: unknown, phase: Phase): Reading {
  // undici's parser errors have no code. They do hold what was sent: no cause of a logged error.
  if (error instanceof errors.HTTPParserError) {
    const [, reason = 'unknown'] = /\((.*)\)$/.exec(error.message) ?? []
    return { ...(reason === 'Invalid EOF state' ? CLOSED : NOT_HTTP), note: reason }
  }
  const note = codeOf(error)
  // Without an answer there is no length to fall short of: undici says so of lengths that differ.
  if (note === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH' && phase === 'waiting') {
    return { ...NOT_HTTP, note: 'contradicting lengths', cause: error }
  }
  const [kind, words] = REASONS[note] ?? unlisted(note)
  return { kind, words, note, cause: error }
}

function unlisted(code: string): readonly [ErrorCode, string] {
  if (TLS.test(code)) return ['upstream_error', 'failed the TLS handshake']
  return ['upstream_error', 'could not be called']
}

/** The first code of an error, its parts (one per address tried) or its cause. */
function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return ''
  if (error instanceof AggregateError) {
    const [first] = error.errors.map(codeOf).filter((code) => code !== '')
    if (first !== undefined) return first
  }
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  return typeof code === 'string' ? code : codeOf(cause)
}
