import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openTenancy } from '../../src/gateway/tenancy.ts'
import type { Store } from '../../src/store/open.ts'
import {
  changedTenancySince,
  ensureDefaults,
  findTenant,
  getApplication,
  insertApplication,
  insertTenant,
  listTenants,
  pageApplications,
  updateApplication,
  updateTenant,
} from '../../src/store/tenants.ts'
import {
  findTokenByPrefix,
  insertToken,
  insertUser,
  revokeToken,
  touchTokens,
  updateUser,
} from '../../src/store/users.ts'
import { onEachDatabase, open } from './databases.ts'

const TENANT = {
  id: 'tenant_1',
  name: 'one',
  status: 'active',
  timeZone: 'Europe/Warsaw',
  currency: 'PLN',
  weekStartsOn: 7,
  monthStartsOn: 15,
  settings: {},
  createdAt: 5,
} as const

const APPLICATION = {
  id: 'app_1',
  tenantId: 'tenant_1',
  name: 'web',
  status: 'active',
  description: 'd',
  environment: 'production',
  tags: ['a_b', 'c'],
  createdAt: 6,
} as const

const USER = {
  tenantId: 'tenant_1',
  role: 'owner',
  status: 'active',
  createdAt: 7,
} as const

onEachDatabase((database) => {
  let store: Store
  beforeAll(async () => {
    store = await open(await database.fresh())
    await ensureDefaults(store.db, 1)
  })
  afterAll(() => store.close())

  describe('tenants', () => {
    it('and their applications come back as they were', async () => {
      const tenant = await insertTenant(store.db, TENANT)
      const application = await insertApplication(store.db, APPLICATION)
      expect(await findTenant(store.db, 'one')).toEqual({ ...TENANT, revision: tenant.revision })
      expect(await getApplication(store.db, 'tenant_1', 'app_1')).toEqual(application)
      expect(await getApplication(store.db, 'tenant_default', 'app_1')).toBeUndefined()
      const { tenants } = await listTenants(store.db, { limit: 10 })
      expect(tenants.map(({ id }) => id)).toEqual(['tenant_1', 'tenant_default'])
    })

    it('are refused under a name that is taken', async () => {
      const again = insertTenant(store.db, { ...TENANT, id: 'tenant_2' })
      await expect(again).rejects.toMatchObject({ code: 'conflict' })
      const renamed = updateTenant(store.db, 'tenant_1', { name: 'default' })
      await expect(renamed).rejects.toMatchObject({ code: 'conflict' })
    })

    it.each([
      ['a_b', 1],
      ['a%b', 0],
      ['axb', 0],
      ['c', 1],
    ])('have applications found by the tag %s alone', async (tag, count) => {
      const { applications } = await pageApplications(store.db, 'tenant_1', { limit: 9, tag })
      expect(applications).toHaveLength(count)
    })

    it('are known at once, and to other processes soon', async () => {
      const archived: string[] = []
      const tenancy = await openTenancy(store.db, {
        timeZone: 'UTC',
        onArchived: ({ id }) => void archived.push(id),
      })
      const stop = tenancy.watch(pino({ level: 'silent' }))
      expect(tenancy.tenant('tenant_default')?.timeZone).toBe('UTC')
      expect(tenancy.application('app_1')).toMatchObject({ weekStartsOn: 7, currency: 'PLN' })
      await updateTenant(store.db, 'tenant_1', { currency: 'EUR' })
      await updateApplication(store.db, 'tenant_1', 'app_1', { status: 'archived' })
      await vi.waitFor(
        () => expect(tenancy.application('app_1')).toMatchObject({ currency: 'EUR' }),
        2000,
      )
      await vi.waitFor(() => expect(archived).toEqual(['app_1']), 2000)
      stop()
    })

    it('change under revisions that miss nothing', async () => {
      const { revision } = await changedTenancySince(store.db, -1n)
      const changed = await updateTenant(store.db, 'tenant_1', { currency: 'USD' })
      const { tenants } = await changedTenancySince(store.db, revision)
      expect(tenants).toEqual([changed])
    })
  })

  describe('users', () => {
    it('of an address are there once in a tenant', async () => {
      const user = { ...USER, id: 'user_1', name: 'Ada', email: 'ada@example.com' }
      await insertUser(store.db, user)
      const again = insertUser(store.db, { ...user, id: 'user_2' })
      await expect(again).rejects.toMatchObject({ code: 'conflict' })
    })

    it('who are the last owners stay so, of two who go at once', async () => {
      await insertUser(store.db, { ...USER, id: 'user_3', name: 'Bo', email: 'bo@example.com' })
      const results = await Promise.allSettled(
        ['user_1', 'user_3'].map((id) =>
          updateUser(store.db, 'tenant_1', id, { role: 'viewer' }, 'owner'),
        ),
      )
      expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    })

    it('have tokens that end for good', async () => {
      const token = {
        id: 'utok_1',
        tenantId: 'tenant_1',
        userId: 'user_1',
        name: 'laptop',
        prefix: 'sk-tg-user-12345678',
        last4: 'abcd',
        status: 'active',
        createdAt: 8,
        expiresAt: 9,
      } as const
      const digest = new Uint8Array(32).fill(7)
      await insertToken(store.db, { token, digest })
      await touchTokens(store.db, new Map([['utok_1', 10]]))
      const found = await findTokenByPrefix(store.db, token.prefix)
      expect(found).toMatchObject({ digest, token: { lastUsedAt: 10 }, user: { id: 'user_1' } })
      const revoked = await revokeToken(store.db, 'tenant_1', 'user_1', 'utok_1')
      expect(revoked?.status).toBe('revoked')
      expect(await revokeToken(store.db, 'tenant_default', 'user_1', 'utok_1')).toBeUndefined()
    })
  })
})
