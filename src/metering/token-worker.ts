/** Counts tokens in a thread of its own: some seconds of work must not stop the event loop. */
import { parentPort } from 'node:worker_threads'
import { Tiktoken } from 'tiktoken/lite'
import o200k from 'tiktoken/encoders/o200k_base.json' with { type: 'json' }
import { pieces } from './pieces.ts'

const encoding = new Tiktoken(o200k.bpe_ranks, o200k.special_tokens, o200k.pat_str)

parentPort?.on('message', ({ id, text }: { readonly id: number; readonly text: string }) => {
  let tokens = 0
  // `encode` would throw on text that looks like a special token.
  for (const piece of pieces(text)) tokens += encoding.encode_ordinary(piece).length
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  parentPort?.postMessage({ id, tokens })
})
