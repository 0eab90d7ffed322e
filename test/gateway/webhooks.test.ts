import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { openMailServer } from '../stand-ins/smtp.ts'
import type { MailServer } from '../stand-ins/smtp.ts'
import { ask, newTenant } from './people.ts'

let gateway: TestGateway
let receiver: Server
let mails: MailServer
let url: string
const got: { readonly signature: string; readonly body: { readonly type: string } }[] = []

beforeAll(async () => {
  receiver = createServer(async (req, res) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk)
    const body = JSON.parse(Buffer.concat(chunks).toString())
    got.push({ signature: String(req.headers['webhook-signature']), body })
    res.end()
  })
  receiver.listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`
  mails = await openMailServer()
  gateway = await openGateway({
    webhook_private_networks: 'true',
    smtp_url: `smtp://robot:p%40ss@127.0.0.1:${mails.port}`,
    mail_from: 'tollgate@example.com',
  })
})
afterAll(async () => {
  await gateway.close()
  receiver.close()
  mails.close()
})

const PATH = '/admin/v1/webhooks'

async function make(fields: object = {}) {
  const { status, body } = await gateway.admin('POST', PATH, {
    name: 'ops',
    url,
    allow_private_network: true,
    ...fields,
  })
  expect(status, JSON.stringify(body)).toBe(201)
  return body
}

async function over(path: string) {
  for (let tries = 0; ; tries++) {
    const { body } = await gateway.admin('GET', `${path}/deliveries`)
    const [last] = body.data
    if (last?.attempts > 0 && (last.status !== 'pending' || last.error !== null)) return last
    if (tries === 80) return last
    await sleep(100)
  }
}

it('a test goes to its webhook alone, whatever that wants and whatever is muted', async () => {
  const one = await make({ types: ['traffic.unpriced'] })
  const other = await make()
  await gateway.admin('POST', '/admin/v1/alerts/webhook.test/mute', {})
  const tested = await gateway.admin('POST', `${PATH}/${one.id}/test`)
  expect(tested.status).toBe(202)
  expect(await over(`${PATH}/${one.id}`)).toMatchObject({ id: tested.body.id, status: 'delivered' })
  expect(got.at(-1)?.body).toMatchObject({
    type: 'webhook.test',
    data: { webhook: { id: one.id } },
  })
  const { body } = await gateway.admin('GET', `${PATH}/${other.id}/deliveries`)
  expect(body.data).toEqual([])
  await gateway.admin('POST', '/admin/v1/alerts/webhook.test/unmute', {})

  const path = `${PATH}/${one.id}`
  const again = await gateway.admin('POST', `${path}/deliveries/${tested.body.id}/resend`)
  expect(again.body).toMatchObject({ event_id: tested.body.event_id, status: 'pending' })
  const first = await gateway.admin('GET', `${path}/deliveries?limit=1`)
  expect(first.body).toMatchObject({ has_more: true, data: [{ id: again.body.id }] })
  const next = await gateway.admin('GET', `${path}/deliveries?limit=1&after=${again.body.id}`)
  expect(next.body).toMatchObject({ has_more: false, data: [{ id: tested.body.id }] })
})

it('a change needs the version it was made from; a disabled one is sent nothing', async () => {
  const { id } = await make()
  const path = `${PATH}/${id}`
  const change = (version: string, body: object, method = 'PATCH') =>
    ask(gateway, gateway.adminKey, method, path, method === 'DELETE' ? undefined : body, {
      'if-match': version,
    })
  const named = await change('"1"', { name: 'renamed', types: ['key.expiring'] })
  expect([named.status, named.body.name, named.headers.get('etag')]).toEqual([
    200,
    'renamed',
    '"2"',
  ])
  expect(named.body.url).toBe(url)
  const stale = await change('"1"', { name: 'lost' })
  expect([stale.status, stale.body.error.code]).toEqual([412, 'stale_version'])
  expect((await change('"1"', {}, 'DELETE')).status).toBe(412)
  for (const bad of [{ types: ['nothing'] }, { types: [] }, { secret: 'x' }, { url: 'ftp://a' }]) {
    expect((await change('"2"', bad)).status, JSON.stringify(bad)).toBe(400)
  }

  const sent = await gateway.admin('POST', `${path}/test`)
  await over(path)
  await change('"2"', { status: 'disabled' })
  const resend = `${path}/deliveries/${sent.body.id}/resend`
  for (const refused of [`${path}/test`, resend]) {
    const { status, body } = await gateway.admin('POST', refused)
    expect([status, body.error.code]).toEqual([409, 'conflict'])
    expect(body.error.message).toContain('"active"')
  }
  await change('"3"', { status: 'active' })
  expect((await gateway.admin('POST', resend)).status).toBe(202)
  expect((await change('"4"', {}, 'DELETE')).status).toBe(200)
  expect((await gateway.admin('GET', path)).status).toBe(404)
  expect((await gateway.admin('GET', `${path}/deliveries`)).status).toBe(404)
})

it('a rolled secret signs beside the old one, or instead of it', async () => {
  const { id, secret } = await make()
  const path = `${PATH}/${id}`
  for (const [overlap, signatures] of [
    [3600, 2],
    [0, 1],
  ] as const) {
    const rolled = await gateway.admin('POST', `${path}/secret/roll`, { overlap_seconds: overlap })
    expect(rolled.status).toBe(201)
    expect(rolled.body.secret).not.toBe(secret)
    const before = got.length
    await gateway.admin('POST', `${path}/test`)
    await expect.poll(() => got.length, { timeout: 5000 }).toBeGreaterThan(before)
    expect(got.at(-1)!.signature.split(' ')).toHaveLength(signatures)
  }
})

it('another tenant finds none of them', async () => {
  const { id } = await make()
  await gateway.admin('POST', `${PATH}/${id}/test`)
  const { id: delivery } = await over(`${PATH}/${id}`)
  const tenant = await newTenant(gateway, 'other')
  const foreign = (method: string, path: string, body?: object) =>
    gateway.admin(method, `${path}?tenant=${tenant}`, body)
  for (const [method, end, body] of [
    ['GET', ''],
    ['PATCH', '', { name: 'mine' }],
    ['DELETE', ''],
    ['POST', '/test'],
    ['GET', '/deliveries'],
    ['POST', `/deliveries/${delivery}/resend`],
    ['POST', '/secret/roll', {}],
  ] as const) {
    const [known, unknown] = await Promise.all(
      [id, 'whk_000000000000000000'].map((one) => foreign(method, `${PATH}/${one}${end}`, body)),
    )
    expect(known!.status, `${method} ${end}`).toBe(404)
    expect(known!.body.error.code).toBe(unknown!.body.error.code)
    expect(known!.body.error.message).toBe(
      unknown!.body.error.message.replace('whk_000000000000000000', id),
    )
  }
  expect((await foreign('GET', PATH)).body.data).toEqual([])
  expect((await foreign('GET', '/admin/v1/alerts/-/events')).body.data).toEqual([])
  await foreign('POST', '/admin/v1/alerts/key.expiring/mute', {})
  const { body: mine } = await gateway.admin('GET', '/admin/v1/alerts')
  expect(mine.data.find((one: { id: string }) => one.id === 'key.expiring').muted).toBe(false)
})

it('what is muted for one subject is told of for others', async () => {
  const alert = '/admin/v1/alerts/traffic.unpriced'
  const muted = await gateway.admin('POST', `${alert}/mute`, { subject: 'model:a/b' })
  expect(muted.body).toMatchObject({
    muted: false,
    muted_subjects: [{ subject: 'model:a/b', until: null }],
  })
  const past = await gateway.admin('POST', `${alert}/mute`, { until: '2020-01-01T00:00:00Z' })
  expect([past.status, past.body.error.param]).toEqual([400, 'until'])
  const undone = await gateway.admin('POST', `${alert}/unmute`, { subject: 'model:a/b' })
  expect(undone.body.muted_subjects).toEqual([])
})

it('mail goes through the same log, and is tried again', async () => {
  const made = await make({ url: 'mailto:ops@example.com', allow_private_network: false })
  expect(made.secret).toBeNull()
  mails.answers.push('451 later')
  await gateway.admin('POST', `${PATH}/${made.id}/test`)
  expect(await over(`${PATH}/${made.id}`)).toMatchObject({
    status: 'pending',
    attempts: 1,
    response_status: 451,
    error: 'The mail server answered 451',
  })
  await gateway.admin('POST', `${PATH}/${made.id}/test`)
  expect(await over(`${PATH}/${made.id}`)).toMatchObject({ status: 'delivered' })
  const [mail] = mails.got
  expect(mail).toMatchObject({ to: '<ops@example.com>', user: 'robot p@ss' })
  expect(mail!.text).toContain('Subject: Tollgate: webhook.test')
  expect(mail!.text).toMatch(/Message-ID: <evt_\w+@tollgate>/)
  expect((await gateway.admin('POST', `${PATH}/${made.id}/secret/roll`, {})).status).toBe(409)
  for (const bad of ['mailto:', 'mailto:a@b.c,d@e.f', 'mailto:a@b.c?bcc=d@e.f', 'mailto:a b@c.d']) {
    const { status } = await gateway.admin('POST', PATH, { name: 'bad', url: bad })
    expect(status, bad).toBe(400)
  }
})
