import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Key } from '#protocol'
import {
  changedKeysSince,
  findKeyByPrefix,
  getKey,
  insertKey,
  listKeys,
  revokeKeys,
  rollKey,
  selectKeys,
  setLimits,
  updateKey,
} from '../../src/store/keys.ts'
import type { KeySelection } from '../../src/store/keys.ts'
import { claimMeta, findMeta } from '../../src/store/meta.ts'
import type { Store } from '../../src/store/open.ts'
import { ensureDefaults } from '../../src/store/tenants.ts'
import { onEachDatabase, open } from './databases.ts'
import { sampleKey } from './samples.ts'

const TENANT = 'tenant_default'
const FULL: Partial<Key> = {
  expiresAt: 1_800_000_000_000,
  models: ['openai/*', 'fast'],
  endpoints: ['/v1/embeddings'],
  addresses: ['10.0.0.0/8', '::1/128'],
  limits: {
    requestsPerMinute: 60,
    budgets: [{ window: 'month', limit: 9_007_199_254_740_993n }],
  },
  strict: true,
}

onEachDatabase((database) => {
  let store: Store
  beforeAll(async () => {
    store = await open(await database.fresh())
    await ensureDefaults(store.db, 1)
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    await store.db.deleteFrom('keys').execute()
  })

  describe('keys', () => {
    it.each([
      ['with every property', sampleKey(1, FULL)],
      ['with none of the optional ones', sampleKey(1)],
    ])('come back %s, with their digest', async (_, key) => {
      const digest = Uint8Array.from({ length: 32 }, (_value, index) => index * 8)
      await insertKey(store.db, { key, digest })

      const revision = expect.any(Number)
      expect(await findKeyByPrefix(store.db, key.prefix)).toEqual({
        key: { ...key, revision },
        digest,
      })
      expect(await getKey(store.db, TENANT, key.id)).toEqual({ ...key, revision })
    })

    it('are not found where there are none, or for another tenant', async () => {
      await insert(sampleKey(1))

      expect(await findKeyByPrefix(store.db, 'sk-tg-live-none')).toBeUndefined()
      expect(await getKey(store.db, 'tenant_b', 'key_0001')).toBeUndefined()
      expect(await updateKey(store.db, 'tenant_b', 'key_0001', { name: 'x' })).toBeUndefined()
    })

    it.each([
      ['id', { prefix: 'sk-tg-live-other' }],
      ['prefix', { id: 'key_other' }],
    ])('with the same %s are refused', async (_, other) => {
      await insert(sampleKey(1))

      await expect(insert(sampleKey(1, other))).rejects.toMatchObject({ code: 'conflict' })
    })

    it('are listed newest first, page by page, each once', async () => {
      for (const number of [1, 2, 3, 4, 5]) {
        await insert(sampleKey(number, { createdAt: number < 4 ? 7 : 8 }))
      }
      const seen: string[][] = []
      for (let after: string | undefined; ;) {
        const page = await listKeys(store.db, TENANT, { limit: 2, now: 0, ...(after && { after }) })
        seen.push(page.keys.map(({ last4 }) => last4))
        after = page.keys.at(-1)?.id
        if (!page.hasMore) break
      }

      expect(seen).toEqual([['0005', '0004'], ['0003', '0002'], ['0001']])
    })

    it('are listed by status and application', async () => {
      await insert(sampleKey(1))
      await insert(sampleKey(2, { status: 'disabled' }))
      expect(await list({ status: 'disabled' })).toEqual(['key_0002'])
      expect(await list({ applicationId: 'app_default' })).toEqual(['key_0002', 'key_0001'])
      expect(await list({ applicationId: 'app_other' })).toEqual([])
    })

    it('are active until the moment at which they expire', async () => {
      await insert(sampleKey(1))
      await insert(sampleKey(2, { expiresAt: 1000 }))
      await insert(sampleKey(3, { expiresAt: 1000, status: 'revoked' }))
      expect(await list({ status: 'active', now: 999 })).toEqual(['key_0002', 'key_0001'])
      expect(await list({ status: 'expired', now: 999 })).toEqual([])
      expect(await list({ status: 'active', now: 1000 })).toEqual(['key_0001'])
      expect(await list({ status: 'expired', now: 1000 })).toEqual(['key_0002'])
    })

    it('are not listed after a cursor that names none', async () => {
      const page = { limit: 2, after: 'key_9999', now: 0 }

      await expect(listKeys(store.db, TENANT, page)).rejects.toMatchObject({ param: 'after' })
    })

    it('change what is said and keep the rest', async () => {
      await insert(sampleKey(1, FULL))
      await updateKey(store.db, TENANT, 'key_0001', { status: 'disabled', statusReason: 'lost' })
      const changed = await updateKey(store.db, TENANT, 'key_0001', { expiresAt: null })
      const { expiresAt: _, ...expected } = sampleKey(1, {
        ...FULL,
        status: 'disabled',
        statusReason: 'lost',
      })

      expect(changed).toEqual({ ...expected, revision: expect.any(Number) })
    })

    it('stay revoked', async () => {
      await insert(sampleKey(1))
      await updateKey(store.db, TENANT, 'key_0001', { status: 'revoked' })

      const again = updateKey(store.db, TENANT, 'key_0001', { status: 'active' })

      await expect(again).rejects.toMatchObject({ code: 'conflict' })
    })

    it('are rolled once: the successor comes as the old one gets its end', async () => {
      await insert(sampleKey(1))
      const roll = (number: number) => {
        const key = sampleKey(number, { rootId: 'key_0001' })
        return rollKey(store.db, TENANT, 'key_0001', () => ({
          record: { key, digest: new Uint8Array(32) },
          endsAt: 5000,
        }))
      }

      expect(await roll(2)).toMatchObject({
        ended: { successorId: 'key_0002', expiresAt: 5000 },
        successor: { id: 'key_0002', rootId: 'key_0001' },
      })
      await expect(roll(3)).rejects.toMatchObject({ code: 'conflict' })
      expect(await getKey(store.db, TENANT, 'key_0003')).toBeUndefined()
    })

    it('of a line have the same limits', async () => {
      await insert(sampleKey(1))
      await insert(sampleKey(2, { rootId: 'key_0001' }))
      await insert(sampleKey(3, { rootId: 'key_0001', status: 'revoked' }))
      await insert(sampleKey(4))

      const changed = await setLimits(store.db, TENANT, 'key_0001', { concurrency: 3 })

      expect(changed.map(({ id }) => id).toSorted()).toEqual(['key_0001', 'key_0002'])
      expect((await getKey(store.db, TENANT, 'key_0002'))?.limits).toEqual({ concurrency: 3 })
      expect((await getKey(store.db, TENANT, 'key_0004'))?.limits).toEqual({})
      expect(await setLimits(store.db, 'tenant_b', 'key_0001', {})).toEqual([])
    })

    it('are revoked by what they have in common, once, and only of the tenant', async () => {
      await insert(sampleKey(1))
      await insert(sampleKey(2, { prefix: 'sk-tg-test-0002', userId: 'user_1' }))
      await insert(sampleKey(3, { prefix: 'sk-tg-test-0003' }))
      await insert(sampleKey(4, { prefix: 'sk-tg-test-0004', status: 'revoked' }))
      const select = async (selection: KeySelection, tenant = TENANT) =>
        (await selectKeys(store.db, tenant, selection, 9)).keys.map(({ id }) => id)

      expect(await select({ prefix: 'sk-tg-test-' })).toEqual(['key_0002', 'key_0003'])
      expect(await select({ prefix: 'sk-tg-test-' }, 'tenant_b')).toEqual([])
      expect(await select({ prefix: 'sk-tg-test-0003' })).toEqual(['key_0003'])
      expect(await select({ userId: 'user_1' })).toEqual(['key_0002'])
      const { createdAt } = sampleKey(2)
      expect(await select({ createdFrom: createdAt })).toEqual(['key_0002', 'key_0003'])
      expect(await select({ createdTo: createdAt })).toEqual(['key_0001'])
      expect((await selectKeys(store.db, TENANT, {}, 1)).count).toBe(3)
      const ids = ['key_0002', 'key_0004', 'key_9999']
      const revoked = await revokeKeys(store.db, TENANT, ids, 'lost laptop')
      expect(revoked).toMatchObject([{ id: 'key_0002', statusReason: 'lost laptop' }])
      expect(await revokeKeys(store.db, 'tenant_b', ['key_0001'], undefined)).toEqual([])
    })

    it('tell what changed since, in the order of the changes', async () => {
      const { revision } = await changedKeysSince(store.db, 0n)
      await insert(sampleKey(1))
      await insert(sampleKey(2))
      await updateKey(store.db, TENANT, 'key_0001', { name: 'new' })

      const changes = await changedKeysSince(store.db, revision)

      expect(changes.keys.map(({ key }) => key.id)).toEqual(['key_0002', 'key_0001'])
      expect((await changedKeysSince(store.db, changes.revision)).keys).toEqual([])
    })

    it('never show a change late, however many change at once', async () => {
      for (let number = 1; number <= 20; number++) await insert(sampleKey(number))
      let { revision } = await changedKeysSince(store.db, 0n)
      const seen: string[] = []
      const look = async () => {
        const changes = await changedKeysSince(store.db, revision)
        seen.push(...changes.keys.map(({ key }) => key.id))
        revision = changes.revision
      }
      const ids = Array.from({ length: 20 }, (_, index) => sampleKey(index + 1).id)
      const updates = ids.map((id) => updateKey(store.db, TENANT, id, { name: 'new' }))
      const all = Promise.all(updates)
      for (let round = 0; round < 10; round++) await look()
      await all
      await look()

      expect(seen.toSorted()).toEqual(ids)
    })
  })

  describe('the first start', () => {
    it('makes the default tenant and application, and later ones find them', async () => {
      const again = await ensureDefaults(store.db, 2)

      expect(again).toMatchObject({
        tenant: { id: TENANT, name: 'default', createdAt: 1 },
        application: { id: 'app_default', tenantId: TENANT, name: 'default', createdAt: 1 },
      })
    })

    it('claims a fact for whoever comes first', async () => {
      expect(await findMeta(store.db, 'check')).toBeUndefined()
      expect(await claimMeta(store.db, 'check', 'a')).toBe('a')
      expect(await claimMeta(store.db, 'check', 'b')).toBe('a')
    })
  })

  async function list(filter: {
    status?: Key['status'] | 'expired'
    applicationId?: string
    now?: number
  }) {
    const { keys } = await listKeys(store.db, TENANT, { limit: 9, now: 0, ...filter })
    return keys.map(({ id }) => id)
  }

  async function insert(key: Key): Promise<void> {
    await insertKey(store.db, { key, digest: new Uint8Array(32) })
  }
})
