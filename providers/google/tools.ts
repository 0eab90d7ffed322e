import type { ChatRequest, JsonObject, Tool as AskedTool, ToolChoice } from '#protocol'
import { GatewayError } from '#errors'
import { CACHES, type ChangeLog } from './changes.ts'
import type { ModelTraits } from './models.ts'
import { ANSWER_TOOL, type ToolNames } from './names.ts'
import type { FunctionDeclaration, GenerationConfig, ToolConfig } from './wire.ts'

export interface ToolsAndFormat {
  readonly declarations: readonly FunctionDeclaration[]
  readonly toolConfig: ToolConfig
  readonly format: Pick<GenerationConfig, 'responseMimeType' | 'responseJsonSchema'>
}

/** What a custom tool's free text is wrapped in, for a wire that knows JSON arguments only. */
const FREE_TEXT: JsonObject = {
  type: 'object',
  properties: { input: { type: 'string' } },
  required: ['input'],
}

/** Whether the answer tool stands for the caller's schema; the answer is then unwrapped. */
export function answersThroughTool(request: ChatRequest): boolean {
  return (
    request.responseFormat?.type === 'json-schema' &&
    (request.tools ?? []).every((tool) => tool.name !== ANSWER_TOOL)
  )
}

/**
 * Tools, tool choice and answer format, which depend on one another.
 *
 * Models before Gemini 3 refuse a response format beside tools ("Function calling with a
 * response mime type: 'application/json' is unsupported"). A JSON schema then becomes one
 * more function, and the model has to call one of them.
 */
export function toolsAndFormat(
  request: ChatRequest,
  traits: ModelTraits,
  names: ToolNames,
  log: ChangeLog,
): ToolsAndFormat {
  const tools = request.tools ?? []
  const declarations = tools.map((tool, at) => declaration(tool, `tools[${at}]`, names, log))
  const choice = request.toolChoice ?? { type: 'auto' }
  const toolConfig = tools.length === 0 ? {} : choiceConfig(request, choice, names)
  const format = formatConfig(request)

  if (request.parallelToolCalls === false && tools.length > 0)
    log.lossy('parallel_tool_calls', 'google cannot forbid parallel calls')
  if (tools.length === 0 || format.responseMimeType === undefined || traits.generation >= 3)
    return { declarations, toolConfig, format }

  const note = `${request.responseFormat?.type} beside tools is refused by models before Gemini 3`
  if (choice.type === 'none') {
    log.adapted('tools', `left out, as none may be called: ${note}`)
    return { declarations: [], toolConfig: {}, format }
  }
  if (choice.type === 'required' || choice.type === 'tool' || isRequired(choice)) {
    log.adapted('response_format', `left out, as the answer has to be a tool call: ${note}`)
    return { declarations, toolConfig, format: {} }
  }
  if (request.responseFormat?.type !== 'json-schema' || !answersThroughTool(request)) {
    log.lossy('response_format', note)
    return { declarations, toolConfig, format: {} }
  }
  log.adapted('response_format', `asked for as a function call: ${note}`)
  return {
    declarations: [...declarations, answerTool(request.responseFormat)],
    toolConfig: calling('ANY', choice.type === 'allowed' ? allowed(choice.names) : undefined),
    format: {},
  }

  function allowed(asked: readonly string[]): string[] {
    return [...asked.map((name) => names.toWire(name)), ANSWER_TOOL]
  }
}

function isRequired(choice: ToolChoice): boolean {
  return choice.type === 'allowed' && choice.mode === 'required'
}

function declaration(
  tool: AskedTool,
  field: string,
  names: ToolNames,
  log: ChangeLog,
): FunctionDeclaration {
  const name = names.toWire(tool.name)
  if (name !== tool.name)
    log.adapted(`${field}.function.name`, `sent as ${name}, and given back as asked`)
  const described = {
    name,
    ...(tool.description !== undefined && { description: tool.description }),
  }

  if (tool.type === 'custom') {
    log.adapted(field, 'a custom tool is sent as a function of one string')
    if (tool.format !== undefined && tool.format['type'] !== 'text')
      log.lossy(`${field}.custom.format`, 'google knows no grammars')
    return { ...described, parametersJsonSchema: FREE_TEXT }
  }
  if (tool.cache !== undefined) log.adapted(`${field}.cache_control`, CACHES)
  return {
    ...described,
    ...(tool.parameters !== undefined && { parametersJsonSchema: tool.parameters }),
  }
}

/** `strict` has no field of its own; VALIDATED checks every call against its schema, as ANY does. */
function choiceConfig(request: ChatRequest, choice: ToolChoice, names: ToolNames): ToolConfig {
  const strict = request.tools?.some((tool) => tool.type === 'function' && tool.strict === true)
  if (choice.type === 'none') return calling('NONE')
  if (choice.type === 'required') return calling('ANY')
  if (choice.type === 'tool') return calling('ANY', [names.toWire(choice.name)])
  if (choice.type === 'allowed')
    // A list of names is an error beside AUTO.
    return calling(
      choice.mode === 'required' ? 'ANY' : 'VALIDATED',
      choice.names.map((name) => names.toWire(name)),
    )
  if (strict === true) return calling('VALIDATED')
  return request.toolChoice === undefined ? {} : calling('AUTO')
}

function calling(
  mode: NonNullable<ToolConfig['functionCallingConfig']>['mode'],
  allowedFunctionNames?: string[],
): ToolConfig {
  return { functionCallingConfig: { mode, ...(allowedFunctionNames && { allowedFunctionNames }) } }
}

function formatConfig(request: ChatRequest): ToolsAndFormat['format'] {
  const format = request.responseFormat
  if (format === undefined || format.type === 'text') return {}
  if (format.type === 'json-object') return { responseMimeType: 'application/json' }
  const described =
    format.description === undefined || 'description' in format.schema
      ? format.schema
      : { description: format.description, ...format.schema }
  return { responseMimeType: 'application/json', responseJsonSchema: described }
}

function answerTool(
  format: Extract<ChatRequest['responseFormat'], { type: 'json-schema' }>,
): FunctionDeclaration {
  if (format.schema['type'] !== 'object')
    throw new GatewayError(
      'unsupported_feature',
      'Models before Gemini 3 take a schema beside tools only when it describes an object',
      { param: 'response_format' },
    )
  return {
    name: ANSWER_TOOL,
    description: format.description ?? format.name,
    parametersJsonSchema: format.schema,
  }
}
