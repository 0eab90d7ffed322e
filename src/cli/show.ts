import { styleText } from 'node:util'
import { EXIT, Failure } from './failure.ts'
import type { Screen } from './terminal.ts'
import { plain } from './terminal.ts'

export interface Column<Row> {
  readonly name: string
  /** Null: there is none. */
  readonly value: (row: Row) => string | number | null
}

export interface ShowOptions {
  /** Absent: no JSON; empty: every field. */
  readonly json?: string | undefined
  readonly csv?: boolean | undefined
  readonly quiet?: boolean | undefined
  readonly colour: boolean
}

/**
 * Rows in the form asked for: a table for people, tab-separated lines for pipes, JSON, CSV, or the
 * first column alone. Nothing is ever cut short.
 */
export async function showRows<Row extends object>(
  screen: Screen,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  options: ShowOptions,
): Promise<void> {
  if (options.json !== undefined) return showJson(screen, rows, options.json)
  if (options.csv) return showCsv(screen, rows, columns)
  const cells = cellsOf(rows, columns)
  const head = columns.map(({ name }) => name)
  if (options.quiet) {
    for (const [first] of cells) screen.write(`${text(first)}\n`)
  } else if (rows.length === 0) {
    return
  } else if (screen.isTTY) {
    screen.write(`${await table(head, cells, options.colour)}\n`)
  } else {
    for (const line of [head, ...cells]) {
      screen.write(`${line.map((cell) => text(cell).replaceAll(/[\t\n]/g, ' ')).join('\t')}\n`)
    }
  }
}

export function showCsv<Row>(
  screen: Screen,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
): void {
  for (const line of [columns.map(({ name }) => name), ...cellsOf(rows, columns)]) {
    screen.write(`${line.map(csvCell).join(',')}\r\n`)
  }
}

/** A column for each field of a thing; what is nested becomes JSON. */
export function columnsOf<Row extends object>(row: Row): readonly Column<Row>[] {
  return Object.entries(row).map(([name, value]: [string, unknown]) => ({
    name,
    value: () =>
      typeof value === 'string' || typeof value === 'number' || value === null
        ? value
        : JSON.stringify(value),
  }))
}

function cellsOf<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): readonly Cell[][] {
  return rows.map((row) => columns.map(({ value }) => value(row)))
}

/** @param fields - of the object, or of each object of a list, comma-separated; empty: all */
export function showJson(screen: Screen, value: object, fields: string): void {
  const names = fields.split(',').filter((name) => name !== '')
  const shown = Array.isArray(value) ? value.map((row) => pick(row, names)) : pick(value, names)
  screen.write(`${JSON.stringify(shown, null, 2)}\n`)
}

function pick(value: object, names: readonly string[]): object {
  if (names.length === 0) return value
  const unknown = names.find((name) => !Object.hasOwn(value, name))
  if (unknown !== undefined) {
    throw new Failure(EXIT.usage, `There is no field "${unknown}"`, {
      fix: `choose of ${Object.keys(value).join(', ')}`,
    })
  }
  return Object.fromEntries(Object.entries(value).filter(([name]) => names.includes(name)))
}

type Cell = string | number | null | undefined

function text(cell: Cell): string {
  return cell === null || cell === undefined ? '' : plain(String(cell))
}

/** RFC 4180; a leading `=`, `+`, `-` or `@` would be run as a formula by spreadsheets. */
function csvCell(cell: Cell): string {
  const raw = text(cell)
  const safe = typeof cell === 'string' && /^[=+\-@\t]/.test(raw) ? `'${raw}` : raw
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

const BARE = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
} as const

async function table(
  head: readonly string[],
  cells: readonly (readonly Cell[])[],
  colour: boolean,
): Promise<string> {
  const { default: Table } = await import('cli-table3')
  const numeric = head.map((_, index) => cells.every((row) => typeof row[index] === 'number'))
  const drawn = new Table({
    head: head.map((name) => strong(name.replaceAll('_', ' ').toUpperCase(), colour)),
    chars: BARE,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: numeric.map((right) => (right ? 'right' : 'left')),
  })
  drawn.push(...cells.map((row) => row.map((cell) => text(cell) || '-')))
  return drawn.toString().replaceAll(/ +$/gm, '')
}

function strong(words: string, colour: boolean): string {
  return colour ? styleText('bold', words, { validateStream: false }) : words
}
