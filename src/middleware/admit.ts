import type { ServerResponse } from 'node:http'
import type { Middleware } from 'koa'
import { GatewayError } from '#errors'
import type { Asked, Demand, Grant, Key, LimitStanding, Route, Scope } from '#protocol'
import type { Account } from '../metering/account.ts'
import { bindingOf } from '../metering/standing.ts'
import type { GatewayState } from '../state.ts'
import { settle } from './settle.ts'

export interface AdmitDeps {
  readonly scopes: (state: GatewayState) => readonly Scope[]
  /** The most the request can consume over all targets it may reach. */
  readonly demand: (asked: Asked, route: Route, key: Key, at: number) => Demand
  /** @throws GatewayError `rate_limit_exceeded`, `insufficient_quota`, `unpriced_model` */
  readonly admit: (
    scopes: readonly Scope[],
    demand: Demand,
    now: number,
    requestId: string,
  ) => Grant | Promise<Grant>
  readonly usd: (nanos: bigint) => string
  readonly openAccount: (state: GatewayState) => Account
  readonly now: () => number
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
}

/**
 * Holds the request's upper bound on every scope before anything reaches a provider, and
 * settles it on every way out. Sets the demand, the grant and the account.
 */
export function admit({
  scopes,
  demand,
  admit,
  openAccount,
  usd,
  now,
  tick,
}: AdmitDeps): Middleware<GatewayState> {
  return async function admitRequest(ctx, next) {
    const { state } = ctx
    // One moment for both: what is held and what it is priced by.
    const at = now()
    state.demand = demand(state.asked, state.route, state.key, at)
    try {
      const granted = admit(scopes(state), state.demand, at, state.requestId)
      state.grant = granted instanceof Promise ? await granted : granted
    } catch (error) {
      if (error instanceof GatewayError) {
        writeRefusal(ctx.res, error)
        if (error.code === 'insufficient_quota') state.record.limit = 'budget'
        else if (error.code === 'rate_limit_exceeded') {
          state.record.limit = String(error.details?.limit)
        }
      }
      throw error
    }
    const standing = ownOf(state.grant.standing)
    if (standing.length > 0) {
      writeStanding(ctx.res, standing, state.receivedAt)
      writeBinding(ctx.res, state.grant, standing, usd)
    }
    state.account = openAccount(state)
    const { record, grant } = state
    record.standing = grant.standing
    record.reserved = grant
    record.admittedMs = tick() - state.receivedTick
    try {
      await next()
    } finally {
      await settle(state, tick)
      const { cost, usage } = state.account.total
      if (cost !== undefined) state.record.cost = cost
      if (usage !== undefined) state.record.usage = usage
    }
  }
}

/** Without those of the platform: what it may and does use is no tenant's to know. */
function ownOf(standing: readonly LimitStanding[]): readonly LimitStanding[] {
  const isOwn = ({ scope }: LimitStanding): boolean => scope.kind !== 'platform'
  return standing.every(isOwn) ? standing : standing.filter(isOwn)
}

/** OpenAI's rate limit headers, for the limit of each kind with the least left. */
function writeStanding(res: ServerResponse, standing: readonly LimitStanding[], now: number): void {
  for (const limit of ['requests', 'tokens'] as const) {
    let tightest: LimitStanding | undefined
    for (const one of standing) {
      if (one.limit !== limit) continue
      if (tightest === undefined || one.remaining < tightest.remaining) tightest = one
    }
    if (tightest === undefined) continue
    res.setHeader(`x-ratelimit-limit-${limit}`, String(tightest.max))
    res.setHeader(`x-ratelimit-remaining-${limit}`, String(tightest.remaining))
    res.setHeader(
      `x-ratelimit-reset-${limit}`,
      `${Math.max(0, (tightest.resetsAt ?? now) - now) / 1000}s`,
    )
  }
}

/** What there is to know of budgets, and of the limit that will be met first. */
function writeBinding(
  res: ServerResponse,
  { outputTokens, clampedBy }: Grant,
  standing: readonly LimitStanding[],
  usd: (nanos: bigint) => string,
): void {
  let [isExceeded, isNear] = [false, false]
  for (const { budget } of standing) {
    if (budget === undefined) continue
    if (budget.status === 'soft-exceeded') isExceeded = true
    if (budget.status === 'warn' || budget.status === 'blocked') isNear = true
  }
  if (isExceeded) res.setHeader('x-tollgate-budget', 'soft-exceeded')
  else if (isNear) res.setHeader('x-tollgate-budget', 'warn')
  const binding = bindingOf(standing)
  if (binding !== undefined) res.setHeader('x-tollgate-limit', inWords(binding, usd))
  if (clampedBy !== undefined) {
    res.setHeader('x-tollgate-max-tokens', String(outputTokens))
    const by = clampedBy.scope.kind === 'platform' ? 'platform' : inWords(clampedBy, usd)
    res.setHeader('x-tollgate-max-tokens-limit', by)
  }
}

/** `application "shop"; budget; per=month; max=10; remaining=2.5; resets=...`. */
function inWords(standing: LimitStanding, usd: (nanos: bigint) => string): string {
  const { scope, limit, window, max, remaining, resetsAt } = standing
  const amount = limit === 'budget' ? usd : String
  return headerOf({
    scope: scope.kind,
    name: scope.name === '' ? scope.id : scope.name,
    limit,
    model: scope.model,
    window,
    max: amount(max),
    remaining: amount(remaining),
    resets: resetsAt === undefined ? undefined : new Date(resetsAt).toISOString(),
  })
}

function part(name: string, value: unknown): readonly string[] {
  return typeof value === 'string' ? [`${name}=${value}`] : []
}

type LimitPart = 'scope' | 'name' | 'limit' | 'model' | 'window' | 'max' | 'remaining' | 'resets'

function headerOf(limit: { readonly [part in LimitPart]: unknown }): string {
  const words = [
    `${String(limit.scope)} "${String(limit.name)}"`,
    String(limit.limit),
    ...part('model', limit.model),
    ...part('per', limit.window),
    `max=${String(limit.max)}`,
    `remaining=${String(limit.remaining)}`,
    ...part('resets', limit.resets),
  ]
  // A header must not carry anything else, and names are anybody's.
  return words.join('; ').replace(/[^\x20-\x7e]/g, '?')
}

const KINDS: ReadonlyMap<unknown, string> = new Map([
  ['rpm', 'requests'],
  ['rpd', 'requests'],
  ['tpm', 'tokens'],
  ['tpd', 'tokens'],
])

/** As standings name them. */
const LIMITS: ReadonlyMap<unknown, string> = new Map([
  ...KINDS,
  ['itpm', 'input_tokens'],
  ['itpd', 'input_tokens'],
  ['otpm', 'output_tokens'],
  ['otpd', 'output_tokens'],
])

/** The same for the limit that refused. */
function writeRefusal(res: ServerResponse, { code, details, retryAfterMs }: GatewayError): void {
  if (details?.remaining !== undefined) {
    const isBudget = code === 'insufficient_quota'
    const { scope, scope_id, name, limit, model, window, max, remaining, resets_at } = details
    const binding = headerOf({
      scope,
      name: name === '' ? scope_id : name,
      // Of a budget, `limit` is the money.
      limit: isBudget ? 'budget' : (LIMITS.get(limit) ?? limit),
      model,
      window,
      max: isBudget ? limit : max,
      remaining,
      resets: resets_at,
    })
    res.setHeader('x-tollgate-limit', binding)
  }
  const kind = KINDS.get(details?.limit)
  const isTold = details !== undefined && 'max' in details
  if (kind === undefined || !isTold) return
  res.setHeader(`x-ratelimit-limit-${kind}`, String(details.max))
  res.setHeader(`x-ratelimit-remaining-${kind}`, String(details.remaining))
  if (retryAfterMs !== undefined) {
    res.setHeader(`x-ratelimit-reset-${kind}`, `${retryAfterMs / 1000}s`)
  }
}
