import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { flagOf, variableOf } from '../config.ts'

/** Longest a caller may take to send its head, and to send all of its request, ms. */
const HEAD_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 120_000

/** How often both are looked at; Node's own half minute would be added to them. */
const CHECK_MS = 1000

const MAX_HEAD_BYTES = 32 * 1024

export function serverFor(handle: RequestListener): Server {
  const server = createServer(
    {
      noDelay: true,
      keepAlive: true,
      maxHeaderSize: MAX_HEAD_BYTES,
      connectionsCheckingInterval: CHECK_MS,
    },
    handle,
  )
  server.headersTimeout = HEAD_TIMEOUT_MS
  server.requestTimeout = REQUEST_TIMEOUT_MS
  server.keepAliveTimeout = 75_000
  return server
}

export async function listen(
  server: Server,
  host: string,
  port: number,
  setting: string,
): Promise<void> {
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why =
      code === 'EADDRINUSE' ? 'is taken by another process' : `cannot be listened on (${code})`
    throw new Error(
      `${host}:${port} ${why}: choose another with ${flagOf(setting)} or ${variableOf(setting)}`,
      { cause: error },
    )
  }
}

export function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo
  const name = host.includes(':') ? `[${host}]` : host
  return `http://${name}:${port}`
}
