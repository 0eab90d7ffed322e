/**
 * What the simulator counts as a token: up to five letters or digits with one space before
 * them, a run of white space, or any other character. About four characters of English each.
 *
 * Joined, the tokens are the text.
 */
export function tokenize(text: string): string[] {
  return text.match(/ ?[\p{L}\p{N}]{1,5}|\s+|[^\p{L}\p{N}\s]/gu) ?? []
}

/** As many as {@link tokenize} gives, without making them. */
export function countTokens(text: string): number {
  let count = 0
  for (const _ of text.matchAll(/ ?[\p{L}\p{N}]{1,5}|\s+|[^\p{L}\p{N}\s]/gu)) count += 1
  return count
}
