import type { Logger } from 'pino'
import { inputTokens, outputTokens } from '#protocol'
import type { Served } from '../middleware/access-log.ts'

/** One line per request: who, what, where it went, what it cost. Never a body, a header or a secret. */
export function logServed(
  log: Logger,
  { requestId, method, path, status, durationMs, record }: Served,
): void {
  if (!log.isLevelEnabled('info')) return
  const { model, usage } = record
  const isTried = record.attempts.length > 0
  // Always of one shape, and pino leaves out what is undefined.
  log.info({
    requestId,
    method,
    // Known paths only: what a scanner asks for could carry anything.
    path: record.endpoint === 'unmatched' ? 'unmatched' : path.slice(0, 200),
    status,
    durationMs: thousandths(durationMs),
    tenant: record.tenantId,
    application: record.applicationId,
    key: record.keyId,
    model: model?.slice(0, 200),
    stream: model === undefined ? undefined : record.stream === true,
    target: record.attempts.at(-1)?.target,
    attempts: isTried ? record.attempts.length : undefined,
    upstreamMs:
      isTried && record.upstreamMs !== undefined
        ? thousandths(record.upstreamMs + (record.streamMs ?? 0))
        : undefined,
    inputTokens: usage && inputTokens(usage),
    outputTokens: usage && outputTokens(usage),
    costNanos: record.cost?.toString(),
    error: record.errorCode,
  })
}

function thousandths(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
