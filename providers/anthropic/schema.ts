import type { JsonObject, JsonValue } from '#protocol'
import { isObject } from './wire.ts'

/** A JSON Schema as Anthropic compiles it, and what that took. */
export interface LoweredSchema {
  readonly schema: JsonObject
  /** `additionalProperties: false` was added where nothing was said. */
  readonly closed: boolean
  /** Objects with free keys lost them; paths from the schema's root. */
  readonly restricted: readonly string[]
  /** Keywords that now stand in a description, as words to the model. */
  readonly described: readonly string[]
}

/** Keywords the provider enforces and whose value is no schema. */
const KEPT = new Set([
  'type',
  'enum',
  'const',
  'title',
  'description',
  'required',
  '$ref',
  'default',
])
const MAPS = new Set(['properties', '$defs', 'definitions'])
const LISTS: Readonly<Record<string, string>> = { anyOf: 'anyOf', oneOf: 'anyOf', allOf: 'allOf' }
/** Say nothing about values. */
const IGNORED = new Set(['$schema', '$id', '$comment'])
const FORMATS = new Set([
  'date-time',
  'time',
  'date',
  'duration',
  'email',
  'hostname',
  'uri',
  'ipv4',
  'ipv6',
  'uuid',
])

/**
 * Lowers a JSON Schema to the part of it that structured outputs and strict tools accept.
 *
 * The same steps as the official SDK's `transformJSONSchema`: every object is closed,
 * `oneOf` becomes `anyOf`, and what is not supported is told to the model in words.
 *
 * Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs
 */
export function lowerSchema(schema: JsonObject): LoweredSchema {
  const report = { closed: false, restricted: [] as string[], described: new Set<string>() }
  const lowered = lower(schema, '', report)
  return { ...report, described: [...report.described], schema: lowered }
}

interface Report {
  closed: boolean
  readonly restricted: string[]
  readonly described: Set<string>
}

function lower(schema: JsonObject, path: string, report: Report): JsonObject {
  const lowered: Record<string, JsonValue> = {}
  const words: string[] = []
  for (const [keyword, value] of Object.entries(schema)) {
    const list = LISTS[keyword]
    if (KEPT.has(keyword)) set(lowered, keyword, value)
    else if (MAPS.has(keyword) && isObject(value)) {
      set(lowered, keyword, lowerMap(value, `${path}/${keyword}`, report))
    } else if (list !== undefined && isList(value)) {
      set(
        lowered,
        list,
        value.map((entry, index) => lowerValue(entry, `${path}/${keyword}/${index}`, report)),
      )
    } else if (keyword === 'items' && isObject(value)) {
      set(lowered, keyword, lower(value, `${path}/items`, report))
    } else if (isEnforced(keyword, value)) set(lowered, keyword, value)
    else if (keyword !== 'additionalProperties' && !IGNORED.has(keyword)) {
      report.described.add(keyword)
      words.push(`${keyword}: ${JSON.stringify(value)}`)
    }
  }
  if (isObjectSchema(schema)) close(schema, lowered, path, report)
  if (words.length > 0) {
    const said = typeof schema['description'] === 'string' ? `${schema['description']}\n\n` : ''
    lowered['description'] = `${said}{${words.join(', ')}}`
  }
  return lowered
}

function lowerMap(map: JsonObject, path: string, report: Report): JsonObject {
  const lowered: Record<string, JsonValue> = {}
  for (const [name, value] of Object.entries(map)) {
    set(lowered, name, lowerValue(value, `${path}/${name}`, report))
  }
  return lowered
}

function lowerValue(value: JsonValue, path: string, report: Report): JsonValue {
  return isObject(value) ? lower(value, path, report) : value
}

function close(
  schema: JsonObject,
  lowered: Record<string, JsonValue>,
  path: string,
  report: Report,
) {
  const said = schema['additionalProperties']
  if (said === undefined) report.closed = true
  else if (said !== false) report.restricted.push(path || '/')
  lowered['additionalProperties'] = false
}

function isObjectSchema(schema: JsonObject): boolean {
  const { type, properties } = schema
  return type === 'object' || isObject(properties) || (isList(type) && type.includes('object'))
}

function isList(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value)
}

function isEnforced(keyword: string, value: JsonValue): boolean {
  if (keyword === 'format') return typeof value === 'string' && FORMATS.has(value)
  return keyword === 'minItems' && (value === 0 || value === 1)
}

/** A property may be called `__proto__`. */
function set(target: Record<string, JsonValue>, name: string, value: JsonValue): void {
  Object.defineProperty(target, name, {
    value,
    enumerable: true,
    writable: true,
    configurable: true,
  })
}
