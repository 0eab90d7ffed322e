/** Billionths of a US dollar. The only form in which money is held. */
export type NanoUsd = bigint

/** A credential we issue; the secret itself is not here, nor anywhere. */
export interface Key {
  /** `key_...` */
  readonly id: string
  readonly tenantId: string
  readonly applicationId: string
  /**
   * The first of the keys that follow each other by rolling. Limits and spend are the whole
   * line's: a roll gives no fresh money.
   */
  readonly rootId: string
  /** Who answers for it. */
  readonly userId?: string
  /** Sorted, each once; they stand on every entry. */
  readonly tags: readonly string[]
  readonly name: string
  /** The public part the key is looked up by: `sk-tg-live-` and the first characters after it. */
  readonly prefix: string
  /** For people to recognise it by. */
  readonly last4: string
  readonly status: 'active' | 'disabled' | 'revoked'
  /** Why it is not active: `leaked`, or an operator's words. */
  readonly statusReason?: string
  /** Unix ms. */
  readonly createdAt: number
  /** Unix ms; absent: never. */
  readonly expiresAt?: number
  /** Patterns over `provider/model` and route names, `*` for one path segment, a lone `*` for all. */
  readonly models: readonly string[]
  /** Paths it may call, such as `/v1/embeddings`; `*` for all. `GET /v1/models` and `/v1/me` are always allowed. */
  readonly endpoints: readonly string[]
  /** CIDR ranges it may be used from; empty: anywhere. */
  readonly addresses: readonly string[]
  readonly limits: Limits
  /** Refuse a request whose translation would lose something. */
  readonly strict: boolean
  /** The key that replaces this one, when it was rolled; this one then ends at `expiresAt`. */
  readonly successorId?: string
}

/** What may be used; absent: not limited. A day is one of the tenant's calendar. */
export interface Quotas {
  /** In any 60 seconds. */
  readonly requestsPerMinute?: number
  /** Input and output together, in any 60 seconds. */
  readonly tokensPerMinute?: number
  readonly inputTokensPerMinute?: number
  readonly outputTokensPerMinute?: number
  readonly requestsPerDay?: number
  /** Input and output together. */
  readonly tokensPerDay?: number
  readonly inputTokensPerDay?: number
  readonly outputTokensPerDay?: number
  /** Requests under way at once. */
  readonly concurrency?: number
  readonly budgets?: readonly Budget[]
}

export interface Limits extends Quotas {
  /** What may be used of some models, beside the limits for all. */
  readonly models?: readonly ModelQuotas[]
}

export interface ModelQuotas extends Quotas {
  /** Over `provider/model` and route names, as in a key's `models`. Each stands once. */
  readonly pattern: string
}

/** Money that may be spent within a window of the tenant's calendar. */
export interface Budget {
  readonly window: 'day' | 'week' | 'month' | 'total'
  readonly limit: NanoUsd
  /** Percent of the limit from which it is near its end; absent: it never says so. */
  readonly warn?: number
  /** Percent of the limit from which nothing passes; absent: 100. */
  readonly block?: number
  /** `soft`: lets pass what is over it, and marks that. Absent: `hard`. */
  readonly policy?: 'hard' | 'soft'
  readonly raises?: readonly Raise[]
}

/** More of a budget for a while. It ends by itself. */
export interface Raise {
  /** On top of the limit. */
  readonly amount: NanoUsd
  /** Unix ms, exclusive. */
  readonly until: number
  readonly reason: string
}

/** What limits apply to. */
export interface Scope {
  readonly kind: ScopeKind
  /** Names it among all of its kind: of an end user, a service or a tag, `<tenant id>/<name>`. */
  readonly id: string
  /** For messages. */
  readonly name: string
  readonly limits: Quotas
  /** IANA name, for the windows. */
  readonly timeZone: string
  /** 1 is Monday, 7 Sunday; absent: Monday. */
  readonly weekStartsOn?: number
  /** 1 to 28; absent: the first. */
  readonly monthStartsOn?: number
  /** Of a service that callers may also name without its provider: that name. */
  readonly bareName?: string
  /** A pattern: only what is used of these models counts. Absent: all. */
  readonly model?: string
  /** Whether what was used of a model counts. Present where `model` is. */
  readonly counts?: (used: UsedModel) => boolean
}

export interface UsedModel {
  /** `provider/model` */
  readonly name: string
  /** As the caller wrote it. */
  readonly asked: string
}

export type ScopeKind =
  | 'platform'
  | 'tenant'
  | 'application'
  | 'key'
  | 'end_user'
  | 'service'
  | 'tag'
