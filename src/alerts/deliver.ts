import { isIP } from 'node:net'
import { GatewayError } from '#errors'
import { checkScheme, judge } from '../upstream/egress.ts'
import type { Upstream } from '../upstream/send.ts'
import { signedHeaders } from './signature.ts'

export interface Message {
  readonly url: string
  /** All that are valid now. */
  readonly secrets: readonly string[]
  readonly allowPrivateNetwork: boolean
  /** The same at every attempt, so that a receiver can tell a repetition. */
  readonly id: string
  readonly body: string
}

export interface Outcome {
  readonly ok: boolean
  /** Of the answer; absent: none came. */
  readonly status?: number
  /** Its first bytes, as text. */
  readonly start?: string
  /** Absent where an answer came. */
  readonly error?: string
  readonly retryAfterMs?: number
  readonly durationMs: number
}

const TOTAL_MS = 15_000
const HEAD_MS = 10_000
const SILENCE_MS = 5000
/** As much of an answer as is read, bytes. */
const START_BYTES = 1024

/**
 * Sends a message once. Redirects are failures; whatever is wrong, it says so and does not throw.
 *
 * @param now Unix ms
 */
export async function deliver(
  upstream: Pick<Upstream, 'send'>,
  message: Message,
  now: () => number,
  tick: () => number,
): Promise<Outcome> {
  const started = tick()
  const took = (): number => Math.round(tick() - started)
  try {
    const host = new URL(message.url).host
    const answer = await upstream.send(
      {
        method: 'POST',
        url: message.url,
        headers: {
          'content-type': 'application/json',
          ...signedHeaders(message.id, now(), message.body, message.secrets),
        },
        body: message.body,
      },
      {
        signal: AbortSignal.timeout(TOTAL_MS),
        allowPrivateNetwork: message.allowPrivateNetwork,
        headTimeoutMs: HEAD_MS,
        idleTimeoutMs: SILENCE_MS,
        // Names no address: what a name resolves to in here is not for whoever set the URL.
        who: host,
      },
    )
    const { status } = answer
    const asked = Number(answer.headers['retry-after'])
    let start = ''
    try {
      for await (const chunk of answer.chunks) {
        start += Buffer.from(chunk).toString('utf8')
        if (start.length >= START_BYTES) break
      }
    } catch {
      // The status decides; the rest of the answer is for people.
    }
    answer.abort()
    return {
      ok: status >= 200 && status < 300,
      status,
      start: start.slice(0, START_BYTES).replaceAll('\0', ''),
      ...(asked > 0 && { retryAfterMs: asked * 1000 }),
      durationMs: took(),
    }
  } catch (error) {
    return { ok: false, error: wordsOf(error), durationMs: took() }
  }
}

function wordsOf(error: unknown): string {
  if (error instanceof GatewayError) {
    return error.code === 'egress_refused' ? 'The host has no public address' : error.message
  }
  return error instanceof DOMException && error.name === 'TimeoutError'
    ? `No complete answer within ${TOTAL_MS / 1000} s`
    : 'The message could not be sent'
}

/**
 * @throws GatewayError `invalid_value` for what is no https URL (http only where private
 *   networks are allowed), or leads to a private address without leave
 */
export function checkWebhookUrl(text: string, allowPrivateNetwork: boolean): void {
  const url = URL.parse(text)
  if (url === null) throw new GatewayError('invalid_value', 'The URL is no URL', { param: 'url' })
  checkScheme(url)
  if (url.protocol !== 'https:' && !allowPrivateNetwork) {
    throw new GatewayError('invalid_value', 'The URL must start with https://', { param: 'url' })
  }
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const address = isIP(host) !== 0 ? host : /(^|\.)localhost\.?$/.test(host) ? '127.0.0.1' : ''
  if (address === '') return
  try {
    judge(url.host, [address], allowPrivateNetwork)
  } catch {
    throw new GatewayError('invalid_value', 'The URL leads to a private address', { param: 'url' })
  }
}
