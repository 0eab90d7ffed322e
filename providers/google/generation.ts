import type { ChatRequest, Target } from '#protocol'
import { GatewayError } from '#errors'
import type { ChangeLog } from './changes.ts'
import type { ModelTraits } from './models.ts'
import { thinkingConfig } from './thinking.ts'
import type { GenerationConfig } from './wire.ts'

const MAX_STOP_SEQUENCES = 5
const MAX_LOGPROBS = 20

/** Sampling, limits and reasoning. */
export function generationConfig(
  request: ChatRequest,
  target: Target,
  traits: ModelTraits,
  log: ChangeLog,
): GenerationConfig {
  const thinking = request.reasoning && thinkingConfig(request.reasoning, traits, log)
  return {
    ...maxTokens(request, target, log),
    ...(request.temperature !== undefined && { temperature: request.temperature }),
    ...(request.topP !== undefined && { topP: request.topP }),
    ...(request.topK !== undefined && { topK: request.topK }),
    ...(request.frequencyPenalty !== undefined && { frequencyPenalty: request.frequencyPenalty }),
    ...(request.presencePenalty !== undefined && { presencePenalty: request.presencePenalty }),
    ...stopSequences(request),
    ...seed(request, log),
    ...(request.n !== undefined && request.n !== 1 && { candidateCount: request.n }),
    ...logprobs(request, log),
    ...(thinking && { thinkingConfig: thinking }),
  }
}

/** Google counts thoughts in, as OpenAI does, and refuses more than the model can give. */
function maxTokens(request: ChatRequest, target: Target, log: ChangeLog): GenerationConfig {
  const asked = request.maxOutputTokens
  if (asked === undefined) return {}
  const most = target.maxOutputTokens
  if (most === undefined || asked <= most) return { maxOutputTokens: asked }
  log.adapted('max_tokens', `lowered from ${asked} to the model's ${most}`)
  return { maxOutputTokens: most }
}

function stopSequences({ stop }: ChatRequest): GenerationConfig {
  if (stop === undefined || stop.length === 0) return {}
  if (stop.length > MAX_STOP_SEQUENCES)
    throw new GatewayError(
      'unsupported_feature',
      `google takes at most ${MAX_STOP_SEQUENCES} stop sequences`,
      { param: 'stop' },
    )
  return { stopSequences: [...stop] }
}

function seed(request: ChatRequest, log: ChangeLog): GenerationConfig {
  if (request.seed === undefined) return {}
  const folded = request.seed | 0 // the wire's int32
  if (folded !== request.seed) log.adapted('seed', 'folded into 32 bits')
  return { seed: folded }
}

function logprobs({ logprobs: wanted }: ChatRequest, log: ChangeLog): GenerationConfig {
  if (wanted === undefined) return {}
  const top = wanted.top ?? 0
  if (top > MAX_LOGPROBS) log.adapted('top_logprobs', `lowered from ${top} to ${MAX_LOGPROBS}`)
  return { responseLogprobs: true, ...(top > 0 && { logprobs: Math.min(top, MAX_LOGPROBS) }) }
}
