/** What a code means: its status, its OpenAI `type`, and whether the same request may succeed later. */
interface Meaning {
  readonly status: number
  readonly type: string
  /** Whether the relay may try another target, and a client the same request again. */
  readonly retryable: boolean
  /** For the README: when it is given, and what to do. */
  readonly help: string
}

/**
 * Every way a request can fail. The README's table is printed from this one.
 *
 * A new code must change what a client or the relay does; otherwise it is a message.
 */
export const CODES = {
  invalid_json: {
    status: 400,
    type: 'invalid_request_error',
    retryable: false,
    help: 'The body is not acceptable JSON: mend what the message names',
  },
  invalid_value: {
    status: 400,
    type: 'invalid_request_error',
    retryable: false,
    help: 'A field has a wrong type or range: `param` names it',
  },
  unsupported_feature: {
    status: 400,
    type: 'invalid_request_error',
    retryable: false,
    help: 'No target of the model can carry a field of the request: drop it or pick another model',
  },
  context_length_exceeded: {
    status: 400,
    type: 'invalid_request_error',
    retryable: false,
    help: 'The prompt is longer than the model takes: shorten it',
  },
  content_filter: {
    status: 400,
    type: 'invalid_request_error',
    retryable: false,
    help: 'The provider refused the content of the request',
  },
  invalid_api_key: {
    status: 401,
    type: 'authentication_error',
    retryable: false,
    help: 'No key, an unknown key, or several different ones were sent: send one valid key',
  },
  expired_api_key: {
    status: 401,
    type: 'authentication_error',
    retryable: false,
    help: 'The key is past its expiry: ask its owner for a new one',
  },
  revoked_api_key: {
    status: 401,
    type: 'authentication_error',
    retryable: false,
    help: 'The key was revoked or disabled: ask its owner for a new one',
  },
  permission_denied: {
    status: 403,
    type: 'permission_error',
    retryable: false,
    help: 'The key may not use this route',
  },
  model_not_allowed: {
    status: 403,
    type: 'permission_error',
    retryable: false,
    help: 'The key may not call this model, or one it can lead to: `GET /v1/models` lists those it may',
  },
  ip_not_allowed: {
    status: 403,
    type: 'permission_error',
    retryable: false,
    help: 'The key may not be used from this address',
  },
  model_not_found: {
    status: 404,
    type: 'invalid_request_error',
    retryable: false,
    help: 'No configured provider serves this name: the message names the nearest',
  },
  unknown_url: {
    status: 404,
    type: 'invalid_request_error',
    retryable: false,
    help: 'Nothing is served under this path: the message names the nearest',
  },
  not_found: {
    status: 404,
    type: 'invalid_request_error',
    retryable: false,
    help: 'The control plane has no such object',
  },
  method_not_allowed: {
    status: 405,
    type: 'invalid_request_error',
    retryable: false,
    help: 'The path exists for another method: see the `Allow` header',
  },
  conflict: {
    status: 409,
    type: 'conflict_error',
    retryable: false,
    help: 'The object is not in a state that allows this: read it again',
  },
  stale_version: {
    status: 412,
    type: 'conflict_error',
    retryable: false,
    help: 'The object was changed since it was read: read it again, then send its `ETag` as `If-Match`',
  },
  request_in_progress: {
    status: 409,
    type: 'conflict_error',
    retryable: true,
    help: 'The first call with this `Idempotency-Key` is under way: ask again',
  },
  idempotency_key_reused: {
    status: 422,
    type: 'invalid_request_error',
    retryable: false,
    help: 'The `Idempotency-Key` came with another request before: use a new one for each',
  },
  body_too_large: {
    status: 413,
    type: 'invalid_request_error',
    retryable: false,
    help: 'The body is over `max_body_bytes`',
  },
  unsupported_media_type: {
    status: 415,
    type: 'invalid_request_error',
    retryable: false,
    help: 'Send `content-type: application/json`, uncompressed, in UTF-8',
  },
  rate_limit_exceeded: {
    status: 429,
    type: 'rate_limit_error',
    retryable: true,
    help: 'A limit of requests, tokens or concurrency is used up: wait as `retry-after` says',
  },
  insufficient_quota: {
    status: 429,
    type: 'insufficient_quota',
    retryable: false,
    help: 'A money budget cannot cover the request: `details` name it and when it resets',
  },
  unpriced_model: {
    status: 400,
    type: 'invalid_request_error',
    retryable: false,
    help: 'The model has no known price: `tollgate prices set` sets one; or `unpriced: allow`',
  },
  client_closed_request: {
    status: 499,
    type: 'client_error',
    retryable: false,
    help: 'The client left before the answer was complete (logs only)',
  },
  upstream_error: {
    status: 502,
    type: 'upstream_error',
    retryable: true,
    help: 'The provider failed: `details.attempts` has its words',
  },
  upstream_invalid: {
    status: 502,
    type: 'upstream_error',
    retryable: true,
    help: 'The provider answered something unreadable',
  },
  upstream_rejected: {
    status: 502,
    type: 'upstream_error',
    retryable: true,
    help: 'The provider refused our credential, its own quota or the model: the operator must act',
  },
  upstream_rate_limited: {
    status: 429,
    type: 'rate_limit_error',
    retryable: true,
    help: 'Every target is rate limited by its provider: wait as `retry-after` says',
  },
  upstream_timeout: {
    status: 504,
    type: 'upstream_error',
    retryable: true,
    help: 'The provider did not answer in time',
  },
  egress_refused: {
    status: 502,
    type: 'upstream_error',
    retryable: true,
    help: 'The provider address is private: set `allow_private_network: true` if that is meant',
  },
  unavailable: {
    status: 503,
    type: 'server_error',
    retryable: true,
    help: 'Tollgate is shutting down, overloaded, or cannot write its ledger: try again shortly',
  },
  internal_error: {
    status: 500,
    type: 'server_error',
    retryable: false,
    help: 'A fault of Tollgate: report it with the request id',
  },
} as const satisfies Record<string, Meaning>

export type ErrorCode = keyof typeof CODES

export interface GatewayErrorOptions extends ErrorOptions {
  /** The request field at fault, by path. */
  readonly param?: string | undefined
  /** For the caller; never a secret. Rendered as `error.details`. */
  readonly details?: Readonly<Record<string, unknown>> | undefined
  /** Instead of `details`, for the operator alone. Never rendered. */
  readonly operatorDetails?: Readonly<Record<string, unknown>> | undefined
  /** When to come back, ms from now. */
  readonly retryAfterMs?: number | undefined
  /** Overrides the code's own, where this case is known better. */
  readonly retryable?: boolean | undefined
}

/** Any failure with a stable code. Its message may be shown to the client. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: ErrorCode
  readonly status: number
  readonly type: string
  readonly retryable: boolean
  readonly param: string | undefined
  readonly details: Readonly<Record<string, unknown>> | undefined
  readonly operatorDetails: Readonly<Record<string, unknown>> | undefined
  readonly retryAfterMs: number | undefined

  constructor(code: ErrorCode, message: string, options: GatewayErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.status = CODES[code].status
    this.type = CODES[code].type
    this.retryable = options.retryable ?? CODES[code].retryable
    this.param = options.param
    this.details = options.details
    this.operatorDetails = options.operatorDetails
    this.retryAfterMs = options.retryAfterMs
  }
}

/** What anything thrown is to a client: itself if it has a code, else an `internal_error` that hides it. */
export function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  return new GatewayError('internal_error', 'Tollgate failed; report this with the request id', {
    cause: error,
  })
}
