import { GatewayError } from '#errors'
import { type Health, openStore } from '../../src/store/open.ts'
import { sampleEntry } from './samples.ts'

/** What came of a store whose files could not grow. */
export interface FullDiskReport {
  /** Entries the store has acknowledged. */
  readonly acknowledged: number
  /** Code of the first failure. */
  readonly failed: string
  /** Codes of what was tried after it. */
  readonly after: readonly string[]
  readonly health: Health
  /** Entries found in the file afterwards. */
  readonly stored: number
}

/** Records until it fails, for `sqlite.test.ts`, which limits the size of files. */
const [dataDir = ''] = process.argv.slice(2)
const store = await openStore({ dataDir, synchronous: 'full', instanceId: 'inst_full_disk' })
let acknowledged = 0
const failed = await attempt()
const after = [await codeOf(1_000_001), await codeOf(1_000_002)]
const report = { acknowledged, failed, after, health: store.health() }
process.stdout.write(JSON.stringify(report))
await store.close()

async function attempt(): Promise<string> {
  for (; acknowledged < 100_000; acknowledged += 20) {
    const batch = Array.from({ length: 20 }, (_, index) => codeOf(acknowledged + index))
    const code = (await Promise.all(batch)).find((result) => result !== 'written')
    if (code !== undefined) return code
  }
  return 'never'
}

async function codeOf(number: number): Promise<string> {
  try {
    await store.record(sampleEntry(number))
    return 'written'
  } catch (error) {
    return error instanceof GatewayError ? error.code : String(error)
  }
}
