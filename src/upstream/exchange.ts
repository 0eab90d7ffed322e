import type { Transform } from 'node:stream'
import type { Dispatcher } from 'undici'
import { GatewayError } from '#errors'
import type { ErrorCode } from '#errors'
import type { UpstreamHeaders } from '#protocol'
import { ByteBuffer } from './byte-buffer.ts'
import { decoderFor } from './decode.ts'
import type { DecoderFactory } from './decode.ts'
import { readFailure } from './failures.ts'
import type { Phase } from './failures.ts'

/**
 * A provider's answer, its head read.
 *
 * Whoever gets one reads it to its end or aborts it: left alone it holds its socket. Its errors
 * are GatewayErrors `upstream_error`, `upstream_timeout` and `upstream_invalid`, or the reason it
 * was aborted with.
 */
export interface UpstreamAnswer {
  readonly status: number
  readonly headers: UpstreamHeaders
  /** Complete or broken off: nothing more will come from the socket. */
  readonly ended: boolean
  /**
   * The body, decompressed, once. Not read, it stops the socket; what came meanwhile arrives as
   * one chunk. Leaving the loop early drains the rest.
   */
  readonly chunks: AsyncIterable<Uint8Array>
  /** The whole body, decompressed, once; quicker than `chunks`. */
  bytes(): Promise<Buffer>
  /**
   * Throws the rest away, so that the connection can be used again; aborts if it is not over
   * within a second. Resolves when it is, however that came.
   */
  drain(): Promise<void>
  /** Destroys the socket, unless the answer is complete. */
  abort(reason?: unknown): void
}

export interface ExchangeOptions {
  /** Named in messages, unless `who` is there. */
  readonly host: string
  readonly who?: string
  readonly signal: AbortSignal
  readonly headTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly maxBytes: number
}

/** Bytes held for a reader before its socket is paused. */
const HIGH_WATER_BYTES = 64 * 1024

/** How long the rest of an answer nobody reads may hold its socket, ms. */
const DRAIN_MS = 1000

/** Interim (1xx) answers before the final one; real servers send one or two. */
const MAX_INTERIM = 16

const ENDED = Promise.resolve({ done: true, value: undefined } as const)

type Chunk = IteratorResult<Uint8Array, undefined>

/**
 * One request on the wire, as undici drives it; also its answer.
 *
 * A class, because undici wants one object with these methods per request, on the hot path.
 */
export class Exchange
  implements Dispatcher.DispatchHandler, UpstreamAnswer, AsyncIterator<Uint8Array>
{
  status = 0
  headers: UpstreamHeaders = {}
  /** Resolves with this exchange when the head is in. */
  readonly answer: Promise<UpstreamAnswer>

  readonly #options: ExchangeOptions
  readonly #head = Promise.withResolvers<UpstreamAnswer>()
  readonly #held = new ByteBuffer()
  #phase: Phase = 'connecting'
  #state: 'open' | 'ended' | 'failed' = 'open'
  #failure: unknown
  #controller: Dispatcher.DispatchController | undefined
  #timer: NodeJS.Timeout | undefined
  /** The timer fired, and nothing has come since. */
  #late = false
  #interim = 0
  #received = 0
  #onWire = 0
  #paused = false
  /** The socket has given all; only the decoder may have more. */
  #wireDone = false
  #decoderFactory: DecoderFactory | undefined
  #decoder: Transform | undefined
  /** `pull`: the reader sets the pace. `collect`: all is kept for `bytes`. `drop`: it is drained. */
  #mode: 'pull' | 'collect' | 'drop' = 'pull'
  #whole: PromiseWithResolvers<Buffer> | undefined
  #next: PromiseWithResolvers<Chunk> | undefined
  #over: PromiseWithResolvers<void> | undefined
  #drainTimer: NodeJS.Timeout | undefined

  constructor(options: ExchangeOptions) {
    this.#options = options
    this.answer = this.#head.promise
    if (options.signal.aborted) this.#fail(options.signal.reason)
    else options.signal.addEventListener('abort', this)
  }

  get ended(): boolean {
    return this.#state !== 'open'
  }

  /** The caller's signal. */
  handleEvent(): void {
    this.abort(this.#options.signal.reason)
  }

  abort(reason: unknown = new DOMException('The answer was abandoned', 'AbortError')): void {
    // Whoever aborts has no use for what is still held.
    this.#held.take()
    this.#fail(reason)
  }

  // What undici calls.

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Thrown rather than aborted: the fresh socket, unused, stays good for the next request.
    if (this.#state === 'failed') throw new Error('aborted before it was sent')
    this.#controller = controller
    this.#phase = 'waiting'
    this.#startTimer(this.#options.headTimeoutMs)
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: UpstreamHeaders,
  ): void {
    if (this.#state !== 'open') return
    if (status < 200) {
      if (++this.#interim > MAX_INTERIM)
        this.#refuse('upstream_invalid', 'sent too many 1xx answers')
      return
    }
    this.#phase = 'answering'
    this.status = status
    this.headers = headers
    try {
      this.#decoderFactory = decoderFor(headers['content-encoding'])
    } catch (error) {
      this.#fail(error)
      return
    }
    if (
      this.#decoderFactory === undefined &&
      Number(headers['content-length']) > this.#options.maxBytes
    ) {
      this.#refuseSize()
      return
    }
    this.#startTimer(this.#options.idleTimeoutMs)
    this.#head.resolve(this)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#state !== 'open') return
    this.#late = false
    this.#timer?.refresh()
    if (this.#decoderFactory === undefined) {
      this.#accept(chunk)
      if (this.#held.length >= HIGH_WATER_BYTES && this.#mode === 'pull') this.#pause()
      return
    }
    // Counted before decoding too: empty blocks decode to nothing for ever.
    this.#onWire += chunk.length
    if (this.#onWire > this.#options.maxBytes) {
      this.#refuseSize()
      return
    }
    this.#decoder ??= this.#openDecoder(this.#decoderFactory, chunk[0] ?? 0)
    if (!this.#decoder.write(chunk)) this.#pause()
  }

  onResponseEnd(): void {
    if (this.#state !== 'open') return
    this.#wireDone = true
    this.#stopTimer()
    if (this.#decoder === undefined) this.#end()
    else this.#decoder.end()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(readFailure(error, this.#options, this.#phase))
  }

  // What the reader calls.

  get chunks(): AsyncIterable<Uint8Array> {
    return { [Symbol.asyncIterator]: () => this }
  }

  next(): Promise<Chunk> {
    if (this.#held.length > 0) {
      const value = this.#held.take()
      this.#relieve()
      return Promise.resolve({ done: false, value })
    }
    if (this.#state === 'ended') return ENDED
    if (this.#state === 'failed') return Promise.reject(this.#failure)
    this.#next = Promise.withResolvers()
    return this.#next.promise
  }

  return(): Promise<Chunk> {
    void this.drain()
    return ENDED
  }

  drain(): Promise<void> {
    if (this.#state !== 'open') return Promise.resolve()
    if (this.#over === undefined) {
      this.#over = Promise.withResolvers()
      this.#mode = 'drop'
      this.#held.take()
      this.#drainTimer = setTimeout(() => this.abort(), DRAIN_MS)
      this.#relieve()
    }
    return this.#over.promise
  }

  bytes(): Promise<Buffer> {
    if (this.#state === 'ended') return Promise.resolve(this.#held.take())
    if (this.#state === 'failed') return Promise.reject(this.#failure)
    this.#whole = Promise.withResolvers()
    this.#mode = 'collect'
    this.#relieve()
    return this.#whole.promise
  }

  // Between the two.

  #accept(chunk: Buffer): void {
    this.#received += chunk.length
    if (this.#received > this.#options.maxBytes) {
      this.#refuseSize()
      return
    }
    if (this.#mode === 'drop') return
    if (this.#next === undefined) {
      this.#held.append(chunk)
      return
    }
    this.#next.resolve({ done: false, value: chunk })
    this.#next = undefined
  }

  #openDecoder(factory: DecoderFactory, firstByte: number): Transform {
    return factory(firstByte)
      .on('data', (chunk: Buffer) => {
        if (this.#state !== 'open') return
        this.#accept(chunk)
        if (this.#held.length >= HIGH_WATER_BYTES && this.#mode === 'pull') this.#decoder?.pause()
      })
      .on('drain', () => this.#resume())
      .on('end', () => this.#end())
      .on('error', (cause) => {
        this.#refuse('upstream_invalid', 'sent a body that does not decompress', cause)
      })
  }

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    // A reader that takes its time is not a provider that stalls.
    this.#stopTimer()
    this.#controller?.pause()
  }

  #resume(): void {
    // The socket may be another request's by then.
    if (!this.#paused || this.#wireDone || this.#state !== 'open') return
    this.#paused = false
    this.#startTimer(this.#options.idleTimeoutMs)
    this.#controller?.resume()
  }

  /** What was held is taken: more may come. */
  #relieve(): void {
    if (this.#state !== 'open') return
    if (this.#decoder === undefined) this.#resume()
    else if (this.#decoder.isPaused()) this.#decoder.resume()
  }

  #startTimer(ms: number): void {
    this.#stopTimer()
    this.#timer = setTimeout(onTimeout, ms, this)
  }

  #stopTimer(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#late = false
  }

  /**
   * Not for callers: the running timer fired.
   *
   * After a stall of our own, timers fire before the sockets are read: what has come meanwhile
   * is read first.
   */
  onTimeout(): void {
    this.#late = true
    setImmediate(() => {
      if (this.#late && this.#timer !== undefined) this.#timedOut()
    })
  }

  #timedOut(): void {
    const { host, who = host, headTimeoutMs, idleTimeoutMs } = this.#options
    this.#fail(
      new GatewayError(
        'upstream_timeout',
        this.#phase === 'waiting'
          ? `${who} did not begin to answer within ${headTimeoutMs} ms`
          : `${who} sent nothing for ${idleTimeoutMs} ms within its answer`,
        { details: { request_sent: true } },
      ),
    )
  }

  #refuseSize(): void {
    this.#refuse('upstream_invalid', `sent more than ${this.#options.maxBytes} bytes`)
  }

  #refuse(code: ErrorCode, problem: string, cause?: Error): void {
    const { host, who = host } = this.#options
    this.#fail(
      new GatewayError(code, `${who} ${problem}`, {
        details: { request_sent: true },
        cause,
      }),
    )
  }

  #end(): void {
    if (this.#state !== 'open') return
    this.#state = 'ended'
    this.#release()
    this.#whole?.resolve(this.#held.take())
    this.#next?.resolve(ENDED)
    this.#over?.resolve()
  }

  #fail(error: unknown): void {
    if (this.#state !== 'open') return
    this.#state = 'failed'
    this.#failure = error
    this.#release()
    this.#decoder?.destroy()
    this.#head.reject(error)
    this.#whole?.reject(error)
    this.#next?.reject(error)
    this.#over?.resolve()
    // Last: it calls back into onResponseError.
    this.#controller?.abort(error instanceof Error ? error : new Error('aborted'))
  }

  #release(): void {
    this.#stopTimer()
    clearTimeout(this.#drainTimer)
    this.#options.signal.removeEventListener('abort', this)
  }
}

function onTimeout(exchange: Exchange): void {
  exchange.onTimeout()
}
