import type { Kind } from './explained.ts'
import { count, fields, isFields, list, objects, parsed, text } from './json.ts'
import type { Fields } from './json.ts'
import type { Reported } from './outcome.ts'
import { NOTHING_SAID } from './reading.ts'
import type { Call, Reading, Said } from './reading.ts'
import type { RecordedFrame, RecordedResponse } from './recordings.ts'

/**
 * A second reading of Gemini's answers, from its own pages and none of our code.
 *
 * @see https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
 */
export function readContent(
  pieces: readonly Fields[],
  offered: ReadonlySet<string>,
  explained: Set<Kind>,
): { reading: Reading; reported?: Reported } | undefined {
  if (pieces.some(({ error }) => isFields(error))) return undefined
  const candidates = Map.groupBy(
    pieces.flatMap((piece) => objects(piece['candidates'])),
    (candidate) => count(candidate['index']),
  )
  const blocked = pieces
    .map((piece) => fields(piece['promptFeedback'])['blockReason'])
    .findLast((reason) => typeof reason === 'string')
  const choices = [...candidates.values()].map((each) =>
    readCandidate(each, blocked, offered, explained),
  )
  if (choices.length === 0 && blocked === undefined) return undefined
  const usage = pieces
    .map((piece) => piece['usageMetadata'])
    .findLast((each) => isFields(each) && ('totalTokenCount' in each || 'promptTokenCount' in each))
  const reported = readUsage(usage)
  return {
    reading: {
      model: text(pieces.find(({ modelVersion }) => modelVersion !== undefined)?.['modelVersion']),
      choices: choices.length > 0 ? choices : [{ ...NOTHING_SAID, finish: 'content_filter' }],
    },
    ...(reported === undefined ? {} : { reported }),
  }
}

function readCandidate(
  pieces: readonly Fields[],
  blocked: unknown,
  offered: ReadonlySet<string>,
  explained: Set<Kind>,
): Said {
  const finish = pieces
    .map(({ finishReason }) => text(finishReason))
    .findLast((each) => each !== '')
  const all = pieces.flatMap(({ content }) => objects(fields(content)['parts']))
  const parts = all.filter(({ functionCall }) => isForCaller(functionCall, finish, offered))
  const calls = joinCalls(parts.map(({ functionCall }) => functionCall).filter(isFields))
  const withheld = parts.length < all.length
  if (withheld) explained.add('withheld-calls')
  return {
    ...NOTHING_SAID,
    text: parts.map((part) => wordsOf(part, explained)).join(''),
    reasoning: parts
      .filter(({ thought }) => thought === true)
      .map((part) => text(part['text']))
      .join(''),
    calls,
    finish:
      finish === undefined && blocked !== undefined
        ? 'content_filter'
        : finishOf(finish, calls.length > 0, withheld),
    ...citationsOf(pieces),
    media: parts
      .filter(({ thought }) => thought !== true)
      .map(({ inlineData }) => text(fields(inlineData)['data']))
      .filter((data) => data !== ''),
    seals: parts
      .filter((part) => !('toolCall' in part || 'toolResponse' in part || 'executableCode' in part))
      .map(({ thoughtSignature }) => text(thoughtSignature))
      .filter((seal) => seal !== ''),
  }
}

/** A call of a tool that nobody offered cannot be answered; a piece without a name follows one. */
function isForCaller(
  call: unknown,
  finish: string | undefined,
  offered: ReadonlySet<string>,
): boolean {
  const name = fields(call)['name']
  if (typeof name !== 'string') return true
  return finish !== 'UNEXPECTED_TOOL_CALL' && (offered.size === 0 || offered.has(name))
}

/** Calls come whole, or a head with a name first and then, nameless, pieces of the arguments. */
function joinCalls(pieces: readonly Fields[]): Call[] {
  const calls: { id: string; name: string; args: Record<string, unknown> }[] = []
  for (const { id, name, args, partialArgs } of pieces) {
    if (typeof name === 'string') calls.push({ id: text(id), name, args: { ...fields(args) } })
    const call = calls.at(-1)
    for (const piece of objects(partialArgs)) if (call !== undefined) addPiece(call.args, piece)
  }
  return calls
}

/** A piece goes to its JSONPath; text that goes on is appended. */
function addPiece(args: Record<string, unknown>, piece: Fields): void {
  const keys = text(piece['jsonPath']).match(/[^.[\]$'"]+/g) ?? []
  const value = piece['stringValue'] ?? piece['numberValue'] ?? piece['boolValue'] ?? null
  let place: Record<string, unknown> = args
  for (const [at, key] of keys.entries()) {
    if (at === keys.length - 1) {
      const before = place[key]
      place[key] = typeof before === 'string' ? before + text(value) : value
      return
    }
    place[key] ??= /^\d+$/.test(keys[at + 1] ?? '') ? [] : {}
    place = place[key] as Record<string, unknown>
  }
}

function wordsOf(part: Fields, explained: Set<Kind>): string {
  const { executableCode: code, codeExecutionResult: result } = part
  if (isFields(code)) {
    explained.add('code-as-text')
    return `\n\`\`\`${text(code['language'])}\n${text(code['code'])}\n\`\`\`\n`
  }
  if (isFields(result)) return `\n\`\`\`\n${text(result['output'])}\n\`\`\`\n`
  return part['thought'] === true ? '' : text(part['text'])
}

const FILTERED =
  /^(SAFETY|RECITATION|LANGUAGE|BLOCKLIST|PROHIBITED_CONTENT|SPII|IMAGE_SAFETY|IMAGE_PROHIBITED_CONTENT|IMAGE_RECITATION|MODEL_ARMOR)$/

function finishOf(reason: string | undefined, calls: boolean, withheld: boolean): string {
  if (reason === 'MAX_TOKENS') return 'length'
  if (reason !== undefined && FILTERED.test(reason)) return 'content_filter'
  if (reason === undefined || reason === 'STOP')
    return calls ? 'tool_calls' : withheld ? 'error' : 'stop'
  return 'error'
}

/** Sources that the text rests on; all of them where no place of the text is named. */
function citationsOf(pieces: readonly Fields[]): Pick<Said, 'urls' | 'documents' | 'spans'> {
  const grounding = pieces.map(({ groundingMetadata }) => fields(groundingMetadata))
  const sources = grounding.flatMap(({ groundingChunks }) => objects(groundingChunks))
  const supports = grounding.flatMap(({ groundingSupports }) => objects(groundingSupports))
  const cited = supports.flatMap((support) =>
    list(support['groundingChunkIndices']).flatMap((index) => {
      const source = sources[count(index)]
      return source === undefined
        ? []
        : [{ url: addressOf(source), words: text(fields(support['segment'])['text']) }]
    }),
  )
  const all =
    supports.length > 0 ? cited : sources.map((source) => ({ url: addressOf(source), words: '' }))
  const byUrl = all.filter(({ url }) => url !== '')
  const byDocument = all.filter(({ url }) => url === '')
  return {
    urls: [...new Set(byUrl.map(({ url }) => url))],
    documents: byDocument.length,
    spans: [...byUrl, ...byDocument].map(({ words }) => words),
  }
}

function addressOf(source: Fields): string {
  const of = (name: string): unknown => fields(source[name])['uri']
  return text(of('web')) || text(of('retrievedContext')) || text(of('maps'))
}

/** `total = prompt + toolUsePrompt + candidates + thoughts`; what was cached is in the prompt. */
function readUsage(usage: unknown): Reported | undefined {
  if (!isFields(usage)) return undefined
  const of = (name: string): number => count(usage[name])
  const prompt = of('promptTokenCount') + of('toolUsePromptTokenCount')
  const reasoning = of('thoughtsTokenCount')
  return {
    prompt,
    completion: of('candidatesTokenCount') + reasoning,
    total: of('totalTokenCount'),
    cached: of('cachedContentTokenCount'),
    reasoning,
  }
}

export function piecesOf({ frames, json }: RecordedResponse): readonly Fields[] {
  if (frames !== undefined) return frames.map(({ data }) => fields(parsed(data)))
  return Array.isArray(json) ? objects(json) : [fields(json)]
}

/** A stream has no end but its finish reasons: it is whole when each candidate has one. */
export function isWhole(pieces: readonly Fields[]): boolean {
  const open = new Map<number, boolean>()
  for (const candidate of pieces.flatMap((piece) => objects(piece['candidates']))) {
    const index = count(candidate['index'])
    open.set(index, (open.get(index) ?? true) && typeof candidate['finishReason'] !== 'string')
  }
  const isBlocked = pieces.some((piece) => fields(piece['promptFeedback'])['blockReason'])
  return isBlocked || (open.size > 0 && ![...open.values()].includes(true))
}

export function isEnd({ data }: RecordedFrame): boolean {
  const piece = fields(parsed(data))
  return (
    isFields(piece['promptFeedback']) ||
    objects(piece['candidates']).some(({ finishReason }) => typeof finishReason === 'string')
  )
}

export function isErrorPiece({ data }: RecordedFrame): boolean {
  return isFields(fields(parsed(data))['error'])
}
