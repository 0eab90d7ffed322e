import type { JsonValue } from '#protocol'

/** What keeps a text from being JSON, and where (a UTF-16 offset). */
export interface Fault {
  readonly what: string
  readonly offset: number
}

const BLANKS = /[ \t\n\r]*/y
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const LITERAL = /true|false|null/y
/** All but quotes, backslashes and control characters. */
const PLAIN_TEXT = /[ !#-[\]-\uffff]*/y
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y
const NOT_A_NUMBER = /-?(?:NaN|Infinity)/y

/**
 * Reads JSON where `JSON.parse` will not do: it says what is wrong and where, quoting nothing of
 * the text, and it reads escaped keys right.
 *
 * V8 14.6 misreads them: once any object in the process had a key `\` after a key `a`,
 * `JSON.parse('{"a":1,"\\u006e":2}')` gives the key `\` for `n` (seen in Node 26.10, November
 * 2026). A caller could hide a field from us that the provider then obeys.
 *
 * Some ten times slower than `JSON.parse`. The text must be nested no deeper than the stack
 * allows and hold no `__proto__` key; `readBody` sees to both.
 */
export function readJson(text: string): { readonly value: JsonValue } | Fault {
  let offset = 0
  let fault: Fault | undefined

  /** Moves past the pattern; false when it is not here. */
  function skip(pattern: RegExp): boolean {
    pattern.lastIndex = offset
    if (!pattern.test(text)) return false
    offset = pattern.lastIndex
    return true
  }

  function fail(what: string, at = offset): undefined {
    fault ??= { what, offset: at }
  }

  function expected(what: string): undefined {
    const came = offset >= text.length ? 'the end of the body' : 'something else'
    return fail(`${came} where ${what} is due`)
  }

  // Each reader below gives undefined for a fault.

  function value(): JsonValue | undefined {
    skip(BLANKS)
    const start = offset
    switch (text[offset]) {
      case '{':
        return object()
      case '[':
        return array()
      case '"':
        return string()
      case "'":
        return fail('a single quote where a double quote is due')
      default:
        if (skip(LITERAL)) return LITERALS[text.slice(start, offset)]
        if (skip(NOT_A_NUMBER)) return fail('NaN or Infinity, which JSON has not,', start)
        return skip(NUMBER) ? Number(text.slice(start, offset)) : expected('a value')
    }
  }

  function object(): JsonValue | undefined {
    const result: Record<string, JsonValue> = {}
    const whole = list('}', () => {
      if (text[offset] !== '"') return expected('a quoted key')
      const key = string()
      if (key === undefined) return undefined
      skip(BLANKS)
      if (text[offset] !== ':') return expected('`:`')
      offset++
      const member = value()
      if (member !== undefined) result[key] = member
      return member
    })
    return whole ? result : undefined
  }

  function array(): JsonValue | undefined {
    const result: JsonValue[] = []
    const whole = list(']', () => {
      const item = value()
      if (item !== undefined) result.push(item)
      return item
    })
    return whole ? result : undefined
  }

  /** @returns whether it was read to its end */
  function list(close: string, one: () => JsonValue | undefined): boolean {
    offset++
    skip(BLANKS)
    if (text[offset] === close) {
      offset++
      return true
    }
    for (;;) {
      if (one() === undefined) return false
      skip(BLANKS)
      const comma = offset
      offset++
      if (text[comma] === close) return true
      if (text[comma] !== ',') {
        offset = comma
        expected(`\`,\` or \`${close}\``)
        return false
      }
      skip(BLANKS)
      if (text[offset] === close) {
        fail('a comma before the end of a list', comma)
        return false
      }
    }
  }

  function string(): string | undefined {
    const start = offset
    offset++
    for (;;) {
      skip(PLAIN_TEXT)
      if (text[offset] === '"') {
        offset++
        return String(JSON.parse(text.slice(start, offset)))
      }
      if (offset >= text.length) return fail('a string without an end', start)
      if (text[offset] !== '\\') return fail('a raw control character in a string')
      if (!skip(ESCAPE)) return fail('an unknown escape in a string')
    }
  }

  skip(BLANKS)
  if (offset >= text.length) return { what: 'an empty body', offset: 0 }
  const result = value()
  skip(BLANKS)
  if (result !== undefined && offset < text.length) fail('more text after the end of the value')
  return fault ?? (result === undefined ? { what: 'no value', offset } : { value: result })
}

const LITERALS: Readonly<Record<string, boolean | null>> = { true: true, false: false, null: null }
