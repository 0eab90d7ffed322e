import { describe, expect, it } from 'vitest'
import { controlPlane, key, listOf } from './control-plane.ts'
import { atTerminal, tollgate } from './tollgate.ts'

const KEYS = [
  key({ name: '=SUM(A1)', models: ['a', 'b'], expires_at: '2026-12-01T00:00:00.000Z' }),
  key({ id: 'key_2', name: '東京', status: 'disabled' }),
]
const LIST = ['keys', 'list']
const ESC = '\u001b'

describe('a list', () => {
  for (const [what, options, expected] of [
    [
      'is tab-separated in a pipe, every value whole',
      [],
      [
        'id\tname\tstatus\tkey\tmodels\tlimits\tlast_used_at\texpires_at\tcreated_at',
        'key_1\t=SUM(A1)\tactive\tsk-tg-live-AbCdEfGh…wxyz\ta,b\t\t\t2026-12-01T00:00:00.000Z\t2026-11-01T10:00:00.000Z',
        'key_2\t東京\tdisabled\tsk-tg-live-AbCdEfGh…wxyz\t*\t\t\t\t2026-11-01T10:00:00.000Z',
        '',
      ].join('\n'),
    ],
    [
      'is CSV that no spreadsheet runs',
      ['--csv'],
      [
        'id,name,status,key,models,limits,last_used_at,expires_at,created_at',
        `key_1,'=SUM(A1),active,sk-tg-live-AbCdEfGh…wxyz,"a,b",,,2026-12-01T00:00:00.000Z,2026-11-01T10:00:00.000Z`,
        'key_2,東京,disabled,sk-tg-live-AbCdEfGh…wxyz,*,,,,2026-11-01T10:00:00.000Z',
        '',
      ].join('\r\n'),
    ],
    ['is its first column when quiet', ['--quiet'], 'key_1\nkey_2\n'],
    ['is JSON', ['--json'], `${JSON.stringify(KEYS, null, 2)}\n`],
    [
      'is JSON of some fields',
      ['--json=id,status'],
      `${JSON.stringify(
        [
          { id: 'key_1', status: 'active' },
          { id: 'key_2', status: 'disabled' },
        ],
        null,
        2,
      )}\n`,
    ],
  ] as const) {
    it(what, async () => {
      const plane = await controlPlane({ '*': listOf(KEYS) })
      const ran = await tollgate([...LIST, ...options], { env: plane.env })
      expect(ran).toEqual({ code: 0, stderr: '', stdout: expected })
    })
  }

  it('takes options before its name too', async () => {
    const plane = await controlPlane({ '*': listOf(KEYS) })
    const ran = await atTerminal(['--json=id', '--url', plane.url, ...LIST], {})
    expect(JSON.parse(ran.stdout)).toEqual([{ id: 'key_1' }, { id: 'key_2' }])
  })

  it('is a table for people, with columns of wide letters in line', async () => {
    const plane = await controlPlane({ '*': listOf(KEYS) })
    const { stdout } = await atTerminal([...LIST, '--no-color'], plane)
    expect(stdout.split('\n').slice(0, 3)).toEqual([
      'ID     NAME      STATUS    KEY                       MODELS  LIMITS  LAST USED AT  EXPIRES AT                CREATED AT',
      'key_1  =SUM(A1)  active    sk-tg-live-AbCdEfGh…wxyz  a,b     -       -             2026-12-01T00:00:00.000Z  2026-11-01T10:00:00.000Z',
      'key_2  東京      disabled  sk-tg-live-AbCdEfGh…wxyz  *       -       -             -                         2026-11-01T10:00:00.000Z',
    ])
  })

  for (const [colours, what, env, options] of [
    [true, 'at a terminal', {}, []],
    [false, 'with NO_COLOR', { NO_COLOR: '1' }, []],
    [false, 'with --no-color', {}, ['--no-color']],
    [false, 'at a dumb terminal', { TERM: 'dumb' }, []],
  ] as const) {
    it(`has ${colours ? '' : 'no '}colours ${what}`, async () => {
      const plane = await controlPlane({ '*': listOf(KEYS) })
      const ran = await atTerminal([...LIST, ...options], { env: { ...plane.env, ...env } })
      expect(ran.stdout.includes(ESC)).toBe(colours)
    })
  }

  for (const [what, options, expected] of [
    ['[] as JSON', ['--json'], '[]\n'],
    ['[] as JSON of fields', ['--json=id'], '[]\n'],
    [
      'a head as CSV',
      ['--csv'],
      'id,name,status,key,models,limits,last_used_at,expires_at,created_at\r\n',
    ],
    ['nothing when quiet', ['--quiet'], ''],
  ] as const) {
    it(`that is empty prints ${what}`, async () => {
      const plane = await controlPlane({ '*': listOf([]) })
      const ran = await atTerminal([...LIST, ...options], plane)
      expect(ran).toEqual({ code: 0, stderr: '', stdout: expected })
    })
  }

  it('never steers the terminal with a name', async () => {
    const name = `a${ESC}[2J\u009b31m\tb`
    const plane = await controlPlane({ '*': listOf([key({ name })]) })
    const piped = await tollgate(LIST, { env: plane.env })
    expect(piped.stdout.split('\n')[1]?.split('\t')[1]).toBe('a\uFFFD[2J\uFFFD31m b')
    const table = await atTerminal([...LIST, '--no-color'], plane)
    expect(table.stdout).not.toContain(ESC)
  })
})

describe('one thing', () => {
  it('is a CSV row with its nested values as JSON', async () => {
    const plane = await controlPlane({
      'GET /admin/v1/keys/key_1': { body: { id: 'key_1', models: ['a'] } },
    })
    const ran = await atTerminal(['keys', 'get', 'key_1', '--csv'], plane)
    expect(ran.stdout).toBe('id,models\r\nkey_1,"[""a""]"\r\n')
  })
})
