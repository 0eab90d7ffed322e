import type { Asked, Candidate, Demand, NanoUsd, Tally, Usage } from '#protocol'
import { inputTokens, NO_USAGE, outputTokens } from '#protocol'
import type { Consumption, Measured } from './account.ts'
import type { Calibration } from './calibration.ts'
import type { ModelFacts } from './catalogue.ts'
import {
  embeddingsSize,
  likelyPrompt,
  promptBound,
  promptSize,
  type PromptSize,
} from './estimate.ts'
import { billOf, type Price, type PriceBook, type PriceTarget, upperBound } from './prices.ts'
import type { Part } from './rates.ts'
import { ABSURD_TOKENS, saneUsage } from './sane-usage.ts'

/** Most output of a model whose maximum nobody knows. */
const UNKNOWN_MAXIMUM = 16_384
/** UTF-16 units of a token in plain text, where only a length is known. */
const UNITS_PER_TOKEN = 4

export interface MeterDeps {
  /** The prices of this moment; a request keeps those it came under. */
  readonly book: () => PriceBook
  readonly facts: (kind: string, model: string) => ModelFacts | undefined
  readonly calibration: Calibration
  /** Counts tokens of a text; never rejects. */
  readonly countTokens: (text: string) => Promise<number>
  /** `allow`: a model without a price costs a tenant's budgets nothing. */
  readonly unpriced: (tenantId: string) => 'refuse' | 'allow'
  /** Told once of each price that an entry names. */
  readonly onPriced?: (price: Price, target: PriceTarget) => void
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

/**
 * What a request is priced by, from its admission to its last entry: a price that changes in
 * between, be it by the clock or by hand, is not for what was admitted before.
 */
export interface Terms {
  readonly book: PriceBook
  /** Unix ms. */
  readonly at: number
  readonly tenantId: string
}

export interface Meter {
  /**
   * The most a request can consume, whichever of the candidates answers it.
   *
   * It covers one attempt: what failed ones cost is held beside it before another is made.
   * What tools that the provider runs read beyond an allowance comes on top.
   */
  readonly demand: (asked: Asked, candidates: readonly Candidate[], terms: Terms) => Demand
  /** @param at Unix ms */
  readonly terms: (tenantId: string, at: number) => Terms
  /** What a demand was reckoned by; `undefined` for one that is not of this meter. */
  readonly termsOf: (demand: Demand) => Terms | undefined
  /**
   * What an attempt consumed and cost.
   *
   * The provider's count where there is a credible one; an explicit zero stays zero. Without
   * one: nothing, where nothing was sent or the provider refused before it answered; else
   * the request and the text seen are counted, as an estimate. A count from the start of a
   * stream that broke off is raised to what was seen of it. Priced by the terms of its demand.
   *
   * @returns a promise only where text has to be counted
   */
  readonly measure: (consumption: Consumption) => Measured | Promise<Measured>
  /** The price that applies to a candidate. */
  readonly price: (candidate: Candidate, terms: Terms, serviceTier?: string) => Price | undefined
}

/** A demand of this module, with what it was reckoned from. */
class SizedDemand implements Demand {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly clampable: boolean
  readonly answers: number
  readonly cost: Demand['cost']
  readonly asked: Asked
  readonly size: PromptSize
  readonly terms: Terms

  constructor(demand: Demand, asked: Asked, size: PromptSize, terms: Terms) {
    this.inputTokens = demand.inputTokens
    this.outputTokens = demand.outputTokens
    this.clampable = demand.clampable
    this.answers = demand.answers ?? 1
    this.cost = demand.cost
    this.asked = asked
    this.size = size
    this.terms = terms
  }
}

/** Turns requests into demands, and answers into what they cost. */
export function createMeter(deps: MeterDeps): Meter {
  const { calibration } = deps
  /** Prices that an entry named. */
  const named = new WeakSet<Price>()
  const terms: Meter['terms'] = (tenantId, at) => ({ book: deps.book(), at, tenantId })

  return {
    terms,
    termsOf: (demand) => (demand instanceof SizedDemand ? demand.terms : undefined),

    demand(asked, candidates, of) {
      const refuses = deps.unpriced(of.tenantId) === 'refuse'
      const size =
        asked.operation === 'chat' ? promptSize(asked.request) : embeddingsSize(asked.request)
      const serviceTier = asked.operation === 'chat' ? asked.request.serviceTier : undefined
      const uses = { audio: size.audio, images: size.images > 0, longCache: size.longCache }
      const { wanted, clampable, answers } = outputAsked(asked)
      let input = 0
      let output = 0
      let isPriced = true
      const costs: ((outputTokens: number) => NanoUsd)[] = []
      for (const candidate of candidates) {
        const { provider, model, maxOutputTokens } = candidate.target
        const facts = factsOf(candidate)
        const prompt = promptBound(size, facts, calibration.factor(provider, model))
        input = Math.max(input, prompt)
        output = Math.max(output, wanted(maxOutputTokens ?? facts?.maxOutputTokens))
        const price = priceOf(candidate, of, serviceTier)
        const cost = price && upperBound(price, prompt, uses)
        if (cost) costs.push(cost)
        else if (price !== undefined || refuses) isPriced = false
      }
      const cost = isPriced ? dearest(costs) : undefined
      return new SizedDemand(
        { inputTokens: input, outputTokens: output, clampable, answers, cost },
        asked,
        size,
        of,
      )
    },

    measure(consumption) {
      const { candidate, tally, at, demand } = consumption
      const of = demand instanceof SizedDemand ? demand.terms : terms('', at)
      const price = priceOf(candidate, of, tally?.serviceTier)
      const given = tally?.usage
      const usage = given && saneUsage(given, factsOf(candidate))
      if (given && !usage) report('absurd-usage', candidate, given)

      if (usage && (isComplete(consumption) || tally.outputLength === 0)) {
        if (demand instanceof SizedDemand) {
          const { provider, model } = candidate.target
          calibration.observe(provider, model, demand.size, inputTokens(usage))
        }
        return priced(candidate, price, usage, 'provider')
      }
      if (!usage && isFree(consumption)) return priced(candidate, price, NO_USAGE, 'none')
      return estimate(consumption, price, usage)
    },

    price: priceOf,
  }

  async function estimate(
    { candidate, tally, promptBound: most, demand }: Consumption,
    price: Price | undefined,
    usage: Usage | undefined,
  ): Promise<Measured> {
    const output = await countSeen(tally)
    if (usage) {
      const unseen = output - outputTokens(usage)
      if (unseen <= 0) return priced(candidate, price, usage, 'provider')
      return priced(candidate, price, { ...usage, output: usage.output + unseen }, 'estimated')
    }
    const likely =
      demand instanceof SizedDemand
        ? await likelyPrompt(demand.asked, demand.size, deps.countTokens)
        : most
    return priced(
      candidate,
      price,
      { ...NO_USAGE, input: Math.min(likely, most), output },
      'estimated',
    )
  }

  async function countSeen(tally: Tally | undefined): Promise<number> {
    if (!tally || tally.outputLength === 0) return 0
    const { outputText, outputLength } = tally
    const counted = outputText === '' ? 0 : await deps.countTokens(outputText)
    return counted + Math.ceil(Math.max(0, outputLength - outputText.length) / UNITS_PER_TOKEN)
  }

  function priced(
    candidate: Candidate,
    price: Price | undefined,
    usage: Usage,
    usageSource: Measured['usageSource'],
  ): Measured {
    if (usageSource === 'none') {
      return { usage, usageSource, cost: 0n, ...(price && { priceVersion: price.version }) }
    }
    if (!price) return { usage, usageSource }
    const { cost, listCost, lines, uncovered } = billOf(price, usage)
    if (!named.has(price)) {
      named.add(price)
      deps.onPriced?.(price, targetOf(candidate, ''))
    }
    const gap = uncovered.length === 0 ? '' : `!${uncovered.join('+')}`
    if (gap !== '') report('uncovered', candidate, usage, uncovered)
    return {
      usage,
      usageSource,
      cost,
      ...(price.card.keep !== undefined && { listCost }),
      priceVersion: `${price.version}${gap}`,
      costLines: lines,
    }
  }

  function priceOf(
    candidate: Candidate,
    { book, at, tenantId }: Terms,
    serviceTier?: string,
  ): Price | undefined {
    return book.find(targetOf(candidate, tenantId), at, { serviceTier })
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
  readonly wanted: (modelMaximum: number | undefined) => number
  readonly clampable: boolean
  readonly answers: number
} {
  if (asked.operation === 'embeddings') return { wanted: () => 0, clampable: false, answers: 1 }
  const { maxOutputTokens, n = 1 } = asked.request
  // No count beyond is ever billed: a bound need not be higher, and stays within what columns hold.
  const total = (each: number): number => Math.min(each * n, ABSURD_TOKENS)
  if (maxOutputTokens !== undefined)
    return { wanted: () => total(maxOutputTokens), clampable: false, answers: n }
  return { wanted: (most = UNKNOWN_MAXIMUM) => total(most), clampable: true, answers: n }
}

/** The highest of several bounds; each grows with the output, and so does their maximum. */
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

function targetOf({ instance, target }: Candidate, tenantId: string): PriceTarget {
  const { id, priceId } = instance.provider
  return { provider: instance.name, kind: id, priceId, model: target.model, tenantId }
}

/** Whether the provider's count is its last word. */
function isComplete({ outcome, tally }: Consumption): boolean {
  return outcome === 'ok' || tally?.finishReason !== undefined
}

/** Nothing left us, or the provider refused before it answered anything. */
function isFree({ sent, refused, tally }: Consumption): boolean {
  return !sent || (refused && (tally === undefined || tally.outputLength === 0))
}
