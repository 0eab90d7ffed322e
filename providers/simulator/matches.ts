import type { JsonValue } from '#protocol'
import { isObject, isSchema, listOf, numberOf, record, resolve, type Schema } from './schema.ts'

/** Comparisons one check may take; beyond, a value is taken for good. */
const MAX_STEPS = 20_000
const MAX_DEPTH = 500

/**
 * Whether a value fits a schema, as far as the generator needs to know.
 *
 * Patterns and formats are not looked at: the one could run for ever, the other is made right.
 */
export function matches(root: Schema, value: JsonValue): boolean {
  let steps = 0
  let depth = 0

  function fits(schema: JsonValue | undefined, it: JsonValue): boolean {
    steps += 1
    if (steps > MAX_STEPS || depth > MAX_DEPTH || !isSchema(schema)) return true
    if (typeof schema === 'boolean') return schema
    depth += 1
    const fitting = fitsAll(schema, it)
    depth -= 1
    return fitting
  }

  function fitsAll(schema: Exclude<Schema, boolean>, it: JsonValue): boolean {
    if ('$ref' in schema && !fits(resolve(root, schema['$ref']), it)) return false
    if ('const' in schema && !same(schema['const'], it)) return false
    if ('enum' in schema && !listOf(schema['enum']).some((each) => same(each, it))) return false
    if (!hasType(schema['type'], it) && !(schema['nullable'] === true && it === null)) return false
    if (!listOf(schema['allOf']).every((each) => fits(each, it))) return false
    if ('anyOf' in schema && !listOf(schema['anyOf']).some((each) => fits(each, it))) return false
    if ('oneOf' in schema) {
      if (listOf(schema['oneOf']).filter((each) => fits(each, it)).length !== 1) return false
    }
    if (isSchema(schema['not']) && fits(schema['not'], it)) return false
    if ('if' in schema && !fits(schema[fits(schema['if'], it) ? 'then' : 'else'], it)) return false
    if (typeof it === 'number') return fitsNumber(schema, it)
    if (typeof it === 'string') return within(Array.from(it).length, schema, 'Length')
    if (Array.isArray(it)) return fitsArray(schema, it)
    return isObject(it) ? fitsObject(schema, it) : true
  }

  function fitsArray(schema: Exclude<Schema, boolean>, list: readonly JsonValue[]): boolean {
    const first = listOf(schema['prefixItems'])
    const contained = schema['contains']
    const count = isSchema(contained) ? list.filter((each) => fits(contained, each)).length : 1
    return (
      within(list.length, schema, 'Items') &&
      count >= (numberOf(schema['minContains']) ?? 1) &&
      count <= (numberOf(schema['maxContains']) ?? Infinity) &&
      (schema['uniqueItems'] !== true ||
        new Set(list.map((each) => JSON.stringify(each))).size === list.length) &&
      list.every((each, index) => fits(index < first.length ? first[index] : schema['items'], each))
    )
  }

  function fitsObject(
    schema: Exclude<Schema, boolean>,
    it: Readonly<Record<string, JsonValue>>,
  ): boolean {
    const properties = record(schema['properties'])
    const patterns = record(schema['patternProperties'])
    const names = Object.keys(it)
    const has = (name: JsonValue): boolean => typeof name === 'string' && Object.hasOwn(it, name)
    return (
      within(names.length, schema, 'Properties') &&
      listOf(schema['required']).every(has) &&
      Object.entries(record(schema['dependentRequired'])).every(
        ([name, needed]) => !has(name) || listOf(needed).every(has),
      ) &&
      names.every((name) => {
        if (Object.hasOwn(properties, name)) return fits(properties[name], it[name] ?? null)
        if (Object.keys(patterns).length > 0) return true
        return fits(schema['additionalProperties'], it[name] ?? null)
      })
    )
  }

  return fits(root, value)
}

function within(size: number, schema: Exclude<Schema, boolean>, what: string): boolean {
  const least = numberOf(schema[`min${what}`]) ?? 0
  return size >= least && size <= (numberOf(schema[`max${what}`]) ?? Infinity)
}

function fitsNumber(schema: Exclude<Schema, boolean>, it: number): boolean {
  const step = numberOf(schema['multipleOf'])
  const ratio = step === undefined ? 0 : it / step
  return (
    it >= (numberOf(schema['minimum']) ?? -Infinity) &&
    it <= (numberOf(schema['maximum']) ?? Infinity) &&
    it > (numberOf(schema['exclusiveMinimum']) ?? -Infinity) &&
    it < (numberOf(schema['exclusiveMaximum']) ?? Infinity) &&
    Math.abs(ratio - Math.round(ratio)) < 1e-9
  )
}

function hasType(type: JsonValue | undefined, value: JsonValue): boolean {
  if (type === undefined) return true
  if (Array.isArray(type)) return type.some((each) => hasType(each, value))
  if (type === 'integer') return Number.isInteger(value)
  return type === typeOf(value)
}

function typeOf(value: JsonValue): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

function same(a: JsonValue | undefined, b: JsonValue): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
