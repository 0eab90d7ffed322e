import { z } from 'zod'
import { frame, pieces, sign } from './said.ts'
import type { Said, SaidCall } from './said.ts'
import type { Character } from './stand-in.ts'

const CREDENTIAL = 'AIzaStandIn'
const MODEL = 'gemini-3-pro-preview'
const CHAT = /^\/v1beta\/models\/[\w.-]+:(generateContent|streamGenerateContent\?alt=sse)$/
const EMBEDDINGS = /^\/v1beta\/models\/[\w.-]+:batchEmbedContents$/

const jsonObject = z.record(z.string(), z.json())
const signature = z.base64().optional()

const textPart = z.strictObject({
  text: z.string(),
  thought: z.literal(true).optional(),
  thoughtSignature: signature,
})
const imagePart = z.strictObject({
  inlineData: z.strictObject({ mimeType: z.string().regex(/^image\//), data: z.base64() }),
})
const callPart = z.strictObject({
  functionCall: z.strictObject({
    name: z.string(),
    args: jsonObject,
    id: z.string().optional(),
  }),
  thoughtSignature: signature,
})
const responsePart = z.strictObject({
  functionResponse: z.strictObject({
    name: z.string(),
    id: z.string().optional(),
    response: jsonObject,
  }),
})

const content = z.union([
  z.strictObject({
    role: z.literal('user'),
    parts: z.array(z.union([textPart, imagePart, responsePart])).min(1),
  }),
  z.strictObject({
    role: z.literal('model'),
    parts: z.array(z.union([textPart, callPart])).min(1),
  }),
])
type Content = z.infer<typeof content>

const generate = z
  .strictObject({
    contents: z.array(content).min(1),
    systemInstruction: z
      .strictObject({
        role: z.enum(['system', 'user']).optional(),
        parts: z.array(textPart).min(1),
      })
      .optional(),
    safetySettings: z.array(z.never()).optional(),
    tools: z
      .array(
        z.strictObject({
          functionDeclarations: z
            .array(
              z.strictObject({
                name: z.string().regex(/^[a-zA-Z_][\w.:-]{0,63}$/),
                description: z.string().optional(),
                parametersJsonSchema: jsonObject.optional(),
              }),
            )
            .min(1),
        }),
      )
      .optional(),
    toolConfig: z
      .strictObject({
        functionCallingConfig: z.strictObject({
          mode: z.enum(['AUTO', 'ANY', 'NONE', 'VALIDATED']),
          allowedFunctionNames: z.array(z.string()).optional(),
        }),
      })
      .optional(),
    generationConfig: z
      .strictObject({
        maxOutputTokens: z.int().min(1).optional(),
        temperature: z.number().min(0).max(2).optional(),
        topP: z.number().optional(),
        topK: z.number().optional(),
        stopSequences: z.array(z.string()).max(5).optional(),
        seed: z.int32().optional(),
        responseMimeType: z.enum(['text/plain', 'application/json']).optional(),
        responseJsonSchema: jsonObject.optional(),
        thinkingConfig: z
          .strictObject({
            includeThoughts: z.boolean(),
            thinkingLevel: z.enum(['MINIMAL', 'LOW', 'MEDIUM', 'HIGH']),
          })
          .optional(),
      })
      .optional(),
  })
  .superRefine(({ contents }, context) => {
    for (const [index, one] of contents.entries()) {
      const problem = turnProblem(one, contents[index - 1])
      if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
    }
  })

/** What stands for the signature of a call that Gemini did not make; its documentation has it. */
const UNCHECKED = 'c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I='

/** What the API says of turns that do not follow from one another. */
function turnProblem({ role, parts }: Content, before: Content | undefined): string | undefined {
  if (role === 'user') {
    const calls = callsIn(before)
    const responses = parts.filter((part) => 'functionResponse' in part)
    return responses.length === calls.length
      ? undefined
      : 'the number of function response parts must equal that of function call parts'
  }
  const [first] = callsIn({ role, parts })
  if (first === undefined) return undefined
  // Of parallel calls, the first one is signed.
  const expected = signCall({ name: first.functionCall.name, arguments: first.functionCall.args })
  return first.thoughtSignature === expected || first.thoughtSignature === UNCHECKED
    ? undefined
    : 'Function call is missing a thought_signature in functionCall parts'
}

function callsIn(one: Content | undefined) {
  return one?.role === 'model' ? one.parts.filter((part) => 'functionCall' in part) : []
}

function signCall(call: SaidCall): string {
  return sign(call.name, call.arguments)
}

const embed = z.strictObject({
  requests: z
    .array(
      z.strictObject({
        model: z.string().regex(/^models\//),
        content: z.strictObject({
          parts: z.array(z.strictObject({ text: z.string() })).length(1),
          role: z.literal('user').optional(),
        }),
        outputDimensionality: z.int().min(1).optional(),
        taskType: z.string().optional(),
      }),
    )
    .min(1),
})

function partsOf({ thinking, text, calls = [] }: Said) {
  return [
    ...(thinking === undefined ? [] : [{ text: thinking, thought: true }]),
    ...(text === undefined ? [] : [{ text }]),
    ...calls.map((call, index) => ({
      functionCall: { name: call.name, args: call.arguments, id: `gemini${index}` },
      ...(index === 0 && { thoughtSignature: signCall(call) }),
    })),
  ]
}

function usageOf({ prompt, cached, output, reasoning }: Said['usage']) {
  return {
    promptTokenCount: prompt,
    ...(cached > 0 && {
      cachedContentTokenCount: cached,
      cacheTokensDetails: [{ modality: 'TEXT', tokenCount: cached }],
    }),
    candidatesTokenCount: output - reasoning,
    totalTokenCount: prompt + output,
    promptTokensDetails: [{ modality: 'TEXT', tokenCount: prompt }],
    ...(reasoning > 0 && { thoughtsTokenCount: reasoning }),
  }
}

function answer(said: Said, parts: readonly object[], finishes: boolean) {
  return {
    candidates: [
      {
        content: { parts, role: 'model' },
        ...(finishes && { finishReason: said.cutShort ? 'MAX_TOKENS' : 'STOP' }),
        index: 0,
      },
    ],
    usageMetadata: usageOf(said.usage),
    modelVersion: MODEL,
    responseId: 'SgCzaStandIn',
  }
}

/** Text comes in pieces, a call whole; usage on every chunk; the end is the connection's. */
function frames(said: Said): readonly string[] {
  const parts = partsOf(said).flatMap((part): readonly object[] =>
    'text' in part ? pieces(part.text).map((text) => ({ ...part, text })) : [part],
  )
  return [
    ...parts.map((part) => frame(answer(said, [part], false))),
    frame(answer(said, [{ text: '' }], true)),
  ]
}

const error = (code: number, status: string, message: string, details: readonly object[] = []) => ({
  status: code,
  body: { error: { code, message, status, ...(details.length > 0 && { details }) } },
})

/** https://ai.google.dev/api */
export const google: Character = {
  id: 'google',
  basePath: '',
  credential: CREDENTIAL,
  isAuthentic: (headers) => headers['x-goog-api-key'] === CREDENTIAL,
  operation(path) {
    if (EMBEDDINGS.test(path)) {
      const official = { file: 'google.json', schema: 'BatchEmbedContentsRequest' }
      return { kind: 'vectors', schema: embed, official }
    }
    if (!CHAT.test(path)) return undefined
    const official = { file: 'google.json', schema: 'GenerateContentRequest' }
    return { kind: path.includes(':stream') ? 'stream' : 'chat', schema: generate, official }
  },
  whole: (said) => answer(said, partsOf(said), true),
  frames,
  vectors: (vectors) => ({ embeddings: vectors.map((values) => ({ values })) }),
  streamFailure: frame(
    error(503, 'UNAVAILABLE', 'The model is overloaded. Please try again later.').body,
  ),
  refusals: {
    badRequest: error(
      400,
      'INVALID_ARGUMENT',
      'Unable to submit request because it has an invalid temperature value.',
    ),
    badCredential: error(
      400,
      'INVALID_ARGUMENT',
      'API key not valid. Please pass a valid API key.',
      [
        {
          '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
          reason: 'API_KEY_INVALID',
          domain: 'googleapis.com',
        },
      ],
    ),
    unknownModel: error(
      404,
      'NOT_FOUND',
      'models/gemini-3-pro-preview is not found for API version v1beta.',
    ),
    tooLong: error(
      400,
      'INVALID_ARGUMENT',
      'The input token count (1200005) exceeds the maximum number of tokens allowed (1048576).',
    ),
    rateLimited: error(429, 'RESOURCE_EXHAUSTED', 'You exceeded your current quota.', [
      {
        '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
        violations: [
          { quotaId: 'GenerateContentInputTokensPerModelPerMinute', quotaValue: '250000' },
        ],
      },
      { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '7s' },
    ]),
    noMoney: error(
      429,
      'RESOURCE_EXHAUSTED',
      'Your prepayment credits are depleted. Please go to AI Studio to manage your billing.',
    ),
    overloaded: {
      ...error(503, 'UNAVAILABLE', 'The model is overloaded. Please try again later.'),
      headers: { 'retry-after': '9' },
    },
    broken: error(500, 'INTERNAL', 'An internal error has occurred.'),
  },
  invalid: (problem) => error(400, 'INVALID_ARGUMENT', problem),
}
