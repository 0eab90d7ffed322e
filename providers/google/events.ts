import type { ChatEvent, ChatRequest, EventReader } from '#protocol'
import { GatewayError } from '#errors'
import { type CandidateReader, candidateReader } from './candidate.ts'
import { streamError } from './errors.ts'
import { toolNames } from './names.ts'
import { readServiceTier, readUsage } from './usage.ts'
import { type Answer, isObject, list, type UsageMetadata } from './wire.ts'

/**
 * A stream is a row of answers, each with the next piece. It has no end marker: it is whole
 * when the connection closes after a finish reason.
 */
export function reader(request: ChatRequest): EventReader {
  const answer = answerReader(request)
  return {
    read(frame) {
      const events: ChatEvent[] = []
      if (isFiller(frame.data)) return events
      const value = parseFrame(frame.data)
      // Hosts that overlook `alt=sse` send the whole stream as one JSON array.
      if (Array.isArray(value)) for (const piece of value) answer.add(piece, events)
      else answer.add(value, events)
      return events
    },
    end() {
      if (!answer.finished)
        throw new GatewayError('upstream_error', 'The provider closed the stream before its end')
      return answer.end()
    },
  }
}

/** Reads one answer, of one piece or of many. */
export interface AnswerReader {
  /**
   * @throws GatewayError `upstream_invalid` for what is no answer, and as {@link streamError}
   *   for an error in its place
   */
  add(piece: unknown, events: ChatEvent[]): void
  /** There is a candidate, or the prompt was refused. */
  readonly answered: boolean
  /** Every candidate seen has its finish reason, or the prompt was refused. */
  readonly finished: boolean
  end(): ChatEvent[]
}

export function answerReader(request: ChatRequest): AnswerReader {
  const counters = { block: 0, call: 0 }
  const names = toolNames(request)
  const candidates = new Map<number, CandidateReader>()
  let started: { readonly id: string; readonly model: string } | undefined
  let blockReason: string | undefined
  let usage: UsageMetadata | undefined

  const candidateAt = (index: number, responseId: string) => {
    let candidate = candidates.get(index)
    if (candidate === undefined) {
      candidate = candidateReader({ index, request, names, counters, responseId })
      candidates.set(index, candidate)
    }
    return candidate
  }

  return {
    add(piece, events) {
      const answer = asAnswer(piece)
      if (answer.error) throw streamError(answer.error)
      if (started === undefined) {
        started = { id: answer.responseId ?? '', model: answer.modelVersion ?? '' }
        events.push({ type: 'start', ...started, ...created(answer) })
      }
      if (answer.promptFeedback) blockReason = answer.promptFeedback.blockReason ?? blockReason
      // Counts are cumulative and may jump: the last stand. Some frames have none.
      if (hasCounts(answer.usageMetadata)) usage = answer.usageMetadata
      for (const [at, candidate] of list(answer.candidates).entries())
        candidateAt(candidate.index ?? at, started.id).add(candidate, events)
    },

    get answered() {
      return candidates.size > 0 || blockReason !== undefined
    },

    get finished() {
      if (blockReason !== undefined) return true
      return candidates.size > 0 && [...candidates.values()].every(({ finished }) => finished)
    },

    end() {
      const events: ChatEvent[] = []
      const readers = [...candidates.values()]
      for (const candidate of readers) candidate.end(blockReason, events)
      if (readers.length === 0) events.push(refused(blockReason))

      const model = started?.model ?? ''
      const searches = readers.reduce((sum, candidate) => sum + candidate.webSearches(model), 0)
      if (usage !== undefined) events.push(...usageEvents(usage, searches))
      events.push({ type: 'end' })
      return events
    },
  }
}

/** Google sends none; gateways before it do. */
function isFiller(data: string): boolean {
  return data === '[DONE]' || data.trim() === ''
}

function parseFrame(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch (cause) {
    throw new GatewayError('upstream_invalid', 'The provider sent a frame that is not JSON', {
      cause,
    })
  }
}

function asAnswer(value: unknown): Answer {
  if (!isObject(value))
    throw new GatewayError('upstream_invalid', 'The provider sent something that is no answer')
  // Every member is optional, and those that are read are checked where that matters.
  return value
}

function created({ createTime }: Answer): { created?: number } {
  const time = createTime === undefined ? NaN : Date.parse(createTime)
  return Number.isNaN(time) ? {} : { created: Math.floor(time / 1000) }
}

function hasCounts(metadata: UsageMetadata | undefined): metadata is UsageMetadata {
  return metadata?.promptTokenCount != null || metadata?.totalTokenCount != null
}

/** The prompt was blocked: there are no candidates at all. */
function refused(blockReason: string | undefined): ChatEvent {
  return {
    type: 'finish',
    choice: 0,
    reason: 'content-filter',
    ...(blockReason !== undefined && { rawReason: blockReason }),
  }
}

function usageEvents(metadata: UsageMetadata, searches: number): readonly ChatEvent[] {
  const usage = readUsage(metadata, searches)
  const serviceTier = readServiceTier(metadata)
  if (usage === undefined) return []
  return [{ type: 'usage', usage, ...(serviceTier !== undefined && { serviceTier }) }]
}
