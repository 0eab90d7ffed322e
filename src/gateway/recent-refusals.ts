import { LRUCache } from 'lru-cache'
import { CODES } from '#errors'
import type { ErrorCode } from '#errors'
import type { Served } from '../middleware/access-log.ts'

/** A call that was not let through. */
export interface Refusal {
  readonly requestId: string
  /** Unix ms. */
  readonly at: number
  /** The path that was called. */
  readonly endpoint: string
  /** As the caller wrote it, cut; absent: it was refused before that was known. */
  readonly model?: string
  readonly status: number
  readonly code: ErrorCode
  /** Never what the body said. */
  readonly message: string
  /** Whose limit it was, and what was limited: `requests`, `tokens`, `concurrency`, `budget`. */
  readonly limit?: { readonly kind: string; readonly scope: string; readonly window?: string }
}

/** The last calls of each line of keys that were refused here, as long as this process lives. */
export interface RecentRefusals {
  /** Takes every call that is over. */
  readonly note: (served: Served) => void
  /** The newest first. */
  readonly of: (rootId: string) => readonly Refusal[]
}

/** Refusals kept for a line of keys, and lines they are kept for. */
const MOST = 20
const LINES = 2000

const LONGEST_MODEL = 200

/** Codes whose messages are made of our own words and figures alone. */
const PLAIN: ReadonlySet<ErrorCode> = new Set([
  'rate_limit_exceeded',
  'insufficient_quota',
  'unpriced_model',
  'expired_api_key',
  'revoked_api_key',
  'ip_not_allowed',
])

export function recentRefusals(): RecentRefusals {
  const lines = new LRUCache<string, Refusal[]>({ max: LINES })
  return {
    note({ requestId, receivedAt, status, record }) {
      const { key, error } = record
      if (key === undefined || error === undefined) return
      if (error.code === 'client_closed_request') return
      // What a provider refused was not refused here; a limit may, between two attempts.
      if (record.attempts.length > 0 && error.details?.scope === undefined) return
      const refusals = lines.get(key.rootId) ?? []
      const limit = limitOf(error.code, error.details ?? {})
      refusals.unshift({
        requestId,
        at: receivedAt,
        endpoint: record.endpoint,
        ...(record.model !== undefined && { model: cut(record.model) }),
        status,
        code: error.code,
        message: PLAIN.has(error.code) ? error.message : CODES[error.code].help,
        ...(limit !== undefined && { limit }),
      })
      refusals.length = Math.min(refusals.length, MOST)
      lines.set(key.rootId, refusals)
    },
    of: (rootId) => lines.get(rootId) ?? [],
  }
}

/** A copy: a part of a text keeps all of it in memory. */
function cut(model: string): string {
  if (model.length <= LONGEST_MODEL) return model
  return Buffer.from(model.slice(0, LONGEST_MODEL)).toString()
}

function limitOf(
  code: ErrorCode,
  { scope, limit, window }: Readonly<Record<string, unknown>>,
): Refusal['limit'] {
  if (typeof scope !== 'string') return undefined
  return {
    // Of a budget, `limit` is the money.
    kind: code === 'rate_limit_exceeded' ? String(limit) : 'budget',
    scope,
    ...(typeof window === 'string' && { window }),
  }
}
