import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { ANTHROPIC, OPENAI, WHOLE } from './answers.ts'
import type { Stream } from './answers.ts'

/**
 * The stand-in for every provider, on bare sockets: what it costs is subtracted from what is
 * measured. The first word of a path says how it answers: `/whole`, `/burst-20` (so many events,
 * the first ones apart from the rest) or `/paced` (an endless stream, {@link EVENTS_PER_SECOND}).
 */

const EVENTS_PER_SECOND = 20
const BLANK_LINE = '\r\n\r\n'

const whole = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(WHOLE)}\r\n\r\n${WHOLE}`,
)
const STREAM_HEAD =
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'

function chunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
}

interface Burst {
  readonly start: Buffer
  readonly rest: Buffer
}

const bursts = new Map<string, Burst>()

/** Made once for each path. */
function burstAt(path: string, stream: Stream): Burst {
  let burst = bursts.get(path)
  if (burst === undefined) {
    const events = Number(/^\/burst-(\d+)/.exec(path)?.[1]) - stream.fixed
    const body = chunk(stream.event.repeat(events)) + chunk(stream.last)
    burst = {
      start: Buffer.from(STREAM_HEAD + chunk(stream.first)),
      rest: Buffer.from(`${body}0${BLANK_LINE}`),
    }
    bursts.set(path, burst)
  }
  return burst
}

function answer(socket: Socket, path: string): void {
  if (path.startsWith('/whole')) {
    socket.write(whole)
    return
  }
  const stream = path.endsWith('/v1/messages') ? ANTHROPIC : OPENAI
  if (path.startsWith('/burst')) {
    const { start, rest } = burstAt(path, stream)
    socket.write(start)
    setImmediate(() => socket.write(rest))
    return
  }
  socket.write(STREAM_HEAD + chunk(stream.first))
  pace(socket, Buffer.from(chunk(stream.event)))
}

/** Paced streams by the millisecond of their period in which their event is due. */
const PERIOD_MS = 1000 / EVENTS_PER_SECOND
const due = Array.from({ length: PERIOD_MS }, () => new Map<Socket, Buffer>())
let paced = 0
let clock: NodeJS.Timeout | undefined

function pace(socket: Socket, event: Buffer): void {
  const slot = due[paced++ % PERIOD_MS]!
  slot.set(socket, event)
  socket.once('close', () => slot.delete(socket))
  let done = Math.floor(performance.now())
  clock ??= setInterval(() => {
    const now = Math.floor(performance.now())
    for (; done < now; done++) {
      for (const [to, bytes] of due[done % PERIOD_MS]!) to.write(bytes)
    }
  }, 1)
}

const server = createServer({ noDelay: true }, (socket) => {
  let waiting: Buffer = Buffer.alloc(0)
  socket.on('error', () => undefined)
  socket.on('data', (piece: Buffer) => {
    let bytes = waiting.length === 0 ? piece : Buffer.concat([waiting, piece])
    for (;;) {
      const headEnd = bytes.indexOf(BLANK_LINE)
      if (headEnd < 0) break
      const head = bytes.toString('latin1', 0, headEnd)
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
      const end = headEnd + BLANK_LINE.length + length
      if (bytes.length < end) break
      answer(socket, head.slice(head.indexOf(' ') + 1, head.indexOf(' HTTP/')))
      bytes = bytes.subarray(end)
    }
    waiting = bytes
  })
})

server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`ready ${(server.address() as AddressInfo).port}\n`)
})
