import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'

/** Starts a file of this folder as a thread: `.ts` in the sources, `.js` in the package. */
export function startWorker(name: string, workerData: unknown): Worker {
  const { href } = new URL(`./${name}${extname(import.meta.url)}`, import.meta.url)
  // A thread has the compile cache only when it asks for it itself. Without, each loads the
  // stripper of types first: 60 ms and 10 MB.
  const source = `require('node:module').enableCompileCache(); import(${JSON.stringify(href)})`
  return new Worker(source, { eval: true, workerData, name: `tollgate-${name}` })
}

export function send(to: { postMessage(value: unknown): void } | null, message: unknown): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has none
  to?.postMessage(message)
}
