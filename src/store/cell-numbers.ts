import { CELL_COLUMNS, type CellColumn, cellNamed, MOST_CELLS } from './cells.ts'
import type { Database } from './schema.ts'

/** Cells of one statement: the databases take some ten thousand parameters. */
const AT_ONCE = 500

/** Numbers of cells by name; they never change. */
export type CellNumbers = Map<string, bigint>

/**
 * The numbers of cells, in the order of their names.
 *
 * @param known - what is there already, and takes what is new
 */
export async function cellNumbers(
  db: Database,
  names: readonly string[],
  known: CellNumbers,
): Promise<readonly (bigint | undefined)[]> {
  const unknown = names.filter((name) => !known.has(name))
  if (unknown.length === 0) return names.map((name) => known.get(name))
  if (known.size >= MOST_CELLS) known.clear()
  for (const [name, number] of await addCells(db, names)) known.set(name, number)
  return names.map((name) => known.get(name))
}

/** Adds those that are not there. */
export async function addCells(db: Database, names: readonly string[]): Promise<CellNumbers> {
  // In one order everywhere, so that two processes cannot wait for each other.
  const wanted = [...new Set(names)].toSorted()
  const numbers: CellNumbers = new Map()
  for (let start = 0; start < wanted.length; start += AT_ONCE) {
    await addSome(db, wanted.slice(start, start + AT_ONCE), numbers)
  }
  return numbers
}

async function addSome(
  db: Database,
  names: readonly string[],
  numbers: CellNumbers,
): Promise<void> {
  const cells = names.map(cellNamed)
  await db
    .insertInto('usage_cells')
    .values(
      cells.map(({ digest, endUsers, values }) => ({
        digest,
        end_users: endUsers,
        ...(Object.fromEntries(
          CELL_COLUMNS.map((column, index) => [column, values[index] ?? '']),
        ) as Record<CellColumn, string>),
      })),
    )
    .onConflict((conflict) => conflict.column('digest').doNothing())
    .execute()
  const rows = await db
    .selectFrom('usage_cells')
    .select(['id', 'digest'])
    .where(
      'digest',
      'in',
      cells.map(({ digest }) => digest),
    )
    .execute()
  const ids = new Map(rows.map(({ digest, id }) => [digest, id]))
  const tags = cells.flatMap(({ digest, tags: own }) =>
    own.map((tag) => ({ cell: ids.get(digest) ?? 0n, tag })),
  )
  if (tags.length > 0) {
    await db
      .insertInto('usage_cell_tags')
      .values(tags)
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  }
  for (const [index, name] of names.entries()) {
    const id = ids.get(cells[index]?.digest ?? '')
    if (id !== undefined) numbers.set(name, id)
  }
}
