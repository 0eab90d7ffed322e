import type { IncomingHttpHeaders } from 'node:http'
import type { GatewayError } from '#errors'
import type {
  Answer,
  Asked,
  Candidate,
  Change,
  Demand,
  Grant,
  Key,
  LimitStanding,
  NanoUsd,
  Route,
  Usage,
} from '#protocol'
import type { Body } from './endpoints/body.ts'
import type { Account } from './metering/account.ts'

/** What the steps of the data plane hand on, in `ctx.state`. A step's comment in app.ts says what it adds. */
export interface GatewayState {
  readonly requestId: string
  /** Unix ms. */
  readonly receivedAt: number
  /** Milliseconds of a clock that never jumps. */
  readonly receivedTick: number
  /** Aborted with a GatewayError when the caller leaves, the key is revoked, time is up or we stop. */
  readonly abort: AbortController
  /** As the caller sent them. */
  readonly headers: IncomingHttpHeaders
  key: Key
  body: Body
  asked: Asked
  route: Route
  demand: Demand
  grant: Grant
  answer: Answer
  account: Account
  /** What the log line, metrics and headers tell. */
  readonly record: DecisionRecord
}

/**
 * What was decided about a request and why, gathered on its way: references and numbers only,
 * so that it costs next to nothing where nobody asks.
 */
export interface DecisionRecord {
  endpoint: string
  /** The key found, also one that was then refused. */
  key?: Key
  /** Where it came from, by the proxies that are trusted. */
  address?: string
  /** From the key, the application and the request itself. */
  tags?: readonly string[]
  endUser?: string
  route?: Route
  /** The targets in the order they were to be asked. */
  planned?: readonly Candidate[]
  /** How the limits stood right after admission. */
  standing?: readonly LimitStanding[]
  reserved?: Pick<Grant, 'outputTokens' | 'reserved'>
  /** Why it was refused or failed. */
  error?: GatewayError
  /** Ms from the request's head until its key was known; absent: it was refused before. */
  authenticatedMs?: number
  /** The same, until its body was read. */
  readMs?: number
  /** The same, until the limits had let it pass. */
  admittedMs?: number
  /** Spent on waiting for the ledger. */
  settleMs?: number
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
  /** Spent on waiting for providers: of a stream until its first event, else until its end. */
  upstreamMs?: number
  /** Of a stream: spent on reading the provider after its first event, not on a slow caller. */
  streamMs?: number
  /** From the request's head until a target had answered, for a stream with its first event. */
  answeredMs?: number
  /** The limit that refused it: `rpm`, `tpm`, `concurrency` or `budget`. */
  limit?: string
}

export interface AttemptRecord {
  readonly target: string
  /** A stream that answered may break later. */
  outcome: string
  reason?: string
  error?: GatewayError
  /** Something left for the provider. */
  readonly sent: boolean
  /** Ms from the request's head. */
  readonly startedMs: number
  durationMs: number
  /** Of a stream: from the attempt's start. */
  readonly firstEventMs?: number
  /** Of the provider's answer; absent when there was none. */
  readonly status?: number
  /** The provider's own id of the request. */
  readonly upstreamId?: string
}
