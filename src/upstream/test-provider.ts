import { asGatewayError } from '#errors'
import type { ProviderInstance } from '#protocol'
import type { Upstream } from './send.ts'
import { providerFailure } from './ask.ts'
import { assertSameOrigin } from './egress.ts'

export interface TestResult {
  readonly ok: boolean
  readonly duration_ms: number
  readonly models?: readonly string[]
  readonly error?: { readonly code: string; readonly message: string }
}

const TIMEOUT_MS = 15_000
const MAX_BYTES = 16 * 1024 * 1024

/**
 * Asks a provider for its models, which tries address, TLS and credential and costs nothing.
 *
 * @returns undefined when there is no such provider
 */
export async function testProvider(
  upstream: Upstream,
  instance: ProviderInstance | undefined,
  tick: () => number,
): Promise<TestResult | undefined> {
  if (instance === undefined) return undefined
  const { provider, name, baseUrl, headers, credential } = instance
  const target = {
    provider: name,
    model: '',
    baseUrl,
    headers,
    ...(credential === undefined ? {} : { credential }),
  }
  const started = tick()
  const elapsed = (): number => Math.round(tick() - started)
  try {
    if (provider.models === undefined) return { ok: true, duration_ms: 0, models: [] }
    const request = provider.models(target)
    assertSameOrigin(request.url, baseUrl)
    const reply = await upstream.send(request, {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      allowPrivateNetwork: instance.allowPrivateNetwork,
      headTimeoutMs: TIMEOUT_MS,
      idleTimeoutMs: TIMEOUT_MS,
      maxBytes: MAX_BYTES,
    })
    const text = (await reply.bytes()).toString('utf8')
    if (reply.status !== 200) {
      throw providerFailure(
        { name, instance, target },
        reply.status,
        provider.readError(reply.status, reply.headers, text),
      )
    }
    const models = provider.readModels?.(JSON.parse(text)) ?? []
    return { ok: true, duration_ms: elapsed(), models }
  } catch (thrown) {
    const { code, message } = asGatewayError(thrown)
    return { ok: false, duration_ms: elapsed(), error: { code, message } }
  }
}
