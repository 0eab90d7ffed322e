import { type RawBuilder, sql } from 'kysely'
import type { Database } from './schema.ts'

/** What has a name beside its id, also when it is revoked or archived. */
export const NAMED_TABLES = {
  tenant: 'tenants',
  application: 'applications',
  key: 'keys',
  user: 'users',
} as const

export type NamedThing = keyof typeof NAMED_TABLES

/** Ids of one statement. */
const AT_ONCE = 500
/** Names to guess a mistyped one from. */
const MOST_GUESSES = 1000

/** @param tenantId absent: of all tenants */
export async function namesOf(
  db: Database,
  tenantId: string | undefined,
  thing: NamedThing,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>()
  for (let start = 0; start < ids.length; start += AT_ONCE) {
    const some = sql.join(ids.slice(start, start + AT_ONCE))
    const { rows } = await sql<{ id: string; name: string }>`
      select id, name from ${sql.table(NAMED_TABLES[thing])}
      where id in (${some}) and ${ofTenant(thing, tenantId)}`.execute(db)
    for (const { id, name } of rows) names.set(id, name)
  }
  return names
}

/** The ids that an id or a name means: a name maybe several. */
export async function idsOf(
  db: Database,
  tenantId: string | undefined,
  thing: NamedThing,
  idOrName: string,
): Promise<readonly string[]> {
  const address = thing === 'user' ? sql`or email = ${idOrName.toLowerCase()}` : sql``
  const { rows } = await sql<{ id: string }>`
    select id from ${sql.table(NAMED_TABLES[thing])}
    where (id = ${idOrName} or name = ${idOrName} ${address}) and ${ofTenant(thing, tenantId)}
    order by id`.execute(db)
  return rows.map(({ id }) => id)
}

export async function namesKnown(
  db: Database,
  tenantId: string | undefined,
  thing: NamedThing,
): Promise<readonly string[]> {
  const { rows } = await sql<{ name: string }>`
    select distinct name from ${sql.table(NAMED_TABLES[thing])}
    where ${ofTenant(thing, tenantId)} limit ${sql.lit(MOST_GUESSES)}`.execute(db)
  return rows.map(({ name }) => name)
}

function ofTenant(thing: NamedThing, tenantId: string | undefined): RawBuilder<unknown> {
  if (tenantId === undefined) return sql`1 = 1`
  return sql`${sql.ref(thing === 'tenant' ? 'id' : 'tenant_id')} = ${tenantId}`
}
