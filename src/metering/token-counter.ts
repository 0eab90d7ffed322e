import { Worker } from 'node:worker_threads'
import { textQuarters } from './estimate.ts'

export interface TokenCounter {
  /**
   * Tokens of a text in the `o200k_base` vocabulary; what media hold must not be in it.
   *
   * Never rejects: where the count takes too long or the thread fails, it is the estimate
   * from the text's characters.
   */
  readonly count: (text: string) => Promise<number>
  /** Ends the thread. */
  readonly close: () => Promise<void>
}

export interface TokenCounterOptions {
  /** Longest wait for a count; 5,000 if absent. */
  readonly timeoutMs?: number
  /** The thread ends when unused for this long, and its memory with it; 60,000 if absent. */
  readonly idleMs?: number
}

/** No answer is this long; what is longer is estimated. UTF-16 units. */
const LONGEST = 8_000_000

/** With the path of this very file, the compiled one beside it after a build. */
const WORKER = new URL(
  import.meta.url.endsWith('.ts') ? './token-worker.ts' : './token-worker.js',
  import.meta.url,
)

/**
 * Counts tokens off the event loop, in one thread that starts with the first text.
 *
 * The vocabulary takes a quarter of a second and some 100 MB to load, so neither start nor
 * idle memory carries it.
 */
export function createTokenCounter({
  timeoutMs = 5000,
  idleMs = 60_000,
}: TokenCounterOptions = {}): TokenCounter {
  const waiting = new Map<number, (tokens: number | undefined) => void>()
  let worker: Worker | undefined
  let idle: NodeJS.Timeout | undefined
  let asked = 0

  return {
    async count(text) {
      if (text === '') return 0
      if (text.length > LONGEST) return estimatedTokens(text)
      return (await ask(text)) ?? estimatedTokens(text)
    },
    async close() {
      await stop()
    },
  }

  function ask(text: string): Promise<number | undefined> {
    const { promise, resolve } = Promise.withResolvers<number | undefined>()
    const id = ++asked
    clearTimeout(idle)
    // A thread that is stuck is of no use to the next text either.
    const timer = setTimeout(() => void stop(), timeoutMs)
    waiting.set(id, (tokens) => {
      clearTimeout(timer)
      waiting.delete(id)
      if (waiting.size === 0) rest()
      resolve(tokens)
    })
    worker ??= start()
    worker.ref()
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    worker.postMessage({ id, text })
    return promise
  }

  function start(): Worker {
    const started = new Worker(WORKER)
    started.on('message', ({ id, tokens }: { readonly id: number; readonly tokens: number }) => {
      waiting.get(id)?.(tokens)
    })
    started.on('error', () => void stop(started))
    started.on('exit', () => void stop(started))
    return started
  }

  function rest(): void {
    worker?.unref()
    idle = setTimeout(() => void stop(), idleMs)
    idle.unref()
  }

  async function stop(which = worker): Promise<void> {
    if (which === undefined || which !== worker) return
    worker = undefined
    clearTimeout(idle)
    for (const answer of waiting.values()) answer(undefined)
    clearTimeout(idle)
    await which.terminate()
  }
}

/** A likely count, from characters alone: half the bound, as plain text comes out at. */
export function estimatedTokens(text: string): number {
  return Math.ceil(textQuarters(text) / 8)
}
