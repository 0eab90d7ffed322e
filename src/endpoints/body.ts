import { isUtf8 } from 'node:buffer'
import { GatewayError } from '#errors'
import type { BodyEdits, JsonObject, JsonValue } from '#protocol'
import { readJson } from './json-text.ts'

/** A request body: the caller's own bytes, what they say, and where each top-level member stands. */
export interface Body {
  /** Without a byte order mark; otherwise as sent. */
  readonly bytes: Uint8Array
  readonly value: JsonObject
  /** In the caller's order. */
  readonly members: ReadonlyMap<string, Member>
}

/** Byte offsets of one top-level member; each end is exclusive. */
export interface Member {
  /** Just after the `{` or `,` before it. */
  readonly start: number
  readonly keyStart: number
  readonly valueStart: number
  readonly valueEnd: number
  /** Of the `,` or `}` after it. */
  readonly end: number
}

export const MAX_DEPTH = 128
export const MAX_KEYS = 100_000

/** An object with more keys than this is checked for duplicates by a set, not by comparing each. */
const FEW_KEYS = 16
/** A string longer than this is worth a native search for its end. */
const SHORT_STRING = 48

const QUOTE = 0x22
const COMMA = 0x2c
const MINUS = 0x2d
const ZERO = 0x30
const NINE = 0x39
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/**
 * Reads a JSON object, strictly: two readers of the accepted bytes cannot differ on what they say.
 *
 * Refused besides broken JSON: invalid UTF-8, duplicate keys (however escaped), a `__proto__` key,
 * lone surrogates, numbers beyond a double, more than {@link MAX_DEPTH} levels or
 * {@link MAX_KEYS} keys. Costs time linear in the length, and no stack.
 *
 * @throws GatewayError `invalid_json`; the message says what and where
 */
export function readBody(sent: Uint8Array): Body {
  const bytes = withoutByteOrderMark(sent)
  if (!isUtf8(bytes)) refuse(bytes, firstInvalidByte(bytes), 'invalid UTF-8')
  const { offsets, escapedKeys } = scan(bytes)
  const text = bytes.toString()
  const value = escapedKeys ? parseSlowly(text) : parse(text)
  if (!isJsonObject(value)) {
    throw new GatewayError('invalid_json', 'The body must be a JSON object, not another value')
  }
  // A raw surrogate is invalid UTF-8, so a lone one can only come from an escape.
  if ((text.includes('\\ud') || text.includes('\\uD')) && !isWellFormed(value)) {
    throw new GatewayError('invalid_json', 'The body has a lone surrogate (half of a `\\u` pair)')
  }
  return new ReadBody(bytes, value, text, offsets)
}

/**
 * A class for its getter's sake: one in an object literal makes a hidden class for each object,
 * which keeps what it refers to until the old generation is collected.
 */
class ReadBody implements Body {
  readonly bytes: Buffer
  readonly value: JsonObject
  readonly #text: string
  readonly #offsets: readonly number[]
  #members: ReadonlyMap<string, Member> | undefined

  constructor(bytes: Buffer, value: JsonObject, text: string, offsets: readonly number[]) {
    this.bytes = bytes
    this.value = value
    this.#text = text
    this.#offsets = offsets
  }

  get members(): ReadonlyMap<string, Member> {
    this.#members ??= membersOf(this.bytes, this.#text, this.#offsets)
    return this.#members
  }
}

/**
 * Sets (a JSON text) or takes away (`undefined`) top-level members; every other byte stays.
 *
 * New members go last. Taking away what is not there does nothing.
 */
export function editBody({ bytes, members }: Body, edits: BodyEdits): Uint8Array {
  let added = ''
  for (const name of Object.keys(edits)) {
    const text = edits[name]
    if (text === undefined || members.has(name)) continue
    added += `${added === '' ? '' : ','}${JSON.stringify(name)}:${text}`
  }

  let lastKept: Member | undefined
  for (const [name, member] of members) {
    if (edits[name] !== undefined || !Object.hasOwn(edits, name)) lastKept = member
  }
  if (lastKept === undefined) {
    const start = bytes.indexOf(OPEN_OBJECT) + 1
    return splice(bytes, [{ start, end: bytes.lastIndexOf(CLOSE_OBJECT), text: added }])
  }

  const splices: Splice[] = []
  let close = lastKept.end
  for (const [name, member] of members) {
    close = member.end
    if (!Object.hasOwn(edits, name) || member.start > lastKept.start) continue
    const text = edits[name]
    splices.push(
      text === undefined
        ? { start: member.start, end: member.end + 1, text: '' } // and the comma after it
        : { start: member.valueStart, end: member.valueEnd, text },
    )
  }
  if (added !== '') {
    splices.push({ start: lastKept.valueEnd, end: lastKept.valueEnd, text: `,${added}` })
  }
  // What is left after it goes, and the comma before that.
  splices.push({ start: lastKept.end, end: close, text: '' })
  return splice(bytes, splices)
}

interface Splice {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** The splices stand in order and do not overlap. */
function splice(bytes: Uint8Array, splices: readonly Splice[]): Uint8Array {
  let length = bytes.length
  for (const { start, end, text } of splices) length += Buffer.byteLength(text) - (end - start)
  const result = Buffer.allocUnsafe(length)
  let read = 0
  let written = 0
  for (const { start, end, text } of splices) {
    result.set(bytes.subarray(read, start), written)
    written += start - read
    written += result.write(text, written)
    read = end
  }
  result.set(bytes.subarray(read), written)
  return result
}

/** Scratch of {@link scan}, which never yields: per level, what is open there and its keys so far. */
const isObject = new Uint8Array(MAX_DEPTH + 1)
const keyCounts = new Int32Array(MAX_DEPTH + 1)
const keySpans = new Int32Array((MAX_DEPTH + 1) * FEW_KEYS * 3)
const keySets: (Set<string> | undefined)[] = []

interface Scan {
  /** Key start, value start, value end and end of each top-level member, one after the other. */
  readonly offsets: readonly number[]
  readonly escapedKeys: boolean
}

/**
 * One pass over the bytes, for what `JSON.parse` does not tell.
 *
 * It takes the grammar on trust; `JSON.parse` judges that afterwards.
 */
function scan(bytes: Buffer): Scan {
  const length = bytes.length
  const offsets: number[] = []
  let depth = 0
  let keys = 0
  let expectsKey = false
  let escapedKeys = false
  let index = 0

  while (index < length) {
    const byte = bytes[index]
    if (byte === QUOTE) {
      if (!expectsKey) {
        index = endOfString(bytes, index + 1) + 1
        continue
      }
      const start = index + 1
      let hash = 0
      let escaped = false
      index = start
      while (index < length) {
        const unit = bytes[index] ?? 0
        if (unit === QUOTE) break
        if (unit === BACKSLASH) {
          escaped = true
          escapedKeys = true
          index++
        }
        hash = (Math.imul(hash, 31) + unit) | 0
        index++
      }
      if (++keys > MAX_KEYS) refuse(bytes, start - 1, `more than ${MAX_KEYS} keys`)
      remember(bytes, depth, start, Math.min(index, length), hash, escaped)
      if (depth === 1) offsets.push(start - 1)
      expectsKey = false
      index++
    } else if (byte === COMMA) {
      expectsKey = isObject[depth] === 1
      if (depth === 1) offsets.push(endOfValue(bytes, index), index)
      index++
    } else if (byte === COLON) {
      index++
      if (depth === 1) {
        while (isBlank(bytes[index])) index++
        offsets.push(index)
      }
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      if (++depth > MAX_DEPTH) refuse(bytes, index, `nesting deeper than ${MAX_DEPTH} levels`)
      expectsKey = byte === OPEN_OBJECT
      isObject[depth] = expectsKey ? 1 : 0
      keyCounts[depth] = 0
      keySets[depth] = undefined
      index++
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      if (depth === 1 && offsets.length > 0) offsets.push(endOfValue(bytes, index), index)
      if (depth > 0) depth--
      expectsKey = false
      index++
    } else if (byte === MINUS || (byte !== undefined && byte >= ZERO && byte <= NINE)) {
      index = endOfNumber(bytes, index)
    } else {
      index++
    }
  }
  return { offsets, escapedKeys }
}

/** @throws GatewayError `invalid_json` for a key its object already has, and for `__proto__` */
function remember(
  bytes: Buffer,
  depth: number,
  start: number,
  end: number,
  hash: number,
  escaped: boolean,
): void {
  const count = keyCounts[depth] ?? 0
  const base = depth * FEW_KEYS * 3
  let names = keySets[depth]
  if (names === undefined && (escaped || count === FEW_KEYS)) {
    names = new Set()
    for (let span = base; span < base + count * 3; span += 3) {
      names.add(keyName(bytes, keySpans[span] ?? 0, keySpans[span + 1] ?? 0))
    }
    keySets[depth] = names
  }
  if (names !== undefined) {
    const name = keyName(bytes, start, end)
    if (names.has(name)) refuseDuplicate(bytes, start, end)
    if (name === '__proto__') refuse(bytes, start - 1, 'a `__proto__` key')
    names.add(name)
    return
  }
  for (let span = base; span < base + count * 3; span += 3) {
    if (
      keySpans[span + 2] === hash &&
      sameBytes(bytes, keySpans[span] ?? 0, keySpans[span + 1] ?? 0, start, end)
    ) {
      refuseDuplicate(bytes, start, end)
    }
  }
  if (end - start === 9 && keyName(bytes, start, end) === '__proto__') {
    refuse(bytes, start - 1, 'a `__proto__` key')
  }
  keySpans[base + count * 3] = start
  keySpans[base + count * 3 + 1] = end
  keySpans[base + count * 3 + 2] = hash
  keyCounts[depth] = count + 1
}

function sameBytes(bytes: Buffer, a: number, aEnd: number, b: number, bEnd: number): boolean {
  if (aEnd - a !== bEnd - b) return false
  for (let step = 0; step < aEnd - a; step++) {
    if (bytes[a + step] !== bytes[b + step]) return false
  }
  return true
}

/** Of a key's bytes without its quotes. Broken escapes stay as they are: `JSON.parse` refuses them. */
function keyName(bytes: Buffer, start: number, end: number): string {
  const raw = bytes.toString('utf8', start, end)
  if (!raw.includes('\\')) return raw
  try {
    return String(JSON.parse(`"${raw}"`))
  } catch {
    return raw
  }
}

/** @returns the offset of the quote that ends the string, or the length of the body */
function endOfString(bytes: Buffer, start: number): number {
  const near = Math.min(bytes.length, start + SHORT_STRING)
  let index = start
  while (index < near) {
    const byte = bytes[index]
    if (byte === QUOTE) return index
    index += byte === BACKSLASH ? 2 : 1
  }
  const from = index
  for (;;) {
    const quote = bytes.indexOf(QUOTE, index)
    if (quote < 0) return bytes.length
    let slash = quote
    while (slash > from && bytes[slash - 1] === BACKSLASH) slash--
    if ((quote - slash) % 2 === 0) return quote
    index = quote + 1
  }
}

function endOfNumber(bytes: Buffer, start: number): number {
  let index = start
  let suspect = false
  for (; index < bytes.length; index++) {
    const byte = bytes[index] ?? 0
    if (byte >= ZERO && byte <= NINE) continue
    // + - . are the only other characters of a number
    if (byte === 0x65 || byte === 0x45) suspect = true
    else if (byte !== 0x2b && byte !== MINUS && byte !== 0x2e) break
  }
  // Fewer digits than this cannot reach the end of a double's range without an exponent.
  if (suspect || index - start > 300) {
    const number = Number(bytes.toString('latin1', start, index))
    if (Math.abs(number) === Infinity) refuse(bytes, start, 'a number beyond the range of a double')
  }
  return index
}

function endOfValue(bytes: Buffer, delimiter: number): number {
  let end = delimiter
  while (isBlank(bytes[end - 1])) end--
  return end
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

function membersOf(bytes: Buffer, text: string, offsets: readonly number[]): Map<string, Member> {
  const members = new Map<string, Member>()
  const ascii = text.length === bytes.length
  let start = bytes.indexOf(OPEN_OBJECT) + 1
  for (let at = 0; at + 3 < offsets.length; at += 4) {
    const keyStart = offsets[at] ?? 0
    const valueStart = offsets[at + 1] ?? 0
    const valueEnd = offsets[at + 2] ?? 0
    const end = offsets[at + 3] ?? 0
    let keyEnd = valueStart - 1
    while (bytes[keyEnd] !== QUOTE) keyEnd--
    const raw = ascii ? text.slice(keyStart + 1, keyEnd) : ''
    const name = ascii && !raw.includes('\\') ? raw : keyName(bytes, keyStart + 1, keyEnd)
    members.set(name, { start, keyStart, valueStart, valueEnd, end })
    start = end + 1
  }
  return members
}

function isWellFormed(root: JsonValue): boolean {
  const rest: JsonValue[] = [root]
  for (let value = rest.pop(); value !== undefined; value = rest.pop()) {
    if (typeof value === 'string') {
      if (!value.isWellFormed()) return false
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, member] of Object.entries(value)) {
        if (!key.isWellFormed()) return false
        rest.push(member)
      }
    }
  }
  return true
}

function isJsonObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parse(text: string): JsonValue {
  try {
    const value: JsonValue = JSON.parse(text)
    return value
  } catch {
    // The engine's own words quote the body and rarely give a position.
    return parseSlowly(text)
  }
}

/** @throws GatewayError `invalid_json` */
function parseSlowly(text: string): JsonValue {
  const read = readJson(text)
  if ('value' in read) return read.value
  throw invalid(read.what, lineAndColumn(text, read.offset))
}

/** A view, not a copy; a Buffer because its searches are native. */
function withoutByteOrderMark(bytes: Uint8Array): Buffer {
  const skipped = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
  return Buffer.from(bytes.buffer, bytes.byteOffset + skipped, bytes.byteLength - skipped)
}

/** Where the lenient decoder had to put a replacement character. */
function firstInvalidByte(bytes: Buffer): number {
  const mended = Buffer.from(bytes.toString())
  let index = 0
  while (index < bytes.length && bytes[index] === mended[index]) index++
  return index
}

function refuseDuplicate(bytes: Buffer, start: number, end: number): never {
  const name = keyName(bytes, start, end)
  const shown = name.length <= 40 ? `\`${name}\`` : `of ${name.length} characters`
  refuse(bytes, start - 1, `the key ${shown} twice in one object`)
}

function refuse(bytes: Buffer, offset: number, what: string): never {
  const before = bytes.toString('utf8', 0, offset)
  throw invalid(what, lineAndColumn(before, before.length))
}

function invalid(what: string, place: string): GatewayError {
  return new GatewayError('invalid_json', `The body is not acceptable JSON: ${what} at ${place}`)
}

function lineAndColumn(text: string, offset: number): string {
  const before = text.slice(0, offset)
  const lastBreak = before.lastIndexOf('\n')
  let line = 1
  for (let at = before.indexOf('\n'); at >= 0; at = before.indexOf('\n', at + 1)) line++
  return `line ${line}, column ${offset - lastBreak}`
}
