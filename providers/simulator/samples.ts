import type { Random } from './random.ts'

/** What a member of some common name usually holds. First match wins; `hint`: a word of the prompt. */
const SAMPLES: readonly (readonly [RegExp, string, 'hint'?])[] = [
  [/e_?mail/i, 'ada@example.com'],
  [/url|uri|link|website|homepage/i, 'https://example.com/page'],
  [/city|town|location|place|address|destination|origin/i, 'Oslo', 'hint'],
  [/country/i, 'Norway', 'hint'],
  [/name|person|author|user|title|company|product/i, 'Ada Lovelace', 'hint'],
  [/date|day/i, '2026-03-14'],
  [/time/i, '12:30:00'],
  [/phone/i, '+47 22 00 00 00'],
  [/currency/i, 'EUR'],
  [/lang|locale/i, 'en'],
  [/lat/i, '59.9139'],
  [/lon|lng/i, '10.7522'],
  [/^id$|_id$|Id$/, 'a1b2c3'],
]

const FORMATS: Readonly<Record<string, (random: Random) => string>> = {
  email: () => 'ada@example.com',
  'idn-email': () => 'ada@example.com',
  uri: () => 'https://example.com/page',
  'uri-reference': () => '/page',
  iri: () => 'https://example.com/page',
  url: () => 'https://example.com/page',
  uuid,
  date: (random) => `2026-${twoDigits(random, 12)}-${twoDigits(random, 28)}`,
  time: () => '12:30:00Z',
  'date-time': (random) => `2026-${twoDigits(random, 12)}-${twoDigits(random, 28)}T12:30:00Z`,
  duration: () => 'P1D',
  hostname: () => 'example.com',
  'idn-hostname': () => 'example.com',
  ipv4: (random) => `192.0.2.${Math.floor(random() * 254) + 1}`,
  ipv6: () => '2001:db8::1',
  regex: () => '^a+$',
  'json-pointer': () => '/a/b',
  'relative-json-pointer': () => '1/a',
  byte: () => 'aGVsbG8=',
  base64: () => 'aGVsbG8=',
}

/** A text for a member: by its format, else by its name, else made of the name. */
export function sampleText(
  name: string,
  hints: readonly string[],
  format = '',
  random: Random = () => 0,
): string {
  const made = Object.hasOwn(FORMATS, format) ? FORMATS[format]?.(random) : undefined
  if (made !== undefined) return made
  const sample = SAMPLES.find(([pattern]) => pattern.test(name))
  // An item of a list of distinct ones is asked for with its number behind the name.
  const number = / \d+$/.exec(name)?.[0] ?? ''
  if (sample !== undefined) {
    const [, usual, hinted] = sample
    return (hinted === undefined ? usual : (hints[0] ?? usual)) + number
  }
  const words = name
    .replaceAll(/([a-z])([A-Z])|[_-]+/g, '$1 $2')
    .trim()
    .toLowerCase()
  return words === '' ? 'example' : `example of ${words}`
}

/** Capitalised words of a prompt that do not begin a sentence: likely names. */
export function namesIn(prompt: string): string[] {
  const found = prompt
    .slice(0, 2_000)
    .matchAll(/(?<=[\p{L}\p{N},;:] )\p{Lu}[\p{L}-]+(?: \p{Lu}[\p{L}-]+)*/gu)
  return [...found].map(([name]) => name)
}

function uuid(random: Random): string {
  return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replaceAll('x', () =>
    Math.floor(random() * 16).toString(16),
  )
}

function twoDigits(random: Random, most: number): string {
  return String(Math.floor(random() * most) + 1).padStart(2, '0')
}
