import type { Logger } from 'pino'
import type { Key } from '#protocol'
import { changedKeysSince, keyRevision } from '../store/keys.ts'
import type { Database } from '../store/schema.ts'
import { poll } from './poll.ts'

/** Tells of keys that other processes changed. @returns what ends it */
export function watchKeys(db: Database, changed: (key: Key) => void, log: Logger): () => void {
  let revision: bigint | undefined
  async function look(): Promise<void> {
    revision ??= await keyRevision(db)
    const found = await changedKeysSince(db, revision)
    for (const { key } of found.keys) changed(key)
    revision = found.revision
  }

  return poll('changes of keys', look, log)
}
