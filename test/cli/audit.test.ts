import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { atTerminal } from './tollgate.ts'

let gateway: TestGateway
let folder: string

beforeAll(async () => {
  gateway = await openGateway()
  folder = gateway.dataDir
  for (const name of ['one', 'two', 'three'])
    await gateway.admin('POST', '/admin/v1/keys', { name })
})
afterAll(() => gateway.close())

const tollgate = (words: string) =>
  atTerminal([...words.split(' '), '--no-color'], {
    env: { TOLLGATE_URL: gateway.adminUrl, TOLLGATE_ADMIN_KEY: gateway.adminKey },
  })

describe('the audit of the command line', () => {
  it('is listed, the newest first, and shown one by one', async () => {
    const { stdout } = await tollgate('audit list --action keys.* --limit 2')
    expect(stdout.match(/^audit_\d+ .*admin +keys\.create/gm)).toHaveLength(2)
    expect(stdout).toMatch(/audit_3[\s\S]*audit_2/)
    const one = await tollgate('audit get audit_2')
    expect(one.stdout).toMatch(/action +keys\.create/)
    expect(one.stdout).toContain('"name":"two"')
    expect((await tollgate('audit get audit_77')).code).toBe(3)
  })

  it('is verified by the server', async () => {
    expect(await tollgate('audit verify')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('as it was written'),
    })
  })

  it('is verified from an export alone, which names the first bad record', async () => {
    const file = `${folder}/export.ndjson`
    const { stdout } = await tollgate('audit export')
    writeFileSync(file, stdout)
    const alone = (path: string) => atTerminal(['audit', 'verify', '--file', path, '--json'], {})
    const good = await alone(file)
    expect([good.code, JSON.parse(good.stdout)]).toMatchObject([0, { ok: true, count: 3 }])
    writeFileSync(`${file}.bad`, stdout.replace('"name":"two"', '"name":"owt"'))
    const bad = await alone(`${file}.bad`)
    expect([bad.code, JSON.parse(bad.stdout)]).toMatchObject([
      7,
      { ok: false, problem: { id: 'audit_2', reason: 'content_altered' } },
    ])
    expect((await alone(`${file}.none`)).code).toBe(3)
  })

  it('is held against signed states, which tell of a tail that was cut', async () => {
    const second = await openGateway({}, { dataDir: `${folder}/second` })
    const env = { TOLLGATE_URL: second.adminUrl, TOLLGATE_ADMIN_KEY: second.adminKey }
    for (const name of ['one', 'two']) await second.admin('POST', '/admin/v1/keys', { name })
    const { stdout } = await atTerminal(['audit', 'export'], { env })
    const key = (await second.admin('GET', '/admin/v1/audit/key')).body.public_key
    await second.close()
    const states = `${folder}/second/audit.checkpoints`
    const [line = ''] = readFileSync(states, 'utf8').split('\n')
    expect(JSON.parse(line)).toMatchObject({ object: 'audit_checkpoint', count: 2 })
    const file = `${folder}/second.ndjson`
    const args = ['audit', 'verify', '--file', file, '--checkpoints', states, '--public-key', key]
    writeFileSync(file, stdout)
    expect((await atTerminal(args, {})).code).toBe(0)
    writeFileSync(file, `${stdout.split('\n')[0]}\n`)
    const cut = await atTerminal(args, {})
    expect(cut).toMatchObject({
      code: 7,
      stdout: expect.stringMatching(/first bad record +audit_2/),
    })
    writeFileSync(states, line.replace('"count":2', '"count":1'))
    const forged = await atTerminal(args, {})
    expect(forged).toMatchObject({ code: 7, stderr: expect.stringContaining('not signed') })
  })
})
