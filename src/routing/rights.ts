import { BlockList, isIP } from 'node:net'
import type { Key, Route } from '#protocol'

/**
 * Whether a key may call what a name resolved to.
 *
 * A route granted by its own name covers its targets, which the operator chose. Any other
 * name is allowed only when every target it can lead to, fallbacks included, is granted.
 */
export function mayCall(key: Key, route: Route): boolean {
  if (key.models.includes('*') || key.models.includes(route.name)) return true
  return [...route.targets, ...route.fallbacks].every(({ name }) => grants(key.models, name))
}

/** Whether one of the patterns covers a canonical `provider/model` name. */
export function grants(patterns: readonly string[], name: string): boolean {
  return patterns.some(
    (pattern) => pattern === name || (pattern.includes('*') && matches(pattern, name)),
  )
}

/**
 * `*` stands for any text within one path segment, `**` as the last segment for any rest;
 * `openai/*` covers `openai/gpt-5`, not `openai-evil/x`, nor `openai/a/b`.
 */
function matches(pattern: string, name: string): boolean {
  if (pattern === '*') return true
  const wanted = pattern.split('/')
  const given = name.split('/')
  const open = wanted.at(-1) === '**'
  if (open ? given.length < wanted.length : given.length !== wanted.length) return false
  return wanted.every(
    (segment, index) => (open && index === wanted.length - 1) || covers(segment, given[index]!),
  )
}

function covers(segment: string, text: string): boolean {
  const [first = '', ...rest] = segment.split('*')
  if (rest.length === 0) return first === text
  const last = rest.pop()!
  if (!text.startsWith(first) || text.length < first.length + last.length) return false
  let at = first.length
  for (const piece of rest) {
    const found = text.indexOf(piece, at)
    if (found < 0) return false
    at = found + piece.length
  }
  return at <= text.length - last.length && text.endsWith(last)
}

export function mayUseEndpoint(key: Key, path: string): boolean {
  return key.endpoints.some((endpoint) => endpoint === '*' || endpoint === path)
}

/** Whether an address lies in one of the ranges; no ranges allow every address. */
export function mayComeFrom(ranges: readonly string[], address: string): boolean {
  return ranges.length === 0 || inRanges(rangesOf(ranges), address)
}

const remembered = new WeakMap<readonly string[], BlockList>()

function rangesOf(ranges: readonly string[]): BlockList {
  let list = remembered.get(ranges)
  if (list === undefined) {
    list = parseRanges(ranges)
    remembered.set(ranges, list)
  }
  return list
}

/**
 * @param ranges CIDR ranges or single addresses, IPv4 or IPv6
 * @throws Error naming the first that is neither
 */
export function parseRanges(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', length, ...more] = range.split('/')
    const family = isIP(address)
    const most = family === 4 ? 32 : 128
    const bits = length === undefined ? most : /^\d{1,3}$/.test(length) ? Number(length) : Infinity
    if (family === 0 || more.length > 0 || bits > most) {
      throw new Error(`"${range}" is not an address or CIDR range such as 10.0.0.0/8`)
    }
    list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6')
  }
  return list
}

/** IPv4-mapped IPv6 addresses count as the IPv4 address they carry. */
export function inRanges(list: BlockList, address: string): boolean {
  const plain =
    address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address
  const family = isIP(plain)
  return family !== 0 && list.check(plain, family === 4 ? 'ipv4' : 'ipv6')
}
