/** What a Claude model takes; the API answers 400 to what it does not. */
export interface ModelTraits {
  /** `budget`: `enabled` with a number of tokens; `adaptive`: the model decides; `either`: both. */
  readonly thinking: 'none' | 'budget' | 'either' | 'adaptive'
  /** Refuses `thinking: {type: 'disabled'}`. */
  readonly alwaysThinks: boolean
  /** Levels of `output_config.effort`, weakest first. */
  readonly efforts: readonly Effort[]
  /** `any` mix; `one` of temperature and top_p; `none`: only their defaults. */
  readonly sampling: 'any' | 'one' | 'none'
  /** `output_config.format` and strict tools. */
  readonly jsonSchema: boolean
  /** The conversation may end with the assistant, who then goes on from there. */
  readonly prefill: boolean
  /** `tool_choice` of type `any` or `tool`. */
  readonly forcedTool: boolean
  /** Tokens to allow where neither the caller nor the catalogue names a number. */
  readonly defaultMaxTokens: number
}

export const EFFORTS = ['low', 'medium', 'high', 'xhigh', 'max'] as const
export type Effort = (typeof EFFORTS)[number]

const OLDEST: ModelTraits = {
  thinking: 'none',
  alwaysThinks: false,
  efforts: [],
  sampling: 'any',
  jsonSchema: false,
  prefill: true,
  forcedTool: true,
  defaultMaxTokens: 4096,
}
const CLAUDE_3_5: ModelTraits = { ...OLDEST, defaultMaxTokens: 8192 }
const CLAUDE_3_7: ModelTraits = { ...OLDEST, thinking: 'budget', defaultMaxTokens: 32_000 }
const CLAUDE_4_1: ModelTraits = { ...CLAUDE_3_7, sampling: 'one', jsonSchema: true }
const CLAUDE_4_6: ModelTraits = {
  ...CLAUDE_4_1,
  thinking: 'either',
  efforts: ['low', 'medium', 'high', 'max'],
  prefill: false,
}
const CLAUDE_4_7: ModelTraits = {
  ...CLAUDE_4_6,
  thinking: 'adaptive',
  efforts: EFFORTS,
  sampling: 'none',
}
const FABLE_5: ModelTraits = { ...CLAUDE_4_7, alwaysThinks: true }
const FABLE_5_1: ModelTraits = { ...FABLE_5, forcedTool: false }

/** Hosts that imitate the API serve models of their own: say what the caller said, in the old words. */
const FOREIGN: ModelTraits = { ...OLDEST, thinking: 'budget' }

/**
 * The first row whose family and version (times ten) fit.
 *
 * Sources: https://platform.claude.com/docs/en/build-with-claude/thinking,
 * /effort, /structured-outputs, /api/errors#prefill-not-supported and the deprecation notes of
 * the API's schema; 4.6's efforts as its own 400 names them (seen April 2026).
 */
const ROWS: readonly {
  readonly families?: readonly string[]
  readonly from: number
  readonly traits: ModelTraits
}[] = [
  { families: ['fable', 'mythos'], from: 51, traits: FABLE_5_1 },
  { families: ['fable', 'mythos'], from: 0, traits: FABLE_5 },
  { from: 47, traits: CLAUDE_4_7 },
  { from: 46, traits: CLAUDE_4_6 },
  { from: 41, traits: CLAUDE_4_1 },
  { from: 37, traits: CLAUDE_3_7 },
  { from: 35, traits: CLAUDE_3_5 },
  { from: 0, traits: OLDEST },
]

const NAME = /claude-([a-z]+)-(\d{1,2})(?:[-.](\d))?(?=$|[-@:])/
/** Names up to Claude 3.7, whose version stands before the family. */
const OLD_NAME = /claude-(\d)(?:[-.](\d))?-([a-z]+)/
const FIRST_NAME = /claude-(?:instant|v?[12])\b/

/** Traits by the provider's own name for the model; a Claude nobody has heard of is a new one. */
export function traitsOf(model: string): ModelTraits {
  const name = model.toLowerCase()
  if (!name.includes('claude')) return FOREIGN
  const old = OLD_NAME.exec(name)
  if (old) return find(old[3] ?? '', version(old[1], old[2]))
  if (FIRST_NAME.test(name)) return OLDEST
  const match = NAME.exec(name)
  if (match) return find(match[1] ?? '', version(match[2], match[3]))
  return name.includes('mythos') ? FABLE_5_1 : CLAUDE_4_7
}

function version(major = '0', minor = '0'): number {
  return Number(major) * 10 + Number(minor)
}

function find(family: string, at: number): ModelTraits {
  const row = ROWS.find(({ families, from }) => at >= from && (families?.includes(family) ?? true))
  return row?.traits ?? OLDEST
}
