import type { Provider } from '#protocol'
import * as embeddings from './embeddings.ts'
import { readError } from './errors.ts'
import { reader } from './events.ts'
import { encode, headers } from './request.ts'
import { decode } from './response.ts'
import { isFields } from './wire.ts'

/** Mistral's platform. Source: https://docs.mistral.ai/api */
export const mistral: Provider = {
  id: 'mistral',
  name: 'Mistral',
  baseUrl: 'https://api.mistral.ai',
  credentialVariables: ['MISTRAL_API_KEY'],
  priceId: 'mistral',
  capabilities: {
    tools: true,
    jsonSchema: true,
    images: 'url',
    files: true,
    audio: true,
    reasoning: true,
  },
  chat: { wire: 'mistral-chat', encode, decode, reader },
  embeddings,
  models: (target) => ({
    method: 'GET',
    url: `${target.baseUrl}/v1/models`,
    headers: headers(target, false),
  }),
  readModels,
  readError,
}

function readModels(body: unknown): readonly string[] {
  const data: unknown = isFields(body) ? body['data'] : undefined
  const ids = (Array.isArray(data) ? data : [])
    .filter(isFields)
    .flatMap((model) => (typeof model['id'] === 'string' ? [model['id']] : []))
  return [...new Set(ids)]
}
