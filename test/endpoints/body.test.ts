import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '#errors'
import type { JsonObject } from '#protocol'
import { MAX_DEPTH, MAX_KEYS, editBody, readBody } from '../../src/endpoints/body.ts'

const REFUSED: readonly (readonly [what: string, text: string, message: RegExp])[] = [
  ['nothing', '', /empty body at line 1, column 1/],
  ['blanks', ' \n', /empty body/],
  ['half an object', '{"a":1', /end of the body where `,` or `}` is due at line 1, column 7/],
  ['half a string', '{"a":"bc', /string without an end at line 1, column 6/],
  ['a bare word', '{"a":\n  yes}', /where a value is due at line 2, column 3/],
  ['a trailing comma', '{"a":1,}', /comma before the end of a list at line 1, column 7/],
  ['single quotes', "{'a':1}", /a quoted key is due/],
  ['single quotes as a value', `{"a":'b'}`, /single quote/],
  ['a missing colon', '{"a" 1}', /`:` is due/],
  ['text after the end', '{"a":1} x', /more text after the end/],
  ['an unknown escape', '{"a":"\\x"}', /unknown escape/],
  ['a raw line break in a string', '{"a":"b\nc"}', /raw control character/],
  ['NaN', '{"a":NaN}', /NaN or Infinity/],
  ['Infinity', '{"a":-Infinity}', /NaN or Infinity/],
  ['a number that overflows', '{"a":1e999}', /beyond the range of a double at line 1, column 6/],
  ['a long number that overflows', `{"a":${'9'.repeat(400)}}`, /beyond the range/],
  ['an array', '[1]', /must be a JSON object/],
  ['a string', '"a"', /must be a JSON object/],
  ['null', 'null', /must be a JSON object/],
  ['a key twice', '{"model":1,"model":2}', /key `model` twice in one object at line 1, column 12/],
  ['a key twice, once escaped', '{"model":1,"mod\\u0065l":2}', /key `model` twice/],
  ['a key twice, first escaped', '{"mod\\u0065l":1,"model":2}', /key `model` twice/],
  ['a key twice deep down', '{"a":[{"b":{"c":1,"c":2}}]}', /key `c` twice/],
  ['a long key twice', `{"${'k'.repeat(99)}":1,"${'k'.repeat(99)}":2}`, /key of 99 characters/],
  ['__proto__', '{"a":{"__proto__":{"b":1}}}', /`__proto__` key/],
  ['__proto__, escaped', '{"\\u005f_proto__":1}', /`__proto__` key/],
  ['an escaped lone surrogate', '{"a":"\\ud83d"}', /lone surrogate/],
  ['a lone surrogate in a key', '{"\\uDC00":1}', /lone surrogate/],
  ['a lone surrogate deep down', '{"a":[{"b":"x\\ud83dy"}]}', /lone surrogate/],
]

describe('readBody', () => {
  it.each(REFUSED)('refuses %s', (_what, text, message) => {
    const error = refusal(Buffer.from(text))
    expect(error.code).toBe('invalid_json')
    expect(error.message).toMatch(message)
  })

  it.each([
    ['a stray byte', [0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d], 3],
    ['an overlong slash', [0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d], 3],
    ['a raw surrogate', [0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d], 3],
    ['UTF-16', [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00], 1],
  ])('refuses invalid UTF-8: %s', (_what, bytes, column) => {
    expect(refusal(Uint8Array.from(bytes)).message).toContain(
      `invalid UTF-8 at line 1, column ${column}`,
    )
  })

  it.each([
    ['one level too deep', MAX_DEPTH],
    ['10,000 levels', 10_000],
    ['a million levels', 1_000_000],
  ])('refuses %s without using the stack', (_what, levels) => {
    for (const text of [
      `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`,
      `{"a":${'['.repeat(levels)}`,
      '{"a":'.repeat(levels + 1),
    ]) {
      expect(refusal(Buffer.from(text)).message).toContain(`deeper than ${MAX_DEPTH} levels`)
    }
  })

  it('takes as many levels as it says', () => {
    const levels = MAX_DEPTH - 1
    const text = `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`
    expect(readBody(Buffer.from(text)).value).toEqual(JSON.parse(text))
  })

  it('refuses more keys than it says', () => {
    const keys = Array.from({ length: MAX_KEYS + 1 }, (_, index) => `"k${index}":0`)
    expect(refusal(Buffer.from(`{${keys.join()}}`)).message).toContain(`more than ${MAX_KEYS} keys`)
  })

  it('finds a duplicate among many keys', () => {
    const keys = Array.from({ length: 100 }, (_, index) => `"k${index}":0`)
    expect(refusal(Buffer.from(`{${keys.join()},"k7":1}`)).message).toContain('`k7` twice')
  })

  it('quotes nothing of a broken body but a short key', () => {
    const error = refusal(Buffer.from('{"key": sk-secret-value}'))
    expect(error.message).not.toContain('secret')
  })

  it('passes over a byte order mark', () => {
    const body = readBody(Buffer.from('\ufeff{"a":1}'))
    expect(body.value).toEqual({ a: 1 })
    expect(Buffer.from(body.bytes).toString()).toBe('{"a":1}')
  })

  it('keeps keys that only look dangerous as plain members', () => {
    const { value } = readBody(Buffer.from('{"constructor":{"prototype":{"x":1}},"toString":2}'))
    expect(Object.keys(value)).toEqual(['constructor', 'toString'])
    expect(Object.hasOwn(Object.prototype, 'x')).toBe(false)
  })

  it('takes pairs of surrogates, escaped or not', () => {
    const { value } = readBody(Buffer.from('{"a":"\\ud83d\\ude00😀"}'))
    expect(value).toEqual({ a: '😀😀' })
  })

  it('reads escaped keys right where the engine remembers other keys', () => {
    const primed: unknown = JSON.parse('{"model":"m","max_token\\\\":1}')
    expect(primed).toBeDefined()
    const { value } = readBody(Buffer.from('{"model":"m","max_token\\u0073":9}'))
    expect(value).toEqual({ model: 'm', max_tokens: 9 })
  })

  it('reads back every object', () => {
    fc.assert(
      fc.property(object, fc.nat(3), (value, indent) => {
        const text = JSON.stringify(value, null, indent)
        expect(readBody(Buffer.from(text)).value).toEqual(value)
      }),
      { numRuns: 300 },
    )
  })

  it('accepts nothing that JSON.parse refuses, however a text is broken', () => {
    fc.assert(
      fc.property(object, fc.nat(), fc.string({ maxLength: 2 }), (value, seed, noise) => {
        const text = JSON.stringify(value)
        const at = seed % (text.length + 1)
        const broken = text.slice(0, at) + noise + text.slice(at + 1)
        const verdict = parses(broken)
        const error = attempt(() => readBody(Buffer.from(broken)))
        if (!verdict) expect(error).toMatchObject({ code: 'invalid_json' })
      }),
      { numRuns: 500 },
    )
  })
})

describe('editBody', () => {
  it.each([
    ['sets a member in place', { model: '"y"' }, '{ "model" : "y",\n  "n":1 ,"z": [1]\n}\n'],
    [
      'adds a member last',
      { q: '{"r":2}' },
      '{ "model" : "x",\n  "n":1 ,"z": [1],"q":{"r":2}\n}\n',
    ],
    ['takes the first away', { model: undefined }, '{\n  "n":1 ,"z": [1]\n}\n'],
    ['takes one between away', { n: undefined }, '{ "model" : "x","z": [1]\n}\n'],
    ['takes the last away', { z: undefined }, '{ "model" : "x",\n  "n":1 }\n'],
    ['takes the last two away', { n: undefined, z: undefined }, '{ "model" : "x"}\n'],
    ['puts one for another', { z: undefined, q: '2' }, '{ "model" : "x",\n  "n":1,"q":2 }\n'],
    ['leaves all others', { a: undefined }, '{ "model" : "x",\n  "n":1 ,"z": [1]\n}\n'],
    ['takes all away', { model: undefined, n: undefined, z: undefined }, '{}\n'],
  ])('%s', (_what, edits, expected) => {
    const body = readBody(Buffer.from('{ "model" : "x",\n  "n":1 ,"z": [1]\n}\n'))
    expect(Buffer.from(editBody(body, edits)).toString()).toBe(expected)
  })

  it('adds to an empty object', () => {
    const body = readBody(Buffer.from(' { } '))
    expect(Buffer.from(editBody(body, { a: '1', b: '2' })).toString()).toBe(' {"a":1,"b":2} ')
  })

  it('finds members by what their keys say, however they are written', () => {
    const body = readBody(Buffer.from('{"ключ":1,"mod\\u0065l":"x","9":0}'))
    expect([...body.members.keys()]).toEqual(['ключ', 'model', '9'])
    expect(Buffer.from(editBody(body, { model: '"ÿ"' })).toString()).toBe(
      '{"ключ":1,"mod\\u0065l":"ÿ","9":0}',
    )
  })

  it('is not misled by names of Object.prototype', () => {
    const body = readBody(Buffer.from('{"toString":1,"a":2}'))
    expect(Buffer.from(editBody(body, { a: '3' })).toString()).toBe('{"toString":1,"a":3}')
  })

  it('says what the edited object says, for any object and any edits', () => {
    fc.assert(
      fc.property(object, edits, fc.nat(3), (value, changes, indent) => {
        const text = JSON.stringify(value, null, indent)
        const edited = editBody(readBody(Buffer.from(text)), changes)
        const expected: Record<string, unknown> = { ...value }
        for (const [name, change] of Object.entries(changes)) {
          if (change === undefined) delete expected[name]
          else expected[name] = JSON.parse(change)
        }
        expect(readBody(edited).value).toEqual(expected)
      }),
      { numRuns: 500 },
    )
  })
})

const key = fc
  .oneof(fc.constantFrom('a', 'b', 'model', 'n', 'é', '"', '\\', '1', ''), fc.string())
  .filter((name) => name !== '__proto__')

const object = fc
  .dictionary(key, fc.jsonValue({ depthSize: 'small' }), { noNullPrototype: true })
  .map((value): JsonObject => JSON.parse(JSON.stringify(value)))
  .filter((value) => !JSON.stringify(value).includes('"__proto__"'))

const edits = fc.dictionary(
  key,
  fc.option(
    fc
      .jsonValue({ depthSize: 'small' })
      .map((value) => JSON.stringify(value))
      // Refused in any body, at any depth.
      .filter((text) => !text.includes('"__proto__"')),
    { nil: undefined },
  ),
  { noNullPrototype: true },
)

function refusal(bytes: Uint8Array): GatewayError {
  const error = attempt(() => readBody(bytes))
  if (!(error instanceof GatewayError)) throw new Error('It was accepted')
  return error
}

function attempt(action: () => unknown): unknown {
  try {
    action()
    return undefined
  } catch (error) {
    return error
  }
}

function parses(text: string): boolean {
  return attempt(() => JSON.parse(text)) === undefined
}
