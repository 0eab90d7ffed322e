import { isEnd, isErrorEvent, joinEvents, readMessage } from './anthropic-answer.ts'
import { MEMBERS, canonical, isBeta, sayable, toOpenAI } from './anthropic-request.ts'
import { fields, objects } from './json.ts'
import type { Fields } from './json.ts'
import type { Recording } from './recordings.ts'
import type { NativeWire } from './translated.ts'

/** Anthropic's Messages API. */
export const anthropic: NativeWire = {
  sayable: (recording, unsaid) => sayable(bodyOf(recording), unsaid),
  toOpenAI,
  canonical,
  members: MEMBERS,
  path: ({ provider }) => `/${provider}/v1/messages`,
  schema: ({ headers, body }) =>
    'anthropic-beta' in headers || isBeta(fields(body))
      ? 'anthropic-beta-request'
      : 'anthropic-request',
  readAnswer({ response }) {
    const message = response.frames === undefined ? fields(response.json) : joinEvents(response)
    return message === undefined ? undefined : readMessage(message)
  },
  isEnd,
  isError: isErrorEvent,
}

function bodyOf({ request, response }: Recording): Fields {
  if (request.body !== undefined) return request.body
  // Tools of the answer's calls, since a call of a tool nobody offered may be held back.
  const names = objects(fields(response.json)['content'])
    .filter(({ type }) => type === 'tool_use')
    .map(({ name }) => name)
  return {
    model: 'claude-sonnet-4-5',
    max_tokens: 4096,
    messages: [{ role: 'user', content: 'Hello' }],
    ...(names.length > 0 && {
      tools: [...new Set(names)].map((name) => ({ name, input_schema: { type: 'object' } })),
    }),
    ...(response.frames !== undefined && { stream: true }),
  }
}
