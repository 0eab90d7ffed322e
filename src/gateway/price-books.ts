import { stat } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { readDiscount, readRates } from '../metering/price-rates.ts'
import { createPriceBook, fingerprint } from '../metering/prices.ts'
import type { PriceBook, PriceBookDeps, PriceRow } from '../metering/prices.ts'
import { priceRates } from '../price-settings.ts'
import type { PriceTable, StoredPrice } from '../store/prices.ts'
import { poll } from './poll.ts'

/** Of the settings, what prices are read from. */
export type PriceSettings = Pick<Config, 'prices' | 'providers'>

export interface PriceBooksDeps {
  readonly catalogue: PriceBookDeps['catalogue']
  /** As the gateway was started with. */
  readonly settings: PriceSettings
  /** Prices of the providers that are there unasked, by their name. */
  readonly builtIn: NonNullable<PriceBookDeps['overrides']>
  /** Files whose change is a reason to read the settings again. */
  readonly files: readonly string[]
  /**
   * Reads the settings again. Absent: they stay as they are.
   *
   * @throws Error naming what is wrong with them
   */
  readonly reload?: (() => PriceSettings) | undefined
  readonly table: () => Promise<PriceTable>
  readonly tableRevision: () => Promise<bigint>
  /** Whether other processes change the table too. */
  readonly isShared: boolean
  readonly onInexact: NonNullable<PriceBookDeps['onInexact']>
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
}

/** How the prices are, for those who look after them. */
export interface PriceState {
  /** Unix ms. */
  readonly loadedAt: number
  /** Why they are not the latest; empty when they are. */
  readonly problems: readonly string[]
  /** How often they were read, well and not. */
  readonly reloads: { readonly ok: number; readonly failed: number }
}

/**
 * The book in force. It is replaced as a whole, never changed: when the table or a file changes,
 * and only by one that could be read in full. Until then the last good one stays.
 */
export interface PriceBooks {
  readonly current: () => PriceBook
  readonly unpriced: (tenantId: string) => 'refuse' | 'allow' | undefined
  readonly state: () => PriceState
  /** Reads the table again, such as once a change of it holds. Never rejects. */
  readonly tableChanged: () => Promise<void>
  close(): void
}

/** @throws what the table throws when it cannot be read at the start */
export async function openPriceBooks(deps: PriceBooksDeps): Promise<PriceBooks> {
  const { log, now } = deps
  let settings = deps.settings
  let table = await deps.table()
  const problems = new Map<'settings' | 'table', string>()
  const reloads = { ok: 0, failed: 0 }
  let loadedAt = now()
  let book = build(settings, table)
  let policies = policiesOf(table)
  tellOfBroken()
  let looks = deps.reload === undefined ? '' : await look(deps.files)
  /** Of the table, one after the other: an earlier answer must not come after a later one. */
  let reading: Promise<void> = Promise.resolve()

  function build(from: PriceSettings, { rows }: PriceTable): PriceBook {
    const overrides = Object.entries(from.providers).map(([name, { prices }]) => [name, prices])
    return createPriceBook({
      overrides: { ...Object.fromEntries(overrides), ...deps.builtIn },
      rows: [...rowsOfSettings(from), ...rows.map(rowOfTable)],
      catalogue: deps.catalogue,
      onInexact: deps.onInexact,
    })
  }

  function take(part: 'settings' | 'table', made: () => PriceBook): void {
    try {
      book = made()
      loadedAt = now()
      reloads.ok++
      problems.delete(part)
      tellOfBroken()
      log.info({ part, rows: book.rows.length }, 'prices were read again')
    } catch (error) {
      failed(part, error)
    }
  }

  function failed(part: 'settings' | 'table', error: unknown): void {
    const message = error instanceof Error ? error.message : String(error)
    reloads.failed++
    problems.set(part, `The prices of the ${part} could not be read again: ${message}`)
    log.error({ err: error, part }, 'prices could not be read again; the last good ones stay')
  }

  function tellOfBroken(): void {
    for (const { id, provider, model } of book.broken) {
      log.error({ id, provider, model }, 'a price cannot be read: what it is for has no price')
    }
  }

  function readSettings(): void {
    take('settings', () => {
      const read = deps.reload!()
      const made = build(read, table)
      settings = read
      return made
    })
  }

  async function readTable(): Promise<void> {
    try {
      const read = await deps.table()
      take('table', () => {
        const made = build(settings, read)
        table = read
        policies = policiesOf(read)
        return made
      })
    } catch (error) {
      failed('table', error)
    }
  }

  function tableChanged(): Promise<void> {
    reading = reading.then(readTable)
    return reading
  }

  async function lookAgain(): Promise<void> {
    if (deps.reload !== undefined) {
      const seen = await look(deps.files)
      if (seen !== looks) {
        looks = seen
        readSettings()
      }
    }
    const isStale = problems.has('table') || deps.isShared
    if (isStale && (await deps.tableRevision()) !== table.revision) await tableChanged()
    else if (problems.has('table')) problems.delete('table')
  }

  const stop = poll('changes of prices', lookAgain, log)

  return {
    current: () => book,
    unpriced: (tenantId) => policies.get(tenantId),
    state: () => ({
      loadedAt,
      problems: [...problems.values(), ...book.broken.map(brokenInWords)],
      reloads: { ...reloads },
    }),
    tableChanged,
    close: stop,
  }
}

function brokenInWords({ id, provider, model }: PriceRow): string {
  return `The price ${id} of ${provider}/${model} cannot be read: what it is for has no price`
}

function policiesOf({ policies }: PriceTable): ReadonlyMap<string, 'refuse' | 'allow'> {
  return new Map(policies.map(({ tenantId, unpriced }) => [tenantId, unpriced]))
}

/** Rows of the settings, each named by what it says: its version is for good. */
export function rowsOfSettings({ prices }: PriceSettings): readonly PriceRow[] {
  return prices.map(({ model: pattern, from, to, rates, discount }, index) => ({
    id: `${pattern}${from === undefined ? '' : `@${dayOf(from)}`}#${fingerprint({ rates, discount })}`,
    ...splitPattern(pattern),
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    ...(rates !== undefined && { rates }),
    ...(discount !== undefined && { discount }),
    revision: index,
    origin: 'file',
  }))
}

function dayOf(time: number): string {
  return new Date(time).toISOString().replace(/T00:00:00\.000Z$/, '')
}

/** A row whose rates are no rates has none: what it is for is then not priced. */
export function rowOfTable(stored: StoredPrice): PriceRow {
  const { id, tenantId, provider, model, from, to, discount, revision } = stored
  const rates = priceRates.safeParse(stored.rates)
  return {
    id,
    ...(tenantId !== undefined && { tenantId }),
    provider,
    model,
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    ...(rates.success && { rates: rates.data }),
    ...(discount !== undefined && { discount }),
    revision,
    origin: 'table',
  }
}

/** `openai/gpt-5*`: the provider is what stands before the first slash. */
export function splitPattern(pattern: string): {
  readonly provider: string
  readonly model: string
} {
  const slash = pattern.indexOf('/')
  return { provider: pattern.slice(0, slash), model: pattern.slice(slash + 1) }
}

/** @throws GatewayError `invalid_value` for what cannot be reckoned with */
export function checkRow({ rates, discount }: Pick<PriceRow, 'rates' | 'discount'>): void {
  if (rates !== undefined) readRates('rates', rates)
  if (discount !== undefined) readDiscount(discount)
}

/** What tells one state of the files from another. */
async function look(files: readonly string[]): Promise<string> {
  const seen = await Promise.all(
    files.map(async (file) => {
      try {
        const { mtimeMs, size, ino } = await stat(file)
        return `${mtimeMs} ${size} ${ino}`
      } catch {
        return 'none'
      }
    }),
  )
  return seen.join('\n')
}
