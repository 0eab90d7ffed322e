import { fields, objects } from './json.ts'
import type { Fields } from './json.ts'
import { isEnd, isError, joinChunks, readCompletion } from './mistral-answer.ts'
import { MEMBERS, canonical, sayable, toOpenAI } from './mistral-request.ts'
import type { Recording } from './recordings.ts'
import type { NativeWire } from './translated.ts'

/** Mistral's chat completions. */
export const mistral: NativeWire = {
  sayable: (recording, unsaid) => sayable(bodyOf(recording), unsaid),
  toOpenAI,
  canonical,
  members: MEMBERS,
  path: ({ provider }) => `/${provider}/v1/chat/completions`,
  schema: () => 'mistral-request',
  readAnswer({ response }) {
    const answer = response.frames === undefined ? fields(response.json) : joinChunks(response)
    return answer === undefined ? undefined : readCompletion(answer)
  },
  isEnd,
  isError,
}

function bodyOf({ request, response }: Recording): Fields {
  if (request.body !== undefined) return request.body
  const names = objects(fields(response.json)['choices'])
    .flatMap(({ message }) => objects(fields(message)['tool_calls']))
    .map(({ function: called }) => fields(called)['name'])
  return {
    model: 'mistral-large-latest',
    messages: [{ role: 'user', content: 'Hello' }],
    ...(names.length > 0 && {
      tools: [...new Set(names)].map((name) => ({
        type: 'function',
        function: { name, parameters: { type: 'object', properties: {} } },
      })),
    }),
    ...(response.frames !== undefined && { stream: true }),
  }
}
