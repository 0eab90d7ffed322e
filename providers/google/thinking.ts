import type { Reasoning } from '#protocol'
import type { ChangeLog } from './changes.ts'
import type { ModelTraits } from './models.ts'
import type { ThinkingConfig } from './wire.ts'

type Effort = NonNullable<Reasoning['effort']>
type Level = NonNullable<ThinkingConfig['thinkingLevel']>

/** Tokens, as Google's own OpenAI endpoint maps them (https://ai.google.dev/gemini-api/docs/openai). */
const BUDGETS: Readonly<Record<Exclude<Effort, 'none'>, number>> = {
  minimal: 1024,
  low: 1024,
  medium: 8192,
  high: 24_576,
  xhigh: 32_768,
  max: 32_768,
}

/** How hard to think, in the words of the model's generation; thoughts are asked for too. */
export function thinkingConfig(
  { effort, budgetTokens }: Reasoning,
  traits: ModelTraits,
  log: ChangeLog,
): ThinkingConfig | undefined {
  if (traits.generation < 2.5) {
    if (effort !== 'none') log.lossy('reasoning_effort', 'the model does not reason')
    return undefined
  }
  if (effort !== 'none' && budgetTokens !== undefined)
    return { includeThoughts: true, thinkingBudget: budget(budgetTokens, traits, log) }
  if (effort === undefined) return { includeThoughts: true }
  return traits.generation >= 3 ? byLevel(effort, traits, log) : byBudget(effort, traits, log)
}

/** Gemini 3 cannot stop thinking; pro models know no MINIMAL, and the first of them no MEDIUM. */
function byLevel(effort: Effort, traits: ModelTraits, log: ChangeLog): ThinkingConfig {
  const level = thinkingLevel(effort, traits)
  if (level !== effort.toUpperCase())
    log.adapted('reasoning_effort', `${effort} is sent as the nearest level, ${level}`)
  return { includeThoughts: effort !== 'none', thinkingLevel: level }
}

const LEVELS: Readonly<Record<Effort, Level>> = {
  none: 'MINIMAL',
  minimal: 'MINIMAL',
  low: 'LOW',
  medium: 'MEDIUM',
  high: 'HIGH',
  xhigh: 'HIGH',
  max: 'HIGH',
}

function thinkingLevel(effort: Effort, { pro, generation }: ModelTraits): Level {
  const level = LEVELS[effort]
  if (pro && level === 'MINIMAL') return 'LOW'
  if (pro && generation === 3 && level === 'MEDIUM') return 'HIGH'
  return level
}

function byBudget(effort: Effort, traits: ModelTraits, log: ChangeLog): ThinkingConfig {
  if (effort !== 'none') {
    const { min, max } = budgetRange(traits)
    const thinkingBudget = Math.min(Math.max(BUDGETS[effort], min), max)
    log.adapted('reasoning_effort', `${effort} is sent as a budget of ${thinkingBudget} tokens`)
    return { includeThoughts: true, thinkingBudget }
  }
  if (!traits.pro) return { includeThoughts: false, thinkingBudget: 0 }
  log.adapted('reasoning_effort', 'the model cannot stop thinking: sent as a budget of 128 tokens')
  return { includeThoughts: false, thinkingBudget: 128 }
}

function budget(asked: number, traits: ModelTraits, log: ChangeLog): number {
  const { min, max } = budgetRange(traits)
  const sent = Math.min(Math.max(asked, min), max)
  if (sent !== asked)
    log.adapted('reasoning.budget_tokens', `moved from ${asked} to ${sent}, into the model's range`)
  return sent
}

/** https://ai.google.dev/gemini-api/docs/thinking#set-budget */
function budgetRange({ pro, lite }: ModelTraits): { min: number; max: number } {
  if (pro) return { min: 128, max: 32_768 }
  return { min: lite ? 512 : 1, max: 24_576 }
}
