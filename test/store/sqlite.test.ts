import { spawnSync } from 'node:child_process'
import { mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import SqliteDatabase from 'better-sqlite3'
import { sql } from 'kysely'
import { describe, expect, it } from 'vitest'
import { migrate } from '../../src/store/migrate.ts'
import { type Step, STEPS } from '../../src/store/migrations/index.ts'
import type { Store } from '../../src/store/open.ts'
import { type Location, open, temporaryFolder } from './databases.ts'
import type { FullDiskReport } from './full-disk.ts'
import { sampleEntry } from './samples.ts'

const folder = temporaryFolder()
let folders = 0

describe('an SQLite store', () => {
  it('is readable by its owner alone', async () => {
    const location = fresh()
    const store = await open(location)
    await store.record(sampleEntry(1))
    const modes = ['', 'tollgate.db', 'tollgate.db-wal', 'tollgate.db-shm', 'tollgate.db.lock'].map(
      (name) => (statSync(join(location.dataDir, name)).mode & 0o777).toString(8),
    )
    await store.close()

    expect(modes).toEqual(['700', '600', '600', '600', '600'])
  })

  it('has one process at a time, and says so to the second', async () => {
    const location = fresh()
    const first = await open(location)

    await expect(open(location)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('in use by another Tollgate'),
    })
    expect(openInChild(location)).toContain('in use by another Tollgate')

    await first.close()
    const second = await open(location)
    expect(second.health()).toEqual({ ok: true })
    await second.close()
  })

  it('does not open a file that is no database, and lets go of it', async () => {
    const location = fresh()
    mkdirSync(location.dataDir)
    writeFileSync(join(location.dataDir, 'tollgate.db'), 'not a database, '.repeat(100))

    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(open(location)).rejects.toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining('cannot be opened'),
      })
    }
  })

  it.each(['full', 'normal'] as const)('keeps its entries with %s', async (synchronous) => {
    const location = fresh()
    const store = await open(location, { synchronous })
    await store.record(sampleEntry(1))
    await store.close()

    const database = new SqliteDatabase(join(location.dataDir, 'tollgate.db'))
    expect(database.prepare('select id from entries').pluck().all()).toEqual(['req_00000001.1'])
    expect(database.pragma('integrity_check', { simple: true })).toBe('ok')
    database.close()
  })

  it('answers look-ups while a report runs, and never holds up the loop', async () => {
    const store = await open(fresh())
    const slow = slowQuery(store)
    const started = performance.now()
    let ticks = 0
    const ticking = setInterval(() => ticks++, 5)

    await store.db.selectFrom('meta').selectAll().execute()
    await store.record(sampleEntry(1))
    const lookedUp = performance.now() - started
    await slow
    const took = performance.now() - started
    clearInterval(ticking)
    await store.close()

    expect(lookedUp).toBeLessThan(took / 2)
    expect(ticks).toBeGreaterThan(10)
  })
})

describe('an SQLite ledger that cannot be written', () => {
  it('acknowledges nothing after the disk is full, and turns unhealthy', () => {
    if (process.platform === 'win32') throw new Error('There is no ulimit on Windows: not tested')
    const { acknowledged, failed, after, health, stored } = runOnSmallDisk(fresh())

    expect(failed).toBe('unavailable')
    expect(after).toEqual(['unavailable', 'unavailable'])
    expect(health).toMatchObject({ ok: false, reason: expect.stringMatching(/disk|full|I\/O/i) })
    expect(acknowledged).toBeGreaterThan(10)
    expect(stored).toBe(acknowledged)
  })

  it('rejects what waits when its thread dies, and everything after', async () => {
    const threads: Worker[] = []
    const remember = (worker: Worker) => void threads.push(worker)
    process.on('worker', remember)
    const store = await open(fresh())
    process.off('worker', remember)
    await store.record(sampleEntry(1))

    const waiting = store.record(sampleEntry(2))
    const refused = expect(waiting).rejects.toMatchObject({ code: 'unavailable' })
    await Promise.all(threads.map((thread) => thread.terminate()))

    await refused
    expect(store.health().ok).toBe(false)
    await expect(store.record(sampleEntry(3))).rejects.toMatchObject({ code: 'unavailable' })
    await store.close()
  })
})

describe('migrations', () => {
  const NEXT: Step = {
    up: (db) => db.schema.alterTable('meta').addColumn('note', 'text').execute(),
  }
  const BROKEN: Step = {
    async up(db) {
      await db.schema.alterTable('meta').addColumn('half', 'text').execute()
      await db.schema.alterTable('nothing').addColumn('x', 'text').execute()
    },
  }

  it('bring an old file up, with what is in it', async () => {
    const store = await open(fresh())
    await store.record(sampleEntry(1))
    await migrate(store.db, 'sqlite', { ...STEPS, '2999-01-01-next': NEXT })

    expect(await columnsOfMeta(store)).toEqual(['name', 'value', 'note'])
    await store.close()
  })

  it('leave nothing of a step that fails', async () => {
    const store = await open(fresh())
    const steps = { ...STEPS, '2999-01-01-broken': BROKEN }

    await expect(migrate(store.db, 'sqlite', steps)).rejects.toMatchObject({ code: 'unavailable' })
    expect(await columnsOfMeta(store)).toEqual(['name', 'value'])
    await store.close()
  })

  it('refuse a file of a newer Tollgate', async () => {
    const location = fresh()
    const store = await open(location)
    await migrate(store.db, 'sqlite', { ...STEPS, '2999-01-01-next': NEXT })
    await store.close()

    await expect(open(location)).rejects.toMatchObject({
      message: expect.stringContaining('written by a newer Tollgate (step 2999-01-01-next)'),
    })
  })
})

function fresh(): { readonly dataDir: string } {
  return { dataDir: join(folder, String(folders++)) }
}

async function columnsOfMeta({ db }: Store): Promise<string[]> {
  const tables = await db.introspection.getTables()
  const meta = tables.find(({ name }) => name === 'meta')
  return meta?.columns.map(({ name }) => name) ?? []
}

/** A query that takes a while. */
function slowQuery({ db }: Store): Promise<unknown> {
  return sql`with recursive n (i) as (select 1 union all select i + 1 from n where i < 3000000)
    select count(*) from n`.execute(db)
}

function openInChild(location: Location): string {
  const options = { ...location, synchronous: 'normal', instanceId: 'inst_child' }
  const file = join(import.meta.dirname, 'load.ts')
  const child = spawnSync(process.execPath, [file, JSON.stringify(options), 'x'], {
    encoding: 'utf8',
  })
  return child.stderr
}

/** Runs `full-disk.ts`, which may write no file beyond a small size. */
function runOnSmallDisk(location: Location): FullDiskReport {
  const file = join(import.meta.dirname, 'full-disk.ts')
  const child = spawnSync(
    '/bin/sh',
    ['-c', 'ulimit -f 2000 && exec "$0" "$@"', process.execPath, file, location.dataDir],
    { encoding: 'utf8' },
  )
  if (child.status !== 0) throw new Error(child.stderr)
  const report: Omit<FullDiskReport, 'stored'> = JSON.parse(child.stdout)
  const database = new SqliteDatabase(join(location.dataDir, 'tollgate.db'))
  const stored: unknown = database.prepare('select count(*) from entries').pluck().get()
  database.close()
  return { ...report, stored: Number(stored) }
}
