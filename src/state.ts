import type { IncomingHttpHeaders } from 'node:http'
import type { Answer, Asked, Change, Demand, Grant, Key, NanoUsd, Route, Usage } from '#protocol'
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
  readonly outcome: string
  readonly reason?: string
  readonly durationMs: number
}
