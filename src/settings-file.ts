import { LineCounter, parseDocument, visit } from 'yaml'
import type { Document } from 'yaml'

type Env = Readonly<Record<string, string | undefined>>

export interface FileSources {
  readonly env: Env
  /** @returns undefined when there is no such file */
  readonly readFile: (path: string) => string | undefined
}

export interface ConfigProblem {
  /** The file, variable or flag at fault. */
  readonly where: string
  readonly line?: number
  readonly column?: number
  /** `providers.openai.base_url` */
  readonly path: string
  /** What is wrong and how to mend it. */
  readonly message: string
}

export type Path = readonly PropertyKey[]

/** A settings file, read: plain values, and where each of them stands. */
export interface SettingsFile {
  readonly name: string
  readonly value: Readonly<Record<string, unknown>>
  /** Line and column of the value at a path, or of the nearest thing above it. */
  locate(path: Path): { line?: number; column?: number }
  /** Says what is wrong at a path; where a variable is not set, nothing more than that. */
  complain(path: Path, message: string): void
}

/**
 * Reads the file, with variables put in; what is wrong with it goes to `problems`.
 *
 * @param path absent: `tollgate.yaml`, which need not exist
 * @returns undefined when there is no file, or nothing in it can be read
 */
export function readSettingsFile(
  path: string | undefined,
  sources: FileSources,
  problems: ConfigProblem[],
): SettingsFile | undefined {
  const name = path ?? 'tollgate.yaml'
  const text = sources.readFile(name)
  if (text === undefined) {
    if (path !== undefined) {
      problems.push({
        where: path,
        path: 'config',
        message: 'cannot read the settings file: does it exist?',
      })
    }
    return undefined
  }
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    // Without the place and the excerpt: the place is said in our own way.
    prettyErrors: false,
  })
  const complainAt = (offset: number, message: string): void => {
    const { line, col } = lines.linePos(offset)
    problems.push({ where: name, line, column: col, path: '', message })
  }
  for (const fault of document.errors) complainAt(fault.pos[0], fault.message)
  if (document.errors.length > 0) return undefined
  const place = (at: Path) => locate(document, lines, at)
  const unset = new Set<string>()
  const file = {
    name,
    locate: place,
    complain(at: Path, message: string): void {
      const isUnset = at.some((_, index) => unset.has(at.slice(0, index + 1).join('.')))
      if (!isUnset) problems.push({ where: name, ...place(at), path: at.join('.'), message })
    },
  }
  const raw = plainValue(document, complainAt)
  const value = expand(raw, [], sources.env, (at, variable) => {
    const message = `the variable ${variable} is not set: set it, or write \${${variable}:-default}`
    file.complain(at, message)
    unset.add(at.join('.'))
  })
  if (!isRecord(value ?? {})) {
    complainAt(0, 'expected settings as `name: value` lines')
    return undefined
  }
  return { ...file, value: (value ?? {}) as Record<string, unknown> }
}

function plainValue(
  document: Document,
  complainAt: (offset: number, message: string) => void,
): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    // An alias of nothing, such as `*` without quotes; or aliases without end.
    let offset = 0
    visit(document, {
      Alias(_, alias) {
        if (alias.resolve(document) !== undefined) return undefined
        offset = alias.range?.[0] ?? 0
        return visit.BREAK
      },
    })
    complainAt(offset, `${(error as Error).message}; put text that begins with * in quotes`)
    return undefined
  }
}

function locate(
  document: Document,
  lines: LineCounter,
  path: Path,
): { line?: number; column?: number } {
  for (let length = path.length; length > 0; length--) {
    const parent = document.getIn(path.slice(0, length - 1), true) as
      | { items?: unknown[] }
      | undefined
    const step = path[length - 1]
    const pair = parent?.items?.find(
      (item) => String((item as { key?: { value?: unknown } }).key?.value) === String(step),
    ) as { key: { range?: readonly number[] } } | undefined
    const node =
      pair?.key ??
      (document.getIn(path.slice(0, length), true) as { range?: readonly number[] } | undefined)
    const offset = node?.range?.[0]
    if (offset !== undefined) {
      const { line, col } = lines.linePos(offset)
      return { line, column: col }
    }
  }
  return { line: 1, column: 1 }
}

/** Puts `${VARIABLE}` and `${VARIABLE:-default}` into text values, at any depth. */
function expand(
  value: unknown,
  path: Path,
  env: Env,
  isMissing: (path: Path, variable: string) => void,
): unknown {
  if (typeof value === 'string') {
    return value.replace(/\$\{(\w+)(?::-([^}]*))?\}/g, (_, variable: string, fallback?: string) => {
      const found = env[variable] || fallback
      if (found === undefined) isMissing(path, variable)
      return found ?? ''
    })
  }
  if (Array.isArray(value)) {
    return value.map((item, index) => expand(item, [...path, index], env, isMissing))
  }
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        key,
        expand(item, [...path, key], env, isMissing),
      ]),
    )
  }
  return value
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
