import type { CacheMarker, Change, JsonObject } from '#protocol'
import type { Declaration } from './declaration.ts'
import type { ToolNames } from './names.ts'

/** What an encoder writes to: the provider's facts, and what has to be said about the result. */
export interface Writing {
  readonly facts: Declaration
  readonly names: ToolNames
  change(field: string, kind: Change['kind'], note: string): void
  /** @throws GatewayError `unsupported_feature` */
  refuse(field: string, what: string): never
}

/** The marker where the provider has them; else it is said what becomes of the wish. */
export function cacheControl(
  writing: Writing,
  marker: CacheMarker | undefined,
  field: string,
): JsonObject {
  if (marker === undefined) return {}
  const { cache, name } = writing.facts
  if (cache === 'markers') {
    const ttl = marker.ttl === undefined ? {} : { ttl: marker.ttl }
    return { cache_control: { type: 'ephemeral', ...ttl } }
  }
  if (cache === 'automatic') writing.change(field, 'adapted', `${name} caches prompts by itself`)
  else writing.change(field, 'lossy', `${name} has no cache markers`)
  return {}
}
