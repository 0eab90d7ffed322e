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
 * Finds the first fault of a text that `JSON.parse` refused, in words that quote nothing of it.
 *
 * The text must be nested no deeper than the stack allows; `readBody` sees to that first.
 */
export function findFault(text: string): Fault {
  let offset = 0

  /** Moves past the pattern; false when it is not here. */
  function skip(pattern: RegExp): boolean {
    pattern.lastIndex = offset
    if (!pattern.test(text)) return false
    offset = pattern.lastIndex
    return true
  }

  function expected(what: string): Fault {
    return offset >= text.length
      ? { what: `the end of the body where ${what} is due`, offset }
      : { what: `something else where ${what} is due`, offset }
  }

  function value(): Fault | undefined {
    skip(BLANKS)
    switch (text[offset]) {
      case '{':
        return members('}', member)
      case '[':
        return members(']', value)
      case '"':
        return string()
      case "'":
        return { what: 'a single quote where a double quote is due', offset }
      default: {
        const start = offset
        if (skip(NOT_A_NUMBER))
          return { what: 'NaN or Infinity, which JSON has not,', offset: start }
        return skip(LITERAL) || skip(NUMBER) ? undefined : expected('a value')
      }
    }
  }

  function members(close: string, one: () => Fault | undefined): Fault | undefined {
    offset++
    skip(BLANKS)
    if (text[offset] === close) {
      offset++
      return undefined
    }
    for (;;) {
      const fault = one()
      if (fault !== undefined) return fault
      skip(BLANKS)
      if (text[offset] === close) {
        offset++
        return undefined
      }
      if (text[offset] !== ',') return expected(`\`,\` or \`${close}\``)
      const comma = offset
      offset++
      skip(BLANKS)
      if (text[offset] === close) return { what: 'a comma before the end of a list', offset: comma }
    }
  }

  function member(): Fault | undefined {
    skip(BLANKS)
    if (text[offset] !== '"') return expected('a quoted key')
    const fault = string()
    if (fault !== undefined) return fault
    skip(BLANKS)
    if (text[offset] !== ':') return expected('`:`')
    offset++
    return value()
  }

  function string(): Fault | undefined {
    const start = offset
    offset++
    for (;;) {
      skip(PLAIN_TEXT)
      if (text[offset] === '"') {
        offset++
        return undefined
      }
      if (offset >= text.length) return { what: 'a string without an end', offset: start }
      if (text[offset] !== '\\') return { what: 'a raw control character in a string', offset }
      if (!skip(ESCAPE)) return { what: 'an unknown escape in a string', offset }
    }
  }

  skip(BLANKS)
  if (offset >= text.length) return { what: 'an empty body', offset: 0 }
  const fault = value()
  if (fault !== undefined) return fault
  skip(BLANKS)
  return { what: 'more text after the end of the value', offset }
}
