import { describe, expect, it } from 'vitest'
import { inputTokens, outputTokens } from '#protocol'
import { answer, decode } from './google-fixtures.ts'

describe('usage of Gemini', () => {
  it('is split into disjoint buckets that add up to Google’s total', () => {
    const usage = usageOf({
      promptTokenCount: 1000,
      toolUsePromptTokenCount: 50,
      cachedContentTokenCount: 600,
      candidatesTokenCount: 120,
      thoughtsTokenCount: 30,
      totalTokenCount: 1200,
      promptTokensDetails: [
        { modality: 'TEXT', tokenCount: 700 },
        { modality: 'AUDIO', tokenCount: 200 },
        { modality: 'IMAGE', tokenCount: 60 },
        { modality: 'DOCUMENT', tokenCount: 40 },
      ],
      cacheTokensDetails: [{ modality: 'AUDIO', tokenCount: 150 }],
      candidatesTokensDetails: [{ modality: 'IMAGE', tokenCount: 100 }],
    })
    expect(usage).toEqual({
      input: 340,
      cacheRead: 600,
      cacheWrite5m: 0,
      cacheWrite1h: 0,
      inputAudio: 50,
      inputImage: 60,
      output: 20,
      reasoning: 30,
      outputAudio: 0,
      outputImage: 100,
      webSearches: 0,
      reportedTotal: 1200,
    })
    expect(inputTokens(usage!) + outputTokens(usage!)).toBe(1200)
  })

  it('counts no candidate where none came', () => {
    expect(usageOf({ promptTokenCount: 14, totalTokenCount: 14 })).toMatchObject({
      input: 14,
      output: 0,
      reportedTotal: 14,
    })
  })

  it('never takes more out of a count than it holds', () => {
    const usage = usageOf({
      promptTokenCount: 10,
      cachedContentTokenCount: 8,
      promptTokensDetails: [{ modality: 'AUDIO', tokenCount: 10 }],
      candidatesTokenCount: 0,
      totalTokenCount: 10,
    })
    expect(usage).toMatchObject({ input: 0, cacheRead: 8, inputAudio: 2, output: 0 })
  })

  it('is absent where a count is none, not nothing', () => {
    expect(usageOf({ promptTokenCount: 10, candidatesTokenCount: -1 })).toBeUndefined()
  })

  it('of a total alone is the prompt’s', () => {
    expect(usageOf({ totalTokenCount: 12, candidatesTokenCount: 5 })).toMatchObject({
      input: 7,
      output: 5,
    })
  })

  it.each([[undefined], [{}], [{ trafficType: 'ON_DEMAND' }]])('is absent for %o', (metadata) => {
    expect(usageOf(metadata)).toBeUndefined()
  })

  it.each([
    ['gemini-3-flash-preview', 2],
    ['gemini-2.5-flash', 1],
  ])('counts the searches %s bills: %i', (modelVersion, webSearches) => {
    const whole = answer(
      [{ text: 'a' }],
      { groundingMetadata: { webSearchQueries: ['', 'one', 'two'] } },
      { modelVersion, usageMetadata: { promptTokenCount: 1, totalTokenCount: 1 } },
    )
    expect(decode(whole).usage).toMatchObject({ webSearches })
  })
})

function usageOf(usageMetadata: object | undefined) {
  return decode(answer([{ text: 'a' }], {}, { usageMetadata })).usage
}
