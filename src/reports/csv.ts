/**
 * A line of CSV (RFC 4180). A text that a spreadsheet would run as a formula gets an apostrophe,
 * since names in reports are chosen by those who are reported on.
 */
export function csvLine(cells: readonly (string | number | null)[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`
}

const FORMULA = /^[=+\-@\t\r]/
const NUMBER = /^-?\d+(?:\.\d+)?$/

function csvCell(value: string | number | null): string {
  if (value === null) return ''
  const text = String(value)
  const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/**
 * Reads CSV (RFC 4180, and bare line feeds); a byte order mark and empty lines are passed over.
 *
 * @returns one record for each line after the first, by the names in the first
 * @throws Error naming the line that has more or fewer cells than names, or an open quote
 */
export function readCsv(text: string): readonly Readonly<Record<string, string>>[] {
  const rows = cellsOf(text.replace(/^\uFEFF/, ''))
  const [head, ...body] = rows.filter(({ cells }) => cells.length > 1 || cells[0] !== '')
  if (head === undefined) return []
  return body.map(({ line, cells }) => {
    if (cells.length !== head.cells.length) {
      throw new Error(
        `Line ${line} has ${cells.length} cells; the first line names ${head.cells.length}`,
      )
    }
    return Object.fromEntries(head.cells.map((name, index) => [name.trim(), cells[index] ?? '']))
  })
}

interface Row {
  readonly line: number
  readonly cells: string[]
}

function cellsOf(text: string): readonly Row[] {
  const rows: Row[] = []
  let row: Row = { line: 1, cells: [] }
  let line = 1
  let at = 0
  while (at <= text.length) {
    const { cell, next } = text[at] === '"' ? quoted(text, at, line) : bare(text, at)
    line += cell.split('\n').length - 1
    row.cells.push(cell)
    if (text[next] === ',') {
      at = next + 1
      continue
    }
    rows.push(row)
    line += 1
    row = { line, cells: [] }
    at = next + (text.startsWith('\r\n', next) ? 2 : 1)
  }
  return rows
}

function bare(text: string, at: number): { readonly cell: string; readonly next: number } {
  let next = at
  while (next < text.length && !',\r\n'.includes(text[next]!)) next += 1
  return { cell: text.slice(at, next), next }
}

function quoted(
  text: string,
  at: number,
  line: number,
): { readonly cell: string; readonly next: number } {
  let cell = ''
  let next = at + 1
  for (;;) {
    const end = text.indexOf('"', next)
    if (end < 0) throw new Error(`Line ${line}: a quote is never closed`)
    cell += text.slice(next, end)
    if (text[end + 1] !== '"') return { cell, next: end + 1 }
    cell += '"'
    next = end + 2
  }
}
