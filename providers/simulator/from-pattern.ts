import type { Random } from './random.ts'

/** Repeats and lengths beyond this are not made. */
const MAX_LENGTH = 10_000

/** A node of a regular expression, as far as it is understood. */
type Node =
  | { readonly type: 'characters'; readonly from: readonly string[] }
  | { readonly type: 'sequence'; readonly nodes: readonly Node[] }
  | { readonly type: 'choice'; readonly nodes: readonly Node[] }
  | { readonly type: 'repeat'; readonly node: Node; readonly least: number; readonly most: number }

const LETTERS = Array.from('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ')
const DIGITS = Array.from('0123456789')
const WORD = [...LETTERS, ...DIGITS, '_']
const PRINTABLE = Array.from({ length: 95 }, (_, index) => String.fromCodePoint(32 + index))

const CLASSES: Readonly<Record<string, readonly string[]>> = {
  d: DIGITS,
  w: WORD,
  s: [' '],
  D: LETTERS,
  W: [' ', '-', '.'],
  S: WORD,
  n: ['\n'],
  r: ['\r'],
  t: ['\t'],
}

/**
 * A text that matches a pattern: literals, classes, groups, alternatives and quantifiers are
 * followed, assertions other than the anchors are not.
 */
export function textMatching(pattern: string, random: Random, leastLength = 0): string {
  const node = parse(pattern)
  // Open-ended repeats grow until the text is long enough.
  for (let extra = 0; ; extra = Math.max(1, extra * 2)) {
    const text = write(node, random, extra, MAX_LENGTH)
    if (text.length >= leastLength || extra >= leastLength) return text
  }
}

function write(node: Node, random: Random, extra: number, room: number): string {
  switch (node.type) {
    case 'characters':
      return node.from[Math.floor(random() * node.from.length)] ?? ''
    case 'choice': {
      const chosen = node.nodes[Math.floor(random() * node.nodes.length)]
      return chosen === undefined ? '' : write(chosen, random, extra, room)
    }
    case 'sequence': {
      let text = ''
      for (const part of node.nodes) text += write(part, random, extra, room - text.length)
      return text
    }
    default: {
      const wanted = Math.max(node.least, Math.min(node.most, Math.max(1, extra)))
      let text = ''
      for (let done = 0; done < wanted && text.length < room; done += 1) {
        text += write(node.node, random, extra, room - text.length)
        if (text === '' && done > 100) break
      }
      return text
    }
  }
}

function parse(pattern: string): Node {
  const source = Array.from(pattern)
  let at = 0

  function choice(): Node {
    const nodes = [sequence()]
    while (source[at] === '|') {
      at += 1
      nodes.push(sequence())
    }
    return nodes.length === 1 && nodes[0] ? nodes[0] : { type: 'choice', nodes }
  }

  function sequence(): Node {
    const nodes: Node[] = []
    while (at < source.length && source[at] !== '|' && source[at] !== ')') {
      const node = atom()
      if (node !== undefined) nodes.push(quantified(node))
    }
    return { type: 'sequence', nodes }
  }

  function atom(): Node | undefined {
    const character = source[at++] ?? ''
    if (character === '^' || character === '$') return undefined
    if (character === '.') return { type: 'characters', from: WORD }
    if (character === '(') return group()
    if (character === '[') return { type: 'characters', from: set() }
    if (character !== '\\') return { type: 'characters', from: [character] }
    if (source[at] === 'b' || source[at] === 'B') {
      at += 1
      return undefined
    }
    return { type: 'characters', from: escaped() }
  }

  function group(): Node | undefined {
    const asserts = /^\?(?:[=!]|<[=!])/.exec(source.slice(at, at + 3).join(''))
    const names = /^\?(?::|<[^>]*>)/.exec(source.slice(at, at + 60).join(''))
    at += (asserts ?? names)?.[0].length ?? 0
    const node = choice()
    at += 1
    return asserts === null ? node : undefined
  }

  function escaped(): readonly string[] {
    const letter = source[at++] ?? ''
    const hex = /^(?:u\{([0-9a-f]+)\}|u([0-9a-f]{4})|x([0-9a-f]{2}))/i.exec(
      letter + source.slice(at, at + 8).join(''),
    )
    if (hex !== null) {
      at += hex[0].length - 1
      const code = Number.parseInt(hex[1] ?? hex[2] ?? hex[3] ?? '20', 16)
      return [code > 0x10ffff ? '?' : String.fromCodePoint(code)]
    }
    if (letter === 'p' || letter === 'P') {
      const name = /^\{[^}]*\}/.exec(source.slice(at, at + 40).join(''))?.[0] ?? ''
      at += name.length
      return name.startsWith('{N') ? DIGITS : LETTERS
    }
    return CLASSES[letter] ?? [letter]
  }

  function set(): readonly string[] {
    const negated = source[at] === '^'
    if (negated) at += 1
    const members: string[] = []
    while (at < source.length && (source[at] !== ']' || members.length === 0)) {
      if (source[at] === ']') break
      const first = member()
      if (source[at] === '-' && source[at + 1] !== ']' && first.length === 1) {
        at += 1
        members.push(...range(first[0] ?? '', member()[0] ?? ''))
      } else {
        members.push(...first)
      }
    }
    at += 1
    const left = negated ? PRINTABLE.filter((character) => !members.includes(character)) : members
    return left.length > 0 ? left : ['']
  }

  function member(): readonly string[] {
    const character = source[at++] ?? ''
    return character === '\\' ? escaped() : [character]
  }

  function quantified(node: Node): Node {
    const match = /^(?:[*+?]|\{(\d+)(,(\d*))?\})\??/.exec(source.slice(at, at + 24).join(''))
    if (match === null) return node
    at += match[0].length
    const [sign, from, comma, to] = match
    if (sign.startsWith('*')) return { type: 'repeat', node, least: 0, most: MAX_LENGTH }
    if (sign.startsWith('+')) return { type: 'repeat', node, least: 1, most: MAX_LENGTH }
    if (sign.startsWith('?')) return { type: 'repeat', node, least: 0, most: 1 }
    const least = Number(from)
    const most = comma === undefined ? least : to === '' ? MAX_LENGTH : Number(to)
    return { type: 'repeat', node, least, most }
  }

  return choice()
}

function range(first: string, last: string): string[] {
  const from = first.codePointAt(0) ?? 0
  const to = Math.min(last.codePointAt(0) ?? from, from + 256)
  return Array.from({ length: Math.max(1, to - from + 1) }, (_, index) =>
    String.fromCodePoint(from + index),
  )
}
