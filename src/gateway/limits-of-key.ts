import type { Key, Scope } from '#protocol'
import { grants } from '../routing/rights.ts'
import { EACH } from '../store/limits.ts'
import type { LimitTree } from './limit-tree.ts'
import type { Tenancy } from './tenancy.ts'

export interface ScopesOfKey {
  /** Those that limit calls of the key; which of them depends on model and tags of a call. */
  readonly own: readonly Scope[]
  /** For each end user or service that has no own: nobody in particular, and so without use. */
  readonly each: readonly Scope[]
}

export interface LimitsOfKeyDeps {
  readonly limitTree: Pick<LimitTree, 'scopesNamed' | 'scopesOfKey'>
  readonly application: Tenancy['application']
}

/**
 * Every scope that can stop a key, the widest first. Of limits for some models those are left
 * out that the key can reach none of.
 *
 * @param models every name it may call
 */
export function limitsOfKey(
  key: Key,
  models: readonly string[],
  { limitTree, application }: LimitsOfKeyDeps,
): ScopesOfKey {
  const { tenantId, applicationId } = key
  const named = limitTree.scopesNamed
  const reaches = ({ model }: Scope): boolean =>
    model === undefined || grants(key.models, model) || models.some((name) => grants([model], name))
  const each = (['end_user', 'service', 'tag'] as const)
    .flatMap((kind) => named(tenantId, kind, EACH))
    .filter(reaches)
  const defaults = new Set(each.map(({ limits }) => limits))
  const services = models
    .flatMap((model) => named(tenantId, 'service', model))
    .filter(({ limits }) => !defaults.has(limits))
  const tags = new Set([...key.tags, ...(application(applicationId)?.tags ?? [])])
  const own = [
    ...named(tenantId, 'platform', 'platform'),
    ...named(tenantId, 'tenant', tenantId),
    ...named(tenantId, 'application', applicationId),
    ...limitTree.scopesOfKey(key),
    ...services,
    ...[...tags].toSorted().flatMap((tag) => named(tenantId, 'tag', tag)),
  ]
  return { own: own.filter(reaches), each }
}
