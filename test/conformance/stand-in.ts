import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text as readText } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { parsed } from './json.ts'

/** What a provider is to answer next. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The body; between two parts the provider falls silent for a moment. */
  readonly parts: readonly Buffer[]
}

/** What a provider was sent. */
export interface Received {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly query: string
  readonly headers: IncomingMessage['headers']
  /** Parsed, or as it came where that cannot be. */
  readonly body: unknown
}

export interface StandIn {
  readonly url: string
  /** Sets the answer to every request from now on. */
  play(reply: Reply): void
  /** What came since the last call. */
  take(): readonly Received[]
  close(): Promise<void>
}

/** Odd on purpose: borders fall inside lines, and inside characters. */
const PIECE_BYTES = 173
/** Longer answers go in larger pieces, to keep the run short. */
const MOST_PIECES = 200
/** Long enough for what came before to be passed on. */
const SILENCE_MS = 15

/** One server that plays every provider, one answer at a time. */
export async function startStandIn(): Promise<StandIn> {
  let next: Reply | undefined
  let received: Received[] = []

  const server = createServer(async (request, response) => {
    const body = await readText(request)
    const url = new URL(request.url ?? '', 'http://stand-in')
    received.push({
      method: request.method ?? '',
      path: url.pathname,
      query: url.search,
      headers: request.headers,
      body: parsed(body),
    })
    if (next === undefined) response.writeHead(500).end('nothing to play')
    else await write(response, next)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  return {
    url: `http://127.0.0.1:${port}`,
    play(reply) {
      next = reply
    },
    take() {
      const taken = received
      received = []
      return taken
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function write(response: ServerResponse, reply: Reply): Promise<void> {
  const { status, headers, parts } = reply
  response.writeHead(status, { ...headers })
  for (const [index, part] of parts.entries()) {
    if (index > 0) await sleep(SILENCE_MS)
    const piece = Math.max(PIECE_BYTES, Math.ceil(part.length / MOST_PIECES))
    for (let at = 0; at < part.length && !response.destroyed; at += piece) {
      response.write(part.subarray(at, at + piece))
    }
  }
  response.end()
}
