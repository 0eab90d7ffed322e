import { z } from 'zod'
import { callArguments, fragments, frame, pieces } from './said.ts'
import type { Said, SaidUsage } from './said.ts'
import type { Character } from './stand-in.ts'

const CREDENTIAL = 'sk-openai-stand-in'
const MODEL = 'gpt-5-mini-2025-08-07'
const ID = 'chatcmpl-StandIn01'
const CREATED = 1_764_000_000

const text = z.strictObject({ type: z.literal('text'), text: z.string() })
const image = z.strictObject({
  type: z.literal('image_url'),
  image_url: z.strictObject({
    url: z.string().regex(/^(https?:|data:image\/\w+;base64,)/),
    detail: z.enum(['auto', 'low', 'high']).optional(),
  }),
})

export const functionTool = z.strictObject({
  type: z.literal('function'),
  function: z.strictObject({
    name: z.string().regex(/^[\w-]{1,64}$/),
    description: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).optional(),
    strict: z.boolean().nullish(),
  }),
})

export const toolChoice = z.union([
  z.enum(['auto', 'none', 'required']),
  z.strictObject({
    type: z.literal('function'),
    function: z.strictObject({ name: z.string() }),
  }),
])

export const jsonSchema = z.strictObject({
  type: z.literal('json_schema'),
  json_schema: z.strictObject({
    name: z.string().regex(/^[\w-]{1,64}$/),
    description: z.string().optional(),
    schema: z.record(z.string(), z.unknown()),
    strict: z.boolean().nullish(),
  }),
})

const instruction = z.strictObject({
  role: z.enum(['system', 'developer']),
  content: z.union([z.string(), z.array(text).min(1)]),
})
const user = z.strictObject({
  role: z.literal('user'),
  content: z.union([z.string(), z.array(z.union([text, image])).min(1)]),
})
const tool = z.strictObject({
  role: z.literal('tool'),
  tool_call_id: z.string().min(1),
  content: z.union([z.string(), z.array(text)]),
})

/** Members that both OpenAI and engines that imitate it know of an assistant's message. */
const assistantFields = {
  role: z.literal('assistant'),
  content: z.union([z.string(), z.array(text)]).nullish(),
  refusal: z.string().nullish(),
  tool_calls: z
    .array(
      z.strictObject({
        id: z.string().min(1).max(40),
        type: z.literal('function'),
        function: z.strictObject({ name: z.string(), arguments: z.string() }),
      }),
    )
    .min(1)
    .optional(),
  // The SDKs return what they were given and made of it; servers pass over these.
  annotations: z.array(z.unknown()).optional(),
  parsed: z.unknown().optional(),
}

const assistant = z.strictObject(assistantFields)

/** As an engine takes it, with its own reasoning returned. */
export const engineAssistant = z.strictObject({
  ...assistantFields,
  reasoning_content: z.string().optional(),
})

const streamOptions = z.strictObject({ include_usage: z.boolean().optional() })

/** Members of a request that OpenAI and the engines that imitate it share. */
export const chatFields = {
  model: z.string().min(1),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(4)]).nullish(),
  seed: z.int().nullish(),
  n: z.int().min(1).nullish(),
  stream: z.boolean().nullish(),
  stream_options: streamOptions.nullish(),
  tools: z.array(functionTool).min(1).optional(),
  tool_choice: toolChoice.optional(),
  parallel_tool_calls: z.boolean().optional(),
  response_format: z
    .union([z.strictObject({ type: z.literal('json_object') }), jsonSchema])
    .optional(),
  reasoning_effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']).nullish(),
}

interface ChatBody {
  readonly messages: readonly {
    readonly role: string
    readonly tool_calls?: readonly { readonly id: string }[] | undefined
    readonly tool_call_id?: string
  }[]
  readonly stream?: boolean | null | undefined
  readonly stream_options?: unknown
}

/** What the shapes do not say: calls are answered at once and in full, options have their cause. */
export function isCoherent({ messages, stream, stream_options }: ChatBody): boolean {
  let open: string[] = []
  for (const message of messages) {
    if (message.role === 'tool') {
      if (!open.includes(message.tool_call_id ?? '')) return false
      open = open.filter((id) => id !== message.tool_call_id)
      continue
    }
    if (open.length > 0) return false
    open = (message.tool_calls ?? []).map(({ id }) => id)
  }
  return open.length === 0 && (stream === true || stream_options === undefined)
}

export function chatSchema(
  assistantMessage: z.ZodType<{ role: 'assistant' }>,
  fields: z.ZodRawShape,
): z.ZodType {
  return z
    .strictObject({
      ...chatFields,
      messages: z.array(z.union([instruction, user, assistantMessage, tool])).min(1),
      ...fields,
    })
    .refine((body) => isCoherent(body as unknown as ChatBody), {
      message: 'tool calls are not answered, or stream_options without a stream',
    })
}

const chat = chatSchema(assistant, {
  max_completion_tokens: z.int().min(1).nullish(),
  verbosity: z.enum(['low', 'medium', 'high']).nullish(),
  user: z.string().optional(),
  metadata: z.record(z.string(), z.string()).nullish(),
  store: z.boolean().nullish(),
})

export const embeddingsSchema = z.strictObject({
  model: z.string().min(1),
  input: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]),
  encoding_format: z.enum(['float', 'base64']).optional(),
  dimensions: z.int().min(1).optional(),
  user: z.string().optional(),
})

function usageOf({ prompt, cached, output, reasoning }: SaidUsage) {
  return {
    prompt_tokens: prompt,
    completion_tokens: output,
    total_tokens: prompt + output,
    prompt_tokens_details: { cached_tokens: cached, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: reasoning,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  }
}

export function finishReason({ cutShort, calls }: Said): string {
  if (cutShort) return 'length'
  return calls === undefined ? 'stop' : 'tool_calls'
}

function callsOf({ calls }: Said) {
  return calls?.map((call, index) => ({
    id: `call_openai_${index}`,
    type: 'function',
    function: { name: call.name, arguments: callArguments(call) },
  }))
}

function whole(said: Said) {
  const calls = callsOf(said)
  return {
    id: ID,
    object: 'chat.completion',
    created: CREATED,
    model: MODEL,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: said.text ?? null,
          ...(calls === undefined ? {} : { tool_calls: calls }),
          refusal: null,
          annotations: [],
        },
        logprobs: null,
        finish_reason: finishReason(said),
      },
    ],
    usage: usageOf(said.usage),
    service_tier: 'default',
    system_fingerprint: null,
  }
}

/** OpenAI keeps its thinking to itself, and pads every event. */
function frames(said: Said): readonly string[] {
  const chunk = (delta: object, finish: string | null = null): string =>
    frame({
      id: ID,
      object: 'chat.completion.chunk',
      created: CREATED,
      model: MODEL,
      service_tier: 'default',
      system_fingerprint: null,
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      usage: null,
      obfuscation: 'Zq3',
    })
  const { choices: _, ...facts } = whole(said)
  return [
    chunk({ role: 'assistant', content: said.calls ? null : '', refusal: null }),
    ...pieces(said.text ?? '').map((content) => chunk({ content })),
    ...(callsOf(said) ?? []).flatMap(({ function: called, ...call }, index) => [
      chunk({ tool_calls: [{ index, ...call, function: { name: called.name, arguments: '' } }] }),
      ...fragments(called.arguments).map((piece) =>
        chunk({ tool_calls: [{ index, function: { arguments: piece } }] }),
      ),
    ]),
    chunk({}, finishReason(said)),
    frame({ ...facts, object: 'chat.completion.chunk', choices: [], obfuscation: '' }),
    'data: [DONE]\n\n',
  ]
}

/** As OpenAI and those who imitate it answer `POST /v1/embeddings`. */
export function vectorList(
  model: string,
  vectors: readonly (readonly number[])[],
  tokens: number,
  body: unknown,
) {
  const { encoding_format: encoding } = body as { encoding_format?: string }
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding:
        encoding === 'base64'
          ? Buffer.from(new Float32Array(vector).buffer).toString('base64')
          : vector,
    })),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  }
}

const error = (
  message: string,
  type: string,
  code: string | null,
  param: string | null = null,
) => ({
  error: { message, type, param, code },
})

/** https://platform.openai.com/docs/api-reference */
export const openai: Character = {
  id: 'openai',
  basePath: '/v1',
  credential: CREDENTIAL,
  isAuthentic: ({ authorization }) => authorization === `Bearer ${CREDENTIAL}`,
  operation(path, body) {
    if (path === '/v1/embeddings') {
      const official = { file: 'openai.json', schema: 'CreateEmbeddingRequest' }
      return { kind: 'vectors', schema: embeddingsSchema, official }
    }
    if (path !== '/v1/chat/completions') return undefined
    const official = { file: 'openai.json', schema: 'CreateChatCompletionRequest' }
    return { kind: (body as ChatBody).stream ? 'stream' : 'chat', schema: chat, official }
  },
  whole,
  frames,
  vectors: (vectors, tokens, body) => vectorList('text-embedding-3-small', vectors, tokens, body),
  streamFailure: frame(
    error('The server had an error while processing your request.', 'server_error', null),
  ),
  refusals: {
    badRequest: {
      status: 400,
      body: error(
        "Unsupported value: 'temperature' does not support 0.5 with this model.",
        'invalid_request_error',
        'unsupported_value',
        'temperature',
      ),
    },
    badCredential: {
      status: 401,
      body: error(
        'Incorrect API key provided: sk-opena*****d-in.',
        'invalid_request_error',
        'invalid_api_key',
      ),
    },
    unknownModel: {
      status: 404,
      body: error(
        'The model `gpt-5-mini` does not exist or you do not have access to it.',
        'invalid_request_error',
        'model_not_found',
      ),
    },
    tooLong: {
      status: 400,
      body: error(
        "This model's maximum context length is 272000 tokens. However, your messages resulted in 300012 tokens.",
        'invalid_request_error',
        'context_length_exceeded',
        'messages',
      ),
    },
    rateLimited: {
      status: 429,
      headers: { 'retry-after': '7', 'retry-after-ms': '6500' },
      body: error(
        'Rate limit reached for gpt-5-mini on tokens per min (TPM): Limit 30000. Please try again in 6.5s.',
        'tokens',
        'rate_limit_exceeded',
      ),
    },
    noMoney: {
      status: 429,
      body: error(
        'You exceeded your current quota, please check your plan and billing details.',
        'insufficient_quota',
        'insufficient_quota',
      ),
    },
    overloaded: {
      status: 503,
      headers: { 'retry-after': '9' },
      body: error('The engine is currently overloaded.', 'service_unavailable_error', null),
    },
    broken: {
      status: 500,
      body: error('The server had an error.', 'server_error', null),
    },
  },
  invalid: (problem) => ({ status: 400, body: error(problem, 'invalid_request_error', null) }),
}
