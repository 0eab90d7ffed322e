/**
 * Writes `catalogue.json`, by hand at a release:
 *
 *     npm pack @earendil-works/pi-ai && tar xzf earendil-works-pi-ai-*.tgz
 *     node providers/catalogue.update.ts package
 *
 * Limits and capabilities are taken for every model; a price only where
 * `@pydantic/genai-prices` lacks that very model or has another figure, the data here being
 * the newer. What is written by hand is in `BY_HAND` and below it, each with its source.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { calcPrice, findProvider, type ModelPrice } from '@pydantic/genai-prices'

const [folder = ''] = process.argv.slice(2)
const data = join(folder, 'dist/providers/data')
const manifest = JSON.parse(readFileSync(join(data, '.manifest.json'), 'utf8'))
const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

/** Our provider kind, the source's file, the price package's provider. */
const SOURCES = [
  { kind: 'openai', file: 'openai', prices: 'openai' },
  { kind: 'anthropic', file: 'anthropic', prices: 'anthropic' },
  { kind: 'google', file: 'google', prices: 'google' },
  { kind: 'mistral', file: 'mistral', prices: 'mistral' },
  { kind: 'groq', file: 'groq', prices: 'groq' },
  { kind: 'deepseek', file: 'deepseek', prices: 'deepseek' },
  { kind: 'xai', file: 'xai', prices: 'x-ai' },
  { kind: 'together', file: 'together', prices: 'together' },
  { kind: 'fireworks', file: 'fireworks', prices: 'fireworks' },
  { kind: 'cerebras', file: 'cerebras', prices: 'cerebras' },
  { kind: 'moonshot', file: 'moonshotai', prices: 'moonshotai' },
  { kind: 'zai', file: 'zai', prices: 'zai' },
  { kind: 'minimax', file: 'minimax', prices: 'minimax' },
  { kind: 'perplexity', prices: 'perplexity' },
  { kind: 'cohere', prices: 'cohere' },
  { kind: 'voyage', prices: 'voyageai' },
  // What these bill depends on where a request ends up, or on a subscription: no prices.
  { kind: 'nvidia', file: 'nvidia' },
  { kind: 'huggingface', file: 'huggingface' },
] as const

/** Keep the package's price: it knows peak hours, or parts of the price the source lacks. */
const KEEP_PACKAGE = new Set(['deepseek/deepseek-v4-pro', 'mistral/mistral-medium-3.5'])

const BY_HAND: Record<string, Record<string, object>> = {
  openai: {
    // https://platform.openai.com/docs/pricing#audio-tokens; the package has only their text.
    'gpt-4o-audio-preview': {
      price: { input: '2.5', output: '10', inputAudio: '40', outputAudio: '80' },
    },
    'gpt-4o-mini-audio-preview': {
      price: { input: '0.15', output: '0.6', inputAudio: '10', outputAudio: '20' },
    },
    // https://platform.openai.com/docs/guides/images-vision#calculating-costs: 2833 + 8 * 5667
    'gpt-4o-mini': { imageTokens: 48_169 },
    'gpt-4o-mini-2024-07-18': { imageTokens: 48_169 },
  },
}

/**
 * https://platform.openai.com/docs/guides/flex-processing,
 * https://ai.google.dev/gemini-api/docs/optimization,
 * https://docs.anthropic.com/en/docs/build-with-claude/batch-processing; what is given as a range,
 * as priority is, stands at its highest.
 */
const SERVICE_TIERS = {
  openai: { flex: '0.5', batch: '0.5', priority: '2' },
  google: { flex: '0.5', batch: '0.5', priority: '2' },
  anthropic: { batch: '0.5' },
}

const BILLED_APART = { openai: ['audio'], azure: ['audio'] }

interface Rates {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheWrite: number
}

interface SourceModel {
  readonly id: string
  readonly type: string
  readonly input: readonly string[]
  readonly reasoning?: boolean
  readonly contextWindow?: number
  readonly maxTokens?: number
  readonly cost: Rates & { readonly tiers?: readonly (Rates & { inputTokensAbove: number })[] }
}

const providers: Record<string, Record<string, object>> = {}
for (const { kind, ...source } of SOURCES) {
  const models: Record<string, object> = {}
  if ('prices' in source) Object.assign(models, listed(source.prices))
  if ('file' in source) {
    for (const model of read(source.file)) {
      const price = 'prices' in source ? newPrice(kind, source.prices, model) : undefined
      models[model.id] = {
        contextTokens: model.contextWindow,
        maxOutputTokens: model.maxTokens,
        input: model.input,
        reasoning: model.reasoning,
        price,
      }
    }
  }
  for (const [id, facts] of Object.entries(BY_HAND[kind] ?? {})) {
    models[id] = { ...models[id], ...facts }
  }
  providers[kind] = models
}
write()

/** Models of the price package that chat or embed, with the little it knows of them. */
function listed(id: string): Record<string, object> {
  const models: Record<string, object> = {}
  for (const model of findProvider({ providerId: id })?.models ?? []) {
    const [prices] = Array.isArray(model.prices)
      ? model.prices.map((one) => one.prices)
      : [model.prices]
    const embeddings = /embed|^voyage/.test(model.id)
    const spelledOut = JSON.stringify(model.match).includes(`"equals":"${model.id}"`)
    if (!spelledOut || model.deprecated || !prices?.['input_mtok']) continue
    if (!embeddings && (!prices['output_mtok'] || !model.context_window)) continue
    if (/image|realtime|live|tts|transcribe|voice|:/.test(model.id)) continue
    models[model.id] = {
      contextTokens: model.context_window,
      embeddings: embeddings || undefined,
    }
  }
  return models
}

function read(file: string): SourceModel[] {
  const byApi: Record<string, Record<string, SourceModel>> = JSON.parse(
    readFileSync(join(data, `${file}.json`), 'utf8'),
  )
  return Object.values(byApi)
    .flatMap((models) => Object.values(models))
    .filter(({ type }) => type === 'chat')
}

/** The price, where the package does not have the same; all zeros mean that none is known. */
function newPrice(kind: string, prices: string, { id, cost }: SourceModel): object | undefined {
  if (cost.input === 0 && cost.output === 0) return undefined
  if (KEEP_PACKAGE.has(`${kind}/${id}`)) return undefined
  const known = calcPrice({}, id, { providerId: prices, timestamp: new Date(manifest.generatedAt) })
  if (known && isSame(known.model_price, cost)) return undefined
  return {
    ...rates(kind, cost),
    webSearch:
      known?.model_price['web_searches_kcount'] === 10 || kind === 'openai' || kind === 'anthropic'
        ? '0.01'
        : undefined,
    above: cost.tiers?.map(({ inputTokensAbove, ...tier }) => ({
      inputTokens: inputTokensAbove,
      ...rates(kind, tier),
    })),
  }
}

function isSame(price: ModelPrice, cost: SourceModel['cost']): boolean {
  const base = (key: string) => {
    const rate = price[key]
    return typeof rate === 'object' ? rate.base : rate
  }
  return (
    base('input_mtok') === cost.input &&
    base('output_mtok') === cost.output &&
    (base('cache_read_mtok') ?? cost.input) === (cost.cacheRead || cost.input)
  )
}

function rates(kind: string, { input, output, cacheRead, cacheWrite }: Rates): object {
  return {
    input: String(input),
    output: String(output),
    cacheRead: cacheRead === 0 ? undefined : String(cacheRead),
    cacheWrite5m: cacheWrite === 0 ? undefined : String(cacheWrite),
    // https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching#pricing: twice the input.
    cacheWrite1h: kind === 'anthropic' ? String(input * 2) : undefined,
  }
}

/** One line for each model, so that a change shows as one. */
function write(): void {
  const blocks = Object.entries(providers).map(([kind, models]) => {
    const lines = Object.entries(models)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, facts]) => `      ${JSON.stringify(id)}: ${JSON.stringify(facts)}`)
    return `    ${JSON.stringify(kind)}: {\n${lines.join(',\n')}\n    }`
  })
  const head = {
    about:
      'Limits, capabilities and newer prices of models. Made by catalogue.update.ts; do not edit.',
    source: `@earendil-works/pi-ai ${version} (MIT, by Mario Zechner), ${manifest.generatedAt}; model names of @pydantic/genai-prices (MIT)`,
    version: manifest.generatedAt.slice(0, 10),
    serviceTiers: SERVICE_TIERS,
    billedApart: BILLED_APART,
  }
  const text = `${JSON.stringify(head, undefined, 2).slice(0, -2)},\n  "providers": {\n${blocks.join(',\n')}\n  }\n}\n`
  JSON.parse(text)
  writeFileSync(join(import.meta.dirname, 'catalogue.json'), text)
}
