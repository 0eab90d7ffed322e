import type { NanoUsd } from '#protocol'
import { csvLine } from './csv.ts'

/** What one tenant owes for one month. */
export interface Statement {
  readonly tenant: { readonly id: string; readonly name: string }
  /** What the tenant calls amounts; nothing is converted. */
  readonly currency: string
  /** `2026-11`: the month that begins in it, on the day the tenant's months begin. */
  readonly month: string
  /** Unix ms, in the tenant's zone; `end` is exclusive. */
  readonly start: number
  readonly end: number
  readonly timeZone: string
  /** Unix ms. */
  readonly asOf: number
  readonly lines: readonly StatementLine[]
  /** Of all lines. */
  readonly total: NanoUsd
  readonly requests: number
  /** Entries without a price, which no line holds. */
  readonly unpriced: number
  /** Entries whose usage is our estimate. */
  readonly estimated: number
}

/** Tokens of one type, or calls billed one by one, of one model for one application. */
export interface StatementLine {
  readonly application: { readonly id: string; readonly name: string }
  readonly provider: string
  readonly model: string
  /** As in the ledger's cost lines: `input`, `cache_read`, `output`, `web_search`, ... */
  readonly type: string
  readonly quantity: number
  readonly cost: NanoUsd
}

type Format = (nanos: NanoUsd) => string

/** Opens in any spreadsheet; its last line is the total. */
export function statementCsv(statement: Statement, format: Format): string {
  const { tenant, currency, month, lines, total } = statement
  const head = ['tenant', 'month', 'application', 'provider', 'model', 'type', 'quantity', 'cost']
  return [
    csvLine([...head, 'currency']),
    ...lines.map(({ application, provider, model, type, quantity, cost }) =>
      csvLine(
        [tenant.name, month, application.name, provider, model, type, quantity].concat(
          format(cost),
          currency,
        ),
      ),
    ),
    csvLine([tenant.name, month, 'total', null, null, null, null, format(total), currency]),
  ].join('')
}

/**
 * The same as FOCUS 1.2 (https://focus.finops.org/focus-specification/v1-2/), for what already
 * reads the bills of clouds: one line of usage for each line of the statement.
 *
 * Tollgate settles at the price of the day, so the list, contracted, billed and effective costs
 * are the same. What FOCUS has no column for is under `x_`.
 */
export function statementFocus(statement: Statement, format: Format): string {
  const columns = Object.entries(focusColumns(statement, format))
  return [
    csvLine(columns.map(([name]) => name)),
    ...statement.lines.map((line) => csvLine(columns.map(([, value]) => value(line)))),
  ].join('')
}

function focusColumns(
  { tenant, currency, start, end }: Statement,
  format: Format,
): Readonly<Record<string, (line: StatementLine) => string | number | null>> {
  const from = new Date(start).toISOString()
  const to = new Date(end).toISOString()
  const cost = (line: StatementLine): string => format(line.cost)
  const unit = (line: StatementLine): string => unitOf(line.type)
  const nothing = (): null => null
  return {
    BilledCost: cost,
    BillingAccountId: () => tenant.id,
    BillingAccountName: () => tenant.name,
    BillingAccountType: () => 'Tenant',
    BillingCurrency: () => currency,
    BillingPeriodEnd: () => to,
    BillingPeriodStart: () => from,
    ChargeCategory: () => 'Usage',
    ChargeClass: nothing,
    ChargeDescription: (line) => `${line.type} of ${line.provider}/${line.model}`,
    ChargeFrequency: () => 'Usage-Based',
    ChargePeriodEnd: () => to,
    ChargePeriodStart: () => from,
    ConsumedQuantity: (line) => line.quantity,
    ConsumedUnit: unit,
    ContractedCost: cost,
    ContractedUnitPrice: nothing,
    EffectiveCost: cost,
    InvoiceIssuerName: () => 'Tollgate',
    ListCost: cost,
    ListUnitPrice: nothing,
    PricingCategory: () => 'Standard',
    PricingQuantity: (line) => line.quantity,
    PricingUnit: unit,
    ProviderName: (line) => line.provider,
    PublisherName: (line) => line.provider,
    RegionId: nothing,
    RegionName: nothing,
    ResourceId: (line) => line.application.id,
    ResourceName: (line) => line.application.name,
    ResourceType: () => 'Application',
    ServiceCategory: () => 'AI and Machine Learning',
    ServiceName: (line) => line.model,
    ServiceSubcategory: () => 'Generative AI',
    SkuId: (line) => `${line.provider}/${line.model}`,
    SkuMeter: (line) => line.type,
    SkuPriceId: (line) => `${line.provider}/${line.model}:${line.type}`,
    SubAccountId: (line) => line.application.id,
    SubAccountName: (line) => line.application.name,
    SubAccountType: () => 'Application',
    Tags: () => '{}',
    x_TokenType: (line) => line.type,
  }
}

/** What is counted one by one; all else are tokens. */
const CALLS: ReadonlyMap<string, string> = new Map([
  ['web_search', 'Searches'],
  ['web_searches', 'Searches'],
  ['request', 'Requests'],
  ['image', 'Images'],
])

function unitOf(type: string): string {
  return CALLS.get(type) ?? 'Tokens'
}
