import { type AskedTool, type ChatAsked, Refusal } from './chat-request.ts'
import { valueFor } from './from-schema.ts'
import { randomId, type Random } from './random.ts'
import { namesIn } from './samples.ts'
import { isSchema } from './schema.ts'

export interface SimulatedCall {
  readonly id: string
  readonly type: 'function' | 'custom'
  readonly name: string
  readonly arguments: string
}

/** Words a tool's name begins with that say nothing of its subject. */
const VERBS = new Set(
  'get list find search fetch look lookup read set create make do run call show query use'.split(
    ' ',
  ),
)

/**
 * Which tools to call.
 *
 * `none`, or no tools: none. A named tool: that one. `required`: those the last user message
 * mentions, else the first. `auto`: those it mentions, unless the tools have just answered.
 * A tool is mentioned by its name, or by all words of its name but a leading verb: "the
 * weather in Oslo" mentions `get_weather`. Without parallel calls, the first of them.
 *
 * @throws Refusal 400 where a call is demanded of a tool that is not offered
 */
export function toolsToCall(asked: ChatAsked, prompt: string): readonly AskedTool[] {
  const { mode, names } = asked.toolChoice
  if (mode === 'none') return []
  const offered = asked.tools.filter(({ name }) => names?.includes(name) ?? true)
  if (mode === 'required' && offered.length === 0) {
    throw new Refusal(400, "Invalid 'tool_choice': no such tool is offered", {
      code: 'invalid_value',
      param: 'tool_choice',
    })
  }
  if (mode === 'auto' && (asked.model === 'echo' || asked.messages.at(-1)?.['role'] === 'tool')) {
    return []
  }
  const words = new Set(
    prompt
      .toLowerCase()
      .match(/[\p{L}\p{N}_.-]+/gu)
      ?.flatMap(forms),
  )
  const mentioned = offered.filter(({ name }) => isMentioned(name, words))
  const chosen = mode === 'required' && mentioned.length === 0 ? offered.slice(0, 1) : mentioned
  return asked.parallel ? chosen : chosen.slice(0, 1)
}

/** A word as written, without the full stop of its sentence, without a plural. */
function forms(word: string): string[] {
  const bare = word.replace(/[.-]+$/, '')
  return [word, bare, bare.replace(/s$/, '')]
}

function isMentioned(name: string, words: ReadonlySet<string>): boolean {
  if (words.has(name.toLowerCase())) return true
  const parts = name
    .replaceAll(/([a-z\d])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
  const subject = parts.filter((part, index) => part !== '' && (index > 0 || !VERBS.has(part)))
  return subject.length > 0 && subject.every((part) => words.has(part))
}

export function callTool(tool: AskedTool, prompt: string, random: Random): SimulatedCall {
  const id = `call_${randomId(random, 24)}`
  if (tool.type === 'custom') {
    return { id, type: 'custom', name: tool.name, arguments: prompt.slice(0, 200) }
  }
  const schema = isSchema(tool.parameters) ? tool.parameters : true
  const value = valueFor(schema, random, namesIn(prompt))
  return { id, type: 'function', name: tool.name, arguments: JSON.stringify(value) }
}
