import type { CacheMarker, Change } from '#protocol'
import type { ToolNames } from './names.ts'

/** What writing one request gathers on the way, beside the body itself. */
export interface Draft {
  readonly names: ToolNames
  readonly changes: Change[]
  /** Blocks with a cache marker, in the order the provider reads them. */
  readonly markers: Marker[]
  /** Values for the `anthropic-beta` header. */
  readonly betas: Set<string>
}

interface Marker {
  readonly block: Markable
  readonly field: string
}

interface Markable {
  cache_control?: { type: 'ephemeral'; ttl?: '5m' | '1h' } | null
}

export function adapted(draft: Draft, field: string, note: string): void {
  draft.changes.push({ field, kind: 'adapted', note })
}

export function lossy(draft: Draft, field: string, note: string): void {
  draft.changes.push({ field, kind: 'lossy', note })
}

export function cacheControl(cache: CacheMarker): { type: 'ephemeral'; ttl?: '5m' | '1h' } {
  return { type: 'ephemeral', ...(cache.ttl && { ttl: cache.ttl }) }
}

/** Sets the caller's cache marker on a block, if there is one. */
export function mark(
  draft: Draft,
  block: Markable,
  cache: CacheMarker | undefined,
  field: string,
): void {
  if (!cache) return
  block.cache_control = cacheControl(cache)
  draft.markers.push({ block, field: `${field}.cache_control` })
}

/** The most cache markers a request may hold, the top-level one included. */
const MOST_MARKERS = 4

/**
 * Takes away the first markers where there are too many. The last ones stay: the later a
 * marker, the longer the stretch it keeps.
 *
 * Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching
 */
export function limitMarkers(draft: Draft, reserved: number): void {
  const excess = draft.markers.length + reserved - MOST_MARKERS
  for (const { block, field } of draft.markers.slice(0, Math.max(0, excess))) {
    delete block.cache_control
    adapted(
      draft,
      field,
      `left out: anthropic takes ${MOST_MARKERS} cache markers, the last are kept`,
    )
  }
}
