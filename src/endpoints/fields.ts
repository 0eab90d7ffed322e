import { GatewayError } from '#errors'
import type { JsonObject, JsonValue } from '#protocol'

/**
 * Where in the body a value stands. A chain, so that the path is only spelled out for a refusal;
 * `undefined` is the body itself.
 */
export type Place = { readonly within: Place; readonly key: string | number } | undefined

/** What of the caller's wire has no word in ours, by path: `store`, `messages[3].prefix`. */
export type Carried = Record<string, JsonValue>

/** Strings up to this length may be quoted in a refusal, where the name of a choice is expected. */
const QUOTABLE = 32

export function at(within: Place, key: string | number): Place {
  return { within, key }
}

/** `messages[3].content[0].text` */
export function pathOf(place: Place): string {
  if (place === undefined) return ''
  const before = pathOf(place.within)
  if (typeof place.key === 'number') return `${before}[${place.key}]`
  return before === '' ? place.key : `${before}.${place.key}`
}

/** @throws GatewayError `invalid_value` that names the field, what is expected and what came */
export function refuse(place: Place, expected: string, came: unknown): never {
  throw invalid(place, `expected ${expected}, got ${describe(came)}`)
}

export function invalid(place: Place, message: string): GatewayError {
  const param = pathOf(place)
  return new GatewayError('invalid_value', `${param}: ${message}`, { param })
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value === 'string') {
    if (value === '') return 'an empty string'
    return `a string of ${value.length} character${value.length === 1 ? '' : 's'}`
  }
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array'
  return 'an object'
}

export function isFields(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// Each reader below takes null for "not said", as OpenAI does.

export function textAt(fields: JsonObject, name: string, place: Place): string | undefined {
  const value = fields[name]
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return undefined
  return refuse(at(place, name), 'a string', value)
}

/** Required, and not empty. */
export function nameAt(fields: JsonObject, name: string, place: Place): string {
  const value = fields[name]
  if (typeof value === 'string' && value !== '') return value
  return refuse(at(place, name), 'a non-empty string', value)
}

export function booleanAt(fields: JsonObject, name: string, place: Place): boolean | undefined {
  const value = fields[name]
  if (typeof value === 'boolean') return value
  if (value === undefined || value === null) return undefined
  return refuse(at(place, name), 'true or false', value)
}

export function numberAt(
  fields: JsonObject,
  name: string,
  place: Place,
  least: number,
  most: number,
): number | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  // Written so that NaN fails.
  if (typeof value === 'number' && value >= least && value <= most) return value
  return refuse(at(place, name), `a number from ${least} to ${most}`, value)
}

export function integerAt(
  fields: JsonObject,
  name: string,
  place: Place,
  least: number,
  most: number,
): number | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  if (Number.isInteger(value) && Number(value) >= least && Number(value) <= most) {
    return Number(value)
  }
  return refuse(at(place, name), `an integer from ${least} to ${most}`, value)
}

export function choiceAt<Choice extends string>(
  fields: JsonObject,
  name: string,
  place: Place,
  choices: readonly Choice[],
): Choice | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  const choice = choices.find((one) => one === value)
  return choice ?? refuseChoice(at(place, name), choices, value)
}

export function refuseChoice(place: Place, choices: readonly string[], came: unknown): never {
  const expected = `one of ${choices.map((choice) => `"${choice}"`).join(', ')}`
  if (typeof came === 'string' && came !== '' && came.length <= QUOTABLE) {
    throw invalid(place, `expected ${expected}, got ${JSON.stringify(came)}`)
  }
  return refuse(place, expected, came)
}

export function fieldsAt(fields: JsonObject, name: string, place: Place): JsonObject | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  return isFields(value) ? value : refuse(at(place, name), 'an object', value)
}

export function listAt(
  fields: JsonObject,
  name: string,
  place: Place,
): readonly JsonValue[] | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  return isList(value) ? value : refuse(at(place, name), 'an array', value)
}

export function isList(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value)
}

/** Of names with a blank between them. */
export function names(text: string): ReadonlySet<string> {
  return new Set(text.split(' '))
}

/** Keeps every member that is neither known nor null, so that it is named and not lost. */
export function carryUnknown(
  fields: JsonObject,
  known: ReadonlySet<string>,
  place: Place,
  carried: Carried,
): void {
  for (const name of Object.keys(fields)) {
    const value = fields[name]
    if (known.has(name) || value === null || value === undefined) continue
    carried[pathOf(at(place, name))] = value
  }
}
