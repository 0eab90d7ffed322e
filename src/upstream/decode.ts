import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib'
import type { Transform } from 'node:stream'
import { GatewayError } from '#errors'

/** Makes the decoder when the body's first byte is there. */
export type DecoderFactory = (firstByte: number) => Transform

/** Memory a zstd stream may ask for: 8 MiB, what RFC 9659 lets a server use over HTTP. */
const ZSTD_WINDOW_LOG_MAX = 23

const DECODERS: Readonly<Record<string, DecoderFactory>> = {
  gzip: () => createGunzip(),
  'x-gzip': () => createGunzip(),
  br: () => createBrotliDecompress(),
  zstd: () =>
    createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX } }),
  // The standard means zlib's format, some servers send the bare one; a zlib header starts with 8.
  deflate: (firstByte) => ((firstByte & 0x0f) === 8 ? createInflate() : createInflateRaw()),
}

/**
 * How to undo a `content-encoding`; `undefined` when there is nothing to undo.
 *
 * A chain of codings is refused: no provider sends one, and each link multiplies what a small
 * answer can grow to.
 *
 * @throws GatewayError `upstream_invalid`
 */
export function decoderFor(
  encoding: string | readonly string[] | undefined,
): DecoderFactory | undefined {
  if (encoding === undefined) return undefined
  const codings = [encoding]
    .flat()
    .join(',')
    .split(',')
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== '' && coding !== 'identity')
  const [coding] = codings
  if (coding === undefined) return undefined
  const decoder = Object.hasOwn(DECODERS, coding) ? DECODERS[coding] : undefined
  if (codings.length > 1 || decoder === undefined) {
    throw new GatewayError(
      'upstream_invalid',
      'The provider answered in an unknown content-encoding',
    )
  }
  return decoder
}
