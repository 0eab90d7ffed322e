/** Bytes that arrive in pieces, to be taken as one. */
export interface ByteBuffer {
  readonly length: number
  /** Keeps a reference to the first piece; later ones are copied. */
  append(piece: Buffer): void
  /** Everything so far, and starts anew. What was taken is the taker's to keep. */
  take(): Buffer
}

const EMPTY = Buffer.alloc(0)

/**
 * Grows by doubling, so that a peer who sends a byte at a time costs as much memory and copying
 * as one who sends it all at once; a list of pieces would cost a hundred times the bytes.
 */
export function byteBuffer(): ByteBuffer {
  let bytes: Buffer = EMPTY
  let length = 0
  // The first piece belongs to whoever sent it: it is never written behind.
  let owned = false

  return {
    get length() {
      return length
    },
    append(piece) {
      if (length === 0) {
        bytes = piece
        length = piece.length
        owned = false
        return
      }
      const needed = length + piece.length
      if (!owned || needed > bytes.length) {
        const grown = Buffer.allocUnsafeSlow(Math.max(needed, length * 2, 1024))
        bytes.copy(grown, 0, 0, length)
        bytes = grown
        owned = true
      }
      piece.copy(bytes, length)
      length = needed
    },
    take() {
      const taken = bytes.length === length ? bytes : bytes.subarray(0, length)
      bytes = EMPTY
      length = 0
      owned = false
      return taken
    },
  }
}
