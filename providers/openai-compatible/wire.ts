import type { JsonObject } from '#protocol'

/** A JSON object of a provider: any key may be missing, `null`, or of a type nobody expects. */
export type Fields = JsonObject

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An empty object for anything else. */
export function fields(value: unknown): Fields {
  return isFields(value) ? value : {}
}

/** An empty list for anything else. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** Empty for anything but text. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** `undefined` for anything but a non-negative safe integer. */
export function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

/** `undefined` for what is not JSON. */
export function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}
