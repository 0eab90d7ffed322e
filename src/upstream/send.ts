import { Pool } from 'undici'
import { GatewayError } from '#errors'
import type { UpstreamRequest } from '#protocol'
import { checkScheme, guardedConnector, readUrl, systemResolve } from './egress.ts'
import type { Resolve } from './egress.ts'
import { Exchange } from './exchange.ts'
import type { UpstreamAnswer } from './exchange.ts'

export type { UpstreamAnswer } from './exchange.ts'

export interface UpstreamOptions {
  /** Default: the system's resolver. */
  readonly resolve?: Resolve
  /** For lookup, TCP and TLS together; ms. */
  readonly connectTimeoutMs: number
  /** Most bytes of an answer, compressed and decompressed, where a request sets no limit itself. */
  readonly maxResponseBytes: number
  /** How long an unused connection is kept, unless the provider names a time; ms. Default 20 s. */
  readonly keepAliveMs?: number
  /** Status line and headers of an answer. Default 32 KiB. */
  readonly maxHeaderBytes?: number
  /** Providers with connections kept; the one not used for longest goes first. Default 256. */
  readonly maxOrigins?: number
  /** Default `tollgate`. */
  readonly userAgent?: string
  /** PEM certificates to trust instead of the system's. */
  readonly ca?: string
}

export interface SendOptions {
  /** Its abort ends the request at once, with its reason; the total time is the caller's through it. */
  readonly signal: AbortSignal
  readonly allowPrivateNetwork: boolean
  /** From the sending of the request to the head of the answer; ms. */
  readonly headTimeoutMs: number
  /** Between two pieces of the body, while it is being read; ms. */
  readonly idleTimeoutMs: number
  /** Most bytes of the answer, compressed and decompressed. Default: `maxResponseBytes`. */
  readonly maxBytes?: number
  /** What errors call the other side, and then tell no address. Default: the URL's host. */
  readonly who?: string
}

/** Connections to all providers. */
export interface UpstreamStats {
  readonly openSockets: number
  readonly idleSockets: number
  /** Sent, their answer not complete. */
  readonly runningRequests: number
  /** Waiting for a connection. */
  readonly pendingRequests: number
}

/** The way out to every provider. */
export interface Upstream {
  /**
   * Sends one request, once; resolves at the head of its answer, whatever the status. Redirects
   * are answers like any other.
   *
   * @throws GatewayError `egress_refused`, `upstream_timeout`, `upstream_error`,
   *   `upstream_invalid`; `unavailable` after `close`. Their `details.request_sent` is false when
   *   the provider cannot have seen any of it. The signal's own reason when that aborted.
   */
  send(request: UpstreamRequest, options: SendOptions): Promise<UpstreamAnswer>
  stats(): UpstreamStats
  /** Takes no more requests; resolves when those under way are done. */
  close(): Promise<void>
  /** Breaks off what is under way. */
  destroy(): Promise<void>
}

interface OriginPool {
  readonly pool: Pool
  usedAt: number
}

/** Set here or by undici: a request that brought its own could be cut in two or sent elsewhere. */
const FRAMING_HEADERS = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

export function createUpstream(options: UpstreamOptions): Upstream {
  const { resolve = systemResolve, maxOrigins = 256, userAgent = 'tollgate' } = options
  const pools = new Map<string, OriginPool>()
  let uses = 0
  let closed = false

  function poolFor(origin: string, allowPrivateNetwork: boolean): Pool {
    // Apart, so that no socket opened with leave for private addresses serves one without.
    const name = allowPrivateNetwork ? `private ${origin}` : origin
    let found = pools.get(name)
    if (found === undefined) {
      if (pools.size >= maxOrigins) dropOldest()
      found = { pool: openPool(origin, allowPrivateNetwork), usedAt: 0 }
      pools.set(name, found)
    }
    found.usedAt = ++uses
    return found.pool
  }

  function openPool(origin: string, allowPrivateNetwork: boolean): Pool {
    return new Pool(origin, {
      connect: guardedConnector({
        resolve,
        allowPrivateNetwork,
        timeoutMs: options.connectTimeoutMs,
        ...(options.ca === undefined ? {} : { ca: options.ca }),
      }),
      allowH2: false,
      pipelining: 1,
      maxHeaderSize: options.maxHeaderBytes ?? 32 * 1024,
      keepAliveTimeout: options.keepAliveMs ?? 20_000,
      // Ours are exact and name the phase; undici's are good to half a second.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
  }

  function dropOldest(): void {
    const [oldest] = [...pools].toSorted(([, a], [, b]) => a.usedAt - b.usedAt)
    if (oldest === undefined) return
    pools.delete(oldest[0])
    void oldest[1].pool.close()
  }

  function send(request: UpstreamRequest, sendOptions: SendOptions): Promise<UpstreamAnswer> {
    if (closed) return Promise.reject(new GatewayError('unavailable', 'Tollgate is shutting down'))
    try {
      const url = readUrl(request.url)
      if (url === undefined) throw new GatewayError('invalid_value', 'The URL is no URL')
      checkScheme(url)
      const exchange = new Exchange({
        host: url.host,
        ...(sendOptions.who === undefined ? {} : { who: sendOptions.who }),
        signal: sendOptions.signal,
        headTimeoutMs: sendOptions.headTimeoutMs,
        idleTimeoutMs: sendOptions.idleTimeoutMs,
        maxBytes: sendOptions.maxBytes ?? options.maxResponseBytes,
      })
      if (!exchange.ended) {
        poolFor(url.origin, sendOptions.allowPrivateNetwork).dispatch(
          {
            path: url.pathname + url.search,
            method: request.method,
            headers: headersOf(request, userAgent),
            body: request.body ?? null,
          },
          exchange,
        )
      }
      return exchange.answer
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async function each(act: (pool: Pool) => Promise<void>): Promise<void> {
    closed = true
    await Promise.all([...pools.values()].map(({ pool }) => act(pool)))
  }

  return {
    send,
    stats: () => total([...pools.values()].map(({ pool }) => pool.stats)),
    close: () => each((pool) => pool.close()),
    destroy: () => each((pool) => pool.destroy()),
  }
}

function headersOf(request: UpstreamRequest, userAgent: string): string[] {
  const headers: string[] = []
  let encoding = 'identity'
  let agent = userAgent
  for (const name of Object.keys(request.headers)) {
    const value = request.headers[name] ?? ''
    const lower = name.toLowerCase()
    if (FRAMING_HEADERS.has(lower)) {
      throw new GatewayError('internal_error', `The header \`${lower}\` cannot be set on a request`)
    }
    if (lower === 'accept-encoding') encoding = value
    else if (lower === 'user-agent') agent = value
    else headers.push(lower, value)
  }
  // Answers are small or come in small pieces: undoing their compression costs more than it saves.
  headers.push('accept-encoding', encoding, 'user-agent', agent)
  return headers
}

function total(stats: readonly Pool['stats'][]): UpstreamStats {
  const sum = (of: 'connected' | 'free' | 'running' | 'pending'): number =>
    stats.reduce((so, one) => so + one[of], 0)
  return {
    openSockets: sum('connected'),
    idleSockets: sum('free'),
    runningRequests: sum('running'),
    pendingRequests: sum('pending'),
  }
}
