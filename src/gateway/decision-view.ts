import type { ErrorCode, GatewayError } from '#errors'
import type { LimitStanding, Route } from '#protocol'
import type { DecisionView } from '../control/logs.ts'
import { formatUsd } from '../metering/money.ts'
import type { Served } from '../middleware/access-log.ts'
import type { AttemptRecord, DecisionRecord } from '../state.ts'
import type { DecisionRow } from '../store/decisions.ts'

/** A name is the caller's, and can be as long as a body. */
const MOST_WORDS = 200

/** @param served of a request whose key is known */
export function describeDecision(served: Served): DecisionRow {
  const view = viewOf(served)
  return {
    id: view.id,
    tenantId: served.record.tenantId ?? '',
    applicationId: view.application_id,
    keyId: view.key.id,
    userId: view.user_id,
    model: view.model,
    target: view.target,
    status: view.status,
    errorCode: view.error?.code ?? null,
    outcome: view.outcome,
    record: JSON.stringify(view),
  }
}

function viewOf({ requestId, receivedAt, status, durationMs, record }: Served): DecisionView {
  const { key, error, attempts, reserved } = record
  return {
    object: 'log',
    id: requestId,
    received_at: new Date(receivedAt).toISOString(),
    application_id: record.applicationId ?? '',
    key: { id: key?.id ?? '', name: key?.name ?? '', last4: key?.last4 ?? '' },
    user_id: key?.userId ?? null,
    address: record.address ?? null,
    end_user: cut(record.endUser),
    tags: [...(record.tags ?? [])],
    endpoint: record.endpoint,
    model: cut(record.model),
    stream: record.stream === true,
    outcome: outcomeOf(status, record),
    status,
    duration_ms: thousandths(durationMs),
    error: error === undefined ? null : errorOf(error),
    limits: (record.standing ?? []).filter(isOwn).map(limitOf),
    reserved:
      reserved === undefined
        ? null
        : {
            tokens: reserved.reserved.tokens,
            output_tokens: reserved.outputTokens,
            cost_usd: formatUsd(reserved.reserved.cost),
          },
    route: record.route === undefined ? null : routeOf(record.route),
    target: attempts.at(-1)?.target ?? null,
    candidates: candidatesOf(record),
    attempts: attempts.map(attemptOf),
    changes: record.changes.map(({ field, kind, note }) => ({ field, kind, note })),
    usage: record.usage === undefined ? null : { ...record.usage },
    cost_usd: record.cost === undefined ? null : formatUsd(record.cost),
    stages: stagesOf(durationMs, record),
  }
}

function cut(text: string | undefined): string | null {
  return text === undefined ? null : text.slice(0, MOST_WORDS).toWellFormed()
}

function outcomeOf(status: number, { errorCode, attempts }: DecisionRecord) {
  if (errorCode === undefined) return 'ok'
  if (errorCode === 'client_closed_request') return 'aborted'
  return status < 500 && attempts.every(({ sent }) => !sent) ? 'refused' : 'failed'
}

/** Their messages are ours, and repeat nothing of a body. */
const OURS: ReadonlySet<ErrorCode> = new Set([
  'expired_api_key',
  'revoked_api_key',
  'permission_denied',
  'model_not_allowed',
  'ip_not_allowed',
  'model_not_found',
  'unsupported_feature',
  'body_too_large',
  'unsupported_media_type',
  'rate_limit_exceeded',
  'insufficient_quota',
  'unpriced_model',
  'client_closed_request',
  'egress_refused',
  'unavailable',
  'internal_error',
])

/** Of the limits that refuse: numbers and names of ours. */
const LIMITING: ReadonlySet<ErrorCode> = new Set(['rate_limit_exceeded', 'insufficient_quota'])

function errorOf(error: GatewayError): NonNullable<DecisionView['error']> {
  const { code, param, details, retryAfterMs } = error
  const stoppedBy = details?.stopped_by as { readonly message?: string } | undefined
  return {
    code,
    message: messageOf(error),
    param: cut(param),
    retry_after_ms: retryAfterMs ?? null,
    limit: LIMITING.has(code) && details !== undefined ? { ...details } : null,
    stopped_by: stoppedBy?.message ?? null,
  }
}

/** What a provider says may repeat what it was sent: told in our words, or not at all. */
function messageOf({ code, message, details }: GatewayError): string | null {
  const upstream = details?.upstream as
    | { readonly provider?: string; readonly status?: number; readonly kind?: string }
    | undefined
  if (upstream !== undefined) {
    const { provider = 'the provider', status, kind } = upstream
    const why = kind === undefined ? '' : `: ${kind.replaceAll('_', ' ')}`
    return `${provider} answered with status ${status}${why}`
  }
  // Made of the connection's failure, before anything was read.
  const isOfConnection = details?.request_sent !== undefined && details.attempts === undefined
  return OURS.has(code) || isOfConnection ? message.slice(0, 1000) : null
}

/** What the whole platform may and does use is no tenant's to know. */
function isOwn({ scope }: LimitStanding): boolean {
  return scope.kind !== 'platform'
}

function limitOf(standing: LimitStanding): DecisionView['limits'][number] {
  const { scope, limit, window, max, remaining, resetsAt, budget } = standing
  const amount = limit === 'budget' ? formatUsd : String
  return {
    scope: scope.kind,
    scope_id: scope.id,
    name: scope.name,
    model: scope.model ?? null,
    limit,
    window: window ?? null,
    max: amount(max),
    remaining: amount(remaining),
    unit: limit === 'budget' ? 'USD' : limit === 'concurrency' ? 'requests' : limit,
    resets_at: resetsAt === undefined ? null : new Date(resetsAt).toISOString(),
    policy: budget?.policy ?? null,
    status: budget?.status ?? null,
  }
}

function routeOf({ name, strategy, targets, fallbacks }: Route): DecisionView['route'] {
  return { name, strategy, targets: targets.length, fallbacks: fallbacks.length }
}

/** Every target of the route, in the order in which they were to be asked, and what became of it. */
function candidatesOf({ route, planned, attempts, error }: DecisionRecord) {
  if (route === undefined) return []
  const seen = new Set<string>()
  const candidates: DecisionView['candidates'] = []
  const add = (target: string, result: DecisionView['candidates'][number]['result'], why = '') => {
    if (seen.has(target)) return
    seen.add(target)
    candidates.push({ target, result, reason: why === '' ? null : why })
  }
  const isAnswered = attempts.at(-1)?.outcome === 'ok'
  for (const { name } of planned ?? []) {
    const last = attempts.findLast(({ target }) => target === name)
    if (last === undefined) {
      add(
        name,
        'not_asked',
        isAnswered ? 'another had answered' : `the request ended before: ${error?.code ?? 'error'}`,
      )
    } else if (last.outcome === 'ok') add(name, 'answered')
    else if (!last.sent && last.reason === 'unsupported_feature') {
      add(name, 'unable', last.error === undefined ? last.reason : (messageOf(last.error) ?? ''))
    } else add(name, 'failed', last.reason ?? last.outcome)
  }
  for (const target of route.targets) {
    const why =
      planned === undefined
        ? `the request ended before: ${error?.code ?? 'error'}`
        : route.strategy === 'weighted' && target.weight === 0
          ? 'its weight is 0'
          : 'it has no price'
    add(target.name, 'not_asked', why)
  }
  for (const { name } of route.fallbacks) {
    const why =
      planned === undefined
        ? `the request ended before: ${error?.code ?? 'error'}`
        : 'it has no price'
    add(name, 'not_asked', why)
  }
  return candidates
}

function attemptOf(attempt: AttemptRecord): DecisionView['attempts'][number] {
  const { error } = attempt
  return {
    target: attempt.target,
    outcome: attempt.outcome,
    code: attempt.reason ?? null,
    message: error === undefined ? null : messageOf(error),
    sent: attempt.sent,
    status: attempt.status ?? statusIn(error) ?? null,
    upstream_id: cut(attempt.upstreamId),
    started_ms: thousandths(attempt.startedMs),
    duration_ms: attempt.durationMs,
    first_event_ms: attempt.firstEventMs ?? null,
  }
}

function statusIn(error: GatewayError | undefined): number | undefined {
  const upstream = error?.details?.upstream as { readonly status?: number } | undefined
  return upstream?.status
}

/** Where the time went. A stage that a request did not leave has all that was left. */
function stagesOf(durationMs: number, record: DecisionRecord): DecisionView['stages'] {
  const stages: DecisionView['stages'] = []
  let left = durationMs
  const add = (stage: string, ms: number): void => {
    const taken = Math.min(Math.max(0, ms), left)
    left -= taken
    stages.push({ stage, ms: thousandths(taken) })
  }
  let from = 0
  for (const [stage, until] of [
    ['authenticate', record.authenticatedMs],
    ['read', record.readMs],
    ['admit', record.admittedMs],
  ] as const) {
    add(stage, (until ?? durationMs) - from)
    if (until === undefined) return stages
    from = until
  }
  add('provider', (record.upstreamMs ?? 0) + (record.streamMs ?? 0))
  add('ledger', record.settleMs ?? 0)
  add('gateway', left)
  return stages
}

function thousandths(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
