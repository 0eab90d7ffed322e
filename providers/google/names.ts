import type { ChatRequest } from '#protocol'

/** Letters, digits, `_`, `.`, `:` and `-`, a letter or underscore first (FunctionDeclaration). */
const VALID = /^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$/
const MAX_LENGTH = 128

/**
 * The reserved function a model before Gemini 3 answers through when the caller wants both
 * tools and a JSON schema, which those models refuse to take together.
 */
export const ANSWER_TOOL = 'tollgate_answer'

/** Tool names both ways; the same request always gives the same names. */
export interface ToolNames {
  toWire(name: string): string
  fromWire(name: string): string
}

export function toolNames(request: ChatRequest): ToolNames {
  const names = new Set(usedNames(request))
  const toWire = new Map<string, string>()
  const fromWire = new Map<string, string>()

  const taken = new Set([ANSWER_TOOL, ...[...names].filter((name) => VALID.test(name))])
  for (const name of names) {
    if (VALID.test(name)) continue
    const wireName = freeName(name, taken)
    taken.add(wireName)
    toWire.set(name, wireName)
    fromWire.set(wireName, name)
  }

  return {
    toWire: (name) => toWire.get(name) ?? name,
    fromWire: (name) => fromWire.get(name) ?? name,
  }
}

function* usedNames(request: ChatRequest): Generator<string> {
  for (const tool of request.tools ?? []) yield tool.name
  for (const message of request.messages) {
    if (message.role !== 'assistant') continue
    for (const part of message.content) if (part.type === 'tool-call') yield part.name
  }
}

function freeName(name: string, taken: ReadonlySet<string>): string {
  const clean = name.replace(/[^a-zA-Z0-9_.:-]/g, '_').replace(/^(?![a-zA-Z_])/, '_')
  let candidate = clean.slice(0, MAX_LENGTH)
  for (let count = 2; taken.has(candidate); count += 1) {
    const suffix = `_${count}`
    candidate = clean.slice(0, MAX_LENGTH - suffix.length) + suffix
  }
  return candidate
}
