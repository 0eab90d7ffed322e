import type { Logger } from 'pino'
import type { Budget, Entry, Key, Scope } from '#protocol'
import { createEmbeddedAdmission } from '../metering/embedded-admission.ts'
import type { Admission, EmbeddedAdmissionDeps } from '../metering/embedded-admission.ts'
import { createSharedAdmission } from '../metering/shared-admission.ts'
import { getKey } from '../store/keys.ts'
import { entriesOfRequest } from '../store/ledger.ts'
import type { Store } from '../store/open.ts'
import { usedSince } from '../store/scope-usage.ts'

/** Well within the lease of a reservation (Postgres), ms. */
const LEASE_RENEWAL_MS = 15_000

export interface OpenAdmission extends Admission {
  /** Counts what the store recovered of other processes against the budgets of its keys. */
  chargeRecovered(entries: readonly Entry[]): void
  /** Counts adjustments on the ledger against the budgets of the windows their `admittedAt` is in. */
  chargeAdjusted(entries: readonly Entry[]): Promise<void>
  close(): void
}

export interface OpenAdmissionDeps {
  readonly store: Store
  /** Several processes share the database. */
  readonly isShared: boolean
  /** The scopes that an entry of a key counts in. */
  readonly scopesOf: (key: Key, entry: Entry) => readonly Scope[]
  /** Told where a budget would not have held. */
  readonly onBroken: (scope: Scope, budget: Budget) => void
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
}

/** The admission that fits the database: in memory for one process, in the database for several. */
export function openAdmission(deps: OpenAdmissionDeps): OpenAdmission {
  const { store, log, now, tick, onBroken } = deps
  const onFault = (message: string, grantId: string): void => log.error({ grantId }, message)
  const load = loader(store, now)
  if (!deps.isShared) {
    const admission = createEmbeddedAdmission({ load, elapsed: tick, onFault, onBroken })
    // It reads the ledger, recovered entries included, when a key is first used.
    const charge = chargeTo(admission, deps)
    return {
      ...admission,
      chargeRecovered: () => undefined,
      async chargeAdjusted(entries) {
        for (const entry of entries) await charge(entry)
      },
      close: () => undefined,
    }
  }
  const admission = createSharedAdmission({
    withScopes: store.withScopes,
    load,
    entriesOf: (requestId) => entriesOfRequest(store.db, requestId),
    onFault,
    onBroken,
  })
  const renewal = setInterval(() => {
    admission.renew().catch((error) => log.error({ err: error }, 'leases were not renewed'))
  }, LEASE_RENEWAL_MS)

  const charge = chargeTo(admission, deps)
  return {
    ...admission,
    chargeRecovered(entries) {
      for (const entry of entries) {
        charge(entry).catch((error) =>
          log.error({ err: error, entry: entry.id }, 'a recovered entry was not charged'),
        )
      }
    },
    async chargeAdjusted(entries) {
      for (const entry of entries) await charge(entry)
    },
    close: () => clearInterval(renewal),
  }
}

function chargeTo(
  admission: Pick<Admission, 'charge'>,
  { store, scopesOf }: Pick<OpenAdmissionDeps, 'store' | 'scopesOf'>,
): (entry: Entry) => Promise<void> {
  return async (entry) => {
    const { tenantId, keyId, cost = 0n } = entry
    const key = cost === 0n ? undefined : await getKey(store.db, tenantId, keyId)
    if (key !== undefined)
      await admission.charge(scopesOf(key, entry), cost, entry.admittedAt, entry)
  }
}

function loader({ db }: Store, now: () => number): EmbeddedAdmissionDeps['load'] {
  return async (scope, { windows, recentSince, daySince }) => {
    const spent: Record<string, bigint> = {}
    for (const { kind, start } of windows) spent[kind] = (await usedSince(db, scope, start)).cost
    const day = daySince === undefined ? undefined : await usedSince(db, scope, daySince)
    const recent = recentSince === undefined ? [] : [await usedSince(db, scope, recentSince)]
    return {
      spent,
      recent: recent.map((usage) => ({ at: now(), ...usage })),
      ...(day !== undefined && {
        day: { requests: day.requests, input: day.input, output: day.output },
      }),
    }
  }
}
