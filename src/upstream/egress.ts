import { lookup as dnsLookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'
import type { LookupFunction } from 'node:net'
import { buildConnector } from 'undici'
import { GatewayError } from '#errors'

/** Every address of a name, as DNS has them now. */
export type Resolve = (hostname: string) => Promise<readonly string[]>

/**
 * Not reachable over the internet, or not a host's own.
 * https://www.iana.org/assignments/iana-ipv4-special-registry
 */
const REFUSED_IPV4 = [
  ['0.0.0.0', 8, 'this network'],
  ['10.0.0.0', 8, 'private'],
  ['100.64.0.0', 10, 'carrier-grade NAT'],
  ['127.0.0.0', 8, 'loopback'],
  ['169.254.0.0', 16, 'link-local'],
  ['172.16.0.0', 12, 'private'],
  ['192.0.0.0', 24, 'reserved'],
  ['192.0.2.0', 24, 'documentation'],
  ['192.88.99.0', 24, '6to4 relay'],
  ['192.168.0.0', 16, 'private'],
  ['198.18.0.0', 15, 'benchmarking'],
  ['198.51.100.0', 24, 'documentation'],
  ['203.0.113.0', 24, 'documentation'],
  ['224.0.0.0', 4, 'multicast'],
  ['240.0.0.0', 4, 'reserved'],
] as const

/**
 * Of IPv6 only these may be reached, less those below: everything outside is loopback,
 * private, link-local, multicast or not given out.
 * https://www.iana.org/assignments/iana-ipv6-special-registry
 */
const REACHABLE_IPV6 = [
  ['2000::', 3],
  // IPv4 in IPv6, as a socket and a NAT64 network write it; judged by the IPv4 address inside.
  ['::ffff:0:0', 96],
  ['64:ff9b::', 96],
] as const

const REFUSED_IPV6 = [
  ['2001::', 23, 'Teredo or reserved'],
  ['2001:db8::', 32, 'documentation'],
  ['2002::', 16, '6to4'],
  ['3fff::', 20, 'documentation'],
] as const

/** They hand out the machine's own credentials and never serve models: refused whatever is allowed. */
const METADATA = [
  '169.254.169.254',
  '169.254.170.2',
  '169.254.170.23',
  '168.63.129.16',
  '100.100.100.200',
]
const METADATA_IPV6 = ['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254']

const reachable6 = new BlockList()
for (const [network, prefix] of REACHABLE_IPV6) reachable6.addSubnet(network, prefix, 'ipv6')

const refusals: readonly { readonly list: BlockList; readonly kind: string }[] = [
  ...REFUSED_IPV4.map(([network, prefix, kind]) => ({ list: ipv4List(network, prefix), kind })),
  ...REFUSED_IPV6.map(([network, prefix, kind]) => {
    const list = new BlockList()
    list.addSubnet(network, prefix, 'ipv6')
    return { list, kind }
  }),
]

const metadata: readonly BlockList[] = [
  ...METADATA.map((address) => ipv4List(address, 32)),
  ...METADATA_IPV6.map((address) => {
    const list = new BlockList()
    list.addAddress(address, 'ipv6')
    return list
  }),
]

/** The network in all its spellings: IPv4, mapped into IPv6, translated by NAT64. */
function ipv4List(network: string, prefix: number): BlockList {
  const list = new BlockList()
  list.addSubnet(network, prefix, 'ipv4')
  list.addSubnet(`::ffff:${network}`, 96 + prefix, 'ipv6')
  list.addSubnet(`64:ff9b::${network}`, 96 + prefix, 'ipv6')
  return list
}

/** Why an address is not on the open internet (`loopback`, `private`, ...); `undefined` when it is. */
export function refusal(address: string): string | undefined {
  // A zone id names a link of this machine; what it is attached to decides.
  const [bare = ''] = address.split('%')
  const family = isIP(bare)
  if (family === 0) return 'not an address'
  const type = family === 4 ? 'ipv4' : 'ipv6'
  if (metadata.some((list) => list.check(bare, type))) return 'cloud metadata'
  const refused = refusals.find(({ list }) => list.check(bare, type))
  if (refused !== undefined) return refused.kind
  return family === 6 && !reachable6.check(bare, type) ? 'private or reserved' : undefined
}

/**
 * Passes a host only if every one of its addresses may be connected to.
 *
 * @throws GatewayError `egress_refused`
 */
export function judge(
  host: string,
  addresses: readonly string[],
  allowPrivateNetwork: boolean,
): void {
  for (const address of addresses) {
    const kind = refusal(address)
    if (kind === undefined) continue
    if (kind === 'cloud metadata' || kind === 'not an address') {
      throw new GatewayError('egress_refused', `${host} leads to ${address}: ${kind}`, {
        retryable: false,
        details: { request_sent: false },
      })
    }
    if (allowPrivateNetwork) continue
    throw new GatewayError(
      'egress_refused',
      `${host} leads to ${address} (${kind}); set \`allow_private_network: true\` on the provider if that is meant`,
      { details: { request_sent: false } },
    )
  }
}

/**
 * A DNS lookup for sockets that gives only judged addresses, so that the address judged is the
 * address connected to: nothing is looked up a second time. Lookups of one name under way at
 * once are one.
 *
 * Its error is a GatewayError `egress_refused`, or the resolver's own.
 */
export function guardedLookup(resolve: Resolve, allowPrivateNetwork: boolean): LookupFunction {
  const underWay = new Map<string, Promise<readonly string[]>>()

  async function judged(hostname: string): Promise<readonly string[]> {
    const addresses = await resolve(hostname)
    judge(hostname, addresses, allowPrivateNetwork)
    return addresses
  }

  return (hostname, options, callback) => {
    let pending = underWay.get(hostname)
    if (pending === undefined) {
      pending = judged(hostname).finally(() => underWay.delete(hostname))
      underWay.set(hostname, pending)
    }
    pending.then(
      (addresses) => {
        const found = addresses.map((address) => ({ address, family: isIP(address) }))
        const [first] = found
        if (first === undefined) callback(notFound(hostname), '', 0)
        else if (options.all === true) callback(null, found)
        else callback(null, first.address, first.family)
      },
      (error: NodeJS.ErrnoException) => callback(error, '', 0),
    )
  }
}

function notFound(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${hostname} has no address`), { code: 'ENOTFOUND' })
}

export interface ConnectorOptions {
  readonly resolve: Resolve
  readonly allowPrivateNetwork: boolean
  /** For lookup, TCP and TLS together; ms, good to half a second. */
  readonly timeoutMs: number
  /** PEM certificates to trust instead of the system's. */
  readonly ca?: string
}

/**
 * Opens sockets for undici, behind the guard. SNI, certificate check and `Host` keep the name.
 *
 * Its errors are GatewayErrors `egress_refused`, or the socket's own.
 */
export function guardedConnector(options: ConnectorOptions): buildConnector.connector {
  const { allowPrivateNetwork, timeoutMs } = options
  const open = buildConnector({
    lookup: guardedLookup(options.resolve, allowPrivateNetwork),
    // One stream, one socket: an abort then ends exactly one answer.
    allowH2: false,
    timeout: timeoutMs,
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  })

  return (target, callback) => {
    // A literal address is never looked up.
    if (isIP(target.hostname) !== 0) judge(target.hostname, [target.hostname], allowPrivateNetwork)
    open(target, callback)
  }
}

/** The system's resolver, hosts file included. */
export const systemResolve: Resolve = async (hostname) => {
  const found = await dnsLookup(hostname, { all: true, order: 'verbatim' })
  return found.map(({ address }) => address)
}

/**
 * Reads a provider's base URL from the settings, with the part of the guard that needs no DNS.
 *
 * @throws GatewayError `invalid_value` for what is no plain http(s) base, `egress_refused` for a
 *   private address or a name that always means this machine
 */
export function checkBaseUrl(
  text: string,
  { allowPrivateNetwork }: { allowPrivateNetwork: boolean },
): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) throw invalidUrl('is no URL')
  checkScheme(url)
  if (text.includes('?') || text.includes('#')) throw invalidUrl('may not have a query or fragment')
  if (url.hostname.includes('%')) throw invalidUrl('has an odd host')
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0) judge(url.host, [host], allowPrivateNetwork)
  else if (/(^|\.)localhost\.?$/.test(host)) judge(url.host, ['127.0.0.1'], allowPrivateNetwork)
  return url
}

/** @throws GatewayError `invalid_value` for a scheme other than http(s), or credentials in the URL */
export function checkScheme(url: Readonly<URL>): void {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw invalidUrl('must start with https:// or http://')
  }
  if (url.username !== '' || url.password !== '')
    throw invalidUrl('may not hold a user or password')
}

/**
 * Credentials go to the host they were given for, whatever a model name or a setting put in a path.
 *
 * @throws GatewayError `egress_refused`
 */
export function assertSameOrigin(url: string, baseUrl: string): void {
  const origin = readUrl(url)?.origin ?? 'an invalid URL'
  const allowed = readUrl(baseUrl)?.origin ?? 'null'
  if (origin === allowed && origin !== 'null') return
  throw new GatewayError('egress_refused', `The request would go to ${origin}, not to ${allowed}`, {
    retryable: false,
    details: { request_sent: false },
  })
}

const MOST_URLS = 1000
const urls = new Map<string, URL>()

/**
 * Reads a URL, or remembers it: a target's is the same for each request, and reading it three
 * times for each costs 5 µs. Not to be changed by whoever gets it.
 *
 * @returns undefined for what is no URL
 */
export function readUrl(text: string): Readonly<URL> | undefined {
  const known = urls.get(text)
  if (known !== undefined) return known
  const url = URL.parse(text)
  if (url === null) return undefined
  // Callers choose model names, which some providers have in their paths.
  if (urls.size >= MOST_URLS) urls.clear()
  urls.set(text, url)
  return url
}

function invalidUrl(problem: string): GatewayError {
  return new GatewayError('invalid_value', `The URL ${problem}`)
}
