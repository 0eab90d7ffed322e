import { isEnd, isErrorPiece, isWhole, piecesOf, readContent } from './google-answer.ts'
import { MEMBERS, canonical, sayable, toOpenAI } from './google-request.ts'
import { fields, isFields, objects, text } from './json.ts'
import type { Fields } from './json.ts'
import type { Recording } from './recordings.ts'
import type { NativeWire } from './translated.ts'

/** The Gemini API's generateContent. */
export const google: NativeWire = {
  sayable: (recording, unsaid) => sayable(bodyOf(recording), unsaid),
  toOpenAI: (body, recording) => toOpenAI(body, modelOf(recording), isStream(recording)),
  canonical,
  members: MEMBERS,
  path: (recording) => {
    const method = isStream(recording) ? 'streamGenerateContent' : 'generateContent'
    return `/${recording.provider}/v1beta/models/${modelOf(recording)}:${method}`
  },
  schema: () => 'google-request',
  readAnswer(recording, explained) {
    const { response } = recording
    const pieces = piecesOf(response)
    if (response.frames !== undefined && !isWhole(pieces)) return undefined
    return readContent(pieces, offeredBy(bodyOf(recording)), explained)
  },
  isEnd,
  isError: isErrorPiece,
}

export function modelOf({ request }: Recording): string {
  return /models\/([^:/]+):/.exec(request.path)?.[1] ?? 'gemini-2.5-flash'
}

function offeredBy(body: Fields): ReadonlySet<string> {
  const declared = objects(body['tools']).flatMap((tool) =>
    objects(tool['functionDeclarations'] ?? tool['function_declarations']),
  )
  return new Set(declared.map(({ name }) => text(name)))
}

function isStream({ request }: Recording): boolean {
  return request.path.includes(':streamGenerateContent')
}

function bodyOf({ request, response }: Recording): Fields {
  if (request.body !== undefined) return request.body
  // Tools of the answer's calls, since a call of a tool nobody offered may be held back.
  const names = piecesOf(response)
    .flatMap((piece) => objects(piece['candidates']))
    .flatMap(({ content }) => objects(fields(content)['parts']))
    .map(({ functionCall }) => functionCall)
    .filter(isFields)
    .map(({ name }) => name)
    .filter((name) => typeof name === 'string')
  return {
    contents: [{ role: 'user', parts: [{ text: 'Hello' }] }],
    ...(names.length > 0 && {
      tools: [{ functionDeclarations: [...new Set(names)].map((name) => ({ name })) }],
    }),
  }
}
