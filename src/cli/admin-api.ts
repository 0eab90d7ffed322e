import { EXIT, Failure } from './failure.ts'
import type { Exit } from './failure.ts'
import { plain } from './terminal.ts'

/** Which of the two servers is talked to, as messages name it. */
export interface Plane {
  readonly name: string
  /** What its address is set with. */
  readonly setBy: string
  readonly port: string
  readonly key: string
  readonly keyFix: string
}

const CONTROL_PLANE: Plane = {
  name: 'control plane',
  setBy: '--url or TOLLGATE_URL',
  port: 'admin_port, 8081 unless set',
  key: 'admin key',
  keyFix:
    'set TOLLGATE_ADMIN_KEY (or TOLLGATE_ADMIN_KEY_FILE), or TOLLGATE_DATA_DIR where the server keeps its data',
}

export const DATA_PLANE: Plane = {
  name: 'data plane',
  setBy: '--data-url or TOLLGATE_DATA_URL',
  port: 'port, 8080 unless set',
  key: 'key',
  keyFix: 'set TOLLGATE_API_KEY to the key that calls models, sk-tg-...',
}

export interface AdminApiOptions {
  /** Absent: the control plane. */
  readonly plane?: Plane
  /** Without a slash at its end. */
  readonly url: string
  readonly key?: string | undefined
  /** Where the key came from, or was looked for, for messages. */
  readonly keySource: string
  /** The tenant to act in, by id or name. */
  readonly tenant?: string | undefined
  readonly timeoutMs: number
  /** Milliseconds of a clock. */
  readonly now: () => number
  /** Told of every call, secrets blotted out. */
  readonly trace?: ((line: string) => void) | undefined
}

export type Query = Readonly<Record<string, string | undefined>>

/**
 * The control plane, over HTTP.
 *
 * Every call throws a {@link Failure} that says what to do. What comes back has the shape that the
 * server's OpenAPI page promises; it was made by the schemas behind that page.
 */
export interface AdminApi {
  readonly url: string
  get<T>(path: string, query?: Query): Promise<T>
  text(path: string, query?: Query): Promise<string>
  send<T>(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<T>
  /** Every row of all pages. */
  list<T extends { readonly id: string }>(path: string, query?: Query): Promise<readonly T[]>
}

/** Nobody is there, as before the first start. */
export class Unreachable extends Failure {}

const PAGE_ROWS = '100'
const TRACED_CHARACTERS = 2000

export function createAdminApi(options: AdminApiOptions): AdminApi {
  const { url, key, tenant, trace, now } = options

  async function call(method: string, path: string, query: Query, body?: object): Promise<string> {
    const target = `${url}${path}${search(query)}`
    const sent = body === undefined ? undefined : JSON.stringify(body)
    trace?.(redact(`> ${method} ${target}${sent === undefined ? '' : ` ${sent}`}`, key))
    const started = now()
    try {
      const response = await fetch(target, {
        method,
        // A redirect would take the key to another place.
        redirect: 'manual',
        signal: AbortSignal.timeout(options.timeoutMs),
        headers: {
          accept: 'application/json',
          ...(sent !== undefined && { 'content-type': 'application/json' }),
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
          ...(tenant !== undefined && { 'x-tollgate-tenant': encodeURIComponent(tenant) }),
        },
        ...(sent !== undefined && { body: sent }),
      })
      const text = await response.text()
      const took = `${Math.round(now() - started)} ms`
      trace?.(redact(`< ${response.status} in ${took} ${text.slice(0, TRACED_CHARACTERS)}`, key))
      if (response.ok) return text
      throw refused(response, text, options)
    } catch (error) {
      if (error instanceof Failure) throw error
      throw unreachable(error, method, options)
    }
  }

  async function json<T>(...args: Parameters<typeof call>): Promise<T> {
    const text = await call(...args)
    try {
      const answer: T = JSON.parse(text)
      return answer
    } catch (cause) {
      throw stranger(options, cause)
    }
  }

  return {
    url,
    get: (path, query = {}) => json('GET', path, query),
    text: (path, query = {}) => call('GET', path, query),
    send: (method, path, body) => json(method, path, {}, body),
    async list<T extends { readonly id: string }>(path: string, query: Query = {}) {
      const rows: T[] = []
      for (;;) {
        const page = await json<{ readonly data: readonly T[]; readonly has_more?: boolean }>(
          'GET',
          path,
          { ...query, limit: PAGE_ROWS, after: rows.at(-1)?.id },
        )
        if (!Array.isArray(page.data)) throw stranger(options)
        rows.push(...page.data)
        if (page.has_more !== true || page.data.length === 0) return rows
      }
    },
  }
}

function search(query: Query): string {
  const given = Object.entries(query).filter(
    (pair): pair is [string, string] => pair[1] !== undefined,
  )
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`
}

/** Blots out our keys, and the admin key whatever it looks like. */
function redact(line: string, key: string | undefined): string {
  const blotted = line.replaceAll(/sk-tg-(\w+)-\w{8,}(-\w+)?/g, 'sk-tg-$1-***')
  return key === undefined ? blotted : blotted.replaceAll(key, '***')
}

interface Refusal {
  readonly message?: string
  readonly code?: string
  readonly param?: string | null
  readonly request_id?: string
}

const EXITS: Readonly<Record<number, Exit>> = {
  400: EXIT.usage,
  401: EXIT.auth,
  403: EXIT.auth,
  404: EXIT.notFound,
  409: EXIT.conflict,
  412: EXIT.conflict,
  422: EXIT.usage,
  428: EXIT.conflict,
  429: EXIT.limit,
}

function refused(response: Response, text: string, options: AdminApiOptions): Failure {
  const { url, key, keySource, plane = CONTROL_PLANE } = options
  const { status } = response
  if (status >= 300 && status < 400) {
    const location = plain(response.headers.get('location') ?? 'another address').slice(0, 200)
    return new Failure(EXIT.failed, `${url} redirects to ${location}`, {
      fix: `name the address it ends at with ${plane.setBy}`,
    })
  }
  const refusal = readRefusal(text)
  if (refusal?.code === undefined || refusal.code === 'unknown_url') return stranger(options)
  const message = plain(refusal.message ?? `It answered ${status}`)
  if (status === 401) {
    return new Failure(EXIT.auth, key === undefined ? `No ${plane.key} was found` : message, {
      why: key === undefined ? keySource : `the key came from ${keySource}`,
      fix: plane.keyFix,
    })
  }
  return new Failure(EXITS[status] ?? EXIT.failed, message, {
    why: status >= 500 ? `${url} answered ${status}, request ${refusal.request_id}` : undefined,
    fix: status >= 500 ? 'look the request id up in the log of the server' : undefined,
  })
}

function readRefusal(text: string): Refusal | undefined {
  try {
    const answer: { readonly error?: Refusal } | null = JSON.parse(text)
    return answer?.error
  } catch {
    return undefined
  }
}

function stranger(
  { url, plane = CONTROL_PLANE }: Pick<AdminApiOptions, 'url' | 'plane'>,
  cause?: unknown,
): Failure {
  const other = plane === DATA_PLANE ? 'the control plane' : 'the data plane'
  return new Failure(EXIT.failed, `${url} answers, but not as the ${plane.name} of Tollgate`, {
    why: `another program, ${other} or another version listens there`,
    fix: `name the ${plane.name} with ${plane.setBy} (${plane.port})`,
    cause,
  })
}

function unreachable(
  error: unknown,
  method: string,
  { url, timeoutMs, plane = CONTROL_PLANE }: AdminApiOptions,
): Failure {
  const code = codeOf(error)
  if (error instanceof Error && error.name === 'TimeoutError') {
    const what = `${url} did not answer within ${timeoutMs / 1000} s`
    return new Failure(EXIT.failed, what, {
      why: method === 'GET' ? undefined : 'whether the change was made is not known: look first',
      fix: 'wait longer with --timeout 2m, or look at the log of the server',
      cause: error,
    })
  }
  if (/CERT|SSL|TLS|SELF_SIGNED/.test(code)) {
    return new Failure(EXIT.failed, `The certificate of ${url} is not trusted (${code})`, {
      fix: 'name its authority in NODE_EXTRA_CA_CERTS',
      cause: error,
    })
  }
  return new Unreachable(EXIT.failed, `Nothing answers at ${url}${code && ` (${code})`}`, {
    why: 'Tollgate does not run there, or listens elsewhere',
    fix: `start it with \`tollgate serve\`, or name its address with ${plane.setBy}`,
    cause: error,
  })
}

/** The system's code for what kept `fetch` from its answer; empty when there is none. */
export function codeOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined
  const isCoded = typeof cause === 'object' && cause !== null && 'code' in cause
  return isCoded ? String(cause.code) : ''
}
