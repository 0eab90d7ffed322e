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
  for (const tool of request.tools ?? []) {
    if (VALID.test(tool.name)) caller.set(tool.name, tool.name)
    if (tool.type === 'custom') custom.add(tool.name)
  }
  const toWire = (name: string): string => {
    if (VALID.test(name)) return name
    const known = wire.get(name)
    if (known !== undefined) return known
    const made = unused(name.replace(INVALID_CHARACTERS, '_') || 'tool', 128, caller)
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

/** `name`, shortened and numbered until nothing in `taken` has it. */
export function unused(
  name: string,
  length: number,
  taken: { has(name: string): boolean },
): string {
  let candidate = name.slice(0, length)
  for (let n = 2; taken.has(candidate); n += 1) {
    const suffix = `_${n}`
    candidate = name.slice(0, length - suffix.length) + suffix
  }
  return candidate
}

/** A tool call's id in the characters Anthropic takes (`functions.get:0` is not). */
export function wireId(id: string): string {
  return id.replace(INVALID_CHARACTERS, '_') || 'call'
}
