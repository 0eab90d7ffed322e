import type { ProviderError, UpstreamHeaders } from '#protocol'
import { type Fields, isFields, text } from './wire.ts'

/**
 * Reads every shape Mistral's refusals come in: `{message, type, param, code}` at the top,
 * `{detail}` as a sentence or a list (also inside `message`), `{error}`, and pages of its edge.
 */
export function readError(status: number, headers: UpstreamHeaders, body: string): ProviderError {
  const said = words(parsed(body))
  const message = said.message === '' ? `Mistral answered ${status}` : said.message
  const retryAfterMs = seconds(headers['retry-after'])
  return {
    kind: kind(status, said.code, message),
    message,
    ...(said.code === '' ? {} : { code: said.code }),
    ...(said.param === '' ? {} : { param: said.param }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  }
}

function kind(status: number, code: string, message: string): ProviderError['kind'] {
  if (/too large for model|maximum context length|context length exceeded/i.test(message)) {
    return 'context_length'
  }
  // Lack of capacity comes as 429 or 503, typed `invalid_request_error` either way.
  if (/capacity exceeded|overloaded/i.test(message)) return 'overloaded'
  if (status === 401) return 'authentication'
  if (status === 402) return 'quota'
  if (status === 403) return 'permission'
  if (status === 404 || code === '1500' || /^invalid model/i.test(message)) return 'not_found'
  if (status === 408 || status === 504) return 'timeout'
  if (status === 429) return 'rate_limit'
  if (status === 503) return 'overloaded'
  return status >= 500 ? 'server' : 'invalid_request'
}

interface Said {
  readonly message: string
  readonly code: string
  readonly param: string
}

const NOTHING: Said = { message: '', code: '', param: '' }

function words(body: unknown): Said {
  if (typeof body === 'string') return { ...NOTHING, message: body }
  if (!isFields(body)) return NOTHING
  for (const inner of [body['error'], body['detail']]) {
    const found = Array.isArray(inner) ? validation(inner) : words(inner)
    if (found.message !== '') return { ...found, code: found.code || readCode(body) }
  }
  const { message } = body
  const found = isFields(message) ? words(message) : { ...NOTHING, message: text(message) }
  return { message: found.message, code: readCode(body), param: found.param || text(body['param']) }
}

function readCode(body: Fields): string {
  const { code: given, type } = body
  return typeof given === 'string' || typeof given === 'number' ? String(given) : text(type)
}

/** FastAPI's list of `{loc, msg, type}`: every sentence, and the field of the first. */
function validation(list: readonly unknown[]): Said {
  const faults = list.filter(isFields).map((fault) => {
    const loc: unknown[] = Array.isArray(fault['loc']) ? fault['loc'] : []
    const path = loc.filter((step) => step !== 'body').reduce<string>(join, '')
    return { path, message: text(fault['msg']) }
  })
  return {
    ...NOTHING,
    message: faults.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; '),
    param: faults[0]?.path ?? '',
  }
}

function join(path: string, step: unknown): string {
  if (typeof step === 'number') return `${path}[${step}]`
  return path === '' ? String(step) : `${path}.${String(step)}`
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    // A page of the edge; its markup says nothing to a caller.
    return body.trimStart().startsWith('<') ? undefined : body.slice(0, 500)
  }
}

function seconds(header: string | readonly string[] | undefined): number | undefined {
  const value = Number(typeof header === 'string' ? header : header?.[0])
  return Number.isFinite(value) && value >= 0 ? Math.ceil(value * 1000) : undefined
}
