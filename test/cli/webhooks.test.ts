import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { atTerminal } from './tollgate.ts'

let gateway: TestGateway
let receiver: Server
let url: string
const got: (string | undefined)[] = []

beforeAll(async () => {
  receiver = createServer((req, res) => {
    got.push(req.headers['webhook-signature']?.toString())
    req.resume()
    res.end()
  })
  receiver.listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`
  gateway = await openGateway({ webhook_private_networks: 'true' })
})
afterAll(async () => {
  await gateway.close()
  receiver.close()
})

const tollgate = (words: string) =>
  atTerminal([...words.split(' '), '--no-color'], {
    env: { TOLLGATE_URL: gateway.adminUrl, TOLLGATE_ADMIN_KEY: gateway.adminKey },
  })

describe('webhooks of the command line', () => {
  it('are created with a secret that is shown once, tested, rolled and deleted', async () => {
    const made = await tollgate(
      `webhooks create ${url} --name ops --types budget.threshold_reached --allow-private-network`,
    )
    expect([made.code, made.stderr]).toEqual([0, expect.stringContaining('shown this once')])
    expect(made.stdout).toMatch(/^whsec_[\w+/]{43}=\n$/)
    const listed = await tollgate('webhooks list')
    expect(listed.stdout).toMatch(/whk_\w+ +ops +http.*\/hook +budget.threshold_reached +active/)
    expect(listed.stdout).not.toContain('whsec_')

    expect((await tollgate(`webhooks test ${url}`)).stdout).toMatch(/^dlv_\w+\twebhook.test\tpend/)
    expect(await lastDelivery()).toMatch(/webhook.test +delivered +1 +200/)
    expect(got[0]!.split(' ')).toHaveLength(1)

    const rolled = await tollgate('webhooks secret roll ops --overlap 1h')
    expect(rolled.stdout).toMatch(/^whsec_/)
    expect(rolled.stdout).not.toBe(made.stdout)
    const [, delivery] = /(dlv_\w+)/.exec((await tollgate('webhooks deliveries list ops')).stdout)!
    const again = await tollgate(`webhooks deliveries resend ops ${delivery}`)
    expect(again.stdout).toMatch(/^dlv_\w+\twebhook.test\tpending/)
    expect(await lastDelivery()).toMatch(/delivered/)
    expect(got[1]!.split(' ')).toHaveLength(2)

    expect((await tollgate('webhooks update ops --status disabled')).stdout).toMatch(
      /status +disabled/,
    )
    const refused = await tollgate(`webhooks deliveries resend ops ${delivery}`)
    expect([refused.code, refused.stderr]).toEqual([5, expect.stringContaining('"active"')])
    expect((await tollgate('webhooks test ops')).code).toBe(5)

    expect((await tollgate('webhooks delete ops --dry-run')).stdout).toMatch(/^would DELETE/)
    expect((await tollgate('webhooks delete ops --yes')).stdout).toMatch(/^whk_\w+\n$/)
    expect((await tollgate('webhooks test ops')).code).toBe(3)
  })

  it('take no address they must not', async () => {
    const ran = await tollgate('webhooks create http://127.0.0.1:1/')
    expect([ran.code, ran.stdout]).toEqual([2, ''])
    expect(ran.stderr).toContain('https://')
    expect((await tollgate('webhooks create https://example.com --types nothing')).code).toBe(2)
    expect((await tollgate('webhooks update nobody --name x')).code).toBe(3)
  })
})

describe('alerts of the command line', () => {
  it('are muted for all subjects or one, for a while or for good', async () => {
    expect((await tollgate('alerts list')).stdout).toMatch(/traffic.unpriced +on /)
    expect((await tollgate('alerts mute traffic.unpriced')).stdout).toBe(
      'traffic.unpriced\tmuted\n',
    )
    expect((await tollgate('alerts unmute traffic.unpriced')).stdout).toMatch(/\ton\n$/)
    expect(
      (await tollgate('alerts mute traffic.unpriced --subject model:a/b --until 2h')).stdout,
    ).toMatch(/\ton, but for model:a\/b until 20\S+Z\n$/)
    expect((await tollgate('alerts mute nothing')).code).toBe(2)
  })

  it('are looked back at', async () => {
    const { stdout } = await tollgate('alerts history --type webhook.test')
    expect(stdout).toMatch(/evt_\w+ +20\S+ +webhook.test +webhook:whk_/)
    expect((await tollgate('alerts history --limit 0')).code).toBe(2)
  })
})

/** The newest, once it is over. */
async function lastDelivery(): Promise<string> {
  for (let tries = 0; ; tries++) {
    const { stdout } = await tollgate('webhooks deliveries list ops')
    const line = stdout.split('\n').find((one) => one.startsWith('dlv_')) ?? ''
    if (!line.includes('pending') || tries === 50) return line
    await sleep(100)
  }
}
