import type { Change } from '#protocol'
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

/** Says what becomes of a cache marker that has no place on this wire. */
export function cacheChange(writing: Writing, field: string): void {
  const { cache, name } = writing.facts
  if (cache === 'automatic') writing.change(field, 'adapted', `${name} caches prompts by itself`)
  else writing.change(field, 'lossy', `${name} has no cache markers here`)
}
