import type { Provider, Target, UpstreamRequest } from '#protocol'
import { readError } from './errors.ts'
import { reader } from './events.ts'
import { encode, requestHeaders } from './request.ts'
import { decode } from './response.ts'
import { isObject } from './wire.ts'

/** @see https://platform.claude.com/docs/en/api/messages */
export const anthropic = {
  id: 'anthropic',
  name: 'Anthropic',
  baseUrl: 'https://api.anthropic.com',
  credentialVariables: ['ANTHROPIC_API_KEY'],
  priceId: 'anthropic',
  capabilities: {
    tools: true,
    jsonSchema: true,
    images: 'url',
    files: true,
    audio: false,
    reasoning: true,
  },
  chat: { wire: 'anthropic-messages', encode, decode, reader },
  models,
  readModels,
  readError,
} as const satisfies Provider

function models(target: Target): UpstreamRequest {
  // A page holds 20 unless asked for more; 1,000 is the most, and all there are.
  return {
    method: 'GET',
    url: `${target.baseUrl}/v1/models?limit=1000`,
    headers: requestHeaders(target),
  }
}

function readModels(body: unknown): readonly string[] {
  const data = isObject(body) ? body['data'] : undefined
  if (!Array.isArray(data)) return []
  return data.flatMap((model: unknown) => {
    const id = isObject(model) ? model['id'] : undefined
    return typeof id === 'string' ? [id] : []
  })
}
