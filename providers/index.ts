import type { Provider } from '#protocol'
import { anthropic } from './anthropic/index.ts'
import { google } from './google/index.ts'
import { mistral } from './mistral/index.ts'
import { openai } from './openai.ts'
import { openAICompatible } from './openai-compatible/index.ts'
import { presets } from './openai-compatible/presets.ts'
import { simulator } from './simulator/index.ts'

const table: readonly Provider[] = [
  openai,
  anthropic,
  google,
  mistral,
  ...presets.map(openAICompatible),
  simulator,
]

/** Every kind of provider, by its id: what `kind:` in the settings takes. */
export const providers: ReadonlyMap<string, Provider> = new Map(
  table.map((provider) => [provider.id, provider]),
)
