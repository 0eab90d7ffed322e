import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { Pool } from 'pg'
import { expect, it } from 'vitest'
import { toValues } from '../../src/store/entries.ts'
import { getEntries, spentSince } from '../../src/store/ledger.ts'
import { migrate } from '../../src/store/migrate.ts'
import { STEPS } from '../../src/store/migrations/index.ts'
import { costsReport } from '../../src/store/reports.ts'
import type { Tables } from '../../src/store/schema.ts'
import { sqliteDialect } from '../../src/store/sqlite-dialect.ts'
import { onEachDatabase, open } from './databases.ts'
import { sampleEntry } from './samples.ts'

const FIRST = '2026-11-23-first-tables'
const DAY_MS = 86_400_000

onEachDatabase((database) => {
  it('a ledger of before is brought up: its entries have sums, and cannot be changed', async () => {
    const location = await database.fresh()
    const file = join(location.dataDir, 'tollgate.db')
    if (database.kind === 'sqlite') {
      mkdirSync(location.dataDir, { recursive: true })
      closeSync(openSync(file, 'a', 0o600))
    }
    const dialect =
      database.kind === 'sqlite'
        ? sqliteDialect(file)
        : new PostgresDialect({ pool: new Pool({ connectionString: location.url }) })
    const db = new Kysely<Tables>({ dialect })
    await migrate(db, database.kind, { [FIRST]: STEPS[FIRST]! })
    const entries = [0, 1, 2, 3].map((number) => {
      const { endUser: _, ...entry } = sampleEntry(number, {
        admittedAt: Date.UTC(2026, 10, 20 + number, 12),
        model: `model ${number % 2}`,
      })
      return number === 3 ? entry : { ...entry, endUser: 'ann' }
    })
    const tables = await db.introspection.getTables()
    const columns = tables.find(({ name }) => name === 'entries')!.columns
    for (const entry of entries) {
      const values = Object.entries(toValues(entry)).filter(([name]) =>
        columns.some((column) => column.name === name),
      )
      await sql`insert into entries (${sql.join(values.map(([name]) => sql.ref(name)))})
        values (${sql.join(values.map(([, value]) => value))})`.execute(db)
    }
    await db.destroy()

    const store = await open(location)
    const range = { from: 0, to: Date.UTC(2026, 10, 25), timeZone: 'UTC' }
    const report = await costsReport(store.db, {
      tenantId: 'tenant_default',
      ...range,
      groupBy: ['end_user', 'model'],
      order: 'group',
    })
    const cost = entries.reduce((all, entry) => all + (entry.cost ?? 0n), 0n)

    expect(report.total).toMatchObject({ cost, attempts: 4 })
    expect(report.rows.map(({ group, attempts }) => [group.end_user, attempts])).toEqual([
      [null, 1],
      ['ann', 2],
      ['ann', 1],
    ])
    expect(
      await spentSince(store.db, { kind: 'tenant', id: 'tenant_default' }, range.to - 3 * DAY_MS),
    ).toBe(entries.slice(2).reduce((all, entry) => all + (entry.cost ?? 0n), 0n))
    expect(await getEntries(store.db, 'tenant_default', 'req_00000001')).toEqual([entries[1]])
    await expect(sql`update entries set cost_nanos = 0`.execute(store.db)).rejects.toThrow(
      /append-only/,
    )
    await store.close()
  })
})
