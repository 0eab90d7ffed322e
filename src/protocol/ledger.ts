import type { NanoUsd, ScopeKind, UsedModel } from './key.ts'
import type { Usage } from './usage.ts'

/**
 * One line of the ledger: what one upstream attempt consumed and cost.
 *
 * Never changed once written; a correction is another entry with `kind: 'adjustment'`.
 */
export interface Entry {
  /** `<requestId>.<attempt>`; the same attempt can not be written twice. */
  readonly id: string
  readonly kind: 'attempt' | 'adjustment'
  readonly requestId: string
  /** 1 for the first try of a request. */
  readonly attempt: number
  readonly tenantId: string
  readonly applicationId: string
  readonly keyId: string
  /** The path served: `/v1/chat/completions`. */
  readonly endpoint: string
  /** The model as the caller wrote it. */
  readonly modelAsked: string
  /** Name of the configured provider. */
  readonly provider: string
  /** The model asked of the provider. */
  readonly model: string
  /** What the provider says answered; absent when it did not say. */
  readonly modelServed?: string
  /** Unix ms; the moment that decides to which budget window the cost belongs. */
  readonly admittedAt: number
  /** Unix ms. */
  readonly startedAt: number
  readonly durationMs: number
  /** From the attempt's start to its first meaningful event; streams only. */
  readonly firstEventMs?: number
  readonly stream: boolean
  readonly outcome: 'ok' | 'error' | 'timeout' | 'aborted' | 'crashed'
  /** Our code, where the outcome is not `ok`. */
  readonly errorCode?: string
  readonly finishReason?: string
  readonly endUser?: string
  /** Owner of the key when it was used. */
  readonly userId?: string
  /** Of the application, the key and the request: sorted, each once; absent where there are none. */
  readonly tags?: readonly string[]
  /** Of the application, such as `production`. */
  readonly environment?: string
  /** The prompt product that was called. */
  readonly promptId?: string
  /** The tenant's own credential it ran on; absent: the operator's. */
  readonly credentialId?: string
  readonly usage: Usage
  /** `none`: nothing reached the provider, or it refused before work. */
  readonly usageSource: 'provider' | 'estimated' | 'none'
  /** Absent: the model has no price, and the operator lets such requests pass. */
  readonly cost?: NanoUsd
  /** What `cost` would be without a negotiated discount; absent: the same. */
  readonly listCost?: NanoUsd
  /** Which price was used, such as `genai-prices@0.1.8:openai/gpt-5-mini`; absent as `cost`. */
  readonly priceVersion?: string
  /**
   * The cost by what it was for: each type at most once, all together exactly `cost`. Absent
   * where it is not known apart, such as at a reserved bound.
   */
  readonly costLines?: readonly CostLine[]
  /** Id of the entry that an adjustment corrects. Its `admittedAt` is that entry's. */
  readonly adjusts?: string
  /** Why an adjustment was made. */
  readonly reason?: string
}

/** What something is billed for: a bucket of usage, or the request as such. */
export type CostType = Exclude<keyof Usage, 'reportedTotal'> | 'request'

export interface CostLine {
  readonly type: CostType
  /** What `usage` has of it; 1 for the request of an attempt. Nothing in an adjustment of cost. */
  readonly quantity: number
  readonly cost: NanoUsd
}

/** An attempt that was sent upstream and has no entry yet. */
export interface SentAttempt {
  /** Of its entry. */
  readonly id: string
  /**
   * What goes on the ledger should nobody record its entry: the outcome `crashed`, usage and
   * cost at the bound held for it.
   */
  asIfCrashed(): Entry
}

/** What a request may consume at most, asked of every scope at once. */
export interface Demand {
  /** Upper bound of the prompt's tokens. */
  readonly inputTokens: number
  /** Most output tokens over all choices, as the caller or the model's own maximum sets it. */
  readonly outputTokens: number
  /**
   * The caller set no maximum: the grant may be lowered to what the budgets can still
   * afford, and the relay then sends it upstream as the maximum.
   */
  readonly clampable: boolean
  /** Answers that share the output, each with at least a token; absent: one. */
  readonly answers?: number
  /** Upper bound of the cost, non-decreasing in the output tokens; `undefined` when unpriced. */
  readonly cost: ((outputTokens: number) => NanoUsd) | undefined
}

/** A held reservation. Settle it exactly once. Its numbers change where it is extended. */
export interface Grant {
  readonly id: string
  /** Unix ms. */
  readonly admittedAt: number
  /** Output tokens granted; below the demand's only when that was clampable. */
  readonly outputTokens: number
  readonly reserved: { readonly tokens: number; readonly cost: NanoUsd }
  /** How the limits stood right after admission, for headers and the decision record. */
  readonly standing: readonly LimitStanding[]
  /** What kept `outputTokens` below the demand's. */
  readonly clampedBy?: LimitStanding
  /** Its settlement has to say what was used of each model. */
  readonly byModel?: boolean
}

export interface LimitStanding {
  readonly scope: {
    readonly kind: ScopeKind
    readonly id: string
    readonly name: string
    /** Only what is used of models of this pattern counts. */
    readonly model?: string
  }
  readonly limit:
    | 'requests'
    | 'tokens'
    | 'input_tokens'
    | 'output_tokens'
    | 'concurrency'
    | 'budget'
  /** `minute`, `day`, `week`, `month` or `total`; absent for concurrency. */
  readonly window?: string
  /** Requests or tokens; nano-dollars for budgets, with what has been raised or is blocked. */
  readonly max: bigint
  readonly remaining: bigint
  /** Unix ms when `remaining` is full again; absent when time does not restore it. */
  readonly resetsAt?: number
  /** Of a budget. */
  readonly budget?: BudgetStanding
}

export interface BudgetStanding {
  readonly settled: NanoUsd
  readonly reserved: NanoUsd
  readonly policy: 'hard' | 'soft'
  readonly status: 'ok' | 'warn' | 'blocked' | 'soft-exceeded'
}

/** What replaces a reservation. */
export interface Settlement {
  /** Input and output together. */
  readonly tokens: number
  /** Part of `tokens`; absent: none. */
  readonly outputTokens?: number
  readonly cost: NanoUsd
  /** The same by models, for limits on some of them; absent: not known apart, all counts. */
  readonly parts?: readonly SettlementPart[]
}

export interface SettlementPart extends Pick<Settlement, 'tokens' | 'outputTokens' | 'cost'> {
  readonly used: UsedModel
}
