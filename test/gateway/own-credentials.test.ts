import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { GatewayExtras, TestGateway } from '../gateway.ts'
import { HELLO, call } from './caller.ts'
import { answers, openProvider } from './provider.ts'
import type { Provider } from './provider.ts'

const OWN = 'sk-the-tenants-own-secret-1234'
const CREDENTIAL = '/admin/v1/providers/stand/credential'

let stack = new AsyncDisposableStack()
afterEach(async () => {
  await stack.disposeAsync()
  stack = new AsyncDisposableStack()
})

async function openStand(): Promise<Provider> {
  const provider = await openProvider(answers())
  stack.defer(() => provider.close())
  return provider
}

async function open(
  provider: Provider,
  settings: object = {},
  extras: GatewayExtras = {},
): Promise<TestGateway> {
  const stand = {
    kind: 'openai',
    api_key: 'sk-of-the-operator',
    base_url: provider.baseUrl,
    allow_private_network: true,
    prices: { '*': { input: '1', output: '2' } },
  }
  return openGateway({ ...settings, providers: { stand } }, extras)
}

/** The credential the provider gets, and what the ledger says of it. */
async function used(gateway: TestGateway, provider: Provider, key: string) {
  const { status, requestId } = await call(
    gateway.dataUrl,
    { model: 'stand/m1', messages: HELLO, max_tokens: 5 },
    { key },
  )
  expect(status).toBe(200)
  const [entry] = await gateway.entries(requestId)
  return {
    sent: provider.received.at(-1)?.headers.authorization,
    entry: entry as unknown as { readonly credential_id?: string | null },
  }
}

describe("a tenant's own credential", () => {
  it("takes the place of the operator's at once, and gives it back", async () => {
    const provider = await openStand()
    const gateway = await open(provider)
    stack.defer(() => gateway.close())
    expect((await used(gateway, provider, gateway.key)).sent).toBe('Bearer sk-of-the-operator')

    const set = await gateway.admin('PUT', CREDENTIAL, { secret: OWN })
    expect(set).toMatchObject({ status: 200, body: { provider: 'stand', last4: '1234' } })
    expect(JSON.stringify(set.body)).not.toContain(OWN)
    expect((await used(gateway, provider, gateway.key)).sent).toBe(`Bearer ${OWN}`)
    const { body } = await gateway.admin('GET', '/admin/v1/credentials')
    expect(body.data).toEqual([set.body])

    expect((await gateway.admin('DELETE', CREDENTIAL)).status).toBe(200)
    expect((await used(gateway, provider, gateway.key)).sent).toBe('Bearer sk-of-the-operator')
    expect((await gateway.admin('DELETE', CREDENTIAL)).status).toBe(404)
  })

  it('is nowhere on the disk, and lasts over a restart, a new data key and a new master key', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'tollgate-'))
    stack.defer(() => rmSync(dataDir, { recursive: true, force: true }))
    const provider = await openStand()
    const before = 'the-first-master-key-of-32-letters-'
    const first = await open(provider, { master_key: before }, { dataDir })
    const { key } = first
    await first.admin('PUT', CREDENTIAL, { secret: OWN })
    const rekeyed = await first.admin('POST', '/admin/v1/credentials/rekey')
    expect(rekeyed.body).toMatchObject({ credentials: 1 })
    expect((await used(first, provider, key)).sent).toBe(`Bearer ${OWN}`)
    await first.close()
    for (const name of readdirSync(dataDir)) {
      expect(readFileSync(join(dataDir, name)).includes(OWN), name).toBe(false)
    }

    const master_key = 'the-second-master-key-of-32-letters'
    await expect(open(provider, { master_key }, { dataDir })).rejects.toThrow(/previous/i)
    const second = await open(provider, { master_key, previous_master_key: before }, { dataDir })
    expect((await used(second, provider, key)).sent).toBe(`Bearer ${OWN}`)
    await second.close()
    const third = await open(provider, { master_key }, { dataDir })
    stack.defer(() => third.close())
    expect((await used(third, provider, key)).sent).toBe(`Bearer ${OWN}`)
    await expect(open(provider, { master_key: before }, { dataDir })).rejects.toThrow()
  })

  it('is for a provider that is there, and of printable characters', async () => {
    const gateway = await open(await openStand())
    stack.defer(() => gateway.close())
    const wrong = await gateway.admin('PUT', '/admin/v1/providers/stant/credential', {
      secret: OWN,
    })
    expect(wrong).toMatchObject({ status: 404, body: { error: { code: 'not_found' } } })
    expect(wrong.body.error.message).toContain('did you mean stand?')
    for (const secret of ['', 'two words', 'line\nbreak', 'x'.repeat(4097), 7]) {
      expect((await gateway.admin('PUT', CREDENTIAL, { secret })).status).toBe(400)
    }
  })
})
