import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { JsonObject } from '#protocol'
import { textMatching } from '../../providers/simulator/from-pattern.ts'
import { valueFor } from '../../providers/simulator/from-schema.ts'
import { randomFrom } from '../../providers/simulator/random.ts'

const TREE = {
  type: 'object',
  properties: {
    value: { type: 'integer' },
    children: { type: 'array', items: { $ref: '#' } },
    next: { anyOf: [{ $ref: '#' }, { type: 'null' }] },
  },
  required: ['value', 'next', 'children'],
  additionalProperties: false,
}

describe('a value made from a schema', () => {
  it.each<[string, JsonObject]>([
    ['a constant', { const: 'a' }],
    ['an enumeration', { type: 'string', enum: ['celsius', 'fahrenheit'] }],
    ['narrow integers', { type: 'integer', minimum: 3, maximum: 4 }],
    ['exclusive bounds', { type: 'number', exclusiveMinimum: 1, exclusiveMaximum: 1.5 }],
    ['a multiple', { type: 'integer', minimum: 10, maximum: 20, multipleOf: 7 }],
    ['a fraction', { type: 'number', minimum: 0, maximum: 1, multipleOf: 0.25 }],
    ['a large minimum', { type: 'number', minimum: 1e15 }],
    ['a negative maximum', { type: 'integer', maximum: -5 }],
    ['a short text', { type: 'string', maxLength: 3 }],
    ['a long text', { type: 'string', minLength: 200 }],
    ['a text of one length', { type: 'string', minLength: 12, maxLength: 12 }],
    ['an e-mail', { type: 'string', format: 'email' }],
    ['a uuid', { type: 'string', format: 'uuid' }],
    ['a date', { type: 'string', format: 'date' }],
    ['a moment', { type: 'string', format: 'date-time' }],
    ['an address', { type: 'string', format: 'ipv4' }],
    ['a link', { type: 'string', format: 'uri' }],
    ['a pattern', { type: 'string', pattern: '^[A-Z]{2}-\\d{4}$' }],
    ['a nullable', { type: ['string', 'null'] }],
    ['a list', { type: 'array', items: { type: 'integer' }, minItems: 3, maxItems: 5 }],
    ['an empty list', { type: 'array', items: { type: 'integer' }, maxItems: 0 }],
    [
      'distinct entries',
      { type: 'array', items: { type: 'string' }, minItems: 4, uniqueItems: true },
    ],
    [
      'distinct choices',
      { type: 'array', items: { enum: ['a', 'b', 'c'] }, minItems: 3, uniqueItems: true },
    ],
    [
      'a tuple',
      { type: 'array', prefixItems: [{ type: 'string' }, { type: 'integer' }], items: false },
    ],
    ['a map', { type: 'object', additionalProperties: { type: 'integer' } }],
    ['no members', { type: 'object', properties: {}, additionalProperties: false }],
    ['members without a type', { properties: { a: { type: 'integer' } }, required: ['a'] }],
    [
      'either of two',
      {
        anyOf: [
          { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] },
          { type: 'integer' },
        ],
      },
    ],
    [
      'exactly one of two',
      {
        oneOf: [
          { type: 'object', properties: { kind: { const: 'a' } }, required: ['kind'] },
          { type: 'object', properties: { kind: { const: 'b' } }, required: ['kind'] },
        ],
      },
    ],
    [
      'both of two',
      {
        allOf: [
          { type: 'object', properties: { a: { type: 'integer', minimum: 5 } }, required: ['a'] },
          {
            type: 'object',
            properties: { a: { maximum: 6 }, b: { type: 'null' } },
            required: ['b'],
          },
        ],
      },
    ],
    [
      'a definition',
      {
        $defs: { size: { type: 'string', enum: ['s', 'm'] } },
        type: 'object',
        properties: { size: { $ref: '#/$defs/size' } },
        required: ['size'],
      },
    ],
    ['a schema that refers to itself', TREE],
  ])('is valid for %s', (_, schema) => {
    const check = z.fromJSONSchema(schema)
    for (let seed = 0; seed < 20; seed += 1) {
      const value = valueFor(schema, randomFrom(`${seed}`))
      expect(check.safeParse(value).error?.issues ?? [], JSON.stringify(value)).toEqual([])
    }
  })

  it.each<[string, JsonObject, RegExp]>([
    ['a constant that is no scalar', { const: { a: [1, null] } }, /^\{"a":\[1,null\]\}$/],
    [
      'a reference to a member with a slash',
      {
        type: 'object',
        properties: { 'a/b': { const: 7 }, c: { $ref: '#/properties/a~1b' } },
        required: ['c'],
      },
      /"c":7\b/,
    ],
    [
      'a condition',
      {
        type: 'object',
        properties: { pay: { enum: ['card', 'cash'] }, number: { type: 'string' } },
        required: ['pay'],
        if: { properties: { pay: { const: 'cash' } } },
        else: { required: ['number'] },
      },
      /"cash"|"number"/,
    ],
    [
      'a dependency',
      {
        type: 'object',
        properties: { a: { type: 'integer' }, b: { type: 'integer' } },
        required: ['a'],
        dependentRequired: { a: ['b'] },
      },
      /"b":/,
    ],
    [
      'an entry that has to be there',
      { type: 'array', items: { type: 'string' }, contains: { const: 'x' } },
      /"x"/,
    ],
    ['a least number of members', { type: 'object', minProperties: 3 }, /:.*:.*:/],
    [
      'alternatives that exclude each other',
      {
        type: 'object',
        properties: { a: { type: 'integer' }, b: { type: 'integer' } },
        oneOf: [{ required: ['a'] }, { required: ['b'] }],
      },
      /^\{"[ab]":\d+\}$/,
    ],
    [
      'a value ruled out',
      { type: 'object', properties: { a: { type: 'integer' } }, not: { required: ['a'] } },
      /^\{\}$/,
    ],
  ])('keeps %s', (_, schema, shape) => {
    for (let seed = 0; seed < 20; seed += 1) {
      expect(JSON.stringify(valueFor(schema, randomFrom(`${seed}`)))).toMatch(shape)
    }
  })

  it('is valid for any schema made of these parts', () => {
    fc.assert(
      fc.property(schemas(), fc.string(), (schema, seed) => {
        const value = valueFor(schema, randomFrom(seed))
        const { error } = z.fromJSONSchema(schema).safeParse(value)
        expect(error?.issues ?? [], JSON.stringify({ schema, value })).toEqual([])
      }),
      { numRuns: 300 },
    )
  })

  it('is the same for the same seed, and another for another', () => {
    const schema = {
      type: 'object',
      properties: { a: { type: 'number' }, b: { type: 'string', format: 'uuid' } },
    }
    const make = (seed: string) => valueFor(schema, randomFrom(seed))
    expect(make('1')).toEqual(make('1'))
    expect(make('1')).not.toEqual(make('2'))
  })

  it('names what the prompt names', () => {
    const schema = { type: 'object', properties: { city: { type: 'string' } } }
    expect(valueFor(schema, randomFrom(''), ['Bergen'])).toEqual({ city: 'Bergen' })
  })

  it.each<[string, JsonObject | boolean]>([
    ['endless entries', { type: 'array', minItems: 1e9, items: { type: 'string' } }],
    ['endless text', { type: 'string', minLength: 1e12 }],
    ['endless repeats', { type: 'string', pattern: '(((a{1000}){1000}){1000}){1000}' }],
    ['repeats of nothing', { type: 'string', pattern: '(a?){1000000}(){1000000}' }],
    [
      'distinct entries that do not exist',
      { type: 'array', minItems: 9, items: { enum: [1] }, uniqueItems: true },
    ],
    [
      'a circle of references',
      { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } },
    ],
    [
      'required recursion',
      {
        $defs: {
          a: {
            type: 'object',
            properties: { b: { $ref: '#/$defs/a' }, c: { $ref: '#/$defs/a' } },
            required: ['b', 'c'],
          },
        },
        $ref: '#/$defs/a',
      },
    ],
    ['wide recursion', { type: 'array', minItems: 50, items: { $ref: '#' } }],
    [
      'nonsense',
      { type: 7, enum: 'x', required: 3, properties: [], items: 'y', pattern: '([', $ref: 5 },
    ],
    ['nothing that fits', false],
    ['a prototype', { type: 'object', required: ['__proto__', 'constructor'] }],
  ])('ends soon for %s', (_, schema) => {
    const before = performance.now()
    const value = valueFor(schema, randomFrom(''))
    expect(performance.now() - before).toBeLessThan(1000)
    expect(JSON.stringify(value).length).toBeLessThan(1_000_000)
  })
})

describe('a text made from a pattern', () => {
  it.each([
    '^abc$',
    '^[a-z]+@[a-z]+\\.(com|org)$',
    '^\\+?\\d{1,3}[- ]?\\d{4,}$',
    '^(?:foo|bar)?baz*$',
    '^[^a-z]{5}$',
    '^[\\w.-]{3,8}$',
    '^#[0-9a-fA-F]{6}$',
    '^(?<year>\\d{4})-(0[1-9]|1[0-2])$',
    '^\\u0041\\x42\\u{43}$',
    '^.{10}$',
    '^\\S+\\s\\D$',
    '^[\\]\\\\-]{2}$',
    '^v\\d+\\.\\d+\\.\\d+$',
    '\\bword\\b',
  ])('%s matches it', (pattern) => {
    for (let seed = 0; seed < 50; seed += 1) {
      expect(textMatching(pattern, randomFrom(`${seed}`))).toMatch(new RegExp(pattern, 'u'))
    }
  })

  it('is as long as it has to be', () => {
    expect(textMatching('^[a-z]+$', randomFrom(''), 40).length).toBeGreaterThanOrEqual(40)
  })
})

/** Schemas as tools have them, up to three levels deep. */
function schemas(): fc.Arbitrary<JsonObject> {
  const { node } = fc.letrec<{ node: JsonObject; leaf: JsonObject }>((tie) => ({
    leaf: fc.oneof(
      fc.record({ type: fc.constant('string') }),
      fc.constantFrom<JsonObject>(
        { type: 'boolean' },
        { type: 'null' },
        { type: ['integer', 'null'] },
        { type: 'string', format: 'date' },
        { enum: ['a', 1, null] },
        { const: 'x' },
      ),
      fc
        .tuple(fc.integer({ min: -50, max: 50 }), fc.nat(20))
        .map(([minimum, span]) => ({ type: 'integer', minimum, maximum: minimum + span })),
      fc
        .tuple(fc.nat(30), fc.nat(30))
        .map(([minLength, more]) => ({ type: 'string', minLength, maxLength: minLength + more })),
    ),
    node: fc.oneof(
      { maxDepth: 3 },
      tie('leaf'),
      fc
        .tuple(
          fc.dictionary(fc.stringMatching(/^[a-z]{1,6}$/), tie('node'), { maxKeys: 4 }),
          fc.boolean(),
        )
        .map(([properties, all]) => ({
          type: 'object',
          properties,
          required: all ? Object.keys(properties) : [],
          additionalProperties: false,
        })),
      fc.tuple(tie('node'), fc.nat(3), fc.nat(3)).map(([items, minItems, more]) => ({
        type: 'array',
        items,
        minItems,
        maxItems: minItems + more,
      })),
      fc.array(tie('node'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
    ),
  }))
  return node
}
