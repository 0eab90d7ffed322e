import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { createUpstream } from '../../src/upstream/send.ts'
import type { SendOptions, Upstream, UpstreamOptions } from '../../src/upstream/send.ts'
import type { UpstreamRequest } from '#protocol'

export interface StandIn {
  readonly url: string
  readonly host: string
  readonly port: number
  /** Sockets accepted so far. */
  readonly connections: () => number
}

/** A provider that answers in HTTP, for the length of one test. */
export function httpServer(answer: RequestListener): Promise<StandIn> {
  return listen(createServer(answer))
}

/** A provider that writes what it likes; `talk` is called at each request's first bytes. */
export function tcpServer(
  talk: (socket: Socket, request: string) => void,
  address?: string,
): Promise<StandIn> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (data) => talk(socket, data.toString('latin1')))
  })
  return listen(server, address)
}

export async function listen(server: Server, address = '127.0.0.1'): Promise<StandIn> {
  const sockets = new Set<Socket>()
  let connections = 0
  server.on('connection', (socket: Socket) => {
    connections++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((listening) => {
    server.listen(0, address, listening)
  })
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('not listening')
  const { port } = bound
  const host = `${address}:${port}`
  return { url: `http://${host}`, host, port, connections: () => connections }
}

/** An upstream for the length of one test; its resolver knows only what it is given. */
export function upstream(options: Partial<UpstreamOptions> = {}): Upstream {
  const made = createUpstream({
    connectTimeoutMs: 2000,
    maxResponseBytes: 8 * 1024 * 1024,
    ...options,
  })
  onTestFinished(() => made.destroy())
  return made
}

export function sendOptions(options: Partial<SendOptions> = {}): SendOptions {
  return {
    signal: new AbortController().signal,
    allowPrivateNetwork: true,
    headTimeoutMs: 5000,
    idleTimeoutMs: 5000,
    ...options,
  }
}

export function get(url: string, headers: Readonly<Record<string, string>> = {}): UpstreamRequest {
  return { method: 'GET', url, headers }
}

export function post(url: string, body: string | Uint8Array): UpstreamRequest {
  return { method: 'POST', url, headers: { 'content-type': 'application/json' }, body }
}

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const chunk of chunks) parts.push(chunk)
  return Buffer.concat(parts).toString()
}

export async function bodyOf(request: IncomingMessage): Promise<string> {
  return collect(request as AsyncIterable<Uint8Array>)
}

/** Writes until the reader no longer takes any, and again when it does; resolves with the bytes written. */
export async function flood(response: ServerResponse | Socket, chunk: Buffer): Promise<number> {
  let written = 0
  while (response.writable && !response.destroyed) {
    written += chunk.length
    if (!response.write(chunk)) {
      const settled = new AbortController()
      const { signal } = settled
      await Promise.race([
        once(response, 'drain', { signal }),
        once(response, 'close', { signal }),
      ]).catch(() => {})
      settled.abort()
    }
  }
  return written
}

/** Polls until it holds. */
export async function eventually(holds: () => boolean): Promise<void> {
  while (!holds()) await wait(2)
}
