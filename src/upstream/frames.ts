import { GatewayError } from '#errors'
import type { RawFrame } from '#protocol'
import { ByteBuffer } from './byte-buffer.ts'

export interface FrameSplitter {
  /**
   * The frames that these bytes complete.
   *
   * @throws GatewayError `upstream_invalid` for a frame over the limit; frames completed before
   *   it are returned first
   */
  push(chunk: Uint8Array): RawFrame[]
  /** The last frame, when the stream ended without its blank line. @throws as `push` */
  end(): RawFrame[]
}

const LF = 0x0a
const CR = 0x0d
const COLON = 0x3a
const SPACE = 0x20
const BOM = Buffer.from([0xef, 0xbb, 0xbf])

/**
 * Cuts an event stream into frames without reading them.
 *
 * A frame is everything up to and with its blank line, whatever it holds: comments and stray
 * blank lines are frames with empty data. All frames joined are the stream, byte for byte, and
 * they are the same however the stream was cut into chunks. For that, a frame that ends in a
 * lone CR is held until the next byte tells whether an LF belongs to it.
 *
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export function frameSplitter({ maxFrameBytes }: { maxFrameBytes: number }): FrameSplitter {
  const carried = new ByteBuffer()
  /** Nothing of the current line has been seen: the next line end closes the frame. */
  let lineEmpty = true
  /** The last byte seen was a CR; an LF after it belongs to the same line end. */
  let afterCr = false
  /** That CR closed the frame. */
  let closed = false
  let first = true
  let failure: GatewayError | undefined

  function push(chunk: Uint8Array): RawFrame[] {
    if (failure !== undefined) throw failure
    const bytes = asBuffer(chunk)
    const { length } = bytes
    const frames: RawFrame[] = []
    if (length === 0) return frames
    let start = 0
    let position = 0
    let lf = -1
    let cr = -1

    if (afterCr) {
      afterCr = false
      if (bytes[0] === LF) position = 1
      if (closed) {
        closed = false
        if (!emit(bytes, start, position, frames)) return refuse(frames)
        start = position
      }
    }
    while (position < length) {
      if (lf < position) lf = indexOf(bytes, LF, position)
      if (cr < position) cr = indexOf(bytes, CR, position)
      const lineEnd = lf < cr ? lf : cr
      if (lineEnd === length) {
        lineEmpty = false
        break
      }
      const blank = lineEmpty && lineEnd === position
      lineEmpty = true
      position = lineEnd + 1
      if (lineEnd === cr) {
        if (position === length) {
          afterCr = true
          closed = blank
          break
        }
        if (lf === position) position++
      }
      if (!blank) continue
      if (!emit(bytes, start, position, frames)) return refuse(frames)
      start = position
    }
    if (start < length) {
      if (carried.length + length - start > maxFrameBytes) return refuse(frames)
      // A copy, so that the rest of the chunk can be freed while the frame waits for its end.
      carried.append(
        carried.length === 0 ? Buffer.from(bytes.subarray(start)) : bytes.subarray(start),
      )
    }
    return frames
  }

  /** False when the frame is over the limit. */
  function emit(bytes: Buffer, start: number, stop: number, frames: RawFrame[]): boolean {
    if (carried.length + stop - start > maxFrameBytes) return false
    let frame = bytes
    if (carried.length > 0) {
      if (stop > start) carried.append(bytes.subarray(start, stop))
      frame = carried.take()
    } else if (start > 0 || stop < bytes.length) {
      frame = bytes.subarray(start, stop)
    }
    frames.push(new SseFrame(frame, first))
    first = false
    return true
  }

  function refuse(frames: RawFrame[]): RawFrame[] {
    failure = new GatewayError(
      'upstream_invalid',
      `The provider sent an event of more than ${maxFrameBytes} bytes`,
    )
    carried.take()
    if (frames.length === 0) throw failure
    return frames
  }

  function end(): RawFrame[] {
    if (failure !== undefined) throw failure
    if (carried.length === 0) return []
    return [new SseFrame(carried.take(), first)]
  }

  return { push, end }
}

/** A class, because one is made for every event of every stream. */
class SseFrame implements RawFrame {
  readonly bytes: Buffer
  #first: boolean
  #event: string | undefined
  #data: string | undefined

  constructor(bytes: Buffer, first: boolean) {
    this.bytes = bytes
    this.#first = first
  }

  get event(): string {
    if (this.#event === undefined) this.#read()
    return this.#event ?? ''
  }

  data(): string {
    if (this.#data === undefined) this.#read()
    return this.#data ?? ''
  }

  #read(): void {
    const { bytes } = this
    const { length } = bytes
    let event = ''
    let data: string | undefined
    let position = this.#first && bytes.subarray(0, 3).equals(BOM) ? 3 : 0
    let lf = -1
    let cr = -1
    while (position < length) {
      if (lf < position) lf = indexOf(bytes, LF, position)
      if (cr < position) cr = indexOf(bytes, CR, position)
      const lineEnd = lf < cr ? lf : cr
      if (isField(bytes, position, lineEnd, 'data')) {
        const value = fieldValue(bytes, position + 4, lineEnd)
        data = data === undefined ? value : `${data}\n${value}`
      } else if (isField(bytes, position, lineEnd, 'event')) {
        event = fieldValue(bytes, position + 5, lineEnd)
      }
      position = lineEnd + 1
    }
    this.#event = event
    this.#data = data ?? ''
  }
}

/** Whether the line is that field: its name, then a colon or nothing. */
function isField(bytes: Buffer, start: number, end: number, name: string): boolean {
  const nameEnd = start + name.length
  if (nameEnd > end || (nameEnd < end && bytes[nameEnd] !== COLON)) return false
  for (let index = 0; index < name.length; index++) {
    if (bytes[start + index] !== name.charCodeAt(index)) return false
  }
  return true
}

/** What follows the name: one colon and one space at most are not part of it. */
function fieldValue(bytes: Buffer, nameEnd: number, end: number): string {
  if (nameEnd >= end) return ''
  const start = bytes[nameEnd + 1] === SPACE && nameEnd + 1 < end ? nameEnd + 2 : nameEnd + 1
  return bytes.toString('utf8', start, end)
}

/** The length where there is none, so that the nearer of two is always the smaller. */
function indexOf(bytes: Buffer, byte: number, from: number): number {
  const found = bytes.indexOf(byte, from)
  return found === -1 ? bytes.length : found
}

function asBuffer(chunk: Uint8Array): Buffer {
  return Buffer.isBuffer(chunk)
    ? chunk
    : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
}
