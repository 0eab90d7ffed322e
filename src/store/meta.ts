import type { Database } from './schema.ts'

/** Facts about this installation. No secret that is not sealed. */
export async function findMeta(db: Database, name: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('meta')
    .select('value')
    .where('name', '=', name)
    .executeTakeFirst()
  return row?.value
}

/**
 * Sets a fact that is set once.
 *
 * @returns the value that holds: that of whoever came first
 */
export async function claimMeta(db: Database, name: string, value: string): Promise<string> {
  await db
    .insertInto('meta')
    .values({ name, value })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .execute()
  return (await findMeta(db, name)) ?? value
}

/** Changes a fact, unless somebody did since it was read. */
export async function replaceMeta(
  db: Database,
  name: string,
  before: string,
  value: string,
): Promise<void> {
  await db
    .updateTable('meta')
    .set({ value })
    .where('name', '=', name)
    .where('value', '=', before)
    .execute()
}
