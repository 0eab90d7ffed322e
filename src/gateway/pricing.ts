import { GatewayError } from '#errors'
import type { Asked, Candidate, Demand, Key, Route } from '#protocol'
import type { ModelView } from '../control/catalogue.ts'
import type { ModelRow } from '../endpoints/models.ts'
import type { ModelFacts } from '../metering/catalogue.ts'
import type { Meter, Terms } from '../metering/meter.ts'
import type { Price } from '../metering/prices.ts'
import { upperBound } from '../metering/prices.ts'
import type { Bucket } from '../metering/rates.ts'
import type { Rate } from '../metering/money.ts'
import { nearest } from '../nearest.ts'
import type { Directory } from '../routing/directory.ts'

export interface PricingDeps {
  readonly meter: Pick<Meter, 'demand' | 'price' | 'terms' | 'termsOf'>
  readonly directory: Directory
  readonly facts: (kind: string, model: string) => ModelFacts | undefined
  /** What happens to a tenant's request for a target without a price. */
  readonly unpriced: (tenantId: string) => 'refuse' | 'allow'
  /** A rate as a decimal, for so many tokens. */
  readonly formatRate: (rate: Rate, tokens: number) => string
  /** Unix ms. */
  readonly now: () => number
}

/** What models cost and how much of them a request can use. */
export interface Pricing {
  /** The most a request can consume at any target it may reach. */
  readonly demand: (
    asked: Asked,
    route: Route,
    key: Pick<Key, 'tenantId'>,
    /** Of admission, Unix ms. */
    at: number,
  ) => Demand
  /** Prices as a request has them from its admission on. */
  readonly under: (demand: Demand) => RoutePrices
  /** Every name that can be asked for, as `GET /v1/models` tells a tenant of it. */
  readonly rows: (tenantId: string) => readonly ModelRow[]
  /** The same for the operator. */
  readonly models: () => readonly ModelView[]
}

export interface RoutePrices {
  /**
   * The route without targets that have no price, where those are refused.
   *
   * @throws GatewayError `unpriced_model` when none is left
   */
  readonly priced: (route: Route) => Route
  /** What targets are compared by; absent: unpriced. */
  readonly unitCost: (candidate: Candidate) => number | undefined
}

/** For what no tenant asks for. */
const NO_TENANT = ''

/** Typical proportion of a chat, for comparing prices. */
const UNIT = { input: 3000, output: 1000 }

export function createPricing(deps: PricingDeps): Pricing {
  const { meter, directory, facts, unpriced } = deps

  const aliases = aliasesOf(directory.names().map(directory.resolve))

  const termsNow = (tenantId: string): Terms => meter.terms(tenantId, deps.now())

  function priced(route: Route, terms: Terms): Route {
    if (unpriced(terms.tenantId) === 'allow') return route
    const has = (candidate: Candidate): boolean => meter.price(candidate, terms) !== undefined
    if (route.targets.every(has) && route.fallbacks.every(has)) return route
    const left = {
      ...route,
      targets: route.targets.filter(has),
      fallbacks: route.fallbacks.filter(has),
    }
    if (left.targets.length > 0 || left.fallbacks.length > 0) return left
    const near = nearestPriced(route.targets[0], terms)
    const check = near === undefined ? 'check the name,' : `did you mean "${near}"? If not,`
    throw new GatewayError(
      'unpriced_model',
      `${route.name} has no known price, so no budget could hold it; ${check} set one with \`tollgate prices set\`, or unpriced: allow`,
      { param: 'model' },
    )
  }

  /** A name the same provider is known to serve, and for which there is a price. */
  function nearestPriced(candidate: Candidate | undefined, terms: Terms): string | undefined {
    if (candidate === undefined) return undefined
    const { instance, target } = candidate
    const has = (model: string): boolean =>
      meter.price({ ...candidate, target: { ...target, model } }, terms) !== undefined
    const near = nearest(
      target.model,
      instance.models.filter((model) => model !== target.model && has(model)),
    )
    return near && `${instance.name}/${near}`
  }

  const nameable = (): readonly Route[] => directory.names().map((name) => directory.resolve(name))

  return {
    demand(asked, route, { tenantId }, at) {
      const terms = meter.terms(tenantId, at)
      const { targets, fallbacks } = priced(route, terms)
      const candidates = fallbacks.length === 0 ? targets : [...targets, ...fallbacks]
      return meter.demand(asked, candidates, terms)
    },
    under(demand) {
      const terms = meter.termsOf(demand) ?? termsNow(NO_TENANT)
      return {
        priced: (route) => priced(route, terms),
        unitCost(candidate) {
          const price = meter.price(candidate, terms)
          const cost = price && upperBound(price, UNIT.input)
          return cost === undefined ? undefined : Number(cost(UNIT.output))
        },
      }
    },
    rows(tenantId) {
      const terms = termsNow(tenantId)
      return nameable().flatMap((route) => rowOf(route, terms))
    },
    models() {
      const terms = termsNow(NO_TENANT)
      return nameable().map((route) => viewOf(route, terms))
    },
  }

  /** USD for so many tokens; where a route's targets differ, the most of them. */
  function rateOf(prices: readonly Price[], bucket: Bucket, tokens: number): string | undefined {
    const rates = prices.flatMap(({ card }) => card.tokens[bucket]?.base ?? [])
    if (rates.length === 0) return undefined
    const most = rates.reduce((one, other) => (other > one ? other : one))
    return deps.formatRate(most, tokens)
  }

  /** Empty: a target has no price, and may be reached all the same. */
  function pricesOf(candidates: readonly Candidate[], terms: Terms): readonly Price[] {
    const prices = candidates.flatMap((candidate) => meter.price(candidate, terms) ?? [])
    const allows = unpriced(terms.tenantId) === 'allow'
    return prices.length < candidates.length && allows ? [] : prices
  }

  function rowOf(route: Route, terms: Terms): readonly ModelRow[] {
    const [first] = route.targets
    if (first === undefined) return []
    const isRoute = route.name !== first.name
    const candidates = [...route.targets, ...route.fallbacks]
    const prices = pricesOf(candidates, terms)
    const input = rateOf(prices, 'input', 1)
    const cacheRead = rateOf(prices, 'cacheRead', 1)
    const cacheWrite = rateOf(prices, 'cacheWrite5m', 1)
    const contextLength = least(candidates.map(({ target }) => target.contextTokens))
    const maxOutputTokens = least(candidates.map(({ target }) => target.maxOutputTokens))
    const outputs = candidates.map((candidate) => (isEmbedding(candidate) ? 'embeddings' : 'text'))
    return [
      {
        id: route.name,
        created: 0,
        ownedBy: isRoute ? 'tollgate' : first.instance.name,
        kind: isRoute ? 'route' : 'model',
        ...(contextLength !== undefined && { contextLength }),
        ...(maxOutputTokens !== undefined && { maxOutputTokens }),
        inputModalities: inAll(candidates.map((one) => factsOf(one)?.input ?? ['text'])),
        outputModalities: [...new Set(outputs)],
        ...(input !== undefined && {
          pricing: {
            input,
            output: rateOf(prices, 'output', 1) ?? '0',
            ...(cacheRead !== undefined && { cacheRead }),
            ...(cacheWrite !== undefined && { cacheWrite }),
          },
        }),
        supportedParameters: inAll(candidates.map(parametersOf)),
        supportedEndpoints: [
          ...(outputs.includes('text') ? ['/v1/chat/completions'] : []),
          ...(outputs.includes('embeddings') ? ['/v1/embeddings'] : []),
        ],
        aliases: isRoute ? [] : (aliases.get(route.name) ?? []),
      },
    ]
  }

  function factsOf({ instance, target }: Candidate): ModelFacts | undefined {
    return facts(instance.provider.id, target.model)
  }

  function isEmbedding(candidate: Candidate): boolean {
    const { chat } = candidate.instance.provider
    return factsOf(candidate)?.embeddings === true || chat === undefined
  }

  function parametersOf(candidate: Candidate): readonly string[] {
    if (isEmbedding(candidate)) return ['dimensions', 'encoding_format']
    const { capabilities } = candidate.instance.provider
    return [
      'max_tokens',
      'temperature',
      'top_p',
      'stop',
      ...(capabilities.tools ? ['tools', 'tool_choice'] : []),
      ...(capabilities.jsonSchema ? ['response_format', 'structured_outputs'] : []),
      ...(factsOf(candidate)?.reasoning === true ? ['reasoning', 'reasoning_effort'] : []),
    ]
  }

  function viewOf(route: Route, terms: Terms): ModelView {
    const candidates = [...route.targets, ...route.fallbacks]
    const prices = pricesOf(candidates, terms)
    const input = rateOf(prices, 'input', 1_000_000)
    return {
      id: route.name,
      targets: route.targets.map(({ name }) => name),
      fallbacks: route.fallbacks.map(({ name }) => name),
      strategy: route.strategy,
      context_tokens: least(candidates.map(({ target }) => target.contextTokens)) ?? null,
      max_output_tokens: least(candidates.map(({ target }) => target.maxOutputTokens)) ?? null,
      price:
        input === undefined
          ? null
          : {
              input,
              output: rateOf(prices, 'output', 1_000_000) ?? '0',
              version: [...new Set(prices.map(({ version }) => version))].join(', '),
            },
    }
  }
}

/** The smallest; absent when one of them is not known, since that may be smaller. */
function least(numbers: readonly (number | undefined)[]): number | undefined {
  const known = numbers.filter((number) => number !== undefined)
  return known.length < numbers.length ? undefined : Math.min(...known)
}

/** What every list has, in the order of the first. */
function inAll([first = [], ...rest]: readonly (readonly string[])[]): readonly string[] {
  return first.filter((word) => rest.every((words) => words.includes(word)))
}

/** The routes whose first target a model is. */
function aliasesOf(routes: readonly Route[]): ReadonlyMap<string, readonly string[]> {
  const aliases = new Map<string, string[]>()
  for (const { name, targets } of routes) {
    const model = targets[0]?.name
    if (model === undefined || model === name) continue
    aliases.set(model, [...(aliases.get(model) ?? []), name])
  }
  return aliases
}
