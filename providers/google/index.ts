import type { Provider, Target } from '#protocol'
import { decodeEmbeddings, encodeEmbeddings } from './embeddings.ts'
import { readError } from './errors.ts'
import { reader } from './events.ts'
import { encode, headers } from './request.ts'
import { isGoogleFile } from './media.ts'
import { decode } from './response.ts'
import { isObject } from './wire.ts'

/** The Gemini API (https://ai.google.dev/api), not Vertex AI. */
export const google: Provider = {
  id: 'google',
  name: 'Google Gemini',
  baseUrl: 'https://generativelanguage.googleapis.com',
  credentialVariables: ['GEMINI_API_KEY', 'GOOGLE_API_KEY'],
  priceId: 'google',
  capabilities: {
    tools: true,
    jsonSchema: true,
    images: 'inline',
    files: true,
    audio: true,
    reasoning: true,
  },
  readsUrl: isGoogleFile,
  chat: { wire: 'google-generate', encode, decode, reader },
  embeddings: { encode: encodeEmbeddings, decode: decodeEmbeddings },
  models,
  readModels,
  readError,
}

function models(target: Target) {
  return {
    method: 'GET' as const,
    url: `${target.baseUrl}/v1beta/models?pageSize=1000`,
    headers: headers(target),
  }
}

function readModels(body: unknown): string[] {
  const found: unknown = isObject(body) ? body['models'] : undefined
  if (!Array.isArray(found)) return []
  return found.flatMap((model: unknown) =>
    isObject(model) && typeof model['name'] === 'string'
      ? [model['name'].replace(/^models\//, '')]
      : [],
  )
}
