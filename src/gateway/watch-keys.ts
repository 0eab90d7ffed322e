import type { Logger } from 'pino'
import type { Key } from '#protocol'
import { changedKeysSince, keyRevision } from '../store/keys.ts'
import type { Database } from '../store/schema.ts'

/** How often other processes' changes are looked for, ms: a revocation holds everywhere within a second. */
const POLL_MS = 500

/** Tells of keys that other processes changed. @returns what ends it */
export function watchKeys(db: Database, changed: (key: Key) => void, log: Logger): () => void {
  let revision: bigint | undefined
  let isAsking = false
  const timer = setInterval(() => {
    if (isAsking) return
    isAsking = true
    look()
      .catch((error) => log.error({ err: error }, 'key changes could not be read'))
      .finally(() => {
        isAsking = false
      })
  }, POLL_MS)

  async function look(): Promise<void> {
    revision ??= await keyRevision(db)
    const found = await changedKeysSince(db, revision)
    for (const { key } of found.keys) changed(key)
    revision = found.revision
  }

  return () => clearInterval(timer)
}
