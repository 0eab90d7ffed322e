import { sql } from 'kysely'
import { afterEach, describe, expect, it } from 'vitest'
import { NO_USAGE } from '#protocol'
import { CELL_COLUMNS } from '../../src/store/cells.ts'
import { getEntries, recentUsage, spentSince } from '../../src/store/ledger.ts'
import type { Store, StoreOptions } from '../../src/store/open.ts'
import { ensureDefaults } from '../../src/store/tenants.ts'
import { type Location, onEachDatabase, open } from './databases.ts'
import { sampleCrash, sampleEntry, sampleSent } from './samples.ts'

const TENANT = 'tenant_default'
const HOUR_MS = 3_600_000
const NOON = Date.UTC(2026, 10, 23, 12)

onEachDatabase((database) => {
  const opened: Store[] = []
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()))
  })

  describe('the ledger', () => {
    it('gives back what was recorded, field by field', async () => {
      const store = await start()
      const full = sampleEntry(1, {
        userId: 'user_1',
        tags: ['a', 'team:search'],
        environment: 'production',
        promptId: 'prm_1',
        credentialId: 'cred_1',
        cost: 12n,
        costLines: [
          { type: 'input', quantity: 101, cost: 1n },
          { type: 'output', quantity: 10, cost: 9n },
          { type: 'request', quantity: 1, cost: 2n },
        ],
      })
      const correction = sampleEntry(4, {
        requestId: full.requestId,
        id: `${full.requestId}.1.1`,
        kind: 'adjustment',
        usage: NO_USAGE,
        cost: -2n,
        costLines: [{ type: 'output', quantity: 0, cost: -2n }],
        adjusts: full.id,
        reason: 'repriced',
      })
      const bare = sampleCrash(2, { cost: 0n, stream: false })
      const { cost: _, priceVersion: __, endUser: ___, ...unpriced } = sampleEntry(3)
      await Promise.all([full, correction, bare, unpriced].map((entry) => store.record(entry)))

      expect(await getEntries(store.db, TENANT, full.requestId)).toEqual([full, correction])
      for (const entry of [bare, unpriced]) {
        expect(await getEntries(store.db, TENANT, entry.requestId)).toEqual([entry])
      }
    })

    it('lists the attempts and adjustments of a request in the order written', async () => {
      const store = await start()
      const requestId = 'req_a'
      await store.record(sampleEntry(1, { requestId, outcome: 'error', errorCode: 'x' }))
      await store.record(sampleEntry(2, { requestId, attempt: 2 }))
      await store.record(
        sampleEntry(3, { requestId, id: 'req_a.2.1', kind: 'adjustment', cost: -5n }),
      )
      await store.record(sampleEntry(4, { requestId: 'req_ab' }))

      const entries = await getEntries(store.db, TENANT, requestId)

      expect(entries.map(({ id }) => id)).toEqual(['req_a.1', 'req_a.2', 'req_a.2.1'])
      expect(await getEntries(store.db, 'tenant_other', requestId)).toEqual([])
    })

    it('counts an entry once, however often it is recorded', async () => {
      const store = await start()
      await Promise.all([1, 1, 2].map((number) => store.record(sampleEntry(number))))
      await store.record(sampleEntry(1, { cost: 5n }))
      await store.record(sampleEntry(2))

      expect(await count(store)).toBe(2n)
      expect(await spentSince(store.db, { kind: 'tenant', id: TENANT }, 0)).toBe(2_000_000_017n)
      expect(await sums(store)).toEqual(await sumsFromEntries(store))
    })

    it('keeps the roll-up equal to the sum of the entries', async () => {
      const store = await start()
      const numbers = Array.from({ length: 400 }, (_, number) => number)
      await Promise.all(
        numbers.map((number) =>
          store.record(
            sampleEntry(number, {
              admittedAt: NOON + (number % 7) * 1_000_003 * (number % 5),
              attempt: 1 + (number % 2),
              model: `model ${number % 4}`,
              outcome: number % 3 === 0 ? 'error' : 'ok',
              usageSource: number % 5 === 0 ? 'estimated' : 'provider',
              endUser: `user ${number % 3}`,
              ...(number % 6 === 0 && { tags: ['a', 'b'], environment: 'test' }),
              costLines: [{ type: 'input', quantity: 100 + number, cost: BigInt(number) }],
            }),
          ),
        ),
      )

      expect(Object.keys(await sums(store)).length).toBeGreaterThan(80)
      expect(await sums(store)).toEqual(await sumsFromEntries(store))
    })

    it.each(['update entries set cost_nanos = 0', 'delete from entries'])(
      'refuses to %s',
      async (statement) => {
        const store = await start()
        await store.record(sampleEntry(1))

        await expect(sql.raw(statement).execute(store.db)).rejects.toThrow(/append-only/)

        expect(await count(store)).toBe(1n)
      },
    )

    it.each([
      ['a negative cost', { cost: -1n }],
      ['negative usage', { usage: { ...NO_USAGE, output: -1 } }],
      ['usage that is no integer', { usage: { ...NO_USAGE, output: 1.5 } }],
      ['usage that is no number', { usage: { ...NO_USAGE, output: Number.NaN } }],
      ['usage beyond all integers', { usage: { ...NO_USAGE, output: 1e308 } }],
      ['the id of another request', { id: 'req_other.1' }],
    ])('refuses an entry with %s and takes those beside it', async (_, changes) => {
      const store = await start()
      const results = await Promise.allSettled([
        store.record(sampleEntry(1)),
        store.record(sampleEntry(2, changes)),
        store.record(sampleEntry(3)),
      ])

      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect(results[1]).toMatchObject({ reason: { code: 'internal_error' } })
      expect(await count(store)).toBe(2n)
      expect(await sums(store)).toEqual(await sumsFromEntries(store))
      expect(store.health()).toEqual({ ok: true })
    })

    it('takes nothing once it is closed', async () => {
      const store = await start()
      const before = store.record(sampleEntry(1))
      await store.close()

      await expect(before).resolves.toBeUndefined()
      await expect(store.record(sampleEntry(2))).rejects.toMatchObject({ code: 'unavailable' })
    })
  })

  describe('what was spent', () => {
    it.each([
      ['at the hour', NOON, 3n],
      ['within the hour', NOON + 1000, 2n],
      ['after the last', NOON + 2 * HOUR_MS, 0n],
      ['ever', 0, 4n],
    ])('is exact from a moment %s on', async (_, since, expected) => {
      const store = await start()
      await ensureDefaults(store.db, 1)
      for (const [number, admittedAt] of [NOON - 1, NOON, NOON + 1000, NOON + HOUR_MS].entries()) {
        await store.record(sampleEntry(number, { admittedAt, cost: 1n, keyId: 'key_1' }))
      }
      await store.record(sampleEntry(9, { admittedAt: NOON + 1000, ...ELSEWHERE }))

      for (const [kind, id] of [
        ['key', 'key_1'],
        ['application', 'app_default'],
        ['tenant', TENANT],
        ['platform', ''],
      ] as const) {
        expect(await spentSince(store.db, { kind, id }, since)).toBe(expected)
      }
    })

    it('is exact beyond the integers of a double', async () => {
      const store = await start()
      await store.record(sampleEntry(1, { keyId: 'key_1', cost: 9_007_199_254_740_993n }))
      await store.record(sampleEntry(2, { keyId: 'key_1', cost: 2n }))

      const spent = await spentSince(store.db, { kind: 'key', id: 'key_1' }, 0)

      expect(spent).toBe(9_007_199_254_740_995n)
    })

    it('of the last minute counts requests once and all tokens', async () => {
      const store = await start()
      const usage = { ...NO_USAGE, input: 1, cacheRead: 2, output: 4, reasoning: 8, webSearches: 9 }
      const requestId = 'req_a'
      await store.record(sampleEntry(0, { requestId, usage, keyId: 'key_1' }))
      await store.record(sampleEntry(0, { requestId, usage, keyId: 'key_1', attempt: 2 }))
      await store.record(sampleEntry(1, { admittedAt: NOON - 1, keyId: 'key_1' }))

      const used = await recentUsage(store.db, { kind: 'key', id: 'key_1' }, NOON)

      expect(used).toEqual({ requests: 1, tokens: 30 })
    })
  })

  describe('an attempt under way', () => {
    it('leaves no row when it is short', async () => {
      const store = await start()
      store.openAttempt(sampleSent(1))
      await store.record(sampleEntry(1))
      await pause(80)

      expect(await rows(store)).toEqual([])
    })

    it('has a row while it lasts, and none after', async () => {
      const store = await start()
      store.openAttempt(sampleSent(1))
      await pause(120)
      expect(await rows(store)).toEqual(['req_00000001.1'])

      await store.record(sampleEntry(1))

      expect(await rows(store)).toEqual([])
      expect(await count(store)).toBe(1n)
    })

    it('keeps its row when its entry is refused', async () => {
      const store = await start()
      store.openAttempt(sampleSent(1))
      await pause(120)
      await expect(store.record(sampleEntry(1, { cost: -1n }))).rejects.toThrow(/refused/)

      expect(await rows(store)).toEqual(['req_00000001.1'])
    })

    it('is settled at its bound when nobody does, exactly once', async () => {
      const location = await database.fresh()
      const first = await open(location, SHORT_LEASE)
      first.openAttempt(sampleSent(1))
      await first.close()

      const second = await start(location, SHORT_LEASE)
      await expect.poll(() => rows(second)).toEqual([])

      expect(await getEntries(second.db, TENANT, 'req_00000001')).toEqual([sampleCrash(1)])
      await second.record(sampleEntry(1))
      expect(await count(second)).toBe(1n)
      expect(await sums(second)).toEqual(await sumsFromEntries(second))
    })
  })

  async function start(location?: Location, options: Partial<StoreOptions> = {}): Promise<Store> {
    const store = await open(location ?? (await database.fresh()), options)
    opened.push(store)
    return store
  }
})

const ELSEWHERE = { tenantId: 'tenant_b', applicationId: 'app_b', keyId: 'key_b', cost: 1000n }
const SHORT_LEASE = { leaseMs: 300 }

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

async function count({ db }: Store): Promise<bigint> {
  const { n } = await db
    .selectFrom('entries')
    .select((eb) => eb.fn.countAll<bigint>().as('n'))
    .executeTakeFirstOrThrow()
  return n
}

async function rows({ db }: Store): Promise<string[]> {
  return (await db.selectFrom('reservations').select('id').execute()).map(({ id }) => id)
}

/** Every sum the store keeps, by what it is of. */
async function sums({ db }: Store): Promise<Record<string, Sums>> {
  // On SQLite, days and end users come a little later.
  await expect
    .poll(
      async () => {
        const { rows } = await sql`select value from counters where name = 'folded_seq'
        and value < (select coalesce(max(seq), 0) from entries)`.execute(db)
        return rows
      },
      { timeout: 5000 },
    )
    .toEqual([])
  const found: Record<string, Sums> = {}
  for (const table of ['usage_hours', 'usage_days', 'usage_end_users'] as const) {
    const rows = await db
      .selectFrom(table)
      .innerJoin('usage_cells', 'usage_cells.id', `${table}.cell`)
      .selectAll()
      .execute()
    for (const row of rows as readonly Record<string, bigint | string>[]) {
      const { hour, day, span, start, end_user } = row
      const of = [...CELL_COLUMNS.map((name) => row[name]), row.end_users]
      const when = hour ?? day ?? `${span} ${start} ${end_user}`
      found[JSON.stringify([table, ...of, when], text)] = Object.fromEntries(
        measuresOf(table).map((name) => [name, BigInt(row[name] ?? -1n)]),
      )
    }
  }
  return found
}

/** What they must say, worked out by hand. */
async function sumsFromEntries({ db }: Store): Promise<Record<string, Sums>> {
  const found: Record<string, Sums> = {}
  for (const row of await db.selectFrom('entries').selectAll().execute()) {
    const of = [...CELL_COLUMNS.map((name) => row[name] ?? ''), row.end_user === null ? 0n : 1n]
    const start = (hours: number) => row.admitted_at - (row.admitted_at % BigInt(hours * HOUR_MS))
    const total = (names: readonly (typeof TOKENS)[number][]) =>
      names.reduce((sum, name) => sum + row[name], 0n)
    const counted: Sums = {
      ...Object.fromEntries(TOKENS.map((name) => [name, row[name]])),
      ...Object.fromEntries(COSTS.map((name) => [name, row[name] ?? 0n])),
      tokens_in: total(TOKENS.slice(0, 6)),
      tokens_out: total(TOKENS.slice(6, 10)),
      requests: row.attempt === 1n && row.kind === 'attempt' ? 1n : 0n,
      attempts: row.kind === 'attempt' ? 1n : 0n,
      cost_nanos: row.cost_nanos ?? 0n,
      unpriced: row.cost_nanos === null ? 1n : 0n,
      estimated: row.usage_source === 'estimated' ? 1n : 0n,
    }
    const spans = row.end_user === null ? [] : [1, 24, 168]
    for (const [table, when] of [
      ['usage_hours', start(1)],
      ['usage_days', start(24)],
      ...spans.map((span) => ['usage_end_users', `${span} ${start(span)} ${row.end_user}`]),
    ]) {
      const name = JSON.stringify([table, ...of, when], text)
      const before = found[name] ?? {}
      found[name] = Object.fromEntries(
        measuresOf(String(table)).map((one) => [one, (before[one] ?? 0n) + (counted[one] ?? 0n)]),
      )
    }
  }
  return found
}

/** Those of end users are fewer. */
function measuresOf(table: string): readonly string[] {
  return table === 'usage_end_users' ? MEASURES.slice(0, 7) : MEASURES
}

type Sums = Readonly<Record<string, bigint>>

function text(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

const TOKENS = [
  'input_tokens',
  'cache_read_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'input_audio_tokens',
  'input_image_tokens',
  'output_tokens',
  'reasoning_tokens',
  'output_audio_tokens',
  'output_image_tokens',
  'web_searches',
] as const

const COSTS = [
  'input_nanos',
  'cache_read_nanos',
  'cache_write_5m_nanos',
  'cache_write_1h_nanos',
  'input_audio_nanos',
  'input_image_nanos',
  'output_nanos',
  'reasoning_nanos',
  'output_audio_nanos',
  'output_image_nanos',
  'web_searches_nanos',
  'request_nanos',
] as const

const MEASURES: readonly string[] = [
  'requests',
  'attempts',
  'cost_nanos',
  'unpriced',
  'estimated',
  'tokens_in',
  'tokens_out',
  ...TOKENS,
  ...COSTS,
]
