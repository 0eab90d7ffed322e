/** Longest run without a blank that is counted in one go: counting is quadratic in its length. */
const LONGEST_RUN = 2000
/** Longest piece, so that no single call takes long. */
const LONGEST_PIECE = 100_000

/**
 * Cuts a text so that its tokens can be counted in linear time.
 *
 * A cut may split a token, so that the sum is at most one higher for each cut. Lone
 * surrogates become U+FFFD and byte order marks go: tokenizers choke on the one and
 * disagree about the other.
 */
export function* pieces(text: string): Generator<string> {
  const clean = text.toWellFormed().replaceAll('\uFEFF', '')
  let start = 0
  let run = 0
  for (let index = 0; index < clean.length; index++) {
    const unit = clean.charCodeAt(index)
    const blank = unit === 32 || unit === 10 || unit === 13 || unit === 9
    // Blanks come in long runs too.
    run = blank === isBlank(clean, index - 1) ? run + 1 : 1
    const cut = run >= LONGEST_RUN || (index - start >= LONGEST_PIECE && blank)
    if (!cut || isLowSurrogate(clean, index)) continue
    yield clean.slice(start, index)
    start = index
    run = 1
  }
  if (start < clean.length) yield clean.slice(start)
}

function isBlank(text: string, index: number): boolean {
  const unit = text.charCodeAt(index)
  return unit === 32 || unit === 10 || unit === 13 || unit === 9
}

function isLowSurrogate(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xdc00
}
