import type { IncomingMessage } from 'node:http'

/**
 * The address a request comes from.
 *
 * `X-Forwarded-For` is read from the right, as long as the hop that added an entry is a
 * trusted proxy; what the client itself wrote is never believed.
 */
export function clientAddress(
  request: IncomingMessage,
  isTrusted: (address: string) => boolean,
): string {
  let address = request.socket.remoteAddress ?? ''
  const forwarded = request.headers['x-forwarded-for']
  if (forwarded === undefined || !isTrusted(address)) return plain(address)
  const hops = String(forwarded)
    .split(',')
    .map((hop) => hop.trim())
  while (hops.length > 0 && isTrusted(address)) address = hops.pop()!
  return plain(address)
}

function plain(address: string): string {
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address
}
