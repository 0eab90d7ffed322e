import { hash } from 'node:crypto'
import { ENTRY_COLUMNS } from './entries.ts'

/**
 * What entries have in common that add up: the cell they count in. Sums by hour and day name a
 * cell by its number, so that they stay small whatever reports group by.
 *
 * These are columns of `usage_cells`; an empty text stands for none.
 */
export const CELL_COLUMNS = [
  'tenant_id',
  'application_id',
  'key_id',
  'user_id',
  'environment',
  'provider',
  'model',
  'model_asked',
  'model_served',
  'prompt_id',
  'credential_id',
  'endpoint',
  'outcome',
  'tags',
] as const

export type CellColumn = (typeof CELL_COLUMNS)[number]

export interface Cell {
  /** Names it for good. */
  readonly digest: string
  /** In the order of {@link CELL_COLUMNS}. */
  readonly values: readonly string[]
  /** 1: its entries name an end user, and are summed by end user as well. */
  readonly endUsers: 0 | 1
  readonly tags: readonly string[]
}

/** Cells remembered by name; tags of callers' own making have no end. */
export const MOST_CELLS = 20_000

const PLACES = CELL_COLUMNS.map((column) => ENTRY_COLUMNS.indexOf(column))
const END_USER = ENTRY_COLUMNS.indexOf('end_user')

/**
 * The name of the cell that an entry counts in.
 *
 * @param entry - its values, in the order of `ENTRY_COLUMNS`
 */
export function cellName(entry: readonly unknown[]): string {
  const values = PLACES.map((place) => entry[place] ?? '')
  values.push((entry[END_USER] ?? '') === '' ? 0 : 1)
  return JSON.stringify(values)
}

export function cellNamed(name: string): Cell {
  const values = JSON.parse(name) as string[]
  const endUsers = values.pop() as unknown as 0 | 1
  const tags = values.at(-1) ?? ''
  return {
    digest: hash('sha256', name, 'base64url'),
    values,
    endUsers,
    tags: tags === '' ? [] : (JSON.parse(tags) as string[]),
  }
}
