import { GatewayError } from '#errors'
import { checkScheme } from './egress.ts'
import type { Upstream, UpstreamAnswer } from './send.ts'

export interface MediaOptions {
  readonly signal: AbortSignal
  readonly maxBytes: number
  /** Callers name these URLs, so this is false wherever callers are not trusted with the network. */
  readonly allowPrivateNetwork: boolean
  /** Over all redirects; ms. Default 30 s. */
  readonly timeoutMs?: number
}

export interface Media {
  /** Without parameters, lower case. */
  readonly mediaType: string
  /** Standard alphabet. */
  readonly base64: string
}

const MAX_REDIRECTS = 3
const REDIRECTS = new Set([301, 302, 303, 307, 308])
const STEP_TIMEOUT_MS = 10_000

const ACCEPTED = /^(image|audio|video)\/[\w.+-]+$|^application\/pdf$|^text\/plain$/

/** Storage services say nothing better of files that were put there without a type. */
const UNTYPED = new Set(['', 'application/octet-stream', 'binary/octet-stream'])

/** How files of those types begin, in latin1. */
const SIGNATURES: readonly (readonly [RegExp, string])[] = [
  [/^\x89PNG\r\n/, 'image/png'],
  [/^\xff\xd8\xff/, 'image/jpeg'],
  [/^GIF8[79]a/, 'image/gif'],
  [/^RIFF[^]{4}WEBP/, 'image/webp'],
  [/^RIFF[^]{4}WAVE/, 'audio/wav'],
  [/^ID3/, 'audio/mpeg'],
  [/^%PDF-/, 'application/pdf'],
]

/**
 * Fetches what a caller's URL names, for targets that take bytes only. No credential goes with
 * it; every redirect passes the egress guard anew.
 *
 * @throws GatewayError `invalid_value` for whatever keeps it from being had; one message for
 *   every private address, so that nobody can map the network by it. The signal's own reason
 *   when that aborted.
 */
export async function fetchMedia(
  upstream: Upstream,
  url: string,
  options: MediaOptions,
): Promise<Media> {
  const { timeoutMs = 3 * STEP_TIMEOUT_MS } = options
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(timeoutMs)])
  try {
    const answer = await follow(upstream, url, { ...options, signal })
    const bytes = await answer.bytes()
    return { mediaType: mediaTypeOf(answer, bytes), base64: bytes.toString('base64') }
  } catch (error) {
    if (options.signal.aborted) throw options.signal.reason
    throw unfetched(url, error)
  }
}

async function follow(
  upstream: Upstream,
  url: string,
  { signal, maxBytes, allowPrivateNetwork }: MediaOptions,
): Promise<UpstreamAnswer> {
  let location = url
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    if (!URL.canParse(location)) throw new GatewayError('invalid_value', 'it is no URL')
    checkScheme(new URL(location))
    const answer = await upstream.send(
      {
        method: 'GET',
        url: location,
        headers: { accept: 'image/*, audio/*, video/*, application/pdf, text/plain' },
      },
      {
        signal,
        allowPrivateNetwork,
        maxBytes,
        headTimeoutMs: STEP_TIMEOUT_MS,
        idleTimeoutMs: STEP_TIMEOUT_MS,
      },
    )
    if (answer.status === 200) return answer
    answer.abort()
    const next = answer.headers['location']
    if (!REDIRECTS.has(answer.status) || typeof next !== 'string') {
      throw new GatewayError('invalid_value', `its server answered ${answer.status}`)
    }
    location = URL.parse(next, location)?.href ?? next
  }
  throw new GatewayError('invalid_value', `it redirects more than ${MAX_REDIRECTS} times`)
}

function mediaTypeOf(answer: UpstreamAnswer, bytes: Buffer): string {
  const [said = ''] = [answer.headers['content-type'] ?? ''].flat()
  const type = (said.split(';', 1)[0] ?? '').trim().toLowerCase()
  if (ACCEPTED.test(type)) return type
  const start = bytes.toString('latin1', 0, 16)
  const seen = UNTYPED.has(type) ? SIGNATURES.find(([begins]) => begins.test(start)) : undefined
  if (seen !== undefined) return seen[1]
  throw new GatewayError('invalid_value', `its type \`${type}\` is none that models take`)
}

function unfetched(url: string, error: unknown): GatewayError {
  // Without its query: that is where signed URLs keep their secret.
  const parsed = URL.parse(url)
  const name = parsed === null ? 'The URL' : `${parsed.origin}${parsed.pathname}`
  return new GatewayError('invalid_value', `${name} could not be fetched: ${reasonOf(error)}`, {
    cause: error,
  })
}

function reasonOf(error: unknown): string {
  if (!(error instanceof GatewayError)) return 'it took too long'
  return error.code === 'egress_refused' ? 'it is not on the public internet' : error.message
}
