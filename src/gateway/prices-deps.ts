import { randomBytes } from 'node:crypto'
import type { Config } from '../config.ts'
import type { PricesDeps } from '../control/prices.ts'
import type { Directory } from '../routing/directory.ts'
import {
  endPrice,
  getPrice,
  getPriceVersion,
  insertPrices,
  listPrices,
  openPrices,
  setPricePolicy,
} from '../store/prices.ts'
import { findTenant } from '../store/tenants.ts'
import { checkRow, splitPattern } from './price-books.ts'
import type { PriceBooks } from './price-books.ts'
import { describePrice } from './price-versions.ts'

export interface PricesSources {
  readonly priceBooks: PriceBooks
  readonly directory: Directory
  readonly config: Config
  readonly now: () => number
}

/** What the control plane's prices work with. */
export function pricesDeps({ priceBooks, directory, config, now }: PricesSources): PricesDeps {
  const instances = [...directory.instances.values()]

  function target(name: string) {
    const { provider, model } = splitPattern(name)
    const instance = directory.instances.get(provider)
    if (instance === undefined || model === '') return undefined
    const { id: kind, priceId } = instance.provider
    return { provider, kind, priceId, model }
  }

  return {
    book: priceBooks.current,
    state: priceBooks.state,
    targets: () =>
      instances.flatMap(({ name, models }) =>
        models
          .filter((model) => !model.includes('*'))
          .flatMap((model) => {
            const found = target(`${name}/${model}`)
            return found === undefined ? [] : [{ ...found, name: `${name}/${model}` }]
          }),
      ),
    target,
    list: listPrices,
    get: getPrice,
    open: openPrices,
    insert: insertPrices,
    end: endPrice,
    setPolicy: setPricePolicy,
    policy(tenantId) {
      const own = priceBooks.unpriced(tenantId)
      return { unpriced: own ?? config.unpriced, inherited: own === undefined }
    },
    version: getPriceVersion,
    findTenant,
    changed: priceBooks.tableChanged,
    check: checkRow,
    describe: describePrice,
    split: splitPattern,
    newId: () => `price_${randomBytes(9).toString('hex')}`,
    now,
  }
}
