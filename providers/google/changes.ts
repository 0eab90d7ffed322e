import type { Change } from '#protocol'

/** Collects what the wire cannot say as the caller said it. */
export interface ChangeLog {
  readonly list: readonly Change[]
  adapted(field: string, note: string): void
  lossy(field: string, note: string): void
}

export function changeLog(): ChangeLog {
  const list: Change[] = []
  return {
    list,
    adapted: (field, note) => void list.push({ field, kind: 'adapted', note }),
    lossy: (field, note) => void list.push({ field, kind: 'lossy', note }),
  }
}
