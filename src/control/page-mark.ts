import { GatewayError } from '#errors'
import type { Cursor } from '../store/reports.ts'

/** Where a page of a report ended, as a text for whoever asks for the next one. */
export function writePageMark({ period, cost, values }: Cursor): string {
  return Buffer.from(JSON.stringify([period, String(cost), ...values])).toString('base64url')
}

/** @throws GatewayError `invalid_value` for what is no such text */
export function readPageMark(text: string | undefined): Cursor | undefined {
  if (text === undefined) return undefined
  try {
    const parsed: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    const [period, cost, ...values] = parsed as readonly unknown[]
    if (
      !Number.isSafeInteger(period) ||
      typeof cost !== 'string' ||
      !values.every((value) => typeof value === 'string')
    ) {
      throw new TypeError('no mark of ours')
    }
    return { period: Number(period), cost: BigInt(cost), values: values as string[] }
  } catch (cause) {
    throw new GatewayError('invalid_value', 'page is none that a report gave out', {
      param: 'page',
      cause,
    })
  }
}
