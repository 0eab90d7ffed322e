import type { Change } from '#protocol'

/** Collects what the wire cannot say as the caller said it. */
export interface ChangeLog {
  readonly list: readonly Change[]
  adapted(field: string, note: string): void
  lossy(field: string, note: string): void
}

/** For every cache marker. */
export const CACHES = 'google caches prompts by itself'

export function changeLog(): ChangeLog {
  const list: Change[] = []
  return {
    list,
    adapted: (field, note) => void list.push({ field, kind: 'adapted', note }),
    lossy: (field, note) => void list.push({ field, kind: 'lossy', note }),
  }
}
