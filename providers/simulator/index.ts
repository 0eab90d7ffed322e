import { openAICompatible } from '../openai-compatible/index.ts'

/** The gateway's own server of `server.ts`; its address and credential are given at the start. */
export const simulator = openAICompatible({
  id: 'simulator',
  name: 'Simulator',
  credentialVariables: [],
  capabilities: { files: true, audio: true },
  developerRole: true,
  textParts: true,
  openAITools: true,
  maxTokensField: 'either',
  reasoning: 'effort',
  replay: 'reasoning_content',
  embeddings: { encoding: 'base64' },
})

/** What its models are, by name, as the catalogue would tell of them. */
export const simulatorFacts: ReadonlyMap<
  string,
  {
    readonly input: readonly ('text' | 'image')[]
    readonly reasoning?: boolean
    readonly embeddings?: true
  }
> = new Map([
  ['chat', { input: ['text', 'image'] }],
  ['echo', { input: ['text', 'image'] }],
  ['tiny', { input: ['text', 'image'] }],
  ['thinker', { input: ['text', 'image'], reasoning: true }],
  ['embed', { input: ['text'], embeddings: true }],
])

/**
 * What a gateway charges for the simulator, so that reports have something to show: USD per
 * million tokens, by model, `*` for any other.
 */
export const simulatorPrices = {
  '*': { input: '0.10', output: '0.40' },
} as const
