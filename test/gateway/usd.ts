/** Nano-dollars of a decimal: `0.001` is 1,000,000. */
export function nanos(usd: string): bigint {
  const [whole = '0', fraction = ''] = usd.split('.')
  return BigInt(whole) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'))
}
