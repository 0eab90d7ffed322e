import type { Kind } from './explained.ts'
import { fields, isFields, list, objects, spoken, text } from './json.ts'
import type { Fields } from './json.ts'

/**
 * Anthropic's requests in OpenAI's words, and in a form of their own in which two requests that
 * mean the same are equal.
 *
 * @see https://platform.claude.com/docs/en/api/messages
 */

/** Options of the Messages API that callers may send beside OpenAI's fields. */
const OWN = ['container', 'context_management', 'mcp_servers', 'cache_control', 'service_tier']

/** Takes out what an OpenAI request cannot say. */
export function sayable(body: Fields, unsaid: Set<Kind>): Fields {
  const tools = objects(body['tools']).flatMap((tool) => {
    const { type, defer_loading: deferred, ...rest } = spoken(tool)
    if (deferred !== undefined) unsaid.add('deferred-tools')
    if (type === undefined || type === 'custom') return [rest]
    unsaid.add('server-tools')
    return []
  })
  const messages = objects(body['messages']).flatMap((message) => {
    const { role, content } = message
    if (!Array.isArray(content)) return [message]
    const blocks = list(content).flatMap((block) =>
      typeof block === 'string' ? [{ type: 'text', text: block }] : sayableBlock(block, unsaid),
    )
    return blocks.length === 0 ? [] : [{ role, content: blocks }]
  })
  const { tools: _tools, tool_choice: choice, ...rest } = body
  const { name: chosen } = fields(choice)
  const isChosen = chosen === undefined || tools.some(({ name }) => name === chosen)
  return {
    ...spoken(rest),
    messages,
    ...(tools.length > 0 && { tools }),
    ...(tools.length > 0 && isChosen && choice !== undefined && { tool_choice: choice }),
  }
}

const BLOCKS = new Set([
  'text',
  'image',
  'document',
  'thinking',
  'redacted_thinking',
  'tool_use',
  'tool_result',
])

function sayableBlock(block: unknown, unsaid: Set<Kind>): Fields[] {
  if (!isFields(block)) return []
  const { type } = block
  if (!BLOCKS.has(text(type))) {
    unsaid.add(
      type === 'tool_addition' || type === 'tool_reference'
        ? 'deferred-tools'
        : type === 'container_upload'
          ? 'server-tools'
          : type === 'search_result'
            ? 'document-blocks'
            : 'server-turns',
    )
    return []
  }
  if (type === 'document' && fields(block['source'])['type'] === 'content') {
    unsaid.add('document-blocks')
    return []
  }
  const { citations, caller: _caller, ...rest } = spoken(block)
  if (type === 'text' && list(citations).length > 0) unsaid.add('history-citations')
  if (type === 'document' && fields(citations)['enabled'] === true) unsaid.add('document-citations')
  if (type === 'image' && fields(block['source'])['type'] === 'file') {
    unsaid.add('image-by-id')
    return []
  }
  if (type !== 'tool_result' || !Array.isArray(block['content'])) return [rest]
  return [
    { ...rest, content: list(block['content']).flatMap((each) => sayableBlock(each, unsaid)) },
  ]
}

/** A request that {@link sayable} has been through, as a user of OpenAI's SDK would write it. */
export function toOpenAI(body: Fields): Fields {
  const config = fields(body['output_config'])
  const { effort, format = body['output_format'], ...rest } = config
  const thinking = fields(body['thinking'])
  const thinks = thinking['type'] === 'adaptive' && effort !== undefined
  return {
    model: body['model'],
    messages: [...systemMessages(body['system']), ...objects(body['messages']).flatMap(toMessages)],
    max_completion_tokens: body['max_tokens'],
    temperature: body['temperature'],
    top_p: body['top_p'],
    top_k: body['top_k'],
    stop: body['stop_sequences'],
    user: fields(body['metadata'])['user_id'],
    ...(body['stream'] === true && { stream: true, stream_options: { include_usage: true } }),
    ...toTools(body),
    ...(format !== undefined && {
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'response', strict: true, schema: fields(format)['schema'] },
      },
    }),
    // Thinking that the model doses itself is OpenAI's effort; else both stand as they are.
    ...(thinks ? { reasoning_effort: effort } : { thinking: body['thinking'] }),
    ...((effort !== undefined && !thinks) || Object.keys(rest).length > 0
      ? { output_config: { ...rest, ...(!thinks && effort !== undefined && { effort }) } }
      : {}),
    ...Object.fromEntries(OWN.map((name) => [name, body[name]])),
  }
}

function toTools(body: Fields): Fields {
  const tools = objects(body['tools'])
  const choice = fields(body['tool_choice'])
  const single = choice['disable_parallel_tool_use']
  const modes: Readonly<Record<string, unknown>> = {
    auto: 'auto',
    any: 'required',
    none: 'none',
    tool: { type: 'function', function: { name: choice['name'] } },
  }
  return {
    ...(tools.length > 0 && {
      tools: tools.map(({ name, description, input_schema, strict, cache_control }) => ({
        type: 'function',
        function: { name, description, parameters: input_schema, strict },
        cache_control,
      })),
    }),
    tool_choice: modes[text(choice['type'])],
    ...(typeof single === 'boolean' && { parallel_tool_calls: !single }),
  }
}

function systemMessages(system: unknown): Fields[] {
  if (system === undefined) return []
  const content = typeof system === 'string' ? system : objects(system).map(toPart)
  return [{ role: 'system', content }]
}

function toMessages(message: Fields): Fields[] {
  const { role, content } = message
  if (!Array.isArray(content)) return [{ role, content }]
  const blocks = objects(content)
  if (role === 'assistant') return assistantMessages(blocks)
  if (role === 'system') return [{ role, content: blocks.map(toPart) }]
  const rest = blocks.filter(({ type }) => type !== 'tool_result')
  return [
    ...blocks.filter(({ type }) => type === 'tool_result').map(toToolMessage),
    ...(rest.length > 0 ? [{ role, content: rest.map(toPart) }] : []),
  ]
}

function toToolMessage(block: Fields): Fields {
  const { tool_use_id, content, is_error, cache_control } = block
  return {
    role: 'tool',
    tool_call_id: tool_use_id,
    content: Array.isArray(content) ? objects(content).map(toPart) : text(content),
    ...(is_error === true && { is_error }),
    cache_control,
  }
}

function toPart(block: Fields): Fields {
  const { cache_control } = block
  const source = fields(block['source'])
  const bytes = `data:${text(source['media_type'])};base64,${text(source['data'])}`
  if (block['type'] === 'image') {
    const url = source['type'] === 'url' ? source['url'] : bytes
    return { type: 'image_url', image_url: { url }, cache_control }
  }
  if (block['type'] !== 'document') return { type: 'text', text: block['text'], cache_control }
  const filename = block['title']
  const words = Buffer.from(text(source['data'])).toString('base64')
  const forms: Readonly<Record<string, Fields>> = {
    base64: { file_data: bytes },
    text: { file_data: `data:text/plain;base64,${words}` },
    url: { file_url: source['url'] },
    file: { file_id: source['file_id'] },
  }
  return { type: 'file', file: { filename, ...forms[text(source['type'])] }, cache_control }
}

/** Reasoning, text and calls stand in this order in an OpenAI message: a new one where they do not. */
function assistantMessages(blocks: readonly Fields[]): Fields[] {
  const ranks: Readonly<Record<string, number>> = { text: 1, tool_use: 2 }
  const groups: Fields[][] = []
  let last = Number.POSITIVE_INFINITY
  for (const block of blocks) {
    const rank = ranks[text(block['type'])] ?? 0
    if (rank < last && (rank < 2 || groups.length === 0)) groups.push([])
    if (groups.length === 0) groups.push([])
    groups.at(-1)?.push(block)
    last = rank
  }
  return groups.map((group) => {
    const thoughts = group.filter(({ type }) => text(type).includes('thinking'))
    const words = group.filter(({ type }) => type === 'text')
    const calls = group.filter(({ type }) => type === 'tool_use')
    return {
      role: 'assistant',
      content: words.length === 0 ? null : words.map(toPart),
      ...(thoughts.length > 0 && { thinking_blocks: thoughts }),
      ...(calls.length > 0 && {
        tool_calls: calls.map(({ id, name, input, cache_control }) => ({
          id,
          type: 'function',
          function: { name, arguments: JSON.stringify(input) },
          cache_control,
        })),
      }),
    }
  })
}

/** By member of the form below, the caller's fields that a change of it may be declared under. */
export const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  max_tokens: ['max_completion_tokens', 'max_tokens'],
  temperature: ['temperature'],
  top_p: ['top_p'],
  top_k: ['top_k'],
  stop: ['stop'],
  system: ['messages', 'response_format'],
  messages: ['messages'],
  tools: ['tools'],
  choice: ['tool_choice', 'tools'],
  thinking: ['reasoning_effort', 'reasoning', 'thinking'],
  effort: ['reasoning_effort', 'reasoning', 'thinking'],
  format: ['response_format'],
  user: ['user'],
  cache: ['cache_control'],
}

/** The form in which two requests that mean the same are equal. */
export function canonical(body: Fields): Fields {
  const config = fields(body['output_config'])
  const { effort, format, ...rest } = config
  const choice = fields(body['tool_choice'])
  return {
    model: body['model'],
    max_tokens: body['max_tokens'],
    // Its own default is left out where it would be refused.
    temperature: body['temperature'] === 1 ? undefined : body['temperature'],
    top_p: body['top_p'],
    top_k: body['top_k'],
    stop: body['stop_sequences'],
    stream: body['stream'] === true,
    system: blocksOf(body['system']),
    messages: turns(objects(body['messages'])),
    tools: objects(body['tools']).map(canonicalTool),
    // `auto` is what the absence of a choice means.
    choice: {
      type: choice['type'] ?? (objects(body['tools']).length > 0 ? 'auto' : undefined),
      name: choice['name'],
      single: choice['disable_parallel_tool_use'] === true,
    },
    thinking: canonicalThinking(fields(body['thinking'])),
    effort,
    output: rest,
    format: fields(format ?? body['output_format'])['schema'],
    user: fields(body['metadata'])['user_id'],
    ...Object.fromEntries(OWN.map((name) => [name, body[name]])),
  }
}

/**
 * How thoughts are shown is left to the provider by some requests, and said by the gateway; most
 * models do not think unless told to.
 */
function canonicalThinking({ type, budget_tokens }: Fields): Fields {
  return { type: type === 'disabled' ? undefined : type, budget_tokens }
}

function canonicalTool({ name, description, input_schema, strict, cache_control }: Fields): Fields {
  return {
    name,
    description,
    schema: { properties: {}, ...fields(input_schema) },
    strict: strict === true,
    cache: cache_control,
  }
}

function blocksOf(content: unknown): Fields[] {
  if (content === undefined) return []
  if (!Array.isArray(content)) return [{ type: 'text', text: content }]
  return objects(content).map(canonicalBlock)
}

function turns(messages: readonly Fields[]): Fields[] {
  const merged: { role: unknown; blocks: Fields[] }[] = []
  for (const { role, content } of messages) {
    const last = merged.at(-1)
    if (last?.role === role) last?.blocks.push(...blocksOf(content))
    else merged.push({ role, blocks: blocksOf(content) })
  }
  return merged.map(({ role, blocks }) => {
    const results = blocks.filter(({ type }) => type === 'tool_result')
    return { role, blocks: [...results, ...blocks.filter((block) => !results.includes(block))] }
  })
}

function canonicalBlock(block: Fields): Fields {
  const { type, cache_control: cache } = block
  switch (type) {
    case 'tool_use':
      return { type, id: block['id'], name: block['name'], input: block['input'], cache }
    case 'tool_result': {
      const inside = blocksOf(block['content'] ?? [])
      const words = inside.filter(({ text: said }) => said !== '')
      return { type, id: block['tool_use_id'], error: block['is_error'] === true, words, cache }
    }
    case 'document':
      return { type, source: block['source'], title: block['title'] ?? undefined, cache }
    case 'image':
      return { type, source: block['source'], cache }
    case 'thinking':
      return { type, text: block['thinking'], signature: block['signature'] }
    case 'redacted_thinking':
      return { type, data: block['data'] }
    default:
      return { type, text: block['text'], cache }
  }
}

/** Whether a request uses what only the beta of the API has a schema for. */
export function isBeta(body: Fields): boolean {
  const beta = [...OWN.slice(0, 3), 'speed']
  return (
    beta.some((name) => body[name] !== undefined) || 'task_budget' in fields(body['output_config'])
  )
}
