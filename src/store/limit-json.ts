import type { Budget, Limits, Quotas } from '#protocol'

/** JSON has no 64-bit integers: money is a decimal string in it. */
type PackedQuotas = Omit<Quotas, 'budgets'> & { readonly budgets?: readonly PackedBudget[] }

type PackedBudget = Omit<Budget, 'limit' | 'raises'> & {
  readonly limit: string
  readonly raises?: readonly {
    readonly amount: string
    readonly until: number
    readonly reason: string
  }[]
}

type PackedLimits = PackedQuotas & {
  readonly models?: readonly (PackedQuotas & { readonly pattern: string })[]
}

export function packLimits({ models, ...quotas }: Limits): string {
  const packed: PackedLimits = {
    ...pack(quotas),
    ...(models && { models: models.map(({ pattern, ...rest }) => ({ pattern, ...pack(rest) })) }),
  }
  return JSON.stringify(packed)
}

/** The reverse of {@link packLimits}. */
export function unpackLimits(json: string): Limits {
  const { models, ...quotas }: PackedLimits = JSON.parse(json)
  return {
    ...unpack(quotas),
    ...(models && { models: models.map(({ pattern, ...rest }) => ({ pattern, ...unpack(rest) })) }),
  }
}

function pack({ budgets, ...rest }: Quotas): PackedQuotas {
  return {
    ...rest,
    ...(budgets && {
      budgets: budgets.map(({ limit, raises, ...budget }) => ({
        ...budget,
        limit: String(limit),
        ...(raises && { raises: raises.map((one) => ({ ...one, amount: String(one.amount) })) }),
      })),
    }),
  }
}

function unpack({ budgets, ...rest }: PackedQuotas): Quotas {
  return {
    ...rest,
    ...(budgets && {
      budgets: budgets.map(({ limit, raises, ...budget }) => ({
        ...budget,
        limit: BigInt(limit),
        ...(raises && { raises: raises.map((one) => ({ ...one, amount: BigInt(one.amount) })) }),
      })),
    }),
  }
}
