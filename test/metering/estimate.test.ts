import * as fc from 'fast-check'
import { get_encoding } from 'tiktoken'
import { afterAll, describe, expect, it } from 'vitest'
import { type ChatRequest, NO_USAGE, type UserPart } from '#protocol'
import { createCalibration } from '../../src/metering/calibration.ts'
import {
  embeddingsSize,
  promptBound,
  promptSize,
  textQuarters,
} from '../../src/metering/estimate.ts'
import { saneUsage } from '../../src/metering/sane-usage.ts'

const encodings = [get_encoding('o200k_base'), get_encoding('cl100k_base')]
afterAll(() => encodings.forEach((encoding) => encoding.free()))

const ALPHABETS: Record<string, string> = {
  letters: 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ',
  'rare letters': 'qxzjkvwQXZJKVW',
  digits: '0123456789',
  signs: '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~',
  mixed: 'aZ0 _-!\n\té漢🙂',
  blanks: ' \n\t',
  cyrillic: 'абвгдежзийклмнопрстуфхцчшщыэюя ',
  arabic: 'ابتثجحخدذرزسشصضطظعغفقكلمنهوي ',
  hanzi: '的一是不了人我在有他这中大来上个国龘靐齉',
  thai: 'กขคงจฉชซญดตถทธนบปผฝพฟภมยรลวศษสหอฮ',
  emoji: '🙂🚀👩‍💻🇩🇪✨',
  latin: 'àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿß ',
}

describe('the bound of a text', () => {
  for (const [what, alphabet] of Object.entries(ALPHABETS)) {
    it(`holds for ${what}`, () => {
      const text = fc
        .array(fc.constantFrom(...Array.from(alphabet)), { maxLength: 300 })
        .map((characters) => characters.join(''))
      fc.assert(
        fc.property(text, (one) => {
          const bound = textQuarters(one) / 4
          for (const encoding of encodings) {
            // Single letters that pair with nothing pass the half a token by little.
            expect(encoding.encode_ordinary(one).length).toBeLessThanOrEqual(bound * 1.25 + 4)
          }
        }),
      )
    })
  }

  it('is about twice the tokens of plain English', () => {
    const text = 'The gateway keeps an account of what each request may cost at the most. '.repeat(
      50,
    )
    const [encoding] = encodings
    const ratio = textQuarters(text) / 4 / encoding!.encode_ordinary(text).length
    expect(ratio).toBeGreaterThan(1.8)
    expect(ratio).toBeLessThan(2.8)
  })
})

describe('the size of a request', () => {
  it('counts no media as text', () => {
    const data = 'A'.repeat(4_000_000)
    const image = promptSize(ask([{ type: 'image', source: base64(data) }]))
    expect(image).toMatchObject({ quarters: 0, images: 1 })
    expect(promptBound(image)).toBeLessThan(6000)
    const audio = promptSize(ask([{ type: 'audio', data, format: 'wav' }]))
    expect(audio).toMatchObject({ quarters: 0, audio: true })
    expect(promptBound(audio)).toBe(256 + 8 + 120_000)
  })

  it('takes a file by its bytes, and no further than the context', () => {
    const size = promptSize(ask([{ type: 'file', source: base64('A'.repeat(4_000_000)) }]))
    expect(promptBound(size)).toBeGreaterThan(5_000_000)
    expect(promptBound(size, { contextTokens: 200_000 })).toBe(200_000 + 256 + 8)
    const small = promptSize(
      ask([{ type: 'file', source: { type: 'url', url: 'https://a/b.pdf' } }]),
    )
    expect(promptBound(small)).toBeGreaterThan(100_000)
  })

  it('takes an image as the model counts it', () => {
    const size = promptSize(
      ask([{ type: 'image', source: { type: 'url', url: 'https://a/b.png' } }]),
    )
    expect(promptBound(size, { imageTokens: 48_169 }) - promptBound(size)).toBe(43_169)
  })

  it('counts tools, schemas and unknown fields as the JSON they are', () => {
    const schema = { type: 'object', properties: { city: { type: 'string' } } }
    const bare = promptBound(promptSize(ask([])))
    const request = {
      ...ask([]),
      tools: [{ type: 'function' as const, name: 'weather', parameters: schema }],
      responseFormat: { type: 'json-schema' as const, name: 'answer', schema },
      providerOptions: { documents: ['a text'] },
    }
    const text =
      'weather' + JSON.stringify(schema) + JSON.stringify(schema) + '{"documents":["a text"]}'
    expect(promptBound(promptSize(request)) - bare).toBe(600 + 24 + 350 + textQuarters(text) / 4)
  })

  it('makes room for what the provider’s own tools read', () => {
    const size = promptSize({ ...ask([]), providerOptions: { web_search_options: {} } })
    expect(size.open).toBe(true)
    expect(promptBound(size)).toBeGreaterThan(32_000)
  })

  it('sees an hour’s cache wherever it is asked for', () => {
    const text = { type: 'text' as const, text: 'a' }
    const seen = [
      ask([text]),
      ask([{ ...text, cache: { ttl: '5m' } }]),
      ask([{ ...text, cache: { ttl: '1h' } }]),
      { ...ask([text]), cache: { ttl: '1h' as const } },
      { ...ask([text]), providerOptions: { cache_control: { ttl: '1h' } } },
    ].map((request) => promptSize(request).longCache)
    expect(seen).toEqual([false, false, true, true, true])
  })

  it('takes arrays of tokens at their word', () => {
    const size = embeddingsSize({
      model: 'm',
      input: [[1, 2, 3], 'ab', [4]],
      encoding: 'float',
      providerOptions: {},
    })
    expect(promptBound(size)).toBe(4 + 1 + 3 * 8)
  })
})

describe('calibration', () => {
  const size = promptSize(ask([{ type: 'text', text: 'word '.repeat(2000) }]))

  it('changes nothing until it has seen enough', () => {
    const calibration = createCalibration()
    for (let times = 0; times < 255; times++) calibration.observe('p', 'm', size, 2000)
    expect(calibration.factor('p', 'm')).toBe(1)
    calibration.observe('p', 'm', size, 2000)
    expect(calibration.factor('p', 'm')).toBe(0.5)
    expect(calibration.factor('p', 'other')).toBe(1)
  })

  it('keeps the densest seen, with a margin', () => {
    const calibration = createCalibration()
    for (let times = 0; times < 256; times++) {
      calibration.observe('p', 'm', size, times === 9 ? 3000 : 2000)
    }
    expect(calibration.factor('p', 'm')).toBe(0.75)
    calibration.observe('p', 'm', size, 3500)
    expect(calibration.factor('p', 'm')).toBe(0.875)
  })

  it('raises the bound at once for a model that counts more', () => {
    const calibration = createCalibration()
    calibration.observe('p', 'm', size, 10_000)
    expect(calibration.factor('p', 'm')).toBe(2.5)
  })

  it('never goes below what English needs', () => {
    const calibration = createCalibration()
    for (let times = 0; times < 1000; times++) calibration.observe('p', 'm', size, 10)
    expect(calibration.factor('p', 'm')).toBe(0.4)
  })

  for (const [what, telling] of [
    ['images', { ...size, images: 1 }],
    ['sound', { ...size, audio: true }],
    ['tools of the provider', { ...size, open: true }],
    ['little text', { ...size, quarters: 100 }],
    ['files', { ...size, media: 5 }],
    ['mostly wrappers', { ...size, fixed: 100_000 }],
  ] as const) {
    it(`learns nothing from ${what}`, () => {
      const calibration = createCalibration()
      calibration.observe('p', 'm', telling, 1_000_000)
      expect(calibration.factor('p', 'm')).toBe(1)
    })
  }

  it('forgets the models unused for longest', () => {
    const calibration = createCalibration(2)
    for (const model of ['a', 'b', 'c']) calibration.observe('p', model, size, 10_000)
    expect(['a', 'b', 'c'].map((model) => calibration.factor('p', model))).toEqual([1, 2.5, 2.5])
  })
})

describe('usage', () => {
  const facts = { contextTokens: 1000, maxOutputTokens: 50_000 }
  for (const [what, usage, sane] of [
    ['nothing at all', {}, true],
    ['plain counts', { input: 900, output: 100 }, true],
    ['more than we knew the model can', { input: 10_000, output: 500_000 }, true],
    ['a negative count', { input: -1 }, false],
    ['a negative bucket in a fair sum', { input: 10, cacheRead: -5 }, false],
    ['no number', { output: Number.NaN }, false],
    ['a fraction', { output: 1.5 }, false],
    ['infinity', { input: Number.POSITIVE_INFINITY }, false],
    ['1e308', { input: 1e308 }, false],
    ['ten times the context and one', { input: 10_000, cacheRead: 1 }, false],
    ['ten times the output and one', { output: 500_001 }, false],
    ['a million searches', { webSearches: 1_000_000 }, false],
  ] as const) {
    it(`is ${sane ? 'taken' : 'set aside'} where it is ${what}`, () => {
      const given = { ...NO_USAGE, ...usage }
      expect(saneUsage(given, facts)).toBe(sane ? given : undefined)
    })
  }

  it('has an end even for unknown models', () => {
    expect(saneUsage({ ...NO_USAGE, input: 100_000_000 }, undefined)).toBeDefined()
    expect(saneUsage({ ...NO_USAGE, input: 100_000_001 }, undefined)).toBeUndefined()
  })
})

function ask(content: readonly UserPart[]): ChatRequest {
  return {
    model: 'm',
    messages: [{ role: 'user', content }],
    stream: false,
    includeUsage: false,
    providerOptions: {},
  }
}

function base64(data: string) {
  return { type: 'base64' as const, data, mediaType: 'application/octet-stream' }
}
