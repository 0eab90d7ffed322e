import type { Citation } from '#protocol'
import { type Candidate, type GroundingChunk, type GroundingSupport, list } from './wire.ts'

/** What a support rests on: one citation for each of its sources. */
export function supportCitations(
  support: GroundingSupport,
  chunks: readonly GroundingChunk[],
  text: string,
): Citation[] {
  const range = locate(text, support.segment)
  const quote = support.segment?.text
  return list(support.groundingChunkIndices)
    .map((index) => chunks[index])
    .filter((chunk) => chunk !== undefined)
    .map((chunk) => ({
      ...chunkCitation(chunk),
      ...(quote !== undefined && { quote }),
      ...range,
    }))
}

/** The source alone: the whole text rests on it. */
export function chunkCitation(chunk: GroundingChunk): Citation {
  const source = chunk.web ?? chunk.retrievedContext ?? chunk.maps
  return {
    ...(source?.uri !== undefined && { url: source.uri }),
    ...(source?.title !== undefined && { title: source.title }),
  }
}

/** Passages the model recites from its training data. */
export function recitations(candidate: Candidate, text: string): Citation[] {
  return list(candidate.citationMetadata?.citationSources).map((source) => ({
    ...(source.uri !== undefined && { url: source.uri }),
    ...locate(text, source),
  }))
}

interface Segment {
  startIndex?: number
  endIndex?: number
  text?: string
}

/**
 * The segment in UTF-16 units. Google counts bytes of UTF-8, and in a text cut into several
 * parts not always from where the part begins: its words decide.
 */
function locate(text: string, segment: Segment | undefined): { start: number; end: number } | {} {
  if (segment?.endIndex === undefined) return {}
  const start = utf16Offset(text, segment.startIndex ?? 0)
  const end = utf16Offset(text, segment.endIndex)
  const { text: words } = segment
  if (words === undefined || text.slice(start, end) === words) return { start, end }
  const found = text.indexOf(words)
  return found === -1 ? {} : { start: found, end: found + words.length }
}

function utf16Offset(text: string, byteOffset: number): number {
  return Buffer.from(text).subarray(0, byteOffset).toString().length
}
