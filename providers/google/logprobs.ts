import type { JsonObject } from '#protocol'
import { list, type LogprobsResult, type TokenLogprob } from './wire.ts'

/** Google's log probabilities in OpenAI's shape. */
export function readLogprobs(result: LogprobsResult): JsonObject {
  const chosen = list(result.chosenCandidates)
  const top = list(result.topCandidates)
  return {
    content: chosen.map((token, at) => ({
      ...tokenLogprob(token),
      top_logprobs: list(top[at]?.candidates).map(tokenLogprob),
    })),
    refusal: null,
  }
}

function tokenLogprob({ token = '', logProbability = 0 }: TokenLogprob) {
  return { token, logprob: logProbability, bytes: [...Buffer.from(token)] }
}
