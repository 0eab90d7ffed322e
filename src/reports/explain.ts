import type { NanoUsd } from '#protocol'

/** What a group of requests did in one period. A group is one value per dimension asked for. */
export interface GroupSpend {
  /** Tells the group apart, and is shown: `[web, openai/gpt-5-mini]`. */
  readonly group: readonly string[]
  readonly requests: number
  readonly cost: NanoUsd
  /** By token type: how many, and what they cost; they add up to `cost` where all are priced. */
  readonly lines: readonly SpendLine[]
}

export interface SpendLine {
  readonly type: string
  readonly quantity: number
  readonly cost: NanoUsd
}

/**
 * Why the cost of one period is not that of another, in the order in which causes are taken off.
 *
 * - `volume`: more or fewer requests, at the average cost of a request before
 * - `mix`: the same number of requests, spread otherwise over the groups; new groups and gone ones
 * - `size`: more or fewer tokens in a request of the same group
 * - `composition`: other kinds of tokens among them: fewer from the cache, more reasoning
 * - `price`: the same tokens at another price
 */
export const EFFECTS = ['volume', 'mix', 'size', 'composition', 'price'] as const

export type Effect = (typeof EFFECTS)[number]

export type Effects = Readonly<Record<Effect, NanoUsd>>

export interface GroupChange {
  readonly group: readonly string[]
  readonly before: NanoUsd
  readonly after: NanoUsd
  /** Add up to `after - before`. */
  readonly effects: Effects
}

export interface Explanation {
  readonly before: NanoUsd
  readonly after: NanoUsd
  /** Add up to `after - before`, and are the sums of the groups'. */
  readonly effects: Effects
  /** The largest change first. */
  readonly groups: readonly GroupChange[]
}

/**
 * Splits the change of a cost into effects that add up to it exactly, to the nano-dollar.
 *
 * With R requests in all, and for each group r requests, t tokens and c cost (0 before, 1 after):
 * volume (R1/R0 - 1) c0, mix (r1 - R1 r0/R0) c0/r0, size (t1 - r1 t0/r0) c0/t0; composition
 * and price share the rest, price being the tokens of each type at the difference of their
 * prices. A group that is new or gone is mix as a whole; where there was no request at all
 * before, everything is volume. Fractions of a nano-dollar are rounded once for each effect of a group;
 * what that leaves, a few nano-dollars, is in `composition`.
 */
export function explain(before: readonly GroupSpend[], after: readonly GroupSpend[]): Explanation {
  const olds = byGroup(before)
  const news = byGroup(after)
  const totals = { before: requestsOf(before), after: requestsOf(after) }
  const names = [...new Set([...olds.keys(), ...news.keys()])]
  const groups = names
    .map((name) => changeOf(olds.get(name), news.get(name), totals))
    .toSorted((a, b) => compare(size(b), size(a)) || order(a.group, b.group))
  return {
    before: sum(groups.map((group) => group.before)),
    after: sum(groups.map((group) => group.after)),
    effects: effects((effect) => sum(groups.map((group) => group.effects[effect]))),
    groups,
  }
}

function changeOf(
  old: GroupSpend | undefined,
  now: GroupSpend | undefined,
  totals: { readonly before: bigint; readonly after: bigint },
): GroupChange {
  const group = (now ?? old)!.group
  const c0 = old?.cost ?? 0n
  const c1 = now?.cost ?? 0n
  const r0 = BigInt(old?.requests ?? 0)
  const r1 = BigInt(now?.requests ?? 0)
  if (totals.before === 0n) {
    return { group, before: c0, after: c1, effects: { ...NONE, volume: c1 - c0 } }
  }
  const volume = divide((totals.after - totals.before) * c0, totals.before)
  if (r0 === 0n || r1 === 0n) {
    return { group, before: c0, after: c1, effects: { ...NONE, volume, mix: c1 - c0 - volume } }
  }
  const t0 = tokensOf(old!)
  const t1 = tokensOf(now!)
  // All of `(r1 - R1 r0/R0) c0/r0`, over one denominator.
  const mix = divide((r1 * totals.before - totals.after * r0) * c0, totals.before * r0)
  const ofSize = t0 === 0n ? 0n : divide((t1 * r0 - r1 * t0) * c0, t0 * r0)
  const price = priceEffect(old!, now!)
  const composition = c1 - c0 - volume - mix - ofSize - price
  return {
    group,
    before: c0,
    after: c1,
    effects: { volume, mix, size: ofSize, composition, price },
  }
}

/** The tokens of now, at the difference of what their type costs now and cost before. */
function priceEffect(old: GroupSpend, now: GroupSpend): NanoUsd {
  const before = new Map(old.lines.map((line) => [line.type, line]))
  return sum(
    now.lines.map(({ type, quantity, cost }) => {
      const was = before.get(type)
      // What was not bought before had no price to differ from.
      if (was === undefined || was.quantity === 0) return 0n
      return cost - divide(BigInt(quantity) * was.cost, BigInt(was.quantity))
    }),
  )
}

const NONE: Effects = { volume: 0n, mix: 0n, size: 0n, composition: 0n, price: 0n }

function effects(of: (effect: Effect) => NanoUsd): Effects {
  return {
    volume: of('volume'),
    mix: of('mix'),
    size: of('size'),
    composition: of('composition'),
    price: of('price'),
  }
}

function byGroup(spends: readonly GroupSpend[]): ReadonlyMap<string, GroupSpend> {
  return new Map(spends.map((spend) => [JSON.stringify(spend.group), spend]))
}

function requestsOf(spends: readonly GroupSpend[]): bigint {
  return spends.reduce((all, { requests }) => all + BigInt(requests), 0n)
}

function tokensOf({ lines }: GroupSpend): bigint {
  return lines.reduce((all, { quantity }) => all + BigInt(quantity), 0n)
}

/** Rounded to the nearest, halves away from zero. */
export function divide(numerator: bigint, denominator: bigint): bigint {
  const negative = numerator < 0n !== denominator < 0n
  const n = numerator < 0n ? -numerator : numerator
  const d = denominator < 0n ? -denominator : denominator
  const quotient = (2n * n + d) / (2n * d)
  return negative ? -quotient : quotient
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((all, amount) => all + amount, 0n)
}

function size({ before, after }: GroupChange): bigint {
  const change = after - before
  return change < 0n ? -change : change
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function order(a: readonly string[], b: readonly string[]): number {
  return a.join('\n') < b.join('\n') ? -1 : 1
}
