import { GatewayError } from '#errors'
import type { NanoUsd } from '#protocol'

/** Digits after the point that a nano-dollar has. */
const NANO_DIGITS = 9
/** Digits a rate keeps; the price data's longest number has 17. */
const RATE_DIGITS = 18
/** What a ledger column (a signed 64-bit integer) can hold. */
const MAX_NANOS = 2n ** 63n - 1n

const DECIMAL = /^(\d+)(?:\.(\d+))?$/

/**
 * US dollars per million units (tokens, requests, searches), exactly, as an integer of
 * 10^-18 dollars.
 */
export type Rate = bigint

/** What `rate * units` is divided by to give nano-dollars: 10^(18 - 9) for the rate's unit, 10^6 for the million. */
export const RATE_UNITS_PER_NANO = 10n ** 15n

/**
 * Reads an amount of US dollars such as `0.15` or `1200`.
 *
 * Plain decimal notation only: no sign, exponent, blank or separator; an amount that a
 * nano-dollar cannot express is refused rather than rounded.
 *
 * @throws GatewayError `invalid_value`
 */
export function parseUsd(text: string): NanoUsd {
  const nanos = parseDecimal(text, NANO_DIGITS, 'an amount of US dollars')
  if (nanos > MAX_NANOS) {
    throw new GatewayError('invalid_value', `${quote(text)} is more than an amount can be`)
  }
  return nanos
}

/**
 * Reads a price in US dollars per million units, exactly.
 *
 * @throws GatewayError `invalid_value`
 */
export function parseRate(text: string): Rate {
  return parseDecimal(text, RATE_DIGITS, 'a price in US dollars')
}

/**
 * The exact rate behind a number of the price data: the shortest decimal that names it.
 *
 * @throws GatewayError `invalid_value` for anything but a finite number of zero or more
 */
export function rateOf(usdPerMillion: number): Rate {
  return parseRate(plain(usdPerMillion))
}

/** US dollars in plain decimal notation: `0`, `0.15`, `-0.000000001`. */
export function formatUsd(nanos: NanoUsd): string {
  const digits = (nanos < 0n ? -nanos : nanos).toString().padStart(NANO_DIGITS + 1, '0')
  const fraction = digits.slice(-NANO_DIGITS).replace(/0+$/, '')
  return `${nanos < 0n ? '-' : ''}${digits.slice(0, -NANO_DIGITS)}${fraction && `.${fraction}`}`
}

/** A rate for so many units, as a plain decimal of US dollars. */
export function formatRate(rate: Rate, units: number): string {
  const digits = (rate * BigInt(units)).toString().padStart(RATE_DIGITS + 7, '0')
  const fraction = digits.slice(-(RATE_DIGITS + 6)).replace(/0+$/, '')
  return `${digits.slice(0, -(RATE_DIGITS + 6))}${fraction && `.${fraction}`}`
}

function parseDecimal(text: string, places: number, what: string): bigint {
  const match = DECIMAL.exec(text)
  if (!match || text.length > 60) {
    throw new GatewayError(
      'invalid_value',
      `${quote(text)} is not ${what}: expected digits such as 0.15`,
    )
  }
  const [, whole = '', fraction = ''] = match
  const significant = fraction.replace(/0+$/, '')
  if (significant.length > places) {
    throw new GatewayError(
      'invalid_value',
      `${quote(text)} has more than ${places} digits after the point`,
    )
  }
  return BigInt(whole + significant.padEnd(places, '0'))
}

/** Numbers below 10^-6 print with an exponent; the digits are the same. */
function plain(value: number): string {
  const match = /^(\d)(?:\.(\d+))?e-(\d+)$/.exec(String(value))
  if (!match) return String(value)
  const [, first = '', rest = '', exponent = ''] = match
  return `0.${'0'.repeat(Number(exponent) - 1)}${first}${rest}`
}

function quote(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)
}
