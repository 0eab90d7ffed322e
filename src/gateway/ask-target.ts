import type { Candidate } from '#protocol'
import type { AppDeps } from '../app.ts'
import type { Config } from '../config.ts'
import { editBody } from '../endpoints/body.ts'
import type { GatewayState } from '../state.ts'
import { ask } from '../upstream/ask.ts'
import { inlineMedia } from '../upstream/inline.ts'
import { fetchMedia } from '../upstream/media.ts'
import type { Upstream } from '../upstream/send.ts'

export interface AskTargetDeps {
  readonly upstream: Upstream
  readonly config: Config
  /** Told how long a target took to answer; ms. */
  readonly answered: (target: string, ms: number) => void
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
}

/** Asks a target what the state holds, within the settings' limits. */
export function askTarget({ upstream, config, answered, tick }: AskTargetDeps): AppDeps['ask'] {
  const fetchFor = (url: string, signal: AbortSignal) =>
    fetchMedia(upstream, url, {
      signal,
      maxBytes: config.max_body_bytes,
      allowPrivateNetwork: false,
    })

  return async (candidate, state, attempt) => {
    const { provider } = candidate.instance
    const started = tick()
    const answer = await ask(
      upstream,
      candidate,
      {
        asked: state.asked,
        wire: 'openai-chat',
        rewrite: (edits) => editBody(state.body, edits),
        strict: state.key.strict || state.headers['x-tollgate-translation'] === 'strict',
        signal: state.abort.signal,
        forward: forwarded(candidate, state),
        ...clamp(candidate, state),
      },
      {
        firstEventTimeoutMs: config.first_event_timeout_ms,
        idleTimeoutMs: config.idle_timeout_ms,
        maxResponseBytes: config.max_response_bytes,
        now: tick,
        inline: (request, signal) =>
          inlineMedia(
            request,
            (url) => fetchFor(url, signal),
            (url) => provider.readsUrl?.(url) ?? false,
          ),
      },
      attempt,
    )
    answered(candidate.name, tick() - started)
    return answer
  }
}

/** Headers by which a caller may order faults of the simulator. */
function forwarded(
  { instance }: Candidate,
  { headers }: GatewayState,
): Readonly<Record<string, string>> {
  const fault = instance.provider.id === 'simulator' ? headers['x-simulator-fault'] : undefined
  return typeof fault === 'string' ? { 'x-simulator-fault': fault } : {}
}

/** The maximum the budgets impose, where the caller set none. */
function clamp(
  { target }: Candidate,
  { asked, demand, grant }: GatewayState,
): { readonly clampTo?: number } {
  if (asked.operation !== 'chat' || !demand.clampable || grant.reserved.cost === 0n) return {}
  const each = Math.floor(grant.outputTokens / (asked.request.n ?? 1))
  return { clampTo: Math.max(1, Math.min(each, target.maxOutputTokens ?? each)) }
}
