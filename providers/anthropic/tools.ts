import { GatewayError } from '#errors'
import type { ChatRequest, CustomTool, FunctionTool, JsonObject, ToolChoice } from '#protocol'
import type { Draft } from './draft.ts'
import { adapted, lossy, mark } from './draft.ts'
import type { ModelTraits } from './models.ts'
import { describeLowering } from './output.ts'
import { lowerSchema } from './schema.ts'
import type { MessagesBody, Tool } from './wire.ts'

export interface EncodedTools {
  readonly tools?: Tool[]
  readonly choice?: NonNullable<MessagesBody['tool_choice']>
  /** The model must call a tool. */
  readonly forced: boolean
}

/** @throws GatewayError `invalid_value` for a tool choice that no tool of the request can meet */
export function encodeTools(request: ChatRequest, traits: ModelTraits, draft: Draft): EncodedTools {
  const allowed = request.toolChoice?.type === 'allowed' ? new Set(request.toolChoice.names) : null
  const tools: Tool[] = []
  for (const [index, tool] of (request.tools ?? []).entries()) {
    if (allowed && !allowed.has(tool.name)) continue
    const field = `tools[${index}]`
    if (draft.names.toWire(tool.name) !== tool.name) {
      adapted(draft, `${field}.function.name`, `sent as ${draft.names.toWire(tool.name)}`)
    }
    tools.push(
      tool.type === 'custom'
        ? customTool(tool, field, draft)
        : functionTool(tool, field, traits, draft),
    )
  }
  if (allowed) adapted(draft, 'tool_choice', 'only the allowed tools are sent')
  if (tools.length === 0) return withoutTools(request.toolChoice)
  const choice = encodeChoice(request, traits, draft)
  return {
    tools,
    ...(choice && { choice }),
    forced: choice?.type === 'any' || choice?.type === 'tool',
  }
}

function functionTool(tool: FunctionTool, field: string, traits: ModelTraits, draft: Draft): Tool {
  const strict = tool.strict === true && traits.jsonSchema
  if (tool.strict && !strict)
    lossy(draft, `${field}.function.strict`, 'not supported by this model')
  const parameters = inputSchema(tool.parameters)
  const lowered = strict ? lowerSchema(parameters) : undefined
  if (lowered) describeLowering(lowered, `${field}.function.parameters`, draft)
  const written: Tool = {
    name: draft.names.toWire(tool.name),
    ...(tool.description !== undefined && { description: tool.description }),
    input_schema: { type: 'object', ...lowered?.schema, ...(!lowered && parameters) },
    ...(strict && { strict }),
  }
  mark(draft, written, tool.cache, field)
  return written
}

/** `type: object` is wanted even where there is nothing to say. */
function inputSchema(parameters: JsonObject | undefined): JsonObject & { type: 'object' } {
  return { properties: {}, ...parameters, type: 'object' }
}

/** Free text goes in as the one argument of a function, and comes out of it again in the answer. */
function customTool(tool: CustomTool, field: string, draft: Draft): Tool {
  adapted(draft, field, 'sent as a function with the one argument "input"')
  const grammar = tool.format?.['type'] === 'grammar' ? JSON.stringify(tool.format) : undefined
  if (grammar) lossy(draft, `${field}.custom.format`, 'told to the model, not enforced')
  const description = [tool.description, grammar && `The input must match: ${grammar}`]
    .filter(Boolean)
    .join('\n\n')
  return {
    name: draft.names.toWire(tool.name),
    ...(description && { description }),
    input_schema: {
      type: 'object',
      properties: { input: { type: 'string' } },
      required: ['input'],
      additionalProperties: false,
    },
  }
}

function withoutTools(choice: ToolChoice | undefined): EncodedTools {
  const forced =
    choice?.type === 'required' ||
    choice?.type === 'tool' ||
    (choice?.type === 'allowed' && choice.mode === 'required')
  if (forced) {
    throw new GatewayError('invalid_value', 'The tool choice names no tool of the request', {
      param: 'tool_choice',
    })
  }
  return { forced: false }
}

function encodeChoice(
  request: ChatRequest,
  traits: ModelTraits,
  draft: Draft,
): NonNullable<MessagesBody['tool_choice']> | undefined {
  const single = request.parallelToolCalls === false
  const parallel = single ? { disable_parallel_tool_use: true } : {}
  const choice = request.toolChoice
  switch (choice?.type) {
    case undefined:
      return single ? { type: 'auto', ...parallel } : undefined
    case 'auto':
      return { type: 'auto', ...parallel }
    case 'none':
      return { type: 'none' }
    case 'tool':
      if (!request.tools?.some(({ name }) => name === choice.name)) {
        throw new GatewayError(
          'invalid_value',
          `No tool is called ${JSON.stringify(choice.name)}`,
          {
            param: 'tool_choice',
          },
        )
      }
      if (!traits.forcedTool) break
      return { type: 'tool', name: draft.names.toWire(choice.name), ...parallel }
    case 'allowed':
      if (choice.mode === 'auto') return { type: 'auto', ...parallel }
      if (!traits.forcedTool) break
      return { type: 'any', ...parallel }
    case 'required':
      if (!traits.forcedTool) break
      return { type: 'any', ...parallel }
  }
  lossy(draft, 'tool_choice', 'this model can not be forced to call a tool')
  return { type: 'auto', ...parallel }
}
