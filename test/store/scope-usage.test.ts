import { afterEach, describe, expect, it } from 'vitest'
import type { Entry, Scope, ScopeKind } from '#protocol'
import { inputTokens, outputTokens } from '#protocol'
import type { Store } from '../../src/store/open.ts'
import { usedSince } from '../../src/store/scope-usage.ts'
import { ensureDefaults } from '../../src/store/tenants.ts'
import { dice } from '../gateway/dice.ts'
import { onEachDatabase, open } from './databases.ts'
import { sampleEntry } from './samples.ts'

const TENANT = 'tenant_default'
const NOON = Date.UTC(2026, 10, 23, 12)
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

const SCOPES: readonly [ScopeKind, id: string, isOf: (entry: Entry) => boolean][] = [
  ['platform', 'platform', () => true],
  ['tenant', TENANT, () => true],
  ['application', 'app_default', () => true],
  ['key', 'key_1', ({ keyId }) => keyId === 'key_1'],
  ['end_user', `${TENANT}/a/b`, ({ endUser }) => endUser === 'a/b'],
  ['service', `${TENANT}/fast`, ({ modelAsked }) => modelAsked === 'fast'],
  ['service', `${TENANT}/prm_1`, ({ promptId }) => promptId === 'prm_1'],
  ['tag', `${TENANT}/red`, ({ tags }) => tags?.includes('red') === true],
  ['tag', `${TENANT}/never`, () => false],
  ['end_user', 'tenant_other/a/b', () => false],
]

onEachDatabase((database) => {
  const opened: Store[] = []
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()))
  })

  describe('what a scope has used', () => {
    it('is the sum of its entries, of every kind, from any moment on', async () => {
      const store = await open(await database.fresh())
      opened.push(store)
      await ensureDefaults(store.db, 1)
      const random = dice(7)
      const entries = Array.from({ length: 400 }, (_, number) =>
        sampleEntry(number, {
          admittedAt: NOON - random.below(70 * DAY_MS),
          cost: BigInt(1 + random.below(1_000_000)),
          endUser: random.chance(0.5) ? 'a/b' : 'eve',
          modelAsked: random.chance(0.5) ? 'fast' : 'gpt-5',
          model: random.chance(0.5) ? 'gpt-5' : 'gpt-5-mini',
          ...(random.chance(0.3) && { promptId: 'prm_1' }),
          ...(random.chance(0.6) && { tags: random.chance(0.5) ? ['blue', 'red'] : ['blue'] }),
        }),
      )
      await Promise.all(entries.map((entry) => store.record(entry)))
      const moments = [0, NOON - 45 * DAY_MS + 1, NOON - 9 * DAY_MS, NOON - 90_000, NOON + DAY_MS]
      for (const since of [...moments, NOON - 12 * HOUR_MS]) {
        for (const [kind, id, isOf] of SCOPES) {
          const own = entries.filter((entry) => isOf(entry) && entry.admittedAt >= since)
          expect(await usedSince(store.db, { kind, id }, since), `${kind} ${id}`).toEqual(sum(own))
          const counts: Scope['counts'] = ({ name }) => name === 'openai/gpt-5'
          expect(
            await usedSince(store.db, { kind, id, counts }, since),
            `${kind} ${id} of a model`,
          ).toEqual(sum(own.filter(({ model }) => model === 'gpt-5')))
        }
      }
    })
  })
})

function sum(entries: readonly Entry[]) {
  const all = { requests: entries.length, input: 0, output: 0, cost: 0n }
  for (const { usage, cost = 0n } of entries) {
    all.input += inputTokens(usage)
    all.output += outputTokens(usage)
    all.cost += cost
  }
  return all
}
