import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Middleware } from 'koa'
import { GatewayError, asGatewayError } from '#errors'
import type {
  Answer,
  Asked,
  Change,
  ChatEvent,
  Route,
  StreamAnswer,
  UpstreamHeaders,
  Usage,
  WholeAnswer,
} from '#protocol'
import type { DecisionRecord, GatewayState } from '../state.ts'
import { outcomeOf } from './relay.ts'
import { settle } from './settle.ts'

/** What an answer is written with. */
export interface AnswerContext {
  readonly requestId: string
  /** Unix seconds. */
  readonly created: number
  /** The model as the caller wrote it, for a provider that does not say what answered. */
  readonly model: string
  /** USD, as a decimal. */
  readonly cost?: string
  /** As the ledger has it: estimated where the provider told none. Whole answers only. */
  readonly usage?: Usage
}

/** How an endpoint writes in its own wire. */
export interface AnswerWriter {
  writeWhole(
    content: WholeAnswer['content'],
    asked: Asked,
    context: AnswerContext,
  ): string | Uint8Array
  /** One for each stream. */
  events(asked: Asked, context: AnswerContext): (events: readonly ChatEvent[]) => string
  /** The end marker of a stream, written once all is settled. */
  readonly endMarker: string
  writeStreamError(error: GatewayError, requestId: string): string
}

export interface WriteAnswerDeps {
  readonly writer: AnswerWriter
  readonly usd: (nanos: bigint) => string
  /** Longest a caller may leave written bytes unread, ms. */
  readonly clientTimeoutMs: number
  readonly tick: () => number
}

/** Longest that the news of a broken stream waits for its account, ms. */
const ERROR_PATIENCE_MS = 250

const HEARTBEAT_MS = 15_000
const HEARTBEAT = ': keep-alive\n\n'

/**
 * Writes the answer. Its last byte waits until the request is settled, and nothing that broke
 * ever ends as if it were complete.
 */
export function writeAnswer({
  writer,
  usd,
  clientTimeoutMs,
  tick,
}: WriteAnswerDeps): Middleware<GatewayState> {
  return async function writeAnswer(ctx, next) {
    await next()
    const { state, res } = ctx
    const { answer, asked } = state
    ctx.respond = false
    state.record.changes = answer.changes
    if (answer.type === 'stream') await writeStream(state, res, answer)
    else await writeWhole(state, res, answer, asked)
  }

  async function writeWhole(
    state: GatewayState,
    res: ServerResponse,
    answer: Answer & WholeAnswer,
    asked: Asked,
  ): Promise<void> {
    end(state, 'ok')
    await settle(state, tick)
    const { cost, usage } = state.account.total
    const context = {
      requestId: state.requestId,
      created: Math.floor(state.receivedAt / 1000),
      model: asked.request.model,
      ...(cost === undefined ? {} : { cost: usd(cost) }),
      ...(usage === undefined ? {} : { usage }),
    }
    const body = writer.writeWhole(answer.content, asked, context)
    writeHead(res, state, answer, 'application/json', cost)
    res.setHeader('content-length', Buffer.byteLength(body))
    res.end(body)
  }

  async function writeStream(
    state: GatewayState,
    res: ServerResponse,
    answer: Answer & StreamAnswer,
  ): Promise<void> {
    const { signal } = state.abort
    const write = writer.events(state.asked, {
      requestId: state.requestId,
      created: Math.floor(state.receivedAt / 1000),
      model: state.asked.request.model,
    })
    res.setHeader('x-accel-buffering', 'no')
    res.setHeader('cache-control', 'no-store')
    writeHead(res, state, answer, 'text/event-stream; charset=utf-8', undefined)
    let wrote = tick()
    /** Since when the provider is being read; undefined while the caller is waited for. */
    let reading: number | undefined = wrote
    const read = (now: number): void => {
      if (reading === undefined) return
      state.record.streamMs = (state.record.streamMs ?? 0) + now - reading
      reading = now
    }
    const heartbeat = setInterval(() => {
      if (tick() - wrote >= HEARTBEAT_MS && !res.writableNeedDrain) res.write(HEARTBEAT)
    }, HEARTBEAT_MS)
    try {
      for await (const piece of answer.pieces) {
        if (signal.aborted) throw signal.reason
        const out = piece instanceof Uint8Array ? piece : write(piece)
        wrote = tick()
        read(wrote)
        if (out.length > 0 && !res.write(out)) {
          reading = undefined
          await drained(res, state.abort, clientTimeoutMs)
          reading = tick()
        }
      }
      read(tick())
      reading = undefined
      end(state, 'ok')
      await settle(state, tick)
      res.end(writer.endMarker)
    } catch (thrown) {
      read(tick())
      const error = asGatewayError(signal.aborted ? signal.reason : thrown)
      state.record.errorCode = error.code
      state.record.error = error
      end(state, outcomeOf(error, signal), error)
      const settled = settle(state, tick).catch(() => undefined)
      // Settled first, so that the caller can come again at once; but counting may take long.
      await Promise.race([settled, sleep(ERROR_PATIENCE_MS)])
      if (error.code === 'client_closed_request') res.destroy()
      else res.end(writer.writeStreamError(error, state.requestId))
      await settled
    } finally {
      clearInterval(heartbeat)
    }
  }

  function end(
    state: GatewayState,
    outcome: 'ok' | 'aborted' | 'timeout' | 'error',
    error?: GatewayError,
  ): void {
    state.account.current?.end(outcome, error)
    const attempt = state.record.attempts.at(-1)
    if (attempt === undefined) return
    attempt.durationMs = Math.round(tick() - state.receivedTick - attempt.startedMs)
    if (outcome === 'ok') return
    attempt.outcome = outcome
    if (error !== undefined) {
      attempt.reason = error.code
      attempt.error = error
    }
  }

  function writeHead(
    res: ServerResponse,
    { record, route, receivedTick }: GatewayState,
    answer: Answer,
    type: string,
    cost: bigint | undefined,
  ): void {
    res.statusCode = 200
    res.setHeader('content-type', type)
    res.setHeader('x-tollgate-model', answer.candidate.name)
    res.setHeader('x-tollgate-provider', answer.candidate.target.provider)
    res.setHeader('x-tollgate-attempts', String(record.attempts.length))
    res.setHeader('x-tollgate-route-reason', reason(record, route, answer.candidate.name))
    writeTranslation(res, answer.changes)
    writeTiming(res, record, tick() - receivedTick)
    writeUpstreamLimits(res, answer.headers)
    if (cost !== undefined) res.setHeader('x-tollgate-cost-usd', usd(cost))
  }
}

function reason({ attempts }: DecisionRecord, route: Route, target: string): string {
  const failed = attempts.at(-2)
  if (failed !== undefined) return `fallback:${failed.reason ?? 'error'}`
  if (route.name === target) return 'primary'
  return route.targets.length > 1 && route.strategy !== 'ordered' ? 'load_balance' : 'alias'
}

/** Up to the answer: the whole of it, or the first event of a stream. */
function writeTiming(
  res: ServerResponse,
  { upstreamMs = 0 }: DecisionRecord,
  totalMs: number,
): void {
  const overheadMs = Math.max(0, totalMs - upstreamMs).toFixed(1)
  res.setHeader('openai-processing-ms', String(Math.round(totalMs)))
  res.setHeader('x-tollgate-overhead-ms', overheadMs)
  res.setHeader('server-timing', `policy;dur=${overheadMs}, upstream;dur=${upstreamMs.toFixed(1)}`)
}

const UPSTREAM_LIMIT = /^(?:x|anthropic)-ratelimit-/

/** The provider's limits are not the caller's: they go under a name of their own. */
function writeUpstreamLimits(res: ServerResponse, headers: UpstreamHeaders): void {
  for (const name in headers) {
    const value = headers[name]
    if (typeof value !== 'string' || !UPSTREAM_LIMIT.test(name)) continue
    res.setHeader(name.replace(UPSTREAM_LIMIT, 'x-tollgate-upstream-ratelimit-'), value)
  }
}

/** Longest list of changes in a header; the rest is counted. */
const MAX_CHANGES = 20

function writeTranslation(res: ServerResponse, changes: readonly Change[]): void {
  if (changes.length === 0) {
    res.setHeader('x-tollgate-translation', 'exact')
    return
  }
  res.setHeader(
    'x-tollgate-translation',
    changes.some(({ kind }) => kind === 'lossy') ? 'lossy' : 'adapted',
  )
  const shown = changes
    .slice(0, MAX_CHANGES)
    .map(({ field, kind, note }) => `${field};${kind};"${note.replaceAll('"', "'")}"`)
  if (changes.length > MAX_CHANGES) shown.push(`and ${changes.length - MAX_CHANGES} more`)
  // oxlint-disable-next-line no-control-regex -- a header must not carry them
  res.setHeader('x-tollgate-translation-changes', shown.join(', ').replace(/[^\x20-\x7e]/g, '?'))
}

/** Waits for a slow caller, but not for ever. */
async function drained(
  res: ServerResponse,
  abort: AbortController,
  timeoutMs: number,
): Promise<void> {
  const late = setTimeout(() => {
    const message = `The client read nothing for ${timeoutMs} ms`
    abort.abort(new GatewayError('client_closed_request', message))
  }, timeoutMs)
  try {
    await once(res, 'drain', { signal: abort.signal })
  } catch (error) {
    throw abort.signal.aborted ? abort.signal.reason : error
  } finally {
    clearTimeout(late)
  }
}
