import { join } from 'node:path'
import Database from 'better-sqlite3'
import { Client } from 'pg'

/** Rows of a gateway's database, looked at from beside it. */
export interface Tables {
  reservations(): Promise<number>
  /** Their number, the sum of their costs in nano-dollars, and how many a crash left. */
  entries(): Promise<EntryCount>
}

export interface EntryCount {
  readonly count: number
  readonly cost: bigint
  readonly crashed: number
}

const RESERVATIONS = 'select count(*) as count from reservations'
const ENTRIES = `select count(*) as count, cast(coalesce(sum(cost_nanos), 0) as bigint) as cost,
  coalesce(sum(case when outcome = 'crashed' then 1 else 0 end), 0) as crashed from entries`

/** Of a gateway in another process: closing the file drops all locks that this one has on it. */
export function sqliteTables(dataDir: string): Tables {
  async function read(query: string): Promise<Readonly<Record<string, bigint>>> {
    const database = new Database(join(dataDir, 'tollgate.db'), { readonly: true })
    try {
      return database.prepare(query).safeIntegers().get() as Record<string, bigint>
    } finally {
      database.close()
    }
  }
  return tables(read)
}

export function postgresTables(url: string): Tables {
  async function read(query: string): Promise<Readonly<Record<string, string>>> {
    const client = new Client({ connectionString: url })
    await client.connect()
    try {
      const { rows } = await client.query<Record<string, string>>(query)
      return rows[0]!
    } finally {
      await client.end()
    }
  }
  return tables(read)
}

function tables(
  read: (query: string) => Promise<Readonly<Record<string, bigint | string>>>,
): Tables {
  return {
    async reservations() {
      return Number((await read(RESERVATIONS)).count)
    },
    async entries() {
      const { count, cost, crashed } = await read(ENTRIES)
      return { count: Number(count), cost: BigInt(cost ?? 0), crashed: Number(crashed) }
    },
  }
}
