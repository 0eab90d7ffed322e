import { describe, expect, it } from 'vitest'
import { writeModel, writeModels } from '../../src/endpoints/models.ts'
import type { ModelRow } from '../../src/endpoints/models.ts'

const PLAIN: ModelRow = {
  id: 'fast',
  created: 1_700_000_000,
  ownedBy: 'tollgate',
  kind: 'route',
  inputModalities: ['text'],
  outputModalities: ['text'],
  supportedParameters: [],
  supportedEndpoints: ['/v1/chat/completions'],
  aliases: [],
}

const FULL: ModelRow = {
  ...PLAIN,
  id: 'openai/gpt-5-mini',
  ownedBy: 'openai',
  kind: 'model',
  contextLength: 400_000,
  maxOutputTokens: 128_000,
  pricing: { input: '0.00000025', output: '0.000002', cacheRead: '0.000000025' },
  supportedParameters: ['tools'],
  aliases: ['fast'],
}

describe('writeModel', () => {
  it('writes all that is known, prices as strings of dollars per token', () => {
    expect(JSON.parse(writeModel(FULL))).toEqual({
      id: 'openai/gpt-5-mini',
      object: 'model',
      created: 1_700_000_000,
      owned_by: 'openai',
      shutdown_date: null,
      canonical_slug: 'openai/gpt-5-mini',
      name: 'openai/gpt-5-mini',
      description: '',
      context_length: 400_000,
      architecture: { input_modalities: ['text'], output_modalities: ['text'], tokenizer: null },
      pricing: {
        prompt: '0.00000025',
        completion: '0.000002',
        input_cache_read: '0.000000025',
        request: '0',
      },
      top_provider: {
        context_length: 400_000,
        max_completion_tokens: 128_000,
        is_moderated: false,
      },
      per_request_limits: null,
      supported_parameters: ['tools'],
      supported_endpoints: ['/v1/chat/completions'],
      tollgate: { kind: 'model', aliases: ['fast'] },
    })
  })

  it('writes null for what is not known', () => {
    expect(JSON.parse(writeModel(PLAIN))).toMatchObject({
      name: 'fast',
      shutdown_date: null,
      context_length: null,
      pricing: null,
      top_provider: { max_completion_tokens: null },
    })
  })
})

describe('writeModels', () => {
  it('writes one page', () => {
    expect(JSON.parse(writeModels([FULL, PLAIN]))).toMatchObject({
      object: 'list',
      data: [{ id: 'openai/gpt-5-mini' }, { id: 'fast' }],
      has_more: false,
      first_id: 'openai/gpt-5-mini',
      last_id: 'fast',
    })
  })

  it('writes an empty page', () => {
    expect(JSON.parse(writeModels([]))).toMatchObject({ data: [], first_id: null, last_id: null })
  })
})
