import { GatewayError } from '#errors'

/**
 * Lets a thing be sent back as it was read: a field that cannot be set may say what is.
 *
 * @param ways how such a field is changed, by its name
 * @throws GatewayError `invalid_value` for one that says something else
 */
export function checkSentBack(
  body: Readonly<Record<string, unknown>>,
  shown: Readonly<Record<string, unknown>>,
  fields: readonly string[],
  ways: Readonly<Record<string, string>> = {},
): void {
  for (const field of fields) {
    const given = body[field]
    if (given === undefined || given === shown[field]) continue
    const way = ways[field] === undefined ? '' : `: ${ways[field]}`
    throw new GatewayError('invalid_value', `${field} cannot be set${way}`, { param: field })
  }
}
