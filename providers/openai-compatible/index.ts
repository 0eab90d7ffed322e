import type { Capabilities, Provider, Target, UpstreamRequest } from '#protocol'
import { type Declaration, endpointUrl } from './declaration.ts'
import { embeddingsOperation } from './embeddings.ts'
import { readError } from './errors.ts'
import { chatReader } from './events.ts'
import { passThrough } from './pass-through.ts'
import { encode, headers } from './request.ts'
import { decode } from './response.ts'
import { fields, isFields, list, text } from './wire.ts'

export type { Declaration } from './declaration.ts'

const USUAL: Capabilities = {
  tools: true,
  jsonSchema: true,
  images: 'url',
  files: false,
  audio: false,
  reasoning: true,
}

/** A provider that speaks OpenAI's chat wire, written once for all of them. */
export function openAICompatible(declaration: Declaration): Provider {
  const { id, name, baseUrl, credentialVariables, priceId, modelsPath = 'models' } = declaration
  const embeddings = declaration.embeddings ?? {}
  return {
    id,
    name,
    ...(baseUrl === undefined ? {} : { baseUrl }),
    credentialVariables,
    ...(priceId === undefined ? {} : { priceId }),
    capabilities: { ...USUAL, ...declaration.capabilities },
    chat: {
      wire: 'openai-chat',
      encode: (request, target) => encode(declaration, request, target),
      decode: (body, request) => decode(body, request, declaration.usage),
      reader: (request) => chatReader(request, declaration.usage),
      passThrough: passThrough(declaration),
    },
    ...(embeddings === false ? {} : { embeddings: embeddingsOperation(declaration, embeddings) }),
    ...(modelsPath === false
      ? {}
      : {
          models: (target: Target): UpstreamRequest => ({
            method: 'GET',
            url: endpointUrl(target.baseUrl, modelsPath),
            headers: headers(declaration, target),
          }),
          readModels,
        }),
    readError,
  }
}

/**
 * Names in any of the lists providers answer with: OpenAI's `{data: [{id}]}`, Together's and
 * GitHub's bare list, `{models: [{name}]}`, Databricks' `{endpoints: [{name}]}`.
 */
export function readModels(body: unknown): readonly string[] {
  const { data, models, endpoints } = fields(body)
  const items = [body, data, models, endpoints].find(Array.isArray)
  const names = list(items).map((item) =>
    isFields(item) ? text(item['id']) || text(item['name']) || text(item['model']) : text(item),
  )
  return [...new Set(names.filter((each) => each !== ''))]
}
