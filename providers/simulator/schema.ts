import type { JsonObject, JsonValue } from '#protocol'

export type Schema = JsonObject | boolean

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isSchema(value: unknown): value is Schema {
  return typeof value === 'boolean' || isObject(value)
}

export function listOf(value: JsonValue | undefined): readonly JsonValue[] {
  return Array.isArray(value) ? value : []
}

export function numberOf(value: JsonValue | undefined): number | undefined {
  return typeof value === 'number' ? value : undefined
}

/** What `#`, `#/$defs/x` and the like mean; anything goes for a reference to elsewhere. */
export function resolve(root: Schema, reference: JsonValue | undefined): Schema {
  if (reference === '#') return root
  if (typeof reference !== 'string' || !reference.startsWith('#/')) return anchored(root, reference)
  let found: JsonValue | undefined = root
  for (const step of reference.slice(2).split('/')) {
    const name = decode(step).replaceAll('~1', '/').replaceAll('~0', '~')
    if (Array.isArray(found)) found = found[Number(name)]
    else found = isObject(found) && Object.hasOwn(found, name) ? found[name] : undefined
  }
  return isSchema(found) ? found : true
}

function anchored(root: Schema, reference: JsonValue | undefined): Schema {
  if (!isObject(root) || typeof reference !== 'string') return true
  const definitions = { ...record(root['definitions']), ...record(root['$defs']) }
  const named = Object.values(definitions).find(
    (each) =>
      isObject(each) && (each['$id'] === reference || each['$anchor'] === reference.slice(1)),
  )
  return isSchema(named) ? named : true
}

export function record(value: JsonValue | undefined): JsonObject {
  return isObject(value) ? value : {}
}

function decode(step: string): string {
  try {
    return decodeURIComponent(step)
  } catch {
    return step
  }
}

/** One schema that asks for both, as far as two can be one. */
export function merge(a: Schema, b: Schema): Schema {
  if (a === false || b === false) return false
  if (a === true) return b
  if (b === true) return a
  const both: Record<string, JsonValue> = { ...a }
  const apart: Record<string, JsonValue> = {}
  for (const [name, value] of Object.entries(b)) {
    const other = Object.hasOwn(both, name) ? both[name] : undefined
    if (other === undefined) both[name] = value
    else if (APART.test(name)) apart[name] = value
    else both[name] = mergeMember(name, other, value)
  }
  if (Object.keys(apart).length > 0) both['allOf'] = [...listOf(both['allOf']), apart]
  return both
}

/** Two of these can not be made one; the second waits in `allOf`. */
const APART = /^(?:\$ref|anyOf|oneOf|if|then|else|not)$/

function mergeMember(name: string, a: JsonValue, b: JsonValue): JsonValue {
  if (/^(?:properties|patternProperties|\$defs|definitions)$/.test(name)) {
    const all: Record<string, JsonValue> = { ...record(a) }
    for (const [key, value] of Object.entries(record(b))) {
      const other = Object.hasOwn(all, key) ? all[key] : undefined
      all[key] = isSchema(other) && isSchema(value) ? merge(other, value) : value
    }
    return all
  }
  if (name === 'required' || name === 'allOf') return [...listOf(a), ...listOf(b)]
  if (name === 'type') return mergeTypes(a, b)
  if (name === 'enum') {
    const allowed = new Set(listOf(b).map((value) => JSON.stringify(value)))
    return listOf(a).filter((value) => allowed.has(JSON.stringify(value)))
  }
  if (typeof a === 'number' && typeof b === 'number') {
    if (/^(?:min|exclusiveMin)/.test(name)) return Math.max(a, b)
    if (/^(?:max|exclusiveMax)/.test(name)) return Math.min(a, b)
  }
  if (isSchema(a) && isSchema(b) && /^(?:items|additionalProperties|contains)$/.test(name)) {
    return merge(a, b)
  }
  return b
}

function mergeTypes(a: JsonValue, b: JsonValue): JsonValue {
  const [left, right] = [a, b].map((each) => (Array.isArray(each) ? each : [each]))
  const shared = (left ?? []).flatMap((type: JsonValue): JsonValue[] => {
    if ((right ?? []).includes(type)) return [type]
    const both = new Set([type, ...(right ?? [])])
    return both.has('integer') && both.has('number') ? ['integer'] : []
  })
  return shared.length === 1 ? (shared[0] ?? b) : shared.length === 0 ? b : shared
}
