import type { Middleware } from 'koa'
import { GatewayError, asGatewayError } from '#errors'
import type { ErrorCode } from '#errors'
import type { Answer, Candidate, Demand, Route } from '#protocol'
import type { OpenAttempt } from '../metering/account.ts'
import type { AttemptRecord, DecisionRecord, GatewayState } from '../state.ts'

export interface RelayDeps {
  /** Targets to ask, best first. */
  readonly plan: (route: Route, record: DecisionRecord, demand: Demand) => readonly Candidate[]
  /** Resolves once the target has answered: for a stream, when its first meaningful event is in. */
  readonly ask: (candidate: Candidate, state: GatewayState, attempt: OpenAttempt) => Promise<Answer>
  /** Most attempts for one request, over all targets. */
  readonly maxAttempts: number
  /** Resolves after so many ms; rejects with the signal's reason when that fires. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  readonly tick: () => number
}

/** Longest wait before the same target is asked again, ms; beyond it the caller is told to wait. */
const LONGEST_WAIT_MS = 2000
const FIRST_WAIT_MS = 200

/**
 * Asks each target in turn until one answers. Nothing has been sent to the caller yet.
 *
 * What failed attempts cost is held beside the bound of the next one; where a limit has no
 * room for both, nobody else is asked.
 *
 * A target is asked a second time only when its first refusal came before any work: nothing
 * was sent, or the provider said it was overloaded or limiting.
 */
export function relay({ plan, ask, maxAttempts, wait, tick }: RelayDeps): Middleware<GatewayState> {
  return async function relay(ctx) {
    const { state } = ctx
    state.answer = await firstAnswer(state, state.abort.signal)
    state.record.answeredMs = tick() - state.receivedTick
  }

  async function firstAnswer(state: GatewayState, signal: AbortSignal): Promise<Answer> {
    const candidates = plan(state.route, state.record, state.demand)
    state.record.planned = candidates
    const failures: Failure[] = []
    const unable: GatewayError[] = []
    let round = candidates
    for (let sweep = 0; round.length > 0; sweep++) {
      for (const candidate of round) {
        if (failures.length >= maxAttempts) throw summary(failures)
        if (failures.length > 0) await cover(state, failures)
        const failure = await attempt(state, candidate, signal)
        if (!('error' in failure)) return failure
        if (failure.error.code === 'unsupported_feature') unable.push(failure.error)
        else if (!failure.error.retryable) throw failure.error
        else failures.push(failure)
      }
      if (failures.length >= maxAttempts) break
      const repeatable = failures.slice(-round.length).filter(({ repeatable }) => repeatable)
      round = repeatable.map(({ candidate }) => candidate)
      const waitMs = repeatable.map(({ error }) => error.retryAfterMs ?? FIRST_WAIT_MS * 2 ** sweep)
      const shortest = Math.min(...waitMs)
      if (round.length === 0 || shortest > LONGEST_WAIT_MS) break
      await wait(shortest, signal)
    }
    throw failures.length > 0 ? summary(failures) : (unable[0] ?? noTarget(state.route))
  }

  async function attempt(
    state: GatewayState,
    candidate: Candidate,
    signal: AbortSignal,
  ): Promise<Answer | Failure> {
    const account = state.account.attempt(candidate)
    const started = tick()
    try {
      const answer = await ask(candidate, state, account)
      addUpstreamTime(state, tick() - started)
      state.record.attempts.push({
        target: candidate.name,
        outcome: 'ok',
        ...factsOf(account, started - state.receivedTick),
        durationMs: Math.round(tick() - started),
        ...(answer.type === 'stream' && { firstEventMs: Math.round(tick() - started) }),
      })
      return answer
    } catch (thrown) {
      const error = asGatewayError(signal.aborted ? signal.reason : thrown)
      account.end(outcomeOf(error, signal), error)
      addUpstreamTime(state, tick() - started)
      const durationMs = Math.round(tick() - started)
      state.record.attempts.push({
        target: candidate.name,
        outcome: outcomeOf(error, signal),
        reason: error.code,
        error,
        ...factsOf(account, started - state.receivedTick),
        durationMs,
      })
      if (signal.aborted) throw error
      return { candidate, error, durationMs, repeatable: isRepeatable(error, account.wasSent) }
    }
  }
}

/** @throws GatewayError the failures, where a limit has no room for another attempt */
async function cover({ account }: GatewayState, failures: readonly Failure[]): Promise<void> {
  try {
    await account.cover()
  } catch (error) {
    throw error instanceof GatewayError ? summary(failures, error) : error
  }
}

function factsOf(
  { tally, wasSent }: OpenAttempt,
  startedMs: number,
): Pick<AttemptRecord, 'sent' | 'startedMs' | 'status' | 'upstreamId'> {
  return {
    sent: wasSent,
    startedMs,
    ...(tally?.status !== undefined && { status: tally.status }),
    ...(tally?.requestId !== undefined && { upstreamId: tally.requestId }),
  }
}

function addUpstreamTime({ record }: GatewayState, ms: number): void {
  record.upstreamMs = (record.upstreamMs ?? 0) + ms
}

interface Failure {
  readonly candidate: Candidate
  readonly error: GatewayError
  readonly durationMs: number
  /** Asking the same target again cannot pay twice for the same work. */
  readonly repeatable: boolean
}

export function outcomeOf(
  error: GatewayError,
  signal: AbortSignal,
): 'aborted' | 'timeout' | 'error' {
  if (error.code === 'upstream_timeout') return 'timeout'
  return signal.aborted ? 'aborted' : 'error'
}

function isRepeatable(error: GatewayError, sent: boolean): boolean {
  if (error.code === 'egress_refused') return false
  if (!sent || error.details?.request_sent === false) return true
  const kind = (error.details?.upstream as { kind?: string } | undefined)?.kind
  return kind === 'overloaded' || kind === 'rate_limit'
}

/** Failures that last until the operator has done something: asking again does not help. */
const LASTING: ReadonlySet<ErrorCode> = new Set(['upstream_rejected', 'egress_refused'])

/**
 * The last failure, with what every attempt met.
 *
 * Where a limit kept us from another attempt, it is still the failure that is answered: the
 * request was admitted, sent and charged, and the provider is why it has no answer. The limit's
 * own `insufficient_quota` would say that it was never tried and need not come again, though it
 * may be admitted anew once others have settled.
 *
 * @param limited what the limit said
 */
function summary(failures: readonly Failure[], limited?: GatewayError): GatewayError {
  const { error } = failures.at(-1)!
  const waits = failures.flatMap((failure) => failure.error.retryAfterMs ?? [])
  const attempts = failures.map((failure) => ({
    target: failure.candidate.name,
    code: failure.error.code,
    message: failure.error.message,
    duration_ms: failure.durationMs,
  }))
  const message =
    limited === undefined
      ? error.message
      : `${error.message}; no other attempt was made: ${limited.message}`
  return new GatewayError(error.code, message, {
    cause: error,
    param: error.param,
    details: {
      ...error.details,
      attempts,
      ...(limited === undefined
        ? {}
        : { stopped_by: { ...limited.details, code: limited.code, message: limited.message } }),
    },
    retryable: failures.some((failure) => !LASTING.has(failure.error.code)),
    ...(waits.length === 0 ? {} : { retryAfterMs: Math.min(...waits) }),
  })
}

function noTarget(route: Route): GatewayError {
  return new GatewayError(
    'unsupported_feature',
    `${route.name} has no target that can take the request`,
  )
}
