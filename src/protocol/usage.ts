/**
 * What one attempt consumed, in disjoint buckets of tokens, as the provider counted.
 *
 * The buckets do not overlap: the whole prompt is `input + cacheRead + cacheWrite5m +
 * cacheWrite1h + inputAudio + inputImage`; the whole answer is `output + reasoning +
 * outputAudio + outputImage`. A bucket a provider does not report apart is 0 and its
 * tokens are in `input` or `output`. Every number is a non-negative safe integer.
 */
export interface Usage {
  readonly input: number
  readonly cacheRead: number
  /** Stored in the provider's cache for five minutes (or its only lifetime). */
  readonly cacheWrite5m: number
  readonly cacheWrite1h: number
  readonly inputAudio: number
  readonly inputImage: number
  readonly output: number
  /** Billed as output by most; apart so that reports can tell. */
  readonly reasoning: number
  readonly outputAudio: number
  readonly outputImage: number
  /** Web searches the provider ran and bills per call. */
  readonly webSearches: number
  /** What the provider itself gave as the total; absent when it gave none. */
  readonly reportedTotal?: number
}

export const NO_USAGE: Usage = Object.freeze({
  input: 0,
  cacheRead: 0,
  cacheWrite5m: 0,
  cacheWrite1h: 0,
  inputAudio: 0,
  inputImage: 0,
  output: 0,
  reasoning: 0,
  outputAudio: 0,
  outputImage: 0,
  webSearches: 0,
})

/** Tokens of the whole prompt, cached or not. */
export function inputTokens(usage: Usage): number {
  return (
    usage.input +
    usage.cacheRead +
    usage.cacheWrite5m +
    usage.cacheWrite1h +
    usage.inputAudio +
    usage.inputImage
  )
}

/** Tokens of the whole answer, reasoning included. */
export function outputTokens(usage: Usage): number {
  return usage.output + usage.reasoning + usage.outputAudio + usage.outputImage
}

/** What two attempts or passes consumed together; what the provider gave as totals is dropped. */
export function addUsage(one: Usage, other: Usage): Usage {
  return {
    input: one.input + other.input,
    cacheRead: one.cacheRead + other.cacheRead,
    cacheWrite5m: one.cacheWrite5m + other.cacheWrite5m,
    cacheWrite1h: one.cacheWrite1h + other.cacheWrite1h,
    inputAudio: one.inputAudio + other.inputAudio,
    inputImage: one.inputImage + other.inputImage,
    output: one.output + other.output,
    reasoning: one.reasoning + other.reasoning,
    outputAudio: one.outputAudio + other.outputAudio,
    outputImage: one.outputImage + other.outputImage,
    webSearches: one.webSearches + other.webSearches,
  }
}
