import { GatewayError } from '#errors'
import type { Asked, Candidate, Demand, Route } from '#protocol'
import type { ModelView } from '../control/catalogue.ts'
import type { ModelRow } from '../endpoints/models.ts'
import type { ModelFacts } from '../metering/catalogue.ts'
import type { Meter } from '../metering/meter.ts'
import type { Price } from '../metering/prices.ts'
import { upperBound } from '../metering/prices.ts'
import type { Bucket } from '../metering/rates.ts'
import type { Rate } from '../metering/money.ts'
import type { Directory } from '../routing/directory.ts'

export interface PricingDeps {
  readonly meter: Pick<Meter, 'demand' | 'price'>
  readonly directory: Directory
  readonly facts: (kind: string, model: string) => ModelFacts | undefined
  /** What happens to a target without a price. */
  readonly unpriced: 'refuse' | 'allow'
  /** A rate as a decimal, for so many tokens. */
  readonly formatRate: (rate: Rate, tokens: number) => string
  /** Unix ms. */
  readonly now: () => number
}

/** What models cost and how much of them a request can use. */
export interface Pricing {
  /** The most a request can consume at any target it may reach. */
  readonly demand: (asked: Asked, route: Route) => Demand
  /**
   * The route without targets that have no price, where those are refused.
   *
   * @throws GatewayError `unpriced_model` when none is left
   */
  readonly priced: (route: Route) => Route
  /** What targets are compared by; absent: unpriced. */
  readonly unitCost: (candidate: Candidate) => number | undefined
  /** Every name that can be asked for, as `GET /v1/models` tells of it. */
  readonly rows: () => readonly ModelRow[]
  /** The same for the operator. */
  readonly models: () => readonly ModelView[]
}

/** Typical proportion of a chat, for comparing prices. */
const UNIT = { input: 3000, output: 1000 }

export function createPricing(deps: PricingDeps): Pricing {
  const { meter, directory, facts, unpriced } = deps

  const priceOf = (candidate: Candidate): Price | undefined => meter.price(candidate, deps.now())

  function priced(route: Route): Route {
    if (unpriced === 'allow') return route
    const has = (candidate: Candidate): boolean => priceOf(candidate) !== undefined
    if (route.targets.every(has) && route.fallbacks.every(has)) return route
    const left = {
      ...route,
      targets: route.targets.filter(has),
      fallbacks: route.fallbacks.filter(has),
    }
    if (left.targets.length > 0 || left.fallbacks.length > 0) return left
    throw new GatewayError(
      'unpriced_model',
      `${route.name} has no known price, so no budget could hold it; check the name, set providers.${route.targets[0]?.instance.name ?? '<name>'}.prices, or unpriced: allow`,
      { param: 'model' },
    )
  }

  const nameable = (): readonly Route[] => directory.names().map((name) => directory.resolve(name))

  return {
    demand(asked, route) {
      const { targets, fallbacks } = priced(route)
      const candidates = fallbacks.length === 0 ? targets : [...targets, ...fallbacks]
      return meter.demand(asked, candidates, deps.now())
    },
    priced,
    unitCost(candidate) {
      const price = priceOf(candidate)
      const cost = price && upperBound(price, UNIT.input)
      return cost === undefined ? undefined : Number(cost(UNIT.output))
    },
    rows: () => nameable().flatMap(rowOf),
    models: () => nameable().map(viewOf),
  }

  function rateOf(price: Price | undefined, bucket: Bucket, tokens: number): string | undefined {
    const rate = price?.card.tokens[bucket]?.base
    return rate === undefined ? undefined : deps.formatRate(rate, tokens)
  }

  function rowOf(route: Route): readonly ModelRow[] {
    const first = route.targets[0]
    if (first === undefined) return []
    const isRoute = route.name !== first.name
    const { instance, target } = first
    const known = facts(instance.provider.id, target.model)
    const price = priceOf(first)
    const input = rateOf(price, 'input', 1)
    const cacheRead = rateOf(price, 'cacheRead', 1)
    const { capabilities } = instance.provider
    const isEmbedding = known?.embeddings === true || instance.provider.chat === undefined
    return [
      {
        id: route.name,
        created: 0,
        ownedBy: isRoute ? 'tollgate' : instance.name,
        kind: isRoute ? 'route' : 'model',
        ...(target.contextTokens !== undefined && { contextLength: target.contextTokens }),
        ...(target.maxOutputTokens !== undefined && { maxOutputTokens: target.maxOutputTokens }),
        inputModalities: known?.input ?? ['text'],
        outputModalities: isEmbedding ? ['embeddings'] : ['text'],
        ...(input !== undefined && {
          pricing: {
            input,
            output: rateOf(price, 'output', 1) ?? '0',
            ...(cacheRead !== undefined && { cacheRead }),
          },
        }),
        supportedParameters: isEmbedding
          ? ['dimensions', 'encoding_format']
          : [
              'max_tokens',
              'temperature',
              'top_p',
              'stop',
              ...(capabilities.tools ? ['tools', 'tool_choice'] : []),
              ...(capabilities.jsonSchema ? ['response_format', 'structured_outputs'] : []),
              ...(known?.reasoning === true ? ['reasoning', 'reasoning_effort'] : []),
            ],
        supportedEndpoints: [isEmbedding ? '/v1/embeddings' : '/v1/chat/completions'],
      },
    ]
  }

  function viewOf(route: Route): ModelView {
    const first = route.targets[0]
    const price = first && priceOf(first)
    const input = rateOf(price, 'input', 1_000_000)
    return {
      id: route.name,
      targets: route.targets.map(({ name }) => name),
      fallbacks: route.fallbacks.map(({ name }) => name),
      strategy: route.strategy,
      context_tokens: first?.target.contextTokens ?? null,
      max_output_tokens: first?.target.maxOutputTokens ?? null,
      price:
        price === undefined || input === undefined
          ? null
          : { input, output: rateOf(price, 'output', 1_000_000) ?? '0', version: price.version },
    }
  }
}
