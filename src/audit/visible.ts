/**
 * What steers a terminal, breaks a line or reorders text: control and format characters (bidi,
 * zero width, tags), separators, halves of pairs.
 */
const STEERING = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

/** A text from afar as one line, with what cannot be seen spelled out: `\u{1b}`. */
export function visible(text: string, longest: number): string {
  return text
    .slice(0, longest)
    .replaceAll(STEERING, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
}

/** JSON on one line whose strings hold nothing that steers; it parses to the same value. */
export function safeJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(STEERING, (character) =>
    Array.from(
      { length: character.length },
      (_, unit) => `\\u${character.charCodeAt(unit).toString(16).padStart(4, '0')}`,
    ).join(''),
  )
}
