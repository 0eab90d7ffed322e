import type { CountersTable, Database } from './schema.ts'

/**
 * Runs a change under the next revision of its kind. The counter's row stays locked until the
 * commit, so that revisions become visible in their order: whoever has seen one has seen all below.
 */
export async function underNextRevision<T>(
  db: Database,
  counter: CountersTable['name'],
  change: (transaction: Database, revision: bigint) => Promise<T>,
): Promise<T> {
  if (!db.isTransaction) {
    return db
      .transaction()
      .execute((transaction) => underNextRevision(transaction, counter, change))
  }
  const { value } = await db
    .updateTable('counters')
    .set((eb) => ({ value: eb('value', '+', 1n) }))
    .where('name', '=', counter)
    .returning('value')
    .executeTakeFirstOrThrow()
  return change(db, value)
}

/** Of the latest change; a reader that has it has seen everything. */
export async function latestRevision(
  db: Database,
  counter: CountersTable['name'],
): Promise<bigint> {
  const { value } = await db
    .selectFrom('counters')
    .select('value')
    .where('name', '=', counter)
    .executeTakeFirstOrThrow()
  return value
}
