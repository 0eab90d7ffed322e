import { readFileSync } from 'node:fs'
import type { Bucket } from './rates.ts'

/** `providers/catalogue.json`: facts about models that no answer of a provider tells. */
export interface Catalogue {
  /** The day its source was made. */
  readonly version: string
  /** By provider kind, then the provider's own name for the model. */
  readonly providers: Readonly<Record<string, Readonly<Record<string, ModelFacts>> | undefined>>
  /** What a processing tier multiplies token prices by, by provider kind. */
  readonly serviceTiers: Readonly<Record<string, Readonly<Record<string, string>> | undefined>>
  /** Kinds of token that a provider never bills as text. */
  readonly billedApart: Readonly<Record<string, readonly 'audio'[] | undefined>>
}

/** What is known of a model. Anything absent is not known. */
export interface ModelFacts {
  /** Tokens of prompt and answer together, as the provider states it. */
  readonly contextTokens?: number
  readonly maxOutputTokens?: number
  /** Kinds of input it takes. */
  readonly input?: readonly ('text' | 'image' | 'audio' | 'file')[]
  readonly reasoning?: boolean
  /** Turns text into vectors; does not chat. */
  readonly embeddings?: true
  /** The most tokens one image counts as, where that is beyond what most models do. */
  readonly imageTokens?: number
  readonly price?: CataloguePrice
}

/** US dollars as decimal strings, per million tokens; `webSearch` each. */
export type CataloguePrice = { readonly [bucket in Bucket]?: string } & {
  readonly webSearch?: string
  /** Prices of a request whose prompt is longer. */
  readonly above?: readonly ({ readonly inputTokens: number } & {
    readonly [bucket in Bucket]?: string
  })[]
}

let loaded: Catalogue | undefined

/** The catalogue that ships with Tollgate, read from its file when first asked for. */
export function loadCatalogue(): Catalogue {
  loaded ??= read()
  return loaded
}

/** What is known of a model; `undefined` for a model nobody has listed. */
export function modelFacts(kind: string, model: string): ModelFacts | undefined {
  return lineOf(loadCatalogue(), kind, model)?.facts
}

/** Names of the models that a kind of provider is known to serve; empty where none are listed. */
export function knownModels(kind: string): readonly string[] {
  return Object.keys(own(loadCatalogue().providers, kind) ?? {})
}

/** The catalogue's line for a model, or for the model that it is a dated snapshot of. */
export function lineOf(
  catalogue: Catalogue,
  kind: string,
  model: string,
): { readonly id: string; readonly facts: ModelFacts } | undefined {
  const models = own(catalogue.providers, kind)
  if (!models) return undefined
  const facts = own(models, model)
  if (facts) return { id: model, facts }
  const id = model.replace(DATE, '')
  const dated = own(models, id)
  return dated && { id, facts: dated }
}

const DATE = /[-@](?:\d{8}|\d{4}-\d\d-\d\d)$/

/** Names come from callers: `constructor` must not be found. */
export function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined
}

function read(): Catalogue {
  const file = new URL('../../providers/catalogue.json', import.meta.url)
  const catalogue: Catalogue = JSON.parse(readFileSync(file, 'utf8'))
  return catalogue
}
