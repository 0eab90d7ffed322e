import { openAICompatible } from './openai-compatible/index.ts'

/** https://platform.openai.com/docs/api-reference/chat */
export const openai = openAICompatible({
  id: 'openai',
  name: 'OpenAI',
  baseUrl: 'https://api.openai.com/v1',
  credentialVariables: ['OPENAI_API_KEY'],
  priceId: 'openai',
  capabilities: { files: true, audio: true },
  // `max_tokens` is deprecated, and refused by reasoning models.
  maxTokensField: 'either',
  developerRole: true,
  textParts: true,
  openAITools: true,
  maxStops: 4,
  maxCallId: 40,
  // Reasoning has no place on this wire, neither in answers nor in requests.
  cache: 'automatic',
  options: [
    'audio',
    'modalities',
    'moderation',
    'prediction',
    'prompt_cache_key',
    'prompt_cache_options',
    'prompt_cache_retention',
    'safety_identifier',
    'store',
    'web_search_options',
  ],
  embeddings: { encoding: 'base64' },
})
