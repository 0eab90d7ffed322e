import type { GatewayError } from '#errors'
import type {
  Answer,
  Asked,
  Candidate,
  Change,
  Entry,
  Grant,
  Key,
  NanoUsd,
  Route,
  Tally,
  Usage,
} from '#protocol'
import type { Body } from './endpoints/body.ts'

/** What the steps of the data plane hand on, in `ctx.state`. A step's comment in app.ts says what it adds. */
export interface GatewayState {
  readonly requestId: string
  /** Unix ms. */
  readonly receivedAt: number
  /** Milliseconds of a clock that never jumps. */
  readonly receivedTick: number
  /** Aborted with a GatewayError when the caller leaves, the key is revoked, time is up or we stop. */
  readonly abort: AbortController
  key: Key
  body: Body
  asked: Asked
  route: Route
  grant: Grant
  answer: Answer
  meter: Meter
  /** What the log line, metrics and headers tell. */
  readonly record: DecisionRecord
}

/** Keeps the account of one request. */
export interface Meter {
  /** Opens the account of an attempt that is about to be made. */
  attempt(candidate: Candidate): Attempt
  /** The attempt made last. */
  readonly current: Attempt | undefined
  /**
   * Ends what is still open, waits until every entry is on the ledger, then replaces the
   * reservation. Later calls wait for the first.
   *
   * @throws GatewayError `unavailable` when the ledger cannot be written
   */
  settle(): Promise<void>
}

export interface Attempt {
  /** Something may have left for the provider: from here on, a loss may have cost money. */
  sent(): void
  /** What is known of the answer, once there is one. */
  tally: Tally | undefined
  /** Ends the attempt; only the first call counts. */
  end(outcome: Entry['outcome'], error?: GatewayError): void
}

export interface DecisionRecord {
  endpoint: string
  model?: string
  keyId?: string
  applicationId?: string
  tenantId?: string
  stream?: boolean
  readonly attempts: AttemptRecord[]
  changes: readonly Change[]
  /** Sum over the attempts; absent while unknown or unpriced. */
  cost?: NanoUsd
  usage?: Usage
  errorCode?: string
  upstreamMs?: number
}

export interface AttemptRecord {
  readonly target: string
  readonly outcome: string
  readonly reason?: string
  readonly durationMs: number
}
