import type { ChatRequest, Encoded, Target } from '#protocol'
import { CACHES, type ChangeLog, changeLog } from './changes.ts'
import { conversation } from './contents.ts'
import { generationConfig } from './generation.ts'
import { modelPath, modelTraits } from './models.ts'
import { toolNames } from './names.ts'
import { withOptions } from './options.ts'
import { toolsAndFormat } from './tools.ts'
import type { GenerateContentRequest } from './wire.ts'

/** https://ai.google.dev/api/generate-content */
export function encode(request: ChatRequest, target: Target): Encoded {
  const log = changeLog()
  const method = request.stream ? 'streamGenerateContent?alt=sse' : 'generateContent'
  return {
    request: {
      method: 'POST',
      url: `${target.baseUrl}/v1beta/${modelPath(target.model)}:${method}`,
      headers: headers(target),
      body: JSON.stringify(requestBody(request, target, log)),
    },
    changes: log.list,
  }
}

export function headers(target: Target): Record<string, string> {
  return {
    'content-type': 'application/json',
    ...(target.credential !== undefined && { 'x-goog-api-key': target.credential }),
    ...target.headers,
  }
}

function requestBody(request: ChatRequest, target: Target, log: ChangeLog): GenerateContentRequest {
  const traits = modelTraits(target.model)
  const names = toolNames(request)
  const { declarations, toolConfig, format } = toolsAndFormat(request, traits, names, log)
  const config = { ...generationConfig(request, target, traits, log), ...format }
  noteLost(request, log)

  return withOptions(
    {
      ...conversation(request, { baseUrl: target.baseUrl, traits, names, log }),
      ...(declarations.length > 0 && { tools: [{ functionDeclarations: [...declarations] }] }),
      ...(toolConfig.functionCallingConfig && { toolConfig }),
      ...(Object.keys(config).length > 0 && { generationConfig: config }),
      ...serviceTier(request, log),
    },
    request,
    log,
  )
}

function noteLost(request: ChatRequest, log: ChangeLog): void {
  if (request.logitBias !== undefined) log.lossy('logit_bias', 'not supported by google')
  if (request.verbosity !== undefined) log.lossy('verbosity', 'not supported by google')
  if (request.endUser !== undefined) log.lossy('user', 'not supported by google')
  if (request.metadata !== undefined) log.lossy('metadata', 'not supported by google')
  if (request.cache !== undefined) log.adapted('cache_control', CACHES)
}

const SERVICE_TIERS = new Map([
  ['default', 'standard'],
  ['standard', 'standard'],
  ['flex', 'flex'],
  ['priority', 'priority'],
])

function serviceTier(
  { serviceTier: asked }: ChatRequest,
  log: ChangeLog,
): Pick<GenerateContentRequest, 'serviceTier'> {
  if (asked === undefined || asked === 'auto') return {}
  const tier = SERVICE_TIERS.get(asked)
  if (tier !== undefined) return { serviceTier: tier }
  log.lossy('service_tier', `google has no tier ${asked}`)
  return {}
}
