import { GatewayError } from '#errors'
import type { ProviderError, UpstreamHeaders } from '#protocol'
import { type Fields, isFields, parsed, text } from './wire.ts'

/** What an error body says, whichever of the many shapes it has. Empty where it says nothing. */
export interface ErrorWords {
  readonly message: string
  readonly code: string
  readonly type: string
  readonly param: string
  /** A status inside the body, as gateways send after the head is gone; 0 for none. */
  readonly status: number
}

const SILENT: ErrorWords = { message: '', code: '', type: '', param: '', status: 0 }
const LONGEST_MESSAGE = 2000

/**
 * Reads an error body: `{error: {...}}`, `{error: "..."}`, `[{error}]`, `{type: "error", error}`,
 * `{message}`, `{detail: "..." | [...]}`, `{object: "error", message}`, `{id, message,
 * error_type}`, `{code, error: "..."}`, `{errors: [...]}`, JSON within JSON, a page of HTML.
 */
export function readErrorWords(body: unknown, depth = 0): ErrorWords {
  if (depth > 4) return SILENT
  if (typeof body === 'string') return spoken(body, depth)
  if (Array.isArray(body)) return readErrorWords(body[0], depth + 1)
  if (!isFields(body)) return SILENT
  const own = { ...SILENT, ...wordsOf(body) }
  const inner = INNER.map((name) => body[name]).find(
    (value) => value !== undefined && value !== null,
  )
  if (inner === undefined) return own
  const nested = Array.isArray(inner) ? several(inner, depth) : readErrorWords(inner, depth + 1)
  return {
    message: nested.message || own.message,
    code: nested.code || own.code,
    type: nested.type || own.type,
    param: nested.param || own.param,
    status: nested.status || own.status,
  }
}

const INNER = ['error', 'detail', 'errors'] as const

function wordsOf(body: Fields): ErrorWords {
  const code = body['code'] ?? body['error_code']
  const status = [code, body['status_code'], body['status']].map(Number).find(isErrorStatus) ?? 0
  const said = text(body['message']) || text(body['msg']) || text(body['error_message'])
  // OpenRouter says "Provider returned error"; what that provider said is beside it.
  const raw = isFields(body['metadata']) ? text(body['metadata']['raw']) : ''
  return {
    message: raw === '' ? spoken(said, 1).message : `${said}: ${spoken(raw, 1).message}`,
    // A number that is a status says no more than the status.
    code: typeof code === 'number' && !isErrorStatus(code) ? String(code) : text(code),
    type: text(body['type']) || text(body['error_type']),
    param: text(body['param']),
    status,
  }
}

function isErrorStatus(value: number): boolean {
  return Number.isInteger(value) && value >= 400 && value <= 599
}

function spoken(body: string, depth: number): ErrorWords {
  const json = /^\s*[[{]/.test(body) ? parsed(body) : undefined
  if (json !== undefined) return readErrorWords(json, depth + 1)
  const plain = /^\s*</.test(body) ? (/<title>([^<]*)/i.exec(body)?.[1] ?? '') : body
  return { ...SILENT, message: plain.replaceAll(/\s+/g, ' ').trim() }
}

/** FastAPI's `[{loc, msg, type}]`, and lists of error objects. */
function several(items: readonly unknown[], depth: number): ErrorWords {
  const words = items.slice(0, 20).map((item) => {
    const said = readErrorWords(item, depth + 1)
    const loc = isFields(item) && Array.isArray(item['loc']) ? item['loc'].join('.') : ''
    return { ...said, message: loc === '' ? said.message : `${loc}: ${said.message}`, param: loc }
  })
  return { ...(words[0] ?? SILENT), message: words.map(({ message }) => message).join('; ') }
}

/** {@link Provider.readError} for any provider whose errors are of the usual kind. Never throws. */
export function readError(status: number, headers: UpstreamHeaders, body: string): ProviderError {
  return providerError(status, headers, readErrorWords(body))
}

/** As {@link readError}, for words that are read already. */
export function providerError(
  status: number,
  headers: UpstreamHeaders,
  said: ErrorWords,
): ProviderError {
  const words = { ...said, message: said.message.slice(0, LONGEST_MESSAGE) }
  const code = words.code || words.type
  const kind = kindOf(status, words)
  const message = words.message || code || `The provider answered ${status}`
  const retryAfterMs = kind === 'quota' ? undefined : readRetryAfter(headers, words.message)
  const retryable = retryWord(kind, words, headers)
  return {
    kind,
    message,
    ...(code === '' ? {} : { code }),
    ...(words.param === '' ? {} : { param: words.param }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(retryable === undefined ? {} : { retryable }),
  }
}

const TOO_LONG =
  /context_length_exceeded|exceed_context_size|too_many_tokens|maximum context length|context (length|window|size)[^.]{0,40}exceed|exceed\w*[^.]{0,60}context (length|window|size)|prompt (is )?too long|input (is )?too long|(reduce|shorten) the length of (the|your) (messages|prompt|input)|(input|prompt)( token)? (length|count)[^.]{0,40}exceed|(range of input length should be)/i
const NO_MONEY =
  /insufficient[_ ](quota|balance|credits?|funds)|exceeded your current quota|(quota|credits?|balance) (is |are |has been |have been )?(exhausted|depleted|used up)|credit balance|billing|arrears|payment required/i
const UNSAFE =
  /content[_ ]?(policy|filter)|content management policy|responsibleaipolicy|data_inspection_failed|inappropriate content|flagged/i
const UNKNOWN_MODEL =
  /model_?not_?found|deploymentnotfound|model_decommissioned|no such model|model[^.]{0,80}(does not exist|not found|is not available|has been (deprecated|decommissioned))/i
const BUSY =
  /overloaded|engine_overloaded|(capacity|currently) (is )?(exceeded|unavailable|busy)|no capacity/i
const BAD_KEY =
  /invalid[_ ]api[_ ]?key|incorrect api key|api key (is )?(invalid|not valid|expired)/i

function kindOf(status: number, words: ErrorWords): ProviderError['kind'] {
  // A failure told after a 200, or by a gateway, has its true status inside.
  const real = status < 400 || status === 502 ? words.status || status : status
  const all = `${words.code} ${words.type} ${words.message}`
  if (real < 400) return kindOf(statusOf(all), words)
  if (real === 402 || ((real === 429 || real === 403) && NO_MONEY.test(all))) return 'quota'
  if (real === 401) return 'authentication'
  if (real === 429 || words.code === 'rate_limit_exceeded')
    return BUSY.test(`${words.code} ${words.type} ${words.message}`) ? 'overloaded' : 'rate_limit'
  if (TOO_LONG.test(all)) return 'context_length'
  if (BAD_KEY.test(all)) return 'authentication'
  if (UNSAFE.test(all) && real < 500) return 'content_filter'
  if (real === 404 || (real < 500 && UNKNOWN_MODEL.test(all))) return 'not_found'
  if (real === 403) return 'permission'
  // The model wrote a call its own provider refuses (Groq): asked again, it may not.
  if (words.code === 'tool_use_failed') return 'server'
  if (real === 408 || real === 504) return 'timeout'
  if (real === 498 || real === 503 || real === 529 || BUSY.test(`${words.code} ${words.type}`))
    return 'overloaded'
  return real >= 400 && real < 500 ? 'invalid_request' : 'server'
}

/** What would have been the status of an error that came without one. */
function statusOf(words: string): number {
  if (NO_MONEY.test(words)) return 402
  if (/rate.?limit|too many requests/i.test(words)) return 429
  if (/authentication|unauthori[sz]ed/i.test(words)) return 401
  if (/overloaded|unavailable/i.test(words)) return 503
  return /invalid.?(request|argument)|bad.?request/i.test(words) ? 400 : 500
}

function retryWord(
  kind: ProviderError['kind'],
  words: ErrorWords,
  headers: UpstreamHeaders,
): boolean | undefined {
  if (kind === 'quota') return false
  if (words.code === 'tool_use_failed') return true
  const said = first(headers['x-should-retry'])
  return said === 'true' ? true : said === 'false' ? false : undefined
}

/**
 * When to come back, ms from now: `retry-after-ms`, `retry-after` (seconds or a date), the text
 * ("try again in 5.289s"), then OpenAI's reset of the limit that is used up.
 *
 * Where both headers are there the longer counts: Azure sends `retry-after-ms: 0` beside a second.
 */
export function readRetryAfter(headers: UpstreamHeaders, message = ''): number | undefined {
  const said = [headerMs(headers), headerSeconds(headers)].filter((each) => each !== undefined)
  if (said.length > 0) return Math.max(...said)
  const inText =
    /(?:try again|retry|wait)[^.]{0,20}? (?:in|after|for) (?:about )?([\d.]+ ?(?:ms|m(?:in\w*)?|s(?:ec\w*)?|h)[\d.hms]*)/i.exec(
      message,
    )
  if (inText?.[1] !== undefined) return readDuration(inText[1])
  for (const what of ['requests', 'tokens']) {
    if (first(headers[`x-ratelimit-remaining-${what}`]) !== '0') continue
    const reset = readDuration(first(headers[`x-ratelimit-reset-${what}`]) ?? '')
    if (reset !== undefined) return reset
  }
  return undefined
}

function headerMs(headers: UpstreamHeaders): number | undefined {
  const given = first(headers['retry-after-ms'])
  const ms = given === undefined || given.trim() === '' ? NaN : Number(given)
  return ms >= 0 && ms <= Number.MAX_SAFE_INTEGER ? Math.ceil(ms) : undefined
}

function headerSeconds(headers: UpstreamHeaders): number | undefined {
  const given = first(headers['retry-after'])?.trim()
  if (given === undefined || given === '') return undefined
  const seconds = Number(given)
  if (seconds >= 0 && seconds <= 1e9) return Math.ceil(seconds * 1000)
  // Relative to the provider's own clock, so that ours does not matter.
  const ms = Date.parse(given) - Date.parse(first(headers['date']) ?? '')
  return ms >= 0 ? ms : undefined
}

const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 }

/** `6m0s`, `130ms`, `1h2m3.5s`, `5.289s`, `20 seconds` in ms, rounded up. */
export function readDuration(words: string): number | undefined {
  let ms: number | undefined
  for (const [, amount, unit] of words.matchAll(/(\d+(?:\.\d+)?) ?(ms|h|m|s)/gi)) {
    ms = (ms ?? 0) + Number(amount) * (UNIT_MS[(unit ?? '').toLowerCase()] ?? 0)
  }
  return ms === undefined || !Number.isSafeInteger(Math.ceil(ms)) ? undefined : Math.ceil(ms)
}

function first(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.[0]
}

const WORTH_RETRYING = new Set(['rate_limit', 'overloaded', 'server', 'timeout'])

/** An error that came inside a stream, after its 200. `cause` is the {@link ProviderError}. */
export function streamFailure(body: unknown): GatewayError {
  const error = providerError(200, {}, readErrorWords(body))
  return new GatewayError(
    'upstream_error',
    `The provider reported an error in its stream: ${error.message.slice(0, 500)}`,
    {
      cause: error,
      retryable: error.retryable ?? WORTH_RETRYING.has(error.kind),
      retryAfterMs: error.retryAfterMs,
    },
  )
}
