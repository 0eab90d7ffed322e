import type { Logger } from 'pino'
import { inputTokens, outputTokens } from '#protocol'
import type { Served } from '../middleware/access-log.ts'

/** One line per request: who, what, where it went, what it cost. Never a body, a header or a secret. */
export function logServed(
  log: Logger,
  { requestId, method, path, status, durationMs, record }: Served,
): void {
  if (!log.isLevelEnabled('info')) return
  log.info({
    requestId,
    method,
    // Known paths only: what a scanner asks for could carry anything.
    path: record.endpoint === 'unmatched' ? 'unmatched' : path,
    status,
    durationMs: Math.round(durationMs * 1000) / 1000,
    ...(record.tenantId !== undefined && {
      tenant: record.tenantId,
      application: record.applicationId,
      key: record.keyId,
    }),
    ...(record.model !== undefined && {
      model: record.model.slice(0, 200),
      stream: record.stream === true,
    }),
    ...(record.attempts.length > 0 && {
      target: record.attempts.at(-1)!.target,
      attempts: record.attempts.length,
      ...(record.upstreamMs !== undefined && {
        upstreamMs: Math.round(record.upstreamMs * 1000) / 1000,
      }),
    }),
    ...(record.usage !== undefined && {
      inputTokens: inputTokens(record.usage),
      outputTokens: outputTokens(record.usage),
    }),
    ...(record.cost !== undefined && { costNanos: record.cost.toString() }),
    ...(record.errorCode !== undefined && { error: record.errorCode }),
  })
}
