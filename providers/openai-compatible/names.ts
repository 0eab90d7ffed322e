import { createHash } from 'node:crypto'
import type { ChatRequest } from '#protocol'

/** Tool names as the provider takes them, and back. */
export interface ToolNames {
  readonly changed: ReadonlyMap<string, string>
  toWire(name: string): string
  fromWire(name: string): string
}

const VALID = /^[a-zA-Z0-9_-]{1,64}$/
const MAX_LENGTH = 64

/**
 * Rewrites names that OpenAI's grammar (`[a-zA-Z0-9_-]{1,64}`) does not allow, such as the dotted
 * ones of MCP and Gemini. The same request gives the same names when the answer is read.
 */
export function toolNames(request: ChatRequest): ToolNames {
  const changed = new Map<string, string>()
  const back = new Map<string, string>()
  const given = new Set<string>()
  for (const tool of request.tools ?? []) given.add(tool.name)
  for (const message of request.messages) {
    if (message.role !== 'assistant') continue
    for (const part of message.content) if (part.type === 'tool-call') given.add(part.name)
  }
  for (const name of given) {
    if (VALID.test(name)) continue
    const plain = name.replaceAll(/[^a-zA-Z0-9_-]/g, '_').slice(0, MAX_LENGTH) || '_'
    const free = !given.has(plain) && !back.has(plain)
    const wire = free ? plain : `${plain.slice(0, MAX_LENGTH - 9)}_${digest(name).slice(0, 8)}`
    changed.set(name, wire)
    back.set(wire, name)
  }
  return {
    changed,
    toWire: (name) => changed.get(name) ?? name,
    fromWire: (name) => back.get(name) ?? name,
  }
}

/** An id no longer than the provider allows; the same id always becomes the same. */
export function shortCallId(id: string, longest = Infinity): string {
  return id.length <= longest ? id : `call_${digest(id).slice(0, 24)}`
}

function digest(name: string): string {
  return createHash('sha256').update(name).digest('hex')
}
