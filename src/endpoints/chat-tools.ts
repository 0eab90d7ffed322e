import type { FunctionTool, JsonObject, JsonValue, Tool, ToolChoice } from '#protocol'
import { readCache } from './chat-content.ts'
import {
  at,
  booleanAt,
  carryUnknown,
  choiceAt,
  fieldsAt,
  invalid,
  isFields,
  isList,
  listAt,
  nameAt,
  names,
  pathOf,
  refuse,
  refuseChoice,
  textAt,
} from './fields.ts'
import type { Carried, Place } from './fields.ts'

/** Tools and choice, from today's fields or from the legacy `functions` and `function_call`. */
export function readTools(
  body: JsonObject,
  carried: Carried,
): { readonly tools?: readonly Tool[]; readonly toolChoice?: ToolChoice } {
  const tools: Tool[] = []
  const listed = listAt(body, 'tools', undefined) ?? []
  for (const [index, tool] of listed.entries()) {
    const read = readTool(tool, at(at(undefined, 'tools'), index), carried)
    if (read !== undefined) tools.push(read)
  }
  const functions = listAt(body, 'functions', undefined) ?? []
  for (const [index, one] of functions.entries()) {
    const place = at(at(undefined, 'functions'), index)
    tools.push(isFields(one) ? readFunction(one, place, carried) : refuse(place, 'an object', one))
  }
  const choice = readToolChoice(body) ?? readFunctionCall(body)
  const offered = listed.length + functions.length
  // Without tools, `auto` and `none` say nothing, and some providers refuse them.
  if (offered === 0 && (choice?.type === 'auto' || choice?.type === 'none')) return {}
  if (choice !== undefined && offered === 0) {
    throw invalid(at(undefined, choiceField(body)), 'no tools are offered to choose from')
  }
  if (tools.length === offered) checkNames(choice, tools, choiceField(body))
  return {
    ...(tools.length === 0 ? {} : { tools }),
    ...(choice === undefined ? {} : { toolChoice: choice }),
  }
}

/** Whether the caller speaks of functions in the legacy way, and is to be answered so. */
export function speaksOfFunctions(body: JsonObject): boolean {
  return isList(body['functions']) && !isList(body['tools'])
}

const TOOL_FIELDS = names('type function cache_control prompt_cache_breakpoint')
const CUSTOM_TOOL_FIELDS = names('type custom')

/** @returns nothing for a kind of tool we have no word for; it is carried under its path */
function readTool(tool: JsonValue, place: Place, carried: Carried): Tool | undefined {
  if (!isFields(tool)) return refuse(place, 'a tool object', tool)
  const type = tool['type'] ?? (isFields(tool['function']) ? 'function' : undefined)
  if (type === 'custom') {
    carryUnknown(tool, CUSTOM_TOOL_FIELDS, place, carried)
    return readCustom(tool, place)
  }
  if (type === 'function') {
    carryUnknown(tool, TOOL_FIELDS, place, carried)
    const described = fieldsAt(tool, 'function', place)
    const within = at(place, 'function')
    if (described === undefined) return refuse(within, 'an object with a name', described)
    const read = readFunction(described, within, carried)
    const cache = readCache(tool, place)
    return cache === undefined ? read : { ...read, cache }
  }
  nameAt(tool, 'type', place)
  carried[pathOf(place)] = tool
  return undefined
}

const FUNCTION_FIELDS = names(
  'name description parameters strict cache_control prompt_cache_breakpoint',
)

function readFunction(described: JsonObject, place: Place, carried: Carried): FunctionTool {
  carryUnknown(described, FUNCTION_FIELDS, place, carried)
  const description = textAt(described, 'description', place)
  const parameters = fieldsAt(described, 'parameters', place)
  const strict = booleanAt(described, 'strict', place)
  const cache = readCache(described, place)
  return {
    type: 'function',
    name: nameAt(described, 'name', place),
    ...(description === undefined ? {} : { description }),
    ...(parameters === undefined ? {} : { parameters }),
    ...(strict === undefined ? {} : { strict }),
    ...(cache === undefined ? {} : { cache }),
  }
}

function readCustom(tool: JsonObject, place: Place): Tool {
  const custom = fieldsAt(tool, 'custom', place)
  const within = at(place, 'custom')
  if (custom === undefined) return refuse(within, 'an object with a name', custom)
  const description = textAt(custom, 'description', within)
  const format = fieldsAt(custom, 'format', within)
  return {
    type: 'custom',
    name: nameAt(custom, 'name', within),
    ...(description === undefined ? {} : { description }),
    ...(format === undefined ? {} : { format }),
  }
}

const MODES = ['auto', 'none', 'required'] as const

function readToolChoice(body: JsonObject): ToolChoice | undefined {
  const choice = body['tool_choice']
  const place = at(undefined, 'tool_choice')
  if (choice === undefined || choice === null) return undefined
  if (typeof choice === 'string') {
    const type = choiceAt(body, 'tool_choice', undefined, MODES)
    return type === undefined ? undefined : { type }
  }
  if (!isFields(choice)) return refuse(place, 'a string or an object', choice)
  if (choice['type'] === 'allowed_tools') return readAllowed(choice, place)
  return { type: 'tool', name: chosenName(choice, place) }
}

function readAllowed(choice: JsonObject, place: Place): ToolChoice {
  const allowed = fieldsAt(choice, 'allowed_tools', place)
  const within = at(place, 'allowed_tools')
  if (allowed === undefined) return refuse(within, 'an object with mode and tools', allowed)
  const mode = choiceAt(allowed, 'mode', within, ['auto', 'required'])
  const tools = listAt(allowed, 'tools', within)
  if (mode === undefined) return refuseChoice(at(within, 'mode'), ['auto', 'required'], mode)
  if (tools === undefined || tools.length === 0) {
    return refuse(at(within, 'tools'), 'at least one tool', tools)
  }
  const allowedNames = tools.map((tool, index) => {
    const one = at(at(within, 'tools'), index)
    return isFields(tool) ? chosenName(tool, one) : refuse(one, 'an object', tool)
  })
  return { type: 'allowed', mode, names: allowedNames }
}

/** Hugging Face's users leave the type out. */
function chosenName(choice: JsonObject, place: Place): string {
  const type = choice['type'] ?? 'function'
  if (type !== 'function' && type !== 'custom') {
    return refuseChoice(at(place, 'type'), ['function', 'custom', 'allowed_tools'], type)
  }
  const chosen = fieldsAt(choice, type, place)
  const within = at(place, type)
  return chosen === undefined
    ? refuse(within, 'an object with a name', chosen)
    : nameAt(chosen, 'name', within)
}

function readFunctionCall(body: JsonObject): ToolChoice | undefined {
  const call = body['function_call']
  if (call === undefined || call === null) return undefined
  if (call === 'auto' || call === 'none') return { type: call }
  const place = at(undefined, 'function_call')
  if (!isFields(call)) return refuseChoice(place, ['auto', 'none'], call)
  return { type: 'tool', name: nameAt(call, 'name', place) }
}

function choiceField(body: JsonObject): string {
  return isList(body['functions']) && !isList(body['tools']) ? 'function_call' : 'tool_choice'
}

function checkNames(choice: ToolChoice | undefined, tools: readonly Tool[], field: string): void {
  if (choice?.type !== 'tool' && choice?.type !== 'allowed') return
  const chosen = choice.type === 'tool' ? [choice.name] : choice.names
  for (const name of chosen) {
    if (tools.some((tool) => tool.name === name)) continue
    const shown = name.length <= 64 ? `"${name}"` : 'the tool chosen'
    throw invalid(at(undefined, field), `${shown} is not among the tools`)
  }
}
