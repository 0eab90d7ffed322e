import type { GatewayError } from '#errors'
import type {
  Asked,
  Candidate,
  Demand,
  Entry,
  Grant,
  Key,
  NanoUsd,
  Settlement,
  Tally,
  Usage,
} from '#protocol'
import { NO_USAGE, inputTokens, outputTokens } from '#protocol'

/** What an attempt consumed and cost. */
export type Measured = Pick<Entry, 'usage' | 'usageSource' | 'cost' | 'priceVersion'>

export interface Consumption {
  readonly candidate: Candidate
  /** Absent when no answer came. */
  readonly tally: Tally | undefined
  /** The request may have reached the provider. */
  readonly sent: boolean
  readonly outcome: Entry['outcome']
  /** What the provider said of the failure; absent when it said nothing. */
  readonly refused: boolean
  /** Upper bound of the prompt's tokens. */
  readonly promptBound: number
  readonly demand: Demand
  /** Unix ms. */
  readonly at: number
}

export interface AccountDeps {
  /** Prices what was consumed; slow only when text has to be counted. */
  readonly measure: (consumption: Consumption) => Measured | Promise<Measured>
  /** Resolves once the entry is on the ledger. */
  readonly record: (entry: Entry) => Promise<void>
  /** Remembers an attempt that lasts, so that a crash leaves a trace of it. */
  readonly opened: (asIfCrashed: Entry) => void
  readonly settleGrant: (grant: Grant, settlement: Settlement) => void | Promise<void>
  /** Unix ms. */
  readonly now: () => number
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
}

/** Whose account it is. */
export interface Holder {
  readonly requestId: string
  readonly key: Key
  readonly endpoint: string
  readonly asked: Asked
  readonly grant: Grant
  readonly demand: Demand
}

export interface Account {
  /** Opens the account of an attempt that is about to be made. */
  attempt(candidate: Candidate): OpenAttempt
  /** The attempt made last. */
  readonly current: OpenAttempt | undefined
  /**
   * Ends what is still open, waits until every entry is on the ledger, then replaces the
   * reservation. Later calls wait for the first.
   *
   * @throws GatewayError `unavailable` when the ledger cannot be written
   */
  settle(): Promise<void>
  /** Sum over the attempts that are measured; `undefined` when one is unpriced. */
  readonly total: {
    readonly cost: NanoUsd | undefined
    readonly tokens: number
    readonly usage: Usage | undefined
  }
}

export interface OpenAttempt {
  /** Something may leave for the provider now: from here on, a loss may have cost money. */
  sent(): void
  readonly wasSent: boolean
  /** What is known of the answer, once one is on its way. */
  tally: Tally | undefined
  /** Ends the attempt; only the first call counts. */
  end(outcome: Entry['outcome'], error?: GatewayError): void
}

/** Keeps the account of one request: an entry for each attempt, then one settlement. */
export function openAccount(holder: Holder, deps: AccountDeps): Account {
  const written: Promise<void>[] = []
  const open = new Set<OpenAttempt>()
  let attempts = 0
  let settled: Promise<void> | undefined
  // No getters: in an object literal they make a hidden class for each object, which keeps all
  // that the request held until the old generation is collected.
  const account: { -readonly [Name in keyof Account]: Account[Name] } = {
    attempt,
    current: undefined,
    settle: () => (settled ??= settleAll()),
    total: { cost: 0n, tokens: 0, usage: undefined },
  }
  return account

  function attempt(candidate: Candidate): OpenAttempt {
    const number = ++attempts
    const id = `${holder.requestId}.${number}`
    const startedAt = deps.now()
    const startedTick = deps.tick()
    const describe = (
      outcome: Entry['outcome'],
      measured: Measured,
      tally: Tally | undefined,
      error?: GatewayError,
    ): Entry => {
      const { key, asked, grant } = holder
      const { request } = asked
      return {
        id,
        kind: 'attempt',
        requestId: holder.requestId,
        attempt: number,
        tenantId: key.tenantId,
        applicationId: key.applicationId,
        keyId: key.id,
        endpoint: holder.endpoint,
        modelAsked: request.model,
        provider: candidate.target.provider,
        model: candidate.target.model,
        ...(tally?.model === undefined ? {} : { modelServed: tally.model }),
        admittedAt: grant.admittedAt,
        startedAt,
        durationMs: Math.round(deps.tick() - startedTick),
        ...(tally?.firstEventMs === undefined
          ? {}
          : { firstEventMs: Math.round(tally.firstEventMs) }),
        stream: asked.operation === 'chat' && asked.request.stream,
        outcome,
        ...(error === undefined ? {} : { errorCode: error.code }),
        ...(tally?.finishReason === undefined ? {} : { finishReason: tally.finishReason }),
        ...(request.endUser === undefined ? {} : { endUser: request.endUser }),
        ...measured,
      }
    }
    const self: { -readonly [Name in keyof OpenAttempt]: OpenAttempt[Name] } = {
      tally: undefined,
      wasSent: false,
      sent() {
        if (self.wasSent) return
        self.wasSent = true
        deps.opened(describe('crashed', crashed(holder), undefined))
      },
      end(outcome, error) {
        if (!open.delete(self)) return
        const { tally } = self
        const upstream = error?.details?.upstream as object | undefined
        const measured = deps.measure({
          candidate,
          tally,
          sent: self.wasSent,
          outcome,
          refused: upstream !== undefined,
          promptBound: holder.demand.inputTokens,
          demand: holder.demand,
          at: startedAt,
        })
        written.push(
          measured instanceof Promise ? measured.then((late) => finish(late)) : finish(measured),
        )
        function finish(result: Measured): Promise<void> {
          const { cost, tokens, usage } = account.total
          account.total = {
            cost: cost === undefined || result.cost === undefined ? undefined : cost + result.cost,
            tokens: tokens + inputTokens(result.usage) + outputTokens(result.usage),
            usage: result.usageSource === 'none' ? usage : result.usage,
          }
          return deps.record(describe(outcome, result, tally, error))
        }
      },
    }
    open.add(self)
    account.current = self
    return self
  }

  async function settleAll(): Promise<void> {
    for (const left of open) left.end('error')
    const results = await Promise.allSettled(written)
    // What was consumed counts against the budgets even when it could not be written down.
    const { tokens, cost = 0n } = account.total
    await deps.settleGrant(holder.grant, { tokens, cost })
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }
}

/**
 * A crash leaves no count. What was held for the attempt is charged, so that no budget is
 * passed; where nothing was held, its prompt.
 */
function crashed({ demand, grant }: Holder): Measured {
  const held = grant.reserved.cost > 0n
  const cost = held ? grant.reserved.cost : demand.cost?.(0)
  const usage = { ...NO_USAGE, input: demand.inputTokens, output: held ? grant.outputTokens : 0 }
  return {
    usage,
    usageSource: 'estimated',
    ...(cost === undefined ? {} : { cost, priceVersion: 'bound' }),
  }
}
