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
  /** Paths it may call, such as `/v1/embeddings`; `*` for all. `GET /v1/models` is always allowed. */
  readonly endpoints: readonly string[]
  /** CIDR ranges it may be used from; empty: anywhere. */
  readonly addresses: readonly string[]
  readonly limits: Limits
  /** Refuse a request whose translation would lose something. */
  readonly strict: boolean
  /** The key that replaces this one, when it was rolled; this one then ends at `expiresAt`. */
  readonly successorId?: string
}

/** Absent: not limited. */
export interface Limits {
  /** In any 60 seconds. */
  readonly requestsPerMinute?: number
  /** Input and output together, in any 60 seconds. */
  readonly tokensPerMinute?: number
  /** Requests under way at once. */
  readonly concurrency?: number
  readonly budgets?: readonly Budget[]
}

/** Money that may be spent within a window of the tenant's calendar. */
export interface Budget {
  readonly window: 'day' | 'week' | 'month' | 'total'
  readonly limit: NanoUsd
}

/** What limits apply to: the key today; application, tenant and platform above it later. */
export interface Scope {
  readonly kind: 'key' | 'application' | 'tenant' | 'platform'
  readonly id: string
  /** For messages. */
  readonly name: string
  readonly limits: Limits
  /** IANA name, for the budgets' windows. */
  readonly timeZone: string
}
