import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { sql } from 'kysely'
import { type Entry, NO_USAGE } from '#protocol'
import { cellName, cellNamed, CELL_COLUMNS } from '../../src/store/cells.ts'
import { ENTRY_COLUMNS, toValues } from '../../src/store/entries.ts'
import { openStore } from '../../src/store/open.ts'
import { fold, rollUpHours } from '../../src/store/roll-up.ts'

export const DAYS = 90
const DAY_MS = 86_400_000
const CHUNK = 50_000

const TENANT = 'tenant_default'

/**
 * Fills the ledger of a data directory, past the gateway, with the traffic of 90 days up to
 * `now`: 40 applications, 200 keys, 12 models, 50 tags, 20,000 end users, few of each with most
 * of it. Sums are made as the gateway makes them.
 */
export async function seedLedger(dataDir: string, count: number, now: number): Promise<void> {
  const store = await openStore({ dataDir, synchronous: 'normal', instanceId: 'inst_seed' })
  const chunk = sql.raw('(select * from entries not indexed where seq > ? and seq <= ?)')
  const statements = [rollUpHours(chunk), ...fold(chunk)].map((one) => one.compile(store.db).sql)
  await store.close()

  const db = new SqliteDatabase(join(dataDir, 'tollgate.db'))
  db.pragma('synchronous = off')
  db.pragma('cache_size = -400000')
  db.pragma('temp_store = memory')
  const insert = (table: string, columns: readonly string[]) =>
    db.prepare(`insert into ${table} (${columns.join()}) values (${columns.map(() => '?').join()})`)
  const insertEntry = insert('entries', [...ENTRY_COLUMNS, 'cell'])
  const insertCell = insert('usage_cells', ['digest', 'end_users', ...CELL_COLUMNS])
  const insertTag = insert('usage_cell_tags', ['cell', 'tag'])
  const sums = statements.map((text) => db.prepare(text))
  const lastSeq = db.prepare('select coalesce(max(seq), 0) from entries').pluck()
  const folded = db.prepare(`update counters set value = ? where name = 'folded_seq'`)
  const cells = new Map<string, number | bigint>()
  const random = dice(1)

  for (let done = 0; done < count; done += CHUNK) {
    const most = Math.min(count, done + CHUNK)
    db.transaction(() => {
      const before = lastSeq.get()
      for (let number = done; number < most; number++) {
        const values = Object.values(toValues(entryOf(number, count, now, random)))
        insertEntry.run([...values, cellOf(values)])
      }
      const last = lastSeq.get()
      for (const one of sums) one.run(before, last)
      folded.run(last)
    })()
  }
  db.pragma('wal_checkpoint(truncate)')
  db.close()

  function cellOf(values: readonly unknown[]): number | bigint {
    const name = cellName(values)
    const known = cells.get(name)
    if (known !== undefined) return known
    const cell = cellNamed(name)
    const { lastInsertRowid } = insertCell.run(cell.digest, cell.endUsers, ...cell.values)
    for (const tag of cell.tags) insertTag.run(lastInsertRowid, tag)
    cells.set(name, lastInsertRowid)
    return lastInsertRowid
  }
}

function entryOf(number: number, count: number, now: number, random: () => number): Entry {
  const pick = (most: number): number => Math.floor(most * random() ** 2)
  const key = pick(200)
  const model = (key + pick(3)) % 12
  const requestId = `req_s${String(number).padStart(9, '0')}`
  const at = Math.floor(now - DAYS * DAY_MS + (number / count) * DAYS * DAY_MS)
  const input = 200 + pick(8000)
  const output = 20 + pick(2000)
  const costs = [BigInt(input) * 250n, BigInt(output) * 2000n] as const
  const fails = random() < 0.02
  return {
    id: `${requestId}.1`,
    kind: 'attempt',
    requestId,
    attempt: 1,
    tenantId: TENANT,
    applicationId: `app_${key % 40}`,
    keyId: `key_seed_${key}`,
    userId: `user_${key % 60}`,
    tags: [`team:${key % 30}`, `tier:${key % 20}`].toSorted(),
    environment: key % 4 === 0 ? 'test' : 'production',
    endpoint: model === 11 ? '/v1/embeddings' : '/v1/chat/completions',
    modelAsked: `model-${model}`,
    provider: `provider-${model % 4}`,
    model: `model-${model}`,
    modelServed: `model-${model}-2026-08-07`,
    admittedAt: at,
    startedAt: at + 1,
    durationMs: 900,
    stream: false,
    outcome: fails ? 'error' : 'ok',
    ...(fails ? { errorCode: 'upstream_error' } : { finishReason: 'stop' }),
    // Half of the keys belong to applications that name their end users, each its own.
    ...(key % 2 === 0 && { endUser: `end-user-${key % 40}-${pick(1000)}` }),
    usage: { ...NO_USAGE, input, output },
    usageSource: 'provider',
    cost: costs[0] + costs[1],
    priceVersion: 'genai-prices@0.1.8:openai/gpt-5-mini',
    costLines: [
      { type: 'input', quantity: input, cost: costs[0] },
      { type: 'output', quantity: output, cost: costs[1] },
    ],
  }
}

/** The same throws for the same seed. */
function dice(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 16_807) % 2_147_483_647
    return state / 2_147_483_647
  }
}
