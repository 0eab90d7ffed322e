import { describe, expect, it } from 'vitest'
import { controlPlane, listOf, key, refusal } from './control-plane.ts'
import type { Reply } from './control-plane.ts'
import { directory, tollgate } from './tollgate.ts'

const LIST = ['keys', 'list']

describe('the exit code', () => {
  for (const [code, what, args, words, reply] of [
    [0, 'a command that is done', LIST, '', listOf([key()])],
    [0, 'an empty list', LIST, 'No keys', listOf([])],
    [0, 'help', ['help', 'keys'], '', {}],
    [0, 'the version', ['--version'], '', {}],
    [2, 'no command', [], 'Usage: tollgate', {}],
    [2, 'half a command', ['keys'], 'Usage: tollgate keys', {}],
    [2, 'an unknown command', ['kyes'], 'Did you mean keys?', {}],
    [2, 'an unknown subcommand', ['keys', 'lsit'], 'Did you mean list?', {}],
    [2, 'an unknown option', ['keys', 'create', '--naem', 'x'], 'Did you mean --name?', {}],
    [2, 'a missing name', ['keys', 'create'], 'The key needs a name', {}],
    [2, 'a missing argument', ['keys', 'get'], "missing required argument 'key'", {}],
    [2, 'a budget without a window', create('--budget', '10'), 'such as 10.00/month', {}],
    [2, 'a limit of nothing', create('--rpm', '0'), 'a whole number above 0', {}],
    [2, 'an expiry in words', create('--expires', 'soon'), 'Expected 30d', {}],
    [2, 'two forms at once', [...LIST, '--json', '--csv'], 'cannot be used with', {}],
    [2, 'a field that is not there', [...LIST, '--json=nam'], 'field "nam"', listOf([key()])],
    [2, 'an address that is none', [...LIST, '--url', 'localhost'], 'no http(s)://', {}],
    [2, 'a refused value', LIST, 'limit: too big', refusal(400, 'invalid_value', 'limit: too big')],
    [3, 'what is not there', ['keys', 'get', 'web'], 'There is no key web', listOf([])],
    [4, 'a wrong key', LIST, 'came from TOLLGATE_ADMIN_KEY', refusal(401, 'invalid_api_key', 'No')],
    [
      4,
      'a missing right',
      LIST,
      'needs keys.read',
      refusal(403, 'permission_denied', 'needs keys.read'),
    ],
    [5, 'a conflict', LIST, 'was rolled', refusal(409, 'conflict', 'The key was rolled before')],
    [6, 'a limit', LIST, 'Too many', refusal(429, 'rate_limit_exceeded', 'Too many')],
    [
      1,
      'a fault of the server',
      LIST,
      'req_0a1b',
      refusal(500, 'internal_error', 'Tollgate failed'),
    ],
    [1, 'a page of HTML', LIST, 'not as the control plane', { body: '<html>' }],
    [1, 'the data plane', LIST, 'not as the control plane', refusal(404, 'unknown_url', 'Nothing')],
    [1, 'another JSON', LIST, 'not as the control plane', { body: { hello: 1 } }],
    [1, 'a redirect', LIST, 'redirects to /x', { status: 302, headers: { location: '/x' } }],
  ] as const satisfies readonly (readonly [number, string, readonly string[], string, Reply])[]) {
    it(`is ${code} for ${what}`, async () => {
      const plane = await controlPlane({ '*': reply })
      const ran = await tollgate(args, { env: plane.env })
      expect(ran.stderr).toContain(words)
      expect(ran.code).toBe(code)
      if (!words.startsWith('Usage')) expect(ran.stderr.trim().split('\n').length).toBeLessThan(5)
      expect(ran.stderr).not.toMatch(/^ +at /m)
    })
  }

  it('is 1 when nothing listens, with the way to start it', async () => {
    const ran = await tollgate(LIST, { env: { TOLLGATE_URL: 'http://127.0.0.1:9' } })
    expect(ran).toMatchObject({ code: 1, stdout: '' })
    expect(ran.stderr).toMatch(/Nothing answers at http:\/\/127.0.0.1:9.*\n.*\n.*tollgate serve/)
  })

  it('is 1 when the answer takes too long, and says what is not known', async () => {
    const plane = await controlPlane({ '*': { headers: { 'content-length': '9' }, body: '{}' } })
    const args = [...create(), '--timeout', '300ms']
    const ran = await tollgate(args, { env: plane.env })
    expect(ran.code).toBe(1)
    expect(ran.stderr).toMatch(/did not answer within 0.3 s\n.*whether the change was made/)
  })

  it('is 4 when no admin key is found, naming where it was looked for', async () => {
    const plane = await controlPlane({ '*': refusal(401, 'invalid_api_key', 'No') })
    const cwd = directory()
    const ran = await tollgate(LIST, { env: { TOLLGATE_URL: plane.url }, cwd })
    expect(ran.code).toBe(4)
    expect(ran.stderr).toContain('./data/admin.key cannot be read')
    expect(plane.asked[0]?.authorization).toBeUndefined()
  })

  it('is 7 when the settings have mistakes', async () => {
    const cwd = directory({ 'my.yaml': 'prot: 1\n' })
    expect((await tollgate(['config', 'validate', 'my.yaml'], { cwd })).code).toBe(7)
  })

  it('is 130 when it is interrupted', async () => {
    const plane = await controlPlane({ '*': { headers: { 'content-length': '9' }, body: '{}' } })
    const ran = await tollgate([...LIST, '--debug'], {
      env: plane.env,
      onStderr: (text, signal) => {
        if (text.includes('> GET')) signal('SIGINT')
      },
    })
    expect(ran.code).toBe(130)
  })
})

function create(...options: readonly string[]): readonly string[] {
  return ['keys', 'create', '--name', 'web', ...options]
}
