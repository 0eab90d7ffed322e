import type { Logger } from 'pino'
import type { Entry, Key, Limits, Quotas, Scope, ScopeKind } from '#protocol'
import type { Holder } from '../metering/account.ts'
import { grants } from '../routing/rights.ts'
import { changedLimitsSince, EACH, PLATFORM } from '../store/limits.ts'
import type { LimitChanges, LimitedKind } from '../store/limits.ts'
import type { GatewayState } from '../state.ts'
import type { Database } from '../store/schema.ts'
import type { KnownApplication, KnownTenant } from './tenancy.ts'
import { poll } from './poll.ts'

/** What of a request decides which limits it meets. */
export interface Subject {
  readonly key: Key
  readonly endUser?: string
  /** Of the key, its application and the request itself. */
  readonly tags?: readonly string[]
  /** In full: a route's name or `provider/model`, however the caller wrote it. */
  readonly model: string
  /** The prompt product that was called. */
  readonly promptId?: string
  /** Every name it may reach: the route's and those of its targets. */
  readonly reaches: () => readonly string[]
}

/** The limits of every scope, in memory: for requests, which ask no database. */
export interface LimitTree {
  /** The scopes that limit a request, the widest first. Those without limits are not among them. */
  readonly scopesOf: (subject: Subject) => readonly Scope[]
  /** One scope with its models; empty where it has no limits. */
  readonly scopesNamed: (tenantId: string, kind: ScopeKind, subject: string) => readonly Scope[]
  readonly scopesOfKey: (key: Key) => readonly Scope[]
  /**
   * Every scope that has limits of its own; of defaults, none but a tenant's and an
   * application's. With a tenant, those that concern it.
   */
  readonly all: (tenantId?: string) => readonly Scope[]
  /** Of the limits it knows; grows with every change. */
  readonly seen: () => bigint
  /** Takes over a change at once, once its transaction holds. */
  readonly changed: () => Promise<void>
  /** Keeps up with other processes. @returns what ends it */
  readonly watch: (log: Logger) => () => void
}

export interface LimitTreeDeps {
  readonly tenant: (id: string) => KnownTenant | undefined
  readonly application: (id: string) => KnownApplication | undefined
  /** The name in full of a model as callers write it; itself where nothing is called so. */
  readonly fullName: FullName
  /** IANA name, for what belongs to no tenant. */
  readonly timeZone: string
}

export type FullName = (model: string) => string

const NONE: readonly Scope[] = []

export async function openLimitTree(db: Database, deps: LimitTreeDeps): Promise<LimitTree> {
  const limits = new Map<string, Limits>()
  /** Kinds that a tenant has any limits of. */
  const kinds = new Set<string>()
  let bases = new WeakMap<Key, Base>()
  let revision = -1n
  let looking: Promise<void> | undefined

  interface Base {
    readonly tenant: KnownTenant | undefined
    readonly application: KnownApplication | undefined
    /** Of platform, tenant, application and key. */
    readonly scopes: readonly Scope[]
    readonly isPlain: boolean
  }

  function learn({ changed, revision: seen }: LimitChanges): void {
    revision = seen
    if (changed.length === 0) return
    for (const { tenantId, kind, subject, limits: own } of changed) {
      const name = nameOf(tenantId, kind, subject)
      if (own === undefined) limits.delete(name)
      else limits.set(name, own)
    }
    kinds.clear()
    for (const name of limits.keys())
      kinds.add(name.slice(0, name.indexOf(' ', name.indexOf(' ') + 1)))
    bases = new WeakMap()
  }

  /** One after another: an older look must not come after a newer one. */
  function look(): Promise<void> {
    const next = (looking ?? Promise.resolve())
      .catch(() => undefined)
      .then(async () => learn(await changedLimitsSince(db, revision)))
    looking = next
    return next
  }

  function limitsOf(tenantId: string, kind: LimitedKind, subject: string): Limits | undefined {
    return limits.get(nameOf(tenantId, kind, subject)) ?? limits.get(nameOf(tenantId, kind, EACH))
  }

  function scopesNamed(tenantId: string, kind: ScopeKind, subject: string): readonly Scope[] {
    if (kind === 'key') return NONE
    if (kind === 'platform') return expand(limitsOf(PLATFORM, kind, kind), kind, kind, '', deps)
    const tenant = deps.tenant(tenantId)
    const calendar = tenant ?? deps
    if (kind === 'tenant') {
      const own =
        limits.get(nameOf(tenantId, kind, subject)) ?? limits.get(nameOf(PLATFORM, kind, EACH))
      return expand(own, kind, subject, deps.tenant(subject)?.name ?? '', calendar)
    }
    const own = limitsOf(tenantId, kind, subject)
    if (own === undefined) return NONE
    if (kind === 'application') {
      return expand(own, kind, subject, deps.application(subject)?.name ?? '', calendar)
    }
    const scopes = expand(own, kind, `${tenantId}/${subject}`, subject, calendar)
    const bare = kind === 'service' ? bareName(subject) : undefined
    return bare === undefined ? scopes : scopes.map((scope) => ({ ...scope, bareName: bare }))
  }

  /** What is shorter, and leads to it as well. */
  function bareName(model: string): string | undefined {
    const bare = model.slice(model.indexOf('/') + 1)
    return bare !== model && bare !== '' && deps.fullName(bare) === model ? bare : undefined
  }

  function baseOf(key: Key): Base {
    const tenant = deps.tenant(key.tenantId)
    const application = deps.application(key.applicationId)
    const known = bases.get(key)
    // They are the same objects until something about them changes.
    if (known?.tenant === tenant && known?.application === application && known !== undefined) {
      return known
    }
    const { tenantId } = key
    const scopes = [
      ...scopesNamed(tenantId, 'platform', 'platform'),
      ...scopesNamed(tenantId, 'tenant', tenantId),
      ...scopesNamed(tenantId, 'application', key.applicationId),
      ...expand(key.limits, 'key', key.rootId, key.name, tenant ?? deps),
    ]
    const base = {
      tenant,
      application,
      scopes,
      isPlain: scopes.every(({ model }) => model === undefined),
    }
    bases.set(key, base)
    return base
  }

  learn(await changedLimitsSince(db, revision))
  return {
    scopesNamed,

    scopesOf(subject) {
      const { key, endUser, tags, promptId } = subject
      const { tenantId } = key
      const base = baseOf(key)
      let scopes = base.scopes
      let isPlain = base.isPlain
      const beside = (kind: LimitedKind, name: string): void => {
        const own = scopesNamed(tenantId, kind, name)
        if (own.length === 0) return
        scopes = [...scopes, ...own]
        isPlain &&= own.length === 1 && own[0]?.model === undefined
      }
      if (endUser !== undefined && endUser !== '' && kinds.has(`${tenantId} end_user`)) {
        beside('end_user', endUser)
      }
      if (kinds.has(`${tenantId} service`)) beside('service', promptId ?? subject.model)
      if (tags !== undefined && kinds.has(`${tenantId} tag`)) {
        for (const tag of tags) beside('tag', tag)
      }
      if (isPlain) return scopes
      const reached = subject.reaches()
      return scopes.filter(({ model }) => model === undefined || covers(model, reached))
    },

    scopesOfKey: (key) =>
      expand(key.limits, 'key', key.rootId, key.name, deps.tenant(key.tenantId) ?? deps),

    all(ofTenant) {
      return [...limits.keys()].toSorted().flatMap((name) => {
        const [tenantId = '', kind, ...rest] = name.split(' ')
        if (ofTenant !== undefined && tenantId !== PLATFORM && tenantId !== ofTenant) return NONE
        const subject = rest.join(' ')
        return subject === EACH ? [] : scopesNamed(tenantId, kind as LimitedKind, subject)
      })
    },

    seen: () => revision,
    changed: look,

    watch: (log) => poll('changes of limits', look, log),
  }
}

/** What of a request that is to be admitted decides which limits it meets. */
export function subjectOf(
  { key, asked, route, record }: GatewayState,
  { application }: Pick<LimitTreeDeps, 'application'>,
): Subject {
  const { model, endUser } = asked.request
  const tags = record.tags ?? tagsOf(key, application(key.applicationId))
  return {
    key,
    model: route.name,
    ...(endUser !== undefined && { endUser }),
    ...(tags.length > 0 && { tags }),
    reaches: () => [
      model,
      route.name,
      ...route.targets.map(({ name }) => name),
      ...route.fallbacks.map(({ name }) => name),
    ],
  }
}

/** The same once it is over. */
export function subjectOfHolder(
  { key, asked, attribution = {} }: Holder,
  fullName: FullName,
): Subject {
  const { endUser } = asked.request
  const model = fullName(asked.request.model)
  return {
    key,
    model,
    ...(endUser !== undefined && { endUser }),
    ...attribution,
    reaches: () => [asked.request.model, model],
  }
}

/** The same of an entry that is on the ledger. */
export function subjectOfEntry(key: Key, entry: Entry, fullName: FullName): Subject {
  const { endUser, tags, promptId, modelAsked, provider, model } = entry
  return {
    key,
    model: fullName(modelAsked),
    ...(endUser !== undefined && { endUser }),
    ...(tags !== undefined && { tags }),
    ...(promptId !== undefined && { promptId }),
    reaches: () => [modelAsked, `${provider}/${model}`],
  }
}

function tagsOf(key: Key, application: KnownApplication | undefined): readonly string[] {
  if (application === undefined || application.tags.length === 0) return key.tags
  return key.tags.length === 0 ? application.tags : [...new Set([...key.tags, ...application.tags])]
}

function nameOf(tenantId: string, kind: LimitedKind, subject: string): string {
  return `${tenantId} ${kind} ${subject}`
}

function covers(pattern: string, names: readonly string[]): boolean {
  return names.some((name) => grants([pattern], name))
}

/** A scope for all models, and one for each pattern of them; only those with limits. */
export function expand(
  limits: Limits | undefined,
  kind: ScopeKind,
  id: string,
  name: string,
  { timeZone, ...calendar }: Pick<Scope, 'timeZone' | 'weekStartsOn' | 'monthStartsOn'>,
): readonly Scope[] {
  if (limits === undefined) return NONE
  const { weekStartsOn, monthStartsOn } = calendar
  const place = {
    kind,
    id,
    name,
    timeZone,
    ...(weekStartsOn !== undefined && { weekStartsOn }),
    ...(monthStartsOn !== undefined && { monthStartsOn }),
  }
  const scopes: Scope[] = hasAny(limits) ? [{ ...place, limits }] : []
  for (const { pattern, ...own } of limits.models ?? []) {
    if (!hasAny(own)) continue
    scopes.push({
      ...place,
      limits: own,
      model: pattern,
      counts: ({ name: used, asked }) => covers(pattern, [used, asked]),
    })
  }
  return scopes
}

function hasAny(limits: Quotas): boolean {
  return Object.entries(limits).some(([name, value]) => name !== 'models' && value !== undefined)
}
