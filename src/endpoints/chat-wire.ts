import type { Citation, FinishReason, ReasoningPart, Source, Usage } from '#protocol'
import { inputTokens, outputTokens } from '#protocol'

/** What an answer is written with, besides itself. */
export interface AnswerContext {
  /** `chatcmpl-...` */
  readonly id: string
  /** Unix seconds, where the provider did not say. */
  readonly created: number
  /** Where the provider did not say which model answered. */
  readonly model: string
  /** US dollars, as a decimal. */
  readonly cost?: string
}

/**
 * `error` is no word of OpenAI's, but OpenRouter's for the same thing: an answer that its provider
 * gave up on must not look complete. Clients show an unknown reason or pass over it.
 */
export const FINISH_REASONS: Readonly<Record<FinishReason, string>> = {
  stop: 'stop',
  length: 'length',
  'tool-calls': 'tool_calls',
  'content-filter': 'content_filter',
  error: 'error',
}

/** OpenAI's `usage`: cached tokens are part of the prompt, reasoning is part of the completion. */
export function writeUsage(usage: Usage, cost: string | undefined): object {
  const prompt = inputTokens(usage)
  const completion = outputTokens(usage)
  const written = usage.cacheWrite5m + usage.cacheWrite1h
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: {
      cached_tokens: usage.cacheRead,
      audio_tokens: usage.inputAudio,
      ...(written === 0 ? {} : { cache_write_tokens: written }),
      ...(usage.inputImage === 0 ? {} : { image_tokens: usage.inputImage }),
    },
    completion_tokens_details: {
      reasoning_tokens: usage.reasoning,
      audio_tokens: usage.outputAudio,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
      ...(usage.outputImage === 0 ? {} : { image_tokens: usage.outputImage }),
    },
    ...(usage.webSearches === 0
      ? {}
      : { server_tool_use: { web_search_requests: usage.webSearches } }),
    ...(cost === undefined ? {} : { cost }),
  }
}

/**
 * Citations of one text, moved to where that text stands in the whole.
 *
 * OpenAI's `annotations` know addresses only; documents of the request go to a member of our own,
 * as strict clients refuse an annotation of another type.
 *
 * @param start UTF-16 offset of the text in the whole
 * @param length of the text, for a citation that covers all of it
 */
export function writeCitations(
  citations: readonly Citation[],
  start: number,
  length: number,
): { readonly annotations: readonly object[]; readonly documents: readonly object[] } {
  const annotations: object[] = []
  const documents: object[] = []
  for (const citation of citations) {
    const { url, title, quote } = citation
    const span = {
      start_index: start + (citation.start ?? 0),
      end_index: start + (citation.end ?? length),
    }
    const content = quote === undefined ? {} : { content: quote }
    if (url === undefined) documents.push({ title: title ?? '', ...span, ...content })
    else {
      const cited = { ...span, url, title: title ?? url, ...content }
      annotations.push({ type: 'url_citation', url_citation: cited })
    }
  }
  return { annotations, documents }
}

/**
 * OpenRouter's `reasoning_details`, the one known place that keeps what must come back unchanged.
 *
 * @param index of the block among the choice's reasoning
 */
export function writeReasoningDetails(part: ReasoningPart, index: number): readonly object[] {
  const details: object[] = []
  if (part.redacted === undefined || part.text !== '') {
    const { signature } = part
    details.push({
      type: 'reasoning.text',
      text: part.text,
      ...(signature === undefined ? {} : { signature }),
      index,
    })
  }
  if (part.redacted !== undefined) {
    details.push({ type: 'reasoning.encrypted', data: part.redacted, index })
  }
  return details
}

interface Seal {
  readonly signature?: string | undefined
  readonly redacted?: string | undefined
}

/** Whether the plain text of `reasoning_content` is not all there is to return. */
export function isSealed({ signature, redacted }: Seal): boolean {
  return signature !== undefined || redacted !== undefined
}

/** Where Google's own OpenAI endpoint puts it. */
export function writeSignature(signature: string): object {
  return { google: { thought_signature: signature } }
}

/** A picture as OpenRouter returns it. */
export function writeImage(source: Source, index: number): object {
  return { type: 'image_url', image_url: { url: address(source) }, index }
}

export function audioOf(source: Source): string | undefined {
  return source.type === 'base64' && source.mediaType.startsWith('audio/') ? source.data : undefined
}

function address(source: Source): string {
  if (source.type === 'base64') return `data:${source.mediaType};base64,${source.data}`
  return source.type === 'url' ? source.url : source.id
}
