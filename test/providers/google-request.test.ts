import { describe, expect, it } from 'vitest'
import type { ChatRequest } from '#protocol'
import { google } from '../../providers/google/index.ts'
import { ask, encode, target, WEATHER } from './google-fixtures.ts'

describe('a Gemini request', () => {
  it('asks generateContent with the key in its header', () => {
    expect(encode().request).toMatchObject({
      method: 'POST',
      url: 'https://google.test/v1beta/models/gemini-3-pro-preview:generateContent',
      headers: { 'content-type': 'application/json', 'x-goog-api-key': 'secret' },
    })
  })

  it('streams as server-sent events', () => {
    expect(encode({ stream: true }).request.url).toBe(
      'https://google.test/v1beta/models/gemini-3-pro-preview:streamGenerateContent?alt=sse',
    )
  })

  it.each([
    ['gemini/../x?key=1', 'models/gemini%2F..%2Fx%3Fkey%3D1'],
    ['models/gemini-2.5-pro', 'models/gemini-2.5-pro'],
    ['tunedModels/mine#1', 'tunedModels/mine%231'],
  ])('keeps the model %s within the path', (model, path) => {
    const { url } = google.chat!.encode(ask(), target(model)).request
    expect(url).toBe(`https://google.test/v1beta/${path}:generateContent`)
  })

  it('sends no key header without a credential, and the settings’ own headers', () => {
    const { credential: _, ...rest } = target('gemini-3-pro-preview', { headers: { 'x-a': 'b' } })
    expect(google.chat!.encode(ask(), rest).request.headers).toEqual({
      'content-type': 'application/json',
      'x-a': 'b',
    })
  })

  it('says nothing the caller did not say', () => {
    const { body, changes } = encode()
    expect(body).toEqual({ contents: [{ role: 'user', parts: [{ text: 'hello' }] }] })
    expect(changes).toEqual([])
  })

  it('carries sampling and limits in generationConfig', () => {
    const { body, changes } = encode({
      maxOutputTokens: 100,
      temperature: 0,
      topP: 0.5,
      topK: 3,
      frequencyPenalty: 1,
      presencePenalty: -1,
      stop: ['a', 'b'],
      seed: 7,
      n: 2,
      logprobs: { top: 3 },
    })
    expect(body.generationConfig).toEqual({
      maxOutputTokens: 100,
      temperature: 0,
      topP: 0.5,
      topK: 3,
      frequencyPenalty: 1,
      presencePenalty: -1,
      stopSequences: ['a', 'b'],
      seed: 7,
      candidateCount: 2,
      responseLogprobs: true,
      logprobs: 3,
    })
    expect(changes).toEqual([])
  })

  it.each<[string, Partial<ChatRequest>, object, string]>([
    ['a seed past 32 bits', { seed: 2 ** 32 + 5 }, { seed: 5 }, 'adapted seed'],
    [
      'too many log probabilities',
      { logprobs: { top: 50 } },
      { responseLogprobs: true, logprobs: 20 },
      'adapted top_logprobs',
    ],
  ])('fits %s into the wire', (_, fields, config, change) => {
    const { body, changed } = encode(fields)
    expect(body.generationConfig).toEqual(config)
    expect(changed).toEqual([change])
  })

  it('lowers a maximum past the model’s own', () => {
    const encoded = google.chat!.encode(
      ask({ maxOutputTokens: 100_000 }),
      target('gemini-2.5-pro', { maxOutputTokens: 65_536 }),
    )
    expect(String(encoded.request.body)).toContain('"maxOutputTokens":65536')
    expect(encoded.changes).toMatchObject([{ field: 'max_tokens', kind: 'adapted' }])
  })

  it('refuses a sixth stop sequence', () => {
    expect(() => encode({ stop: ['1', '2', '3', '4', '5', '6'] })).toThrow(
      expect.objectContaining({ code: 'unsupported_feature', param: 'stop' }),
    )
  })

  it.each<[string, Partial<ChatRequest>]>([
    ['logit_bias', { logitBias: { '1': 5 } }],
    ['verbosity', { verbosity: 'low' }],
    ['user', { endUser: 'x' }],
    ['metadata', { metadata: { a: 'b' } }],
    ['service_tier', { serviceTier: 'scale' }],
    ['parallel_tool_calls', { parallelToolCalls: false, tools: [WEATHER] }],
    ['prompt_cache_key', { providerOptions: { prompt_cache_key: 'k' } }],
    ['google.unheard_of', { providerOptions: { google: { unheard_of: 1 } } }],
  ])('names %s as lost', (field, fields) => {
    expect(encode(fields).changed).toEqual([`lossy ${field}`])
  })

  it.each([
    ['auto', undefined],
    ['default', 'standard'],
    ['flex', 'flex'],
    ['priority', 'priority'],
  ])('says the service tier %s as %s', (asked, sent) => {
    const { body, changes } = encode({ serviceTier: asked })
    expect(body.serviceTier).toBe(sent)
    expect(changes).toEqual([])
  })
})

describe('reasoning asked of Gemini', () => {
  const high = { includeThoughts: true, thinkingLevel: 'HIGH' }
  it.each<[string, NonNullable<ChatRequest['reasoning']>, object | undefined, string[]]>([
    [
      'gemini-3-flash-preview',
      { effort: 'low' },
      { includeThoughts: true, thinkingLevel: 'LOW' },
      [],
    ],
    [
      'gemini-3-flash-preview',
      { effort: 'medium' },
      { includeThoughts: true, thinkingLevel: 'MEDIUM' },
      [],
    ],
    ['gemini-flash-latest', { effort: 'high' }, high, []],
    ['gemini-3-pro-preview', { effort: 'medium' }, high, ['adapted reasoning_effort']],
    [
      'gemini-3.1-pro-preview',
      { effort: 'medium' },
      { includeThoughts: true, thinkingLevel: 'MEDIUM' },
      [],
    ],
    [
      'gemini-3-pro-preview',
      { effort: 'minimal' },
      { includeThoughts: true, thinkingLevel: 'LOW' },
      ['adapted reasoning_effort'],
    ],
    ['gemini-3-pro-preview', { effort: 'max' }, high, ['adapted reasoning_effort']],
    [
      'gemini-3-flash-preview',
      { effort: 'none' },
      { includeThoughts: false, thinkingLevel: 'MINIMAL' },
      ['adapted reasoning_effort'],
    ],
    [
      'gemini-3-pro-preview',
      { budgetTokens: 2000 },
      { includeThoughts: true, thinkingBudget: 2000 },
      [],
    ],
    ['gemini-2.5-flash', { effort: 'none' }, { includeThoughts: false, thinkingBudget: 0 }, []],
    [
      'gemini-2.5-pro',
      { effort: 'none' },
      { includeThoughts: false, thinkingBudget: 128 },
      ['adapted reasoning_effort'],
    ],
    [
      'gemini-2.5-flash',
      { effort: 'medium' },
      { includeThoughts: true, thinkingBudget: 8192 },
      ['adapted reasoning_effort'],
    ],
    [
      'gemini-2.5-flash',
      { effort: 'max' },
      { includeThoughts: true, thinkingBudget: 24_576 },
      ['adapted reasoning_effort'],
    ],
    [
      'gemini-2.5-flash-lite',
      { budgetTokens: 100 },
      { includeThoughts: true, thinkingBudget: 512 },
      ['adapted reasoning.budget_tokens'],
    ],
    ['gemini-2.5-flash', {}, { includeThoughts: true }, []],
    ['gemini-2.0-flash', { effort: 'high' }, undefined, ['lossy reasoning_effort']],
    ['gemini-2.0-flash', { effort: 'none' }, undefined, []],
  ])('of %s with %o is said as %o', (model, reasoning, config, changed) => {
    const encoded = encode({ reasoning }, model)
    expect(encoded.body.generationConfig?.thinkingConfig).toEqual(config)
    expect(encoded.changed).toEqual(changed)
  })
})

describe('Google’s own options', () => {
  const settings = [{ category: 'HARM_CATEGORY_HATE_SPEECH', threshold: 'BLOCK_NONE' }]

  it.each<[string, ChatRequest['providerOptions']]>([
    ['safety_settings', { safety_settings: settings }],
    ['safetySettings', { safetySettings: settings }],
    ['google', { google: { safety_settings: settings } }],
    ['extra_body.google', { extra_body: { google: { safetySettings: settings } } }],
  ])('pass from %s', (_, providerOptions) => {
    const { body, changes } = encode({ providerOptions })
    expect(body.safetySettings).toEqual(settings)
    expect(changes).toEqual([])
  })

  it('reach generationConfig from beside and within it', () => {
    const { body, changes } = encode({
      temperature: 1,
      providerOptions: {
        google: {
          thinking_config: { thinking_budget: 5, include_thoughts: true },
          cached_content: 'cachedContents/1',
          generation_config: { media_resolution: 'MEDIA_RESOLUTION_LOW' },
        },
      },
    })
    expect(body).toMatchObject({
      cachedContent: 'cachedContents/1',
      generationConfig: {
        temperature: 1,
        thinkingConfig: { thinkingBudget: 5, includeThoughts: true },
        mediaResolution: 'MEDIA_RESOLUTION_LOW',
      },
    })
    expect(changes).toEqual([])
  })

  it('never raise the maximum a budget was reserved for', () => {
    const { body, changed } = encode({
      maxOutputTokens: 10,
      providerOptions: {
        google: { generationConfig: { maxOutputTokens: 9999, candidateCount: 8 } },
      },
    })
    expect(body.generationConfig).toEqual({ maxOutputTokens: 10 })
    expect(changed).toEqual([
      'lossy google.generationConfig.maxOutputTokens',
      'lossy google.generationConfig.candidateCount',
    ])
  })

  it('replace the effort where both are said', () => {
    const { body, changed } = encode({
      reasoning: { effort: 'low' },
      providerOptions: { google: { thinking_config: { thinking_level: 'HIGH' } } },
    })
    expect(body.generationConfig.thinkingConfig).toEqual({ thinkingLevel: 'HIGH' })
    expect(changed).toEqual(['adapted reasoning_effort'])
  })

  it('bring Google’s search, beside the caller’s tools too', () => {
    const { body, changed } = encode({
      tools: [WEATHER],
      providerOptions: { web_search_options: {} },
    })
    expect(body.tools).toEqual([
      expect.objectContaining({ functionDeclarations: [expect.anything()] }),
      { googleSearch: {} },
    ])
    expect(body.toolConfig).toEqual({ includeServerSideToolInvocations: true })
    expect(changed).toEqual(['adapted web_search_options'])
  })

  it('ask for other modalities in OpenAI’s words', () => {
    const { body } = encode({ providerOptions: { modalities: ['text', 'image'] } })
    expect(body.generationConfig).toEqual({ responseModalities: ['TEXT', 'IMAGE'] })
  })

  it('do not take OpenAI’s `store: false` as lost', () => {
    expect(encode({ providerOptions: { store: false } }).changes).toEqual([])
  })
})
