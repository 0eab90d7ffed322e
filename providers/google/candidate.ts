import type { ChatEvent, ChatRequest } from '#protocol'
import { type BlockWriter, blockWriter, type Counters, type NewCall } from './blocks.ts'
import { chunkCitation, recitations, supportCitations } from './citations.ts'
import { finishReason } from './finish.ts'
import { readLogprobs } from './logprobs.ts'
import { modelTraits } from './models.ts'
import { ANSWER_TOOL, type ToolNames } from './names.ts'
import { answersThroughTool } from './tools.ts'
import { type Candidate, type FunctionCall, type GroundingChunk, list } from './wire.ts'
import type { GroundingMetadata, Part } from './wire.ts'

interface Context {
  readonly index: number
  readonly request: ChatRequest
  readonly names: ToolNames
  readonly counters: Counters
  readonly responseId: string
}

/** Reads one candidate of an answer, of one piece or of many. */
export interface CandidateReader {
  add(candidate: Candidate, events: ChatEvent[]): void
  readonly finished: boolean
  /** Closes what is open. `blockReason` is why the prompt was refused, if it was. */
  end(blockReason: string | undefined, events: ChatEvent[]): void
  /** Searches Google bills: every query from Gemini 3 on, before that the answer as a whole. */
  webSearches(model: string): number
}

export function candidateReader(context: Context): CandidateReader {
  const blocks = blockWriter(context.index, context.counters)
  const calls = callReader(context)
  const sources: GroundingChunk[] = []
  const searches = new Set<string>()
  let finish: string | undefined
  let supported = false

  const addPart = (part: Part, events: ChatEvent[]) => {
    const { text, thoughtSignature: signature } = part
    if (typeof text === 'string') {
      if (part.thought === true) blocks.addThought(text, signature, events)
      else blocks.addText(text, signature, events)
    } else if (part.functionCall) {
      const { functionCall: call } = part
      if (call.name) blocks.openCall(calls.read(call, call.name, signature, finish), events)
      blocks.continueCall(call, events)
    } else if (part.executableCode) {
      const { language, code } = part.executableCode
      addCode(blocks, `\n\`\`\`${language}\n${code}\n\`\`\`\n`, events)
    } else if (part.codeExecutionResult) {
      addCode(blocks, `\n\`\`\`\n${part.codeExecutionResult.output ?? ''}\n\`\`\`\n`, events)
    } else {
      addMedia(blocks, part, events)
    }
  }

  const addGrounding = (grounding: GroundingMetadata, events: ChatEvent[]) => {
    // A stream sends each source once; supports count through all of them.
    sources.push(...list(grounding.groundingChunks))
    for (const query of list(grounding.webSearchQueries)) if (query !== '') searches.add(query)
    for (const support of list(grounding.groundingSupports)) {
      supported = true
      for (const citation of supportCitations(support, sources, blocks.text ?? ''))
        blocks.cite(citation, events)
    }
  }

  return {
    add(candidate, events) {
      const first = events.length
      if (isFinish(candidate.finishReason)) finish = candidate.finishReason
      for (const part of list(candidate.content?.parts)) addPart(part, events)
      if (candidate.logprobsResult) addLogprobs(candidate.logprobsResult, events, first)
      if (candidate.groundingMetadata) addGrounding(candidate.groundingMetadata, events)
      if (candidate.citationMetadata)
        for (const citation of recitations(candidate, blocks.text ?? ''))
          blocks.cite(citation, events)
    },

    get finished() {
      return finish !== undefined
    },

    end(blockReason, events) {
      if (!supported) for (const source of sources) blocks.cite(chunkCitation(source), events)
      blocks.close(events)
      const blocked = finish === undefined && blockReason !== undefined
      const rawReason = finish ?? blockReason
      events.push({
        type: 'finish',
        choice: context.index,
        reason: blocked ? 'content-filter' : finishReason(finish ?? 'STOP', calls),
        ...(rawReason !== undefined && { rawReason }),
      })
    },

    webSearches: (model) =>
      modelTraits(model).generation >= 3 ? searches.size : Math.min(searches.size, 1),
  }
}

function isFinish(reason: unknown): reason is string {
  return typeof reason === 'string' && reason !== '' && reason !== 'FINISH_REASON_UNSPECIFIED'
}

/** Blocks of their own, as citations count through the text without them. */
function addCode(blocks: BlockWriter, text: string, events: ChatEvent[]): void {
  blocks.close(events)
  blocks.addText(text, undefined, events)
  blocks.close(events)
}

/** An image model's drafts are thoughts, and stay behind. */
function addMedia(blocks: BlockWriter, part: Part, events: ChatEvent[]): void {
  const { inlineData, fileData, thoughtSignature } = part
  if (inlineData && part.thought !== true) {
    const { data, mimeType } = inlineData
    blocks.addMedia({ type: 'base64', data, mediaType: mimeType }, events)
  } else if (fileData) {
    blocks.addMedia({ type: 'url', url: fileData.fileUri }, events)
  } else if (Object.keys(part).every((key) => key === 'thoughtSignature')) {
    blocks.addText('', thoughtSignature, events)
  }
}

function addLogprobs(
  result: NonNullable<Candidate['logprobsResult']>,
  events: ChatEvent[],
  first: number,
): void {
  const at = events.findIndex((event, index) => index >= first && event.type === 'text-delta')
  const delta = events[at]
  if (delta?.type === 'text-delta') events[at] = { ...delta, logprobs: readLogprobs(result) }
}

interface CallReader {
  readonly forwarded: number
  readonly withheld: number
  read(
    call: FunctionCall,
    wireName: string,
    signature: string | undefined,
    finish: string | undefined,
  ): NewCall
}

function callReader({ request, names, counters, responseId }: Context): CallReader {
  const ids = new Set<string>()
  let forwarded = 0
  let withheld = 0

  /** Google's own id where it is fresh, else one that no other answer has. */
  const callId = (given: string | undefined): string => {
    const number = counters.call++
    const fresh = given !== undefined && /^[\w-]+$/.test(given) && !ids.has(given)
    const answer = responseId.replace(/[^\w-]/g, '') || `turn${request.messages.length}`
    const id = fresh ? given : `call_${answer}_${number}`
    ids.add(id)
    return id
  }

  const kindOf = (name: string, wireName: string, finish: string | undefined): NewCall['kind'] => {
    const tools = request.tools ?? []
    const tool = tools.find((declared) => declared.name === name)
    if (wireName === ANSWER_TOOL && answersThroughTool(request)) return 'answer'
    if (finish === 'UNEXPECTED_TOOL_CALL') return 'withheld'
    // Without any tool of the caller's, those of a `cachedContent` may be meant.
    if (tool === undefined) return tools.length > 0 ? 'withheld' : 'function'
    return tool.type
  }

  return {
    get forwarded() {
      return forwarded
    },
    get withheld() {
      return withheld
    },
    read(call, wireName, signature, finish) {
      const name = names.fromWire(wireName)
      const kind = kindOf(name, wireName, finish)
      if (kind === 'withheld') withheld += 1
      if (kind === 'function' || kind === 'custom') forwarded += 1
      return { kind, id: callId(call.id), name, signature }
    },
  }
}
