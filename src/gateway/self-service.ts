import { LRUCache } from 'lru-cache'
import { GatewayError } from '#errors'
import type { Key, LimitStanding, NanoUsd, Scope } from '#protocol'
import { writeKey } from '../control/key-view.ts'
import type { Admission } from '../metering/embedded-admission.ts'
import { formatUsd } from '../metering/money.ts'
import { bindingOf } from '../metering/standing.ts'
import type { MeDeps } from '../middleware/me.ts'
import { mayUseEndpoint } from '../routing/rights.ts'
import { appendAudits } from '../store/audit.ts'
import type { AuditDraft } from '../store/audit.ts'
import type { Database } from '../store/schema.ts'
import { getUser } from '../store/users.ts'
import type { IssueKeys } from './issue-keys.ts'
import { limitsOfKey } from './limits-of-key.ts'
import type { LimitsOfKeyDeps } from './limits-of-key.ts'
import type { RecentRefusals, Refusal } from './recent-refusals.ts'
import { spendOfLine } from './spend-of-line.ts'
import type { WindowSpend } from './spend-of-line.ts'
import type { Tenancy } from './tenancy.ts'

export interface SelfServiceDeps {
  readonly db: Database
  readonly issued: Pick<IssueKeys, 'roll' | 'changed'>
  readonly tenancy: Pick<Tenancy, 'tenant' | 'application'>
  readonly limitTree: LimitsOfKeyDeps['limitTree']
  readonly peek: Admission['peek']
  readonly refusals: Pick<RecentRefusals, 'of'>
  /** What the key may call, by the names that can be asked for. */
  readonly models: (
    key: Key,
  ) => readonly { readonly id: string; readonly aliases: readonly string[] }[]
  /** Paths that ask a model. */
  readonly paths: readonly string[]
  /** IANA name, for what belongs to no tenant. */
  readonly timeZone: string
  /** Unix ms. */
  readonly now: () => number
}

/** Paths that every key may call, whatever it is kept to. */
const OPEN_PATHS = ['/v1/models', '/v1/me']

/** Rolls of a line of keys in an hour: each leaves a key and records in the audit for good. */
const MOST_ROLLS = 10
/** Attempts of one key: those that fail leave a record as well. */
const MOST_TRIES = 20
const HOUR_MS = 3_600_000
const LINES = 10_000
const DAY_MS = 86_400_000

/** What whoever holds a key is told of it, and may do with it. */
export function selfService(deps: SelfServiceDeps): MeDeps {
  const { db, issued, tenancy, now } = deps
  /** Times of rolls by line, and of attempts by key. */
  const rolls = new LRUCache<string, number[]>({ max: LINES })
  const tries = new LRUCache<string, number[]>({ max: LINES })
  const written = (key: Key) => writeKey(key, { formatUsd, now })
  /** One answer to a key at a time: whoever asks meanwhile gets the same, and locks nothing more. */
  const asking = new Map<Key, Promise<object>>()

  /** @throws GatewayError `rate_limit_exceeded` */
  function checkPace(times: LRUCache<string, number[]>, id: string, most: number): void {
    const at = now()
    const recent = (times.get(id) ?? []).filter((time) => time > at - HOUR_MS && time <= at)
    times.set(id, recent)
    if (recent.length < most) return
    throw new GatewayError('rate_limit_exceeded', 'The key was rolled too often; try again later', {
      retryAfterMs: Math.max(1, recent[0]! + HOUR_MS - at),
      retryable: false,
    })
  }

  /** What failed is on record too, as it is of the control plane. */
  async function recordFailure(key: Key, record: Omit<AuditDraft, 'resource' | 'outcome'>) {
    const draft = { ...record, resource: { type: 'key', id: key.id }, outcome: 'failed' } as const
    await db
      .transaction()
      .execute((transaction) => appendAudits(transaction, key.tenantId, [draft], now()))
  }

  async function about(key: Key): Promise<object> {
    const at = now()
    const { tenantId, applicationId, userId } = key
    const tenant = tenancy.tenant(tenantId)
    const application = tenancy.application(applicationId)
    const rows = deps.models(key)
    const names = rows.flatMap(({ id, aliases }) => [id, ...aliases])
    const { own, each } = limitsOfKey(key, names, { ...deps, ...tenancy })
    const standing = await deps.peek(own, at)
    const defaults = await deps.peek(each, at)
    const binding = bindingOf(standing)
    const calendar = tenant ?? { timeZone: deps.timeZone }
    const scopes = own.filter(({ kind }) => kind === 'key')
    const spend = await spendOfLine(db, { tenantId, rootId: key.rootId, scopes, calendar }, at)
    const owner = userId === undefined ? undefined : await getUser(db, tenantId, userId)
    // Where it is shared, it comes in the order of its locks.
    const places = new Map(own.map((scope, index) => [scope, index]))
    const inOrder = standing.toSorted(
      (a, b) => (places.get(a.scope as Scope) ?? 0) - (places.get(b.scope as Scope) ?? 0),
    )
    const limits = [
      ...inOrder.map((one) => writeLimit(one, one === binding)),
      ...defaults.map(writeDefault),
    ]
    return {
      object: 'me',
      as_of: moment(at),
      key: {
        id: key.id,
        name: key.name,
        prefix: key.prefix,
        last4: key.last4,
        status: key.status,
        created_at: moment(key.createdAt),
        expires_at: momentOrNull(key.expiresAt),
        tags: key.tags,
        successor_id: key.successorId ?? null,
        root_id: key.rootId,
      },
      application: { id: applicationId, name: application?.name ?? applicationId },
      tenant: {
        id: tenantId,
        name: tenant?.name ?? tenantId,
        time_zone: calendar.timeZone,
      },
      owner: userId === undefined ? null : { id: userId, name: owner?.name ?? userId },
      may: {
        models: rows.map(({ id }) => id),
        endpoints: [...deps.paths.filter((path) => mayUseEndpoint(key, path)), ...OPEN_PATHS],
        addresses: key.addresses,
        strict: key.strict,
      },
      binding: limits.find((one) => one.binding) ?? null,
      limits,
      spend: spend.map((one) => writeSpend(one, at)),
      refused: deps.refusals.of(key.rootId).map(writeRefusal),
    }
  }

  return {
    about(key) {
      const open = asking.get(key)
      if (open !== undefined) return open
      const asked = about(key).finally(() => asking.delete(key))
      asking.set(key, asked)
      return asked
    },

    async roll(key, overlapMs, from) {
      checkPace(tries, key.id, MOST_TRIES)
      checkPace(rolls, key.rootId, MOST_ROLLS)
      tries.get(key.id)?.push(now())
      const record = {
        actor: { type: 'key', id: key.id, name: key.name },
        action: 'keys.roll',
        ...from,
      }
      const rolled = await db
        .transaction()
        .execute(async (transaction) => {
          const done = await issued.roll(transaction, key.tenantId, key.id, now() + overlapMs)
          // It was deleted since it was let in.
          if (done === undefined) throw new GatewayError('conflict', 'The key is no longer there')
          const ended = { before: written(done.old), after: written(done.ended) }
          const drafts = [
            { resource: { type: 'key', id: done.key.id }, after: written(done.key) },
            { resource: { type: 'key', id: done.old.id }, ...ended },
          ].map((draft) => ({ ...record, outcome: 'ok' as const, ...draft }))
          await appendAudits(transaction, key.tenantId, drafts, now())
          return done
        })
        .catch(async (error: unknown) => {
          if (error instanceof GatewayError) {
            await recordFailure(key, { ...record, errorCode: error.code })
          }
          throw error
        })
      rolls.get(key.rootId)?.push(now())
      issued.changed(rolled.ended)
      issued.changed(rolled.key)
      return {
        ...written(rolled.key),
        secret: rolled.secret,
        replaces: { id: rolled.old.id, expires_at: momentOrNull(rolled.ended.expiresAt) },
      }
    },
  }
}

function writeLimit(one: LimitStanding, isBinding: boolean) {
  const { scope, limit, window, budget, resetsAt } = one
  const amount = budget === undefined ? String : usd
  // What the whole platform may and does use is no tenant's to know.
  const isHidden = scope.kind === 'platform'
  const used = budget === undefined ? one.max - one.remaining : budget.settled + budget.reserved
  return {
    scope: scope.kind,
    scope_id: nameIn(scope.id, scope.kind),
    name: scope.name,
    each: false,
    model: scope.model ?? null,
    limit,
    window: window ?? null,
    max: isHidden ? null : amount(one.max),
    used: isHidden ? null : amount(used),
    remaining: isHidden ? null : amount(one.remaining),
    reserved: isHidden || budget === undefined ? null : usd(budget.reserved),
    resets_at: momentOrNull(resetsAt),
    policy: budget?.policy ?? 'hard',
    status: budget?.status ?? (one.remaining === 0n ? 'blocked' : 'ok'),
    binding: isBinding,
  }
}

/** Of nobody in particular: there is a maximum, and no use. */
function writeDefault(one: LimitStanding) {
  const shown = writeLimit(one, false)
  return {
    ...shown,
    scope_id: '*',
    name: '*',
    each: true,
    used: null,
    remaining: null,
    reserved: null,
    status: 'ok',
  }
}

/** Scopes of a tenant's own names carry its id before them. */
function nameIn(id: string, kind: string): string {
  return ['end_user', 'service', 'tag'].includes(kind) ? id.slice(id.indexOf('/') + 1) : id
}

function writeSpend(
  { window, start, end, requests, spent, limit, forecast }: WindowSpend,
  at: number,
) {
  const { expected, low, high, chanceToExceed, daysUntilLimit, basedOnDays } = forecast
  return {
    window,
    started_at: moment(start),
    ends_at: moment(end),
    requests,
    spent: usd(spent),
    limit: limit === undefined ? null : usd(limit),
    forecast: {
      expected: usd(expected),
      low: usd(low),
      high: usd(high),
      chance_to_exceed: chanceToExceed ?? null,
      exceeded_at: daysUntilLimit === undefined ? null : moment(at + daysUntilLimit * DAY_MS),
      based_on_days: basedOnDays,
    },
  }
}

function writeRefusal({ requestId, at, endpoint, model, status, code, message, limit }: Refusal) {
  return {
    request_id: requestId,
    time: moment(at),
    endpoint,
    model: model ?? null,
    status,
    code,
    message,
    limit: limit === undefined ? null : { ...limit, window: limit.window ?? null },
  }
}

function usd(nanos: NanoUsd): { readonly amount: string; readonly currency: 'USD' } {
  return { amount: formatUsd(nanos), currency: 'USD' }
}

function moment(ms: number): string {
  return new Date(ms).toISOString()
}

function momentOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : moment(ms)
}
