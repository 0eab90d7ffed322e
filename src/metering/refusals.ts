import { GatewayError } from '#errors'
import type { GatewayErrorOptions } from '#errors'
import type { Budget, NanoUsd, Scope } from '#protocol'
import type { Tightest } from './admission.ts'
import { formatUsd } from './money.ts'
import { capOf, type Rate } from './quotas.ts'

/** Concurrency frees itself at no known time; clients are asked to come back after this. */
const CONCURRENCY_RETRY_MS = 1000

/** Longer than this, no client waits for a limit. */
const LONGEST_WAIT_MS = 120_000

export function tooManyOpen(scope: Scope, open: number, max: number): GatewayError {
  return new GatewayError(
    'rate_limit_exceeded',
    isHidden(scope)
      ? `${title(scope)} has as many requests under way as it may; try again when one has ended`
      : `${title(scope)} has ${count(open, 'requests')} under way, and ${max} is its limit; try again when one has ended`,
    {
      ...detailsFor(scope, {
        limit: 'concurrency',
        ...nameOf(scope),
        max,
        used: open,
        remaining: 0,
      }),
      retryAfterMs: CONCURRENCY_RETRY_MS,
    },
  )
}

export function tooFast(
  scope: Scope,
  rate: Rate,
  used: number,
  now: number,
  retryAfterMs: number,
): GatewayError {
  const resetsAt = new Date(now + retryAfterMs).toISOString()
  const isLong = retryAfterMs > LONGEST_WAIT_MS
  return new GatewayError(
    'rate_limit_exceeded',
    `${title(scope)} is at its limit of ${amountOf(scope, rate)} per ${rate.window}; ` +
      (isLong
        ? `it will reset at ${resetsAt}: ask for a higher limit if that is too late`
        : `try again in ${Math.ceil(retryAfterMs / 1000)} s`),
    {
      ...detailsFor(scope, { ...rateDetails(scope, rate, used), resets_at: resetsAt }),
      retryAfterMs,
      ...(isLong && { retryable: false }),
    },
  )
}

export function neverFits(scope: Scope, rate: Rate, needed: number): GatewayError {
  return new GatewayError(
    'rate_limit_exceeded',
    `The request may use ${count(needed, WHAT[rate.measure])}, and ${title(scope)} may ${
      isHidden(scope) ? 'not use as many' : `use ${rate.max}`
    } per ${rate.window}: it can never fit. Shorten the prompt or lower the maximum of output tokens`,
    { ...detailsFor(scope, { ...rateDetails(scope, rate, rate.max), needed }), retryable: false },
  )
}

export function unpriced(scope: Scope): GatewayError {
  return new GatewayError(
    'unpriced_model',
    `The model has no known price, and ${title(scope)} has a budget that such a request would escape`,
    { details: nameOf(scope) },
  )
}

/** @param what the request does with the money needed: `this one may cost` */
export function overBudget(
  { scope, budget, window: { settled, reserved, end } }: Tightest,
  needed: NanoUsd,
  now: number,
  what: string,
): GatewayError {
  const cap = capOf(budget, now)
  const used = settled + reserved
  const resets = budget.window === 'total' ? undefined : new Date(end).toISOString()
  const span = budget.window === 'total' ? 'in total' : `per ${budget.window}`
  return new GatewayError(
    'insufficient_quota',
    isHidden(scope)
      ? "The platform's budget is used up; ask its operator"
      : `${title(scope)} may spend ${formatUsd(cap)} USD ${span}: ${formatUsd(settled)} is spent, ` +
          `${formatUsd(reserved)} is held by requests under way, and ${what} ${formatUsd(needed)}. ` +
          (needed > cap
            ? 'It can never fit: shorten it or ask for a higher budget'
            : resets === undefined
              ? 'Ask for a higher budget'
              : `The budget will reset at ${resets}`),
    {
      ...detailsFor(scope, {
        ...nameOf(scope),
        limit: formatUsd(cap),
        spent: formatUsd(settled),
        reserved: formatUsd(reserved),
        remaining: formatUsd(used < cap ? cap - used : 0n),
        needed: formatUsd(needed),
        currency: 'USD',
        window: budget.window,
        ...(resets === undefined ? {} : { resets_at: resets }),
      }),
    },
  )
}

export function windowOver(scope: Scope, window: Budget['window']): GatewayError {
  return new GatewayError(
    'insufficient_quota',
    `The ${window} that ${title(scope)} was admitted in is over, and can pay for no other attempt`,
    { details: { ...nameOf(scope), window } },
  )
}

/** A fault of ours: a hard budget would hold more than it may. */
export function brokenInvariant(scope: Scope, budget: Budget): GatewayError {
  return new GatewayError(
    'internal_error',
    `The ${budget.window} budget of ${title(scope)} would not have held; the request was refused`,
    { details: { ...nameOf(scope), window: budget.window } },
  )
}

const WHAT = {
  requests: 'requests',
  tokens: 'tokens',
  input: 'input tokens',
  output: 'output tokens',
} as const

function rateDetails(scope: Scope, { code, max, window }: Rate, used: number) {
  const remaining = Math.max(0, max - used)
  return { limit: code, ...nameOf(scope), window, max, used, remaining }
}

/** `1 request`, `5 output tokens`. */
function count(number: number, what: string): string {
  return `${number} ${number === 1 ? what.slice(0, -1) : what}`
}

/** What the whole platform may and does use is no tenant's to know. */
function isHidden({ kind }: Scope): boolean {
  return kind === 'platform'
}

function amountOf(scope: Scope, { max, measure }: Rate): string {
  return isHidden(scope) ? WHAT[measure] : count(max, WHAT[measure])
}

/** Details for the caller, and for the operator where they say more. */
function detailsFor(
  scope: Scope,
  details: Readonly<Record<string, unknown>>,
): Pick<GatewayErrorOptions, 'details' | 'operatorDetails'> {
  if (!isHidden(scope)) return { details }
  const { scope: kind, scope_id, name, model, window, resets_at, limit } = details
  return {
    details: {
      // Of a budget, `limit` is the money.
      ...(details.currency === undefined && { limit }),
      scope: kind,
      scope_id,
      name,
      ...(model !== undefined && { model }),
      ...(window !== undefined && { window }),
      ...(resets_at !== undefined && { resets_at }),
    },
    operatorDetails: details,
  }
}

function nameOf({ kind, id, name, model }: Scope) {
  return { scope: kind, scope_id: id, name, ...(model !== undefined && { model }) }
}

function title(scope: Scope): string {
  const kind = scope.kind.charAt(0).toUpperCase() + scope.kind.slice(1).replaceAll('_', ' ')
  const who =
    scope.kind === 'platform'
      ? 'The platform'
      : scope.name === ''
        ? `${kind} ${scope.id}`
        : `${kind} "${scope.name}"`
  return scope.model === undefined ? who : `${who}, for models ${scope.model},`
}
