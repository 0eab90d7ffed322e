import Koa from 'koa'
import type { Middleware } from 'koa'
import compose from 'koa-compose'
import type { GatewayError } from '#errors'
import type { Answer, Asked, Candidate, Key, Route, Scope, Demand } from '#protocol'
import { readBody } from './endpoints/body.ts'
import type { Body } from './endpoints/body.ts'
import { chatCompletions, embeddings, writeError } from './endpoints/served.ts'
import { writeModel, writeModels } from './endpoints/models.ts'
import type { ModelRow } from './endpoints/models.ts'
import type { Account, OpenAttempt } from './metering/account.ts'
import { accessLog } from './middleware/access-log.ts'
import type { Served } from './middleware/access-log.ts'
import { admit } from './middleware/admit.ts'
import type { AdmitDeps } from './middleware/admit.ts'
import { authenticate } from './middleware/authenticate.ts'
import type { AuthenticateDeps } from './middleware/authenticate.ts'
import { authorise } from './middleware/authorise.ts'
import { deadline } from './middleware/deadline.ts'
import { errors, strayErrors } from './middleware/errors.ts'
import { health } from './middleware/health.ts'
import type { HealthDeps } from './middleware/health.ts'
import { me, rollMe } from './middleware/me.ts'
import type { MeDeps } from './middleware/me.ts'
import { models } from './middleware/models.ts'
import type { OpenRequests } from './middleware/open-requests.ts'
import { readRequest } from './middleware/read-request.ts'
import { recall } from './middleware/recall.ts'
import type { RecallDeps } from './middleware/recall.ts'
import { relay } from './middleware/relay.ts'
import { reportLeak } from './middleware/report-leak.ts'
import type { ReportLeakDeps } from './middleware/report-leak.ts'
import { requestId } from './middleware/request-id.ts'
import { serve } from './middleware/serve.ts'
import { writeAnswer } from './middleware/write-answer.ts'
import type { AnswerWriter } from './middleware/write-answer.ts'
import { mayCall, mayComeFrom, mayUseEndpoint } from './routing/rights.ts'
import type { DecisionRecord, GatewayState } from './state.ts'

export interface AppDeps extends HealthDeps, RecallDeps {
  readonly findKey: AuthenticateDeps['findKey']
  readonly checkOpen: AuthenticateDeps['checkOpen']
  readonly used: AuthenticateDeps['used']
  readonly refused: AuthenticateDeps['refused']
  readonly reportLeak: ReportLeakDeps['reportLeak']
  readonly addressOf: AuthenticateDeps['addressOf']
  readonly resolve: (model: string) => Route
  /** Rows of `/v1/models` for what a key may call. */
  readonly modelRows: (key: Key) => readonly ModelRow[]
  /** What whoever holds a key may ask about it, and do with it. */
  readonly me: MeDeps
  readonly scopes: (state: GatewayState) => readonly Scope[]
  readonly demand: (asked: Asked, route: Route, key: Key, at: number) => Demand
  readonly admit: AdmitDeps['admit']
  readonly openAccount: (state: GatewayState) => Account
  readonly plan: (route: Route, record: DecisionRecord, demand: Demand) => readonly Candidate[]
  readonly ask: (candidate: Candidate, state: GatewayState, attempt: OpenAttempt) => Promise<Answer>
  readonly openRequests: OpenRequests
  readonly served: (served: Served) => void
  readonly onFault: (error: GatewayError, requestId: string) => void
  readonly usd: (nanos: bigint) => string
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  readonly nearest: (name: string, known: Iterable<string>) => string | undefined
  /** Unix ms. */
  readonly now: () => number
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
  readonly limits: {
    readonly maxBodyBytes: number
    readonly maxAttempts: number
    readonly totalTimeoutMs: number
    readonly clientTimeoutMs: number
  }
}

/** The APIs that ask a model, by path; a key may be kept to some of them. */
export const ENDPOINTS: Readonly<Record<string, Endpoint>> = {
  '/v1/chat/completions': chatCompletions,
  '/v1/embeddings': embeddings,
}

/** The data plane, top to bottom as a request passes it. */
export function createApp(deps: AppDeps): Koa<GatewayState> {
  const app = new Koa<GatewayState>()
  app.use(requestId(deps)) //                    id, clock, abort signal, record
  app.use(accessLog(deps)) //                    one line and the metrics, on the way out
  app.on('error', strayErrors(deps)) //           broken connections
  app.use(errors({ writeError, onFault: deps.onFault })) // answers every throw below
  app.use(
    serve(
      [
        { method: 'GET', path: '/livez', handler: health('live', deps) },
        { method: 'GET', path: '/readyz', handler: health('ready', deps) },
        { method: 'GET', path: '/healthz', handler: health('ready', deps) },
        {
          method: 'POST',
          path: '/v1/keys/report-leak',
          handler: reportLeak({ ...deps, readBody }),
        },
        { method: 'GET', path: '/v1/models', handler: listing(deps) },
        { method: 'GET', path: '/v1/models/*', handler: listing(deps) },
        { method: 'GET', path: '/v1/me', handler: own(deps, me(deps.me)) },
        {
          method: 'POST',
          path: '/v1/me/roll',
          handler: own(deps, rollMe({ ...deps.me, readBody })),
        },
        ...Object.entries(ENDPOINTS).map(([path, endpoint]) => ({
          method: 'POST' as const,
          path,
          handler: pipeline(deps, endpoint),
        })),
      ],
      deps,
    ),
  )
  return app
}

/** An API we serve: how to read its requests and write its answers. */
export interface Endpoint extends AnswerWriter {
  readonly read: (body: Body) => Asked
}

function pipeline(deps: AppDeps, endpoint: Endpoint): Middleware<GatewayState> {
  return compose<Koa.ParameterizedContext<GatewayState>>([
    authenticate({ ...deps, mayComeFrom }), //   key
    deps.openRequests.middleware, //             may be ended by a revocation or a shutdown
    readRequest({ ...deps, maxBodyBytes: deps.limits.maxBodyBytes, readBody, read: endpoint.read }), // body, asked
    authorise({
      resolve: deps.resolve, //                  route
      mayCall,
      mayUseEndpoint,
      allowed: (key) => deps.modelRows(key).map(({ id }) => id),
    }),
    admit(deps), //                              grant, account; settles on the way out
    deadline(deps.limits.totalTimeoutMs),
    writeAnswer({
      //                                         on the way out; the last byte waits for the ledger
      writer: endpoint,
      usd: deps.usd,
      tick: deps.tick,
      clientTimeoutMs: deps.limits.clientTimeoutMs,
    }),
    recall(deps), //                             returns a model's sealed reasoning to it
    relay({ ...deps, maxAttempts: deps.limits.maxAttempts }), // answer
  ])
}

function listing(deps: AppDeps): Middleware<GatewayState> {
  return own(
    deps,
    models({
      rows: deps.modelRows,
      writeModel,
      writeModels,
      nearest: deps.nearest,
    }),
  )
}

/** What every good key may ask: it counts against no limit, and no endpoint has to be granted. */
function own(deps: AppDeps, handler: Middleware<GatewayState>): Middleware<GatewayState> {
  return compose<Koa.ParameterizedContext<GatewayState>>([
    authenticate({ ...deps, mayComeFrom }),
    handler,
  ])
}
