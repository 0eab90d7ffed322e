import type { JsonObject, JsonValue } from '#protocol'

/** An object as it was parsed, of which nothing is known yet. */
export type Fields = Readonly<Record<string, unknown>>

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function fields(value: unknown): Fields {
  return isFields(value) ? value : {}
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

export function objects(value: unknown): readonly Fields[] {
  return list(value).filter(isFields)
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

export function count(value: unknown): number {
  return typeof value === 'number' ? value : 0
}

/** Parsed JSON; the text itself where it is none. */
export function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return json
  }
}

/** Leaves out what is undefined, as JSON does, so that equal things compare equal. */
export function plain(value: unknown): JsonValue {
  return value === undefined ? null : (JSON.parse(JSON.stringify(value)) as JsonValue)
}

export function plainObject(value: object): JsonObject {
  return JSON.parse(JSON.stringify(value)) as JsonObject
}

/** Without the members that are null, which say nothing in any of the wires. */
export function spoken(value: Fields): Fields {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null))
}

export interface Difference {
  /** `messages[2].content[0].text`; empty for the whole. */
  readonly path: string
  readonly expected: unknown
  readonly found: unknown
}

/** Where two JSON values differ, the order of members aside. */
export function differences(expected: unknown, found: unknown, path = ''): Difference[] {
  if (Array.isArray(expected) && Array.isArray(found)) {
    const length = Math.max(expected.length, found.length)
    return Array.from({ length }, (_, index) =>
      differences(expected[index], found[index], `${path}[${index}]`),
    ).flat()
  }
  if (isFields(expected) && isFields(found)) {
    const names = new Set([...Object.keys(expected), ...Object.keys(found)])
    return [...names].flatMap((name) =>
      differences(expected[name], found[name], path === '' ? name : `${path}.${name}`),
    )
  }
  return expected === found ? [] : [{ path, expected, found }]
}

export function describe({ path, expected, found }: Difference): string {
  return `${path || 'it'}: expected ${short(expected)}, found ${short(found)}`
}

export function short(value: unknown): string {
  const json = JSON.stringify(value) ?? 'nothing'
  return json.length <= 160 ? json : `${json.slice(0, 120)}... (${json.length} characters)`
}
