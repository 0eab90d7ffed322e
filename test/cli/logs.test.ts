import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { inWords } from '../../src/cli/logs.ts'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { call, HELLO } from '../gateway/caller.ts'
import { atTerminal, tollgate as launched } from './tollgate.ts'

let gateway: TestGateway
const env = () => ({ TOLLGATE_URL: gateway.adminUrl, TOLLGATE_ADMIN_KEY: gateway.adminKey })

beforeAll(async () => {
  gateway = await openGateway()
})
afterAll(() => gateway.close())

const tollgate = (words: string) => atTerminal([...words.split(' '), '--no-color'], { env: env() })

async function chat(model: string): Promise<string> {
  const { requestId } = await call(
    gateway.dataUrl,
    { model, messages: HELLO, max_tokens: 10 },
    { key: gateway.key },
  )
  for (let tries = 0; tries < 100; tries++) {
    const { body } = await gateway.admin('GET', `/admin/v1/logs/${requestId}`)
    if (body.decision != null) break
    await sleep(20)
  }
  return requestId
}

describe('logs of the command line', () => {
  it('tell the story of a request', async () => {
    const id = await chat('simulator/echo')
    const { code, stdout } = await tollgate(`logs get ${id}`)
    expect(code).toBe(0)
    for (const part of [
      `Request ${id}  20`,
      /^Outcome: ok \(200 in [\d.]+ ms\)$/m,
      /^Who: key "\w+" \(key_\w+, ends in \w{4}\) of app_\w+, from 127.0.0.1$/m,
      'Asked: /v1/chat/completions for "simulator/echo"',
      'Targets of simulator/echo, ordered:\n  simulator/echo: answered',
      /^ {2}1\. simulator\/echo: ok, status 200, \d+ ms$/m,
      /^On the ledger:\n {2}1\. simulator\/echo [\d.]+, by /m,
      /^ {7}output +\d+ -> [\d.]+ USD$/m,
      /^Cost: [\d.]+ USD$/m,
      /^ {2}provider +[\d.]+ ms$/m,
    ]) {
      expect(stdout).toMatch(part)
    }
    expect((await tollgate('logs get req_ff')).code).toBe(3)
  })

  it('escape what would steer a terminal, or pass for lines of ours', async () => {
    const id = await chat('evil/\u001b[2J\nCost: 0 USD\u202e\u0085')
    for (const words of [`logs get ${id}`, 'logs list --code model_not_found', 'logs tail']) {
      const { stdout } = await tollgate(words)
      expect(stdout).toContain('evil/\\u001b[2J\\u000aCost: 0 USD\\u202e\\u0085')
      for (const sign of ['\u001b', '\u202e', '\u0085', '\nCost: 0 USD\\u']) {
        expect(stdout.includes(sign), JSON.stringify(sign)).toBe(false)
      }
    }
  })

  it('list those that are asked for', async () => {
    const found = await chat('simulator/echo')
    const refused = await chat('nowhere/m1')
    const { stdout } = await tollgate('logs list --status 404 --from 1h --limit 1 -q')
    expect(stdout).toBe(`${refused}\n`)
    expect((await tollgate('logs list --model simulator/echo --limit 1 -q')).stdout).toBe(
      `${found}\n`,
    )
    expect((await tollgate('logs list --from soon')).code).toBe(2)
  })

  it('follow those that come', async () => {
    let made: Promise<string> | undefined
    let id: string | undefined
    const { stdout } = await launched(['logs', 'tail', '--follow', '--limit', '1', '--debug'], {
      env: env(),
      onStderr(text, signal) {
        if (!text.includes('< 200')) return
        made ??= chat('simulator/echo').then((requestId) => (id = requestId))
        if (id !== undefined && text.includes(id)) setTimeout(() => signal('SIGINT'), 200)
      },
    })
    expect(stdout).toContain(`  ${id}  `)
    expect(stdout.split(id!)).toHaveLength(2)
  })

  it('tell the cost where the decision was shed', () => {
    const words = inWords({ id: 'req_1', decision: null, entries: [], cost_usd: '0.5' })
    expect(words).toMatch(/^Request req_1\n.* shed; .*\nCost: 0.5 USD$/)
  })
})
