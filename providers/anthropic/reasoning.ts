import type { ChatRequest, JsonObject, Reasoning } from '#protocol'
import type { Draft } from './draft.ts'
import { adapted, lossy } from './draft.ts'
import type { Effort, ModelTraits } from './models.ts'
import { EFFORTS } from './models.ts'
import type { MessagesBody } from './wire.ts'
import { isObject } from './wire.ts'

/** How the model is told to think. */
export interface ThinkingPlan {
  readonly thinking?: NonNullable<MessagesBody['thinking']>
  readonly effort?: Effort
}

/** What in the rest of the request keeps a `budget` from being thought with. */
export interface ThinkingLimits {
  readonly maxTokens: number
  /** The tool choice forces a call. */
  readonly forcedTool: boolean
  /** The conversation ends with the assistant. */
  readonly prefill: boolean
  /** The series of tool calls under way did not begin with thinking. */
  readonly continuesWithoutThinking: boolean
}

type Wanted = NonNullable<NonNullable<ChatRequest['reasoning']>['effort']>

/** Tokens to think with, for models that want a number. */
const BUDGETS: Readonly<Record<Exclude<Wanted, 'none'>, number>> = {
  minimal: 1024,
  low: 2048,
  medium: 8192,
  high: 16_384,
  xhigh: 32_768,
  max: 32_768,
}
const LEAST_BUDGET = 1024
/** The budget counts inside `max_tokens`; the rest is left for the answer. */
const BUDGET_SHARE = 0.8

/** A budget in words, for models that take none: the first that reaches it. */
const EFFORT_OF_BUDGET: readonly (readonly [upTo: number, effort: Effort])[] = [
  [2048, 'low'],
  [8192, 'medium'],
  [Number.POSITIVE_INFINITY, 'high'],
]

const EFFORT_FIELD = 'reasoning_effort'
const BUDGET_FIELD = 'reasoning.max_tokens'

/** @see https://platform.claude.com/docs/en/build-with-claude/thinking */
export function planThinking(
  request: ChatRequest,
  traits: ModelTraits,
  limits: ThinkingLimits,
  draft: Draft,
): ThinkingPlan {
  const own = request.providerOptions['thinking']
  if (isObject(own)) {
    // The caller speaks the provider's own words: the provider judges them.
    if (request.reasoning && !repeats(request.reasoning, own))
      lossy(draft, EFFORT_FIELD, '"thinking" says it in anthropic\'s own words')
    return { thinking: own }
  }
  const { effort, budgetTokens } = request.reasoning ?? {}
  if (request.reasoning === undefined) return {}
  if (effort === 'none' || budgetTokens === 0) return withoutThinking(traits, draft)
  if (traits.thinking === 'none') {
    lossy(draft, EFFORT_FIELD, 'this model does not think')
    return {}
  }
  const wantsBudget = budgetTokens !== undefined && effort === undefined
  if (traits.thinking === 'adaptive' || (traits.thinking === 'either' && !wantsBudget)) {
    return adaptive(effort, budgetTokens, traits, draft)
  }
  const obstacle = obstacleTo(limits)
  if (obstacle) {
    draft.changes.push({ field: EFFORT_FIELD, ...obstacle })
    return {}
  }
  const budget = budgetFor(effort, budgetTokens, limits.maxTokens, draft)
  if (budget === undefined) return {}
  return { thinking: { type: 'enabled', budget_tokens: budget } }
}

/** Whether a wish is no more than what was read of `thinking` itself. */
function repeats({ effort, budgetTokens }: Reasoning, thinking: JsonObject): boolean {
  if (thinking['type'] === 'disabled') return effort === 'none'
  return thinking['budget_tokens'] === undefined
    ? effort === 'medium' && budgetTokens === undefined
    : effort === undefined && budgetTokens === thinking['budget_tokens']
}

function withoutThinking(traits: ModelTraits, draft: Draft): ThinkingPlan {
  if (traits.alwaysThinks) {
    lossy(draft, EFFORT_FIELD, 'this model always thinks; asked for the least')
    return { effort: 'low' }
  }
  // Models before 4.6 think only when told to.
  if (traits.thinking !== 'either' && traits.thinking !== 'adaptive') return {}
  return { thinking: { type: 'disabled' } }
}

function adaptive(
  wanted: Exclude<Wanted, 'none'> | undefined,
  budget: number | undefined,
  traits: ModelTraits,
  draft: Draft,
): ThinkingPlan {
  // Newer models keep their thinking to themselves unless asked for a summary.
  const display = traits.thinking === 'adaptive' ? { display: 'summarized' as const } : {}
  const thinking = { type: 'adaptive' as const, ...display }
  if (wanted === undefined && budget === undefined) return { thinking }
  const effort = wanted ?? EFFORT_OF_BUDGET.find(([upTo]) => (budget ?? 0) <= upTo)?.[1] ?? 'high'
  const given = nearest(effort, traits.efforts)
  if (budget !== undefined) {
    if (wanted === undefined) adapted(draft, BUDGET_FIELD, `sent as effort ${given}`)
    else lossy(draft, BUDGET_FIELD, 'this model takes an effort, no budget')
  }
  if (wanted !== undefined && given !== wanted) {
    adapted(draft, EFFORT_FIELD, `${wanted} sent as ${given}`)
  }
  return { thinking, effort: given }
}

/** The strongest level that is not above the one wanted. */
function nearest(wanted: Exclude<Wanted, 'none'>, efforts: readonly Effort[]): Effort {
  const level = wanted === 'minimal' ? 0 : EFFORTS.indexOf(wanted)
  return efforts.findLast((effort) => EFFORTS.indexOf(effort) <= level) ?? 'low'
}

/** Combinations the API answers 400 to while `thinking.type` is `enabled`. */
function obstacleTo(
  limits: ThinkingLimits,
): { readonly kind: 'adapted' | 'lossy'; readonly note: string } | undefined {
  if (limits.continuesWithoutThinking) {
    return {
      kind: 'adapted',
      note: 'no thinking in this request: the tool calls it continues came without theirs',
    }
  }
  if (limits.forcedTool) {
    return { kind: 'lossy', note: 'this model can not think while a tool call is forced' }
  }
  if (limits.prefill) {
    return { kind: 'lossy', note: 'this model can not think while going on from its own words' }
  }
  if (limits.maxTokens * BUDGET_SHARE < LEAST_BUDGET) {
    return {
      kind: 'lossy',
      note: `max_tokens leaves no room for ${LEAST_BUDGET} tokens of thinking`,
    }
  }
  return undefined
}

function budgetFor(
  effort: Exclude<Wanted, 'none'> | undefined,
  budget: number | undefined,
  maxTokens: number,
  draft: Draft,
): number | undefined {
  if (budget === undefined) {
    return Math.min(BUDGETS[effort ?? 'medium'], Math.floor(maxTokens * BUDGET_SHARE))
  }
  const clamped = Math.min(Math.max(budget, LEAST_BUDGET), maxTokens - 1)
  if (clamped !== budget) adapted(draft, BUDGET_FIELD, `clamped from ${budget} to ${clamped}`)
  return clamped
}

type Sampling = Pick<MessagesBody, 'temperature' | 'top_p' | 'top_k'>

/** With thinking on, `top_p` may still be set from here up. */
const LEAST_TOP_P_THINKING = 0.95

/**
 * The sampling settings as far as the model takes them. A setting that asks for the default
 * is left out without a word where it would be refused.
 */
export function encodeSampling(
  request: ChatRequest,
  traits: ModelTraits,
  thinks: boolean,
  draft: Draft,
): Sampling {
  const { temperature, topP } = request
  const own = request.providerOptions['top_k']
  const topK = request.topK ?? (typeof own === 'number' ? own : undefined)
  if (traits.sampling !== 'none' && !thinks) {
    const both = temperature !== undefined && topP !== undefined && traits.sampling === 'one'
    const dropsTopP = both && (topP === 1 || temperature !== 1)
    if (dropsTopP && topP !== 1) lossy(draft, 'top_p', 'this model takes temperature or top_p')
    return {
      ...(temperature !== undefined &&
        (!both || dropsTopP) && { temperature: clampTemperature(temperature, draft) }),
      ...(topP !== undefined && !dropsTopP && { top_p: topP }),
      ...(topK !== undefined && { top_k: topK }),
    }
  }
  const why =
    traits.sampling === 'none' ? 'not supported by this model' : 'not supported with thinking'
  if (temperature !== undefined && temperature !== 1) lossy(draft, 'temperature', why)
  if (topK !== undefined) lossy(draft, 'top_k', why)
  if (topP === undefined || topP === 1) return {}
  if (traits.sampling !== 'none' && topP >= LEAST_TOP_P_THINKING) return { top_p: topP }
  lossy(draft, 'top_p', why)
  return {}
}

function clampTemperature(temperature: number, draft: Draft): number {
  const clamped = Math.min(Math.max(temperature, 0), 1)
  if (clamped !== temperature) {
    adapted(draft, 'temperature', `clamped from ${temperature} to ${clamped}`)
  }
  return clamped
}
