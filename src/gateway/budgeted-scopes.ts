import type { Budget } from '#protocol'
import { listKeys } from '../store/keys.ts'
import { EACH, listLimits } from '../store/limits.ts'
import type { LimitedKind } from '../store/limits.ts'
import type { Filter } from '../store/reports.ts'
import type { Database } from '../store/schema.ts'
import type { BudgetedScope } from './analysis-deps.ts'

/** By what reports tell apart that which scopes of a kind count. */
const FILTER_OF: Readonly<Partial<Record<LimitedKind, Filter>>> = {
  application: 'application',
  end_user: 'end_user',
  service: 'model_asked',
  tag: 'tag',
}

const PAGE = 100
/** A forecast is for people to read: no more scopes than they can. */
const MOST_SCOPES = 200

/**
 * The scopes of a tenant that have budgets of their own: itself, applications, end users,
 * services, tags and keys. Defaults for each of a kind are no scope by themselves.
 *
 * @param now Unix ms
 */
export async function budgetedScopes(
  db: Database,
  tenantId: string,
  nameOf: (kind: LimitedKind, id: string) => string | undefined,
  now: number,
): Promise<readonly BudgetedScope[]> {
  const { rows } = await listLimits(db, { tenantIds: [tenantId], limit: MOST_SCOPES })
  const scopes = rows.flatMap(({ kind, subject, limits }): readonly BudgetedScope[] => {
    const filter = FILTER_OF[kind]
    if (subject === EACH || (filter === undefined && kind !== 'tenant')) return []
    return withBudgets({
      scope: { kind, id: subject, name: nameOf(kind, subject) ?? subject },
      budgets: limits.budgets,
      filters: filter === undefined ? {} : { [filter]: [subject] },
    })
  })
  return [...scopes, ...(await keyScopes(db, tenantId, now))].slice(0, MOST_SCOPES)
}

/** A line of keys shares its budgets, and is named by its newest. */
async function keyScopes(
  db: Database,
  tenantId: string,
  now: number,
): Promise<readonly BudgetedScope[]> {
  const lines = new Map<string, { readonly ids: string[]; readonly found: BudgetedScope[] }>()
  for (let after: string | undefined; ;) {
    const page = await listKeys(db, tenantId, {
      limit: PAGE,
      now,
      ...(after !== undefined && { after }),
    })
    for (const { id, rootId, name, limits } of page.keys) {
      const line = lines.get(rootId)
      if (line !== undefined) line.ids.push(id)
      else {
        const ids = [id]
        const scope = { kind: 'key', id: rootId, name }
        const found = withBudgets({ scope, budgets: limits.budgets, filters: { key: ids } })
        lines.set(rootId, { ids, found })
      }
    }
    after = page.keys.at(-1)?.id
    if (!page.hasMore) break
  }
  return [...lines.values()].flatMap(({ found }) => found)
}

function withBudgets({
  budgets,
  ...scope
}: Omit<BudgetedScope, 'budgets'> & {
  readonly budgets: readonly Budget[] | undefined
}): BudgetedScope[] {
  return budgets === undefined || budgets.length === 0 ? [] : [{ ...scope, budgets }]
}
