/**
 * A value as the one JSON text that RFC 8785 has for it: members sorted by the UTF-16 units of
 * their names, no blanks, numbers and strings as ECMAScript writes them.
 *
 * @param value plain JSON; members that are `undefined` are left out
 */
export function canonical(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  // Not by the reader's language: names compare by their units.
  members.sort(([one], [other]) => (one < other ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join()}}`
}
