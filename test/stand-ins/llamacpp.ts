import { z } from 'zod'
import {
  chatSchema,
  embeddingsSchema,
  engineAssistant,
  finishReason,
  vectorList,
} from './openai.ts'
import { callArguments, fragments, frame, pieces } from './said.ts'
import type { Said } from './said.ts'
import type { Character } from './stand-in.ts'

const CREDENTIAL = 'llama-stand-in'
const ID = 'chatcmpl-rd0JN5fzYlCrafuJEy6psZhukXbBVmTK'
const CREATED = 1_764_000_000
const BUILD = 'b7010-c27efd2bd'

const chat = chatSchema(engineAssistant, {
  max_tokens: z.int().optional(),
  top_k: z.int().optional(),
  min_p: z.number().optional(),
  grammar: z.string().optional(),
  cache_prompt: z.boolean().optional(),
})

function usageOf({ prompt, cached, output }: Said['usage']) {
  return {
    completion_tokens: output,
    prompt_tokens: prompt,
    total_tokens: prompt + output,
    prompt_tokens_details: { cached_tokens: cached },
  }
}

/** Milliseconds and tokens; on the whole answer and on a stream's last chunk. */
function timingsOf({ prompt, cached, output }: Said['usage']) {
  return {
    cache_n: cached,
    prompt_n: prompt - cached,
    prompt_ms: 41.7,
    prompt_per_token_ms: 0.7,
    prompt_per_second: 1438.8,
    predicted_n: output,
    predicted_ms: 512.4,
    predicted_per_token_ms: 9.3,
    predicted_per_second: 107.3,
  }
}

function callsOf({ calls }: Said) {
  return calls?.map((call, index) => ({
    type: 'function',
    function: { name: call.name, arguments: callArguments(call) },
    id: `llamaCall${index}`,
  }))
}

function whole(said: Said) {
  const calls = callsOf(said)
  return {
    choices: [
      {
        finish_reason: finishReason(said),
        index: 0,
        message: {
          role: 'assistant',
          content: said.text ?? null,
          ...(said.thinking === undefined ? {} : { reasoning_content: said.thinking }),
          ...(calls === undefined ? {} : { tool_calls: calls }),
        },
      },
    ],
    created: CREATED,
    model: 'qwen3-8b',
    system_fingerprint: BUILD,
    object: 'chat.completion',
    usage: usageOf(said.usage),
    id: ID,
    timings: timingsOf(said.usage),
  }
}

function frames(said: Said): readonly string[] {
  const facts = {
    created: CREATED,
    id: ID,
    model: 'qwen3-8b',
    system_fingerprint: BUILD,
    object: 'chat.completion.chunk',
  }
  const chunk = (delta: object, finish: string | null = null): string =>
    frame({ choices: [{ finish_reason: finish, index: 0, delta }], ...facts })
  return [
    chunk({ role: 'assistant', content: null }),
    ...pieces(said.thinking ?? '').map((piece) => chunk({ reasoning_content: piece })),
    ...pieces(said.text ?? '').map((content) => chunk({ content })),
    ...(callsOf(said) ?? []).flatMap(({ function: called, ...call }, index) => [
      chunk({ tool_calls: [{ index, ...call, function: { name: called.name, arguments: '' } }] }),
      ...fragments(called.arguments).map((piece) =>
        chunk({ tool_calls: [{ index, function: { arguments: piece } }] }),
      ),
    ]),
    chunk({}, finishReason(said)),
    frame({ choices: [], ...facts, usage: usageOf(said.usage), timings: timingsOf(said.usage) }),
    'data: [DONE]\n\n',
  ]
}

const error = (code: number, message: string, type: string, more: object = {}) => ({
  status: code,
  body: { error: { code, message, type, ...more } },
})

/** https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md */
export const llamacpp: Character = {
  id: 'llamacpp',
  basePath: '/v1',
  credential: CREDENTIAL,
  isAuthentic: ({ authorization }) => authorization === `Bearer ${CREDENTIAL}`,
  operation(path, body) {
    // It has no specification of its own; OpenAI's is what it follows.
    if (path === '/v1/embeddings') {
      const official = { file: 'openai.json', schema: 'CreateEmbeddingRequest' }
      return { kind: 'vectors', schema: embeddingsSchema, official }
    }
    if (path !== '/v1/chat/completions') return undefined
    const official = { file: 'openai.json', schema: 'CreateChatCompletionRequest' }
    const { stream } = body as { stream?: boolean }
    return { kind: stream ? 'stream' : 'chat', schema: chat, official }
  },
  whole,
  frames,
  vectors: (vectors, tokens, body) => vectorList('qwen3-8b', vectors, tokens, body),
  streamFailure: frame(error(500, 'Compute error.', 'server_error').body),
  refusals: {
    badRequest: error(
      400,
      'Assistant response prefill is incompatible with enable_thinking.',
      'invalid_request_error',
    ),
    badCredential: error(401, 'Invalid API Key', 'authentication_error'),
    unknownModel: error(404, 'model not found', 'not_found_error'),
    tooLong: error(
      400,
      'the request exceeds the available context size, try increasing it',
      'exceed_context_size_error',
      { n_prompt_tokens: 14_429, n_ctx: 8192 },
    ),
    // Nothing of its own limits or bills: what a proxy before it answers.
    rateLimited: {
      status: 429,
      headers: { 'retry-after': '7' },
      body: { message: 'Too Many Requests' },
    },
    noMoney: { status: 402, body: { message: 'Payment Required' } },
    overloaded: {
      ...error(503, 'Loading model', 'unavailable_error'),
      headers: { 'retry-after': '9' },
    },
    broken: error(500, 'Compute error.', 'server_error'),
  },
  invalid: (problem) => error(400, problem, 'invalid_request_error'),
}
