import { connect as connectSocket } from 'node:net'

/** A keep-alive connection with at most one request under way. */
export interface Connection {
  send(request: Uint8Array): void
  readonly isBusy: boolean
  close(): void
}

export interface Listener {
  /** Bytes of a body came. */
  body?(piece: Buffer): void
  /** The answer is complete, or the connection broke within it. */
  done(isGood: boolean): void
}

const HEAD_END = '\r\n\r\n'
/** How an unbroken stream ends on the wire, where the answer is chunked. */
const STREAM_END = Buffer.from('data: [DONE]\n\n\r\n0\r\n\r\n')
const CHUNKED_END = Buffer.from('\r\n0\r\n\r\n')

/**
 * Just enough HTTP to measure with: an answer ends where its content-length says, or with the
 * last chunk; a stream is good when `[DONE]` came right before that.
 */
export function connect(port: number, listener: Listener): Connection {
  const socket = connectSocket({ port, host: '127.0.0.1', noDelay: true })
  let isBusy = false
  /** Bytes of an unfinished head. */
  let head: Buffer | undefined
  let isGood = false
  let isStream = false
  /** Of the body, to come; undefined in a head and in chunks. */
  let missing: number | undefined
  let tail = Buffer.alloc(0)
  let inBody = false

  function finish(good: boolean): void {
    isBusy = false
    inBody = false
    listener.done(good)
  }

  function readHead(chunk: Buffer): Buffer | undefined {
    const bytes = head === undefined ? chunk : Buffer.concat([head, chunk])
    const end = bytes.indexOf(HEAD_END)
    if (end < 0) {
      head = bytes
      return undefined
    }
    head = undefined
    const text = bytes.toString('latin1', 0, end)
    isGood = text.startsWith('HTTP/1.1 200')
    isStream = /content-type: text\/event-stream/i.test(text)
    const length = /content-length: (\d+)/i.exec(text)?.[1]
    missing = length === undefined ? undefined : Number(length)
    tail = Buffer.alloc(0)
    inBody = true
    return bytes.subarray(end + HEAD_END.length)
  }

  socket.on('data', (chunk: Buffer) => {
    const body = inBody ? chunk : readHead(chunk)
    if (body === undefined) return
    if (body.length > 0) listener.body?.(body)
    if (missing !== undefined) {
      missing -= body.length
      if (missing <= 0) finish(isGood)
      return
    }
    const last =
      body.length >= STREAM_END.length
        ? body.subarray(-STREAM_END.length)
        : Buffer.concat([tail, body]).subarray(-STREAM_END.length)
    tail = Buffer.from(last)
    if (!endsWith(last, CHUNKED_END)) return
    finish(isGood && (!isStream || last.equals(STREAM_END)))
  })
  socket.on('error', () => undefined)
  socket.on('close', () => {
    if (isBusy) finish(false)
  })

  return {
    send(request) {
      isBusy = true
      socket.write(request)
    },
    get isBusy() {
      return isBusy
    },
    close() {
      isBusy = false
      socket.destroy()
    },
  }
}

function endsWith(bytes: Buffer, end: Buffer): boolean {
  return bytes.length >= end.length && bytes.subarray(-end.length).equals(end)
}
