/** A model as `GET /v1/models` tells of it; what is absent is not known. */
export interface ModelRow {
  /** What a caller writes in `model`. */
  readonly id: string
  /** Unix seconds; 0 where it is not known, which no catalogue tells and OpenAI's shape needs. */
  readonly created: number
  /** Who serves it: a provider's name, or ours for a route. */
  readonly ownedBy: string
  /** `route` for a name of the operator's own. */
  readonly kind: 'model' | 'route'
  /** Tokens of prompt and answer together; of a route, the least of its targets. */
  readonly contextLength?: number
  readonly maxOutputTokens?: number
  readonly inputModalities: readonly string[]
  readonly outputModalities: readonly string[]
  /** US dollars per token, as decimals; of a route, the most of its targets. */
  readonly pricing?: Pricing
  /** OpenAI's names of request fields; of a route, those that every target takes. */
  readonly supportedParameters: readonly string[]
  readonly supportedEndpoints: readonly string[]
  /** Other names that lead here. */
  readonly aliases: readonly string[]
}

export interface Pricing {
  readonly input: string
  readonly output: string
  readonly cacheRead?: string
  readonly cacheWrite?: string
}

/** The body of `GET /v1/models`, in OpenAI's shape with OpenRouter's names for the rest. */
export function writeModels(rows: readonly ModelRow[]): string {
  return JSON.stringify({
    object: 'list',
    data: rows.map(toJson),
    has_more: false,
    first_id: rows[0]?.id ?? null,
    last_id: rows.at(-1)?.id ?? null,
  })
}

/** The body of `GET /v1/models/{id}`. */
export function writeModel(row: ModelRow): string {
  return JSON.stringify(toJson(row))
}

/** @see https://openrouter.ai/docs/api-reference/list-available-models */
function toJson(row: ModelRow): object {
  const contextLength = row.contextLength ?? null
  return {
    id: row.id,
    object: 'model',
    created: row.created,
    owned_by: row.ownedBy,
    shutdown_date: null,
    canonical_slug: row.id,
    name: row.id,
    description: '',
    context_length: contextLength,
    architecture: {
      input_modalities: row.inputModalities,
      output_modalities: row.outputModalities,
      tokenizer: null,
    },
    pricing: row.pricing === undefined ? null : toPrices(row.pricing),
    top_provider: {
      context_length: contextLength,
      max_completion_tokens: row.maxOutputTokens ?? null,
      is_moderated: false,
    },
    per_request_limits: null,
    supported_parameters: row.supportedParameters,
    supported_endpoints: row.supportedEndpoints,
    tollgate: { kind: row.kind, aliases: row.aliases },
  }
}

function toPrices({ input, output, cacheRead, cacheWrite }: Pricing): object {
  return {
    prompt: input,
    completion: output,
    ...(cacheRead === undefined ? {} : { input_cache_read: cacheRead }),
    ...(cacheWrite === undefined ? {} : { input_cache_write: cacheWrite }),
    request: '0',
  }
}
