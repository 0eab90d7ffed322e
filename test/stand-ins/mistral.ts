import { z } from 'zod'
import { finishReason, isCoherent, jsonSchema } from './openai.ts'
import { callArguments, frame, pieces } from './said.ts'
import type { Said } from './said.ts'
import type { Character } from './stand-in.ts'

const CREDENTIAL = 'mistral-stand-in'
const MODEL = 'mistral-medium-latest'
const ID = 'cmpl-0a6e16070048404cbabdb8fc772f5d17'
const CREATED = 1_764_000_000

const text = z.strictObject({ type: z.literal('text'), text: z.string() })
const image = z.strictObject({
  type: z.literal('image_url'),
  image_url: z.union([
    z.string(),
    z.strictObject({ url: z.string(), detail: z.enum(['auto', 'low', 'high']).optional() }),
  ]),
})
const thinking = z.strictObject({
  type: z.literal('thinking'),
  thinking: z.array(text),
  signature: z.string().optional(),
  closed: z.boolean().optional(),
})
const callId = z.string().regex(/^[a-zA-Z0-9]{9}$/, 'must be a-z, A-Z, 0-9, with a length of 9')

const message = z.union([
  z.strictObject({
    role: z.literal('system'),
    content: z.union([z.string(), z.array(z.union([text, thinking]))]),
  }),
  z.strictObject({
    role: z.literal('user'),
    content: z.union([z.string(), z.array(z.union([text, image])).min(1)]),
  }),
  z.strictObject({
    role: z.literal('assistant'),
    content: z.union([z.string(), z.array(z.union([text, thinking]))]).nullish(),
    tool_calls: z
      .array(
        z.strictObject({
          id: callId,
          type: z.literal('function').optional(),
          function: z.strictObject({ name: z.string(), arguments: z.string() }),
          // The SDK writes its default.
          index: z.int().optional(),
        }),
      )
      .min(1)
      .optional(),
    prefix: z.boolean().optional(),
  }),
  z.strictObject({
    role: z.literal('tool'),
    tool_call_id: callId,
    content: z.union([z.string(), z.array(text)]),
    name: z.string().optional(),
  }),
])

const chat = z
  .strictObject({
    model: z.string(),
    messages: z.array(message).min(1),
    stream: z.boolean().optional(),
    tools: z
      .array(
        z.strictObject({
          type: z.literal('function').optional(),
          function: z.strictObject({
            name: z.string().regex(/^[\w-]{1,256}$/),
            description: z.string().optional(),
            parameters: z.record(z.string(), z.unknown()),
            strict: z.boolean().optional(),
          }),
        }),
      )
      .min(1)
      .optional(),
    tool_choice: z
      .union([
        z.enum(['auto', 'none', 'any', 'required']),
        z.strictObject({
          type: z.literal('function').optional(),
          function: z.strictObject({ name: z.string() }),
        }),
      ])
      .optional(),
    parallel_tool_calls: z.boolean().optional(),
    response_format: z
      .union([z.strictObject({ type: z.enum(['text', 'json_object']) }), jsonSchema])
      .optional(),
    max_tokens: z.int().min(0).optional(),
    temperature: z.number().min(0).max(1.5).optional(),
    top_p: z.number().optional(),
    stop: z.union([z.string(), z.array(z.string())]).optional(),
    random_seed: z.int().min(0).optional(),
    n: z.int().min(1).optional(),
    reasoning_effort: z.enum(['high', 'none']).optional(),
  })
  .refine(isCoherent, { message: 'Not the same number of function calls and responses' })
  .refine(
    ({ messages }) =>
      messages.every((one, index) => one.role !== 'user' || messages[index - 1]?.role !== 'tool'),
    { message: "Unexpected role 'user' after role 'tool'" },
  )

const embed = z.strictObject({
  model: z.string(),
  input: z.union([z.string(), z.array(z.string()).min(1)]),
  output_dimension: z.int().optional(),
  output_dtype: z.enum(['float', 'int8', 'uint8', 'binary', 'ubinary']).optional(),
  encoding_format: z.enum(['float', 'base64']).optional(),
})

function usageOf({ prompt, cached, output }: Said['usage']) {
  return {
    prompt_tokens: prompt,
    total_tokens: prompt + output,
    completion_tokens: output,
    prompt_tokens_details: { cached_tokens: cached },
  }
}

function callsOf({ calls }: Said) {
  return calls?.map((call, index) => ({
    id: `mistral0${index}`,
    function: { name: call.name, arguments: callArguments(call) },
    index,
  }))
}

function thought(words: string) {
  return { type: 'thinking', thinking: [{ type: 'text', text: words }] }
}

function whole(said: Said) {
  const words = said.text ?? ''
  return {
    id: ID,
    created: CREATED,
    model: MODEL,
    usage: usageOf(said.usage),
    object: 'chat.completion',
    choices: [
      {
        index: 0,
        finish_reason: finishReason(said),
        message: {
          role: 'assistant',
          tool_calls: callsOf(said) ?? null,
          content:
            said.thinking === undefined
              ? words
              : [
                  { ...thought(said.thinking), closed: true },
                  ...(words === '' ? [] : [{ type: 'text', text: words }]),
                ],
        },
      },
    ],
  }
}

/** Calls come whole, and with them the finish; usage on the last chunk. */
function frames(said: Said): readonly string[] {
  const chunk = (delta: object, finish: string | null = null): string =>
    frame({
      id: ID,
      object: 'chat.completion.chunk',
      created: CREATED,
      model: MODEL,
      choices: [{ index: 0, delta, finish_reason: finish }],
      ...(finish !== null && { usage: usageOf(said.usage) }),
    })
  const calls = callsOf(said)
  return [
    chunk({ role: 'assistant', content: '' }),
    ...pieces(said.thinking ?? '').map((piece) => chunk({ content: [thought(piece)] })),
    ...pieces(said.text ?? '').map((content) => chunk({ content })),
    chunk({ content: '', ...(calls && { tool_calls: calls }) }, finishReason(said)),
    'data: [DONE]\n\n',
  ]
}

const error = (status: number, message: string, type: string, code: string | null) => ({
  status,
  body: { object: 'error', message, type, param: null, code, raw_status_code: status },
})

/** https://docs.mistral.ai/api */
export const mistral: Character = {
  id: 'mistral',
  basePath: '',
  credential: CREDENTIAL,
  isAuthentic: ({ authorization }) => authorization === `Bearer ${CREDENTIAL}`,
  operation(path, body) {
    if (path === '/v1/embeddings') {
      const official = { file: 'mistral.yaml', schema: 'EmbeddingRequest' }
      return { kind: 'vectors', schema: embed, official }
    }
    // The SDK marks a stream in the address, too.
    if (!/^\/v1\/chat\/completions(#stream)?$/.test(path)) return undefined
    const official = { file: 'mistral.yaml', schema: 'ChatCompletionRequest' }
    const { stream } = body as { stream?: boolean }
    return { kind: stream ? 'stream' : 'chat', schema: chat, official }
  },
  whole,
  frames,
  vectors: (vectors, tokens) => ({
    id: 'emb-StandIn',
    object: 'list',
    data: vectors.map((embedding, index) => ({ object: 'embedding', embedding, index })),
    model: 'mistral-embed',
    usage: { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0 },
  }),
  streamFailure: frame(error(500, 'Internal server error', 'internal_server_error', '1000').body),
  refusals: {
    badRequest: error(
      400,
      "Unexpected role 'user' after role 'tool'",
      'invalid_request_message_order',
      '3230',
    ),
    badCredential: { status: 401, body: { detail: 'Unauthorized' } },
    unknownModel: error(400, 'Invalid model: mistral-medium-latest', 'invalid_model', '1500'),
    tooLong: error(
      400,
      'Prompt contains 140012 tokens and 0 draft tokens, too large for model with 131072 maximum context length',
      'invalid_request_prompt',
      '3051',
    ),
    rateLimited: {
      ...error(429, 'Rate limit exceeded', 'rate_limited', '1300'),
      headers: { 'retry-after': '7' },
    },
    noMoney: error(402, 'Payment required', 'payment_required', null),
    overloaded: {
      ...error(503, 'Service unavailable.', 'service_unavailable', '3505'),
      headers: { 'retry-after': '9' },
    },
    broken: error(500, 'Internal server error', 'internal_server_error', '1000'),
  },
  invalid: (problem) => error(400, problem, 'invalid_request_error', null),
}
