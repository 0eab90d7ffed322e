const EMPTY = Buffer.alloc(0)

/**
 * Bytes that arrive in pieces, to be taken as one.
 *
 * Grows by doubling, so that a peer who sends a byte at a time costs as much memory and copying
 * as one who sends it all at once; a list of pieces would cost a hundred times the bytes. A class,
 * because one is made for every request.
 */
export class ByteBuffer {
  length = 0
  #bytes: Buffer = EMPTY

  /** Keeps a reference to the first piece; later ones are copied. */
  append(piece: Buffer): void {
    if (this.length === 0) {
      this.#bytes = piece
      this.length = piece.length
      return
    }
    const needed = this.length + piece.length
    // The first piece, which is its sender's, is full: what is written to is always ours.
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.length * 2, 1024))
      this.#bytes.copy(grown, 0, 0, this.length)
      this.#bytes = grown
    }
    piece.copy(this.#bytes, this.length)
    this.length = needed
  }

  /** Everything so far, and starts anew. What was taken is the taker's to keep. */
  take(): Buffer {
    const { length } = this
    const bytes = this.#bytes
    this.#bytes = EMPTY
    this.length = 0
    return bytes.length === length ? bytes : bytes.subarray(0, length)
  }
}
