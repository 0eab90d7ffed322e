import type { Asked, Candidate, Demand, NanoUsd, Tally, Usage } from '#protocol'
import { NO_USAGE, inputTokens, outputTokens } from '#protocol'
import type { Consumption, Measured } from './account.ts'
import type { Calibration } from './calibration.ts'
import type { ModelFacts } from './catalogue.ts'
import { embeddingsSize, promptBound, promptSize } from './estimate.ts'
import type { PromptSize } from './estimate.ts'
import type { Price, PriceBook, PriceTarget } from './prices.ts'
import { bill, bound } from './rates.ts'
import type { Part } from './rates.ts'
import { saneUsage } from './sane-usage.ts'

/** Most output of a model whose maximum nobody knows, tokens. */
const UNKNOWN_MAXIMUM = 16_384

/** Plain text comes out at half of what the bound allows for. */
const LIKELY_DENSITY = 0.5

/** Characters of a token in plain text, where only a length is known. */
const CHARACTERS_PER_TOKEN = 4

export interface MeterDeps {
  readonly book: PriceBook
  readonly facts: (kind: string, model: string) => ModelFacts | undefined
  readonly calibration: Calibration
  /** Counts tokens of a text; never rejects. */
  readonly countTokens: (text: string) => Promise<number>
  /** Whether a model without a price may be used on an account with a budget, at no charge to it. */
  readonly unpriced: 'refuse' | 'allow'
  /** Told of counts that were set aside, and of parts of usage without a price. */
  readonly onOddity?: (oddity: Oddity) => void
}

export interface Oddity {
  readonly kind: 'absurd-usage' | 'uncovered'
  /** `provider/model`. */
  readonly model: string
  readonly usage: Usage
  /** Parts without a price. */
  readonly parts?: readonly Part[]
}

export interface Meter {
  /**
   * The most a request can consume, whichever of the candidates answers it.
   *
   * It covers one answer; attempts that fail after they cost something come on top, as do
   * the results of tools that the provider runs.
   *
   * @param at Unix ms
   */
  demand(asked: Asked, candidates: readonly Candidate[], at: number): Demand
  /**
   * What an attempt consumed and cost.
   *
   * The provider's count where there is a credible one. Without one: nothing, where nothing
   * was sent or the provider refused before it answered; else an estimate from the request
   * and from the text seen. An explicit zero of the provider stays zero.
   *
   * @returns a promise only where text has to be counted
   */
  measure(consumption: Consumption): Measured | Promise<Measured>
  /** The price that applies to a candidate; `at` in Unix ms. */
  price(candidate: Candidate, at: number): Price | undefined
}

/** Turns requests into demands and answers into costs. */
export function createMeter(deps: MeterDeps): Meter {
  const { book, calibration } = deps
  const sizes = new WeakMap<Demand, PromptSize>()

  return {
    demand(asked, candidates, at) {
      const size =
        asked.operation === 'chat' ? promptSize(asked.request) : embeddingsSize(asked.request)
      const { asks, clampable } = outputAsked(asked)
      let input = 0
      let output = 0
      let unknown = false
      const costs: ((outputTokens: number) => NanoUsd)[] = []
      for (const candidate of candidates) {
        const facts = factsOf(candidate)
        const { provider, model } = candidate.target
        const prompt = promptBound(size, facts, calibration.factor(provider, model))
        input = Math.max(input, prompt)
        output = Math.max(output, asks(candidate.target.maxOutputTokens ?? facts?.maxOutputTokens))
        const price = book.find(targetOf(candidate), at, tierAsked(asked))
        const cost = price && bound(price.card, prompt, usesOf(size))
        if (cost) costs.push(cost)
        else if (deps.unpriced === 'refuse') unknown = true
      }
      const demand: Demand = {
        inputTokens: input,
        outputTokens: output,
        clampable,
        cost: unknown ? undefined : dearest(costs),
      }
      sizes.set(demand, size)
      return demand
    },

    measure(consumption) {
      const { candidate, tally, at } = consumption
      const price = book.find(targetOf(candidate), at, { serviceTier: tally?.serviceTier })
      const given = tally?.usage
      const usage = given && saneUsage(given, factsOf(candidate))
      if (given && !usage) report('absurd-usage', candidate, given)
      if (usage && (isComplete(consumption) || tally.outputLength === 0)) {
        learn(consumption, usage)
        return priced(candidate, price, usage, 'provider')
      }
      if (!usage && isFree(consumption)) return priced(candidate, price, NO_USAGE, 'none')
      return estimate(consumption, price, usage)
    },

    price: (candidate, at) => book.find(targetOf(candidate), at),
  }

  async function estimate(
    { candidate, tally, promptBound: most, demand }: Consumption,
    price: Price | undefined,
    usage: Usage | undefined,
  ): Promise<Measured> {
    const seen = await countSeen(tally)
    if (!usage) {
      const { provider, model } = candidate.target
      const size = sizes.get(demand)
      const density = Math.min(LIKELY_DENSITY, calibration.factor(provider, model))
      const prompt = size ? promptBound(size, factsOf(candidate), density) : most
      const guess = { ...NO_USAGE, input: Math.min(prompt, most), output: seen }
      return priced(candidate, price, guess, 'estimated')
    }
    // What a stream said before it broke off stands; text that came after it is added.
    const missing = seen - outputTokens(usage)
    if (missing <= 0) return priced(candidate, price, usage, 'provider')
    return priced(candidate, price, { ...usage, output: usage.output + missing }, 'estimated')
  }

  /** Where only a part of the text was decoded, that part stands for the rest. */
  async function countSeen(tally: Tally | undefined): Promise<number> {
    if (!tally || tally.outputLength === 0) return 0
    const { outputText, outputLength } = tally
    if (outputText === '') return Math.ceil(outputLength / CHARACTERS_PER_TOKEN)
    const counted = await deps.countTokens(outputText)
    return Math.round((counted * Math.max(outputLength, outputText.length)) / outputText.length)
  }

  function priced(
    candidate: Candidate,
    price: Price | undefined,
    usage: Usage,
    usageSource: Measured['usageSource'],
  ): Measured {
    if (usageSource === 'none') return { usage, usageSource, cost: 0n, ...versionOf(price) }
    if (!price) return { usage, usageSource }
    const { cost, uncovered } = bill(price.card, usage)
    if (uncovered.length === 0) return { usage, usageSource, cost, priceVersion: price.version }
    report('uncovered', candidate, usage, uncovered)
    return {
      usage,
      usageSource,
      cost: cost + standIn(price, usage, uncovered),
      priceVersion: `${price.version}!${uncovered.join('+')}`,
    }
  }

  function learn({ candidate, demand }: Consumption, usage: Usage): void {
    const size = sizes.get(demand)
    if (!size) return
    const { provider, model } = candidate.target
    calibration.observe(provider, model, size, inputTokens(usage))
  }

  function factsOf({ instance, target }: Candidate): ModelFacts | undefined {
    return deps.facts(instance.provider.id, target.model)
  }

  function report(
    kind: Oddity['kind'],
    { name }: Candidate,
    usage: Usage,
    parts?: readonly Part[],
  ): void {
    deps.onOddity?.({ kind, model: name, usage, ...(parts ? { parts } : {}) })
  }
}

/** How much output is asked for, given a model's maximum; and whether the caller left that open. */
function outputAsked(asked: Asked): {
  readonly asks: (modelMaximum: number | undefined) => number
  readonly clampable: boolean
} {
  if (asked.operation === 'embeddings') return { asks: () => 0, clampable: false }
  const { maxOutputTokens, n = 1 } = asked.request
  if (maxOutputTokens !== undefined) {
    return { asks: () => boundedProduct(maxOutputTokens, n), clampable: false }
  }
  // Several answers share no maximum that could be lowered for them together.
  return { asks: (most = UNKNOWN_MAXIMUM) => boundedProduct(most, n), clampable: n === 1 }
}

function boundedProduct(a: number, b: number): number {
  return Math.min(a * b, Number.MAX_SAFE_INTEGER)
}

function dearest(
  costs: readonly ((outputTokens: number) => NanoUsd)[],
): (outputTokens: number) => NanoUsd {
  const [only] = costs
  if (only && costs.length === 1) return only
  return (output) => {
    let most = 0n
    for (const cost of costs) {
      const one = cost(output)
      if (one > most) most = one
    }
    return most
  }
}

function usesOf({ audio, images, longCache }: PromptSize) {
  return { audio, images: images > 0, longCache }
}

function targetOf({ instance, target }: Candidate): PriceTarget {
  const { id, priceId } = instance.provider
  return { provider: instance.name, kind: id, priceId, model: target.model }
}

function tierAsked(asked: Asked) {
  if (asked.operation !== 'chat') return undefined
  return { serviceTier: asked.request.serviceTier }
}

/** Whether the provider's count is its last word. */
function isComplete({ outcome, tally }: Consumption): boolean {
  return outcome === 'ok' || tally?.finishReason !== undefined
}

/** Nothing left us, or the provider refused before it answered anything. */
function isFree({ sent, refused, tally }: Consumption): boolean {
  return !sent || (refused && (tally === undefined || tally.outputLength === 0))
}

function versionOf(price: Price | undefined) {
  return price === undefined ? {} : { priceVersion: price.version }
}

/** Parts without a price cost as the dearest of their direction, so that they are never free. */
function standIn({ card }: Price, usage: Usage, parts: readonly Part[]): NanoUsd {
  let input = 0
  let output = 0
  for (const part of parts) {
    if (part === 'webSearches') continue
    if (part === 'reasoning' || part.startsWith('output')) output += usage[part]
    else input += usage[part]
  }
  const { request: _, ...tokensOnly } = card
  return bound(tokensOnly, input)?.(output) ?? 0n
}
