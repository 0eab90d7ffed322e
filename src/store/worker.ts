import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'

/** Starts a file of this folder as a thread: `.ts` in the sources, `.js` in the package. */
export function startWorker(name: string, workerData: unknown): Worker {
  const file = new URL(`./${name}${extname(import.meta.url)}`, import.meta.url)
  return new Worker(file, { workerData, name: `tollgate-${name}` })
}

export function send(to: { postMessage(value: unknown): void } | null, message: unknown): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has none
  to?.postMessage(message)
}
