import { describe, expect, it } from 'vitest'
import { formatUsd, parseUsd } from '../../src/metering/money.ts'
import { readCsv } from '../../src/reports/csv.ts'
import { statementCsv, statementFocus } from '../../src/reports/statement.ts'
import type { Statement } from '../../src/reports/statement.ts'

const STATEMENT: Statement = {
  tenant: { id: 'tenant_a', name: 'Acme, Inc.' },
  currency: 'EUR',
  month: '2026-11',
  start: Date.UTC(2026, 10, 1),
  end: Date.UTC(2026, 11, 1),
  timeZone: 'UTC',
  asOf: Date.UTC(2026, 11, 2),
  lines: [
    { type: 'input', quantity: 1000, cost: 250_000n },
    { type: 'output', quantity: 200, cost: 400_001n },
    { type: 'web_search', quantity: 3, cost: 30_000_000n },
  ].map((line) => ({
    ...line,
    application: { id: 'app_1', name: '=web' },
    provider: 'openai',
    model: 'gpt-5-mini',
  })),
  total: 30_650_001n,
  requests: 12,
  unpriced: 0,
  estimated: 1,
}

describe('a statement', () => {
  it('as CSV ends with the total, which is the sum of its lines to the nano-dollar', () => {
    const rows = readCsv(statementCsv(STATEMENT, formatUsd))
    const costs = rows.map((row) => parseUsd(row['cost']!))
    expect(costs.at(-1)).toBe(STATEMENT.total)
    expect(costs.slice(0, -1).reduce((a, b) => a + b)).toBe(STATEMENT.total)
    expect(rows[0]).toMatchObject({ tenant: 'Acme, Inc.', application: "'=web", currency: 'EUR' })
  })

  it('as FOCUS has a line of usage for each of its own, and the columns that may not be empty', () => {
    const rows = readCsv(statementFocus(STATEMENT, formatUsd))
    expect(rows).toHaveLength(3)
    expect(rows.map((row) => parseUsd(row['BilledCost']!)).reduce((a, b) => a + b)).toBe(
      STATEMENT.total,
    )
    for (const row of rows) {
      for (const column of MANDATORY) expect(row[column], column).not.toBe('')
    }
    expect(rows.map((row) => row['ConsumedUnit'])).toEqual(['Tokens', 'Tokens', 'Searches'])
  })
})

/** Columns of FOCUS 1.2 in which null is not allowed. */
const MANDATORY = [
  'BilledCost',
  'BillingAccountId',
  'BillingAccountType',
  'BillingCurrency',
  'BillingPeriodEnd',
  'BillingPeriodStart',
  'ChargeCategory',
  'ChargePeriodEnd',
  'ChargePeriodStart',
  'ContractedCost',
  'EffectiveCost',
  'InvoiceIssuerName',
  'ListCost',
  'ProviderName',
  'PublisherName',
  'ServiceCategory',
  'ServiceName',
  'ServiceSubcategory',
]
