import { z } from 'zod'
import { callArguments, fragments, frame, pieces, sign } from './said.ts'
import type { Said } from './said.ts'
import type { Character } from './stand-in.ts'

const CREDENTIAL = 'sk-ant-stand-in'
const MODEL = 'claude-sonnet-4-5-20250929'
const ID = 'msg_01StandIn'

const cacheControl = z.strictObject({
  type: z.literal('ephemeral'),
  ttl: z.enum(['5m', '1h']).optional(),
})
const text = z.strictObject({
  type: z.literal('text'),
  text: z.string().regex(/\S/, 'text content blocks must be non-empty'),
  cache_control: cacheControl.optional(),
})
const image = z.strictObject({
  type: z.literal('image'),
  source: z.union([
    z.strictObject({
      type: z.literal('base64'),
      media_type: z.enum(['image/png', 'image/jpeg', 'image/gif', 'image/webp']),
      data: z.base64(),
    }),
    z.strictObject({ type: z.literal('url'), url: z.string().regex(/^https:/) }),
  ]),
})
const toolResult = z.strictObject({
  type: z.literal('tool_result'),
  tool_use_id: z.string(),
  content: z.union([z.string(), z.array(z.union([text, image]))]).optional(),
  is_error: z.boolean().optional(),
})
const toolUse = z.strictObject({
  type: z.literal('tool_use'),
  id: z.string().regex(/^[a-zA-Z0-9_-]+$/),
  name: z.string(),
  input: z.record(z.string(), z.unknown()),
})
const thinking = z
  .strictObject({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() })
  .refine(
    (block) => block.signature === sign(block.thinking),
    'Invalid signature in thinking block',
  )

const user = z.strictObject({
  role: z.literal('user'),
  content: z.union([z.string().min(1), z.array(z.union([text, image, toolResult])).min(1)]),
})
const assistant = z.strictObject({
  role: z.literal('assistant'),
  content: z.union([z.string().min(1), z.array(z.union([text, toolUse, thinking])).min(1)]),
})
type Message = z.infer<typeof user> | z.infer<typeof assistant>

const messages = z
  .strictObject({
    model: z.string(),
    max_tokens: z.int().min(1),
    messages: z.array(z.union([user, assistant])).min(1),
    system: z.union([z.string(), z.array(text).min(1)]).optional(),
    stream: z.boolean().optional(),
    temperature: z.number().min(0).max(1).optional(),
    top_p: z.number().min(0).max(1).optional(),
    top_k: z.int().min(0).optional(),
    stop_sequences: z.array(z.string().regex(/\S/)).optional(),
    metadata: z.strictObject({ user_id: z.string().max(512) }).optional(),
    tools: z
      .array(
        z.strictObject({
          name: z.string().regex(/^[a-zA-Z0-9_-]{1,128}$/),
          description: z.string().optional(),
          input_schema: z.looseObject({ type: z.literal('object') }),
          strict: z.boolean().optional(),
        }),
      )
      .optional(),
    tool_choice: z
      .union([
        z.strictObject({
          type: z.enum(['auto', 'any']),
          disable_parallel_tool_use: z.boolean().optional(),
        }),
        z.strictObject({
          type: z.literal('tool'),
          name: z.string(),
          disable_parallel_tool_use: z.boolean().optional(),
        }),
        z.strictObject({ type: z.literal('none') }),
      ])
      .optional(),
    thinking: z
      .union([
        z.strictObject({ type: z.literal('enabled'), budget_tokens: z.int().min(1024) }),
        z.strictObject({ type: z.literal('disabled') }),
      ])
      .optional(),
    output_config: z
      .strictObject({
        format: z.strictObject({
          type: z.literal('json_schema'),
          schema: z.record(z.string(), z.unknown()),
        }),
      })
      .optional(),
  })
  .superRefine((body, context) => {
    const complain = (message: string): void => context.addIssue({ code: 'custom', message })
    const thinks = body.thinking?.type === 'enabled'
    if (body.thinking?.type === 'enabled' && body.thinking.budget_tokens >= body.max_tokens) {
      complain('`max_tokens` must be greater than `thinking.budget_tokens`')
    }
    if (thinks && body.temperature !== undefined && body.temperature !== 1) {
      complain('`temperature` may only be set to 1 when thinking is enabled')
    }
    if (body.messages[0]?.role !== 'user') complain('first message must use the "user" role')
    for (const [index, message] of body.messages.entries()) {
      const problem = turnProblem(message, body.messages[index - 1], thinks)
      if (problem !== undefined) complain(`messages.${index}: ${problem}`)
    }
  })

/** What the API says of turns that do not follow from one another. */
function turnProblem(
  message: Message,
  before: Message | undefined,
  thinks: boolean,
): string | undefined {
  if (before?.role === message.role) return 'roles must alternate'
  if (message.role === 'user') {
    const asked = blocksOf(before).filter((block) => block.type === 'tool_use')
    const answered = blocksOf(message).filter((block) => block.type === 'tool_result')
    const ids = answered.map((block) => block.tool_use_id)
    if (asked.some((block) => !ids.includes(block.id))) return '`tool_use` without `tool_result`'
    if (ids.length !== asked.length) return '`tool_result` without `tool_use`'
    const first = blocksOf(message).findIndex((block) => block.type !== 'tool_result')
    return first >= 0 && first < answered.length
      ? '`tool_result` blocks must come first'
      : undefined
  }
  const blocks = blocksOf(message)
  const calls = blocks.some((block) => block.type === 'tool_use')
  return thinks && calls && blocks[0]?.type !== 'thinking'
    ? 'Expected `thinking`, but found `tool_use`'
    : undefined
}

function blocksOf(message: Message | undefined) {
  return typeof message?.content === 'object' ? message.content : []
}

function contentOf({ thinking: thought, text: words, calls = [] }: Said) {
  return [
    ...(thought === undefined
      ? []
      : [{ type: 'thinking' as const, thinking: thought, signature: sign(thought) }]),
    ...(words === undefined ? [] : [{ type: 'text' as const, text: words }]),
    ...calls.map((call, index) => ({
      type: 'tool_use' as const,
      id: `toolu_standin_${index}`,
      name: call.name,
      input: call.arguments,
    })),
  ]
}

function usageOf({ prompt, cached, output, reasoning }: Said['usage']) {
  return {
    input_tokens: prompt - cached,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cached,
    cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
    output_tokens: output,
    output_tokens_details: { thinking_tokens: reasoning },
    service_tier: 'standard',
    inference_geo: 'not_available',
  }
}

function stopReason({ cutShort, calls }: Said): string {
  if (cutShort) return 'max_tokens'
  return calls === undefined ? 'end_turn' : 'tool_use'
}

function whole(said: Said) {
  return {
    model: MODEL,
    id: ID,
    type: 'message',
    role: 'assistant',
    content: contentOf(said),
    stop_reason: stopReason(said),
    stop_sequence: null,
    stop_details: null,
    usage: usageOf(said.usage),
  }
}

function frames(said: Said): readonly string[] {
  const event = (type: string, members: object): string => frame({ type, ...members }, type)
  const { output_tokens_details: _, ...before } = usageOf(said.usage)
  const message = { ...whole(said), content: [], stop_reason: null }
  return [
    event('message_start', { message: { ...message, usage: { ...before, output_tokens: 1 } } }),
    event('ping', {}),
    ...contentOf(said).flatMap((block, index) => {
      const delta = (members: object) => event('content_block_delta', { index, delta: members })
      const empty = { ...block, ...EMPTY[block.type] }
      return [
        event('content_block_start', { index, content_block: empty }),
        ...deltasOf(block).map(delta),
        event('content_block_stop', { index }),
      ]
    }),
    event('message_delta', {
      delta: { stop_reason: stopReason(said), stop_sequence: null, stop_details: null },
      usage: usageOf(said.usage),
    }),
    event('message_stop', {}),
  ]
}

/** A block as it begins. */
const EMPTY = {
  thinking: { thinking: '', signature: '' },
  text: { text: '' },
  tool_use: { input: {} },
}

function deltasOf(block: ReturnType<typeof contentOf>[number]): readonly object[] {
  switch (block.type) {
    case 'thinking':
      return [
        ...pieces(block.thinking).map((piece) => ({ type: 'thinking_delta', thinking: piece })),
        { type: 'signature_delta', signature: block.signature },
      ]
    case 'text':
      return pieces(block.text).map((piece) => ({ type: 'text_delta', text: piece }))
    case 'tool_use':
      return ['', ...fragments(callArguments({ name: block.name, arguments: block.input }))].map(
        (piece) => ({ type: 'input_json_delta', partial_json: piece }),
      )
  }
}

const error = (type: string, message: string) => ({
  type: 'error',
  error: { type, message, details: null },
  request_id: 'req_011StandIn',
})

/** https://platform.claude.com/docs/en/api/messages */
export const anthropic: Character = {
  id: 'anthropic',
  basePath: '',
  credential: CREDENTIAL,
  // Its own SDK sends the one, everyone else the other.
  isAuthentic: (headers) =>
    (headers['x-api-key'] === CREDENTIAL || headers.authorization === `Bearer ${CREDENTIAL}`) &&
    /^\d{4}-\d\d-\d\d$/.test(String(headers['anthropic-version'])),
  operation(path, body) {
    if (path !== '/v1/messages') return undefined
    const official = { file: 'anthropic.json', schema: 'CreateMessageParams' }
    const { stream } = body as { stream?: boolean }
    return { kind: stream ? 'stream' : 'chat', schema: messages, official }
  },
  whole,
  frames,
  streamFailure: frame(error('overloaded_error', 'Overloaded'), 'error'),
  refusals: {
    badRequest: {
      status: 400,
      body: error('invalid_request_error', 'temperature: range: 0..1'),
    },
    badCredential: { status: 401, body: error('authentication_error', 'invalid x-api-key') },
    unknownModel: { status: 404, body: error('not_found_error', 'model: claude-sonnet-4-5') },
    tooLong: {
      status: 400,
      body: error('invalid_request_error', 'prompt is too long: 215000 tokens > 200000 maximum'),
    },
    rateLimited: {
      status: 429,
      headers: { 'retry-after': '7', 'x-should-retry': 'true' },
      body: error('rate_limit_error', 'This request would exceed the rate limit.'),
    },
    noMoney: {
      status: 400,
      body: error(
        'invalid_request_error',
        'Your credit balance is too low to access the Anthropic API.',
      ),
    },
    overloaded: {
      status: 529,
      headers: { 'retry-after': '9' },
      body: error('overloaded_error', 'Overloaded'),
    },
    broken: { status: 500, body: error('api_error', 'Internal server error') },
  },
  invalid: (problem) => ({ status: 400, body: error('invalid_request_error', problem) }),
}
