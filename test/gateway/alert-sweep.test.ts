import { expect, it } from 'vitest'
import type { AlertEvent } from '../../src/alerts/budgets.ts'
import type { ForecastBudget } from '../../src/control/analysis.ts'
import { sweep } from '../../src/gateway/alert-sweep.ts'
import { addDelivery, recordEvent } from '../../src/store/alerts.ts'
import { insertKey } from '../../src/store/keys.ts'
import { ensureDefaults } from '../../src/store/tenants.ts'
import type { Database } from '../../src/store/schema.ts'
import { listDeliveries } from '../../src/store/webhooks.ts'
import { onEachDatabase, open } from '../store/databases.ts'

const NOW = Date.parse('2026-11-24T12:00:00Z')
const DAY = 86_400_000

/** A dollar a day, the 24th of a month of 30 days. */
const STEADY: ForecastBudget = {
  scope: { kind: 'application', id: 'app_1', name: 'shop' },
  window: 'month',
  end: NOW + 6.5 * DAY,
  input: {
    history: Array.from({ length: 23 }, (_, index) => ({
      day: `2026-11-${String(index + 1).padStart(2, '0')}`,
      weekday: (index % 7) + 1,
      cost: index % 2 === 0 ? 900_000_000n : 1_100_000_000n,
    })),
    spent: 23_500_000_000n,
    comingWeekdays: [3, 4, 5, 6, 7, 1],
    restOfToday: 0.5,
    todayWeekday: 2,
    limit: 27_000_000_000n,
  },
}

onEachDatabase((database) => {
  it('keys are told of a week and a day before they end, once each', async () => {
    const store = await open(await database.fresh())
    const { tenant, application } = await ensureDefaults(store.db, NOW)
    const key = (id: string, changes: object) =>
      insertKey(store.db, {
        digest: new Uint8Array(32),
        key: {
          id,
          tenantId: tenant.id,
          applicationId: application.id,
          rootId: id,
          tags: [],
          name: id,
          prefix: `sk-tg-live-${id}`,
          last4: 'abcd',
          status: 'active',
          createdAt: NOW - 60 * DAY,
          models: ['*'],
          endpoints: ['*'],
          addresses: [],
          limits: {},
          strict: false,
          ...changes,
        },
      })
    await key('key_far', { expiresAt: NOW + 8 * DAY })
    await key('key_week', { expiresAt: NOW + 6 * DAY })
    await key('key_day', { expiresAt: NOW + DAY / 2 })
    await key('key_over', { expiresAt: NOW - DAY })
    await key('key_short', { expiresAt: NOW + DAY / 2, createdAt: NOW })
    await key('key_rolled', { expiresAt: NOW + DAY / 2, successorId: 'key_far' })
    await key('key_revoked', { expiresAt: NOW + DAY / 2, status: 'revoked' })
    const told = await swept(store.db, NOW)
    expect(told.map(({ subject, data }) => [subject, data.days_left])).toEqual([
      ['key:key_day', 1],
      ['key:key_week', 7],
    ])
    const later = (await swept(store.db, NOW + 5.5 * DAY)).map(({ once }) => once)
    expect(later).toEqual([
      expect.stringMatching(/key_far\|\d+\|7$/),
      expect.stringMatching(/key_week\|\d+\|1$/),
    ])
    await store.close()
  })

  it('deliveries are kept for 30 days, their events for good', async () => {
    const store = await open(await database.fresh())
    const event = { type: 'webhook.test', tenantId: 'tenant_1', once: '1', subject: 'x', data: {} }
    await recordEvent(store.db, event, NOW - 40 * DAY)
    const { id } = await store.db.selectFrom('alert_events').select('id').executeTakeFirstOrThrow()
    for (let count = 0; count < 450; count++) {
      await addDelivery(store.db, 'tenant_1', 'whk_1', id, NOW - 31 * DAY)
    }
    await store.db.updateTable('deliveries').set({ status: 'failed', next_at: null }).execute()
    const late = await addDelivery(store.db, 'tenant_1', 'whk_1', id, NOW - 31 * DAY)
    await swept(store.db, NOW)
    const { deliveries } = await listDeliveries(store.db, 'tenant_1', 'whk_1', { limit: 100 })
    expect(deliveries.map((one) => one.id)).toEqual([late])
    expect(await recordEvent(store.db, event, NOW)).toBe(false)
    await store.close()
  })

  it.each([
    ['will not last', {}, 1],
    ['will last', { limit: 40_000_000_000n }, 0],
    ['is spent already', { limit: 20_000_000_000n }, 0],
    ['has too short a past', { history: STEADY.input.history.slice(-2) }, 0],
  ])('a budget that %s is told of so many times', async (_, input, count) => {
    const store = await open(await database.fresh())
    const told = await swept(store.db, NOW, [{ ...STEADY, input: { ...STEADY.input, ...input } }])
    expect(told).toHaveLength(count)
    for (const { type, data } of told) {
      expect(type).toBe('budget.forecast_exceeds')
      expect(data).toMatchObject({ limit: '27', spent: '23.5', exceeded_at: expect.any(String) })
      expect(data.chance_to_exceed).toBeGreaterThanOrEqual(0.8)
    }
    await store.close()
  })
})

/** What a sweep tells, by the order of its saying. */
async function swept(
  db: Database,
  at: number,
  forecasts: readonly ForecastBudget[] = [],
): Promise<readonly AlertEvent[]> {
  const told: AlertEvent[] = []
  await sweep({
    db,
    peek: () => [],
    tenantIds: () => ['tenant_1'],
    limitTree: { all: () => [], scopesOfKey: () => [] },
    forecasts: async () => forecasts,
    operatorId: 'tenant_1',
    now: () => at,
    raise: (event) => void told.push(event),
  })
  return told
}
