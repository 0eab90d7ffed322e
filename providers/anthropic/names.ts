import type { ChatRequest } from '#protocol'

/** The names of the request's tools as Anthropic takes them, and back. */
export interface ToolNames {
  toWire(name: string): string
  /** The name as the caller wrote it, for a name in an answer. */
  toCaller(name: string): string
  /** Whether a tool, by the caller's name, takes free text. */
  isCustom(name: string): boolean
}

const VALID = /^[a-zA-Z0-9_-]{1,128}$/
const INVALID_CHARACTERS = /[^a-zA-Z0-9_-]/g

/** Both directions come from the request alone, so that a stream's reader agrees with what was sent. */
export function toolNames(request: ChatRequest): ToolNames {
  const wire = new Map<string, string>()
  const caller = new Map<string, string>()
  const custom = new Set<string>()
  const taken = new Map<string, number>()
  for (const tool of request.tools ?? []) {
    if (VALID.test(tool.name)) taken.set(tool.name, 1)
    if (tool.type === 'custom') custom.add(tool.name)
  }
  const toWire = (name: string): string => {
    if (VALID.test(name)) return name
    const known = wire.get(name)
    if (known !== undefined) return known
    const made = unused(name.replace(INVALID_CHARACTERS, '_') || 'tool', 128, taken)
    wire.set(name, made)
    caller.set(made, name)
    return made
  }
  for (const tool of request.tools ?? []) toWire(tool.name)
  return {
    toWire,
    toCaller: (name) => caller.get(name) ?? name,
    isCustom: (name) => custom.has(name),
  }
}

/**
 * Takes a name that nobody has: `name` itself, shortened, or with a number.
 *
 * @param taken every name taken, with the last number tried on it, so that a thousand equal
 *   names do not cost a million tries
 */
export function unused(name: string, length: number, taken: Map<string, number>): string {
  const base = name.slice(0, length)
  let candidate = base
  let number = taken.get(base) ?? 1
  while (taken.has(candidate)) {
    number += 1
    const suffix = `_${number}`
    candidate = base.slice(0, length - suffix.length) + suffix
  }
  if (candidate !== base) taken.set(base, number)
  taken.set(candidate, 1)
  return candidate
}

/** A tool call's id in the characters Anthropic takes (`functions.get:0` is not). */
export function wireId(id: string): string {
  return id.replace(INVALID_CHARACTERS, '_') || 'call'
}
