import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'
import { beginStream, delta, openProvider } from './provider.ts'

/** Ten seconds for a head, and what it takes to notice. */
const HEAD_PATIENCE_MS = 14_000

let gateway: TestGateway

beforeAll(async () => {
  gateway = await openGateway({})
})
afterAll(() => gateway.close())

describe('a caller who reads nothing of a stream', () => {
  it('is let go, and so is the provider', async ({ expect }) => {
    const piece = delta('word '.repeat(2000))
    const provider = await openProvider((_, response) => {
      beginStream(response)
      const more = (): void => {
        while (!response.destroyed && response.write(piece));
      }
      response.on('drain', more)
      more()
    })
    const impatient = await openGateway({
      idle_timeout_ms: 400,
      providers: {
        stand: {
          kind: 'openai',
          api_key: 'sk-upstream',
          base_url: provider.baseUrl,
          allow_private_network: true,
          prices: { '*': { input: '1', output: '2' } },
        },
      },
    })
    const socket = await connected(impatient.dataUrl)
    socket.pause()
    const body = JSON.stringify({ model: 'stand/m1', messages: HELLO, stream: true })
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n` +
        `authorization: Bearer ${impatient.key}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    await expect.poll(() => provider.received.at(-1)?.abandoned, { timeout: 5000 }).toBe(true)
    // Not as an answer too large: it was not read on while nobody took it.
    await expect
      .poll(
        async () => {
          const { body: report } = await impatient.admin(
            'GET',
            '/admin/v1/costs/report?group_by=outcome',
          )
          return report.rows.map((row: { readonly group: object }) => row.group)
        },
        { timeout: 10_000 },
      )
      .toEqual([{ outcome: 'aborted' }])
    socket.destroy()
    await impatient.close()
    await provider.close()
  })
})

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
  const socket = await connected(gateway.dataUrl)
  socket.resume()
  if (start !== '') {
    socket.write(start)
    const drip = setInterval(() => socket.write('a'), 500)
    socket.on('close', () => clearInterval(drip))
  }
  return { closed: new Promise((resolve) => socket.on('close', () => resolve())) }
}

async function connected(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  socket.on('error', () => undefined)
  return socket
}
