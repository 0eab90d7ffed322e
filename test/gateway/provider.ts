import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A provider of OpenAI's wire that answers just as it is told, however wrong. */
export interface Provider {
  /** As `base_url` takes it. */
  readonly baseUrl: string
  /** Every request since the start, in order. */
  readonly received: readonly Received[]
  /** How it answers from here on; at first: {@link answers}. */
  script: Script
  close(): Promise<void>
}

export interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  /** As it came over the wire. */
  readonly text: string
  // oxlint-disable-next-line typescript/no-explicit-any -- tests say what they expect of it
  readonly body: any
  /** The gateway left before the answer was complete. */
  readonly abandoned: boolean
}

export type Script = (received: Received, response: ServerResponse) => void | Promise<void>

export async function openProvider(script: Script = answers()): Promise<Provider> {
  const received: Received[] = []
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => {
    void readText(request).then(async (text) => {
      let abandoned = false
      response.on('close', () => (abandoned = !response.writableFinished))
      const one: Received = {
        path: request.url ?? '',
        headers: request.headers,
        text,
        body: text === '' ? undefined : JSON.parse(text),
        get abandoned() {
          return abandoned
        },
      }
      received.push(one)
      await provider.script(one, response)
    })
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen({ port: 0, host: '127.0.0.1', backlog: 2048 })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const provider: Provider = {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    received,
    script,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return provider
}

export interface Manner {
  readonly text?: string
  /** Output tokens it claims; absent: as many as were allowed. */
  readonly outputTokens?: number
  /** Before it begins, and between two pieces of a stream, ms. */
  readonly delayMs?: number
  readonly pauseMs?: number
  /** Pieces of a stream. */
  readonly pieces?: number
}

/** Answers as asked, whole or streamed. */
export function answers(manner: Manner = {}): Script {
  return async ({ body }, response) => {
    const { text = 'Hello.', delayMs = 0, pauseMs = 0, pieces = 3 } = manner
    const outputTokens = manner.outputTokens ?? mostOutput(body)
    if (delayMs > 0) await sleep(delayMs)
    if (body.stream !== true) return json(response, 200, completion(text, outputTokens))
    beginStream(response)
    for (let piece = 0; piece < pieces; piece++) {
      response.write(delta(text))
      if (pauseMs > 0) await sleep(pauseMs)
    }
    response.write(frame(chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })))
    response.write(frame(chunk({ choices: [], usage: usage(outputTokens) })))
    response.end('data: [DONE]\n\n')
  }
}

/** Refuses, as OpenAI does. */
export function fails(status: number, code = 'server_error'): Script {
  return (_, response) => json(response, status, { error: { message: `no: ${code}`, code } })
}

/** Sends some pieces of a stream, then does whatever is given with the connection. */
export function streamsThen(pieces: number, end: (response: ServerResponse) => void): Script {
  return async (_, response) => {
    beginStream(response)
    for (let piece = 0; piece < pieces; piece++) {
      response.write(delta('word '))
      await sleep(2)
    }
    end(response)
  }
}

/** Begins a stream and tells what it bills for it; hangs up before it has said a word. */
export function bills(outputTokens: number): Script {
  return async (_, response) => {
    beginStream(response)
    response.write(frame(chunk({ choices: [], usage: usage(outputTokens) })))
    await sleep(2)
    response.destroy()
  }
}

/** What the request allows over all choices. */
export function mostOutput(body: {
  readonly max_tokens?: number
  readonly max_completion_tokens?: number
  readonly n?: number
}): number {
  return (body.max_completion_tokens ?? body.max_tokens ?? 16) * (body.n ?? 1)
}

export function usage(outputTokens: number, inputTokens = 8): object {
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
  }
}

export function completion(text: string, outputTokens: number): object {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1_790_000_000,
    model: 'm1',
    choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
    usage: usage(outputTokens),
  }
}

export function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

export function beginStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.flushHeaders()
}

export function delta(content: string): string {
  return frame(chunk({ choices: [{ index: 0, delta: { content }, finish_reason: null }] }))
}

export function chunk(members: object): object {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1_790_000_000,
    model: 'm1',
    ...members,
  }
}

export function frame(data: unknown): string {
  return `data: ${JSON.stringify(data)}\n\n`
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const piece of request) chunks.push(piece as Buffer)
  return Buffer.concat(chunks).toString()
}
