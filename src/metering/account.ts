import type { GatewayError } from '#errors'
import type {
  Asked,
  Candidate,
  Demand,
  Entry,
  Grant,
  Key,
  NanoUsd,
  SentAttempt,
  Settlement,
  SettlementPart,
  Tally,
  Usage,
  UsedModel,
} from '#protocol'
import { NO_USAGE, inputTokens, outputTokens } from '#protocol'

/** What an attempt consumed and cost. */
export type Measured = Pick<
  Entry,
  'usage' | 'usageSource' | 'cost' | 'listCost' | 'costLines' | 'priceVersion'
>

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
  readonly opened: (attempt: SentAttempt) => void
  /** @throws GatewayError where a limit has no room for it */
  readonly extendGrant: (grant: Grant, demand: Demand, spent: Settlement) => void | Promise<void>
  readonly freeSlot: (grant: Grant) => void | Promise<void>
  readonly settleGrant: (
    grant: Grant,
    settlement: Settlement,
    holder: Holder,
  ) => void | Promise<void>
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
  /** On whose behalf, beside the key; goes on every entry. */
  readonly attribution?: Attribution
  /** Which limits it was admitted under; they may have changed since. */
  readonly limitsSeen?: bigint
}

export type Attribution = Pick<Entry, 'userId' | 'tags' | 'environment' | 'promptId'>

export interface Account {
  /** Opens the account of an attempt that is about to be made. */
  attempt(candidate: Candidate): OpenAttempt
  /** The attempt made last. */
  readonly current: OpenAttempt | undefined
  /**
   * Holds what the attempts so far cost beside the bound of the next: to be called before it.
   * Of one that is still being counted, its bound. No promise where that takes no time.
   *
   * @throws GatewayError where a limit has no room for another attempt
   */
  cover(): void | Promise<void>
  /**
   * Ends what is still open, waits until every entry is on the ledger, then replaces the
   * reservation. Where tokens are still being counted, the request's place among those under
   * way is free before that. Later calls wait for the first.
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
  return new RequestAccount(holder, deps)
}

const NOTHING: Settlement = Object.freeze({ tokens: 0, outputTokens: 0, cost: 0n })

class RequestAccount implements Account {
  readonly holder: Holder
  readonly deps: AccountDeps
  current: Attempt | undefined
  total: Account['total'] = { tokens: 0, cost: 0n, usage: undefined }
  readonly #attempts: Attempt[] = []
  readonly #written: Promise<void>[] = []
  /** Of the attempts that are measured; what has no price counts as nothing. */
  #consumed = NOTHING
  /** The same, each for itself, where limits ask for that. */
  readonly #parts: SettlementPart[] = []
  /** The part of the ended attempts that the grant does not cover yet. */
  #uncovered = NOTHING
  /** Attempts whose tokens are being counted. */
  #counting = 0
  #failure: unknown
  #settled: Promise<void> | undefined

  constructor(holder: Holder, deps: AccountDeps) {
    this.holder = holder
    this.deps = deps
  }

  attempt(candidate: Candidate): OpenAttempt {
    this.current = new Attempt(this, candidate, this.#attempts.length + 1)
    this.#attempts.push(this.current)
    return this.current
  }

  cover(): void | Promise<void> {
    const spent = this.#uncovered
    if (spent.tokens === 0 && spent.cost === 0n) return undefined
    this.#uncovered = NOTHING
    return this.deps.extendGrant(this.holder.grant, this.holder.demand, spent)
  }

  settle(): Promise<void> {
    this.#settled ??= this.#settleAll()
    return this.#settled
  }

  /**
   * Takes what an attempt consumed, once it has ended.
   *
   * @param bound the most it can be, where it is still being counted
   */
  take(attempt: Attempt, measured: Measured | Promise<Measured>, bound?: Measured): void {
    const writing =
      measured instanceof Promise ? this.#count(attempt, measured) : this.#write(attempt, measured)
    // Caught here: nobody looks at it before the request settles.
    this.#written.push(writing.catch((error: unknown) => void (this.#failure ??= error)))
    this.#uncovered = plus(this.#uncovered, measured instanceof Promise ? bound : measured)
  }

  async #count(attempt: Attempt, counting: Promise<Measured>): Promise<void> {
    this.#counting++
    const measured = await counting.finally(() => this.#counting--)
    await this.#write(attempt, measured)
  }

  async #write(attempt: Attempt, measured: Measured): Promise<void> {
    this.#consumed = plus(this.#consumed, measured)
    if (this.holder.grant.byModel === true) this.#parts.push(partOf(attempt, measured))
    const { cost, usage } = this.total
    this.total = {
      cost: cost === undefined || measured.cost === undefined ? undefined : cost + measured.cost,
      tokens: this.#consumed.tokens,
      usage: measured.usageSource === 'none' ? usage : measured.usage,
    }
    await this.deps.record(attempt.entry(measured))
  }

  async #settleAll(): Promise<void> {
    const { grant } = this.holder
    for (const attempt of this.#attempts) attempt.end('error')
    // Only then: counting may take seconds, and settling frees it otherwise.
    if (this.#counting > 0) await this.deps.freeSlot(grant)
    await Promise.all(this.#written)
    // What was consumed counts against the budgets even when it could not be written down.
    await this.deps.settleGrant(
      grant,
      grant.byModel === true ? { ...this.#consumed, parts: this.#parts } : this.#consumed,
      this.holder,
    )
    if (this.#failure !== undefined) throw this.#failure
  }
}

class Attempt implements OpenAttempt, SentAttempt {
  readonly id: string
  tally: Tally | undefined
  wasSent = false
  readonly #account: RequestAccount
  readonly #candidate: Candidate
  readonly #number: number
  readonly #startedAt: number
  readonly #startedTick: number
  #outcome: Entry['outcome'] | undefined
  #error: GatewayError | undefined
  #durationMs = 0
  /** The most it can have consumed, while it is being counted. */
  #bound: Measured | undefined

  constructor(account: RequestAccount, candidate: Candidate, number: number) {
    const { holder, deps } = account
    this.id = `${holder.requestId}.${number}`
    this.#account = account
    this.#candidate = candidate
    this.#number = number
    this.#startedAt = deps.now()
    this.#startedTick = deps.tick()
  }

  sent(): void {
    if (this.wasSent) return
    this.wasSent = true
    this.#account.deps.opened(this)
  }

  end(outcome: Entry['outcome'], error?: GatewayError): void {
    if (this.#outcome !== undefined) return
    const { deps, holder } = this.#account
    const { demand, grant } = holder
    this.#outcome = outcome
    this.#error = error
    this.#durationMs = Math.round(deps.tick() - this.#startedTick)
    const measured = deps.measure({
      candidate: this.#candidate,
      tally: this.tally,
      sent: this.wasSent,
      outcome,
      refused: error?.details?.upstream !== undefined,
      promptBound: demand.inputTokens,
      demand,
      at: this.#startedAt,
    })
    if (measured instanceof Promise) {
      const hasOutput = this.tally !== undefined && this.tally.outputLength > 0
      this.#bound = boundOf(demand, hasOutput ? grant.outputTokens : 0)
    }
    this.#account.take(this, measured, this.#bound)
  }

  get used(): UsedModel {
    return { name: this.#candidate.name, asked: this.#account.holder.asked.request.model }
  }

  /** Its line of the ledger, once it has ended. */
  entry(measured: Measured): Entry {
    return this.#describe(this.#outcome ?? 'error', measured, this.tally)
  }

  /**
   * A crash leaves no count. What was held for the attempt is charged, so that no budget is
   * passed; where nothing was held, its prompt.
   */
  asIfCrashed(): Entry {
    const { demand, grant } = this.#account.holder
    const held = grant.reserved.cost > 0n
    const bound = this.#bound ?? boundOf(demand, held ? grant.outputTokens : 0)
    return this.#describe('crashed', bound, undefined)
  }

  #describe(outcome: Entry['outcome'], measured: Measured, tally: Tally | undefined): Entry {
    const { requestId, key, endpoint, asked, grant, attribution } = this.#account.holder
    const { request } = asked
    const { target } = this.#candidate
    return {
      id: this.id,
      kind: 'attempt',
      requestId,
      attempt: this.#number,
      tenantId: key.tenantId,
      applicationId: key.applicationId,
      keyId: key.id,
      endpoint,
      modelAsked: request.model,
      provider: target.provider,
      model: target.model,
      ...(tally?.model === undefined ? {} : { modelServed: tally.model }),
      admittedAt: grant.admittedAt,
      startedAt: this.#startedAt,
      durationMs: this.#durationMs,
      ...(tally?.firstEventMs === undefined
        ? {}
        : { firstEventMs: Math.round(tally.firstEventMs) }),
      stream: asked.operation === 'chat' && asked.request.stream,
      outcome,
      ...(outcome === 'crashed' || this.#error === undefined
        ? {}
        : { errorCode: this.#error.code }),
      ...(tally?.finishReason === undefined ? {} : { finishReason: tally.finishReason }),
      ...(request.endUser === undefined ? {} : { endUser: request.endUser }),
      ...attribution,
      ...(target.credentialId !== undefined && { credentialId: target.credentialId }),
      ...measured,
    }
  }
}

function plus(before: Settlement, measured: Measured | undefined): Settlement {
  if (measured === undefined) return before
  const { usage } = measured
  const output = outputTokens(usage)
  return {
    tokens: before.tokens + inputTokens(usage) + output,
    outputTokens: (before.outputTokens ?? 0) + output,
    cost: before.cost + (measured.cost ?? 0n),
  }
}

function partOf({ used }: Attempt, measured: Measured): SettlementPart {
  return { used, ...plus(NOTHING, measured) }
}

/** What an attempt is charged at most, by the bounds its request was admitted with. */
function boundOf({ inputTokens, cost }: Demand, outputTokens: number): Measured {
  const most = cost?.(outputTokens)
  return {
    usage: { ...NO_USAGE, input: inputTokens, output: outputTokens },
    usageSource: 'estimated',
    ...(most === undefined ? {} : { cost: most, priceVersion: 'bound' }),
  }
}
