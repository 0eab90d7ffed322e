import { z } from 'zod'
import type { Key } from '#protocol'
import type { Database } from '../store/schema.ts'
import { moment } from './resource.ts'

export const KEY_FILTERS = [
  'any',
  'unused',
  'expiring',
  'over_broad',
  'unused_rights',
  'rolled_in_use',
  'disabled',
] as const

export type KeyFilter = (typeof KEY_FILTERS)[number]

export interface Finding {
  readonly type: Exclude<KeyFilter, 'any'>
  /** What is the matter. */
  readonly message: string
  /** What to do about it. */
  readonly fix: string
}

export const findingShape = z
  .strictObject({
    type: z.enum(KEY_FILTERS).exclude(['any']),
    message: z.string(),
    fix: z.string(),
  })
  .meta({ id: 'KeyFinding' })

const seenShape = z.strictObject({
  value: z.string().meta({ description: '`other`: all that came when there were too many' }),
  first_seen_at: moment,
  last_seen_at: moment,
  requests: z.int(),
})

export const usageShape = z
  .strictObject({
    object: z.literal('key_usage'),
    key_id: z.string(),
    requests: z.int(),
    first_used_at: moment.nullable(),
    last_used_at: moment.nullable(),
    addresses: z.array(seenShape),
    user_agents: z.array(seenShape),
    refused: z
      .array(seenShape)
      .meta({ description: 'By address: requests with the right key that its state refused' }),
  })
  .meta({ id: 'KeyUsage' })

/** Something seen with a key. */
export interface Use {
  readonly kind: 'total' | 'address' | 'agent' | 'refused'
  readonly value: string
  /** Unix ms. */
  readonly firstSeen: number
  readonly lastSeen: number
  readonly count: number
}

export function writeUsage(keyId: string, uses: readonly Use[]): z.input<typeof usageShape> {
  const total = uses.find(({ kind }) => kind === 'total')
  const seen = (wanted: Use['kind']): z.input<typeof seenShape>[] =>
    uses
      .filter(({ kind }) => kind === wanted)
      .map((use) => ({
        value: use.value,
        first_seen_at: iso(use.firstSeen),
        last_seen_at: iso(use.lastSeen),
        requests: use.count,
      }))
  return {
    object: 'key_usage',
    key_id: keyId,
    requests: total?.count ?? 0,
    first_used_at: total === undefined ? null : iso(total.firstSeen),
    last_used_at: total === undefined ? null : iso(total.lastSeen),
    addresses: seen('address'),
    user_agents: seen('agent'),
    refused: seen('refused'),
  }
}

export interface InventoryDeps {
  /** Last seen first. */
  readonly usesOf: (db: Database, keyId: string) => Promise<readonly Use[]>
  /** Unix ms; those never used are left out. */
  readonly lastUses: (
    db: Database,
    keyIds: readonly string[],
  ) => Promise<ReadonlyMap<string, number>>
  readonly modelsCalled: (
    db: Database,
    tenantId: string,
    keyIds: readonly string[],
    since: number,
  ) => Promise<
    readonly { readonly keyId: string; readonly model: string; readonly asked: string }[]
  >
  /** Whether one of a key's patterns covers a name. */
  readonly grants: (patterns: readonly string[], name: string) => boolean
  /** What was seen in this process and is not written yet: written first. */
  readonly flush: () => Promise<void>
  readonly now: () => number
}

export interface Found {
  readonly key: Key
  /** Unix ms. */
  readonly lastUsedAt?: number
  readonly findings: readonly Finding[]
}

type ListKeys = (at: {
  readonly limit: number
  readonly after?: string
}) => Promise<{ readonly keys: readonly Key[]; readonly hasMore: boolean }>

/** What is known of the use of keys, and what is the matter with them. */
export interface Inventory {
  readonly usage: (db: Database, keyId: string) => Promise<readonly Use[]>
  readonly lastUsed: InventoryDeps['lastUses']
  /** @param asked - `list` gives the keys to look at, page by page */
  readonly find: (
    db: Database,
    tenantId: string,
    asked: {
      readonly filter: KeyFilter
      readonly days: number
      readonly limit: number
      readonly list: ListKeys
    },
  ) => Promise<{ readonly rows: readonly Found[]; readonly hasMore: boolean }>
}

const DAY_MS = 86_400_000

/** Keys looked at together. */
const AT_ONCE = 200

export function createInventory(deps: InventoryDeps): Inventory {
  return {
    async usage(db, keyId) {
      await deps.flush()
      return deps.usesOf(db, keyId)
    },
    async lastUsed(db, keyIds) {
      // A write of its own would wait for the transaction it is asked in.
      if (!db.isTransaction) await deps.flush()
      return deps.lastUses(db, keyIds)
    },
    async find(db, tenantId, { filter, days, limit, list }) {
      await deps.flush()
      const rows: Found[] = []
      for (let after: string | undefined; ;) {
        const page = await list({ limit: AT_ONCE, ...(after === undefined ? {} : { after }) })
        const ids = page.keys.map(({ id }) => id)
        const used = await deps.lastUses(db, ids)
        const successors = new Map(page.keys.map((key) => [key.id, key]))
        const since = deps.now() - days * DAY_MS
        const called = await deps.modelsCalled(db, tenantId, ids, since)
        for (const key of page.keys) {
          const lastUsedAt = used.get(key.id)
          const findings = await findingsOf(db, {
            key,
            days,
            lastUsedAt,
            successor: successors.get(key.successorId ?? ''),
            called: called.filter(({ keyId }) => keyId === key.id),
          })
          const wanted = findings.filter(({ type }) => filter === 'any' || type === filter)
          if (wanted.length === 0) continue
          if (rows.length === limit) return { rows, hasMore: true }
          rows.push({ key, findings: wanted, ...(lastUsedAt === undefined ? {} : { lastUsedAt }) })
        }
        after = ids.at(-1)
        if (!page.hasMore) return { rows, hasMore: false }
      }
    },
  }

  interface Seen {
    readonly key: Key
    readonly days: number
    readonly lastUsedAt: number | undefined
    readonly successor: Key | undefined
    readonly called: readonly { readonly model: string; readonly asked: string }[]
  }

  async function findingsOf(db: Database, seen: Seen): Promise<readonly Finding[]> {
    const { key } = seen
    const now = deps.now()
    const isOver = key.expiresAt !== undefined && key.expiresAt <= now
    if (key.status === 'revoked') return []
    if (key.status === 'disabled') return [disabled(key)]
    if (key.successorId !== undefined) return rolledInUse(db, seen, isOver)
    if (isOver) return []
    return [
      unused(seen, now),
      expiring(seen, now),
      overBroad(seen),
      unusedRights(seen, now),
    ].filter((finding) => finding !== undefined)
  }

  async function rolledInUse(
    db: Database,
    { key, successor, lastUsedAt }: Seen,
    isOver: boolean,
  ): Promise<readonly Finding[]> {
    const rolledAt = successor?.createdAt
    const uses = await deps.usesOf(db, key.id)
    // Beyond the page that was read the successor is not known; the last day counts then.
    const since = rolledAt ?? deps.now() - DAY_MS
    const where = (wanted: Use['kind']): string =>
      uses.find(({ kind, lastSeen }) => kind === wanted && lastSeen > since)?.value ?? 'unknown'
    if (!isOver && lastUsedAt !== undefined && lastUsedAt > since) {
      return [
        {
          type: 'rolled_in_use',
          message: `was rolled, and still used at ${iso(lastUsedAt)} from ${where('address')} by ${where('agent')}; it ends at ${iso(key.expiresAt ?? 0)}`,
          fix: `put the key ${successor === undefined ? '' : `ending in ${successor.last4} `}(${key.successorId}) there`,
        },
      ]
    }
    const refused = uses.find(({ kind, lastSeen }) => kind === 'refused' && lastSeen > since)
    if (!isOver || refused === undefined) return []
    return [
      {
        type: 'rolled_in_use',
        message: `ended at ${iso(key.expiresAt ?? 0)}, and was still tried at ${iso(refused.lastSeen)} from ${refused.value}`,
        fix: `put the key ${successor === undefined ? '' : `ending in ${successor.last4} `}(${key.successorId}) there`,
      },
    ]
  }

  function unusedRights({ key, days, called, lastUsedAt }: Seen, now: number): Finding | undefined {
    if (lastUsedAt === undefined || key.createdAt > now - days * DAY_MS || called.length === 0) {
      return undefined
    }
    const never = key.models.filter(
      (pattern) =>
        pattern !== '*' &&
        !called.some(({ model, asked }) => pattern === asked || deps.grants([pattern], model)),
    )
    if (never.length === 0) return undefined
    const kept = key.models.filter((pattern) => !never.includes(pattern))
    if (kept.length === 0) return undefined
    return {
      type: 'unused_rights',
      message: `may call ${never.join(', ')}, and did not for ${days} days`,
      fix: `tollgate keys update ${key.id} --models '${kept.join(',')}'`,
    }
  }
}

function disabled(key: Key): Finding {
  const why = key.statusReason === undefined ? '' : ` (${key.statusReason})`
  const isLeaked = key.statusReason === 'leaked'
  return {
    type: 'disabled',
    message: `is disabled${why}`,
    fix: isLeaked
      ? `tollgate keys roll ${key.id} makes its successor; then tollgate keys revoke ${key.id}`
      : `tollgate keys revoke ${key.id}, or tollgate keys enable ${key.id}`,
  }
}

interface Known {
  readonly key: Key
  readonly days: number
  readonly lastUsedAt: number | undefined
}

function unused({ key, days, lastUsedAt }: Known, now: number): Finding | undefined {
  const since = now - days * DAY_MS
  if (key.createdAt > since || (lastUsedAt !== undefined && lastUsedAt > since)) return undefined
  return {
    type: 'unused',
    message: lastUsedAt === undefined ? 'was never used' : `was last used at ${iso(lastUsedAt)}`,
    fix: `tollgate keys disable ${key.id}; revoke it when nobody misses it`,
  }
}

function expiring({ key, days }: Known, now: number): Finding | undefined {
  if (key.expiresAt === undefined || key.expiresAt > now + days * DAY_MS) return undefined
  return {
    type: 'expiring',
    message: `expires at ${iso(key.expiresAt)}`,
    fix: `tollgate keys update ${key.id} --expires 90d; or tollgate keys roll ${key.id} once it has time left`,
  }
}

function overBroad({
  key,
  called,
}: Known & {
  readonly called: readonly { readonly asked: string }[]
}): Finding | undefined {
  const isLimited = Object.values(key.limits).some(
    (limit) => limit !== undefined && (!Array.isArray(limit) || limit.length > 0),
  )
  if (isLimited || !key.models.some((pattern) => pattern === '*' || pattern === '**')) {
    return undefined
  }
  const names = [...new Set(called.map(({ asked }) => asked))].toSorted()
  const models = names.length > 0 && names.length <= 20 ? names.join(',') : '<models>'
  return {
    type: 'over_broad',
    message: `may call every model, without a budget or limit of its own${names.length === 0 ? '' : `; it called ${names.slice(0, 5).join(', ')}`}`,
    fix: `tollgate keys update ${key.id} --models '${models}' --budget 10.00/month`,
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
