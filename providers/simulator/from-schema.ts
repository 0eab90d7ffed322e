import type { JsonValue } from '#protocol'
import { textMatching } from './from-pattern.ts'
import { matches } from './matches.ts'
import type { Random } from './random.ts'
import { sampleText } from './samples.ts'
import {
  isObject,
  isSchema,
  listOf,
  merge,
  numberOf,
  record,
  resolve,
  type Schema,
} from './schema.ts'

type Fields = Exclude<Schema, boolean>

/** Values one schema may lead to, and how deep: a schema may refer to itself. */
const MAX_VALUES = 5_000
const MAX_DEPTH = 100
/** Schemas that one place may have to obey at once. */
const MAX_JOINED = 200
/** Optional members are filled in down to here. */
const OPTIONAL_DEPTH = 4
const MAX_LENGTH = 100_000
const ATTEMPTS = 6

/**
 * A value that is valid against a JSON Schema (2020-12, and what older drafts spell otherwise).
 *
 * First all optional members are filled in; where alternatives or conditions speak against
 * them, fewer, and other alternatives. A schema nothing can fit gets the nearest try.
 *
 * @param hints words of the prompt that free texts may use, such as the name of a city
 */
export function valueFor(root: Schema, random: Random, hints: readonly string[] = []): JsonValue {
  let value: JsonValue = null
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    value = attemptValue(root, random, hints, attempt)
    if (matches(root, value)) return value
  }
  return value
}

function attemptValue(
  root: Schema,
  random: Random,
  hints: readonly string[],
  attempt: number,
): JsonValue {
  let left = MAX_VALUES

  function make(asked: Schema, name: string, depth: number): JsonValue {
    left -= 1
    if (depth > MAX_DEPTH) return null
    const schema = flatten(asked, depth)
    if (schema === false || schema === true) return sampleText(name, hints)
    if ('const' in schema) return schema['const'] ?? null
    const choices = listOf(schema['enum'])
    if (choices.length > 0) return choices[Math.floor(random() * choices.length)] ?? null
    switch (typeOf(schema, depth)) {
      case 'object':
        return makeObject(schema, depth)
      case 'array':
        return makeArray(schema, name, depth)
      case 'integer':
        return makeNumber(schema, true, random)
      case 'number':
        return makeNumber(schema, false, random)
      case 'boolean':
        return random() < 0.5
      case 'null':
        return null
      default:
        return makeText(schema, name, random, hints)
    }
  }

  /** One alternative of each kind chosen, references followed. */
  function flatten(asked: Schema, depth: number): Schema {
    let schema = asked
    for (let step = 0; step < 100 && isObject(schema); step += 1) {
      const { $ref, anyOf, oneOf, allOf, if: condition, then, else: otherwise, ...rest } = schema
      const { not, ...plain } = rest
      if ($ref !== undefined) {
        const { $ref: _, ...others } = schema
        schema = merge(resolve(root, $ref), others)
      } else if (anyOf !== undefined || oneOf !== undefined) {
        const { anyOf: _, oneOf: __, ...others } = schema
        schema = [anyOf, oneOf]
          .filter((options) => options !== undefined)
          .map((options) => alternative(options, depth))
          .reduce<Schema>(merge, others)
      } else if (condition !== undefined) {
        const { if: _, then: __, else: ___, ...others } = schema
        const held = attempt % 2 === 0 && isSchema(condition)
        const added = held ? merge(condition, isSchema(then) ? then : true) : otherwise
        schema = isSchema(added) ? merge(others, added) : others
      } else if (allOf !== undefined) {
        const { allOf: _, ...others } = schema
        schema = listOf(allOf).slice(0, MAX_JOINED).filter(isSchema).reduce<Schema>(merge, others)
      } else {
        return not === undefined ? schema : plain
      }
    }
    return schema
  }

  function alternative(options: JsonValue, depth: number): Schema {
    const all = listOf(options).filter(isSchema)
    const solid = all.filter((each) => !isObject(each) || each['type'] !== 'null')
    // Deep down the plainest ends a schema that refers to itself.
    const plain = all.find((each) => isObject(each) && isPlain(each))
    if (depth > OPTIONAL_DEPTH && plain !== undefined) return plain
    return solid[attempt % Math.max(1, solid.length)] ?? all[0] ?? true
  }

  function makeObject(schema: Fields, depth: number): JsonValue {
    const properties = record(schema['properties'])
    const required = new Set(listOf(schema['required']).map(String))
    const made = new Map<string, JsonValue>()
    const add = (name: string, member: JsonValue | undefined): void => {
      if (left > 0 && depth < MAX_DEPTH && !made.has(name)) {
        made.set(name, make(isSchema(member) ? member : true, name, depth + 1))
      }
    }
    const most = numberOf(schema['maxProperties']) ?? Infinity
    for (const [name, member] of Object.entries(properties)) {
      if (required.has(name)) add(name, member)
      else if (wantsOptional(depth) && member !== false && required.size + made.size < most) {
        add(name, member)
      }
    }
    const extra = schema['additionalProperties'] ?? true
    const patterns = Object.entries(record(schema['patternProperties']))
    for (const name of required) add(name, extra)
    for (const name of made.keys()) {
      const needed = listOf(record(schema['dependentRequired'])[name])
      for (const each of needed.map(String)) add(each, properties[each] ?? extra)
    }
    const least = Math.min(numberOf(schema['minProperties']) ?? 0, MAX_VALUES)
    for (const [name, member] of Object.entries(properties)) {
      if (made.size < least) add(name, member)
    }
    for (let index = 1; made.size < least && index <= least; index += 1) {
      const [pattern, member] = patterns[0] ?? []
      if (pattern === undefined) add(`extra${index}`, extra)
      else add(textMatching(pattern, random), member)
    }
    return Object.fromEntries(made)
  }

  function wantsOptional(depth: number): boolean {
    if (depth >= OPTIONAL_DEPTH || left < MAX_VALUES / 2) return false
    return attempt === 0 || (attempt === 1 && random() < 0.5)
  }

  function makeArray(schema: Fields, name: string, depth: number): JsonValue {
    const tuple = listOf(schema['prefixItems'] ?? schema['items'])
    const rest = tuple.length > 0 && !('prefixItems' in schema) ? true : (schema['items'] ?? true)
    const least = numberOf(schema['minItems']) ?? 0
    const usual = depth < OPTIONAL_DEPTH && rest !== false ? tuple.length + 1 : tuple.length
    const most = rest === false ? tuple.length : (numberOf(schema['maxItems']) ?? Infinity)
    const contained = schema['contains']
    const containing = isSchema(contained) ? (numberOf(schema['minContains']) ?? 1) : 0
    const wanted = Math.min(most, Math.max(least, usual, tuple.length + containing))
    const unique = schema['uniqueItems'] === true
    const seen = new Set<string>()
    const list: JsonValue[] = []
    const tries = unique ? wanted * 20 : wanted
    for (let done = 0; done < tries && list.length < wanted && left > 0; done += 1) {
      const at = list.length
      let item = at < tuple.length ? tuple[at] : rest
      if (at >= tuple.length && at < tuple.length + containing && isSchema(contained)) {
        item = merge(isSchema(item) ? item : true, contained)
      }
      const value = make(
        isSchema(item) ? item : true,
        unique ? `${name} ${done + 1}` : name,
        depth + 1,
      )
      const key = unique ? JSON.stringify(value) : String(at)
      if (seen.has(key)) continue
      seen.add(key)
      list.push(value)
    }
    return list
  }

  return make(root, '', 0)
}

function isPlain(schema: Fields): boolean {
  const type = schema['type']
  return type !== undefined && type !== 'object' && type !== 'array'
}

function typeOf(schema: Fields, depth: number): JsonValue {
  const { type } = schema
  if (Array.isArray(type)) {
    const solid = type.filter((each) => each !== 'null')
    return depth > OPTIONAL_DEPTH && solid.length < type.length ? 'null' : (solid[0] ?? 'null')
  }
  if (type !== undefined) return type
  const names = Object.keys(schema).join(' ')
  if (/properties|required/i.test(names)) return 'object'
  if (/items|contains/i.test(names)) return 'array'
  return /minimum|maximum|multipleOf/i.test(names) ? 'number' : 'string'
}

function makeNumber(schema: Fields, whole: boolean, random: Random): number {
  const { exclusiveMinimum: above, exclusiveMaximum: below } = schema
  // Draft 4 has booleans beside `minimum` and `maximum`.
  const floor = highest(numberOf(schema['minimum']), numberOf(above))
  const ceiling = lowest(numberOf(schema['maximum']), numberOf(below))
  const openBelow = above === true || (floor !== undefined && floor === above)
  const openAbove = below === true || (ceiling !== undefined && ceiling === below)
  const from = floor ?? (ceiling === undefined ? 1 : ceiling - 100)
  const to = ceiling ?? (floor === undefined ? 100 : floor + 100)
  const step = numberOf(schema['multipleOf']) ?? (whole ? 1 : undefined)
  if (step === undefined || step <= 0) {
    const value = from + (to - from) * (openBelow || openAbove ? 0.1 + random() * 0.8 : random())
    const rounded = Math.round(value * 100) / 100
    return rounded > from && rounded < to ? rounded : value
  }
  const first =
    Math.ceil(from / step) + (openBelow && Math.ceil(from / step) * step === from ? 1 : 0)
  const last = Math.floor(to / step) - (openAbove && Math.floor(to / step) * step === to ? 1 : 0)
  const start = first + Math.floor(random() * Math.max(1, last - first + 1))
  const digits = Math.min(15, (/\.(\d+)$/.exec(String(step))?.[1] ?? '').length)
  for (let tried = 0; tried < 1000; tried += 1) {
    const candidate = first + ((start - first + tried) % Math.max(1, last - first + 1))
    const value = Number((candidate * step).toFixed(digits))
    if (!whole || Number.isInteger(value)) return value
  }
  return Number((first * step).toFixed(digits))
}

function highest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : Math.max(a, b)
}

function lowest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : Math.min(a, b)
}

function makeText(schema: Fields, name: string, random: Random, hints: readonly string[]): string {
  const least = Math.min(numberOf(schema['minLength']) ?? 0, MAX_LENGTH)
  const { pattern, format } = schema
  if (typeof pattern === 'string') return textMatching(pattern, random, least)
  const text = sampleText(name, hints, typeof format === 'string' ? format : '', random)
  const most = numberOf(schema['maxLength']) ?? Infinity
  if (text.length >= least) return text.length > most ? text.slice(0, most) : text
  return `${text} `.repeat(Math.ceil(least / (text.length + 1))).slice(0, Math.min(least, most))
}
