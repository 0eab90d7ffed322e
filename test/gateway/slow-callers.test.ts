import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'

/** Ten seconds for a head, and what it takes to notice. */
const HEAD_PATIENCE_MS = 14_000

let gateway: TestGateway

beforeAll(async () => {
  gateway = await openGateway({})
})
afterAll(() => gateway.close())

describe.concurrent('callers who take their time', () => {
  it.for([
    ['a head a byte at a time', 'POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-a: '],
    ['nothing at all', ''],
  ] as const)('are hung up on after %s, and others are served', async ([, start], { expect }) => {
    const started = performance.now()
    const slow = await Promise.all(Array.from({ length: 50 }, () => dripping(start)))
    const quick = await call(
      gateway.dataUrl,
      { model: 'simulator/chat', messages: HELLO },
      { key: gateway.key },
    )
    expect(quick.status).toBe(200)
    await Promise.all(slow.map(({ closed }) => closed))
    const took = performance.now() - started
    expect(took).toBeLessThan(HEAD_PATIENCE_MS)
  })
})

/** Opens a connection, sends `start` and then a byte now and again; `closed` resolves once it is. */
async function dripping(start: string): Promise<{ readonly closed: Promise<void> }> {
  const { hostname, port } = new URL(gateway.dataUrl)
  const socket: Socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  socket.on('error', () => undefined)
  socket.resume()
  if (start !== '') {
    socket.write(start)
    const drip = setInterval(() => socket.write('a'), 500)
    socket.on('close', () => clearInterval(drip))
  }
  return { closed: new Promise((resolve) => socket.on('close', () => resolve())) }
}
